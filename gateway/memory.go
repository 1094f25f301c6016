package gateway

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A ledger counts the bytes that requests and replies hold.
type ledger struct {
	limit   int64
	used    atomic.Int64
	waiting atomic.Int32
	short   chan struct{} // holds a token while somebody should make room

	mu   sync.Mutex
	room sync.Cond
}

func (l *ledger) init(limit int64) {
	l.limit = limit
	l.short = make(chan struct{}, 1)
	l.room.L = &l.mu
}

func (l *ledger) charge(n int64) { l.used.Add(n) }

func (l *ledger) release(n int64) {
	if l.used.Add(-n) <= l.limit && l.waiting.Load() > 0 {
		l.wake()
	}
}

func (l *ledger) over() bool { return l.used.Load() > l.limit }

// wake lets those who wait look again.
func (l *ledger) wake() {
	l.mu.Lock()
	l.room.Broadcast()
	l.mu.Unlock()
}

// waitForMemory waits until there is memory again, or c is killed.
func (s *Server) waitForMemory(c *conn) {
	l := &s.memory
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	s.stats.squeezed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.over() && c.cause.Load() == nil && !s.draining.Load() {
		select {
		case l.short <- struct{}{}:
		default:
		}
		l.room.Wait()
	}
}

// patience is how long a connection may be in the middle of something before
// it counts as stuck when memory is short.
const patience = 500 * time.Millisecond

// relieve closes the connections that have been stuck for longest, until what
// they hold is enough to get below the limit.
func (s *Server) relieve(clock int64) {
	type stuck struct {
		c     *conn
		since int64
		holds int64
	}
	var all []stuck
	for _, c := range s.snapshot() {
		since, holds := c.stuck()
		if since != 0 && holds > 0 && clock-since > int64(patience) {
			all = append(all, stuck{c, since, holds})
		}
	}
	slices.SortFunc(all, func(a, b stuck) int { return cmp.Compare(a.since, b.since) })
	excess := s.memory.used.Load() - s.memory.limit
	for _, st := range all {
		if excess <= 0 {
			return
		}
		st.c.kill(errPressure)
		s.stats.pressed.Add(1)
		excess -= st.holds
	}
}

// stuck returns since when (by clock) the connection waits for its client and
// what it holds meanwhile; 0 if it does not.
func (c *conn) stuck() (since, holds int64) {
	partial, writing := c.partialSince.Load(), c.writingSince.Load()
	c.mu.Lock()
	queued := int64(c.queued)
	c.mu.Unlock()
	switch {
	case writing != 0 && (partial == 0 || writing < partial):
		return writing, queued + c.partial.Load()
	case partial != 0:
		return partial, queued + c.partial.Load()
	}
	return 0, 0
}

// defaultMemory is a quarter of the machine's memory, at most 4 GiB.
func defaultMemory() int64 {
	const most = 4 << 30
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return most / 4
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				return min(kib<<10/4, most)
			}
		}
	}
	return most / 4
}
