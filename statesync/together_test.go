package statesync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
)

// TestLocksExclude: many clients lock, write and unlock one byte; never do two
// have it.
func TestLocksExclude(t *testing.T) {
	w := newWorld(t, nil)
	exclude(t, []*world{w, w, w, w, w, w}, 30)
}

// exclude makes a client at each world lock one byte of a file many times.
func exclude(t *testing.T, worlds []*world, rounds int) {
	var holder, granted atomic.Int64
	var wg sync.WaitGroup
	for i, w := range worlds {
		c := w.client41(fmt.Sprint("client", i))
		open := c.mustOpen("f")
		wg.Add(1)
		go func() {
			defer wg.Done()
			var s nfs4.Stateid
			for n := 0; n < rounds; {
				a := &LockArgs{Client: c.id, File: "f", Write: true, Offset: 7, Length: 1, Stateid: nfs4.Stateid{Other: s.Other}}
				if s == (nfs4.Stateid{}) {
					a.New, a.Owner, a.Stateid = true, []byte("l"), open
				}
				got, err := c.lock(a)
				var denied *LockDenied
				if errors.As(err, &denied) {
					continue
				}
				if err != nil {
					t.Errorf("client %d: LOCK: %v", i, err)
					return
				}
				if !holder.CompareAndSwap(0, int64(i+1)) {
					t.Errorf("client %d has the lock of client %d", i, holder.Load()-1)
				}
				granted.Add(1)
				holder.Store(0)
				if s, err = c.unlock("f", got, 7, 1); err != nil {
					t.Errorf("client %d: LOCKU: %v", i, err)
					return
				}
				n++
			}
		}()
	}
	wg.Wait()
	if n := granted.Load(); n != int64(len(worlds)*rounds) {
		t.Errorf("%d locks granted", n)
	}
}

// TestBesideEachOther runs everything at once, for the race detector, and finds the
// store empty in the end.
func TestBesideEachOther(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			w.clock.advance(1)
			if err := w.n.sweepAll(ctx); err != nil {
				t.Error(err)
				return
			}
			if _, err := w.n.Clients(ctx); err != nil {
				t.Error(err)
			}
			if _, err := w.n.Locks(ctx); err != nil {
				t.Error(err)
			}
		}
	}()
	var workers sync.WaitGroup
	for i := range 6 {
		c := w.client41(fmt.Sprint(i))
		workers.Add(1)
		go func() {
			defer workers.Done()
			for round := range 40 {
				f := FileKey(fmt.Sprint("f", round%5))
				s := c.mustOpen(f)
				for range 5 {
					if _, err := w.n.CheckIO(ctx, c.id, f, s, 1, 0); err != nil {
						t.Error(err)
					}
				}
				if l, err := c.lockVia(f, s, "l", uint64(i*10), 5); err != nil {
					t.Error(err)
				} else if err := w.n.TestStateid(ctx, c.id, l, 0); err != nil {
					t.Error(err)
				}
				r, fc := c.begin(3)
				if _, err := w.create(r, fc, fmt.Sprint("n", round%3)); err != nil {
					t.Error(err)
				}
				w.fs.remove(fmt.Sprint("n", round%3))
				if err := c.close(f, s); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	workers.Wait()
	close(stop)
	wg.Wait()
	if infos, err := w.n.Locks(ctx); err != nil || len(infos) != 0 {
		t.Errorf("left: %+v %v", infos, err)
	}
}

// TestNotDurable: what cannot be made durable is not granted, and memory holds
// what the store holds afterwards.
func TestNotDurable(t *testing.T) {
	var fail atomic.Bool
	store := memory.NewWithHooks(memory.Hooks{Wait: func() error {
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
	fail.Store(true)
	r, fc := c.begin(1)
	if _, err := w.lock41(r, fc, &LockArgs{Client: c.id, File: "f", Write: true, Length: 9, New: true, Owner: []byte("l"), Stateid: open}); !errors.Is(err, ErrDelay) {
		t.Fatalf("LOCK: %v", err)
	}
	if len(fc.reply) != 8 {
		t.Errorf("the reply holds %d bytes: a grant was left in it", len(fc.reply))
	}
	if r, _ := c.again(1); r.Replay == nil {
		t.Error("the answer is not kept for a retry")
	}
	r, fc = c.begin(2)
	if _, err := w.create(r, fc, "x"); err == nil || w.fs.has("x") {
		t.Errorf("CREATE: %v", err)
	}
	// A file was made, and the OPEN that goes with it may or may not hold: then
	// nothing may be said.
	fail.Store(false)
	r, fc = c.begin(3)
	fc.start(nfs4.OpOpen)
	if err := r.Begin(context.Background(), nfs4.OpOpen, []Name{{Dir: "d", Name: "y"}}, func() ([]byte, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	if err := w.n.Open(context.Background(), r, nil, openArgs("o", "y", 3, 0), func(*OpenResult) { fc.conclude(nfs4.OK) }); !errors.Is(err, ErrFenced) {
		t.Errorf("OPEN that made a file: %v", err)
	}
	r.Abort()
	fail.Store(false)
	if _, err := c.lockVia("f", open, "l", 0, 9); err != nil {
		t.Errorf("LOCK once the store is well: %v", err)
	}
	w.restart()
	r, fc = c.begin(2)
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK {
		t.Errorf("CREATE once the store is well: %v %v", status, err)
	}
}

// TestUnavailable: a store that cannot be reached refuses, and nothing changes.
func TestUnavailable(t *testing.T) {
	var away atomic.Bool
	store := memory.NewWithHooks(memory.Hooks{Commit: func(*durable.Batch) error {
		if away.Load() {
			return durable.ErrUnavailable
		}
		return nil
	}})
	w := &world{t: t, store: store, clock: &fakeClock{}, fs: newFakeFS()}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(context.Background()) })
	c := w.client41("a")
	open := c.mustOpen("f")
	away.Store(true)
	if _, err := c.lockVia("f", open, "l", 0, 9); !errors.Is(err, ErrDelay) {
		t.Errorf("LOCK: %v", err)
	}
	if _, err := w.n.CheckIO(context.Background(), c.id, "f", open, 2, 0); err != nil {
		t.Errorf("WRITE: %v", err)
	}
	away.Store(false)
	if _, err := c.lockVia("f", open, "l", 0, 9); err != nil {
		t.Errorf("LOCK afterwards: %v", err)
	}
}

// shared makes n gateways over one store.
func shared(t *testing.T, n int) []*world {
	store, fs, clock := memory.New(), newFakeFS(), &fakeClock{}
	var ws []*world
	for i := range n {
		w := &world{t: t, store: store, clock: clock, fs: fs, seed: uint64(100 * i), cfg: func(c *Config) { c.Shared = true }}
		node, err := Join(context.Background(), w.config(fmt.Sprint("g", i)))
		if err != nil {
			t.Fatal(err)
		}
		node.SetResolver(fs.resolve)
		w.n = node
		ws = append(ws, w)
		t.Cleanup(func() { _ = node.Close(context.Background()) })
	}
	return ws
}

func TestTwoGatewaysExclude(t *testing.T) {
	ws := shared(t, 2)
	exclude(t, []*world{ws[0], ws[1], ws[0], ws[1]}, 20)
}

// TestTwoGatewaysMove: a client goes on at another gateway with everything it
// has; requests sent again there are not run again.
func TestTwoGatewaysMove(t *testing.T) {
	ws := shared(t, 2)
	ctx := context.Background()
	c := ws[0].client41("a")
	open := c.mustOpen("f")
	d := c.elsewhere(ws[1])
	r, fc := d.again(0)
	if s, err := ws[1].open41(r, fc, openArgs("o", "f", 3, 0)); err != nil || s != open {
		t.Errorf("OPEN sent again elsewhere: %v %v, want %v", s, err, open)
	}
	lock, err := d.lockVia("f", open, "l", 0, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ws[0].n.CheckIO(ctx, c.id, "f", lock, 2, 0); err != nil {
		t.Errorf("WRITE at the first gateway by a lock from the second: %v", err)
	}
	if err := d.close("f", open); err != nil {
		t.Fatal(err)
	}
	// The first gateway, whose memory is behind, gets the CLOSE again.
	e := d.elsewhere(ws[0])
	r, fc = e.again(0)
	fc.start(nfs4.OpClose)
	err = ws[0].n.CloseFile(ctx, r, nil, e.id, "f", open, func(res *OpenResult) { fc.stateid(res.Stateid) })
	if !errors.Is(err, ErrDuplicate) || r.Resume == nil {
		t.Errorf("CLOSE sent again: %v", err)
	}
	r.Finish(nil)
	r, fc = e.begin(5)
	if status, err := ws[0].create(r, fc, "x"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	d = e.elsewhere(ws[1])
	r, fc = d.again(5)
	if status, err := ws[1].create(r, fc, "x"); err != nil || status != nfs4.OK || ws[0].fs.made["x"] != 1 {
		t.Errorf("CREATE sent again elsewhere: %v %v", status, err)
	}
}

// TestTwoGatewaysNames: of two that make one name at two gateways, one does.
func TestTwoGatewaysNames(t *testing.T) {
	ws := shared(t, 2)
	a, b := ws[0].client41("a"), ws[1].client41("b")
	for round := range 20 {
		name := fmt.Sprint("n", round)
		var made atomic.Int64
		var wg sync.WaitGroup
		for _, c := range []*client41{a, b} {
			r, fc := c.begin(1)
			wg.Add(1)
			go func() {
				defer wg.Done()
				status, err := c.w.create(r, fc, name)
				if err != nil {
					t.Error(err)
				}
				if status == nfs4.OK {
					made.Add(1)
				}
			}()
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Fatalf("%d made %s", made.Load(), name)
		}
	}
}

// TestTwoGatewaysEvict: once a client is evicted at one gateway, the other one
// grants it nothing any more, although it does not know.
func TestTwoGatewaysEvict(t *testing.T) {
	ws := shared(t, 2)
	c := ws[0].client41("a")
	open := c.mustOpen("f")
	r, fc := c.begin(1)
	if err := ws[1].n.Evict(context.Background(), c.id); err != nil {
		t.Fatal(err)
	}
	if _, err := c.lockVia("f", open, "l", 0, 9); !errors.Is(err, ErrBadSession) {
		t.Errorf("LOCK: %v", err)
	}
	if _, err := ws[0].create(r, fc, "x"); !errors.Is(err, ErrBadSession) || ws[0].fs.has("x") {
		t.Errorf("CREATE: %v", err)
	}
	if _, err := c.send(context.Background(), 0, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Errorf("SEQUENCE: %v", err)
	}
}
