package statesync

import (
	"context"
	"errors"
	"testing"

	"holdfast/internal/nfs4"
)

// TestRefusedStaysRefused: when a client was told that its request is refused, an
// old copy of it that is under way at another gateway has no effect any more,
// although it could be granted by now.
func TestRefusedStaysRefused(t *testing.T) {
	ctx := context.Background()
	for _, recorded := range []bool{true, false} {
		a, b, _, _ := twoGateways(t)
		holder, c := a.client41("holder"), a.client41("c")
		open := c.mustOpen("f")
		theirs := holder.mustOpen("f")
		lock, err := holder.lockVia("f", theirs, "l", 0, 9)
		if err != nil {
			t.Fatal(err)
		}
		args := &LockArgs{Client: c.id, File: "f", Write: true, Length: 9, New: true, Owner: []byte("l"), Stateid: open}
		run := func(w *world, req *Request, fc *fakeCompound) error {
			fc.next()
			fc.start(nfs4.OpLock)
			return w.n.Lock(ctx, req, nil, args, func(nfs4.Stateid) { fc.conclude(nfs4.OK) })
		}
		req, fc := c.begin(0)
		copied, copiedTo := c.elsewhere(b).again(0)
		var denied *LockDenied
		if err := run(a, req, fc); !errors.As(err, &denied) {
			t.Fatalf("LOCK: %v", err)
		}
		fc.conclude(nfs4.ErrDenied)
		if recorded {
			commits := a.n.Stats().Commits
			for range 2 { // the second time it is known
				if err := req.Refuse(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if n := a.n.Stats().Commits - commits; n != 1 {
				t.Errorf("a refusal took %d commits", n)
			}
		}
		req.Finish(fc.reply)
		if _, err := holder.unlock("f", lock, 0, 9); err != nil {
			t.Fatal(err)
		}
		err = run(b, copied, copiedTo)
		switch {
		case recorded && (!errors.Is(err, ErrDuplicate) || copied.Resume == nil || copied.Resume.Status != nfs4.ErrDenied):
			t.Errorf("an old copy at another gateway: %v, %+v", err, copied.Resume)
		case !recorded && err != nil:
			t.Errorf("without a record the copy is granted, but: %v", err)
		}
		copied.Abort()
	}
}

// TestRefusedButDone: who is about to refuse a request finds out that another
// gateway carried it out.
func TestRefusedButDone(t *testing.T) {
	ctx := context.Background()
	a, b, _, _ := twoGateways(t)
	c := a.client41("c")
	req, fc := c.begin(0)
	copied, copiedTo := c.elsewhere(b).again(0)
	if status, err := a.create(req, fc, "n"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	copiedTo.start(nfs4.OpCreate)
	err := copied.Begin(ctx, nfs4.OpCreate, nameN, func() ([]byte, error) {
		if b.fs.has("n") {
			return nil, errExists
		}
		return []byte{}, nil
	})
	if !errors.Is(err, errExists) {
		t.Fatalf("Begin: %v", err)
	}
	copiedTo.conclude(nfs4.ErrExist)
	if err := copied.Refuse(ctx); !errors.Is(err, ErrDuplicate) || copied.Resume == nil || copied.Resume.Status != nfs4.OK {
		t.Errorf("Refuse: %v, %+v", err, copied.Resume)
	}
	copied.Abort()
}

// TestLegacyRefusedButDone: with NFSv4.0 it finds out before the error is one, since
// the owner would keep the error as the result of the seqid.
func TestLegacyRefusedButDone(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	copied, copiedTo := b.legacy(1)
	req, fc := a.legacy(1)
	if status, err := a.create(req, fc, "n"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	req.Finish(fc.reply)
	copiedTo.start(nfs4.OpCreate)
	err := copied.Begin(context.Background(), nfs4.OpCreate, nameN, func() ([]byte, error) { return nil, errExists })
	if !errors.Is(err, ErrDuplicate) || copied.Resume == nil || copied.Resume.Status != nfs4.OK {
		t.Errorf("Begin: %v, %+v", err, copied.Resume)
	}
	copied.Abort()
	other, otherTo := b.legacy(2) // that ran nowhere else
	otherTo.start(nfs4.OpCreate)
	if err := other.Begin(context.Background(), nfs4.OpCreate, nameN, func() ([]byte, error) { return nil, errExists }); !errors.Is(err, errExists) {
		t.Errorf("Begin of another request: %v", err)
	}
	other.Abort()
}

// TestOneGatewayRefusesInMemory: where no other gateway can have a copy a refusal
// costs nothing.
func TestOneGatewayRefusesInMemory(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("c")
	commits := w.n.Stats().Commits
	req, fc := c.begin(0)
	fc.start(nfs4.OpLock)
	fc.conclude(nfs4.ErrDenied)
	if err := req.Refuse(context.Background()); err != nil || w.n.Stats().Commits != commits {
		t.Errorf("%v, %d commits", err, w.n.Stats().Commits-commits)
	}
	req.Finish(fc.reply)
}
