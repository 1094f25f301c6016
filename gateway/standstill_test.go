package gateway

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"holdfast/nfsops"
)

// standStill makes the Server notice that it did not tick for twice as long as it may.
func standStill(s *Server) {
	s.still.ticked.Store(s.clock() - 2*s.still.limit)
	s.thisEra()
}

// TestStandstill: after a standstill what came in before is not current, the connections from
// before are reset, and new ones are served.
func TestStandstill(t *testing.T) {
	h := newTestHandler()
	s := start(t, Config{Handler: h, Standstill: time.Hour})
	c := dial(t, s)
	c.echo(1)
	call := h.last.Load()
	if !call.Conn.Current() {
		t.Fatal("not current from the start")
	}
	s.still.ticked.Store(s.clock() - 2*s.still.limit)
	if call.Conn.Current() {
		t.Error("current after a standstill that nobody had noticed yet")
	}
	if err := c.closed(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v, want a reset", err)
	}
	served(t, s, h)
}

// served waits until a new connection is served: the moment of its making is known to
// some milliseconds only.
func served(t *testing.T, s *Server, h *testHandler) {
	t.Helper()
	var call *nfsops.Call
	for end := time.Now().Add(time.Minute); call == nil && time.Now().Before(end); {
		nc, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			continue
		}
		_, err = nc.Write(record(header(7), doEcho, 7))
		if err == nil {
			_, err = nc.Read(make([]byte, 1))
		}
		if nc.Close(); err == nil {
			call = h.last.Load()
		}
	}
	if call == nil || !call.Conn.Current() {
		t.Error("no new connection is served")
	}
}

// TestStandstillOfWhoWaits: a connection that waited to be accepted while the process stood
// still is of no era that goes on.
func TestStandstillOfWhoWaits(t *testing.T) {
	h := newTestHandler()
	s, err := New(Config{Listen: []string{"127.0.0.1:0"}, Handler: h, Standstill: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s) // the system takes it
	c.send(record(header(1), doEcho, 1))
	s.still.ticked.Store(s.clock())
	standStill(s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve()
	}()
	defer func() { s.Close(); <-done }()
	if err := c.closed(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v, want a reset", err)
	}
	if h.last.Load() != nil {
		t.Error("what had come in was run")
	}
	served(t, s, h)
}

// TestNoStandstill: the time between two ticks is none, and where there is no other gateway
// nobody minds.
func TestNoStandstill(t *testing.T) {
	s := start(t, Config{Handler: newTestHandler(), Standstill: time.Hour})
	dial(t, s).echo(1)
	now := s.clock()
	for range 3 {
		s.tick(now, true)
		now += s.still.limit
	}
	s.tick(now, false)
	if era := s.thisEra(); era != 0 {
		t.Errorf("era %d without a standstill", era)
	}
	alone := start(t, Config{Handler: newTestHandler()})
	c := dial(t, alone)
	c.echo(1)
	alone.still.ticked.Store(alone.clock() - int64(time.Hour))
	if c.echo(2); alone.thisEra() != 0 {
		t.Error("a gateway that is alone minds")
	}
}
