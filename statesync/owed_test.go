package statesync

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
)

// lockLazily runs LOCK in a request that does not wait for it.
func (w *world) lockLazily(r *Request, fc *fakeCompound, a *LockArgs) nfs4.Stateid {
	w.t.Helper()
	r.Lazily()
	fc.start(nfs4.OpLock)
	if err := w.n.Lock(context.Background(), r, nil, a, fc.stateid); err != nil {
		w.t.Fatal(err)
	}
	return stateidOf(fc.reply)
}

// TestOwed: a lazy request does not wait for what it commits before Settle does, and a
// request of several changes waits at the end.
func TestOwed(t *testing.T) {
	var waits atomic.Int64
	store := memory.NewWithHooks(memory.Hooks{Wait: func() error { waits.Add(1); return nil }})
	w := &world{t: t, store: store, clock: &fakeClock{}, fs: newFakeFS()}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(context.Background()) })
	c := w.client41("a")
	open := c.mustOpen("f")
	before := waits.Load()
	r, fc := c.begin(1)
	r.Lazily()
	lock := &LockArgs{Client: c.id, File: "f", Write: true, Length: 9, New: true, Owner: []byte("l"), Stateid: open}
	s := w.lockLazily(r, fc, lock)
	if waits.Load() != before || !r.Owes() {
		t.Errorf("LOCK waited %d times", waits.Load()-before)
	}
	if err := r.Settle(); err != nil || r.Owes() || waits.Load() == before {
		t.Errorf("Settle: %v after %d waits", err, waits.Load()-before)
	}
	r.Finish(fc.reply)
	if _, err := w.n.CheckIO(context.Background(), c.id, "f", s, 2, 0); err != nil {
		t.Error(err)
	}
}

// TestOwedNotDurable: of a lazy request whose changes are lost nothing is said, and
// memory holds what the store holds afterwards. One that is given up is settled first.
func TestOwedNotDurable(t *testing.T) {
	var fail atomic.Bool
	var waits atomic.Int64
	store := memory.NewWithHooks(memory.Hooks{Wait: func() error {
		waits.Add(1)
		if fail.Load() {
			return errors.New("disk on fire")
		}
		return nil
	}})
	w := &world{t: t, store: store, clock: &fakeClock{}, fs: newFakeFS()}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(context.Background()) })
	c := w.client41("a")
	open := c.mustOpen("f")
	lock := &LockArgs{Client: c.id, File: "f", Write: true, Length: 9, New: true, Owner: []byte("l"), Stateid: open}

	fail.Store(true)
	r, fc := c.begin(1)
	w.lockLazily(r, fc, lock)
	if err := r.Begin(context.Background(), nfs4.OpCreate, []Name{{Dir: "d", Name: "x"}}, func() ([]byte, error) { return nil, nil }); !errors.Is(err, ErrFenced) {
		t.Errorf("an operation on files began before the lock was durable: %v", err)
	}
	r.Abort()
	fail.Store(false)
	if _, err := c.lockVia("f", open, "l", 0, 9); err != nil {
		t.Errorf("LOCK once the store is well: %v", err)
	}

	r, fc = c.begin(2)
	lock.Owner, lock.Offset = []byte("n"), 100
	w.lockLazily(r, fc, lock)
	before := waits.Load()
	r.Abort()
	if waits.Load() == before {
		t.Error("a request was given up before its change was durable")
	}
	if r, _ := c.again(2); r.Resume == nil {
		t.Error("a change that holds is not known to a retry")
	}
}
