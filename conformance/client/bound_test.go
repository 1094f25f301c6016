package client

import (
	"errors"
	"net"
	"testing"
	"time"

	"holdfast/internal/nfs4"
)

// nobody returns a connection whose other end takes nothing.
func nobody(t *testing.T) *Conn {
	here, there := net.Pipe()
	t.Cleanup(func() { _ = there.Close() })
	c := NewConn(here, Options{Timeout: 20 * time.Millisecond})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Who holds the only slot and sends another request is told so.
func TestNoSlotEver(t *testing.T) {
	s := NewSession(nobody(t), 1, 1, &CreateSessionRes{Fore: ChannelAttrs{MaxRequests: 1}})
	sl := s.Acquire()
	if all, free := s.Slots(); all != 1 || free != 0 {
		t.Errorf("%d slots, %d free", all, free)
	}
	if _, err := s.Compound(PutRootFH()); !errors.Is(err, ErrNoSlot) {
		t.Errorf("got %v", err)
	}
	s.Release(sl)
	if got, err := s.acquireWithin(0); err != nil || got != sl {
		t.Errorf("got %v, %v", got, err)
	}
}

// A slot that comes free is given to who waits for it.
func TestSlotComesFree(t *testing.T) {
	s := NewSession(nobody(t), 1, 1, &CreateSessionRes{Fore: ChannelAttrs{MaxRequests: 1}})
	sl := s.Acquire()
	go s.Release(sl)
	if got, err := s.acquireWithin(time.Minute); err != nil || got != sl {
		t.Errorf("got %v, %v", got, err)
	}
}

// A server that reads no more holds up nobody for ever.
func TestRequestNotTaken(t *testing.T) {
	c := nobody(t)
	if _, err := c.Do(NewCompound(c.Cred(), 1, "", PutRootFH())); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Do(NewCall(c.Cred(), nfs4.ProcNull, nil)); err == nil {
		t.Error("the connection goes on")
	}
}
