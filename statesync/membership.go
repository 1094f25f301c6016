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
	"holdfast/internal/xdr"
)

// Membership: which gateways there are, and who may serve.
//
// Each gateway has two records:
//
//	gateway/<name>   u32 format · u64 instance · u32 state (1 serves, 2 dead, 3 to be fenced)
//	lease/<name>     u32 format · u64 instance · u64 version of "ended" carried out
//
// The first is written when the gateway joins and when another declares it
// dead, and never in between: every commit of the gateway checks its version, so
// that from the moment it is declared dead the store takes nothing from it. The
// second is written again and again: that is how the others see that it lives.
//
//	renewed at t0 ─────────────────────┬───────┬────────▶
//	the gateway serves until           │       │
//	  t0 + 9/10 lease (its clock) ─────┘       │
//	others declare it dead after               │
//	  11/10 lease without a renewal (theirs) ──┘
//
// No clocks are compared: both sides only measure how long something took.
const (
	prefixLease  = "lease/"
	keyEnded     = "ended"
	gatewayAlive = 1
	gatewayDead  = 2
	gatewayOut   = 3
	leaseFormat  = 1
)

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
}

// A peer is another gateway, as its lease record shows it.
type peer struct {
	instance uint64
	version  uint64 // of its lease record
	acked    uint64
	since    int64 // when that version was first seen, by Node.clock
}

func (m *membership) init() {
	m.beating = newTurn()
	m.deposed = make(chan struct{})
	m.peers = make(map[string]*peer)
	m.seen = make(map[string]int64)
}

func gatewayKey(name string) string { return prefixGateway + name }
func leaseKey(name string) string   { return prefixLease + name }

func encodeGateway(instance uint64, state uint32) []byte {
	w := xdr.NewWriter(nil)
	w.Uint32(gatewayFormat)
	w.Uint64(instance)
	w.Uint32(state)
	return w.Bytes()
}

func decodeGateway(name string, b []byte) (instance uint64, state uint32, err error) {
	r := xdr.NewReader(b)
	if format := r.Uint32(); r.Err() == nil && format != gatewayFormat {
		return 0, 0, fmt.Errorf("%w: record of gateway %q has format %d", durable.ErrFormat, name, format)
	}
	instance, state = r.Uint64(), r.Uint32()
	if r.Err() != nil || r.Remaining() > 0 {
		return 0, 0, fmt.Errorf("%w: record of gateway %q", durable.ErrDamaged, name)
	}
	return instance, state, nil
}

// Deposed returns a channel that is closed when another gateway has declared
// this one dead. The Node is of no use from then on: all it has in memory may
// be out of date. The program has to let its connections go and join anew.
func (n *Node) Deposed() <-chan struct{} { return n.members.deposed }

// MayServe returns ErrFenced when this gateway must not touch the file system or grant
// anything: its lease is over, or it was declared dead (G6).
func (n *Node) MayServe() error {
	if n.fenced.Load() {
		return ErrFenced
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
	now := n.clock()
	m := &n.members
	m.mu.Lock()
	var late []string
	for name, p := range m.peers {
		if now-p.since > int64(n.cfg.GatewayLease)*11/10 {
			late = append(late, name)
		}
	}
	m.mu.Unlock()
	slices.Sort(late)
	for _, name := range late {
		if err := n.declareDead(ctx, name); err != nil {
			return fmt.Errorf("declaring gateway %q dead: %w", name, err)
		}
	}
	return n.foldRenewals(ctx)
}

// renewLease writes this gateway's lease record. The lease counts from before
// the store was asked.
func (n *Node) renewLease(ctx context.Context) error {
	m := &n.members
	m.mu.Lock()
	acked := m.acked
	m.mu.Unlock()
	w := xdr.NewWriter(nil)
	w.Uint32(leaseFormat)
	w.Uint64(n.instance)
	w.Uint64(acked)
	from := n.clock()
	err := n.commitNow(ctx, &durable.Batch{Writes: []durable.Write{{Key: leaseKey(n.cfg.Name), Value: w.Bytes()}}})
	if err != nil {
		return err
	}
	m.serves.Store(from + int64(n.cfg.GatewayLease)*9/10)
	return nil
}

// observe reads the lease records of the other gateways.
func (n *Node) observe(ctx context.Context) error {
	now := n.clock()
	seen := make(map[string]*peer)
	err := n.store.Scan(ctx, prefixLease, func(g durable.Group) bool {
		name := strings.TrimPrefix(g.Key, prefixLease)
		r := xdr.NewReader(head(g))
		format := r.Uint32()
		p := &peer{instance: r.Uint64(), acked: r.Uint64(), version: g.Version, since: now}
		if name == n.cfg.Name {
			return true
		}
		if r.Err() != nil || format != leaseFormat {
			n.log.Error("lease record of a gateway cannot be read", "gateway", name)
		}
		seen[name] = p
		return true
	})
	if err != nil {
		return err
	}
	m := &n.members
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, p := range seen {
		old := m.peers[name]
		if old == nil || old.instance != p.instance {
			n.log.Info("gateway seen", "gateway", name, "instance", p.instance)
		}
		if old != nil && old.version == p.version {
			p.since = old.since
		}
	}
	for name := range m.peers {
		if seen[name] == nil {
			n.log.Info("gateway left", "gateway", name)
		}
	}
	m.peers = seen
	return nil
}

// declareDead makes sure that a gateway whose lease is over changes nothing any
// more: what it had begun may be resolved from then on.
func (n *Node) declareDead(ctx context.Context, name string) error {
	groups, err := n.store.Load(ctx, gatewayKey(name), leaseKey(name))
	if err != nil {
		return err
	}
	gateway, lease := groups[0], groups[1]
	m := &n.members
	m.mu.Lock()
	p := m.peers[name]
	m.mu.Unlock()
	if p == nil || lease.Version != p.version || lease.Version == 0 {
		return nil // it renewed just now, or somebody else was faster
	}
	instance, state, err := decodeGateway(name, head(gateway))
	if err != nil {
		return err
	}
	checks := []durable.Check{{Key: gateway.Key, Version: gateway.Version}, {Key: lease.Key, Version: lease.Version}}
	if n.cfg.FenceHook != nil {
		// The store must take nothing from it before it is fenced: if it renewed
		// its lease meanwhile, it would go on serving without its files.
		if state == gatewayAlive {
			err := n.commitNow(ctx, &durable.Batch{
				Checks: checks,
				Writes: []durable.Write{{Key: gateway.Key, Value: encodeGateway(instance, gatewayOut)}},
			})
			if err != nil {
				return n.tried(err)
			}
			checks[0].Version++
		}
		if err := n.cfg.FenceHook(ctx, name); err != nil {
			return fmt.Errorf("fencing hook: %w", err)
		}
	}
	err = n.commitNow(ctx, &durable.Batch{
		Checks: checks,
		Writes: []durable.Write{{Key: gateway.Key, Value: encodeGateway(instance, gatewayDead)}},
		Forget: []string{lease.Key},
	})
	if err := n.tried(err); err != nil {
		return err
	}
	n.log.Warn("gateway declared dead: its lease is over", "gateway", name, "instance", instance)
	m.mu.Lock()
	delete(m.peers, name)
	m.mu.Unlock()
	// It may have heard of clients and not told.
	for _, c := range n.clients.all() {
		n.renew(c)
	}
	return nil
}

// leave tells the others that this gateway goes in good order: nothing of it
// is under way.
func (n *Node) leave(ctx context.Context) error {
	if n.members.fence == 0 {
		return nil
	}
	err := n.commitNow(ctx, &durable.Batch{
		Writes: []durable.Write{{Key: gatewayKey(n.cfg.Name), Value: encodeGateway(n.instance, gatewayDead)}},
		Forget: []string{leaseKey(n.cfg.Name)},
	})
	if err == nil {
		n.publish(encodeMessage(msgLeaving, n.instance))
	}
	return err
}

// runs says whether the instance of a gateway that wrote a record may still run
// its request. What this instance runs is known in memory.
func (n *Node) runs(ctx context.Context, name string, instance uint64) (bool, error) {
	if !n.cfg.Shared || name == n.cfg.Name {
		return false, nil
	}
	g, err := n.load(ctx, gatewayKey(name))
	if err != nil {
		return false, storeError(err)
	}
	if head(g) == nil {
		return false, nil
	}
	now, state, err := decodeGateway(name, head(g))
	if err != nil {
		return false, err
	}
	return now == instance && state != gatewayDead, nil
}

// Clients and sessions that end are told to the other gateways in the parts of
// one group, so that they drop them from memory:
//
//	ended   part: 16 random bytes   value: 'c' clientid, or 's' sessionid
//
// A part is deleted when every gateway has had the time to see it.

// endedWrite adds to a batch that a client or session ends with it.
func (n *Node) endedWrite(b *durable.Batch, kind byte, id []byte) {
	if !n.cfg.Shared {
		return
	}
	var name [16]byte
	n.cfg.Random(name[:])
	b.Writes = append(b.Writes, durable.Write{Key: keyEnded, Name: string(name[:]), Value: append([]byte{kind}, id...)})
}

// carryOut drops from memory what other gateways ended.
func (n *Node) carryOut(ctx context.Context) error {
	g, err := n.load(ctx, keyEnded)
	if err != nil {
		return err
	}
	m := &n.members
	m.mu.Lock()
	acked := m.acked
	m.mu.Unlock()
	now := n.clock()
	var stale durable.Batch
	for _, p := range g.Parts {
		m.mu.Lock()
		since, known := m.seen[p.Name]
		if !known {
			m.seen[p.Name] = now
		}
		m.mu.Unlock()
		switch {
		case !known:
			n.endHere(p.Value)
		case now-since > 10*int64(n.cfg.GatewayLease):
			stale.Writes = append(stale.Writes, durable.Write{Key: keyEnded, Name: p.Name})
		}
	}
	m.mu.Lock()
	m.acked = g.Version
	if len(m.seen) > len(g.Parts) {
		there := make(map[string]int64, len(g.Parts))
		for _, p := range g.Parts {
			there[p.Name] = m.seen[p.Name]
		}
		m.seen = there
	}
	m.mu.Unlock()
	if g.Version != acked {
		n.sayCarried()
		if err := n.renewLease(ctx); err != nil { // somebody may wait for the word
			return err
		}
	}
	if len(stale.Writes) > 0 {
		return n.commitNow(ctx, &stale)
	}
	return nil
}

// endHere drops a client or session from memory.
func (n *Node) endHere(value []byte) {
	r := xdr.NewReader(value)
	switch {
	case len(value) == 9 && value[0] == 'c':
		r.Seek(1)
		id := ClientID(r.Uint64())
		if c := n.clients.get(id); c != nil {
			n.forget(c)
		}
	case len(value) == 17 && value[0] == 's':
		if s := n.sessions.get([16]byte(value[1:])); s != nil {
			n.dropSession(s)
		}
	}
}

// barrier waits until every gateway that may serve has dropped what ended
// before the call, so that nothing that was taken from a client is used any
// more when it is given to another.
func (n *Node) barrier(ctx context.Context) error {
	if !n.cfg.Shared {
		return nil
	}
	g, err := n.load(ctx, keyEnded)
	if err != nil {
		return storeError(err)
	}
	n.publish(encodeMessage(msgEnded, g.Version))
	for {
		if err := n.observe(ctx); err != nil {
			return storeError(err)
		}
		m := &n.members
		m.mu.Lock()
		waiting := 0
		for name, p := range m.peers {
			if max(p.acked, n.saidCarried(name, p.instance)) < g.Version {
				waiting++
			}
		}
		m.mu.Unlock()
		if waiting == 0 {
			return nil
		}
		if err := n.waitForNews(ctx); err != nil {
			return err
		}
	}
}
