package statesync

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
)

// silence lets a lease and half a lease go by, of which the gateways, who go on serving, hear nothing of any client.
func silence(t *testing.T, ws ...*world) {
	t.Helper()
	for range 4 {
		ws[0].clock.advance(ws[0].n.cfg.Lease * 5 / 12)
		for _, w := range ws {
			w.n.members.serves.Store(1 << 62)
			if _, err := w.n.readRenewals(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// late is a client that has denied a file to all others through b, and was silent since; rival is one of b that wants the
// file.
func late(t *testing.T, a, b *world) (late, rival *client41) {
	t.Helper()
	late = b.client41("late")
	if _, err := late.opens(t, "f", "o", 3, nfs4.ShareDenyBoth); err != nil {
		t.Fatal(err)
	}
	a.mustClient(late.id)
	silence(t, a, b)
	if !b.n.expired(b.mustClient(late.id)) {
		t.Fatal("the client does not count as late")
	}
	return late, b.client41("rival")
}

// back sends the client's next request, through a gateway.
func (c *client41) back(w *world) error {
	there := c.elsewhere(w)
	there.seq[0]++
	c.seq[0] = there.seq[0]
	req, err := there.send(context.Background(), 0, &fakeCompound{})
	if err == nil {
		req.Finish(nil)
	}
	return err
}

// TestBackElsewhere: a client that was silent for longer than its lease and comes back through one gateway keeps what it has,
// whatever the others heard of it (RFC 8881 §8.3: the lease is renewed by each SEQUENCE).
func TestBackElsewhere(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	late, rival := late(t, a, b)
	if err := late.back(a); err != nil {
		t.Fatal(err)
	}
	if _, err := rival.opens(t, "f", "o", 3, 0); !errors.Is(err, ErrShareDenied) {
		t.Fatalf("a client that came back elsewhere was in the way: %v", err)
	}
	if err := late.back(a); err != nil {
		t.Fatalf("it came back and was revoked all the same: %v", err)
	}
}

// TestBackWhileRevoked: it comes back when the other gateway has looked, and has not written yet.
func TestBackWhileRevoked(t *testing.T) {
	a, b, _, lb := twoGateways(t)
	late, rival := late(t, a, b)
	var back error
	came := false
	lb.before = func(batch *durable.Batch) {
		if slices.Contains(batch.Forget, clientKey(late.id)) && !came {
			came = true
			back = late.back(a)
		}
	}
	_, err := rival.opens(t, "f", "o", 3, 0)
	if !came || back != nil {
		t.Fatalf("it came back %v: %v", came, back)
	}
	if !errors.Is(err, ErrShareDenied) {
		t.Fatalf("a client that came back just before was in the way: %v", err)
	}
	if err := late.back(a); err != nil {
		t.Fatalf("it came back and was revoked all the same: %v", err)
	}
}

// TestRevokedWhileBack: the other gateway revokes it when it is about to be noted that it came back. Then it must not be
// answered as if nothing had happened.
func TestRevokedWhileBack(t *testing.T) {
	a, b, la, _ := twoGateways(t)
	late, _ := late(t, a, b)
	revoked := false
	la.before = func(batch *durable.Batch) {
		if revoked || !slices.ContainsFunc(batch.Writes, func(w durable.Write) bool { return w.Key == keyRenewed }) {
			return
		}
		revoked = true
		if err := b.n.revoke(context.Background(), b.mustClient(late.id)); err != nil {
			t.Error(err)
		}
	}
	if err := late.back(a); !errors.Is(err, ErrBadSession) || !revoked {
		t.Fatalf("revoked %v, and then it came back: %v", revoked, err)
	}
}

// TestActiveWithoutStore: while no gateway reaches the store they cannot tell of each other's clients. Afterwards none of these
// counts as late before they could.
func TestActiveWithoutStore(t *testing.T) {
	a, b, la, lb := twoGateways(t)
	late := b.client41("late")
	if _, err := late.opens(t, "f", "o", 3, nfs4.ShareDenyBoth); err != nil {
		t.Fatal(err)
	}
	if err := late.back(a); err != nil {
		t.Fatal(err)
	}
	rival := b.client41("rival")
	for _, w := range []*world{a, b} {
		w.n.members.serves.Store(1 << 62)
		if _, err := w.n.readRenewals(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	la.cut.Store(true)
	lb.cut.Store(true)
	for range 4 {
		a.clock.advance(25 * time.Minute)
		if err := errors.Join(late.back(a), rival.back(b)); err != nil {
			t.Fatal(err)
		}
	}
	la.cut.Store(false)
	lb.cut.Store(false)
	if _, err := rival.opens(t, "f", "o", 3, 0); !errors.Is(err, ErrShareDenied) {
		t.Fatalf("a client that is active elsewhere was in the way: %v", err)
	}
}

// TestBackCostsOnce: what a client costs the store by coming back is one commit, and a client that was never silent costs
// nothing when it comes to another gateway.
func TestBackCostsOnce(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	late, _ := late(t, a, b)
	count := func() uint64 {
		before := a.n.Stats().Commits
		if err := late.back(a); err != nil {
			t.Fatal(err)
		}
		return a.n.Stats().Commits - before
	}
	if first, second := count(), count(); first != 1 || second != 0 {
		t.Errorf("coming back cost %d commits, going on %d", first, second)
	}
	active := b.client41("active")
	for range 3 {
		a.clock.advance(20 * time.Minute)
		if err := active.back(b); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.n.foldRenewals(t.Context()), a.n.foldRenewals(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	late = active
	if first := count(); first != 0 {
		t.Errorf("an active client that moved cost %d commits", first)
	}
}
