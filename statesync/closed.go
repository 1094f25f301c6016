package statesync

import (
	"context"
	"errors"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// A CLOSE of NFSv4.0 that is sent again names a stateid that is no more. What
// leads to its owner, which has the reply, is kept: in memory, and in the store
// where another gateway may get the retry.

// closedWrites adds to a batch which stateid an owner's CLOSE ends, so that a
// retry of the CLOSE finds the owner at any gateway.
func (n *Node) closedWrites(b *durable.Batch, o *owner, other [nfs4.OtherSize]byte) {
	if !n.cfg.Shared || o.kind != rules.OpenOwner {
		return
	}
	if o.closed != nil {
		b.Writes = append(b.Writes, durable.Write{Key: statesKey(o.client), Name: endedPart(*o.closed)})
	}
	b.Writes = append(b.Writes,
		durable.Write{Key: o.key, Name: partClosed, Value: other[:]},
		durable.Write{Key: statesKey(o.client), Name: endedPart(other), Value: o.name})
}

// whoClosed returns the open owner whose last CLOSE ended a stateid, nil if it is
// not known. Of all clients one of few can have had it.
func (n *Node) whoClosed(ctx context.Context, other [nfs4.OtherSize]byte) (*owner, error) {
	if o := n.closed40.get(other); o != nil {
		return o, nil
	}
	if !n.cfg.Shared {
		return nil, nil
	}
	if err := n.meet(ctx, other); err != nil {
		return nil, err
	}
	for _, c := range n.clients.all() {
		if !hints(other, c.id) || !c.minor0() {
			continue
		}
		g, err := n.loadParts(ctx, c.states, endedPart(other))
		if err != nil {
			return nil, storeError(err)
		}
		if name := part(g, endedPart(other)); name != nil {
			return &owner{client: c.id, kind: rules.OpenOwner, name: name}, nil
		}
	}
	return nil, nil
}

// meet brings all clients into memory, unless one is there that may have had a
// stateid: another gateway may have taken up the client just now, and have died.
// Those who ask at the same time share a look at the store.
func (n *Node) meet(ctx context.Context, other [nfs4.OtherSize]byte) error {
	for _, c := range n.clients.all() {
		if hints(other, c.id) {
			return nil
		}
	}
	return n.meeting.Do(func() error { return n.meetAll(ctx) })
}

// meetAll brings all clients of the store into memory.
func (n *Node) meetAll(ctx context.Context) error {
	var ids []ClientID
	err := n.store.Scan(ctx, prefixClient, func(g durable.Group) bool {
		if id, ok := clientOf(prefixClient, g.Key); ok {
			ids = append(ids, id)
		}
		return true
	})
	if err != nil {
		return storeError(err)
	}
	for _, id := range ids {
		if _, err := n.client(ctx, id); err != nil && !errors.Is(err, ErrStaleClientID) {
			return err
		}
	}
	return nil
}

// keepClosed remembers the stateid that an owner's last CLOSE ended.
func (n *Node) keepClosed(o *owner, other [nfs4.OtherSize]byte) {
	if o.kind != rules.OpenOwner {
		return
	}
	if o.closed != nil {
		n.closed40.drop(*o.closed)
	}
	o.closed = &other
	n.closed40.put(other, o)
}
