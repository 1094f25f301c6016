package statesync

import (
	"context"
	"fmt"

	"holdfast/durable"
	"holdfast/internal/moment"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// A some is what the store had of one stateid at a moment not before asOf.
type some struct {
	st   *rules.File
	asOf uint64
}

// maxSome bounds the stateids of a file that are known one by one.
const maxSome = 256

// checkSome judges I/O by what the store has of one stateid, where the file as a whole is not in memory: after a takeover a client
// goes on reading and writing without all that is open and locked on the file being loaded, which may be much (G8). Only a
// verdict that the I/O may go on is final; it is kept, so that the next request asks no store.
// since is as of when the stateid has to be known.
func (n *Node) checkSome(ctx context.Context, key FileKey, other [nfs4.OtherSize]byte, since uint64, check func(*rules.File) error) (bool, error) {
	if (nfs4.Stateid{Other: other}).IsSpecial() {
		return false, nil // about all that is open
	}
	f := n.file(key)
	f.used.Store(n.clock())
	f.mu.RLock()
	kept, asked := f.some[other], f.doubts
	f.mu.RUnlock()
	if kept.st != nil && kept.asOf >= since && check(kept.st) == nil {
		return true, nil
	}
	asOf := moment.Now()
	st, err := n.loadSome(ctx, f, other)
	if kept.st != nil && away(err) {
		return check(kept.st) == nil, nil
	}
	if err != nil || st == nil || check(st) != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// Not if another gateway has told meanwhile of a change.
	if f.state == nil && !f.gone && f.doubts == asked {
		if f.some == nil || len(f.some) >= maxSome {
			f.some = make(map[[nfs4.OtherSize]byte]some)
		}
		f.some[other] = some{st, asOf}
	}
	return true, nil
}

// loadSome reads what the store has of a stateid: nil if it is not there.
func (n *Node) loadSome(ctx context.Context, f *file, other [nfs4.OtherSize]byte) (*rules.File, error) {
	names := rules.IOParts(other)
	g, err := n.loadParts(ctx, f.group, names...)
	if err != nil {
		return nil, storeError(err)
	}
	if open := rules.OpenPart(g.Parts); open != "" {
		if g, err = n.loadParts(ctx, f.group, append(names, open)...); err != nil {
			return nil, storeError(err)
		}
	}
	if len(g.Parts) < 2 {
		return nil, nil
	}
	st, err := rules.DecodeFile(g.Parts)
	if err != nil {
		return nil, fmt.Errorf("file %x: %w", f.key, err)
	}
	return st, nil
}

// loadParts reads some parts of a group.
func (n *Node) loadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	n.stats.loads.Add(1)
	g, err := n.store.LoadParts(ctx, key, names...)
	if err != nil {
		return g, fmt.Errorf("loading parts of %q: %w", key, err)
	}
	return g, nil
}

// doubt forgets what is known of stateids one by one.
func (f *file) doubt() {
	f.mu.Lock()
	f.some = nil
	f.doubts++
	f.mu.Unlock()
}
