package statesync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/internal/together"
	"holdfast/statesync/rules"
)

// A client is a client's record in memory, with what is not in the store: when
// it was last heard of, and how much it holds.
type client struct {
	id     ClientID
	key    string // of its group
	states string // of the group of its stateids
	view   atomic.Pointer[clientView]

	// gone says that the record does not exist any more, and all state of the
	// client with it.
	gone    atomic.Bool
	evicted atomic.Bool

	renewed atomic.Int64  // by Node.clock, by this gateway or another
	heard   atomic.Int64  // by Node.clock, by this gateway
	since   atomic.Uint64 // moment when it was last seen to come from another gateway
	toldAt  atomic.Int64  // by Node.clock, when the peers were told of it last
	proven  atomic.Int64  // by Node.clock: it was heard of then or later, and no gateway takes it for late that looks at the store
	made    int64         // when it came to be known here
	fresh   bool          // it was made here: it had nothing before
	ranges  atomic.Int64  // byte ranges locked, in files in memory
	held    holdings

	mu       sync.Mutex
	sessions map[nfs4.SessionID]*session // in memory
}

// clientView is a record at a version; it is not changed.
type clientView struct {
	rec     *rules.Client
	version uint64
}

// minor0 says that the client is one of NFSv4.0.
func (c *client) minor0() bool { return c.view.Load().rec.Minor == 0 }

// check demands in a batch that the client is still what it was: whoever
// removes a client makes every grant to it fail from then on.
func (c *client) check(b *durable.Batch) {
	b.Checks = append(b.Checks, durable.Check{Key: c.key, Version: c.view.Load().version})
}

// install makes a record the client's if it is newer than the present one.
func (c *client) install(rec *rules.Client, version uint64) {
	next := &clientView{rec, version}
	for {
		old := c.view.Load()
		if old != nil && old.version >= version {
			return
		}
		if c.view.CompareAndSwap(old, next) {
			return
		}
	}
}

// expired says that the client's lease ran out.
func (n *Node) expired(c *client) bool {
	return n.clock()-c.renewed.Load() > int64(n.cfg.Lease)+n.grace()
}

// renew notes that a client was heard of.
func (n *Node) renew(c *client) {
	now := n.clock()
	if n.cfg.Shared {
		c.proveAt(now)
	}
	n.spareAt(c, now)
}

// proveAt notes a time of which proven is true.
func (c *client) proveAt(at int64) {
	for {
		old := c.proven.Load()
		if old >= at || c.proven.CompareAndSwap(old, at) {
			return
		}
	}
}

// spareAt treats a client as one that was heard of.
func (n *Node) spareAt(c *client, now int64) {
	c.renewed.Store(now)
	c.heard.Store(now)
	if n.hasPeers() {
		n.tell(c, now)
	}
}

// client returns a client, from memory or the store. The error is
// ErrStaleClientID if there is none.
func (n *Node) client(ctx context.Context, id ClientID) (*client, error) {
	if c := n.clients.get(id); c != nil {
		if c.gone.Load() {
			return nil, ErrStaleClientID
		}
		return c, nil
	}
	key := clientKey(id)
	if err := n.loading.take(ctx, key); err != nil {
		return nil, err
	}
	defer n.loading.give(key)
	if c := n.clients.get(id); c != nil {
		return c, nil
	}
	g, err := n.load(ctx, key)
	if err != nil {
		return nil, storeError(err)
	}
	return n.adopt(ctx, id, g)
}

// A roll is which clients are in the store.
type roll struct {
	calls together.Calls                        // of callRoll
	after int64                                 // the time of clock before which callRoll waits; only it knows
	by    atomic.Pointer[map[uint32][]ClientID] // by what hintOf gives, when callRoll ran last
}

// meet brings the clients into memory that may have had a stateid, unless one is
// there: another gateway may have taken up the client just now, and have died. Those who
// ask at the same time share a look at the store.
func (n *Node) meet(ctx context.Context, other [nfs4.OtherSize]byte) error {
	for _, c := range n.clients.all() {
		if hints(other, c.id) {
			return nil
		}
	}
	if err := n.roll.calls.Do(func() error { return n.callRoll(ctx) }); err != nil {
		return err
	}
	for _, id := range (*n.roll.by.Load())[hint(other)] {
		if _, err := n.client(ctx, id); err != nil && !errors.Is(err, ErrStaleClientID) {
			return err
		}
	}
	return nil
}

// callRoll notes which clients are in the store, for half of the time at most: who
// sends stateids that are nobody's has to wait, and not those who need the store. One
// runs at a time.
func (n *Node) callRoll(ctx context.Context) error {
	if wait := n.roll.after - n.clock(); wait > 0 {
		t := time.NewTimer(time.Duration(wait))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ErrDelay
		}
	}
	began := n.clock()
	ids, err := n.clientIDs(ctx)
	ended := n.clock()
	n.roll.after = ended + (ended - began)
	if err != nil {
		return err
	}
	by := make(map[uint32][]ClientID, len(ids))
	for _, id := range ids {
		by[hintOf(id)] = append(by[hintOf(id)], id)
	}
	n.roll.by.Store(&by)
	return nil
}

// meetAll brings all clients of the store into memory.
func (n *Node) meetAll(ctx context.Context) error {
	ids, err := n.clientIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := n.client(ctx, id); err != nil && !errors.Is(err, ErrStaleClientID) {
			return err
		}
	}
	return nil
}

// clientIDs returns the clients that are in the store.
func (n *Node) clientIDs(ctx context.Context) ([]ClientID, error) {
	var ids []ClientID
	err := n.store.Scan(ctx, prefixClient, func(g durable.Group) bool {
		if id, ok := clientOf(prefixClient, g.Key); ok {
			ids = append(ids, id)
		}
		return true
	})
	if err != nil {
		return nil, storeError(err)
	}
	return ids, nil
}

// adopt brings a client's group from the store into memory. The group's key
// is taken in n.loading, so that what is adopted cannot have been removed.
func (n *Node) adopt(ctx context.Context, id ClientID, g durable.Group) (*client, error) {
	value := head(g)
	if value == nil {
		return nil, ErrStaleClientID
	}
	rec, err := rules.DecodeClient(value)
	if err != nil {
		return nil, fmt.Errorf("client %016x: %w", uint64(id), err)
	}
	if rec.ID != id {
		return nil, fmt.Errorf("%w: client %016x has the record of %016x", ErrServerFault, uint64(id), uint64(rec.ID))
	}
	// Every client counts as heard of when this gateway came. Where there are others, one of them may have heard of it just now.
	heard := int64(0)
	if n.cfg.Shared {
		heard = n.clock()
	}
	proven := n.provenBefore(ctx, id)
	c := n.clients.getOrMake(id, func() *client {
		c := n.newClient(id, heard)
		c.proveAt(proven)
		c.install(rec, g.Version) // before anybody sees it
		return c
	})
	c.install(rec, g.Version)
	return c, nil
}

func (n *Node) newClient(id ClientID, now int64) *client {
	c := &client{id: id, key: clientKey(id), states: statesKey(id), made: now, sessions: make(map[nfs4.SessionID]*session)}
	c.renewed.Store(now)
	c.proven.Store(never)
	return c
}

// reload brings the client in memory to what a failed check told. It returns
// false if the client does not exist any more.
func (n *Node) reload(c *client, g durable.Group) (bool, error) {
	value := head(g)
	if value == nil {
		n.forget(c)
		return false, nil
	}
	rec, err := rules.DecodeClient(value)
	if err != nil {
		return false, err
	}
	c.install(rec, g.Version)
	return true, nil
}

// refresh brings the client in memory up to the store. Memory may be behind where
// several gateways change it. The error is ErrBadSession if the client does not
// exist any more.
func (n *Node) refresh(ctx context.Context, c *client) error {
	if !n.cfg.Shared {
		return nil
	}
	g, err := n.load(ctx, c.key)
	if err != nil {
		return storeError(err)
	}
	there, err := n.reload(c, g)
	if err == nil && !there {
		err = ErrBadSession
	}
	return err
}

// forget drops a client that the store does not have any more from memory.
func (n *Node) forget(c *client) {
	n.departed.put(c.id, true)
	c.gone.Store(true)
	c.mu.Lock()
	sessions := c.sessions
	c.sessions = nil
	c.mu.Unlock()
	for id, s := range sessions {
		s.gone.Store(true)
		n.sessions.dropIf(id, func(t *session) bool { return t == s })
	}
	n.clients.dropIf(c.id, func(d *client) bool { return d == c })
}

// live40 returns an NFSv4.0 client that may use state. The errors are
// ErrStaleClientID and ErrExpired.
func (n *Node) live40(ctx context.Context, id ClientID) (*client, error) {
	c, err := n.client(ctx, id)
	if errors.Is(err, ErrStaleClientID) && n.wasHere(ctx, id) {
		return nil, ErrExpired
	}
	if err != nil {
		return nil, err
	}
	if !c.view.Load().rec.Confirmed {
		// Another gateway confirmed it, perhaps, after this one learned of the client.
		if err := n.refresh(ctx, c); errors.Is(err, ErrBadSession) {
			return nil, ErrStaleClientID
		} else if err != nil {
			return nil, err
		}
	}
	if !c.view.Load().rec.Confirmed || !c.minor0() {
		return nil, ErrStaleClientID
	}
	return c, n.back(ctx, c)
}

// wasHere says that a client was revoked not long ago: it is late rather than
// unknown.
func (n *Node) wasHere(ctx context.Context, id ClientID) bool {
	g, err := n.load(ctx, goneKey(id))
	if err != nil || head(g) == nil {
		return false
	}
	left, err := decodeRemains(head(g))
	return err == nil && left.revoked
}

// ended is the error of a request of a client that was removed meanwhile.
func (c *client) ended() error {
	switch {
	case !c.minor0():
		return ErrBadSession
	case c.evicted.Load():
		return ErrAdminRevoked
	}
	return ErrExpired
}

// holdings counts a client's stateids. What it had before this gateway knew it
// is added once, when it first gets one here.
type holdings struct {
	counting     atomic.Bool
	opens, locks atomic.Int64
}

func (h *holdings) add(lock bool, more int64) {
	if lock {
		h.locks.Add(more)
	} else {
		h.opens.Add(more)
	}
}

// countStates notes the stateids that a change made or dropped.
func (n *Node) countStates(d *rules.Delta) {
	d.Stateids(func(id ClientID, other [nfs4.OtherSize]byte, made bool) {
		if c := n.clients.get(id); c != nil && (c.fresh || c.held.counting.Load()) {
			more := int64(-1)
			if made {
				more = 1
			}
			c.held.add(isLock(other), more)
		}
	})
}

// countHeld counts, in the background, the stateids that a client has in the
// store.
func (n *Node) countHeld(c *client) {
	if c.held.counting.Swap(true) || c.fresh {
		return
	}
	g, err := n.load(context.Background(), c.states)
	if err != nil {
		c.held.counting.Store(false)
		return
	}
	for _, p := range g.Parts {
		if len(p.Name) == 1+nfs4.OtherSize && p.Name[0] == partState {
			c.held.add(isLock([nfs4.OtherSize]byte([]byte(p.Name[1:]))), 1)
		}
	}
}

// withinLimits refuses a change by which a client gets more than it may have.
func (n *Node) withinLimits(_ context.Context, c *client, d *rules.Delta) error {
	if c == nil || d == nil {
		return nil
	}
	var opens, locks int64
	d.Stateids(func(id ClientID, other [nfs4.OtherSize]byte, made bool) {
		switch {
		case id != c.id || !made:
		case isLock(other):
			locks++
		default:
			opens++
		}
	})
	if opens+locks > 0 {
		n.countHeld(c)
	}
	l := &n.cfg.Limits
	switch {
	case opens > 0 && c.held.opens.Load()+opens > int64(l.Opens),
		locks > 0 && c.held.locks.Load()+locks > int64(l.Locks),
		d.RangesMore() > 0 && c.ranges.Load()+int64(d.RangesMore()) > int64(l.Locks):
		return ErrResource
	}
	return nil
}
