package statesync

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"holdfast/durable"
	"holdfast/statesync/rules"
)

// ErrDuplicate says that a request turned out, only when it was about to
// change something, to be one that ran before or runs elsewhere. The Request's
// Replay or Resume now says how to go on; if both are nil it must not be
// answered.
var ErrDuplicate = errors.New("duplicate request")

// A Request is one COMPOUND that is being run. It is used by one goroutine and
// ends with Finish or Abort.
type Request struct {
	Client  ClientID     // 0 in NFSv4.0
	Session *SessionInfo // nil in NFSv4.0

	// What SEQUENCE answers.
	Highest, TargetHighest uint32
	StatusFlags            uint32 // SEQ4_STATUS_…

	// Replay is the complete reply (COMPOUND4res) of an earlier run, Resume the
	// place of its last commit. At most one is set.
	Replay []byte
	Resume *Progress

	n         *Node
	c         Compound
	client    *client // nil in NFSv4.0
	entry     *entry
	sequence  uint32
	sum       uint64
	cacheThis bool
	changed   bool
	ended     bool

	intent *Intent  // of an earlier run, at Resume.Op
	at     uint32   // Progress.Op of the last result that is in the store
	begun  bool     // Begin succeeded, and nothing was said of the result yet
	held   []string // keys of the names held in memory, in order
	stored bool     // the store says too that they are this request's
	look   look     // what was known of the names before they were held

	// failing is the turn of owners whose operation failed, until the store knows.
	failing *Turn

	// open says that the store may hold an intent of the request of which nobody
	// has said yet what came of it.
	open  bool
	tried []string // the names that the intent holds, by key

	lazy  bool // Settle will be called
	debts []debt
	room  [2]debt // of debts, mostly
}

// Changed says whether some commit carried the request.
func (r *Request) Changed() bool { return r.changed }

// Holds says that Begin succeeded and that neither Done nor Open nor Fail has
// said yet what came of it.
func (r *Request) Holds() bool { return r.begun }

// Begun returns the intent of the operation at Resume.Op if it was begun by a
// run that ended without a result, nil otherwise. Begin may settle it.
func (r *Request) Begun() *Intent { return r.intent }

// resume makes the request go on from a record.
func (r *Request) resume(rec *rules.Slot) {
	p := rec.Progress.Clone()
	r.Resume = &p
	r.intent = nil
	r.changed = true
	if rec.Begun != nil {
		in := *rec.Begun
		r.intent = &in
	}
}

// record is the slot's record for where the compound stands now.
func (r *Request) record() *rules.Slot {
	rec := &rules.Slot{Sequence: r.sequence, Checksum: r.sum, Gateway: r.n.cfg.Name, Instance: r.n.instance}
	var p Progress
	r.c.Progress(&p)
	rec.Progress = p.Clone()
	return rec
}

// add puts the request's place into a batch, with what makes the batch fail if
// the request must have no effect any more.
func (r *Request) add(b *durable.Batch, rec *rules.Slot) error {
	if !rec.Fits() {
		return fmt.Errorf("%w: %d bytes of results before a change are too many to record", ErrServerFault, len(rec.Progress.Reply))
	}
	r.entry.write(b, rec)
	r.entry.sessionCheck(b)
	r.dropStale(b)
	return nil
}

// dropStale frees the names that the slot's last request had begun with and that
// nobody settled: the client went on without its result.
func (r *Request) dropStale(b *durable.Batch) {
	if r.changed {
		return
	}
	e := r.entry
	e.mu.Lock()
	old := e.rec
	e.mu.Unlock()
	if old == nil || old.Begun == nil || old.Begun.Settled || old.Gateway != r.n.cfg.Name {
		return
	}
	keys := old.Begun.Keys()
	r.n.freeWrites(b, keys...)
	r.n.freed(keys...)
}

// took notes a commit that carried rec.
func (r *Request) took(rec *rules.Slot) {
	r.entry.wrote(rec)
	if rec.Begun == nil {
		r.intent = nil // it was of an operation that has its result now, not of what follows
		r.at = rec.Progress.Op
	}
	if !r.changed {
		r.changed = true
		if r.client == nil {
			r.n.drc.changed(r.n, r.entry)
		}
	}
}

// conflict deals with the groups of a Conflict that are the request's own. It
// returns nil if the transaction is to be tried again, ErrDuplicate if the
// request ran elsewhere, or that it must not go on.
func (r *Request) conflict(groups []durable.Group) error {
	e := r.entry
	for _, g := range groups {
		switch {
		case g.Key == e.key:
			return r.lost(g)
		case e.session != nil && g.Key == e.session.key:
			r.n.dropSession(e.session)
			return ErrBadSession
		}
	}
	return nil
}

// lost looks at a record that another gateway wrote while this one ran the
// request.
func (r *Request) lost(g durable.Group) error {
	e := r.entry
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.take(g); err != nil {
		return err
	}
	if e.rec == nil || int32(e.rec.Sequence-r.sequence) < 0 {
		e.seq = r.sequence
		return nil // an earlier request's: this one is still the next
	}
	if e.rec.Sequence == r.sequence && e.rec.Checksum == r.sum {
		r.resume(e.rec)
		return ErrDuplicate
	}
	r.Replay, r.Resume, r.intent = nil, nil, nil
	return ErrDuplicate
}

// unsaid makes an error that came from not reaching the store one after which
// nothing is said. Another gateway may have run the request: DELAY would be the
// answer to what took effect, and the client would send it as a new one.
func (r *Request) unsaid(err error) error {
	if err == nil || !r.n.cfg.Shared || errors.Is(err, ErrFenced) {
		return err
	}
	if errors.Is(err, durable.ErrUnavailable) || errors.Is(err, durable.ErrUnknown) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return err
}

// verify looks, by the record as the store has it now, whether the request ran
// elsewhere already. It is asked before an error is believed that may come from
// that.
func (r *Request) verify(g durable.Group) error {
	r.entry.mu.Lock()
	same := g.Version == r.entry.version
	r.entry.mu.Unlock()
	if same {
		return nil
	}
	return r.lost(g)
}

// ranElsewhere looks, for a request of NFSv4.0, whether another gateway ran it
// already. Its owner keeps an error as the result of the seqid, and would give it
// as the reply to the very request that succeeded: Refuse comes too late for that.
func (r *Request) ranElsewhere(ctx context.Context) error {
	if !r.n.cfg.Shared || r.client != nil {
		return nil
	}
	g, err := r.n.load(ctx, r.entry.key)
	if err != nil {
		return storeError(err)
	}
	return r.verify(g)
}

// Refuse commits that the request ends with the error that is encoded last,
// although that changed nothing, where several gateways write to the store. It is
// called before the reply leaves, for each request that could have changed
// something: an old copy of it may still be under way at another gateway, and must
// not take effect after the client was told that it was refused (G3).
//
// The errors are ErrDuplicate, ErrFenced, and what says that no copy can take
// effect either: ErrBadSession, ErrResource, ErrServerFault.
func (r *Request) Refuse(ctx context.Context) error {
	if !r.n.cfg.Shared || r.entry == nil {
		return nil
	}
	defer r.failing.Release()
	return r.unsaid(r.refuse(ctx))
}

// Keep commits the reply so far of a request whose last effects no commit has
// recorded: on data, which is not part of the shared state. Sent again, even after
// this gateway's end, it is not run again. It is called before the reply leaves.
//
// The errors are those of Refuse.
func (r *Request) Keep(ctx context.Context) error {
	if r.entry == nil {
		return nil
	}
	return r.unsaid(r.refuse(ctx))
}

func (r *Request) refuse(ctx context.Context) error {
	n := r.n
	for {
		rec := r.record()
		if r.at > 0 && r.at == rec.Progress.Op {
			return nil // the commit that ended the operation said so
		}
		b := &durable.Batch{}
		if err := r.add(b, rec); err != nil {
			return err
		}
		owners := r.failing.add(b, &rec.Progress, false)
		ack, err := n.commit(ctx, b)
		if err == nil {
			if err = n.wait(ack); err == nil {
				r.took(rec)
				r.failing.took(owners)
				return nil
			}
		}
		if c, ok := errors.AsType[*durable.Conflict](err); ok {
			if err := r.conflict(c.Groups); err != nil {
				return err
			}
			if err := r.failing.overtaken(c.Groups); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, durable.ErrUnknown) {
			r.entry.unknown()
		}
		return storeError(err)
	}
}

// Finish ends the request. reply is COMPOUND4res; it is kept for replays if the
// request changed something or the client asked for it. Finish must be called
// once for each Request without Replay, unless Abort is; after Abort it does
// nothing.
func (r *Request) Finish(reply []byte) {
	if r.ended || r.entry == nil {
		return
	}
	r.ended = true
	r.failing.Release()
	r.letGo()
	var keep []byte
	if (r.changed || r.cacheThis) && r.client != nil && len(reply) <= int(r.n.cfg.Limits.CachedBytes) {
		keep = bytes.Clone(reply)
	}
	r.leave(keep)
}

// leave ends the request's hold on its entry.
func (r *Request) leave(keep []byte) {
	listed := r.abandon()
	r.entry.ends(r, keep)
	if r.client == nil && !listed {
		r.n.drc.finished(r.n, r.entry)
	}
}

// Abort ends the request without a reply: nothing may be said about it, because
// it is not known what holds. Names that it took stay taken in the store until
// this gateway has settled what became of it, or after its end another one.
func (r *Request) Abort() {
	if r.ended || r.entry == nil {
		return
	}
	r.ended = true
	r.failing.Release()
	r.letGo()
	// Who sends the request again may be answered from what it committed.
	_ = r.Settle() // or the store has failed, and answers nobody
	r.entry.unknown()
	r.leave(nil)
}
