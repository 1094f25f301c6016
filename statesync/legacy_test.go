package statesync

import (
	"bytes"
	"context"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
)

func (w *world) legacy(xid uint32) (*Request, *fakeCompound) {
	w.t.Helper()
	fc := &fakeCompound{}
	r, err := w.n.Legacy(context.Background(), xid, 77, "p", fc)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Resume != nil {
		fc.resume(r.Resume)
	}
	return r, fc
}

// TestLegacyDuplicate: an NFSv4.0 request that is sent again, before and after a
// restart, has one effect and gets the first reply.
func TestLegacyDuplicate(t *testing.T) {
	w := newWorld(t, nil)
	r, fc := w.legacy(1)
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	w.fs.remove("x") // so that running it again would succeed, and be seen
	for _, restart := range []bool{false, true} {
		if restart {
			w.restart()
		}
		r2, fc2 := w.legacy(1)
		if r2.Resume == nil {
			t.Fatalf("restart %v: runs as a new request", restart)
		}
		if status, err := w.create(r2, fc2, "x"); err != nil || status != nfs4.OK {
			t.Errorf("restart %v: %v %v", restart, status, err)
		}
		if !bytes.Equal(fc.reply, fc2.reply) {
			t.Errorf("restart %v: reply %x, want %x", restart, fc2.reply, fc.reply)
		}
	}
	if w.fs.made["x"] != 1 {
		t.Errorf("made %d times", w.fs.made["x"])
	}
	r3, fc3 := w.legacy(2)
	if status, err := w.create(r3, fc3, "x"); err != nil || status != nfs4.OK {
		t.Errorf("another xid: %v %v", status, err)
	}
}

// TestLegacyWaits: a duplicate of a request that runs waits for it.
func TestLegacyWaits(t *testing.T) {
	w := newWorld(t, nil)
	r, fc := w.legacy(1)
	got := make(chan *Request)
	started := make(chan struct{})
	go func() {
		close(started)
		r, err := w.n.Legacy(context.Background(), 1, 77, "p", &fakeCompound{})
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	<-started
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	again := <-got
	if again == nil || again.Resume == nil {
		t.Fatal("the duplicate ran as a new request")
	}
	again.Finish(nil)
	if n := len(w.n.drc.entries); n != 0 {
		t.Errorf("%d entries stay in memory", n)
	}
}

func TestLegacyForgotten(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	for xid := range uint32(600) {
		r, fc := w.legacy(xid)
		fc.start(nfs4.OpSetAttr)
		if err := r.Begin(ctx, nfs4.OpSetAttr, nil, func() ([]byte, error) { return nil, nil }); err != nil {
			t.Fatal(err)
		}
		if err := r.Done(ctx, func() { fc.conclude(nfs4.OK) }); err != nil {
			t.Fatal(err)
		}
		r.Finish(fc.reply)
	}
	count := func() (n int) {
		if err := w.store.Scan(ctx, prefixDRC, func(durable.Group) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	w.restart()
	for _, left := range []int{600, 600, 0} {
		if err := w.n.sweepAll(ctx); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != left {
			t.Errorf("%d entries in the store, want %d", n, left)
		}
		w.clock.advance(time.Minute)
	}
}
