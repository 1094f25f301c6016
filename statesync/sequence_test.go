package statesync

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"holdfast/internal/nfs4"
)

func TestSequenceOrder(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("a")
	ctx := context.Background()
	seq := func(slot, n uint32, sum uint64) error {
		r, err := w.n.Sequence(ctx, &SequenceArgs{Session: c.session, Slot: slot, Sequence: n, Checksum: sum}, &fakeCompound{})
		if err == nil {
			r.Finish([]byte("reply"))
		}
		return err
	}
	if err := seq(1, 0, 1); !errors.Is(err, ErrSeqMisordered) {
		t.Errorf("sequence 0 on a slot never used: %v", err)
	}
	if err := seq(1, 2, 1); !errors.Is(err, ErrSeqMisordered) {
		t.Errorf("sequence 2 first: %v", err)
	}
	if err := seq(1, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := seq(1, 3, 1); !errors.Is(err, ErrSeqMisordered) {
		t.Errorf("a gap: %v", err)
	}
	if err := seq(1, 1, 2); !errors.Is(err, ErrSeqFalseRetry) {
		t.Errorf("another request under the same sequence: %v", err)
	}
	if err := seq(1, 1, 1); err != nil {
		t.Errorf("a request that changed nothing runs again: %v", err)
	}
	if err := seq(8, 1, 1); !errors.Is(err, ErrBadSlot) {
		t.Errorf("a slot that is none: %v", err)
	}
	if _, err := w.n.Sequence(ctx, &SequenceArgs{Session: c.session, Sequence: 2, Highest: 8}, &fakeCompound{}); !errors.Is(err, ErrBadHighSlot) {
		t.Errorf("highest slot: %v", err)
	}
	if _, err := w.n.Sequence(ctx, &SequenceArgs{Session: nfs4.SessionID{1}, Sequence: 1}, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Errorf("no such session: %v", err)
	}
}

func TestSequenceAfterRestart(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("a")
	for range 5 {
		r, fc := c.begin(0)
		r.Finish(fc.reply)
	}
	w.restart()
	before := w.n.Stats().Commits
	r, fc := c.begin(0)
	if r.Replay != nil || r.Resume != nil {
		t.Error("a new request is taken for an old one")
	}
	r.Finish(fc.reply)
	c.seq[0] += 2
	if _, err := c.send(context.Background(), 0, &fakeCompound{}); !errors.Is(err, ErrSeqMisordered) {
		t.Errorf("once known exactly, a gap: %v", err)
	}
	if n := w.n.Stats().Commits - before; n != 0 {
		t.Errorf("%d commits for requests that changed nothing", n)
	}
}

// TestReplayWaits: a request sent again while it runs waits and gets its reply.
func TestReplayWaits(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("a")
	r, fc := c.begin(2)
	const waiters = 4
	var wg sync.WaitGroup
	replies := make(chan []byte, waiters)
	started := make(chan struct{}, waiters)
	for range waiters {
		wg.Add(1)
		go func() {
			defer wg.Done()
			started <- struct{}{}
			r, err := c.send(context.Background(), 2, &fakeCompound{})
			if err != nil {
				t.Error(err)
				return
			}
			replies <- r.Replay
		}()
	}
	for range waiters {
		<-started
	}
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	wg.Wait()
	close(replies)
	for b := range replies {
		if !bytes.Equal(b, fc.reply) {
			t.Errorf("reply %x, want %x", b, fc.reply)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	r, fc = c.begin(2)
	cancel()
	if _, err := c.send(canceled, 2, &fakeCompound{}); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a context that is done: %v", err)
	}
	r.Finish(fc.reply)
}

func TestDestroySession(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	c := w.client41("a")
	if err := w.n.DestroyClientID(ctx, c.id); !errors.Is(err, ErrClientIDBusy) {
		t.Errorf("destroying a client with a session: %v", err)
	}
	r, fc := c.begin(0)
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	r, fc = c.begin(1)
	if err := w.n.DestroySession(ctx, c.session); err != nil {
		t.Fatal(err)
	}
	if _, err := w.create(r, fc, "y"); !errors.Is(err, ErrBadSession) || w.fs.has("y") {
		t.Errorf("a request of a destroyed session took effect: %v", err)
	}
	if _, err := c.send(ctx, 0, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Errorf("a request in a destroyed session: %v", err)
	}
	if err := w.n.DestroySession(ctx, c.session); !errors.Is(err, ErrBadSession) {
		t.Errorf("destroying it again: %v", err)
	}
	if err := w.n.DestroyClientID(ctx, c.id); err != nil {
		t.Error(err)
	}
	if err := w.n.DestroyClientID(ctx, c.id); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("destroying it again: %v", err)
	}
}

func BenchmarkSequence(b *testing.B) {
	w := newWorld(b, func(c *Config) { c.Now = nil })
	c := w.client41("a")
	fc := &fakeCompound{}
	reply := make([]byte, 200)
	a := &SequenceArgs{Session: c.session, Slot: 3}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		a.Sequence++
		r, err := w.n.Sequence(ctx, a, fc)
		if err != nil {
			b.Fatal(err)
		}
		r.Finish(reply)
	}
}
