package pebble

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"

	pdb "github.com/cockroachdb/pebble/v2"

	"holdfast/durable"
	"holdfast/internal/together"
)

// maxRelease is how many bytes a commit may put that releases something while
// the disk is nearly full: the head that no longer lists it, and the reply.
const maxRelease = 8 << 10

// admit says whether b is taken while the disk is not roomy.
func (s *Store) admit(b *durable.Batch, level int32) error {
	puts, releases := 0, len(b.Forget)
	for i := range b.Writes {
		w := &b.Writes[i]
		if w.Value == nil {
			releases++
		} else {
			puts += len(w.Key) + len(w.Name) + len(w.Value)
		}
	}
	switch {
	case len(b.Writes)+len(b.Forget) == 0:
		return nil
	case level == tight && (puts == 0 || releases > 0 && puts <= maxRelease):
		s.releasing()
		return nil
	}
	return fmt.Errorf("%w: %s", durable.ErrFull, s.dir)
}

// Commit implements durable.Store.
func (s *Store) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	if b.Fence.Key != "" {
		return durable.CommitFenced(ctx, b, s.Commit)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
	}
	if err := s.users.enter(); err != nil {
		return nil, err
	}
	defer s.users.leave()
	if s.backlog.n.Load() >= maxBacklog {
		if err := s.backlog.wait(ctx, s); err != nil {
			return nil, err
		}
	}
	if level := s.space.level.Load(); level != roomy {
		if err := s.admit(b, level); err != nil {
			return nil, err
		}
	}
	t := txns.Get().(*txn)
	t.s, t.b = s, b
	a, err := t.commit()
	conflicts := t.conflicts
	t.reset()
	if err != nil {
		return nil, err
	}
	if len(conflicts) > 0 {
		return nil, s.conflict(ctx, conflicts)
	}
	return a, nil
}

// conflict loads the groups whose checks failed.
func (s *Store) conflict(ctx context.Context, keys []string) error {
	c := &durable.Conflict{Groups: make([]durable.Group, len(keys))}
	for i, key := range keys {
		g, err := s.load(key)
		if err != nil {
			return err
		}
		c.Groups[i] = g
	}
	return c
}

// ack is a commit that is visible and in the log, as far as that is in memory.
type ack struct {
	s    *Store
	made together.Mark // a sync that began later covers it
}

var (
	acks = sync.Pool{New: func() any { return new(ack) }}
	txns = sync.Pool{New: func() any { return new(txn) }}
)

// Wait implements durable.Ack.
func (a *ack) Wait() error {
	s := a.s
	if s == nil {
		return errors.New("durable: Wait was called twice")
	}
	made := a.made
	*a = ack{}
	acks.Put(a)
	if err := s.users.enter(); err != nil {
		<-s.closed // which makes everything durable
		return s.outcome()
	}
	defer s.users.leave()
	if err := s.syncs.Since(made, s.sync); err != nil {
		s.health.fail(err)
	}
	return s.outcome()
}

// outcome is that of a sync. The guard hides a failed write from Pebble, and
// fails the store before it does.
func (s *Store) outcome() error {
	if s.health.failed.Load() {
		return s.health.unknown()
	}
	return nil
}

// A txn is one commit while it holds the locks of its shards. It is reused.
type txn struct {
	s *Store
	b *durable.Batch

	groups []member
	index  map[string]int // of groups, when there are many
	// refs are the groups of the checks, writes and forgets of b, in that order.
	refs []int
	mask [shardCount / 64]uint64 // the shards of the groups

	batch     *pdb.Batch
	key       []byte
	conflicts []string
}

// A member is one group that a batch names.
type member struct {
	key     string
	shard   *shard
	entry   *entry
	written bool
	forgot  bool
	failed  bool // a check of it did
	put     bool // a part other than "" is put
	head    int  // the last write of part "", or -1
}

// manyGroups is from where on a map finds a group faster than a look at all.
const manyGroups = 16

func (t *txn) reset() {
	clear(t.groups)
	t.groups = t.groups[:0]
	if cap(t.groups) > 1024 {
		t.groups = nil
	}
	t.refs = t.refs[:0]
	t.index = nil
	t.mask = [shardCount / 64]uint64{}
	t.s, t.b, t.batch, t.conflicts = nil, nil, nil, nil
	txns.Put(t)
}

// refer returns the index of a group among the txn's, and adds it if needed.
func (t *txn) refer(key string) int {
	if t.index != nil {
		if i, ok := t.index[key]; ok {
			return i
		}
	} else {
		for i := range t.groups {
			if t.groups[i].key == key {
				return i
			}
		}
	}
	n := maphash.String(t.s.seed, key) % shardCount
	t.mask[n/64] |= 1 << (n % 64)
	i := len(t.groups)
	t.groups = append(t.groups, member{key: key, shard: &t.s.shards[n], head: -1})
	if t.index != nil {
		t.index[key] = i
	} else if len(t.groups) > manyGroups {
		t.index = make(map[string]int, 4*manyGroups)
		for j := range t.groups {
			t.index[t.groups[j].key] = j
		}
	}
	return i
}

func (t *txn) gather() {
	for i := range t.b.Checks {
		t.refs = append(t.refs, t.refer(t.b.Checks[i].Key))
	}
	for i := range t.b.Writes {
		t.refs = append(t.refs, t.refer(t.b.Writes[i].Key))
	}
	for _, key := range t.b.Forget {
		t.refs = append(t.refs, t.refer(key))
	}
}

func (t *txn) lock() {
	for w, word := range t.mask {
		for ; word != 0; word &= word - 1 {
			t.s.shards[w*64+bits.TrailingZeros64(word)].mu.Lock()
		}
	}
}

func (t *txn) unlock() {
	for i := range t.groups {
		if g := &t.groups[i]; g.entry != nil {
			g.shard.settle(g.entry, t.s.shardLimit)
		}
	}
	for w, word := range t.mask {
		for ; word != 0; word &= word - 1 {
			t.s.shards[w*64+bits.TrailingZeros64(word)].mu.Unlock()
		}
	}
}

// commit does the batch. It returns neither an ack nor an error when there are
// conflicts.
func (t *txn) commit() (a durable.Ack, err error) {
	t.gather()
	t.lock()
	defer t.unlock()
	// A panic out of Pebble must not leave a request; what it did is unknown.
	defer func() {
		if p := recover(); p != nil {
			t.s.health.fail(fmt.Errorf("commit: %v", p))
			a, err = nil, t.s.health.unknown()
		}
	}()
	if err := t.s.health.err(); err != nil {
		return nil, err
	}
	for i := range t.groups {
		g := &t.groups[i]
		if g.entry, err = t.s.entry(g.shard, g.key); err != nil {
			return nil, err
		}
	}
	if t.check(); len(t.conflicts) > 0 {
		return nil, nil
	}
	t.batch = t.s.db.NewBatch()
	if err := t.build(); err != nil {
		t.batch.Close()
		return nil, err
	}
	// If nothing changes the ack stands for all that was before.
	if !t.batch.Empty() {
		if err := t.s.db.Apply(t.batch, pdb.NoSync); err != nil {
			t.s.health.fail(err)
		}
	}
	if t.s.health.failed.Load() {
		return nil, t.s.health.unknown()
	}
	t.batch.Close()
	own := acks.Get().(*ack)
	own.s, own.made = t.s, t.s.syncs.Now()
	return own, nil
}

func (t *txn) check() {
	for i := range t.b.Checks {
		g := &t.groups[t.refs[i]]
		if g.entry.version != t.b.Checks[i].Version && !g.failed {
			g.failed = true
			t.conflicts = append(t.conflicts, g.key)
		}
	}
}

// build fills the Pebble batch and brings the entries up to what it makes. It
// fails only before it changed an entry.
func (t *txn) build() error {
	writes := t.refs[len(t.b.Checks):]
	forgets := writes[len(t.b.Writes):]
	for _, ref := range forgets {
		t.groups[ref].forgot = true
	}
	for i := range t.groups {
		if g := &t.groups[i]; g.forgot {
			if err := t.learnNames(g); err != nil {
				return err
			}
		}
	}
	for i := range t.b.Writes {
		g, w := &t.groups[writes[i]], &t.b.Writes[i]
		if g.forgot {
			continue
		}
		g.written = true
		switch {
		case w.Name == "":
			g.head = i
		case w.Value != nil:
			g.put = true
			g.entry.addName(w.Name)
			t.setPart(g.key, w.Name, w.Value)
		case g.entry.hasName(w.Name):
			g.entry.removeName(w.Name)
			t.deletePart(g.key, w.Name)
		}
	}
	for i := range t.groups {
		switch g := &t.groups[i]; {
		case g.forgot:
			t.forget(g)
		case g.written:
			t.writeHead(g)
		}
	}
	return nil
}

func (t *txn) setPart(group, name string, value []byte) {
	t.key = appendPartKey(t.key[:0], group, name)
	op := t.batch.SetDeferred(len(t.key), len(value))
	copy(op.Key, t.key)
	copy(op.Value, value)
	op.Finish()
}

func (t *txn) deletePart(group, name string) {
	t.key = appendPartKey(t.key[:0], group, name)
	t.deleteKey()
}

func (t *txn) deleteKey() {
	op := t.batch.DeleteDeferred(len(t.key))
	copy(op.Key, t.key)
	op.Finish()
}

// writeHead writes the head record with the next version.
func (t *txn) writeHead(g *member) {
	e := g.entry
	h := e.head
	h.version++
	if g.put {
		h.flags |= flagParts
	}
	if g.head >= 0 {
		value := t.b.Writes[g.head].Value
		own := h.flags&flagOwn != 0
		h.flags &^= flagInline | flagOwn
		h.inline = nil
		switch {
		case value == nil:
		case len(value) <= maxInline:
			h.flags |= flagInline
			h.inline = value
		default:
			h.flags |= flagOwn
			t.setPart(g.key, "", value)
		}
		if own && h.flags&flagOwn == 0 {
			t.deletePart(g.key, "")
		}
	}
	t.key = appendHeadKey(t.key[:0], g.key)
	op := t.batch.SetDeferred(len(t.key), headSize(h))
	copy(op.Key, t.key)
	putHead(op.Value, h)
	op.Finish()

	e.version, e.flags = h.version, h.flags
	if g.head >= 0 {
		e.setInline(h.inline)
	}
}

// learnNames finds the parts of a group that is to be forgotten, unless they
// are known or too many.
func (t *txn) learnNames(g *member) error {
	e := g.entry
	if e.known {
		return nil
	}
	var names []string
	err := t.s.eachRecord(g.key, func(k splitKey, _ []byte) bool {
		if !k.head && len(k.name) > 0 {
			names = append(names, string(k.name))
		}
		return len(names) <= maxNames
	})
	if err != nil {
		return err
	}
	if len(names) <= maxNames {
		e.known = true
		for _, name := range names {
			e.addName(name)
		}
	}
	return nil
}

// forget deletes every record of a group.
func (t *txn) forget(g *member) {
	e := g.entry
	if e.version == 0 {
		return
	}
	t.key = appendHeadKey(t.key[:0], g.key)
	t.deleteKey()
	if e.flags&flagOwn != 0 {
		t.deletePart(g.key, "")
	}
	if e.known {
		for _, name := range e.names {
			t.deletePart(g.key, name)
		}
	} else {
		// One range tombstone costs reads and flushes more than a few deletes, and
		// much less than many.
		from := appendPartKey(nil, g.key, "")
		t.batch.DeleteRange(from, appendGroupEnd(nil, g.key), nil)
	}
	e.forget()
}
