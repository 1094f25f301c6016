package statesync

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/internal/nfs4"
)

// What the simulation found, each as one sequence of steps.

// TestBegunTooLate: a gateway whose lease ended while the store took the
// intent changes no files (G6).
func TestBegunTooLate(t *testing.T) {
	a, _, _, _ := twoGateways(t)
	c := a.client41("c")
	req, fc := c.begin(0)
	fc.next()
	fc.start(nfs4.OpCreate)
	err := req.Begin(context.Background(), nfs4.OpCreate, []Name{{Dir: "d", Name: "n"}}, func() ([]byte, error) {
		a.clock.advance(55 * time.Second)
		return []byte{}, nil
	})
	if !errors.Is(err, ErrFenced) {
		t.Fatalf("begun after the lease: %v", err)
	}
	req.Abort()
}

// TestReclaimCompleteElsewhere: RECLAIM_COMPLETE counts at gateways that knew
// the client before it.
func TestReclaimCompleteElsewhere(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	ctx := context.Background()
	x, err := a.n.ExchangeID(ctx, &ExchangeIDArgs{Owner: []byte("c"), Verifier: nfs4.Verifier{1}, Principal: "p", Minor: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := &client41{w: a, id: x.Client}
	c.session = c.newSession(x.Sequence)
	there := c.elsewhere(b)
	req, fc := there.begin(1)
	req.Finish(fc.reply)
	req, fc = c.begin(0)
	if err := a.n.ReclaimComplete(ctx, req, false); err != nil {
		t.Fatal(err)
	}
	req.Finish(fc.reply)
	req, fc = there.begin(1)
	fc.next()
	fc.start(nfs4.OpOpen)
	err = b.n.Open(ctx, req, nil, &OpenArgs{Client: c.id, Owner: []byte("o"), File: "f", Access: 3}, func(*OpenResult) { fc.conclude(nfs4.OK) })
	if err != nil {
		t.Fatalf("OPEN after RECLAIM_COMPLETE at another gateway: %v", err)
	}
	req.Finish(fc.reply)
}

// TestCutOffSaysNothing: a gateway that cannot ask whether another one ran the request
// does not answer DELAY, which would make the client send it as a new one (G3).
func TestCutOffSaysNothing(t *testing.T) {
	a, _, la, _ := twoGateways(t)
	ctx := context.Background()
	c := a.client41("c")
	req, fc := c.begin(0)
	req.Finish(fc.reply)
	req, fc = c.begin(0)
	fc.next()
	fc.start(nfs4.OpOpen)
	la.cut.Store(true)
	err := a.n.Open(ctx, req, nil, &OpenArgs{Client: c.id, Owner: []byte("o"), File: "f", Access: 3}, func(*OpenResult) { fc.conclude(nfs4.OK) })
	if !errors.Is(err, ErrFenced) {
		t.Fatalf("OPEN while the store is cut off: %v", err)
	}
	req.Abort()
}

// TestRefusedBeforeFenced: when the fence hook runs the store takes nothing from
// the gateway any more, so that it cannot live on without its files.
func TestRefusedBeforeFenced(t *testing.T) {
	a, b, la, _ := twoGateways(t)
	ran := false
	b.n.cfg.Manual = true // the hook runs in the beat
	b.n.cfg.FenceHook = func(ctx context.Context, _ Fenced) error {
		ran = true
		la.cut.Store(false)
		if err := a.n.renewLease(ctx); !errors.Is(err, ErrFenced) {
			t.Errorf("lease renewed while the hook runs: %v", err)
		}
		return nil
	}
	la.cut.Store(true)
	b.clock.advance(67 * time.Second)
	b.n.members.serves.Store(1 << 62)
	b.beat()
	if !ran {
		t.Fatal("the hook did not run")
	}
	if alive, err := b.n.runs(context.Background(), "a", a.n.instance); err != nil || alive {
		t.Fatalf("after the hook: alive %v, %v", alive, err)
	}
}
