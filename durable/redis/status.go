package redis

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
)

// health is what is known of the server.
type health struct {
	log *slog.Logger
	bad atomic.Bool

	mu  sync.Mutex
	err error // of the last try, nil if it went well
}

var errNoAnswer = errors.New("no answer from Redis yet")

// lost notes that a try failed.
func (h *health) lost(err error) {
	if err == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.log.Error("state store: Redis fails, requests that need it wait", "error", err)
	}
	h.err = err
	h.bad.Store(true)
}

// well notes that the server answered as it should.
func (h *health) well() {
	if !h.bad.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		h.log.Info("state store: Redis is back")
	}
	h.err = nil
	h.bad.Store(false)
}

// reason is why a call may wait.
func (h *health) reason() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		return errNoAnswer
	}
	return h.err
}

type stats struct {
	calls, batches, conflicts, loads, resolved, unknown atomic.Uint64
}

// Status is how a store does, for an operator. The counts are since Open.
type Status struct {
	// Server is where the store is, without secrets.
	Server string
	// Epoch names the store's history.
	Epoch string
	// Err is why the last try failed, nil if it went well.
	Err error
	// Sequence is the highest number of a call that is known to be durable.
	Sequence uint64
	// Batches were sent in Calls; Conflicts of them did not hold.
	Batches, Calls, Conflicts uint64
	// Loads are round trips that read groups.
	Loads uint64
	// Resolved are calls without an answer whose outcome was asked for, and
	// Unknown the commits whose callers did not wait for it.
	Resolved, Unknown uint64
}

// Status tells how the store does. It may be called at any time, and asks
// nobody.
func (s *Store) Status() Status {
	st := Status{
		Server: s.addr.String(), Epoch: s.epoch, Sequence: s.floor.Load(),
		Batches: s.stats.batches.Load(), Calls: s.stats.calls.Load(), Conflicts: s.stats.conflicts.Load(),
		Loads: s.stats.loads.Load(), Resolved: s.stats.resolved.Load(), Unknown: s.stats.unknown.Load(),
	}
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	st.Err = s.health.err
	return st
}
