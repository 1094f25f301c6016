package statesync

import (
	"context"

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
