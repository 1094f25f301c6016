package statesync

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/memory"
)

// A bus brings messages at once, to those who are not deaf.
type bus struct {
	hear map[string]func(string, []byte)
	deaf map[string]bool
}

// A stop of a bus is one gateway's.
type stop struct {
	*bus
	name string
}

func (s stop) Publish(msg []byte) {
	for name, fn := range s.hear {
		if name != s.name && !s.deaf[name] {
			fn(s.name, msg)
		}
	}
}

func (s stop) Subscribe(fn func(string, []byte)) error {
	s.hear[s.name] = fn
	return nil
}

// A cloister is gateways over one store that can be cut off from it one by one, and of
// which each turn is the test's.
type cloister struct {
	t     *testing.T
	store *memory.Store
	clock *fakeClock
	bus   *bus
	ws    []*world
	links []*link
}

const testLease, testOutage = 5 * time.Second, time.Minute

func newCloister(t *testing.T, names ...string) *cloister {
	c := &cloister{t: t, store: memory.New(), clock: &fakeClock{}, bus: &bus{map[string]func(string, []byte){}, map[string]bool{}}}
	for _, name := range names {
		c.join(name)
	}
	c.beat(2)
	return c
}

func (c *cloister) join(name string) *world {
	c.t.Helper()
	l := &link{Store: c.store}
	w := &world{t: c.t, store: l, clock: c.clock, fs: newFakeFS(), seed: uint64(len(c.ws)+1) * 100, cfg: func(cfg *Config) {
		cfg.Shared, cfg.Name, cfg.Manual, cfg.Lease = true, name, true, time.Hour
		cfg.GatewayLease, cfg.StoreOutage = testLease, testOutage
	}}
	w.join()
	if err := w.n.UsePeers(stop{c.bus, name}); err != nil {
		c.t.Fatal(err)
	}
	c.ws, c.links = append(c.ws, w), append(c.links, l)
	return w
}

// beat gives every gateway some turns; those that are cut off fail.
func (c *cloister) beat(turns int) {
	for range turns {
		for _, w := range c.ws {
			_ = w.n.beat(context.Background())
		}
	}
}

// pass lets time pass, in which every gateway has its turns.
func (c *cloister) pass(d time.Duration) {
	for end := c.clock.now().Add(d); c.clock.now().Before(end); {
		c.clock.advance(testLease / 20)
		for _, w := range c.ws {
			w.n.Ask()
		}
		c.beat(1)
	}
}

func (c *cloister) cut(which ...int) {
	for i := range c.links {
		c.links[i].cut.Store(false)
	}
	for _, i := range which {
		c.links[i].cut.Store(true)
	}
}

func (c *cloister) serves(i int) bool { return c.ws[i].n.MayServe() == nil }

// grants says whether a gateway's commits are taken.
func (c *cloister) grants(i int) bool {
	return c.ws[i].n.commitNow(context.Background(), &durable.Batch{Writes: []durable.Write{{Key: "x", Value: []byte{1}}}}) == nil
}

// alive says whether the store takes something of a gateway.
func (c *cloister) alive(i int) bool {
	c.t.Helper()
	n := c.ws[i].n
	groups, err := c.store.Load(context.Background(), gatewayKey(n.cfg.Name))
	if err != nil {
		c.t.Fatal(err)
	}
	instance, state, err := decodeGateway(n.cfg.Name, head(groups[0]))
	return err == nil && instance == n.instance && state == gatewayAlive
}

// TestStoreAway: while nobody reaches the store all serve on, for as long as is
// allowed and no longer; nothing is granted; and nobody is the worse for it.
func TestStoreAway(t *testing.T) {
	for _, names := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}} {
		c := newCloister(t, names...)
		var all []int
		for i := range names {
			all = append(all, i)
		}
		c.cut(all...)
		for range 50 {
			c.pass(time.Second)
			for i, name := range names {
				if !c.serves(i) || c.grants(i) {
					t.Fatalf("%d gateways without the store: %s serves: %v, grants: %v", len(names), name, c.serves(i), c.grants(i))
				}
			}
		}
		c.pass(5 * time.Second)
		for i, name := range names {
			if c.serves(i) {
				t.Errorf("%d gateways without the store for %v: %s serves", len(names), testOutage, name)
			}
		}
		c.cut()
		c.pass(time.Second)
		for i, name := range names {
			if !c.serves(i) || !c.grants(i) {
				t.Errorf("%d gateways, the store is back: %s serves: %v, grants: %v", len(names), name, c.serves(i), c.grants(i))
			}
		}
	}
}

// TestStoreAwayAndBack: an outage that is longer than the lease ends, and nobody was
// declared dead for it, whoever reaches the store first.
func TestStoreAwayAndBack(t *testing.T) {
	for first := range 3 {
		c := newCloister(t, "a", "b", "c")
		c.cut(0, 1, 2)
		c.pass(20 * time.Second)
		c.cut((first+1)%3, (first+2)%3)
		c.pass(testLease / 2)
		c.cut()
		c.pass(time.Second)
		for i := range c.ws {
			if !c.alive(i) || !c.serves(i) {
				t.Errorf("gateway %d is first: %d alive %v, serves %v", first, i, c.alive(i), c.serves(i))
			}
		}
	}
}

// TestAloneWithoutTheStore: a gateway that alone is cut off stops when its lease is
// over, and is declared dead (G6).
func TestAloneWithoutTheStore(t *testing.T) {
	c := newCloister(t, "a", "b", "c")
	c.cut(0)
	c.pass(testLease)
	if c.serves(0) {
		t.Error("it serves although the others reach the store")
	}
	c.pass(testLease / 2)
	if c.alive(0) {
		t.Error("the others wait for longer than its lease")
	}
}

// TestPromise: who vouched waits, although it reaches the store again, until the
// other one has stopped.
func TestPromise(t *testing.T) {
	c := newCloister(t, "a", "b")
	c.cut(0, 1)
	c.pass(4 * testLease)
	c.cut(0)
	stopped := false
	for range 40 {
		c.pass(testLease / 20)
		stopped = stopped || !c.serves(0)
		if !stopped && !c.alive(0) {
			t.Fatal("declared dead while it serves")
		}
	}
	if !stopped || c.alive(0) {
		t.Errorf("two leases later: stopped %v, alive %v", stopped, c.alive(0))
	}
}

// TestNoWord: one answer that is missing is enough, and no word that comes later
// brings back who has stopped.
func TestNoWord(t *testing.T) {
	c := newCloister(t, "a", "b", "c")
	c.cut(0, 1, 2)
	c.bus.deaf["c"] = true
	c.pass(testLease)
	if c.serves(0) || c.serves(1) {
		t.Error("it serves without the word of all others")
	}
	c.bus.deaf["c"] = false
	c.pass(testLease)
	if c.serves(0) || c.serves(1) || c.serves(2) {
		t.Error("who has stopped is brought back by the others' word")
	}
}

// TestLateJoiner: who joins during the outage reaches the store and was not asked. It
// waits until those whom it cannot know to have stopped have stopped.
func TestLateJoiner(t *testing.T) {
	c := newCloister(t, "a", "b")
	c.cut(0, 1)
	c.pass(4 * testLease)
	c.join("late")
	c.cut(0, 1)
	for c.alive(0) && c.alive(1) {
		c.pass(testLease / 20)
		for i := range 2 {
			if c.serves(i) && !c.alive(i) {
				t.Fatal("declared dead while it serves")
			}
		}
		if c.clock.now().Sub(time.Unix(0, 0)) > 2*testOutage {
			t.Fatal("never declared dead")
		}
	}
	if c.serves(0) || c.serves(1) {
		t.Error("one of them serves on")
	}
}

// TestForgotten: who restarts has forgotten its promise, and waits as one that
// joins late does.
func TestForgotten(t *testing.T) {
	c := newCloister(t, "a", "b")
	c.cut(0, 1)
	c.pass(2 * testLease)
	b := c.join("b")
	c.cut(0, 1)
	for range 25 {
		c.pass(testLease / 20)
		if err := b.n.beat(context.Background()); err != nil {
			t.Fatal(err)
		}
		if c.serves(0) && !c.alive(0) {
			t.Fatal("declared dead while it serves")
		}
	}
}

// TestKilledMeanwhile: who is known to have ended need not be asked.
func TestKilledMeanwhile(t *testing.T) {
	c := newCloister(t, "a", "b")
	c.cut(0, 1)
	c.pass(2 * testLease)
	c.bus.deaf["b"] = true
	if err := c.ws[0].n.Ended(context.Background(), "b", c.ws[1].n.Instance()); !errors.Is(err, durable.ErrUnavailable) {
		t.Fatalf("declared dead without the store: %v", err)
	}
	c.ws, c.links = c.ws[:1], c.links[:1]
	c.pass(4 * testLease)
	if !c.serves(0) {
		t.Error("it waits for the word of a dead gateway")
	}
}
