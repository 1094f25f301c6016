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

var errCrash = errors.New("crashed here")

// crasher ends a gateway at its n-th effect. Every commit is two effects: one
// before it (nothing is written), one after it (written, not answered).
type crasher struct {
	durable.Store
	left atomic.Int64
	dead atomic.Bool
}

func (c *crasher) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if c.dead.Load() || c.left.Add(-1) == 0 {
		c.dead.Store(true)
		return nil, fmt.Errorf("%w: %w", durable.ErrClosed, errCrash)
	}
	ack, err := c.Store.Commit(ctx, b)
	if err != nil {
		return nil, err
	}
	if c.left.Add(-1) == 0 {
		err := ack.Wait()
		c.dead.Store(true)
		return nil, errors.Join(durable.ErrClosed, errCrash, err)
	}
	return ack, nil
}

// crash makes the gateway start over on what the store holds.
func (w *world) crash(c *crasher) {
	w.t.Helper()
	c.dead.Store(true)
	_ = w.n.Close(context.Background())
	w.store = c.Store.(*memory.Store).Crash(1)
	w.join()
}

// arm makes the store crash at the n-th effect from now; the node keeps running.
func arm(t *testing.T) (*world, *crasher) {
	c := &crasher{Store: memory.New()}
	w := &world{t: t, store: c, clock: &fakeClock{}, fs: newFakeFS()}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(context.Background()) })
	return w, c
}

// TestCreateCrash ends the gateway at every commit of a CREATE, and sends the
// request again: one effect, and the first answer. In every second run somebody
// else wants the same name in between.
func TestCreateCrash(t *testing.T) {
	for at := int64(1); at <= 4; at++ {
		for _, contended := range []bool{false, true} {
			t.Run(fmt.Sprintf("effect %d, contended %v", at, contended), func(t *testing.T) { createCrash(t, at, contended) })
		}
	}
	w, store := arm(t)
	c := w.client41("a")
	store.left.Store(5)
	r, fc := c.begin(0)
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK || store.left.Load() != 1 {
		t.Errorf("a CREATE has other than 4 effects: %v %v", status, err)
	}
}

func createCrash(t *testing.T, at int64, contended bool) {
	w, store := arm(t)
	c := w.client41("a")
	store.left.Store(at)
	r, fc := c.begin(0)
	if status, err := w.create(r, fc, "x"); err == nil {
		t.Errorf("was answered with %v", status)
	}
	w.crash(store)
	want := nfs4.OK
	if contended {
		o := w.client41("b")
		r, fc := o.begin(0)
		status, err := w.create(r, fc, "x")
		if err != nil {
			t.Fatalf("another client: %v", err)
		}
		if status == nfs4.OK {
			want = nfs4.ErrExist
		}
		if (status == nfs4.OK) != (at < 3) {
			t.Errorf("another client: %v", status)
		}
	}
	r, fc = c.again(0)
	if status, err := w.create(r, fc, "x"); err != nil || status != want {
		t.Errorf("retry: %v %v, want %v", status, err, want)
	}
	if w.fs.made["x"] != 1 {
		t.Errorf("made %d times", w.fs.made["x"])
	}
	if n := w.heldNames(); n != 0 {
		t.Errorf("%d names are still held", n)
	}
}

// heldNames counts the names that the store says are held.
func (w *world) heldNames() (n int) {
	w.t.Helper()
	if err := w.store.Scan(context.Background(), "name/", func(durable.Group) bool { n++; return true }); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestCreateDies ends the gateway between the file system's change and Done.
func TestCreateDies(t *testing.T) {
	for _, effect := range []bool{false, true} {
		w := newWorld(t, nil)
		c := w.client41("a")
		r, fc := c.begin(0)
		fc.start(nfs4.OpCreate)
		if err := r.Begin(context.Background(), nfs4.OpCreate, []Name{{Dir: "d", Name: "x"}}, func() ([]byte, error) { return []byte{}, nil }); err != nil {
			t.Fatal(err)
		}
		if effect {
			w.fs.make("x")
		}
		w.restart()
		r, fc = c.again(0)
		if in := r.Begun(); in == nil || in.Op != nfs4.OpCreate || in.Names[0].Name != "x" {
			t.Fatalf("intent %+v", in)
		}
		if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK || w.fs.made["x"] != 1 {
			t.Errorf("effect %v: %v %v, made %d times", effect, status, err, w.fs.made["x"])
		}
	}
}

// TestSettled: a CREATE took place, its gateway died, and somebody removed the
// name since. The retry gets the answer of the CREATE and makes nothing.
func TestSettled(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.client41("a"), w.client41("b")
	name := []Name{{Dir: "d", Name: "x"}}
	nothing := func() ([]byte, error) { return []byte{}, nil }
	r, fc := a.begin(0)
	fc.start(nfs4.OpCreate)
	if err := r.Begin(context.Background(), nfs4.OpCreate, name, nothing); err != nil {
		t.Fatal(err)
	}
	w.fs.make("x")
	w.restart()
	r, fc = b.begin(0)
	fc.start(nfs4.OpRemove)
	if err := r.Begin(context.Background(), nfs4.OpRemove, name, nothing); err != nil {
		t.Fatal(err)
	}
	w.fs.remove("x")
	if err := r.Done(context.Background(), func() { fc.conclude(nfs4.OK) }); err != nil {
		t.Fatal(err)
	}
	r.Finish(fc.reply)
	r, fc = a.again(0)
	if in := r.Begun(); in == nil || !in.Settled || in.Outcome != OutcomeDone {
		t.Errorf("intent %+v", r.Begun())
	}
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK {
		t.Errorf("retry: %v %v", status, err)
	}
	if w.fs.has("x") || w.fs.made["x"] != 1 || w.n.Stats().Resolved != 1 {
		t.Errorf("made %d times, resolved %d times", w.fs.made["x"], w.n.Stats().Resolved)
	}
}

// TestNamesExclude: of many that make one name at the same time, one does.
func TestNamesExclude(t *testing.T) {
	w := newWorld(t, nil)
	const clients = 8
	var cs []*client41
	for i := range clients {
		cs = append(cs, w.client41(fmt.Sprint(i)))
	}
	for round := range 20 {
		name := fmt.Sprint("n", round)
		var made atomic.Int64
		var wg sync.WaitGroup
		for _, c := range cs {
			wg.Add(1)
			r, fc := c.begin(1)
			go func() {
				defer wg.Done()
				status, err := w.create(r, fc, name)
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

// TestRenameNames: requests that take two names in either order do not wait for
// each other for ever.
func TestRenameNames(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.client41("a"), w.client41("b")
	swap := func(c *client41, names ...Name) {
		r, fc := c.begin(0)
		fc.start(nfs4.OpRename)
		if err := r.Begin(context.Background(), nfs4.OpRename, names, func() ([]byte, error) { return nil, nil }); err != nil {
			t.Error(err)
		}
		if !r.Holds() {
			t.Error("begun, and holds nothing")
		}
		if err := r.Done(context.Background(), func() { fc.conclude(nfs4.OK) }); err != nil {
			t.Error(err)
		}
		if r.Holds() {
			t.Error("done, and still holds")
		}
		r.Finish(fc.reply)
	}
	x, y := Name{Dir: "d", Name: "x"}, Name{Dir: "e", Name: "y"}
	var wg sync.WaitGroup
	for _, c := range []*client41{a, b} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 200 {
				if c == a {
					swap(c, x, y)
				} else {
					swap(c, y, x, y)
				}
			}
		}()
	}
	wg.Wait()
}

// TestEvidenceFails: an operation whose evidence says that it cannot be was not
// begun.
func TestEvidenceFails(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("a")
	commits := w.n.Stats().Commits
	w.fs.make("x")
	r, fc := c.begin(0)
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.ErrExist {
		t.Errorf("%v %v", status, err)
	}
	if r.Changed() || w.n.Stats().Commits != commits {
		t.Error("an operation that was not begun changed something")
	}
}

// TestSlotMovesOn: when a client gives up a request whose gateway died, its
// next one frees the names.
func TestSlotMovesOn(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("a")
	r, fc := c.begin(0)
	fc.start(nfs4.OpCreate)
	if err := r.Begin(context.Background(), nfs4.OpCreate, []Name{{Dir: "d", Name: "x"}}, func() ([]byte, error) { return []byte{}, nil }); err != nil {
		t.Fatal(err)
	}
	w.restart()
	r, fc = c.begin(0)
	if status, err := w.create(r, fc, "y"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	if n := w.heldNames(); n != 0 {
		t.Errorf("%d names are still held", n)
	}
	r, fc = c.begin(0)
	if status, err := w.create(r, fc, "x"); err != nil || status != nfs4.OK {
		t.Fatal(status, err)
	}
	if n := w.n.Stats().Resolved; n != 0 {
		t.Errorf("%d intents resolved that nobody asked about", n)
	}
}

// TestStoreFull: when there is no space nothing is begun, and a change that was
// begun waits until its result can be kept.
func TestStoreFull(t *testing.T) {
	var full atomic.Bool
	var refused atomic.Int64
	store := memory.NewWithHooks(memory.Hooks{Commit: func(*durable.Batch) error {
		if full.Load() {
			if refused.Add(1) == 3 {
				full.Store(false)
			}
			return durable.ErrFull
		}
		return nil
	}})
	w := &world{t: t, store: store, clock: &fakeClock{}, fs: newFakeFS()}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(context.Background()) })
	c := w.client41("a")
	full.Store(true)
	r, fc := c.begin(0)
	if _, err := w.create(r, fc, "x"); !errors.Is(err, ErrResource) || w.fs.has("x") {
		t.Errorf("full: %v", err)
	}
	full.Store(false)
	r, fc = c.begin(0)
	fc.start(nfs4.OpCreate)
	if err := r.Begin(context.Background(), nfs4.OpCreate, []Name{{Dir: "d", Name: "x"}}, func() ([]byte, error) { return []byte{}, nil }); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if err := r.Done(context.Background(), func() { fc.conclude(nfs4.OK) }); err != nil {
		t.Error(err)
	}
	r.Finish(fc.reply)
}
