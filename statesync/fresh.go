package statesync

import (
	"context"
	"errors"

	"holdfast/durable"
	"holdfast/internal/moment"
	"holdfast/statesync/rules"
)

// What is in memory may be out of date where several gateways write to the
// store. A change finds that out when it commits, since its commit checks the
// versions of all that it was decided on. What only looks has to know how old the
// knowledge may be:
//
//	LOCKT, I/O without a stateid of its own,   as of now: the store is asked
//	OPEN before it truncates
//	I/O and TEST_STATEID under a stateid       as of when the client was last seen
//	                                           to come from another gateway
//
// A stateid is its client's, and only what the client itself did before can make
// memory wrong about it (what is taken from a client is a matter of barrier). As
// long as its requests follow one another here, the client was nowhere else, and
// reading and writing ask no store (G7). That they do not is seen by the sequence
// of a slot, which others moved on, and in NFSv4.0 by the xids of a connection
// (nfsops.Call.Since). A client that uses slots and gateways side by side and a
// stateid that it gave back itself elsewhere may find it good for a while here:
// that is its own doing.

// roamed notes that the client's requests did not all come here.
func (c *client) roamed() { c.since.Store(moment.Next()) }

// Since is the moment as of which the stateids of the request's client have to be
// known: 0 in NFSv4.0, where the connection tells.
func (r *Request) Since() uint64 {
	if r.client == nil {
		return 0
	}
	return r.client.since.Load()
}

// freshen brings a file's state in memory up to the store, unless it was confirmed
// for the moment since or later. Of a file that did not change only the version
// is read.
func (n *Node) freshen(ctx context.Context, key FileKey, since uint64) error {
	if !n.cfg.Shared {
		return nil
	}
	if f := n.files.get(key); f != nil && f.known(since) {
		return nil
	}
	f, err := n.takeFile(ctx, key)
	if err != nil {
		return err
	}
	defer f.turn.give()
	if f.known(since) { // who waited for the turn profits from who had it
		return nil
	}
	asOf := moment.Now()
	g, err := n.loadParts(ctx, f.group)
	if err != nil {
		return storeError(err)
	}
	if g.Version != f.version {
		return n.loadFile(ctx, f)
	}
	f.mu.Lock()
	f.asOf = max(f.asOf, asOf)
	f.mu.Unlock()
	return nil
}

// known says that the file's state in memory was confirmed for the moment since or later.
func (f *file) known(since uint64) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.state != nil && !f.gone && f.asOf >= since
}

// viewNow is view of what the store has.
func (n *Node) viewNow(ctx context.Context, key FileKey, fn func(*rules.File)) error {
	if err := n.freshen(ctx, key, moment.Next()); err != nil {
		return err
	}
	return n.view(ctx, key, fn)
}

// away says that an error comes from the store being out of reach: then nobody
// changes anything either, and what memory knows of a client's own stateids may go
// on being used.
func away(err error) bool { return errors.Is(err, durable.ErrUnavailable) }
