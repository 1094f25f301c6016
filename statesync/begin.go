package statesync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
)

// Begin notes in the store that the operation op is about to change the file
// system, and takes the names that it makes or removes: until Done nobody else,
// on any gateway, begins an operation on them. It waits for those who hold
// them, and settles what dead gateways had begun there.
//
// evidence tells what is true of the names before; it is called with the names
// held, perhaps several times, and an error of it is returned as it is, with
// nothing begun; with NFSv4.1 Refuse finds out whether that is because the request
// ran on another gateway. If Begun() is this operation's unsettled intent, the names are
// still its own and evidence is not asked again.
//
// Other errors are ErrDuplicate, ErrBadSession, ErrExpired, ErrDelay,
// ErrResource and ErrFenced; with them, too, nothing was begun, as far as this
// gateway will ever say.
func (r *Request) Begin(ctx context.Context, op nfs4.Op, names []Name, evidence func() ([]byte, error)) error {
	return r.unsaid(r.tryBegin(ctx, op, names, evidence))
}

func (r *Request) tryBegin(ctx context.Context, op nfs4.Op, names []Name, evidence func() ([]byte, error)) error {
	n := r.n
	if err := n.MayServe(); err != nil {
		return err
	}
	if r.begun {
		return fmt.Errorf("%w: two operations begun at once", ErrServerFault)
	}
	if err := r.Settle(); err != nil {
		return err
	}
	if err := r.hold(ctx, names); err != nil {
		return err
	}
	if err := r.outlive(ctx); err != nil {
		r.letGo()
		return err
	}
	for w := (waits{}); ; {
		err := r.begin(ctx, op, names, evidence)
		switch {
		case err == nil:
			if err = n.MayServe(); err == nil {
				return nil
			}
			// The answer came so late that others may settle this already.
		case errors.Is(err, errAgain):
			continue
		case errors.Is(err, errHeld):
			if err = w.wait(ctx); err == nil {
				continue
			}
		}
		r.letGo()
		return err
	}
}

// errHeld says that a request of a gateway that lives stands in the way.
var errHeld = errors.New("name is held")

// outlive waits until the gateway that had begun the request's operation has
// ended it, then it is ErrDuplicate, or is dead.
func (r *Request) outlive(ctx context.Context) error {
	n := r.n
	if !n.cfg.Shared || r.intent == nil || r.intent.Settled {
		return nil
	}
	for w := (waits{}); ; {
		e := r.entry
		g, err := n.load(ctx, e.key)
		if err != nil {
			return storeError(err)
		}
		e.mu.Lock()
		moved := g.Version != e.version
		rec := e.rec
		e.mu.Unlock()
		if moved || rec == nil {
			return r.lost(g)
		}
		alive, err := n.runs(ctx, rec.Gateway, rec.Instance)
		if err != nil {
			return err
		}
		if !alive {
			return nil
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// begin is one try of Begin, with the names held in memory. It is to be tried
// again after errAgain, and after errHeld in a while.
func (r *Request) begin(ctx context.Context, op nfs4.Op, names []Name, evidence func() ([]byte, error)) error {
	n := r.n
	rec := r.record()
	b := &durable.Batch{}
	var l look
	if in := r.intent; in != nil && !in.Settled {
		rec.Begun = in
		l.epoch = n.book.known()
	} else {
		l = n.book.look(r.held) // before the evidence, which is then not older than the look
		ev, err := evidence()
		if err != nil {
			if dup := r.ranElsewhere(ctx); dup != nil {
				return dup
			}
			return err
		}
		rec.Begun = &Intent{Op: op, Names: slices.Clone(names), Evidence: slices.Clone(ev)}
		for i, key := range r.held {
			b.Checks = append(b.Checks, durable.Check{Key: key, Version: l.versions[i]})
		}
		if len(r.held) > 0 {
			n.epochCheck(b, l.epoch)
		}
	}
	for _, key := range r.held {
		n.holdWrites(b, key, n.me(r.entry))
	}
	if err := r.add(b, rec); err != nil {
		return err
	}
	if r.client != nil {
		r.client.check(b)
	}
	before := r.open
	r.open, r.tried = true, slices.Clone(r.held)
	ack, err := n.commit(ctx, b)
	if c, ok := errors.AsType[*durable.Conflict](err); ok {
		r.open = before
		if err := r.settleAll(ctx, c.Groups, l.epoch); err != nil {
			return err
		}
		return errAgain
	}
	if err != nil {
		if errors.Is(err, durable.ErrUnknown) {
			r.entry.unknown()
		} else {
			r.open = before
		}
		return storeError(err)
	}
	if err := n.wait(ack); err != nil {
		r.entry.unknown()
		return storeError(err)
	}
	r.took(rec)
	r.look = l
	r.stored, r.begun = true, true
	return nil
}

// hold takes the names in memory, in their order.
func (r *Request) hold(ctx context.Context, names []Name) error {
	sorted := slices.Clone(names)
	slices.SortFunc(sorted, func(a, b Name) int {
		switch {
		case a == b:
			return 0
		case a.Less(b):
			return -1
		}
		return 1
	})
	for _, name := range slices.Compact(sorted) {
		if !name.Valid() {
			r.letGo()
			return ErrInval
		}
		key := name.Key()
		if err := r.n.names.take(ctx, key); err != nil {
			r.letGo()
			return err
		}
		r.held = append(r.held, key)
	}
	return nil
}

// letGo gives up the names held in memory.
func (r *Request) letGo() {
	for _, key := range r.held {
		r.n.names.give(key)
	}
	r.held = nil
	r.stored, r.begun = false, false
}

// freeNames adds to a batch that the names are free.
func (r *Request) freeNames(b *durable.Batch) {
	if r.stored {
		r.n.freeWrites(b, r.held...)
	}
}

// freed notes that a commit with freeNames holds.
func (r *Request) freed() {
	if !r.stored || !r.n.cfg.Shared {
		return
	}
	for i, key := range r.held {
		if i < len(r.look.versions) {
			r.n.book.free(key, r.look.versions[i]+2, r.look.epoch)
		} else {
			r.n.freed(key)
		}
	}
}

// settleAll deals with what stood in the way of Begin.
func (r *Request) settleAll(ctx context.Context, groups []durable.Group, epoch uint64) error {
	if err := r.conflict(groups); err != nil {
		return err
	}
	n := r.n
	epoch = n.book.learn(groups, epoch)
	for _, g := range groups {
		switch {
		case strings.HasPrefix(g.Key, prefixName) && holderOf(g).key == "":
			if err := n.settled(ctx, g, epoch); err != nil {
				return err
			}
		case strings.HasPrefix(g.Key, prefixName):
			if err := n.settle(ctx, g.Key); err != nil {
				return err
			}
		case r.client != nil && g.Key == r.client.key:
			if there, err := n.reload(r.client, g); err != nil {
				return err
			} else if !there {
				return r.client.ended()
			}
		}
	}
	return nil
}

// tried is the error of a commit after which the caller looks again anyway.
func (n *Node) tried(err error) error {
	if _, ok := errors.AsType[*durable.Conflict](err); ok || err == nil {
		return nil
	}
	return storeError(err)
}

// waits makes the pauses before another gateway's request is looked at again,
// each longer than the one before.
type waits struct{ last time.Duration }

func (w *waits) wait(ctx context.Context) error {
	w.last = min(max(2*w.last, 2*time.Millisecond), 50*time.Millisecond)
	t := time.NewTimer(w.last)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done commits the result of a begun operation, which encode appends to the
// reply, and frees its names. It is used for an operation that failed, too:
// the error is the result. encode may be called again after Compound.Rewind.
//
// While the store cannot be reached Done waits, since what happened cannot be
// unsaid. An error other than ErrDuplicate and ErrBadSession is ErrFenced:
// then nothing may be said, and the request must end with Abort.
func (r *Request) Done(ctx context.Context, encode func()) error { return r.conclude(ctx, nil, encode) }

// conclude is Done, which with a Turn also advances the owner's sequence.
func (r *Request) conclude(ctx context.Context, t *Turn, encode func()) error {
	n := r.n
	ctx = context.WithoutCancel(ctx) // the client may be gone, the effect is not
	mark := r.c.Mark()
	pause := time.Millisecond
	for {
		encode()
		rec := r.record()
		b := &durable.Batch{}
		if err := r.add(b, rec); err != nil {
			r.c.Rewind(mark)
			return fmt.Errorf("%w: %w", ErrFenced, err)
		}
		r.freeNames(b)
		owners := t.add(b, &rec.Progress, false)
		ack, err := n.commit(ctx, b)
		if err == nil {
			r.took(rec)
			t.took(owners)
			r.freed()
			r.letGo()
			if r.owe(ack, nil) {
				return nil
			}
			if err := n.wait(ack); err != nil {
				r.c.Rewind(mark)
				r.entry.unknown()
				t.unknown()
				return fmt.Errorf("%w: %w", ErrFenced, err)
			}
			r.open = false
			return nil
		}
		r.c.Rewind(mark)
		if c, ok := errors.AsType[*durable.Conflict](err); ok {
			if err := r.conflict(c.Groups); err != nil {
				r.surrender(ctx)
				return err
			}
			if err := t.conflict(c.Groups); err != nil {
				return fmt.Errorf("%w: %w", ErrFenced, err)
			}
			continue
		}
		if !errors.Is(err, durable.ErrUnavailable) && !errors.Is(err, durable.ErrFull) {
			r.entry.unknown()
			return fmt.Errorf("%w: %w", ErrFenced, err)
		}
		n.log.Warn("result of a change waits for the store", "error", err)
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

// surrender gives up the names of a request whose slot or session went to
// others while it ran.
func (r *Request) surrender(ctx context.Context) {
	if r.stored && r.n.release(ctx, r.held, r.n.me(r.entry)) == nil {
		r.open = false
	}
	r.letGo()
}
