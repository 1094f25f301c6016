package gateway

import (
	"context"
	"fmt"
	"net"
	"time"
)

// ackWait is how long a drain waits for a client's TCP to acknowledge the
// last replies.
const ackWait = 2 * time.Second

// nextIsSent is how long a connection stays open, without anything being read from it, after its last reply arrived. Who gets a reply sends
// the next request at once, and a Linux client whose connection is reset while it sends may wait 3 s before it
// sends that again, although it has connected long since; most likely its task is woken with the error of the connection
// before, in call_connect_status. One that waits for a reply goes on at once. A balancer's way and a busy client's are in it.
const nextIsSent = 20 * time.Millisecond

// Drain leaves in good order: no new connections, no new requests; what runs
// is finished and answered; then each connection is reset. It returns nil when
// all are closed, or an error when ctx ends first: Close ends the rest then.
// Only the first call drains; further ones wait with it.
func (s *Server) Drain(ctx context.Context) error {
	if s.draining.CompareAndSwap(false, true) {
		s.closeListeners()
		go s.waitGone()
		s.memory.wake()
		for _, c := range s.snapshot() {
			// Wakes a reader that waits for a request.
			c.nc.SetReadDeadline(time.Unix(1, 0))
		}
	}
	select {
	case <-s.drained:
		s.Close()
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		left := len(s.conns)
		s.mu.Unlock()
		return fmt.Errorf("gateway: drain: %d connections are still busy: %w", left, ctx.Err())
	}
}

// waitGone closes drained when the last connection is gone.
func (s *Server) waitGone() {
	for {
		s.mu.Lock()
		left, gone := len(s.conns), s.gone
		s.mu.Unlock()
		if left == 0 {
			close(s.drained)
			return
		}
		<-gone
	}
}

// leaveAfterReply ends a connection on which nothing runs and all replies are sent.
func (c *conn) leaveAfterReply() {
	awaitAcked(c.nc)
	if c.state.Load() != stranger {
		select {
		case <-time.After(nextIsSent):
		case <-c.s.stop:
		}
	}
	reset(c.nc)
	c.s.forget(c)
}

// awaitAcked waits until the peer has acknowledged all that was sent: a reset
// would take back what it has not. A peer that does not answer is not waited
// for long.
func awaitAcked(nc *net.TCPConn) {
	for deadline := time.Now().Add(ackWait); time.Now().Before(deadline); {
		n, err := unacked(nc)
		if err != nil || n == 0 {
			return
		}
		time.Sleep(200 * time.Microsecond)
	}
}
