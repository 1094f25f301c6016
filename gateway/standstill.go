package gateway

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A gateway that does not run for a while (SIGSTOP, a host that swaps, a virtual
// machine that is moved) is left by its clients before its lease is over: they
// send what is not answered to another gateway, and go on from there. What they had sent
// here still waits in the sockets. Most of it is harmless late, too, since the store
// knows what happened to it; a WRITE is not, which would bring old data over new.
//
//	ticks  | | | | |               | | |
//	stood still      ─────────────
//	                              ▲ noticed: a new era begins
//
// So what came before the end of a standstill is not run any more. A connection
// belongs to the era in which it was accepted, and at the end of an era it is reset;
// so is one that was accepted later, if nothing has arrived on it since. An operation that
// takes effect without the store looks at its connection's era once more just before.

// jiffy bounds how exactly the system knows when something came in.
const jiffy = 10 * time.Millisecond

var errStoodStill = errors.New("the gateway stood still for so long that its clients may have gone elsewhere")

type standstill struct {
	limit  int64         // ns without a tick; 0: nobody minds
	ticked atomic.Int64  // Server.clock at the last tick
	era    atomic.Uint64 // how many standstills there were
	ended  atomic.Int64  // Server.clock when the last one was noticed

	mu sync.Mutex // of who notices
}

// thisEra returns the era. A standstill that has just ended is noticed here if not by
// the loop.
func (s *Server) thisEra() uint64 {
	st := &s.still
	if st.limit > 0 {
		s.tick(s.clock(), false)
	}
	return st.era.Load()
}

// tick notices, at a time of Server.clock, that there was no tick for too long. alive
// says that this is one.
func (s *Server) tick(now int64, alive bool) {
	st := &s.still
	if now-st.ticked.Load() > st.limit {
		s.notice(now)
	}
	if !alive {
		return
	}
	// Not back behind what was noticed since the time was taken.
	for last := st.ticked.Load(); last < now && !st.ticked.CompareAndSwap(last, now); last = st.ticked.Load() {
	}
}

// notice begins a new era. Who looks meanwhile waits until it has begun.
func (s *Server) notice(now int64) {
	st := &s.still
	st.mu.Lock()
	defer st.mu.Unlock()
	stood := now - st.ticked.Load()
	if stood <= st.limit {
		return // somebody else noticed
	}
	st.ended.Store(now)
	st.era.Add(1)
	st.ticked.Store(now)
	s.log.Warn("the gateway stood still: its clients may have gone elsewhere, and what they had sent is not run any more",
		"for", time.Duration(stood).Round(time.Millisecond))
	go s.endEras()
}

// endEras resets the connections of earlier eras.
func (s *Server) endEras() {
	for _, c := range s.snapshot() {
		if !c.Current() {
			c.kill(errStoodStill)
		}
	}
}

// stillLoop ticks.
func (s *Server) stillLoop() {
	tick := time.NewTicker(time.Duration(s.still.limit / 8))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tick(s.clock(), true)
		case <-s.stop:
			return
		}
	}
}

// Current implements nfsops.Conn.
func (c *conn) Current() bool { return c.s.still.limit == 0 || c.era == c.s.thisEra() }

// outlived says that nothing has come in on a connection since the last standstill
// was noticed: it waited to be accepted meanwhile.
func (s *Server) outlived(nc *net.TCPConn) bool {
	ended := s.still.ended.Load()
	if ended == 0 {
		return false
	}
	quiet, err := quietFor(nc)
	return err != nil || s.clock()-int64(quiet) <= ended+int64(jiffy)
}

// quietFor returns how long ago something came in on a connection, or else it was
// made.
func quietFor(nc *net.TCPConn) (time.Duration, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	var infoErr error
	if err := raw.Control(func(fd uintptr) { info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil {
		return 0, err
	}
	if infoErr != nil {
		return 0, infoErr
	}
	return time.Duration(info.Last_data_recv) * time.Millisecond, nil
}
