package gateway

import (
	"sync"
	"time"
)

const (
	// slowAfter is how long a reader may be busy with one request before the
	// watch gives the role to another goroutine; at most twice that.
	slowAfter = 2 * time.Millisecond
	// idleTicks is after how many ticks without a request a connection is not
	// watched any more.
	idleTicks = 50
	// sweepEvery is how often connections are looked through for stuck ones.
	sweepEvery = time.Second
)

// watch looks after the readers that run requests themselves.
type watch struct {
	kick chan struct{}

	mu    sync.Mutex
	conns []*conn
}

// watchNote is what the watch saw of a connection last.
type watchNote struct {
	turn  uint64
	quiet int
}

func (w *watch) init() { w.kick = make(chan struct{}, 1) }

// note is called when a reader begins to run a request, after its turn was
// set.
func (w *watch) note(c *conn) {
	if c.watched.Load() || !c.watched.CompareAndSwap(false, true) {
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, c)
	first := len(w.conns) == 1
	w.mu.Unlock()
	if first {
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
}

// watchLoop ticks while there is something to watch.
func (s *Server) watchLoop() {
	tick := time.NewTicker(slowAfter)
	defer tick.Stop()
	for {
		tick.Stop()
		select {
		case <-s.watch.kick:
		case <-s.stop:
			return
		}
		tick.Reset(slowAfter)
		for more := true; more; {
			select {
			case <-tick.C:
				more = s.watch.look()
			case <-s.stop:
				return
			}
		}
	}
}

// look takes the role of the reader from each goroutine that was busy with
// one request since the last look. It returns false when nothing is watched any
// more.
func (w *watch) look() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.conns[:0]
	for _, c := range w.conns {
		turn := c.turn.Load()
		switch {
		case turn != c.seen.turn:
			c.seen = watchNote{turn: turn}
		case turn&1 == 1:
			c.relieveReader(turn)
			c.seen = watchNote{turn: turn + 1}
		default:
			c.seen.quiet++
		}
		if c.seen.quiet < idleTicks {
			kept = append(kept, c)
			continue
		}
		// A reader that begins now sees either that it is not watched, and
		// notes itself again, or has moved the turn before.
		c.watched.Store(false)
		if c.turn.Load() != turn && c.watched.CompareAndSwap(false, true) {
			c.seen.quiet = 0
			kept = append(kept, c)
		}
	}
	clear(w.conns[len(kept):])
	w.conns = kept
	return len(kept) > 0
}

// relieveReader gives the role of the reader to a new goroutine; the one that
// has it only finishes its request then.
func (c *conn) relieveReader(turn uint64) {
	c.mu.Lock()
	c.flight++ // the request, if the role is ours
	c.mu.Unlock()
	if !c.turn.CompareAndSwap(turn, turn+1) {
		c.release()
		return
	}
	c.s.stats.relieved.Add(1)
	go func() {
		c.flush()
		c.read()
	}()
}

// clock is the time since the Server was made, in nanoseconds and never 0.
func (s *Server) clock() int64 { return int64(time.Since(s.made)) | 1 }

// sweepLoop looks for connections that have been waiting for their clients for
// too long.
func (s *Server) sweepLoop() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.sweep(now)
		case <-s.memory.short:
			s.relieve(s.clock())
		case <-s.stop:
			return
		}
	}
}

// sweep closes what has been stuck for too long at time now.
func (s *Server) sweep(now time.Time) {
	clock := int64(now.Sub(s.made))
	for _, c := range s.snapshot() {
		if c.state.Load() == stranger && now.Sub(c.since) > s.limits.FirstCall {
			c.kill(errNoCall)
			s.stats.silent.Add(1)
			continue
		}
		if since, _ := c.stuck(); since != 0 && clock-since > int64(s.limits.Stuck) {
			c.kill(errStuck)
			s.stats.stuck.Add(1)
		}
	}
	// When memory ran short nothing may have been stuck for long enough yet.
	if s.memory.waiting.Load() > 0 {
		if s.memory.over() {
			s.relieve(clock)
		}
		s.memory.wake()
	}
}
