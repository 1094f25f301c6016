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
	"holdfast/statesync/rules"
)

// Begin notes in the store that the operation op is about to change the file
// system, and takes the names that it makes or removes: until Done nobody else,
// on any gateway, begins an operation on them. It waits for those who hold
// them, and settles what dead gateways had begun there.
//
// evidence tells what is true of the names before; it is called with the names
// held, perhaps several times, and an error of it is returned as it is, with
// nothing begun. If Begun() is this operation's unsettled intent, the names are
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
	if err := r.hold(ctx, names); err != nil {
		return err
	}
	if err := r.outlive(ctx); err != nil {
		r.letGo()
		return err
	}
	for {
		again, err := r.begin(ctx, op, names, evidence)
		if err != nil {
			r.letGo()
			return err
		}
		if again {
			continue
		}
		if err := n.MayServe(); err != nil {
			r.letGo() // the answer came so late that others may settle this already
			return err
		}
		return nil
	}
}

// outlive waits until the gateway that had begun the request's operation has
// ended it, then it is ErrDuplicate, or is dead.
func (r *Request) outlive(ctx context.Context) error {
	n := r.n
	if !n.cfg.Shared || r.intent == nil || r.intent.Settled {
		return nil
	}
	for {
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
			if err := r.lost(g); err != nil {
				return err
			}
			return nil
		}
		alive, err := n.runs(ctx, rec.Gateway, rec.Instance)
		if err != nil {
			return err
		}
		if !alive {
			return nil
		}
		if err := n.waitFor(ctx); err != nil {
			return err
		}
	}
}

// begin is one try of Begin, with the names held in memory.
func (r *Request) begin(ctx context.Context, op nfs4.Op, names []Name, evidence func() ([]byte, error)) (again bool, err error) {
	n := r.n
	rec := r.record()
	b := &durable.Batch{}
	if in := r.intent; in != nil && !in.Settled {
		rec.Begun = in
	} else {
		ev, err := evidence()
		if err != nil {
			if dup := r.verify(ctx); dup != nil {
				return false, dup
			}
			return false, err
		}
		rec.Begun = &Intent{Op: op, Names: slices.Clone(names), Evidence: slices.Clone(ev)}
		for _, key := range r.held {
			b.Checks = append(b.Checks, durable.Check{Key: key})
			b.Writes = append(b.Writes, durable.Write{Key: key, Value: []byte(r.entry.key)})
		}
	}
	if err := r.add(b, rec); err != nil {
		return false, err
	}
	if r.client != nil {
		r.client.check(b)
	}
	ack, err := n.commit(ctx, b)
	if c, ok := errors.AsType[*durable.Conflict](err); ok {
		return true, r.settleAll(ctx, c.Groups)
	}
	if err != nil {
		if errors.Is(err, durable.ErrUnknown) {
			r.entry.unknown()
		}
		return false, storeError(err)
	}
	if err := n.wait(ack); err != nil {
		r.entry.unknown()
		return false, storeError(err)
	}
	r.took(rec)
	r.stored, r.begun = true, true
	return false, nil
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

// forgetNames adds to a batch that the names are free.
func (r *Request) forgetNames(b *durable.Batch) {
	if r.stored {
		b.Forget = append(b.Forget, r.held...)
	}
}

// settleAll deals with what stood in the way of Begin.
func (r *Request) settleAll(ctx context.Context, groups []durable.Group) error {
	if err := r.conflict(groups); err != nil {
		return err
	}
	for _, g := range groups {
		switch {
		case strings.HasPrefix(g.Key, prefixName):
			if err := r.n.settle(ctx, g); err != nil {
				return err
			}
		case r.client != nil && g.Key == r.client.key:
			if there, err := r.n.reload(r.client, g); err != nil {
				return err
			} else if !there {
				return r.client.ended()
			}
		}
	}
	return nil
}

// settle frees a name that the store says is held while nobody on this gateway
// holds it. If its holder is a request that a dead gateway had begun, the
// Resolver finds out what became of it, and the holder's record says so from
// then on. The caller holds the name in memory.
func (n *Node) settle(ctx context.Context, name durable.Group) error {
	holderKey := string(head(name))
	if holderKey == "" {
		return n.orphan(ctx, name, nil)
	}
	g, err := n.load(ctx, holderKey)
	if err != nil {
		return storeError(err)
	}
	// The name may have been freed and taken anew meanwhile, at the same
	// version: names begin at 1 each time.
	now, err := n.load(ctx, name.Key)
	if err != nil {
		return storeError(err)
	}
	if now.Version != name.Version || string(head(now)) != holderKey {
		return nil
	}
	var rec *rules.Slot
	if value := head(g); value != nil {
		if rec, err = rules.DecodeSlot(value); err != nil {
			return fmt.Errorf("%s: %w", holderKey, err)
		}
	}
	holds := func(x Name) bool { return x.Key() == name.Key }
	if rec == nil || rec.Begun == nil || rec.Begun.Settled || !slices.ContainsFunc(rec.Begun.Names, holds) {
		return n.orphan(ctx, name, &g)
	}
	alive, err := n.runs(ctx, rec.Gateway, rec.Instance)
	if err != nil {
		return err
	}
	if alive {
		return n.waitFor(ctx)
	}
	resolver := n.resolver.Load()
	if resolver == nil {
		return fmt.Errorf("%w: no resolver for an intent of %s", ErrDelay, rec.Begun.Op)
	}
	in := *rec.Begun
	outcome, err := (*resolver)(ctx, &in)
	if err != nil {
		return fmt.Errorf("%w: resolving an intent of %s: %w", ErrDelay, in.Op, err)
	}
	if outcome == OutcomeUnknown {
		return fmt.Errorf("%w: what became of an intent of %s is not known", ErrDelay, in.Op)
	}
	n.stats.resolved.Add(1)
	in.Settled, in.Outcome = true, outcome
	rec.Begun = &in
	b := &durable.Batch{
		Checks: []durable.Check{{Key: holderKey, Version: g.Version}},
		Writes: []durable.Write{{Key: holderKey, Value: rec.Append(nil)}},
	}
	for _, x := range in.Names {
		b.Forget = append(b.Forget, x.Key())
	}
	return n.tried(n.commitNow(ctx, b))
}

// orphan frees a name whose holder does not need it any more.
func (n *Node) orphan(ctx context.Context, name durable.Group, holder *durable.Group) error {
	b := &durable.Batch{
		Checks: []durable.Check{{Key: name.Key, Version: name.Version}},
		Forget: []string{name.Key},
	}
	if holder != nil {
		b.Checks = append(b.Checks, durable.Check{Key: holder.Key, Version: holder.Version})
	}
	return n.tried(n.commitNow(ctx, b))
}

// tried is the error of a commit after which the caller looks again anyway.
func (n *Node) tried(err error) error {
	if _, ok := errors.AsType[*durable.Conflict](err); ok || err == nil {
		return nil
	}
	return storeError(err)
}

// waitFor pauses before another gateway's request is looked at again.
func (n *Node) waitFor(ctx context.Context) error {
	t := time.NewTimer(5 * time.Millisecond)
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
		r.forgetNames(b)
		owners := t.add(b, &rec.Progress, false)
		ack, err := n.commit(ctx, b)
		if err == nil {
			r.took(rec)
			t.took(owners)
			r.letGo()
			if err := n.wait(ack); err != nil {
				r.c.Rewind(mark)
				r.entry.unknown()
				t.unknown()
				return fmt.Errorf("%w: %w", ErrFenced, err)
			}
			return nil
		}
		r.c.Rewind(mark)
		if c, ok := errors.AsType[*durable.Conflict](err); ok {
			if err := r.conflict(c.Groups); err != nil {
				r.freeOrphans(ctx, err)
				r.letGo()
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

// freeOrphans frees in the store the names of a request whose session was
// destroyed while it ran.
func (r *Request) freeOrphans(ctx context.Context, why error) {
	if !errors.Is(why, ErrBadSession) || !r.stored {
		return
	}
	if err := r.n.commitNow(ctx, &durable.Batch{Forget: slices.Clone(r.held)}); err != nil {
		r.n.log.Warn("names of a session that was destroyed stay held", "error", err)
	}
}
