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

// Drain leaves in good order: no new connections, no new requests; what runs
// is finished and answered; then each connection is closed. It returns nil when
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
