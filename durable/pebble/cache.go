package pebble

import (
	"slices"
	"sync"
)

const (
	shardCount = 256
	// maxNames is the most part names that an entry keeps; a group with more is
	// looked up in the database when it is forgotten.
	maxNames = 512
	// entryCost is what an entry costs beyond its strings and bytes.
	entryCost = 192
)

// A shard locks and caches the groups whose names hash to it.
//
// Lock order: shards by rising index; Pebble's own locks come after.
type shard struct {
	mu      sync.Mutex
	entries map[string]*entry
	// lru is the ring of entries; next is the most recently used one.
	lru   entry
	bytes int
	_     [64]byte // keeps two shards' locks off one cache line
}

// An entry is what is known of one group: what a check or a write of it needs,
// and all of it when the group has a small head part only. An entry of
// version 0 says that the group does not exist.
type entry struct {
	key        string
	next, prev *entry
	head       // inline is owned by the entry
	// names are the parts other than "", sorted, if known.
	names     []string
	nameBytes int
	known     bool
	cost      int
}

func (s *shard) init() {
	s.entries = make(map[string]*entry)
	s.lru.next, s.lru.prev = &s.lru, &s.lru
}

// get returns the entry of a group, or nil.
func (s *shard) get(group string) *entry {
	e := s.entries[group]
	if e != nil && s.lru.next != e {
		e.unlink()
		s.link(e)
	}
	return e
}

// add makes an entry. Its cost is counted by settle.
func (s *shard) add(group string) *entry {
	e := &entry{key: group}
	s.entries[group] = e
	s.link(e)
	return e
}

func (s *shard) link(e *entry) {
	e.prev, e.next = &s.lru, s.lru.next
	e.prev.next, e.next.prev = e, e
}

func (e *entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}

// settle counts what e costs now, and drops the least recently used entries
// while the shard is over limit. e itself stays.
func (s *shard) settle(e *entry, limit int) {
	if e.next == nil {
		return // dropped for another one
	}
	cost := entryCost + len(e.key) + cap(e.inline) + 16*cap(e.names) + e.nameBytes
	s.bytes += cost - e.cost
	e.cost = cost
	for s.bytes > limit && s.lru.prev != e && s.lru.prev != &s.lru {
		s.drop(s.lru.prev)
	}
}

func (s *shard) drop(e *entry) {
	e.unlink()
	delete(s.entries, e.key)
	s.bytes -= e.cost
}

// setInline makes a copy of value the inline head.
func (e *entry) setInline(value []byte) {
	if cap(e.inline) > 4*len(value)+64 {
		e.inline = nil
	}
	e.inline = append(e.inline[:0], value...)
}

// addName notes a part that exists now.
func (e *entry) addName(name string) {
	if !e.known {
		return
	}
	i, ok := slices.BinarySearch(e.names, name)
	if ok {
		return
	}
	if len(e.names) >= maxNames {
		e.names, e.nameBytes, e.known = nil, 0, false
		return
	}
	e.nameBytes += len(name)
	// The caller's string may be a window into a large buffer.
	e.names = slices.Insert(e.names, i, string([]byte(name)))
}

// hasName says whether a part may exist.
func (e *entry) hasName(name string) bool {
	if !e.known {
		return true
	}
	_, ok := slices.BinarySearch(e.names, name)
	return ok
}

func (e *entry) removeName(name string) {
	if !e.known {
		return
	}
	if i, ok := slices.BinarySearch(e.names, name); ok {
		e.names = slices.Delete(e.names, i, i+1)
		e.nameBytes -= len(name)
	}
}

// forget makes e the entry of a group that does not exist.
func (e *entry) forget() {
	e.head = head{}
	e.names, e.nameBytes, e.known = nil, 0, true
}
