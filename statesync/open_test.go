package statesync

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast/internal/nfs4"
)

// commits runs fn and returns how many batches it committed.
func (w *world) commits(fn func()) uint64 {
	before := w.n.Stats().Commits
	fn()
	return w.n.Stats().Commits - before
}

// open41 runs a COMPOUND of OPEN in a request that began. It goes on where an
// earlier run stopped.
func (w *world) open41(r *Request, fc *fakeCompound, a *OpenArgs) (nfs4.Stateid, error) {
	w.t.Helper()
	if fc.index > 0 {
		r.Finish(fc.reply)
		return stateidOf(fc.reply), nil
	}
	fc.start(nfs4.OpOpen)
	err := w.n.Open(context.Background(), r, nil, a, func(res *OpenResult) { fc.stateid(res.Stateid) })
	w.end(r, fc, err)
	if err != nil {
		return nfs4.Stateid{}, err
	}
	return stateidOf(fc.reply), nil
}

// end ends a request as nfsops does.
func (w *world) end(r *Request, fc *fakeCompound, err error) {
	if errors.Is(err, ErrFenced) || errors.Is(err, ErrDuplicate) {
		r.Abort()
		return
	}
	if err != nil {
		fc.conclude(nfs4.ErrDelay)
	}
	r.Finish(fc.reply)
}

func (c *fakeCompound) stateid(s nfs4.Stateid) {
	c.conclude(nfs4.OK, byte(s.Seqid>>24), byte(s.Seqid>>16), byte(s.Seqid>>8), byte(s.Seqid))
	c.reply = append(c.reply, s.Other[:]...)
}

func stateidOf(reply []byte) (s nfs4.Stateid) {
	b := reply[len(reply)-16:]
	s.Seqid = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	copy(s.Other[:], b[4:])
	return s
}

func openArgs(owner string, f FileKey, access, deny uint32) *OpenArgs {
	return &OpenArgs{Owner: []byte(owner), File: f, Access: access, Deny: deny, UID: 7}
}

func (c *client41) open(f FileKey, access, deny uint32) (nfs4.Stateid, error) {
	c.w.t.Helper()
	r, fc := c.begin(0)
	return c.w.open41(r, fc, openArgs("o", f, access, deny))
}

func (c *client41) mustOpen(f FileKey) nfs4.Stateid {
	c.w.t.Helper()
	s, err := c.open(f, 3, 0)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return s
}

func (c *client41) close(f FileKey, s nfs4.Stateid) error {
	c.w.t.Helper()
	r, fc := c.begin(0)
	fc.start(nfs4.OpClose)
	err := c.w.n.CloseFile(context.Background(), r, nil, c.id, f, s, func(res *OpenResult) { fc.stateid(res.Stateid) })
	c.w.end(r, fc, err)
	return err
}

// lockVia locks by a new lock owner through an open.
func (c *client41) lockVia(f FileKey, open nfs4.Stateid, owner string, off, length uint64) (nfs4.Stateid, error) {
	c.w.t.Helper()
	return c.lock(&LockArgs{Client: c.id, File: f, Write: true, Offset: off, Length: length, New: true, Owner: []byte(owner), Stateid: open})
}

func (c *client41) lock(a *LockArgs) (nfs4.Stateid, error) {
	c.w.t.Helper()
	r, fc := c.begin(0)
	return c.w.lock41(r, fc, a)
}

func (w *world) lock41(r *Request, fc *fakeCompound, a *LockArgs) (nfs4.Stateid, error) {
	w.t.Helper()
	if fc.index > 0 {
		r.Finish(fc.reply)
		return stateidOf(fc.reply), nil
	}
	fc.start(nfs4.OpLock)
	err := w.n.Lock(context.Background(), r, nil, a, fc.stateid)
	w.end(r, fc, err)
	if err != nil {
		return nfs4.Stateid{}, err
	}
	return stateidOf(fc.reply), nil
}

func (c *client41) unlock(f FileKey, s nfs4.Stateid, off, length uint64) (nfs4.Stateid, error) {
	c.w.t.Helper()
	r, fc := c.begin(0)
	fc.start(nfs4.OpLockU)
	err := c.w.n.Unlock(context.Background(), r, nil, c.id, f, s, off, length, fc.stateid)
	c.w.end(r, fc, err)
	if err != nil {
		return nfs4.Stateid{}, err
	}
	return stateidOf(fc.reply), nil
}

// TestOneCommit: each state operation costs one commit, and I/O none.
func TestOneCommit(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("a")
	ctx := context.Background()
	var open, lock nfs4.Stateid
	var err error
	for _, step := range []struct {
		name string
		want uint64
		run  func()
	}{
		{"OPEN", 1, func() { open, err = c.open("f", 3, 0) }},
		{"OPEN again", 1, func() { open, err = c.open("f", 1, 0) }},
		{"LOCK", 1, func() { lock, err = c.lockVia("f", open, "l", 0, 10) }},
		{"LOCK again", 1, func() {
			lock, err = c.lock(&LockArgs{Client: c.id, File: "f", Write: true, Offset: 20, Length: 5, Stateid: lock})
		}},
		{"LOCKU", 1, func() { lock, err = c.unlock("f", lock, 0, 100) }},
		{"READ", 0, func() { _, err = w.n.CheckIO(ctx, c.id, "f", open, 1, 0) }},
		{"WRITE by lock", 0, func() { _, err = w.n.CheckIO(ctx, c.id, "f", lock, 2, 0) }},
		{"TEST_STATEID", 0, func() { err = w.n.TestStateid(ctx, c.id, lock, 0) }},
		{"CLOSE", 1, func() { err = c.close("f", open) }},
	} {
		loads := w.n.Stats().Loads
		if got := w.commits(step.run); got != step.want || err != nil {
			t.Errorf("%s: %d commits, want %d; error %v", step.name, got, step.want, err)
		}
		if n := w.n.Stats().Loads - loads; n != 0 && step.name != "OPEN" {
			t.Errorf("%s: %d loads", step.name, n)
		}
	}
	if err := w.n.TestStateid(ctx, c.id, open, 0); !errors.Is(err, ErrBadStateid) {
		t.Errorf("a closed stateid: %v", err)
	}
	if w.n.InUse("f") {
		t.Error("a closed file is in use")
	}
}

// TestOpenReplay: an OPEN that is sent again is not run again.
func TestOpenReplay(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("a")
	s := c.mustOpen("f")
	r, _ := c.again(0)
	if r.Replay == nil || stateidOf(r.Replay) != s {
		t.Errorf("replay from memory: %x", r.Replay)
	}
	w.restart()
	r, fc := c.again(0)
	if r.Resume == nil {
		t.Fatal("the store does not know the request")
	}
	again, err := w.open41(r, fc, openArgs("o", "f", 3, 0))
	if err != nil || again != s {
		t.Errorf("replay after a restart: %v %v, want %v", again, err, s)
	}
	if s, err := c.open("f", 3, 0); err != nil || s.Seqid != 2 {
		t.Errorf("the next OPEN: %v %v", s, err)
	}
}

// TestStateCrash ends the gateway at every commit of OPEN, LOCK, LOCKU and CLOSE,
// and sends each request again.
func TestStateCrash(t *testing.T) {
	type step struct {
		name string
		run  func(w *world, c *client41, r *Request, fc *fakeCompound, open, lock nfs4.Stateid) error
	}
	steps := []step{
		{"OPEN", func(w *world, _ *client41, r *Request, fc *fakeCompound, _, _ nfs4.Stateid) error {
			_, err := w.open41(r, fc, openArgs("o", "f", 3, 0))
			return err
		}},
		{"LOCK", func(w *world, c *client41, r *Request, fc *fakeCompound, open, _ nfs4.Stateid) error {
			_, err := w.lock41(r, fc, &LockArgs{Client: c.id, File: "f", Write: true, Length: 9, New: true, Owner: []byte("l"), Stateid: open})
			return err
		}},
		{"LOCKU", func(w *world, c *client41, r *Request, fc *fakeCompound, _, lock nfs4.Stateid) error {
			if fc.index > 0 {
				r.Finish(fc.reply)
				return nil
			}
			fc.start(nfs4.OpLockU)
			err := w.n.Unlock(context.Background(), r, nil, c.id, "f", lock, 0, 9, fc.stateid)
			w.end(r, fc, err)
			return err
		}},
		{"CLOSE", func(w *world, c *client41, r *Request, fc *fakeCompound, open, _ nfs4.Stateid) error {
			if fc.index > 0 {
				r.Finish(fc.reply)
				return nil
			}
			fc.start(nfs4.OpClose)
			err := w.n.CloseFile(context.Background(), r, nil, c.id, "f", open, func(res *OpenResult) { fc.stateid(res.Stateid) })
			w.end(r, fc, err)
			return err
		}},
	}
	for crashed := range steps {
		for at := int64(1); at <= 2; at++ {
			w, store := arm(t)
			c := w.client41("a")
			var open, lock nfs4.Stateid
			for i, s := range steps {
				r, fc := c.begin(1)
				if i == crashed {
					store.left.Store(at)
					if err := s.run(w, c, r, fc, open, lock); err == nil {
						t.Fatalf("%s: no crash at effect %d", s.name, at)
					}
					w.crash(store)
					r, fc = c.again(1)
				}
				if err := s.run(w, c, r, fc, open, lock); err != nil {
					t.Fatalf("crash at effect %d of %s: %s: %v", at, steps[crashed].name, s.name, err)
				}
				got := stateidOf(fc.reply)
				want := uint32(1)
				switch s.name {
				case "OPEN":
					open = got
				case "LOCK":
					lock = got
				case "LOCKU", "CLOSE":
					want = 2
				}
				if got.Seqid != want {
					t.Errorf("crash at effect %d of %s: %s gives seqid %d, want %d", at, steps[crashed].name, s.name, got.Seqid, want)
				}
			}
			if infos, err := w.n.Locks(context.Background()); err != nil || len(infos) != 0 {
				t.Errorf("crash at effect %d of %s: left %+v %v", at, steps[crashed].name, infos, err)
			}
		}
	}
}

func TestShareDenied(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	a, b := w.client41("a"), w.client41("b")
	s, err := a.open("f", 1, nfs4.ShareDenyWrite)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.open("f", 2, 0); !errors.Is(err, ErrShareDenied) {
		t.Errorf("OPEN against a deny: %v", err)
	}
	if err := w.n.ConflictsWithDeny(ctx, "f", 2); !errors.Is(err, ErrLocked) {
		t.Errorf("anonymous WRITE against a deny: %v", err)
	}
	if err := w.n.ConflictsWithDeny(ctx, "f", 1); err != nil {
		t.Errorf("anonymous READ: %v", err)
	}
	if _, err := w.n.CheckIO(ctx, a.id, "f", s, 2, 0); !errors.Is(err, ErrOpenMode) {
		t.Errorf("WRITE by an open for reading: %v", err)
	}
	if _, err := w.n.CheckIO(ctx, b.id, "f", s, 1, 0); !errors.Is(err, ErrBadStateid) {
		t.Errorf("another client's stateid: %v", err)
	}
	if io, err := w.n.CheckIO(ctx, a.id, "f", s, 1, 0); err != nil || io.UID != 7 || io.Client != a.id {
		t.Errorf("READ: %+v %v", io, err)
	}
}

// TestCourtesy: a client that is late keeps its state until somebody wants it.
func TestCourtesy(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	a, b := w.client41("a"), w.client41("b")
	open := a.mustOpen("f")
	if _, err := a.lockVia("f", open, "l", 0, 10); err != nil {
		t.Fatal(err)
	}
	other := b.mustOpen("f")
	w.clock.advance(9 * time.Second)
	b.mustOpen("g") // b is heard of
	w.clock.advance(5 * time.Second)
	if _, err := b.lockVia("f", other, "l", 20, 10); err != nil {
		t.Fatal(err)
	}
	r, fc := a.begin(0)
	r.Finish(fc.reply) // late, and in nobody's way
	if _, err := w.n.CheckIO(ctx, a.id, "f", open, 1, 0); err != nil {
		t.Fatal(err)
	}
	var denied *LockDenied
	if _, err := b.lockVia("f", other, "l2", 0, 10); !errors.As(err, &denied) || denied.Client != a.id || string(denied.Owner) != "l" {
		t.Fatalf("a lock of a client that was heard of: %v", err)
	}
	w.clock.advance(5 * time.Second)
	b.mustOpen("g")
	w.clock.advance(6 * time.Second) // a is late
	if err := w.n.TestLock(ctx, &LockArgs{Client: b.id, Owner: []byte("l2"), File: "f", Write: true, Length: 10}); err != nil {
		t.Errorf("LOCKT against a late client: %v", err)
	}
	if _, err := b.lockVia("f", other, "l2", 0, 10); err != nil {
		t.Errorf("LOCK against a late client: %v", err)
	}
	if _, err := a.send(ctx, 0, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Errorf("the revoked client comes back: %v", err)
	}
	if _, err := w.n.CheckIO(ctx, a.id, "f", open, 1, 0); !errors.Is(err, ErrBadStateid) {
		t.Errorf("its stateid: %v", err)
	}
	if err := w.n.sweepAll(ctx); err != nil {
		t.Fatal(err)
	}
	infos, err := w.n.Locks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Client != b.id {
			t.Errorf("left behind: %+v", i)
		}
	}
}

// TestCourtesyAfterRestart: a revoked client stays revoked, and a client counts
// as heard of when the gateway starts.
func TestCourtesyAfterRestart(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.client41("a"), w.client41("b")
	if _, err := a.open("f", 3, nfs4.ShareDenyBoth); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Minute)
	w.restart()
	if _, err := b.open("f", 1, 0); !errors.Is(err, ErrShareDenied) {
		t.Errorf("right after a restart: %v", err)
	}
	w.clock.advance(11 * time.Second)
	if _, err := b.open("f", 1, 0); err != nil {
		t.Errorf("a lease after a restart: %v", err)
	}
	w.restart()
	if _, err := a.send(context.Background(), 0, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Errorf("the revoked client: %v", err)
	}
}

func TestGrace(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	x, err := w.n.ExchangeID(ctx, &ExchangeIDArgs{Owner: []byte("a"), Principal: "p", Minor: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := &client41{w: w, id: x.Client}
	c.session = c.newSession(1)
	if _, err := c.open("f", 1, 0); !errors.Is(err, ErrGrace) {
		t.Errorf("OPEN before RECLAIM_COMPLETE: %v", err)
	}
	r, fc := c.begin(0)
	a := openArgs("o", "f", 1, 0)
	a.Claim = nfs4.ClaimPrevious
	if _, err := w.open41(r, fc, a); !errors.Is(err, ErrNoGrace) {
		t.Errorf("a reclaim: %v", err)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Opens, c.Limits.Locks = 3, 3 })
	c := w.client41("a")
	var open nfs4.Stateid
	for i := range 3 {
		open = c.mustOpen(FileKey(fmt.Sprint("f", i)))
	}
	if _, err := c.open("f3", 1, 0); !errors.Is(err, ErrResource) {
		t.Errorf("the fourth open: %v", err)
	}
	w.restart()
	if _, err := c.open("f3", 1, 0); !errors.Is(err, ErrResource) {
		t.Errorf("the fourth open after a restart: %v", err)
	}
	if _, err := c.open("f2", 3, 0); err != nil {
		t.Errorf("an upgrade: %v", err)
	}
	lock, err := c.lockVia("f2", nfs4.Stateid{Other: open.Other}, "l", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	at := func(off uint64) error {
		lock, err = c.lock(&LockArgs{Client: c.id, File: "f2", Write: true, Offset: off, Length: 1, Stateid: nfs4.Stateid{Other: lock.Other}})
		return err
	}
	keep := lock
	if err := errors.Join(at(2), at(4)); err != nil {
		t.Fatal(err)
	}
	w.restart()
	lock = keep
	if err := at(6); !errors.Is(err, ErrResource) {
		t.Errorf("the fourth range: %v", err)
	}
	lock = keep
	if err := at(5); err != nil {
		t.Errorf("a range that joins one: %v", err)
	}
}

// TestFreeStateid: RFC 8881 §18.38.
func TestFreeStateid(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	c := w.client41("a")
	open := c.mustOpen("f")
	lock, err := c.lockVia("f", open, "l", 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	free := func(s nfs4.Stateid) error {
		r, fc := c.begin(0)
		fc.start(nfs4.OpFreeStateid)
		err := w.n.FreeStateid(ctx, r, c.id, s, func() { fc.conclude(nfs4.OK) })
		w.end(r, fc, err)
		return err
	}
	if err := free(lock); !errors.Is(err, ErrLocksHeld) {
		t.Errorf("with a range locked: %v", err)
	}
	if err := free(open); !errors.Is(err, ErrLocksHeld) {
		t.Errorf("an open: %v", err)
	}
	if lock, err = c.unlock("f", lock, 0, 10); err != nil {
		t.Fatal(err)
	}
	w.restart() // the file is not in memory then
	if err := w.n.TestStateid(ctx, c.id, lock, 0); err != nil {
		t.Errorf("TEST_STATEID: %v", err)
	}
	if err := free(lock); err != nil {
		t.Error(err)
	}
	if err := free(lock); !errors.Is(err, ErrBadStateid) {
		t.Errorf("again: %v", err)
	}
}

func TestEvict(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	a, b := w.client41("a"), w.client41("b")
	mine, err := a.open("f", 3, nfs4.ShareDenyBoth)
	if err != nil {
		t.Fatal(err)
	}
	r, fc := a.begin(1)
	if err := w.n.Evict(ctx, a.id); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open41(r, fc, openArgs("o", "g", 1, 0)); !errors.Is(err, ErrBadSession) {
		t.Errorf("a request under way: %v", err)
	}
	if _, err := w.n.CheckIO(ctx, a.id, "f", mine, 1, 0); !errors.Is(err, ErrBadStateid) {
		t.Errorf("I/O under way: %v", err)
	}
	if _, err := b.open("f", 1, 0); err != nil {
		t.Errorf("OPEN after the eviction: %v", err)
	}
	infos, err := w.n.Clients(ctx)
	if err != nil || len(infos) != 1 || infos[0].ID != b.id || infos[0].Opens != 1 || infos[0].Sessions != 1 {
		t.Errorf("%+v %v", infos, err)
	}
	if err := w.n.Evict(ctx, a.id); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("again: %v", err)
	}
}

// TestFilesLeaveMemory: a file that nobody has open does not stay in memory, and
// one that is not used can be dropped and comes back.
func TestFilesLeaveMemory(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	c := w.client41("a")
	s := c.mustOpen("f")
	if err := c.close("g", c.mustOpen("g")); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Second)
	if err := w.n.sweepFiles(); err != nil {
		t.Fatal(err)
	}
	if n := w.n.Stats().Files; n != 1 {
		t.Errorf("%d files in memory, want 1", n)
	}
	w.clock.advance(200 * time.Second)
	if err := w.n.sweepFiles(); err != nil {
		t.Fatal(err)
	}
	if n := w.n.Stats().Files; n != 0 || w.n.byHash.len() != 0 {
		t.Errorf("%d files in memory, want none", n)
	}
	if _, err := w.n.CheckIO(ctx, c.id, "f", s, 2, 0); err != nil {
		t.Error(err)
	}
}
