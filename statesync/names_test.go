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

var nameN = []Name{{Dir: "d", Name: "n"}}

func nothing() ([]byte, error) { return []byte{}, nil }

// starts sends a request that begins an operation on "n".
func (c *client41) starts(op nfs4.Op, evidence func() ([]byte, error)) (*Request, *fakeCompound, error) {
	c.w.t.Helper()
	req, fc := c.begin(0)
	fc.next()
	fc.start(op)
	return req, fc, req.Begin(context.Background(), op, nameN, evidence)
}

// makes is a CREATE of "n" from beginning to end.
func (c *client41) makes() {
	c.w.t.Helper()
	req, fc := c.begin(0)
	fc.next()
	if status, err := c.w.create(req, fc, "n"); err != nil || status != nfs4.OK {
		c.w.t.Fatalf("CREATE: %v %v", status, err)
	}
}

// TestEvidenceIsTakenAgain: whoever is held up between the evidence and holding
// the name notices that somebody else had the name meanwhile, also when the
// name's group was forgotten since.
func TestEvidenceIsTakenAgain(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		a, b, _, _ := twoGateways(t)
		other := b.client41("other")
		asked := 0
		req, _, err := a.client41("c").starts(nfs4.OpCreate, func() ([]byte, error) {
			asked++
			there := a.fs.has("n")
			if asked == 1 {
				other.makes()
				if forgotten {
					if err := b.n.forgetNames(context.Background(), []string{nameN[0].Key()}); err != nil {
						t.Error(err)
					}
				}
			}
			if there {
				return nil, errExists
			}
			return []byte{}, nil
		})
		if !errors.Is(err, errExists) || asked != 2 {
			t.Errorf("forgotten %v: asked %d times: %v", forgotten, asked, err)
		}
		req.Abort()
	}
}

// TestNamesCostTwoCommits: a name that this gateway freed is held again without
// a look at the store, and so is one that nobody ever held.
func TestNamesCostTwoCommits(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	c := a.client41("c")
	before := a.n.Stats()
	for range 5 {
		c.makes()
		a.fs.remove("n")
	}
	after := a.n.Stats()
	// The client's slot is loaded once.
	if n := after.Commits - before.Commits; n != 10 || after.Conflicts != before.Conflicts || after.Loads-before.Loads > 1 {
		t.Errorf("5 CREATE: %d commits, %d conflicts, %d loads", n, after.Conflicts-before.Conflicts, after.Loads-before.Loads)
	}
	// What another gateway did costs one more commit.
	b.client41("other").makes()
	b.fs.remove("n")
	before = a.n.Stats()
	c.makes()
	after = a.n.Stats()
	if n := after.Commits - before.Commits; n != 3 || after.Loads != before.Loads {
		t.Errorf("CREATE after a wrong guess: %d commits, %d loads", n, after.Loads-before.Loads)
	}
}

// TestNamesAreForgotten: the groups of free names go when they are not used,
// those of held ones stay.
func TestNamesAreForgotten(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	a.client41("c").makes()
	if a.heldNames() != 1 {
		t.Fatalf("%d groups of names after a CREATE", a.heldNames())
	}
	for range 3 {
		a.clock.advance(2*time.Minute + 1)
		for _, w := range []*world{a, b} {
			w.n.members.serves.Store(1 << 62)
			if err := w.n.sweepNames(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a.heldNames() != 0 {
		t.Errorf("%d groups of names are left", a.heldNames())
	}
	a.fs.remove("n")
	req, _, err := a.client41("d").starts(nfs4.OpCreate, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.n.forgetNames(ctx, []string{nameN[0].Key()}); err != nil {
		t.Fatal(err)
	}
	if a.heldNames() != 1 {
		t.Error("the group of a name that is held was forgotten")
	}
	req.Abort()
}

// TestOutOfTheWay: a request that ended without a result keeps nobody waiting,
// although its gateway lives on and its client does not come back.
func TestOutOfTheWay(t *testing.T) {
	for _, effect := range []bool{false, true} {
		a, b, _, _ := twoGateways(t)
		c := a.client41("c")
		req, _, err := c.starts(nfs4.OpCreate, nothing)
		if err != nil {
			t.Fatal(err)
		}
		if effect {
			a.fs.make("n")
		}
		req.Abort()
		req, fc := b.client41("other").begin(0)
		fc.next()
		status, err := b.create(req, fc, "n")
		if err != nil || (status == nfs4.ErrExist) != effect {
			t.Fatalf("effect %v: another CREATE: %v %v", effect, status, err)
		}
		there := c.elsewhere(b)
		req, fc = there.again(0)
		fc.start(nfs4.OpCreate)
		if in := req.Begun(); in != nil && !in.Settled {
			// It waits for the first gateway's word.
			if err := req.Begin(context.Background(), nfs4.OpCreate, nameN, nothing); !errors.Is(err, ErrDuplicate) {
				t.Errorf("effect %v: begun elsewhere: %v", effect, err)
			}
		}
		if in := req.Begun(); in == nil || !in.Settled || (in.Outcome == OutcomeDone) != effect {
			t.Errorf("effect %v: the retry elsewhere finds %+v", effect, in)
		}
		req.Abort()
	}
}

// TestOutOfItsOwnWay: so does one whose operation holds no names.
func TestOutOfItsOwnWay(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	c := a.client41("c")
	a.n.SetResolver(func(context.Context, *Intent) (Outcome, error) { return OutcomeNotDone, nil })
	req, fc := c.begin(0)
	fc.next()
	fc.start(nfs4.OpSetAttr)
	if err := req.Begin(ctx, nfs4.OpSetAttr, nil, nothing); err != nil {
		t.Fatal(err)
	}
	there := c.elsewhere(b)
	retry, fc := there.again(0)
	fc.start(nfs4.OpSetAttr)
	req.Abort()
	err := retry.Begin(ctx, nfs4.OpSetAttr, nil, nothing)
	for errors.Is(err, ErrDuplicate) && retry.Resume != nil {
		fc.resume(retry.Resume)
		fc.start(nfs4.OpSetAttr)
		err = retry.Begin(ctx, nfs4.OpSetAttr, nil, nothing)
	}
	if err != nil {
		t.Fatalf("the retry elsewhere: %v", err)
	}
	if err := retry.Done(ctx, func() { fc.conclude(nfs4.OK) }); err != nil {
		t.Fatal(err)
	}
	retry.Finish(fc.reply)
}

// TestSessionEndsUnderWay: what a living gateway changes just now stays held
// although the session of the request is destroyed meanwhile.
func TestSessionEndsUnderWay(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	c := a.client41("c")
	req, fc, err := c.starts(nfs4.OpRemove, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.n.DestroySession(ctx, c.session); err != nil {
		t.Fatal(err)
	}
	key := nameN[0].Key()
	if err := b.n.settle(ctx, key); !errors.Is(err, errHeld) {
		t.Errorf("another gateway takes the name: %v", err)
	}
	if err := req.Done(ctx, func() { fc.conclude(nfs4.OK) }); !errors.Is(err, ErrBadSession) {
		t.Errorf("Done: %v", err)
	}
	req.Abort()
	b.client41("other").makes()
}

// TestSlotGoesOnUnderWay: so does it when the client goes on without the result,
// at another gateway.
func TestSlotGoesOnUnderWay(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	c := a.client41("c")
	req, fc, err := c.starts(nfs4.OpRemove, nothing)
	if err != nil {
		t.Fatal(err)
	}
	there := c.elsewhere(b)
	there.mustOpen("f")
	if err := b.n.settle(ctx, nameN[0].Key()); !errors.Is(err, errHeld) {
		t.Errorf("another gateway takes the name: %v", err)
	}
	if err := req.Done(ctx, func() { fc.conclude(nfs4.OK) }); !errors.Is(err, ErrDuplicate) {
		t.Errorf("Done: %v", err)
	}
	req.Abort()
	b.client41("other").makes()
}

// TestLateIntent: a commit of which it was not known whether it holds, and that
// does, keeps nobody waiting.
func TestLateIntent(t *testing.T) {
	store := &unsaying{Store: memory.New()}
	clock, fs := &fakeClock{}, newFakeFS()
	gateway := func(name string, seed uint64, store durable.Store) *world {
		w := &world{t: t, store: store, clock: clock, fs: fs, seed: seed, cfg: func(c *Config) { c.Shared, c.Name = true, name }}
		w.join()
		t.Cleanup(func() { _ = w.n.Close(context.Background()) })
		return w
	}
	a, b := gateway("a", 100, store), gateway("b", 200, store.Store)
	c := a.client41("c")
	store.unsure.Store(true)
	req, _, err := c.starts(nfs4.OpCreate, nothing)
	if !errors.Is(err, ErrFenced) {
		t.Fatalf("Begin: %v", err)
	}
	req.Abort()
	store.unsure.Store(false)
	b.client41("other").makes()
}

// unsaying is a store that at times commits and does not say so.
type unsaying struct {
	durable.Store
	unsure atomic.Bool
}

func (s *unsaying) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	unsure := s.unsure.Load()
	ack, err := s.Store.Commit(ctx, b)
	if err != nil || !unsure {
		return ack, err
	}
	return nil, errors.Join(durable.ErrUnknown, ack.Wait())
}
