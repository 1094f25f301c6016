package statesync

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
)

// A link is a gateway's way to the store, which can be cut.
type link struct {
	durable.Store
	cut atomic.Bool

	before  func(*durable.Batch) // called before each commit, if it is not nil
	scanned func(prefix string)  // called after each scan, if it is not nil
}

func (l *link) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	if l.cut.Load() {
		return nil, durable.ErrUnavailable
	}
	return l.Store.Load(ctx, keys...)
}

func (l *link) LoadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	if l.cut.Load() {
		return durable.Group{}, durable.ErrUnavailable
	}
	return l.Store.LoadParts(ctx, key, names...)
}

func (l *link) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if l.cut.Load() {
		return nil, durable.ErrUnavailable
	}
	if l.before != nil {
		l.before(b)
	}
	return l.Store.Commit(ctx, b)
}

func (l *link) Scan(ctx context.Context, prefix string, fn func(durable.Group) bool) error {
	if l.cut.Load() {
		return durable.ErrUnavailable
	}
	err := l.Store.Scan(ctx, prefix, fn)
	if l.scanned != nil {
		l.scanned(prefix)
	}
	return err
}

// twoGateways are two nodes on one store and one file system, with one clock.
// Their beats are the test's: the gateway lease is longer than any test runs.
func twoGateways(t *testing.T) (a, b *world, la, lb *link) {
	t.Helper()
	store, clock, fs := memory.New(), &fakeClock{}, newFakeFS()
	make := func(name string, seed uint64) (*world, *link) {
		l := &link{Store: store}
		w := &world{t: t, store: l, clock: clock, fs: fs, seed: seed, cfg: func(c *Config) {
			c.Shared, c.Name, c.GatewayLease = true, name, time.Minute
			c.Lease = time.Hour
		}}
		w.join()
		t.Cleanup(func() {
			l.cut.Store(false)
			_ = w.n.Close(context.Background())
		})
		return w, l
	}
	a, la = make("a", 100)
	b, lb = make("b", 200)
	for _, w := range []*world{a, b, a, b} {
		w.beat()
	}
	return a, b, la, lb
}

func (w *world) beat() {
	w.t.Helper()
	if err := w.n.beat(context.Background()); err != nil {
		w.t.Fatalf("beat of %s: %v", w.n.cfg.Name, err)
	}
}

// elsewhere is the same client at another gateway: same session, same sequences.
func (c *client41) elsewhere(w *world) *client41 {
	d := *c
	d.w = w
	return &d
}

// TestFenced holds G6: a gateway that is cut off from the store grants
// nothing, and serves nothing once its lease is over.
func TestFenced(t *testing.T) {
	a, b, la, _ := twoGateways(t)
	la.cut.Store(true)
	if err := a.n.MayServe(); err != nil {
		t.Fatalf("cut off within its lease: %v", err)
	}
	a.clock.advance(54 * time.Second)
	if err := a.n.MayServe(); !errors.Is(err, ErrFenced) {
		t.Fatalf("at 9/10 of its lease: %v", err)
	}
	// It comes back before anybody declared it dead: its lease begins anew.
	la.cut.Store(false)
	a.beat()
	if err := a.n.MayServe(); err != nil {
		t.Fatalf("renewed: %v", err)
	}
	b.beat()
	la.cut.Store(true)
	a.clock.advance(67 * time.Second)
	b.n.members.serves.Store(1 << 62)
	b.beat()
	la.cut.Store(false)
	if err := a.n.commitNow(context.Background(), &durable.Batch{Writes: []durable.Write{{Key: "x", Value: []byte{1}}}}); !errors.Is(err, ErrFenced) {
		t.Fatalf("commit of a gateway that was declared dead: %v", err)
	}
	select {
	case <-a.n.Deposed():
	default:
		t.Fatal("the gateway does not know that it was declared dead")
	}
	if err := a.n.MayServe(); !errors.Is(err, ErrFenced) {
		t.Fatalf("declared dead: %v", err)
	}
}

// TestLateMustBeSure: nobody is declared dead who renewed in time, however
// seldom the others looked.
func TestLateMustBeSure(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	for range 5 {
		a.clock.advance(40 * time.Second)
		a.beat()
		a.clock.advance(13 * time.Second)
		a.beat()
		b.beat()
	}
	if err := a.n.commitNow(context.Background(), &durable.Batch{Writes: []durable.Write{{Key: "x", Value: []byte{1}}}}); err != nil {
		t.Fatal(err)
	}
}

// TestIntentOfADeadGateway: what a gateway had begun when it was cut off is
// settled by another one, after its lease and not before.
func TestIntentOfADeadGateway(t *testing.T) {
	for _, ran := range []bool{false, true} {
		a, b, la, _ := twoGateways(t)
		ctx := context.Background()
		c := a.client41("c")
		other := b.client41("other")
		names := []Name{{Dir: "d", Name: "n"}}
		absent := func() ([]byte, error) { return []byte{}, nil }

		req, fc := c.begin(0)
		fc.next()
		fc.start(nfs4.OpCreate)
		if err := req.Begin(ctx, nfs4.OpCreate, names, absent); err != nil {
			t.Fatal(err)
		}
		if ran {
			a.fs.make("n")
		}
		la.cut.Store(true)

		// While the gateway may live the name is its own.
		req2, fc2 := other.begin(0)
		fc2.next()
		fc2.start(nfs4.OpCreate)
		short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
		err := req2.Begin(short, nfs4.OpCreate, names, absent)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the name of a living gateway: %v", err)
		}
		b.clock.advance(67 * time.Second)
		b.n.members.serves.Store(1 << 62)
		b.beat()
		exists := errors.New("exists")
		err = req2.Begin(ctx, nfs4.OpCreate, names, func() ([]byte, error) {
			if b.fs.has("n") {
				return nil, exists
			}
			return []byte{}, nil
		})
		if ran && !errors.Is(err, exists) || !ran && err != nil {
			t.Fatalf("ran %v: %v", ran, err)
		}
		req2.Abort()

		// The client sends its request again, to the other gateway.
		fc3 := &fakeCompound{}
		req3, err := c.elsewhere(b).send(ctx, 0, fc3)
		if err != nil {
			t.Fatal(err)
		}
		in := req3.Begun()
		if in == nil {
			t.Fatal("sent again elsewhere, the request is a new one")
		}
		if ran {
			// The other request saw the effect and needed to know no more: the
			// evidence is still to be looked at, with the name held.
			if err := req3.Begin(ctx, nfs4.OpCreate, names, absent); err != nil || in.Settled {
				t.Fatalf("going on from %+v: %v", in, err)
			}
		} else if !in.Settled || in.Outcome != OutcomeNotDone {
			t.Fatalf("settled as %+v", in)
		}
		req3.Abort()
	}
}

// TestRetryWaitsForTheLiving: a request that a living gateway runs is held
// when it is sent again to another one, and gets the first reply (G3).
func TestRetryWaitsForTheLiving(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	c := a.client41("c")
	names := []Name{{Dir: "d", Name: "n"}}
	absent := func() ([]byte, error) { return []byte{}, nil }
	req, fc := c.begin(0)
	fc.next()
	fc.start(nfs4.OpCreate)
	if err := req.Begin(ctx, nfs4.OpCreate, names, absent); err != nil {
		t.Fatal(err)
	}

	fc2 := &fakeCompound{}
	req2, err := c.elsewhere(b).send(ctx, 0, fc2)
	if err != nil {
		t.Fatal(err)
	}
	if req2.Resume == nil || req2.Begun() == nil {
		t.Fatalf("sent again elsewhere: %+v", req2)
	}
	fc2.resume(req2.Resume)
	fc2.start(nfs4.OpCreate)
	got := make(chan error, 1)
	go func() { got <- req2.Begin(ctx, nfs4.OpCreate, names, absent) }()

	a.fs.make("n")
	if err := req.Done(ctx, func() { fc.conclude(nfs4.OK, 7) }); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, ErrDuplicate) {
		t.Fatalf("begun elsewhere and done there: %v", err)
	}
	if req2.Resume == nil || req2.Begun() != nil || string(req2.Resume.Reply) != string(fc.reply) {
		t.Fatalf("the reply is %+v, want %x", req2.Resume, fc.reply)
	}
	if a.fs.made["n"] != 1 {
		t.Fatalf("made %d times", a.fs.made["n"])
	}
	req.Finish(fc.reply)
	req2.Finish(fc.reply)
}

// TestEndedElsewhere: a session that was destroyed through one gateway is of no
// use at the others after their next beat.
func TestEndedElsewhere(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	c := a.client41("c")
	there := c.elsewhere(b)
	req, fc := there.begin(0)
	req.Finish(fc.reply)
	if err := a.n.DestroySession(ctx, c.session); err != nil {
		t.Fatal(err)
	}
	b.beat()
	there.seq[0]++
	if _, err := there.send(ctx, 0, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Fatalf("destroyed elsewhere: %v", err)
	}
}

// TestBarrier: what is taken from a late client is given to another only when no
// gateway uses it any more (G1).
func TestBarrier(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	late := b.client41("late")
	req, fc := late.begin(0)
	fc.next()
	fc.start(nfs4.OpOpen)
	deny := &OpenArgs{Client: late.id, Owner: []byte("o"), File: "f", Access: 3, Deny: nfs4.ShareDenyBoth}
	var sid nfs4.Stateid
	if err := b.n.Open(ctx, req, nil, deny, func(r *OpenResult) { sid = r.Stateid; fc.conclude(nfs4.OK) }); err != nil {
		t.Fatal(err)
	}
	req.Finish(fc.reply)

	c := a.client41("c")
	a.mustClient(late.id) // known there for so long that it counts as late
	silence(t, a, b)
	b.n.observeNow(t)
	a.n.observeNow(t)
	if err := a.n.renewLease(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.n.renewLease(ctx); err != nil {
		t.Fatal(err)
	}
	req, fc = c.begin(0)
	fc.next()
	fc.start(nfs4.OpOpen)
	want := &OpenArgs{Client: c.id, Owner: []byte("o"), File: "f", Access: 3}
	got := make(chan error, 1)
	go func() {
		got <- a.n.Open(ctx, req, nil, want, func(*OpenResult) {
			if _, err := b.n.CheckIO(ctx, late.id, "f", sid, 1, 0); err == nil {
				t.Error("granted while the other gateway still lets the late client read")
			}
			fc.conclude(nfs4.OK)
		})
	}()
	select {
	case err := <-got:
		t.Fatalf("granted before the other gateway knew: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := b.n.carryOut(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	req.Finish(fc.reply)
}

// observeNow makes a node see the others' leases as they are.
func (n *Node) observeNow(t *testing.T) {
	t.Helper()
	if err := n.observe(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestHeardElsewhere: a client that is active at one gateway keeps its state
// at all.
func TestHeardElsewhere(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	c := a.client41("c")
	there := c.elsewhere(b)
	for range 6 {
		for _, w := range []*world{a, b} {
			w.n.members.serves.Store(1 << 62)
		}
		a.clock.advance(25 * time.Minute)
		req, fc := there.begin(0)
		req.Finish(fc.reply)
		if err := b.n.foldRenewals(ctx); err != nil {
			t.Fatal(err)
		}
		if err := a.n.foldRenewals(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if late := a.n.clients.get(c.id); late == nil || a.n.expired(late) {
		t.Fatal("a client that another gateway hears of counts as late")
	}
}
