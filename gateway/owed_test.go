package gateway

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"holdfast/internal/oncrpc"
)

// A reply that waits for stable storage holds up no other one, and leaves when
// the wait is over; so do those that came to wait meanwhile.
func TestOwed(t *testing.T) {
	for _, quick := range []bool{false, true} {
		h := newTestHandler()
		h.quick = quick
		s := start(t, Config{Handler: h})
		c := dial(t, s)
		c.send(slices.Concat(record(header(1), doOwe, 1), record(header(2), doOwe, 2), record(header(3), doEcho)))
		if rep, _ := c.recv(); rep.XID != 3 {
			t.Fatalf("quick=%v: reply to %d came first", quick, rep.XID)
		}
		until(t, "it is being settled", func() bool { return h.blocked.Load() == 1 })
		c.send(record(header(4), doOwe, 4))
		c.echo(5)
		close(h.gate)
		var seen []uint32
		for range 3 {
			rep, rest := c.recv()
			if !rep.OK() || len(rest) != 8 || uint32(rest[7]) != rep.XID {
				t.Fatalf("quick=%v: %v %x", quick, &rep, rest)
			}
			seen = append(seen, rep.XID)
		}
		if slices.Sort(seen); !slices.Equal(seen, []uint32{1, 2, 4}) {
			t.Errorf("quick=%v: replies to %d", quick, seen)
		}
		for xid := range uint32(200) { // one after the other, each settled on its own
			if rep, _ := c.call(header(xid), doOwe, xid); !rep.OK() {
				t.Fatalf("quick=%v: %v", quick, &rep)
			}
		}
		until(t, "all memory is given back", func() bool { return s.memory.used.Load() == 0 })
	}
}

// A client that may have no more requests under way still gets its owed replies.
func TestOwedAtTheLimit(t *testing.T) {
	h := newTestHandler()
	h.quick = true
	close(h.gate)
	c := dial(t, start(t, Config{Handler: h, Limits: Limits{InFlight: 2}}))
	var all []byte
	for xid := range uint32(50) {
		all = append(all, record(header(xid), doOwe, xid)...)
	}
	c.send(all)
	for range 50 {
		if rep, _ := c.recv(); !rep.OK() {
			t.Fatal(&rep)
		}
	}
}

// What turns out while a reply waits that it must not be sent resets the
// connection; a panic is SYSTEM_ERR.
func TestOwedFails(t *testing.T) {
	h := newTestHandler()
	h.quick = true
	close(h.gate)
	s := start(t, Config{Handler: h})
	c := dial(t, s)
	if rep, _ := c.call(header(1), doOwePanic); rep.Stat != oncrpc.SystemErr {
		t.Errorf("a panic: %v", &rep)
	}
	c.send(record(header(2), doOweGone))
	if err := c.closed(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v, want a reset", err)
	}
	until(t, "it is forgotten", func() bool { return s.Stats().Connections == 0 && s.Stats().MemoryUsed == 0 })
	dial(t, s).echo(3)
}

// A drain delivers what is owed.
func TestOwedDrain(t *testing.T) {
	h := newTestHandler()
	h.quick = true
	s := start(t, Config{Handler: h})
	c := dial(t, s)
	c.send(record(header(1), doOwe, 1))
	until(t, "it is being settled", func() bool { return h.blocked.Load() == 1 })
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	until(t, "it drains", s.Draining)
	close(h.gate)
	if rep, _ := c.recv(); rep.XID != 1 || !rep.OK() {
		t.Error(&rep)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
