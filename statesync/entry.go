package statesync

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"holdfast/durable"
	"holdfast/statesync/rules"
)

// An entry is what arbitrates one request at a time: a slot of a session, or an
// entry of NFSv4.0's duplicate-request cache. Its record in the store is of
// the last request that changed something.
//
//	            first use                commit (slot of seq s)
//	not loaded ───────────▶ idle, seq q ◀────────────────────┐
//	                          │  ▲                           │
//	           new, s = q+1   │  │ Finish, reply kept        │
//	           or run again   ▼  │                           │
//	                        running s ───────────────────────┘
type entry struct {
	key     string
	session *session  // nil in the duplicate-request cache
	slot    uint32    // of the session
	drc     *drcEntry // nil for a slot

	mu     sync.Mutex
	loaded bool // record and version are what the store has, as far as one gateway can know
	exact  bool // seq is the last one for certain

	// seq is that of the last request known, the others are about it.
	seq     uint32
	sum     uint64
	sumSet  bool
	changed bool   // it committed something
	away    bool   // it ran on another gateway, as the record or that gateway tells
	met     bool   // the other gateways were asked what they know of the slot
	reply   []byte // its complete reply, nil if not kept

	version uint64
	rec     *rules.Slot // the store's record, perhaps of an earlier request

	// busy says that a request runs, or that the record is being loaded. waiters
	// are those who wait for the end of it, in the order in which they came.
	busy    bool
	running *Request
	waiters []chan struct{}
}

// await waits for the end of what is busy. e.mu is held on entry and return, not
// meanwhile. Who returns without making the entry busy again must call next.
func (e *entry) await(ctx context.Context) error {
	turn := make(chan struct{})
	e.waiters = append(e.waiters, turn)
	e.mu.Unlock()
	var err error
	select {
	case <-turn:
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.mu.Lock()
	if err != nil {
		e.waiters = slices.DeleteFunc(e.waiters, func(w chan struct{}) bool { return w == turn })
	}
	return err
}

// next lets the first go on who waits, if nothing is busy: one at a time, in their
// order, since only one can run. e.mu is held.
func (e *entry) next() {
	if e.busy || len(e.waiters) == 0 {
		return
	}
	close(e.waiters[0])
	e.waiters = slices.Delete(e.waiters, 0, 1)
}

// idle ends what was busy. e.mu is held.
func (e *entry) idle() {
	e.busy = false
	e.running = nil
	e.next()
}

// take makes the entry's record that of a group in the store. e.mu is held. A
// record of a later request than the one known tells what another gateway did.
func (e *entry) take(g durable.Group) error {
	e.version = g.Version
	e.rec = nil
	e.loaded = true
	value := head(g)
	if value == nil {
		return nil
	}
	rec, err := rules.DecodeSlot(value)
	if err != nil {
		return fmt.Errorf("%s: %w", e.key, err)
	}
	e.rec = rec
	known := e.exact || e.sumSet
	if !known || int32(rec.Sequence-e.seq) > 0 {
		e.seq, e.sum, e.sumSet = rec.Sequence, rec.Checksum, true
		e.changed, e.reply, e.away = true, nil, true
	} else if rec.Sequence == e.seq {
		e.sum, e.sumSet = rec.Checksum, true
		e.changed = true
	}
	return nil
}

// found makes a group the entry's record that was read when nothing was known of the entry
// yet, unless more is known by now.
func (e *entry) found(g durable.Group) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy || e.loaded || e.sumSet {
		return nil
	}
	return e.take(g)
}

// current says that the record is of the last request. e.mu is held.
func (e *entry) current() bool { return e.rec != nil && e.changed && e.rec.Sequence == e.seq }

// ensure loads the record if it is not there. e.mu is held on entry and return, not
// meanwhile: it returns false if the caller must look again.
func (n *Node) ensure(ctx context.Context, e *entry) (bool, error) {
	if e.loaded {
		return true, nil
	}
	e.busy = true
	e.mu.Unlock()
	g, err := n.load(ctx, e.key)
	e.mu.Lock()
	e.busy = false // the caller goes on with it, or says that it is the next one's turn
	if err != nil {
		return false, storeError(err)
	}
	return false, e.take(g)
}

// admit waits until nobody runs a request of the entry, and then says what the
// request with this sequence and checksum is. Not a replay: it runs from then
// on.
func (n *Node) admit(ctx context.Context, e *entry, r *Request) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.next()
	asked, exact := false, false
	for {
		if e.busy {
			if e.running != nil {
				if err := e.beside(r); err != nil {
					return err
				}
			}
			if err := e.await(ctx); err != nil {
				return err
			}
			continue
		}
		ok, err := n.ensure(ctx, e)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if asked || !n.doubtful(e, r) {
			break
		}
		asked = true
		e.busy = true
		e.mu.Unlock()
		exact, err = n.inquire(ctx, e, r)
		e.mu.Lock()
		e.busy = false // as in ensure
		if err != nil {
			return err
		}
	}
	return n.classify(e, r, exact)
}

// beside judges a request that comes while another one runs. e.mu is held.
func (e *entry) beside(r *Request) error {
	if r.sequence == e.running.sequence {
		if r.sum != e.running.sum {
			return ErrSeqFalseRetry
		}
		return nil
	}
	if rules.Admit(e.seq, e.exact, r.sequence) == rules.Misordered {
		return ErrSeqMisordered
	}
	return nil
}

// classify says what an admitted request is. e.mu is held and nobody runs.
// exact says that no later request than e.seq can be known to anybody.
func (n *Node) classify(e *entry, r *Request, exact bool) error {
	if n.cfg.Shared && r.client != nil && (e.away || r.sequence != e.seq+1) {
		r.client.roamed()
		e.away = false
	}
	exact = exact || e.exact
	switch rules.Admit(e.seq, exact, r.sequence) {
	case rules.Misordered:
		return ErrSeqMisordered
	case rules.NewRequest:
		e.seq, e.sum, e.sumSet = r.sequence, r.sum, true
		e.changed, e.reply = false, nil
		if e.session != nil && !n.cfg.Shared {
			e.exact = true
		}
	case rules.Retry:
		if e.sumSet && e.sum != r.sum {
			return ErrSeqFalseRetry
		}
		if e.session != nil && (exact || e.met && e.seq == 0) && !e.sumSet {
			return ErrSeqMisordered // the slot was never used (RFC 8881 §18.36.4)
		}
		if e.reply != nil {
			n.stats.replays.Add(1)
			r.Replay = e.reply
			return nil
		}
		if e.current() {
			n.stats.resumed.Add(1)
			r.resume(e.rec)
		}
		e.sum, e.sumSet = r.sum, true
	}
	e.busy = true
	e.running = r
	return nil
}

// ends is called when the request that runs ends. keep, if not nil, becomes
// the entry's reply.
func (e *entry) ends(r *Request, keep []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running != r {
		return
	}
	if keep != nil {
		e.reply = keep
		if e.loaded && e.current() && e.rec.Begun == nil {
			e.rec = nil // the reply says it all
		}
	}
	e.idle()
}

// sessionCheck demands in a batch that the session still exists, so that no
// request of a session that was destroyed takes effect afterwards.
func (e *entry) sessionCheck(b *durable.Batch) {
	if s := e.session; s != nil {
		b.Checks = append(b.Checks, durable.Check{Key: s.key, Version: s.version})
	}
}

// write adds the entry's next record to a batch.
func (e *entry) write(b *durable.Batch, rec *rules.Slot) {
	b.Checks = append(b.Checks, durable.Check{Key: e.key, Version: e.version})
	b.Writes = append(b.Writes, durable.Write{Key: e.key, Value: rec.Append(make([]byte, 0, 256+len(rec.Progress.Reply)))})
}

// wrote notes that rec is in the store now. It is called by the request that
// runs.
func (e *entry) wrote(rec *rules.Slot) {
	e.mu.Lock()
	e.version++
	e.rec = rec
	e.changed = true
	e.mu.Unlock()
}

// unknown notes that the store may hold something else than memory does.
func (e *entry) unknown() {
	e.mu.Lock()
	e.loaded = false
	e.mu.Unlock()
}
