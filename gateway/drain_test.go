package gateway

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
)

// Drain finishes what runs and sends its reply, then resets the connection;
// new connections are refused from the start.
func TestDrainFinishesWhatRuns(t *testing.T) {
	for _, quick := range []bool{false, true} {
		h := newTestHandler()
		h.quick = quick
		s := start(t, Config{Handler: h})
		idle, busy := dial(t, s), dial(t, s)
		idle.echo(1)
		busy.echo(2)
		busy.send(record(header(3), doBlock))
		until(t, "the request runs", func() bool { return h.blocked.Load() == 1 })

		done := make(chan error, 1)
		go func() { done <- s.Drain(context.Background()) }()
		if err := idle.closed(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("quick=%v: idle connection ends with %v, want a reset", quick, err)
		}
		if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
			t.Errorf("quick=%v: a new connection was taken", quick)
		}
		busy.send(record(header(4), doEcho)) // too late: not answered
		close(h.gate)
		if rep, _ := busy.recv(); rep.XID != 3 || !rep.OK() {
			t.Errorf("quick=%v: %v", quick, &rep)
		}
		if err := busy.closed(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("quick=%v: busy connection ends with %v, want a reset", quick, err)
		}
		if err := <-done; err != nil {
			t.Errorf("quick=%v: %v", quick, err)
		}
		if got := s.Stats().Compounds; got != 3 {
			t.Errorf("quick=%v: %d requests carried out, want 3", quick, got)
		}
	}
}

// A drain whose time is over says so; Close then ends the request's context.
func TestDrainDeadline(t *testing.T) {
	h := newTestHandler()
	s := start(t, Config{Handler: h})
	c := dial(t, s)
	c.send(record(header(1), doBlock))
	until(t, "the request runs", func() bool { return h.blocked.Load() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Drain: %v", err)
	}
	s.Close()
	until(t, "the request is gone", func() bool { return h.blocked.Load() == 0 })
	c.closed()
}
