package statesync

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// A Node is this gateway's view of the shared state. Its methods may be called
// from any number of goroutines.
//
// Locks, in the order in which they are taken; those with a * are turns, which
// may be held while the store is asked, the others are held for memory only:
//
//	owner turns* (open owner, then lock owner) → names* (in their order) →
//	file turn* → client owner* → client or session being loaded* →
//	entry.mu → file.mu → shards of tables
type Node struct {
	cfg      Config
	store    durable.Store
	log      *slog.Logger
	base     time.Time
	identity Identity
	instance uint64
	verifier nfs4.Verifier
	resolver atomic.Pointer[Resolver]

	clients  *table[ClientID, *client]
	sessions *table[nfs4.SessionID, *session]
	files    *table[FileKey, *file]
	byHash   *table[uint32, []*file]
	owners   *table[string, *owner]
	departed *table[ClientID, bool] // clients that went, while files may still have state of theirs
	closed40 *table[[nfs4.OtherSize]byte, *owner]
	drc      drc

	onClosed func(FileKey) // set before the first request

	filesMade atomic.Uint64

	idents  *keyed // client owners, by identKey
	loading *keyed // clients and sessions, by group key
	names   *keyed // directory entries, by Name.Key
	book    nameBook

	abandoned abandoned

	fenced   atomic.Bool // it must not commit anything any more
	out      atomic.Bool // stillAway may be asked
	wiped    atomic.Bool // the store is not what it was
	members  membership
	channel  channel
	renewals renewals
	stats    counters
	sweep    sweepState
	roll     roll
	running  context.Context // until Close
	stop     context.CancelFunc
	wg       sync.WaitGroup
	gone     chan ClientID
}

// Join opens the shared state in cfg.Store, or makes it in an empty one, and
// returns this gateway's view of it. The error is durable.ErrFormat if a newer
// program wrote the store, durable.ErrDamaged if its first records make no
// sense, or that of the store.
func Join(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg:      cfg,
		store:    cfg.Store,
		log:      cfg.Logger,
		base:     cfg.Now(),
		clients:  newTable[ClientID, *client](),
		sessions: newTable[nfs4.SessionID, *session](),
		files:    newTable[FileKey, *file](),
		byHash:   newTable[uint32, []*file](),
		owners:   newTable[string, *owner](),
		departed: newTable[ClientID, bool](),
		closed40: newTable[[nfs4.OtherSize]byte, *owner](),
		idents:   newKeyed(),
		loading:  newKeyed(),
		names:    newKeyed(),
		gone:     make(chan ClientID, 1024),
	}
	n.drc.init()
	n.book.init()
	n.abandoned.init()
	n.members.init()
	n.renewals.init()
	n.channel.init()
	n.running, n.stop = context.WithCancel(context.Background())
	cfg.Random(n.verifier[:])
	if err := n.enter(ctx); err != nil {
		n.stop()
		n.wg.Wait()
		return nil, fmt.Errorf("statesync: joining: %w", err)
	}
	if cfg.Manual {
		return n, nil
	}
	n.wg.Add(1)
	go n.background(n.running)
	if cfg.Shared {
		n.wg.Add(2)
		go n.membersLoop(n.running)
		go n.settleLoop(n.running)
		n.wg.Go(func() { n.askLoop(n.running) })
	}
	return n, nil
}

// enter makes this gateway one of the cluster's.
func (n *Node) enter(ctx context.Context) error {
	if err := n.loadIdentity(ctx); err != nil {
		return err
	}
	if err := n.nextInstance(ctx); err != nil {
		return err
	}
	if !n.cfg.Shared {
		return nil
	}
	return n.beat(ctx)
}

// complete fills in defaults and checks the rest.
func (cfg *Config) complete() error {
	if cfg.Store == nil {
		return errors.New("statesync: Config without Store")
	}
	if len(cfg.Name) < 1 || len(cfg.Name) > 64 {
		return fmt.Errorf("statesync: gateway name of %d bytes, allowed are 1 to 64", len(cfg.Name))
	}
	def(&cfg.Lease, 90*time.Second)
	if cfg.Lease < time.Second || cfg.Lease > time.Hour {
		return fmt.Errorf("statesync: lease of %v, allowed are 1s to 1h", cfg.Lease)
	}
	def(&cfg.Courtesy, 24*time.Hour)
	def(&cfg.GatewayLease, 5*time.Second)
	def(&cfg.StoreOutage, max(time.Minute, cfg.GatewayLease))
	if cfg.StoreOutage < 0 || cfg.StoreOutage > time.Hour {
		return fmt.Errorf("statesync: store outage of %v, allowed are 0 to 1h", cfg.StoreOutage)
	}
	if len(cfg.Address) > maxAddress || len(cfg.Lifeline) > maxAddress {
		return fmt.Errorf("statesync: an address of more than %d bytes", maxAddress)
	}
	if cfg.GatewayLease < 500*time.Millisecond || cfg.GatewayLease > time.Minute {
		return fmt.Errorf("statesync: gateway lease of %v, allowed are 500ms to 1m", cfg.GatewayLease)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = func(p []byte) { _, _ = rand.Read(p) } // never fails
	}
	l := &cfg.Limits
	def(&l.Slots, 64)
	def(&l.Sessions, 64)
	def(&l.Clients, 100_000)
	def(&l.Opens, 100_000)
	def(&l.Locks, 2_000_000)
	def(&l.Operations, 128)
	def(&l.RequestBytes, 1<<20+64<<10)
	def(&l.ReplyBytes, 1<<20+64<<10)
	def(&l.CachedBytes, 8<<10)
	def(&l.UnconfirmedLife, cfg.Lease)
	switch {
	case l.Slots > 1024:
		return fmt.Errorf("statesync: %d slots, allowed are 1 to 1024", l.Slots)
	case l.Operations < 8 || l.Operations > 1024:
		return fmt.Errorf("statesync: %d operations, allowed are 8 to 1024", l.Operations)
	case l.CachedBytes < 1<<10 || l.CachedBytes > 64<<10:
		return fmt.Errorf("statesync: cached replies of %d bytes, allowed are 1 KiB to 64 KiB", l.CachedBytes)
	case l.Sessions < 1 || l.Sessions > 1024:
		return fmt.Errorf("statesync: %d sessions, allowed are 1 to 1024", l.Sessions)
	}
	return nil
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Close ends what runs in the background. Requests that still run are
// refused with ErrFenced when they try to change something. The Store is the
// caller's to close.
func (n *Node) Close(ctx context.Context) error {
	n.stop()
	done := make(chan struct{})
	go func() {
		n.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
		err = n.leave(ctx)
	case <-ctx.Done():
		err = ctx.Err()
	}
	n.fenced.Store(true)
	return err
}

// Identity returns what makes all gateways one server.
func (n *Node) Identity() Identity { return n.identity }

// Instance returns how often a gateway of this name has joined.
func (n *Node) Instance() uint64 { return n.instance }

// Shared says that other gateways write to the store, too.
func (n *Node) Shared() bool { return n.cfg.Shared }

// Lease returns lease_time.
func (n *Node) Lease() time.Duration { return n.cfg.Lease }

// WriteVerifier returns the verifier of WRITE and COMMIT: another one in each
// process, since unstable data may be lost with it (G5).
func (n *Node) WriteVerifier() nfs4.Verifier { return n.verifier }

// SetResolver says who finds out what became of intents. It must be called
// before the first request.
func (n *Node) SetResolver(r Resolver) { n.resolver.Store(&r) }

// OnClosed has fn called when another gateway tells that nothing is open on a file
// any more, so that this one does not keep it from being deleted. fn must not wait. It must be set
// before UsePeers.
func (n *Node) OnClosed(fn func(FileKey)) { n.onClosed = fn }

// clock returns nanoseconds since Join.
func (n *Node) clock() int64 { return int64(n.cfg.Now().Sub(n.base)) }

// load reads one group.
func (n *Node) load(ctx context.Context, key string) (durable.Group, error) {
	groups, err := n.loadAll(ctx, key)
	if err != nil {
		return durable.Group{}, err
	}
	return groups[0], nil
}

// loadAll reads groups at one go, each for itself.
func (n *Node) loadAll(ctx context.Context, keys ...string) ([]durable.Group, error) {
	n.stats.loads.Add(1)
	groups, err := n.store.Load(ctx, keys...)
	if err != nil {
		n.heard(err)
		return nil, fmt.Errorf("loading %q: %w", keys, err)
	}
	return groups, nil
}

// commit commits b, or says why not. Everything goes through here.
func (n *Node) commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	switch {
	case n.fenced.Load():
		return nil, ErrFenced
	case n.wiped.Load():
		return nil, errWiped
	}
	n.stats.commits.Add(1)
	n.fenceCheck(b)
	ack, err := n.store.Commit(ctx, b)
	if err != nil {
		if c, ok := errors.AsType[*durable.Conflict](err); ok {
			n.stats.conflicts.Add(1)
			if n.fencedBy(c.Groups) {
				n.depose()
				return nil, ErrFenced
			}
		} else {
			n.stats.storeErrors.Add(1)
			n.heard(err)
		}
		return nil, err
	}
	return ack, nil
}

// commitNow commits b and waits until it is durable.
func (n *Node) commitNow(ctx context.Context, b *durable.Batch) error {
	ack, err := n.commit(ctx, b)
	if err != nil {
		return err
	}
	return n.wait(ack)
}

func (n *Node) wait(ack durable.Ack) error {
	if err := ack.Wait(); err != nil {
		n.stats.storeErrors.Add(1)
		return err
	}
	return nil
}

// storeError turns an error of the store into one of the state. A request that
// met it changed nothing, as far as it can be known.
func storeError(err error) error {
	switch {
	case errors.Is(err, durable.ErrFull), errors.Is(err, durable.ErrLimit):
		return fmt.Errorf("%w: %w", ErrResource, err)
	case errors.Is(err, durable.ErrUnavailable), errors.Is(err, durable.ErrUnknown):
		return fmt.Errorf("%w: %w", ErrDelay, err)
	case errors.Is(err, durable.ErrClosed), errors.Is(err, durable.ErrWiped):
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return err
}

func (n *Node) sessionLimits() rules.SessionLimits {
	l := &n.cfg.Limits
	return rules.SessionLimits{
		Slots: l.Slots, Sessions: uint32(l.Sessions), Operations: l.Operations,
		RequestBytes: l.RequestBytes, ReplyBytes: l.ReplyBytes, CachedBytes: l.CachedBytes,
	}
}

// newID returns an id that no client has.
func (n *Node) newID() ClientID {
	for {
		var b [8]byte
		n.cfg.Random(b[:])
		var id ClientID
		for _, x := range b {
			id = id<<8 | ClientID(x)
		}
		if id != 0 {
			return id
		}
	}
}
