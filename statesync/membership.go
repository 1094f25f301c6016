package statesync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/durable"
)

// Membership: which gateways there are, and who may serve.
//
// Each gateway has two records (gatewayrecord.go). gateway/<name> is written when
// the gateway joins and when another declares it dead, and never in between:
// every commit of the gateway checks its version, so that from the moment it is
// declared dead the store takes nothing from it. lease/<name> is written again
// and again: that is how the others see that it lives.
//
//	renewed at t0 ─────────────────────┬───────┬────────▶
//	the gateway serves until           │       │
//	  t0 + 9/10 lease (its clock) ─────┘       │
//	others declare it dead after               │
//	  11/10 lease without a renewal (theirs) ──┘
//
// No clocks are compared: both sides only measure how long something took. The
// holder counts from before it asked the store, the others from after they were
// told.
//
// Silence is not the only proof (lifelines.go), and while nobody reaches the store
// the gateways vouch for each other (vouch.go).

// membership is what a Node knows of itself and the other gateways.
type membership struct {
	// fence is the version of this gateway's record; 0 until it joined, and where
	// the store is not shared.
	fence uint64

	// serves is until when this gateway may serve, by Node.clock.
	serves atomic.Int64

	beating turn // one beat at a time

	deposed chan struct{} // closed when another gateway declared this one dead
	once    sync.Once

	mu    sync.Mutex
	peers map[string]*peer
	acked uint64 // version of "ended" that is carried out here
	seen  map[string]int64
	ended map[string]uint64 // gateways, and the latest instance of which the end is proven
	lines map[string]*line  // the lifelines that are held, by gateway

	vouching vouching
	fencings map[string]*fencing // gateways that are to be fenced
}

// A peer is another gateway, as its lease record shows it.
type peer struct {
	leaseRecord
	version uint64 // of its lease record
	since   int64  // when that version was first seen, by Node.clock
	strange bool   // its lease record cannot be read

	// promised is when this gateway last promised not to declare it dead, by
	// Node.clock; 0: never.
	promised int64
}

func (m *membership) init() {
	m.beating = newTurn()
	m.deposed = make(chan struct{})
	m.peers = make(map[string]*peer)
	m.seen = make(map[string]int64)
	m.ended = make(map[string]uint64)
	m.lines = make(map[string]*line)
	m.vouching.init()
	m.fencings = make(map[string]*fencing)
}

// Deposed returns a channel that is closed when another gateway has declared
// this one dead. The Node is of no use from then on: all it has in memory may
// be out of date. The program has to let its connections go and join anew.
func (n *Node) Deposed() <-chan struct{} { return n.members.deposed }

// MayServe returns ErrFenced when this gateway must not touch the file system or grant
// anything: its lease is over, it was declared dead, or the store was wiped (G6).
func (n *Node) MayServe() error {
	if n.fenced.Load() {
		return ErrFenced
	}
	if n.wiped.Load() {
		return errWiped
	}
	if n.cfg.Shared && n.clock() >= n.members.serves.Load() {
		return ErrFenced
	}
	return nil
}

// depose notes that this gateway was declared dead.
func (n *Node) depose() {
	n.fenced.Store(true)
	n.members.once.Do(func() {
		n.log.Error("another gateway declared this one dead: nothing more is served")
		close(n.members.deposed)
	})
}

// fenceCheck is what every commit demands besides: that this gateway was not
// declared dead.
func (n *Node) fenceCheck(b *durable.Batch) {
	if n.members.fence != 0 {
		b.Checks = append(b.Checks, durable.Check{Key: gatewayKey(n.cfg.Name), Version: n.members.fence})
	}
}

// fencedBy looks whether a commit failed because this gateway was declared
// dead.
func (n *Node) fencedBy(groups []durable.Group) bool {
	if n.members.fence == 0 {
		return false
	}
	key := gatewayKey(n.cfg.Name)
	return slices.ContainsFunc(groups, func(g durable.Group) bool { return g.Key == key })
}

// membersLoop keeps this gateway's lease and looks after those of the others.
func (n *Node) membersLoop(ctx context.Context) {
	defer n.wg.Done()
	tick := time.NewTicker(n.cfg.GatewayLease / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		try, cancel := context.WithTimeout(ctx, n.cfg.GatewayLease)
		err := n.beat(try)
		cancel()
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrFenced) {
			n.log.Warn("gateway lease not renewed", "error", err)
		}
	}
}

// beat is one turn of membersLoop: renew, carry out what ended elsewhere, look
// after the others.
func (n *Node) beat(ctx context.Context) error {
	if err := n.members.beating.take(ctx); err != nil {
		return err
	}
	defer n.members.beating.give()
	return n.beatNow(ctx)
}

// beatNow is beat for who has the turn.
func (n *Node) beatNow(ctx context.Context) error {
	if err := n.carryOut(ctx); err != nil {
		return err
	}
	if err := n.renewLease(ctx); err != nil {
		return err
	}
	if err := n.observe(ctx); err != nil {
		return err
	}
	n.holdLifelines()
	for _, s := range n.suspects() {
		if err := n.declareDead(ctx, s); err != nil {
			return fmt.Errorf("declaring gateway %q dead: %w", s.name, err)
		}
	}
	return n.foldRenewals(ctx)
}

// suspects are the gateways that are to be declared dead.
func (n *Node) suspects() []suspect {
	m := &n.members
	m.mu.Lock()
	defer m.mu.Unlock()
	now := n.clock()
	var all []suspect
	for name, p := range m.peers {
		s := suspect{name: name, instance: p.instance}
		switch {
		case m.ended[name] >= p.instance && !p.strange:
			s.proven = true
		case now-p.heardOf() > n.silentFor(p) && !p.strange:
			s.lease = p.version
		default:
			continue
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b suspect) int { return strings.Compare(a.name, b.name) })
	return all
}

// renewLease writes this gateway's lease record. The lease counts from before
// the store was asked.
func (n *Node) renewLease(ctx context.Context) error {
	m := &n.members
	m.mu.Lock()
	l := leaseRecord{
		instance: n.instance, acked: m.acked, address: n.cfg.Address, lifeline: n.cfg.Lifeline,
		lease: n.cfg.GatewayLease, outage: n.cfg.StoreOutage, view: m.view(),
	}
	m.vouching.renewing(l.view)
	m.mu.Unlock()
	from := n.clock()
	err := n.commitNow(ctx, &durable.Batch{Writes: []durable.Write{{Key: leaseKey(n.cfg.Name), Value: l.encode()}}})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vouching.renewed(from, l.view)
	m.serves.Store(max(m.serves.Load(), from+int64(n.cfg.GatewayLease)*9/10))
	return nil
}

// observe reads the lease records of the other gateways.
func (n *Node) observe(ctx context.Context) error {
	seen := make(map[string]*peer)
	err := n.store.Scan(ctx, prefixLease, func(g durable.Group) bool {
		name := strings.TrimPrefix(g.Key, prefixLease)
		if name == n.cfg.Name {
			return true
		}
		p := &peer{version: g.Version}
		var err error
		if p.leaseRecord, err = decodeLease(name, head(g)); err != nil {
			p.strange = true
			n.log.Error("a gateway's lease cannot be read: nothing is taken from that gateway while it is there", "gateway", name, "error", err)
		}
		seen[name] = p
		return true
	})
	if err != nil {
		return err
	}
	// From here on, and not from before the store was asked: it may have been
	// renewed while the answer was on its way.
	now := n.clock()
	m := &n.members
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, p := range seen {
		old := m.peers[name]
		if old == nil || old.instance != p.instance {
			n.log.Info("gateway seen", "gateway", name, "instance", p.instance)
		}
		if old != nil && old.instance < p.instance {
			n.channel.gone(name, old.instance)
		}
		p.since = now
		if old == nil || old.instance != p.instance {
			continue // the versions of a record that was forgotten begin anew
		}
		p.promised = old.promised
		if old.version == p.version {
			p.since = old.since
		}
	}
	for name := range m.peers {
		if seen[name] == nil {
			n.log.Info("gateway left", "gateway", name)
			n.channel.unseen(name, m.peers[name].instance)
		}
	}
	m.peers = seen
	return nil
}
