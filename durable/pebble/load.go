package pebble

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"slices"

	pdb "github.com/cockroachdb/pebble/v2"

	"holdfast/durable"
)

// Load implements durable.Store.
func (s *Store) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	for _, key := range keys {
		if err := durable.ValidateKey(key); err != nil {
			return nil, err
		}
	}
	if err := s.users.enter(); err != nil {
		return nil, err
	}
	defer s.users.leave()
	groups := make([]durable.Group, len(keys))
	for i, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
		}
		g, err := s.load(key)
		if err != nil {
			return nil, err
		}
		groups[i] = g
	}
	return groups, nil
}

func (s *Store) load(key string) (g durable.Group, err error) {
	// What a failed store would show may never have become durable.
	if err := s.health.err(); err != nil {
		return g, err
	}
	g.Key = key
	sh := &s.shards[maphash.String(s.seed, key)%shardCount]
	sh.mu.Lock()
	e, err := s.entry(sh, key)
	if err != nil {
		sh.mu.Unlock()
		return g, err
	}
	whole := e.flags&(flagOwn|flagParts) == 0
	if whole {
		g.Version = e.version
		if e.flags&flagInline != 0 {
			g.Parts = []durable.Part{{Value: append(make([]byte, 0, len(e.inline)), e.inline...)}}
		}
	}
	sh.settle(e, s.shardLimit)
	sh.mu.Unlock()
	if whole {
		return g, nil
	}
	return s.loadParts(key)
}

// LoadParts implements durable.Store.
func (s *Store) LoadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	if err := durable.ValidateKey(key); err != nil {
		return durable.Group{}, err
	}
	if err := s.users.enter(); err != nil {
		return durable.Group{}, err
	}
	defer s.users.leave()
	if err := errors.Join(ctx.Err(), s.health.err()); err != nil {
		return durable.Group{}, fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
	}
	// One state of the database, without what else the group holds.
	snap := s.db.NewSnapshot()
	defer snap.Close()
	g := durable.Group{Key: key}
	head, err := get(snap, appendHeadKey(nil, key))
	if err != nil || head == nil {
		return g, s.readPart(key, err)
	}
	if err := addRecord(&g, splitKey{head: true}, head); err != nil {
		return g, s.readPart(key, err)
	}
	if len(g.Parts) > 0 && !slices.Contains(names, "") {
		g.Parts = nil
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		value, err := get(snap, appendPartKey(nil, key, name))
		if err != nil {
			return g, s.readPart(key, err)
		}
		if value != nil {
			g.Parts = append(g.Parts, durable.Part{Name: name, Value: value})
		}
	}
	return g, nil
}

// get returns a copy of a record, nil if there is none.
func get(r pdb.Reader, key []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pdb.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append(make([]byte, 0, len(value)), value...), nil
}

func (s *Store) readPart(key string, err error) error {
	if err == nil {
		return nil
	}
	return s.readError(fmt.Errorf("group %q: %w", key, err))
}

// entry returns the entry of a group, from the database if need be. The shard
// is locked.
func (s *Store) entry(sh *shard, key string) (*entry, error) {
	if e := sh.get(key); e != nil {
		return e, nil
	}
	var buf [256]byte
	value, closer, err := s.db.Get(appendHeadKey(buf[:0], key))
	if errors.Is(err, pdb.ErrNotFound) {
		e := sh.add(key)
		e.known = true
		return e, nil
	}
	if err != nil {
		return nil, s.readError(err)
	}
	defer closer.Close()
	h, err := parseHead(value)
	if err != nil {
		return nil, s.readError(fmt.Errorf("group %q: %w", key, err))
	}
	e := sh.add(key)
	e.version, e.flags = h.version, h.flags
	e.setInline(h.inline)
	e.known = h.flags&flagParts == 0
	return e, nil
}

// eachRecord calls fn for each record of a group, in order, in one state of the
// database, until fn returns false. What fn gets is only valid until it
// returns.
func (s *Store) eachRecord(group string, fn func(k splitKey, value []byte) bool) error {
	it, err := s.db.NewIter(&pdb.IterOptions{
		LowerBound: appendHeadKey(nil, group),
		UpperBound: appendGroupEnd(nil, group),
	})
	if err != nil {
		return s.readError(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		var k splitKey
		var value []byte
		if k, err = parseKey(it.Key()); err != nil {
			break
		}
		if value, err = it.ValueAndErr(); err != nil || !fn(k, value) {
			break
		}
	}
	if err := errors.Join(err, it.Error(), it.Close()); err != nil {
		return s.readError(fmt.Errorf("group %q: %w", group, err))
	}
	return nil
}

// loadParts reads a group of several records.
func (s *Store) loadParts(key string) (durable.Group, error) {
	g := durable.Group{Key: key}
	var bad error
	err := s.eachRecord(key, func(k splitKey, value []byte) bool {
		bad = addRecord(&g, k, value)
		return bad == nil
	})
	if err == nil && bad != nil {
		err = s.readError(fmt.Errorf("group %q: %w", key, bad))
	}
	if err != nil {
		return durable.Group{}, err
	}
	return g, nil
}

// addRecord adds one record to a group, the head record first.
func addRecord(g *durable.Group, k splitKey, value []byte) error {
	if !k.head {
		if g.Version == 0 {
			return errRecord
		}
		g.Parts = append(g.Parts, durable.Part{Name: string(k.name), Value: append(make([]byte, 0, len(value)), value...)})
		return nil
	}
	h, err := parseHead(value)
	if err != nil {
		return err
	}
	g.Version = h.version
	if h.flags&flagInline != 0 {
		g.Parts = append(g.Parts, durable.Part{Value: append(make([]byte, 0, len(h.inline)), h.inline...)})
	}
	return nil
}

// Scan implements durable.Store. It shows the state of one moment: that of the
// call.
func (s *Store) Scan(ctx context.Context, prefix string, fn func(durable.Group) bool) error {
	if err := s.users.enter(); err != nil {
		return err
	}
	defer s.users.leave()
	if err := s.health.err(); err != nil {
		return err
	}
	lower, upper := prefixBounds(prefix)
	it, err := s.db.NewIter(&pdb.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return s.readError(err)
	}
	defer it.Close()
	var g durable.Group
	for ok := it.First(); ok; ok = it.Next() {
		k, err := parseKey(it.Key())
		if err != nil {
			return s.readError(fmt.Errorf("key %q: %w", it.Key(), err))
		}
		if k.head {
			if g.Version != 0 && !fn(g) {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
			}
			g = durable.Group{Key: unescape(k.group)}
		}
		value, err := it.ValueAndErr()
		if err == nil {
			err = addRecord(&g, k, value)
		}
		if err != nil {
			return s.readError(fmt.Errorf("group %q: %w", g.Key, err))
		}
	}
	if err := it.Error(); err != nil {
		return s.readError(err)
	}
	if g.Version != 0 {
		fn(g)
	}
	return nil
}

// readError says what a failed read means. Damage ends the store.
func (s *Store) readError(err error) error {
	if pdb.IsCorruptionError(err) || errors.Is(err, errRecord) {
		s.health.fail(damaged(s.dir, filepath.Join(s.dir, dbName), err))
		return s.health.err()
	}
	return fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
}
