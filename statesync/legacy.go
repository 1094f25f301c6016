package statesync

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"holdfast/durable"
)

// The duplicate-request cache of NFSv4.0: one entry for each request that
// runs, and the keys of those that changed something in the last minutes. What
// such a request answered is in the store, as for a slot.
//
//	young ──▶ old ──▶ deleted        every drcAge, or when young is full
type drc struct {
	mu      sync.Mutex
	entries map[drcKey]*drcEntry
	young   map[drcKey]struct{}
	old     map[drcKey]struct{}
	dropped []drcKey
	rotated int64 // when, by Node.clock

	// complete says that young and old hold every key that the store holds.
	complete bool
}

type drcKey [16]byte

type drcEntry struct {
	entry
	key   drcKey
	users int // requests that use the entry; guarded by drc.mu
}

const (
	// drcAge is how long a generation is young. An entry lives one to two of these.
	drcAge = time.Minute
	// drcFull ends a generation early.
	drcFull = 250_000
)

func (d *drc) init() {
	d.entries = make(map[drcKey]*drcEntry)
	d.young = make(map[drcKey]struct{})
	d.old = make(map[drcKey]struct{})
}

func (k drcKey) group() string { return prefixDRC + hex.EncodeToString(k[:]) }

// keyOf makes the key of a request. The client's address is no part of it.
func keyOf(xid uint32, checksum uint64, principal string) (k drcKey) {
	b := make([]byte, 0, 64)
	b = binary.BigEndian.AppendUint32(b, xid)
	b = binary.BigEndian.AppendUint64(b, checksum)
	b = append(b, principal...)
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}

// Legacy looks an NFSv4.0 request that may change something up in the
// duplicate-request cache, and otherwise does what Sequence does. The errors
// are ErrDelay and that of ctx.
func (n *Node) Legacy(ctx context.Context, xid uint32, checksum uint64, principal string, c Compound) (*Request, error) {
	n.stats.requests.Add(1)
	e := n.drc.use(keyOf(xid, checksum, principal), n.cfg.Shared)
	r := &Request{n: n, c: c, entry: &e.entry, sum: checksum}
	if err := n.admit(ctx, r.entry, r); err != nil {
		n.drc.finished(n, r.entry)
		return nil, err
	}
	if r.Replay != nil {
		n.drc.finished(n, r.entry)
	}
	return r, nil
}

// use returns the entry of a key. finished must be called for it once.
func (d *drc) use(k drcKey, shared bool) *drcEntry {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[k]
	if e == nil {
		_, young := d.young[k]
		_, old := d.old[k]
		e = &drcEntry{key: k}
		e.entry.key = k.group()
		e.loaded = d.complete && !shared && !young && !old
		e.entry.drc = e
		d.entries[k] = e
	}
	e.users++
	return e
}

// changed notes that the store has a record of the request now.
func (d *drc) changed(_ *Node, e *entry) {
	d.mu.Lock()
	d.young[e.drc.key] = struct{}{}
	d.mu.Unlock()
}

// finished ends one use of an entry.
func (d *drc) finished(_ *Node, e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.drc.users--
	if e.drc.users == 0 {
		delete(d.entries, e.drc.key)
	}
}

// sweepDRC starts a new generation when it is time, and deletes what is older
// than two from the store.
func (n *Node) sweepDRC(ctx context.Context) error {
	d := &n.drc
	if !d.isComplete() {
		if err := n.scanDRC(ctx); err != nil {
			return err
		}
	}
	now := n.clock()
	d.mu.Lock()
	if now-d.rotated >= int64(drcAge) || len(d.young) >= drcFull {
		for k := range d.old {
			d.dropped = append(d.dropped, k)
		}
		d.old, d.young = d.young, make(map[drcKey]struct{})
		d.rotated = now
	}
	d.mu.Unlock()
	for {
		d.mu.Lock()
		var b durable.Batch
		var kept []drcKey
		for len(d.dropped) > 0 && len(b.Forget) < 256 {
			k := d.dropped[len(d.dropped)-1]
			d.dropped = d.dropped[:len(d.dropped)-1]
			_, young := d.young[k]
			_, old := d.old[k]
			if young || old {
				continue // sent again after a long time, and changed something again
			}
			if d.entries[k] != nil {
				kept = append(kept, k)
				continue
			}
			b.Forget = append(b.Forget, k.group())
		}
		d.dropped = append(d.dropped, kept...)
		d.mu.Unlock()
		if len(b.Forget) == 0 {
			return nil
		}
		if err := n.commitNow(ctx, &b); err != nil {
			return err
		}
	}
}

func (d *drc) isComplete() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.complete
}

// scanDRC finds the requests that were answered before this gateway started.
func (n *Node) scanDRC(ctx context.Context) error {
	d := &n.drc
	err := n.store.Scan(ctx, prefixDRC, func(g durable.Group) bool {
		raw, err := hex.DecodeString(g.Key[len(prefixDRC):])
		if err != nil || len(raw) != len(drcKey{}) {
			return true
		}
		d.mu.Lock()
		d.young[drcKey(raw)] = struct{}{}
		d.mu.Unlock()
		return true
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.complete = true
	d.rotated = n.clock()
	d.mu.Unlock()
	return nil
}
