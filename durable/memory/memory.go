// Package memory is a durable.Store in memory, for tests. It survives nothing,
// but it knows exactly what a store on disk would have survived with: the
// batches somebody waited for, all before them, and any number of those right
// after.
//
//	commit order   1   2   3   4   5   6
//	               └───────┘ waited for (3): always kept
//	                           4   5   6   kept up to a point a seed chooses
//
// Crash and Survivor hand out that state as a new store.
package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"holdfast/durable"
)

// Hooks let a test stand between a store and its caller. They are called
// without a lock held, by any number of goroutines at once.
type Hooks struct {
	// Commit, if set, is called before each commit. An error is returned by
	// that Commit, and nothing is written.
	Commit func(*durable.Batch) error
	// Wait, if set, is called before each wait. An error is returned by that
	// Wait, and the batch does not become durable by it.
	Wait func() error
}

// Store is a durable.Store in memory. Use New.
type Store struct {
	hooks Hooks

	mu     sync.Mutex
	now    state   // every batch committed
	base   state   // the batches up to durable
	undone []batch // the batches after durable, in order
	end    uint64  // number of the last batch committed
	// durable is the number of the last batch that survives a crash.
	durable uint64
	gone    error // why the store refuses everything, nil while it does not
	crashed bool
}

// New returns an empty store.
func New() *Store { return NewWithHooks(Hooks{}) }

// NewWithHooks returns an empty store that calls h.
func NewWithHooks(h Hooks) *Store {
	return &Store{hooks: h, now: state{}, base: state{}}
}

// state is the content of a store. Values are never changed in place.
type state map[string]*group

type group struct {
	version uint64
	parts   map[string][]byte
}

// batch is the private copy of a durable.Batch, without its checks.
type batch struct {
	writes []durable.Write
	forget []string
}

func (s state) apply(b *batch) {
	touched := make(map[string]bool)
	for _, w := range b.writes {
		g := s[w.Key]
		if g == nil {
			g = &group{parts: make(map[string][]byte)}
			s[w.Key] = g
		}
		if !touched[w.Key] {
			touched[w.Key] = true
			g.version++
		}
		if w.Value == nil {
			delete(g.parts, w.Name)
		} else {
			g.parts[w.Name] = w.Value
		}
	}
	for _, key := range b.forget {
		delete(s, key)
	}
}

func (s state) version(key string) uint64 {
	if g := s[key]; g != nil {
		return g.version
	}
	return 0
}

func (s state) load(key string) durable.Group {
	out := durable.Group{Key: key}
	g := s[key]
	if g == nil {
		return out
	}
	out.Version = g.version
	out.Parts = make([]durable.Part, 0, len(g.parts))
	for name, value := range g.parts {
		out.Parts = append(out.Parts, durable.Part{Name: name, Value: value})
	}
	slices.SortFunc(out.Parts, func(a, b durable.Part) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (s state) clone() state {
	c := make(state, len(s))
	for key, g := range s {
		parts := make(map[string][]byte, len(g.parts))
		for name, value := range g.parts {
			parts[name] = value
		}
		c[key] = &group{version: g.version, parts: parts}
	}
	return c
}

func copyBatch(b *durable.Batch) batch {
	c := batch{forget: slices.Clone(b.Forget), writes: slices.Clone(b.Writes)}
	for i := range c.writes {
		if v := c.writes[i].Value; v != nil {
			c.writes[i].Value = append(make([]byte, 0, len(v)), v...)
		}
	}
	return c
}

// Load implements durable.Store.
func (s *Store) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	for _, key := range keys {
		if err := durable.ValidateKey(key); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != nil {
		return nil, s.gone
	}
	groups := make([]durable.Group, len(keys))
	for i, key := range keys {
		groups[i] = s.now.load(key)
	}
	return groups, nil
}

// LoadParts implements durable.Store.
func (s *Store) LoadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	groups, err := s.Load(ctx, key)
	if err != nil {
		return durable.Group{}, err
	}
	g := groups[0]
	g.Parts = slices.DeleteFunc(g.Parts, func(p durable.Part) bool { return !slices.Contains(names, p.Name) })
	return g, nil
}

// Commit implements durable.Store.
func (s *Store) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	if b.Fence.Key != "" {
		return durable.CommitFenced(ctx, b, s.Commit)
	}
	if s.hooks.Commit != nil {
		if err := s.hooks.Commit(b); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != nil {
		return nil, s.gone
	}
	if c := s.conflict(b.Checks); c != nil {
		return nil, c
	}
	own := copyBatch(b)
	s.now.apply(&own)
	s.undone = append(s.undone, own)
	s.end++
	return &ack{s: s, n: s.end}, nil
}

func (s *Store) conflict(checks []durable.Check) error {
	var c *durable.Conflict
	seen := make(map[string]bool)
	for _, check := range checks {
		if s.now.version(check.Key) == check.Version || seen[check.Key] {
			continue
		}
		seen[check.Key] = true
		if c == nil {
			c = &durable.Conflict{}
		}
		c.Groups = append(c.Groups, s.now.load(check.Key))
	}
	if c == nil {
		return nil
	}
	return c
}

type ack struct {
	s *Store
	n uint64
}

// Wait implements durable.Ack.
func (a *ack) Wait() error {
	s := a.s
	if s.hooks.Wait != nil {
		if err := s.hooks.Wait(); err != nil {
			return fmt.Errorf("%w: %w", durable.ErrUnknown, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crashed && a.n > s.durable {
		return fmt.Errorf("%w: the store crashed", durable.ErrUnknown)
	}
	s.settle(a.n)
	return nil
}

// settle makes the batches up to n durable. s.mu is held.
func (s *Store) settle(n uint64) {
	for s.durable < n {
		s.base.apply(&s.undone[0])
		s.undone = s.undone[1:]
		s.durable++
	}
}

// Scan implements durable.Store.
func (s *Store) Scan(ctx context.Context, prefix string, fn func(durable.Group) bool) error {
	s.mu.Lock()
	if s.gone != nil {
		s.mu.Unlock()
		return s.gone
	}
	var groups []durable.Group
	for key := range s.now {
		if strings.HasPrefix(key, prefix) {
			groups = append(groups, s.now.load(key))
		}
	}
	s.mu.Unlock()
	for _, g := range groups {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
		}
		if !fn(g) {
			break
		}
	}
	return nil
}

// Close implements durable.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != nil {
		return s.gone
	}
	s.settle(s.end)
	s.gone = durable.ErrClosed
	return nil
}

// Survivor returns a new store with what a crash at this moment could leave:
// every durable batch, and a prefix of the others whose length the seed
// chooses. s goes on unharmed.
func (s *Store) Survivor(seed uint64) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.survivor(s.choose(seed))
}

// Crash is Survivor for a store that ends here: from now on s refuses
// everything with ErrClosed, and a Wait for a batch that was not kept returns
// ErrUnknown.
func (s *Store) Crash(seed uint64) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := s.choose(seed)
	n := s.survivor(keep)
	if !s.crashed {
		s.settle(s.durable + uint64(keep))
	}
	s.crashed = true
	s.gone = durable.ErrClosed
	return n
}

// Reopen returns a new store with everything that s holds durably, as opening
// the same directory again after Close would.
func (s *Store) Reopen() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.survivor(0)
}

func (s *Store) choose(seed uint64) int {
	if len(s.undone) == 0 || s.crashed {
		return 0
	}
	return rand.New(rand.NewPCG(seed, 0x686f6c6466617374)).IntN(len(s.undone) + 1)
}

func (s *Store) survivor(keep int) *Store {
	n := NewWithHooks(s.hooks)
	n.base = s.base.clone()
	for i := range keep {
		n.base.apply(&s.undone[i])
	}
	n.now = n.base.clone()
	return n
}

// Dump returns every group, sorted by key: what Load and Scan see.
func (s *Store) Dump() []durable.Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	groups := make([]durable.Group, 0, len(s.now))
	for key := range s.now {
		groups = append(groups, s.now.load(key))
	}
	slices.SortFunc(groups, func(a, b durable.Group) int { return strings.Compare(a.Key, b.Key) })
	return groups
}

// Pending returns how many committed batches nobody has waited for yet.
func (s *Store) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.undone)
}
