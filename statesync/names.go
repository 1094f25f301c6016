package statesync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"holdfast/durable"
	"holdfast/internal/xdr"
	"holdfast/statesync/rules"
)

// Directory entries that somebody holds have a group in the store:
//
//	name/<directory><name>   part ""     key of the holder's record: a slot, or a duplicate-request entry
//	                         part "by"   u64 instance · gateway that runs the holder's request
//
// Where several gateways write to the store the group stays when the name is
// free, without parts, so that its version tells whether anybody held the name
// since somebody looked:
//
//	          hold         free         hold
//	none, 0 ───────▶ 1 ───────────▶ 2 ───────▶ 3 …
//	   ▲                            │
//	   └──── forgotten after a while; "forgotten" rises by the same commit
//
// Whoever wants a name looks first (the version, and that of "forgotten"), then
// takes the evidence, and then holds the name in a commit that checks both. So the
// evidence is of a time since when nobody held the name, however long the
// gateway was held up in between. A look costs nothing: a name that is not
// remembered is taken to have version 0, and if that is wrong the refused commit
// tells the right one.
const (
	keyForgotten = "forgotten"
	partBy       = "by"

	// forgetAtOnce bounds the names that one commit forgets.
	forgetAtOnce = 2048
	// maxFreed is how many free names are remembered before the oldest are
	// forgotten early.
	maxFreed = 100_000
)

// A nameBook remembers the free names that the store has a group of, because
// this gateway freed them or met them.
//
//	young ──▶ old ──▶ forgotten      every two gateway leases
type nameBook struct {
	mu         sync.Mutex
	epoch      uint64 // the latest version of "forgotten" that is known
	young, old map[string]freeName
	turned     int64 // when old was young, by Node.clock
	scanned    bool
}

// A freeName is a version at which a name is free, 0 if it is not known. It
// counts only while the epoch is the same: versions begin anew with the next.
type freeName struct{ version, epoch uint64 }

// A look is what was known of some names before the evidence was taken.
type look struct {
	epoch    uint64
	versions []uint64
}

func (b *nameBook) init() { b.young, b.old = make(map[string]freeName), make(map[string]freeName) }

// known returns the epoch that is known. It is asked before the store is, for
// what holds of versions read later.
func (b *nameBook) known() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch
}

// look returns at what versions the names are, if they are free.
func (b *nameBook) look(keys []string) look {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := look{epoch: b.epoch, versions: make([]uint64, len(keys))}
	for i, key := range keys {
		f, ok := b.young[key]
		if !ok {
			f = b.old[key]
		}
		if f.epoch == b.epoch {
			l.versions[i] = f.version
		}
	}
	return l
}

// free notes that a name is free at a version, 0 if that is not known.
func (b *nameBook) free(key string, version, epoch uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.old, key)
	b.young[key] = freeName{version, epoch}
}

// drop notes that a name is held, or has no group.
func (b *nameBook) drop(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.young, key)
	delete(b.old, key)
}

// learn takes the epoch out of what a refused commit told. It returns the one
// that held then, which is the one that was checked if that is not among them.
func (b *nameBook) learn(groups []durable.Group, checked uint64) uint64 {
	for _, g := range groups {
		if g.Key == keyForgotten {
			b.mu.Lock()
			b.epoch = max(b.epoch, g.Version)
			b.mu.Unlock()
			return g.Version
		}
	}
	return checked
}

// due returns the names that were not used for a generation, once it is over.
func (b *nameBook) due(now, age int64) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now-b.turned < age && len(b.young) < maxFreed {
		return nil
	}
	keys := make([]string, 0, len(b.old))
	for key := range b.old {
		keys = append(keys, key)
	}
	b.old, b.young = b.young, make(map[string]freeName)
	b.turned = now
	slices.Sort(keys)
	return keys
}

// epochCheck demands that nothing was forgotten since the epoch was known.
func (n *Node) epochCheck(b *durable.Batch, epoch uint64) {
	if n.cfg.Shared {
		b.Checks = append(b.Checks, durable.Check{Key: keyForgotten, Version: epoch})
	}
}

// commitNames commits a batch that relies on versions of names read since the
// epoch was known. After a conflict the caller looks again anyway: it is no
// error.
func (n *Node) commitNames(ctx context.Context, b *durable.Batch, epoch uint64) (done bool, err error) {
	n.epochCheck(b, epoch)
	err = n.commitNow(ctx, b)
	if c, ok := errors.AsType[*durable.Conflict](err); ok {
		n.book.learn(c.Groups, epoch)
	}
	return err == nil, n.tried(err)
}

// holder is who holds a name.
type holder struct {
	key      string // of its record, empty if the name is free
	gateway  string
	instance uint64
}

// me is this gateway with a request of an entry.
func (n *Node) me(e *entry) holder {
	if !n.cfg.Shared {
		return holder{key: e.key}
	}
	return holder{key: e.key, gateway: n.cfg.Name, instance: n.instance}
}

func holderOf(g durable.Group) holder {
	h := holder{key: string(head(g))}
	if by := part(g, partBy); len(by) >= 8 {
		r := xdr.NewReader(by)
		h.instance = r.Uint64()
		h.gateway = string(by[8:])
	}
	return h
}

// holdWrites adds to a batch that h holds a name.
func (n *Node) holdWrites(b *durable.Batch, key string, h holder) {
	b.Writes = append(b.Writes, durable.Write{Key: key, Value: []byte(h.key)})
	if !n.cfg.Shared {
		return
	}
	w := xdr.NewWriter(make([]byte, 0, 8+len(h.gateway)))
	w.Uint64(h.instance)
	b.Writes = append(b.Writes, durable.Write{Key: key, Name: partBy, Value: append(w.Bytes(), h.gateway...)})
}

// freeWrites adds to a batch that names are free.
func (n *Node) freeWrites(b *durable.Batch, keys ...string) {
	if !n.cfg.Shared {
		b.Forget = append(b.Forget, keys...)
		return
	}
	for _, key := range keys {
		b.Writes = append(b.Writes, durable.Write{Key: key}, durable.Write{Key: key, Name: partBy})
	}
}

// freed notes what freeWrites did, by a commit that did not check the names'
// versions.
func (n *Node) freed(keys ...string) {
	if !n.cfg.Shared {
		return
	}
	for _, key := range keys {
		n.book.free(key, 0, 0)
	}
}

// settle frees a name that the store says is held while nobody on this gateway
// holds it. If its holder is a request that a dead gateway had begun, the
// Resolver finds out what became of it, and the holder's record says so from
// then on. If it is one of a gateway that lives the error is errHeld. The caller
// holds the name in memory.
func (n *Node) settle(ctx context.Context, key string) error {
	epoch := n.book.known()
	name, err := n.load(ctx, key)
	if err != nil {
		return storeError(err)
	}
	h := holderOf(name)
	if h.key == "" {
		return n.settled(ctx, name, epoch)
	}
	g, err := n.load(ctx, h.key)
	if err != nil {
		return storeError(err)
	}
	var rec *rules.Slot
	if value := head(g); value != nil {
		if rec, err = rules.DecodeSlot(value); err != nil {
			return fmt.Errorf("%s: %w", h.key, err)
		}
	}
	if rec != nil && rec.Unsettled(name.Key) {
		h.gateway, h.instance = rec.Gateway, rec.Instance
	}
	alive, err := n.runs(ctx, h.gateway, h.instance)
	if err != nil {
		return err
	}
	if alive {
		return errHeld
	}
	if rec != nil && rec.Unsettled(name.Key) {
		return n.resolve(ctx, g, rec, epoch)
	}
	b := &durable.Batch{Checks: []durable.Check{{Key: name.Key, Version: name.Version}, {Key: g.Key, Version: g.Version}}}
	n.freeWrites(b, name.Key)
	done, err := n.commitNames(ctx, b, epoch)
	if done {
		n.book.free(name.Key, name.Version+1, epoch)
	}
	return err
}

// settled notes a name that turned out to be free. One that is left from a time
// when the store was shared is forgotten where it is not.
func (n *Node) settled(ctx context.Context, name durable.Group, epoch uint64) error {
	if n.cfg.Shared || name.Version == 0 {
		n.book.free(name.Key, name.Version, epoch)
		return nil
	}
	return n.tried(n.commitNow(ctx, &durable.Batch{
		Checks: []durable.Check{{Key: name.Key, Version: name.Version}}, Forget: []string{name.Key},
	}))
}

// resolve finds out what became of an operation that nobody runs any more, and
// says so in its record g.
func (n *Node) resolve(ctx context.Context, g durable.Group, rec *rules.Slot, epoch uint64) error {
	resolver := n.resolver.Load()
	if resolver == nil {
		return fmt.Errorf("%w: no resolver for an intent of %s", ErrDelay, rec.Begun.Op)
	}
	in := *rec.Begun
	outcome, err := (*resolver)(ctx, &in)
	if err != nil {
		return fmt.Errorf("%w: resolving an intent of %s: %w", ErrDelay, in.Op, err)
	}
	if outcome == OutcomeUnknown {
		return fmt.Errorf("%w: what became of an intent of %s is not known", ErrDelay, in.Op)
	}
	in.Settled, in.Outcome = true, outcome
	rec.Begun = &in
	b := &durable.Batch{
		Checks: []durable.Check{{Key: g.Key, Version: g.Version}},
		Writes: []durable.Write{{Key: g.Key, Value: rec.Append(nil)}},
	}
	keys := in.Keys()
	n.freeWrites(b, keys...)
	done, err := n.commitNames(ctx, b, epoch)
	if done {
		n.stats.resolved.Add(1)
		n.freed(keys...)
	}
	return err
}

// release frees those of some names that h still holds. It is used when h's
// record is another request's by now, or no more.
func (n *Node) release(ctx context.Context, keys []string, h holder) error {
	for {
		epoch := n.book.known()
		groups, err := n.store.Load(ctx, keys...)
		if err != nil {
			return err
		}
		b := &durable.Batch{}
		for _, g := range groups {
			if holderOf(g) == h {
				b.Checks = append(b.Checks, durable.Check{Key: g.Key, Version: g.Version})
				n.freeWrites(b, g.Key)
			}
		}
		if len(b.Checks) == 0 {
			return nil
		}
		done, err := n.commitNames(ctx, b, epoch)
		if err != nil {
			return err
		}
		if done {
			n.freed(keys...)
			return nil
		}
	}
}

// sweepNames forgets names that are free and were not used for a while.
func (n *Node) sweepNames(ctx context.Context) error {
	if !n.cfg.Shared {
		return nil
	}
	if !n.book.scanned {
		err := n.store.Scan(ctx, prefixName, func(g durable.Group) bool {
			if holderOf(g).key == "" {
				n.book.free(g.Key, 0, 0)
			}
			return true
		})
		if err != nil {
			return err
		}
		n.book.scanned = true
	}
	for chunk := range slices.Chunk(n.book.due(n.clock(), 2*int64(n.cfg.GatewayLease)), forgetAtOnce) {
		if err := n.forgetNames(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// forgetNames drops the groups of names that are free. What cannot be dropped
// now waits for its next turn.
func (n *Node) forgetNames(ctx context.Context, keys []string) error {
	epoch := n.book.known()
	groups, err := n.store.Load(ctx, keys...)
	if err != nil {
		n.freed(keys...)
		return err
	}
	b := &durable.Batch{Writes: []durable.Write{{Key: keyForgotten, Value: []byte{}}}}
	for _, g := range groups {
		if g.Version > 0 && holderOf(g).key == "" {
			b.Checks = append(b.Checks, durable.Check{Key: g.Key, Version: g.Version})
			b.Forget = append(b.Forget, g.Key)
		}
	}
	if len(b.Forget) == 0 {
		return nil
	}
	done, err := n.commitNames(ctx, b, epoch)
	if !done {
		n.freed(keys...)
	}
	return err
}
