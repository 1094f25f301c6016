package statesync

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
)

// client40 is an NFSv4.0 client with one open owner.
type owner40 struct {
	w    *world
	id   ClientID
	name []byte
	seq  uint32
	xid  uint32
}

func (w *world) owner40(id, name string) *owner40 {
	w.t.Helper()
	return &owner40{w: w, id: w.client40(id), name: []byte(name), seq: 100, xid: uint32(name[0]) << 16}
}

// do runs one operation with the owner's sequence, as nfsops does: turn takes
// the turn, op runs the operation.
func (o *owner40) do(op nfs4.Op, turn func(*Request) (*Turn, error), run func(*Request, *Turn, *fakeCompound) error) (*fakeCompound, error) {
	o.w.t.Helper()
	o.xid++
	return o.as(o.xid, op, turn, run)
}

func (o *owner40) as(xid uint32, op nfs4.Op, turn func(*Request) (*Turn, error), run func(*Request, *Turn, *fakeCompound) error) (*fakeCompound, error) {
	o.w.t.Helper()
	r, fc := o.w.legacy(xid)
	if fc.index > 0 {
		r.Finish(fc.reply)
		return fc, nil
	}
	fc.cur = []byte("fh")
	fc.start(op)
	t, err := turn(r)
	if err != nil {
		o.w.end(r, fc, err)
		return fc, err
	}
	defer t.Release()
	if t.Replay != nil {
		fc.reply = append(fc.reply[:fc.opStart+4], t.Replay...)
		r.Finish(fc.reply)
		return fc, nil
	}
	if err = run(r, t, fc); err != nil {
		if ferr := t.Fail(context.Background(), func() { fc.conclude(nfs4.ErrDelay) }); ferr != nil {
			o.w.t.Fatal(ferr)
		}
		if ferr := r.Refuse(context.Background()); ferr != nil {
			o.w.t.Fatal(ferr)
		}
	}
	r.Finish(fc.reply)
	return fc, err
}

func (o *owner40) open(f FileKey, access, deny, seq uint32) (nfs4.Stateid, bool, error) {
	o.w.t.Helper()
	var confirm bool
	fc, err := o.do(nfs4.OpOpen, func(r *Request) (*Turn, error) {
		return o.w.n.OpenOwnerTurn(context.Background(), r, o.id, o.name, seq)
	}, func(r *Request, t *Turn, fc *fakeCompound) error {
		return o.w.n.Open(context.Background(), r, t, &OpenArgs{Client: o.id, Owner: o.name, File: f, Access: access, Deny: deny},
			func(res *OpenResult) { confirm = res.NeedConfirm; fc.stateid(res.Stateid) })
	})
	if err != nil {
		return nfs4.Stateid{}, false, err
	}
	return stateidOf(fc.reply), confirm, nil
}

func (o *owner40) mustOpen(f FileKey) nfs4.Stateid {
	o.w.t.Helper()
	o.seq++
	s, confirm, err := o.open(f, 3, 0, o.seq)
	if err == nil && confirm {
		o.seq++
		s, err = o.confirm(f, s, o.seq)
	}
	if err != nil {
		o.w.t.Fatal(err)
	}
	return s
}

func (o *owner40) state(op nfs4.Op, f FileKey, s nfs4.Stateid, seq uint32, run func(*Request, *Turn, *fakeCompound) error) (nfs4.Stateid, error) {
	o.w.t.Helper()
	fc, err := o.do(op, func(r *Request) (*Turn, error) {
		return o.w.n.StateTurn(context.Background(), r, op, f, s, seq)
	}, run)
	if err != nil {
		return nfs4.Stateid{}, err
	}
	return stateidOf(fc.reply), nil
}

func (o *owner40) confirm(f FileKey, s nfs4.Stateid, seq uint32) (nfs4.Stateid, error) {
	return o.state(nfs4.OpOpenConfirm, f, s, seq, func(r *Request, t *Turn, fc *fakeCompound) error {
		return o.w.n.OpenConfirm(context.Background(), r, t, f, s, func(res *OpenResult) { fc.stateid(res.Stateid) })
	})
}

func (o *owner40) close(f FileKey, s nfs4.Stateid, seq uint32) (nfs4.Stateid, error) {
	return o.state(nfs4.OpClose, f, s, seq, func(r *Request, t *Turn, fc *fakeCompound) error {
		return o.w.n.CloseFile(context.Background(), r, t, 0, f, s, func(res *OpenResult) { fc.stateid(res.Stateid) })
	})
}

func (o *owner40) lockNew(f FileKey, open nfs4.Stateid, seq uint32, owner string, lockSeq uint32) (nfs4.Stateid, error) {
	o.w.t.Helper()
	ctx := context.Background()
	fc, err := o.do(nfs4.OpLock, func(r *Request) (*Turn, error) {
		return o.w.n.LockOwnerTurn(ctx, r, f, open, seq, o.id, []byte(owner), lockSeq)
	}, func(r *Request, t *Turn, fc *fakeCompound) error {
		return o.w.n.Lock(ctx, r, t, &LockArgs{Client: o.id, File: f, Write: true, Length: 10, New: true, Owner: []byte(owner), Stateid: open}, fc.stateid)
	})
	if err != nil {
		return nfs4.Stateid{}, err
	}
	return stateidOf(fc.reply), nil
}

func (o *owner40) unlock(f FileKey, lock nfs4.Stateid, seq uint32) (nfs4.Stateid, error) {
	return o.state(nfs4.OpLockU, f, lock, seq, func(r *Request, t *Turn, fc *fakeCompound) error {
		return o.w.n.Unlock(context.Background(), r, t, 0, f, lock, 0, 10, fc.stateid)
	})
}

// TestOpenConfirm: RFC 7530 §9.1.11, §16.18.
func TestOpenConfirm(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	o := w.owner40("a", "o")
	s, confirm, err := o.open("f", 3, 0, 7)
	if err != nil || !confirm || s.Seqid != 1 {
		t.Fatalf("OPEN of a new owner: %v %v %v", s, confirm, err)
	}
	if _, err := w.n.CheckIO(ctx, 0, "f", s, 1, 0); !errors.Is(err, ErrBadStateid) {
		t.Errorf("READ before OPEN_CONFIRM: %v", err)
	}
	// An OPEN with whatever sequence takes the place of one that was not confirmed.
	s2, confirm, err := o.open("g", 3, 0, 40)
	if err != nil || !confirm {
		t.Fatalf("OPEN instead: %v %v", confirm, err)
	}
	if infos, _ := w.n.Locks(ctx); len(infos) != 1 || infos[0].File != "g" {
		t.Errorf("the open that was not confirmed is still there: %+v", infos)
	}
	s2, err = o.confirm("g", s2, 41)
	if err != nil || s2.Seqid != 2 {
		t.Fatalf("OPEN_CONFIRM: %v %v", s2, err)
	}
	if _, err := w.n.CheckIO(ctx, 0, "g", s2, 1, 0); err != nil {
		t.Errorf("READ: %v", err)
	}
	if _, err := o.confirm("g", s2, 42); !errors.Is(err, ErrBadStateid) {
		t.Errorf("OPEN_CONFIRM again: %v", err)
	}
	if _, confirm, err := o.open("f", 1, 0, 43); err != nil || confirm {
		t.Errorf("OPEN of a confirmed owner: %v %v", confirm, err)
	}
}

// TestOwnerSequence: RFC 7530 §9.1.7.
func TestOwnerSequence(t *testing.T) {
	w := newWorld(t, nil)
	o := w.owner40("a", "o")
	s := o.mustOpen("f")
	again, err := o.confirm("f", nfs4.Stateid{Seqid: 1, Other: s.Other}, o.seq)
	if err != nil || again != s {
		t.Errorf("OPEN_CONFIRM sent again: %v %v, want %v", again, err, s)
	}
	if _, _, err := o.open("f", 3, 0, o.seq+2); !errors.Is(err, ErrBadSeqid) {
		t.Errorf("a gap: %v", err)
	}
	if _, _, err := o.open("f", 3, 0, o.seq); !errors.Is(err, ErrBadSeqid) {
		t.Errorf("another operation under the last sequence: %v", err)
	}
	if _, err := o.close("f", s, o.seq); !errors.Is(err, ErrBadSeqid) {
		t.Errorf("CLOSE under the last sequence, OPEN_CONFIRM's: %v", err)
	}
	if _, _, err := o.open("f", 1, 0, o.seq-1); !errors.Is(err, ErrBadSeqid) {
		t.Errorf("the sequence before: %v", err)
	}
	// An error advances the sequence, and a retry gets it again.
	if _, _, err := o.open("f", 9, 0, o.seq+1); !errors.Is(err, ErrInval) {
		t.Errorf("a wrong access: %v", err)
	}
	fc, err := o.do(nfs4.OpOpen, func(r *Request) (*Turn, error) {
		return w.n.OpenOwnerTurn(context.Background(), r, o.id, o.name, o.seq+1)
	}, func(*Request, *Turn, *fakeCompound) error { return errors.New("ran") })
	if err != nil || !bytes.Equal(fc.reply[4:8], []byte{0, 0, 39, 24}) {
		t.Errorf("the error again: %x %v", fc.reply, err)
	}
	o.seq += 2
	if s, _, err = o.open("f", 3, 0, o.seq); err != nil {
		t.Fatalf("the sequence after the error: %v", err)
	}
	o.seq++
	closed, err := o.close("f", s, o.seq)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := o.close("f", s, o.seq); err != nil || again != closed {
		t.Errorf("CLOSE sent again: %v %v, want %v", again, err, closed)
	}
	if _, err := o.close("f", s, o.seq+1); !errors.Is(err, ErrBadStateid) {
		t.Errorf("CLOSE of what is closed: %v", err)
	}
}

// TestOwnerAfterRestart: sequences go on after a restart, also where the last
// operation failed and was not recorded.
func TestOwnerAfterRestart(t *testing.T) {
	w := newWorld(t, nil)
	o := w.owner40("a", "o")
	s := o.mustOpen("f")
	w.restart()
	if again, err := o.confirm("f", nfs4.Stateid{Seqid: 1, Other: s.Other}, o.seq); err != nil || again != s {
		t.Errorf("OPEN_CONFIRM sent again after a restart: %v %v", again, err)
	}
	o.seq++
	if _, _, err := o.open("f", 9, 0, o.seq); !errors.Is(err, ErrInval) {
		t.Fatal(err)
	}
	w.restart()
	if s = o.mustOpen("f"); s.Seqid != 3 {
		t.Errorf("OPEN after that: %v", s)
	}
	o.seq += 2
	if _, err := o.close("f", s, o.seq); !errors.Is(err, ErrBadSeqid) {
		t.Errorf("a gap once the sequence is known: %v", err)
	}
	o.seq--
	if _, err := o.close("f", s, o.seq); err != nil {
		t.Error(err)
	}
}

// TestCloseAgainElsewhere: a CLOSE that is sent again to a gateway that has not
// heard of its client gets its reply.
func TestCloseAgainElsewhere(t *testing.T) {
	a := newWorld(t, func(c *Config) { c.Shared = true })
	b := &world{t: t, store: a.store, clock: a.clock, fs: a.fs, seed: 7, cfg: func(c *Config) { c.Shared, c.Name = true, "b" }}
	b.join()
	t.Cleanup(func() { _ = b.n.Close(context.Background()) })
	o := a.owner40("a", "o")
	s := o.mustOpen("f")
	o.seq++
	closed, err := o.close("f", s, o.seq)
	if err != nil {
		t.Fatal(err)
	}
	if b.n.clients.get(o.id) != nil {
		t.Fatal("the other gateway has heard of the client")
	}
	o.w = b
	if again, err := o.close("f", s, o.seq); err != nil || again != closed {
		t.Errorf("%v %v, want %v", again, err, closed)
	}
}

// TestClosedUnheardOf: a stateid that was closed is NFS4ERR_BAD_STATEID also at a
// gateway that has not heard of its client, which NFS4ERR_EXPIRED would send into
// recovery (RFC 7530 §13.1.5).
func TestClosedUnheardOf(t *testing.T) {
	ctx := context.Background()
	use := map[string]func(*world, *owner40, nfs4.Stateid) error{
		"WRITE": func(w *world, _ *owner40, s nfs4.Stateid) error {
			_, err := w.n.CheckIO(ctx, 0, "f", s, nfs4.ShareAccessWrite, 0)
			return err
		},
		"CLOSE": func(_ *world, o *owner40, s nfs4.Stateid) error {
			o.seq++
			_, err := o.close("f", s, o.seq)
			return err
		},
		"OPEN_DOWNGRADE": func(_ *world, o *owner40, s nfs4.Stateid) error {
			o.seq++
			_, err := o.state(nfs4.OpOpenDowngrade, "f", s, o.seq, func(r *Request, t *Turn, _ *fakeCompound) error {
				return o.w.n.OpenDowngrade(ctx, r, t, 0, "f", s, nfs4.ShareAccessRead, 0, func(*OpenResult) {})
			})
			return err
		},
	}
	for name, use := range use {
		t.Run(name, func(t *testing.T) {
			ws := shared(t, 2)
			a, b := ws[0], ws[1]
			o := a.owner40("a", "o")
			openAndClose := func(f FileKey) nfs4.Stateid {
				s := o.mustOpen(f)
				o.seq++
				if _, err := o.close(f, s, o.seq); err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := openAndClose("f")
			openAndClose("g") // only of its last CLOSE does an owner keep the reply
			if b.n.clients.get(o.id) != nil {
				t.Fatal("the other gateway has heard of the client")
			}
			o.w = b
			if err := use(b, o, s); !errors.Is(err, ErrBadStateid) {
				t.Errorf("%v, want NFS4ERR_BAD_STATEID", err)
			}
		})
	}
}

// slowly is a store that takes time to look through the clients.
type slowly struct {
	durable.Store
	clock *fakeClock
	looks atomic.Int32
}

func (s *slowly) Scan(ctx context.Context, prefix string, fn func(durable.Group) bool) error {
	if prefix == prefixClient {
		s.looks.Add(1)
		s.clock.advance(100 * time.Millisecond)
	}
	return s.Store.Scan(ctx, prefix, fn)
}

// TestNobodysStateids: who sends stateids that are nobody's makes a gateway look
// through the clients in the store, but not all the time.
func TestNobodysStateids(t *testing.T) {
	ctx := context.Background()
	clock := &fakeClock{}
	store := &slowly{Store: memory.New(), clock: clock}
	w := &world{t: t, store: store, clock: clock, fs: newFakeFS(), cfg: func(c *Config) { c.Shared = true }}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(ctx) })
	use := func() {
		t.Helper()
		if _, err := w.n.CheckIO(ctx, 0, "f", nfs4.Stateid{Seqid: 1, Other: [nfs4.OtherSize]byte{1, 2, 3}}, nfs4.ShareAccessRead, 0); !errors.Is(err, ErrExpired) {
			t.Fatal(err)
		}
	}
	before := store.looks.Load()
	use()
	if n := store.looks.Load() - before; n != 1 {
		t.Fatalf("%d looks for one stateid", n)
	}
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.n.callRoll(impatient); !errors.Is(err, ErrDelay) {
		t.Errorf("another look at once: %v", err)
	}
	clock.advance(100 * time.Millisecond)
	use()
	if n := store.looks.Load() - before; n != 2 {
		t.Errorf("%d looks for the second stateid after a while", n-1)
	}
}

func TestLockOwner(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	o := w.owner40("a", "o")
	s := o.mustOpen("f")
	o.seq++
	lock, err := o.lockNew("f", s, o.seq, "l", 5)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := o.lockNew("f", s, o.seq, "l", 5); err != nil || again != lock {
		t.Errorf("LOCK sent again: %v %v, want %v", again, err, lock)
	}
	if err := w.n.ReleaseLockOwner(ctx, nil, o.id, []byte("l")); !errors.Is(err, ErrLocksHeld) {
		t.Errorf("RELEASE_LOCKOWNER with locks: %v", err)
	}
	if _, err := o.unlock("f", lock, 7); !errors.Is(err, ErrBadSeqid) {
		t.Errorf("LOCKU with a gap: %v", err)
	}
	w.restart()
	if lock, err = o.unlock("f", lock, 6); err != nil {
		t.Fatal(err)
	}
	if err := w.n.ReleaseLockOwner(ctx, nil, o.id, []byte("l")); err != nil {
		t.Error(err)
	}
	if err := w.n.ReleaseLockOwner(ctx, nil, o.id, []byte("l")); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := o.unlock("f", lock, 7); !errors.Is(err, ErrBadStateid) {
		t.Errorf("LOCKU after RELEASE_LOCKOWNER: %v", err)
	}
	if g, err := w.n.load(ctx, ownerKey(o.id, 'l', []byte("l"))); err != nil || g.Version != 0 {
		t.Errorf("the lock owner is still stored: %+v %v", g, err)
	}
}

// TestOwnersRetire: an open owner with nothing open is forgotten after a lease.
func TestOwnersRetire(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	o := w.owner40("a", "o")
	s := o.mustOpen("f")
	key := ownerKey(o.id, 'o', o.name)
	retire := func() bool {
		w.clock.advance(11 * time.Second)
		if err := w.n.sweepOwners(ctx); err != nil {
			t.Fatal(err)
		}
		if w.n.owners.len() != 0 || w.n.closed40.len() != 0 {
			t.Error("an idle owner stays in memory")
		}
		g, err := w.n.load(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return g.Version == 0
	}
	if retire() {
		t.Error("an owner with an open file is forgotten")
	}
	o.seq++
	if _, err := o.close("f", s, o.seq); err != nil {
		t.Fatal(err)
	}
	if !retire() {
		t.Error("an owner without an open file stays in the store")
	}
	o.mustOpen("f")
}

// TestExpired40: a client that was revoked is told so by each of its stateids.
func TestExpired40(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	o := w.owner40("a", "o")
	s := o.mustOpen("f")
	w.clock.advance(9 * time.Second)
	if _, err := w.n.CheckIO(ctx, 0, "f", s, 1, 0); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(9 * time.Second)
	b := w.client41("b")
	if _, err := b.open("f", 1, nfs4.ShareDenyRead); !errors.Is(err, ErrShareDenied) {
		t.Fatalf("READ must have renewed the lease: %v", err)
	}
	w.clock.advance(2 * time.Second)
	if _, err := b.open("f", 1, nfs4.ShareDenyRead); err != nil {
		t.Fatal(err)
	}
	if _, err := w.n.CheckIO(ctx, 0, "f", s, 1, 0); !errors.Is(err, ErrExpired) {
		t.Errorf("READ: %v", err)
	}
	o.seq++
	if _, err := o.close("f", s, o.seq); !errors.Is(err, ErrExpired) {
		t.Errorf("CLOSE: %v", err)
	}
	if err := w.n.Renew(ctx, o.id, "p"); !errors.Is(err, ErrExpired) {
		t.Errorf("RENEW: %v", err)
	}
	if _, _, err := o.open("g", 1, 0, o.seq); !errors.Is(err, ErrExpired) {
		t.Errorf("OPEN: %v", err)
	}
}
