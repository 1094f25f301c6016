package statesync

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"holdfast/durable"
	"holdfast/internal/nfs4"
)

// weigh counts what is loaded from a store.
type weigh struct {
	durable.Store
	loads, bytes int
}

func (s *weigh) weigh(g durable.Group) {
	s.loads++
	for _, p := range g.Parts {
		s.bytes += len(p.Name) + len(p.Value)
	}
}

func (s *weigh) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	groups, err := s.Store.Load(ctx, keys...)
	for _, g := range groups {
		s.weigh(g)
	}
	return groups, err
}

func (s *weigh) LoadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	g, err := s.Store.LoadParts(ctx, key, names...)
	s.weigh(g)
	return g, err
}

// TestTakeoverOfManyLocks: what a gateway loads when a client goes on reading and writing there does not depend on how much is
// locked on the file, by this client and by others (G8).
func TestTakeoverOfManyLocks(t *testing.T) {
	type cost struct{ loads, bytes int }
	costs := map[int]cost{}
	for _, locks := range []int{10, 5000} {
		a, b, _, lb := twoGateways(t)
		c := a.client41("a")
		open := c.mustOpen("f")
		var lock nfs4.Stateid
		for i := range locks {
			lock = mustLock(t, c, open, fmt.Sprint("owner", i), uint64(2*i), 1)
		}
		w := &weigh{Store: lb.Store}
		lb.Store = w
		moved := c.elsewhere(b)
		ctx := context.Background()
		for _, s := range []nfs4.Stateid{lock, open} {
			if _, err := b.n.CheckIO(ctx, moved.id, "f", s, nfs4.ShareAccessWrite, 0); err != nil {
				t.Fatalf("%d locks: %v", locks, err)
			}
		}
		costs[locks] = cost{w.loads, w.bytes}
		for _, s := range []nfs4.Stateid{lock, open} {
			if _, err := b.n.CheckIO(ctx, moved.id, "f", s, nfs4.ShareAccessWrite, 0); err != nil {
				t.Fatal(err)
			}
		}
		if now := (cost{w.loads, w.bytes}); now != costs[locks] {
			t.Errorf("%d locks: the second time %v was loaded", locks, now)
		}
		if !b.n.InUse("f") {
			t.Error("the file does not count as open")
		}
		if _, err := b.n.find(ctx, moved.id, lock.Other); err != nil {
			t.Error(err)
		}
	}
	if few, many := costs[10], costs[5000]; many.loads != few.loads || many.bytes > few.bytes+64 {
		t.Errorf("with 5000 locks %+v is loaded, with 10 %+v", many, few)
	}
}

// TestSomeStateids: what is known of a stateid alone is what the whole file says.
func TestSomeStateids(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	c := a.client41("a")
	moved := c.elsewhere(b)
	ctx := context.Background()
	check := func(s nfs4.Stateid, access uint32) error {
		_, err := b.n.CheckIO(ctx, moved.id, "f", s, access, 0)
		return err
	}
	open := c.mustOpen("f")
	lock := mustLock(t, c, open, "owner", 0, 10)
	for _, s := range []nfs4.Stateid{open, lock, {Seqid: 0, Other: open.Other}} {
		if err := check(s, nfs4.ShareAccessBoth); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
	made := nfs4.Stateid{Seqid: 1, Other: lock.Other}
	made.Other[nfs4.OtherSize-1]++
	if err := check(made, nfs4.ShareAccessRead); !errors.Is(err, ErrBadStateid) {
		t.Errorf("a stateid that is none: %v", err)
	}
	if err := check(nfs4.Stateid{Seqid: open.Seqid + 5, Other: open.Other}, nfs4.ShareAccessRead); !errors.Is(err, ErrBadStateid) {
		t.Errorf("a seqid of the future: %v", err)
	}
	// The file as a whole is known now; a peer's word makes it doubtful, and what is gone is refused.
	b.n.files.get("f").doubt()
	if err := check(open, nfs4.ShareAccessRead); err != nil {
		t.Error(err)
	}
}

func mustLock(t *testing.T, c *client41, open nfs4.Stateid, owner string, offset, length uint64) nfs4.Stateid {
	t.Helper()
	s, err := c.lockVia("f", open, owner, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFreshClientElsewhere: a gateway that has run for long and hears of a client for the first time by a conflict does not take it for
// one that is late.
func TestFreshClientElsewhere(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	a.clock.advance(3 * a.n.cfg.Lease)
	holder, rival := a.client41("a"), b.client41("b")
	mustLock(t, holder, holder.mustOpen("f"), "owner", 0, 10)
	var denied *LockDenied
	if _, err := rival.lockVia("f", rival.mustOpen("f"), "owner", 5, 10); !errors.As(err, &denied) {
		t.Errorf("the lock of a client that was there just now: %v", err)
	}
}
