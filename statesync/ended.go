package statesync

import (
	"context"
	"time"

	"holdfast/durable"
	"holdfast/internal/xdr"
)

// keyEnded is the group of what ended.
const keyEnded = "ended"

// Clients and sessions that end are told to the other gateways in the parts of
// one group, so that they drop them from memory:
//
//	ended   part: 16 random bytes   value: 'c' clientid, or 's' sessionid
//
// A part is deleted when every gateway has had the time to see it.

// endedWrite adds to a batch that a client or session ends with it.
func (n *Node) endedWrite(b *durable.Batch, kind byte, id []byte) {
	if !n.cfg.Shared {
		return
	}
	var name [16]byte
	n.cfg.Random(name[:])
	b.Writes = append(b.Writes, durable.Write{Key: keyEnded, Name: string(name[:]), Value: append([]byte{kind}, id...)})
}

// carryOut drops from memory what other gateways ended.
func (n *Node) carryOut(ctx context.Context) error {
	g, err := n.load(ctx, keyEnded)
	if err != nil {
		return err
	}
	m := &n.members
	m.mu.Lock()
	acked := m.acked
	m.mu.Unlock()
	now := n.clock()
	var stale durable.Batch
	for _, p := range g.Parts {
		m.mu.Lock()
		since, known := m.seen[p.Name]
		if !known {
			m.seen[p.Name] = now
		}
		m.mu.Unlock()
		switch {
		case !known:
			n.endHere(p.Value)
		case now-since > 10*int64(n.cfg.GatewayLease):
			stale.Writes = append(stale.Writes, durable.Write{Key: keyEnded, Name: p.Name})
		}
	}
	m.mu.Lock()
	m.acked = g.Version
	if len(m.seen) > len(g.Parts) {
		there := make(map[string]int64, len(g.Parts))
		for _, p := range g.Parts {
			there[p.Name] = m.seen[p.Name]
		}
		m.seen = there
	}
	m.mu.Unlock()
	if g.Version != acked {
		n.sayCarried()
		if err := n.renewLease(ctx); err != nil { // somebody may wait for the word
			return err
		}
	}
	if len(stale.Writes) > 0 {
		return n.commitNow(ctx, &stale)
	}
	return nil
}

// endHere drops a client or session from memory.
func (n *Node) endHere(value []byte) {
	r := xdr.NewReader(value)
	switch {
	case len(value) == 9 && value[0] == 'c':
		r.Seek(1)
		id := ClientID(r.Uint64())
		if c := n.clients.get(id); c != nil {
			n.forget(c)
		}
	case len(value) == 17 && value[0] == 's':
		if s := n.sessions.get([16]byte(value[1:])); s != nil {
			n.dropSession(s)
		}
	}
}

// enoughToEnd is how long the client that ends something of its own is kept waiting
// for gateways that do not say that they know.
const enoughToEnd = time.Second

// endEverywhere has the other gateways drop what a client just ended, so that none
// of them goes on serving it. It is already gone from the store: nothing is granted
// under it whatever becomes of this, and who does not answer in time drops it with
// its next beat.
func (n *Node) endEverywhere(ctx context.Context) {
	if !n.cfg.Shared {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, enoughToEnd)
	defer cancel()
	if err := n.barrier(ctx); err != nil {
		n.log.Debug("not every gateway said that it dropped what a client ended", "error", err)
	}
}

// barrier waits until every gateway that may serve has dropped what ended
// before the call, so that nothing that was taken from a client is used any
// more when it is given to another.
func (n *Node) barrier(ctx context.Context) error {
	if !n.cfg.Shared {
		return nil
	}
	g, err := n.load(ctx, keyEnded)
	if err != nil {
		return storeError(err)
	}
	n.publish(encodeMessage(msgEnded, g.Version))
	for {
		if err := n.observe(ctx); err != nil {
			return storeError(err)
		}
		m := &n.members
		m.mu.Lock()
		waiting := 0
		for name, p := range m.peers {
			if max(p.acked, n.saidCarried(name, p.instance)) < g.Version {
				waiting++
			}
		}
		m.mu.Unlock()
		if waiting == 0 {
			return nil
		}
		if err := n.waitForNews(ctx); err != nil {
			return err
		}
	}
}
