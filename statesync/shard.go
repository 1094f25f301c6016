package statesync

import (
	"context"
	"hash/maphash"
	"sync"
)

// A turn lets one goroutine through at a time, and lets those who wait give up.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn. It fails only if ctx is done.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try takes the turn if it is free.
func (t turn) try() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) give() { <-t }

const shards = 64

// A table is a map that many goroutines use at once. What is done under a
// shard's lock is a map access and nothing else.
type table[K comparable, V any] struct {
	seed   maphash.Seed
	shards [shards]tableShard[K, V]
}

type tableShard[K comparable, V any] struct {
	mu sync.RWMutex
	m  map[K]V
	_  [24]byte // shards apart, so that cores do not share a cache line
}

func newTable[K comparable, V any]() *table[K, V] {
	return &table[K, V]{seed: maphash.MakeSeed()}
}

// set puts a value into a shard, whose map is made with its first one. s.mu is
// held.
func (s *tableShard[K, V]) set(k K, v V) {
	if s.m == nil {
		s.m = make(map[K]V)
	}
	s.m[k] = v
}

func (t *table[K, V]) shard(k K) *tableShard[K, V] {
	return &t.shards[maphash.Comparable(t.seed, k)%shards]
}

// get returns the zero V if there is none.
func (t *table[K, V]) get(k K) V {
	s := t.shard(k)
	s.mu.RLock()
	v := s.m[k]
	s.mu.RUnlock()
	return v
}

func (t *table[K, V]) put(k K, v V) {
	s := t.shard(k)
	s.mu.Lock()
	s.set(k, v)
	s.mu.Unlock()
}

// getOrMake returns the present value or puts the one that fresh makes. fresh
// must not use the table.
func (t *table[K, V]) getOrMake(k K, fresh func() V) V {
	s := t.shard(k)
	s.mu.RLock()
	v, ok := s.m[k]
	s.mu.RUnlock()
	if ok {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.m[k]; ok {
		return v
	}
	v = fresh()
	s.set(k, v)
	return v
}

// dropIf removes k if the value there is one that cond agrees to, asked under
// the shard's lock.
func (t *table[K, V]) dropIf(k K, cond func(V) bool) {
	s := t.shard(k)
	s.mu.Lock()
	if v, ok := s.m[k]; ok && cond(v) {
		delete(s.m, k)
	}
	s.mu.Unlock()
}

func (t *table[K, V]) drop(k K) {
	s := t.shard(k)
	s.mu.Lock()
	delete(s.m, k)
	s.mu.Unlock()
}

// update replaces the value of k by what fn makes of it. fn must not use the
// table.
func (t *table[K, V]) update(k K, fn func(V) V) {
	s := t.shard(k)
	s.mu.Lock()
	s.set(k, fn(s.m[k]))
	s.mu.Unlock()
}

func (t *table[K, V]) clear() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		clear(s.m)
		s.mu.Unlock()
	}
}

func (t *table[K, V]) len() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n += len(s.m)
		s.mu.RUnlock()
	}
	return n
}

// some returns the values of one shard, the i-th modulo their number.
func (t *table[K, V]) some(i int) []V {
	s := &t.shards[i%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]V, 0, len(s.m))
	for _, v := range s.m {
		out = append(out, v)
	}
	return out
}

// all returns the values at some moment of each shard.
func (t *table[K, V]) all() []V {
	var out []V
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for _, v := range s.m {
			out = append(out, v)
		}
		s.mu.RUnlock()
	}
	return out
}

// A keyed is a lock for each key, with nothing kept for keys that nobody holds.
type keyed struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu sync.Mutex
		m  map[string]*keyedTurn
	}
}

type keyedTurn struct {
	turn  turn
	users int // who hold it or wait; guarded by the shard's lock
}

func newKeyed() *keyed {
	return &keyed{seed: maphash.MakeSeed()}
}

// take waits for the key's turn. It fails only if ctx is done.
func (k *keyed) take(ctx context.Context, key string) error {
	s := &k.shards[maphash.String(k.seed, key)%shards]
	s.mu.Lock()
	t := s.m[key]
	if t == nil {
		t = &keyedTurn{turn: newTurn()}
		if s.m == nil {
			s.m = make(map[string]*keyedTurn)
		}
		s.m[key] = t
	}
	t.users++
	s.mu.Unlock()
	if err := t.turn.take(ctx); err != nil {
		k.leave(key, t)
		return err
	}
	return nil
}

// give ends the key's turn.
func (k *keyed) give(key string) {
	s := &k.shards[maphash.String(k.seed, key)%shards]
	s.mu.Lock()
	t := s.m[key]
	s.mu.Unlock()
	t.turn.give()
	k.leave(key, t)
}

func (k *keyed) leave(key string, t *keyedTurn) {
	s := &k.shards[maphash.String(k.seed, key)%shards]
	s.mu.Lock()
	t.users--
	if t.users == 0 {
		delete(s.m, key)
	}
	s.mu.Unlock()
}
