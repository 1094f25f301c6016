package statesync

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/durable"
	"holdfast/internal/moment"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// A file is what is open and locked on one file, in memory.
//
// Whoever changes it has its turn, also while the store is asked. state is read
// under mu, which is held for memory only.
type file struct {
	key   FileKey
	group string // key of its group
	hash  uint32
	turn  turn
	used  atomic.Int64 // by Node.clock

	mu      sync.RWMutex
	state   *rules.File // nil while it is not loaded
	version uint64
	asOf    uint64 // moment for which the store confirmed version
	gone    bool   // dropped from memory: look it up again

	// some is what is known of stateids while state is nil; doubts counts how often that was forgotten.
	some   map[[nfs4.OtherSize]byte]some
	doubts uint64
}

// hashOf is the part of a stateid that leads to the file.
func hashOf(f FileKey) uint32 {
	h := uint32(2166136261) // FNV-1a
	for i := range len(f) {
		h = (h ^ uint32(f[i])) * 16777619
	}
	return h
}

// Stateids (other) are the same on every gateway:
//
//	u32 hash of the file · u24 low bits of the client · u8 kind and random · u32 random
//
// The highest bit of the kind byte is 1 for a lock stateid.
const (
	otherClient = 4
	otherKind   = 7
	kindLock    = 0x80
)

// newOther makes the other of a new stateid.
func (n *Node) newOther(f *file, c ClientID, lock bool) (o [nfs4.OtherSize]byte) {
	n.cfg.Random(o[otherKind:])
	o[0], o[1], o[2], o[3] = byte(f.hash>>24), byte(f.hash>>16), byte(f.hash>>8), byte(f.hash)
	o[4], o[5], o[6] = byte(c>>16), byte(c>>8), byte(c)
	o[otherKind] &^= kindLock
	if lock {
		o[otherKind] |= kindLock
	}
	return o
}

func isLock(other [nfs4.OtherSize]byte) bool { return other[otherKind]&kindLock != 0 }

// hint is what a stateid tells of its client.
func hint(other [nfs4.OtherSize]byte) uint32 {
	return uint32(other[otherClient])<<16 | uint32(other[otherClient+1])<<8 | uint32(other[otherClient+2])
}

// hintOf is the hint of a client's stateids.
func hintOf(c ClientID) uint32 { return uint32(c) & 0xffffff }

// hints says whether a stateid may be the client's.
func hints(other [nfs4.OtherSize]byte, c ClientID) bool { return hint(other) == hintOf(c) }

func fileHash(other [nfs4.OtherSize]byte) uint32 {
	return uint32(other[0])<<24 | uint32(other[1])<<16 | uint32(other[2])<<8 | uint32(other[3])
}

// file returns the entry of a file, loaded or not.
func (n *Node) file(key FileKey) *file {
	if f := n.files.get(key); f != nil {
		return f
	}
	made := &file{key: key, group: fileKey(key), hash: hashOf(key), turn: newTurn()}
	made.used.Store(n.clock())
	f := n.files.getOrMake(key, func() *file { return made })
	if f == made {
		if made := n.filesMade.Add(1); made%shedEvery == 0 {
			n.shed(int(made / shedEvery))
		}
		n.byHash.update(f.hash, func(fs []*file) []*file { return append(fs[:len(fs):len(fs)], f) })
	}
	return f
}

// takeFile takes the turn of a file whose state is loaded. give ends it.
func (n *Node) takeFile(ctx context.Context, key FileKey) (*file, error) {
	for {
		f := n.file(key)
		if err := f.turn.take(ctx); err != nil {
			return nil, err
		}
		if f.gone {
			f.turn.give()
			continue
		}
		f.used.Store(n.clock())
		if f.state != nil {
			return f, nil
		}
		if err := n.loadFile(ctx, f); err != nil {
			f.turn.give()
			return nil, err
		}
		return f, nil
	}
}

// loadFile makes a file's state what the store has. The caller has the turn.
func (n *Node) loadFile(ctx context.Context, f *file) error {
	asOf := moment.Now()
	g, err := n.load(ctx, f.group)
	if err == nil {
		err = n.fill(f, g, asOf)
	}
	if err != nil {
		return storeError(err)
	}
	return nil
}

// fill makes a file's state that of its group, which the store had at a moment
// not before asOf. The caller has the turn.
func (n *Node) fill(f *file, g durable.Group, asOf uint64) error {
	st, err := rules.DecodeFile(g.Parts)
	if err != nil {
		n.clear(f)
		return fmt.Errorf("file %x: %w", f.key, err)
	}
	n.countRanges(f.state, -1)
	f.mu.Lock()
	f.state, f.version, f.some, f.asOf = st, g.Version, nil, asOf
	f.mu.Unlock()
	n.countRanges(st, 1)
	return nil
}

// clear drops a file's state, so that it is loaded again. The caller has the
// turn.
func (n *Node) clear(f *file) {
	n.countRanges(f.state, -1)
	f.mu.Lock()
	f.state, f.some = nil, nil
	f.doubts++
	f.mu.Unlock()
}

// unknown notes that the store may hold something else than memory does. The
// caller does not have the turn.
func (n *Node) unknown(f *file) {
	if f.turn.take(context.Background()) == nil {
		n.clear(f)
		f.turn.give()
	}
}

// countRanges adds a file's ranges to what its clients in memory hold.
func (n *Node) countRanges(st *rules.File, sign int64) {
	if st == nil || st.Ranges() == 0 {
		return
	}
	st.Each(func(i rules.Info) bool {
		if c := n.clients.get(i.Client); c != nil && i.Lock {
			c.ranges.Add(sign)
		}
		return true
	})
}

// view calls fn with a file's state, which fn may only read, and not keep.
func (n *Node) view(ctx context.Context, key FileKey, fn func(*rules.File)) error {
	f := n.files.get(key)
	if f == nil || !f.read(fn) {
		var err error
		if f, err = n.takeFile(ctx, key); err != nil {
			return err
		}
		defer f.turn.give()
		f.read(fn)
	}
	return nil
}

// read is view of a file that is loaded; otherwise it returns false.
func (f *file) read(fn func(*rules.File)) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.state == nil || f.gone {
		return false
	}
	fn(f.state)
	return true
}

// find returns the file of a client's stateid. The error is ErrBadStateid or
// ErrDelay.
func (n *Node) find(ctx context.Context, c ClientID, other [nfs4.OtherSize]byte) (FileKey, error) {
	if !hints(other, c) {
		return "", ErrBadStateid
	}
	for _, f := range n.byHash.get(fileHash(other)) {
		found := false
		f.read(func(st *rules.File) { _, found = st.Find(other) })
		if found {
			return f.key, nil
		}
	}
	g, err := n.loadParts(ctx, statesKey(c), statePart(other))
	if err != nil {
		return "", storeError(err)
	}
	if key := part(g, statePart(other)); key != nil {
		return FileKey(key), nil
	}
	return "", ErrBadStateid
}

// InUse says that some open of the file is in memory: a descriptor is worth
// keeping.
func (n *Node) InUse(key FileKey) bool {
	f := n.files.get(key)
	if f == nil {
		return false
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.some) > 0 || f.state != nil && !f.gone && f.state.Opens() > 0
}

// Opened is InUse of what the store says where the file is not in memory, and true where it
// does not say.
func (n *Node) Opened(key FileKey) bool {
	ctx, cancel := context.WithTimeout(n.running, openedIn)
	defer cancel()
	open := true
	err := n.view(ctx, key, func(st *rules.File) { open = st.Opens() > 0 })
	return err != nil || open
}

// openedIn bounds how long Opened waits.
const openedIn = 5 * time.Second

// shedEvery is after how many new files in memory some that are not needed are
// looked for, so that their number does not grow until the next sweep.
const shedEvery = 1024

// shed drops files on which nothing is open from one shard of those in memory.
func (n *Node) shed(i int) {
	if n.files.len() < 32*shedEvery {
		return
	}
	now := n.clock()
	for _, f := range n.files.some(i) {
		if now-f.used.Load() > 0 && f.turn.try() {
			if f.empty() {
				n.evict(f)
			}
			f.turn.give()
		}
	}
}

// sweepFiles drops files from memory that were not used for a while: at once
// if nothing is open on them.
func (n *Node) sweepFiles() error {
	now := n.clock()
	for _, f := range n.files.all() {
		idle := now - f.used.Load()
		if !f.turn.try() {
			continue
		}
		if f.empty() && idle > 0 || idle > int64(10*n.cfg.Lease) {
			n.evict(f)
		}
		f.turn.give()
	}
	return nil
}

// empty says that nothing is known to be open. The caller has the turn.
func (f *file) empty() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.some) == 0 && (f.state == nil || f.state.Empty())
}

// evict drops a file from memory. The caller has the turn.
func (n *Node) evict(f *file) {
	n.clear(f)
	f.mu.Lock()
	f.gone, f.some = true, nil
	f.mu.Unlock()
	n.files.dropIf(f.key, func(g *file) bool { return g == f })
	n.byHash.update(f.hash, func(fs []*file) []*file {
		var rest []*file
		for _, g := range fs {
			if g != f {
				rest = append(rest, g)
			}
		}
		return rest
	})
	n.byHash.dropIf(f.hash, func(fs []*file) bool { return len(fs) == 0 })
}

// dead says that a client is known not to exist any more.
func (n *Node) dead(id ClientID) bool {
	if c := n.clients.get(id); c != nil {
		return c.gone.Load()
	}
	return n.departed.get(id)
}
