package statesync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/statesync/rules"
)

// abandoned are requests that ended without a result on this gateway, which
// lives on: nobody else may say what became of them, so it does that itself, and
// whoever waits for their names, or for the result, gets on.
type abandoned struct {
	mu   sync.Mutex
	list map[*entry][]string // the names that each held, by key
	kick chan struct{}
}

func (a *abandoned) init() {
	a.list = make(map[*entry][]string)
	a.kick = make(chan struct{}, 1)
}

// abandon notes that the request ends with an intent in the store, perhaps. It
// returns false if there is none.
func (r *Request) abandon() bool {
	if !r.open || !r.n.cfg.Shared {
		return false
	}
	a := &r.n.abandoned
	a.mu.Lock()
	defer a.mu.Unlock()
	_, again := a.list[r.entry]
	a.list[r.entry] = append(a.list[r.entry], r.tried...)
	wake(a.kick)
	return !again
}

// all returns the entries, in an order that does not change.
func (a *abandoned) all() []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	var es []*entry
	for e := range a.list {
		es = append(es, e)
	}
	slices.SortFunc(es, func(x, y *entry) int {
		if x.key < y.key {
			return -1
		}
		return 1
	})
	return es
}

// take returns the names of an entry and takes it off the list.
func (a *abandoned) take(e *entry) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := a.list[e]
	delete(a.list, e)
	return keys
}

func (a *abandoned) put(e *entry, keys []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list[e] = append(a.list[e], keys...)
}

// settleLoop settles what was abandoned, again and again while that fails.
func (n *Node) settleLoop(ctx context.Context) {
	defer n.wg.Done()
	const least, most = 10 * time.Millisecond, time.Second
	pause := least
	for {
		t := time.NewTimer(pause)
		if len(n.abandoned.all()) == 0 {
			t.Stop()
			pause = least
		}
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-n.abandoned.kick:
			t.Stop()
		case <-t.C:
		}
		if err := n.settleAbandoned(ctx); err != nil && ctx.Err() == nil {
			n.log.Debug("what a request without a result did is not settled yet", "error", err)
			pause = min(2*pause, most)
		}
	}
}

// settleAbandoned settles what was abandoned. What fails stays for the next
// time.
func (n *Node) settleAbandoned(ctx context.Context) error {
	var all error
	for _, e := range n.abandoned.all() {
		if !e.claim() {
			continue // it is run again just now, and comes back if that fails, too
		}
		keys := n.abandoned.take(e)
		err := n.settleEntry(ctx, e, keys)
		e.disclaim()
		if err != nil {
			n.abandoned.put(e, keys)
			all = errors.Join(all, err)
		} else if e.drc != nil {
			n.drc.finished(n, e)
		}
	}
	return all
}

// claim keeps requests of the entry from running, if none does.
func (e *entry) claim() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy {
		return false
	}
	e.busy = true
	return true
}

func (e *entry) disclaim() {
	e.mu.Lock()
	e.loaded = false
	e.idle()
	e.mu.Unlock()
}

// settleEntry settles the operation that a claimed entry's record says was
// begun by this gateway, and frees the names that its requests held.
func (n *Node) settleEntry(ctx context.Context, e *entry, keys []string) error {
	for range 8 {
		epoch := n.book.known()
		g, err := n.load(ctx, e.key)
		if err != nil {
			return err
		}
		var rec *rules.Slot
		if value := head(g); value != nil {
			if rec, err = rules.DecodeSlot(value); err != nil {
				return fmt.Errorf("%s: %w", e.key, err)
			}
		}
		if rec == nil || rec.Begun == nil || rec.Begun.Settled || rec.Gateway != n.cfg.Name || rec.Instance != n.instance {
			return n.release(ctx, keys, n.me(e))
		}
		if err := n.resolve(ctx, g, rec, epoch); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: a request without a result changes while it is settled", ErrDelay)
}
