package statesync

import (
	"bytes"
	"context"
	"encoding/binary"

	"holdfast/durable"
)

// Where several gateways serve, each tells the others which clients it heard of,
// four times per lease:
//
//	renewed   part: clientid   value: 8 random bytes, others at each renewal
//
// Clocks are not compared: who sees a part change counts the client as heard of
// at that moment, up to half a lease late and never early. That is why a
// client is late only half a lease after its lease.
const keyRenewed = "renewed"

// renewals is what a Node remembers of the group between two looks.
type renewals struct {
	folded  int64 // when, by Node.clock
	version uint64
	values  map[ClientID][]byte
}

// grace is how long after its lease a client counts as late.
func (n *Node) grace() int64 {
	if n.cfg.Shared {
		return int64(n.cfg.Lease) / 2
	}
	return 0
}

// foldRenewals tells of the clients heard of here and reads of those heard of
// elsewhere. It is called by one goroutine.
func (n *Node) foldRenewals(ctx context.Context) error {
	f := &n.renewals
	now := n.clock()
	if now-f.folded < int64(n.cfg.Lease)/4 && f.folded != 0 {
		return nil
	}
	var b durable.Batch
	for _, c := range n.clients.all() {
		if at := c.heard.Load(); at != 0 && at > f.folded {
			value := make([]byte, 8)
			n.cfg.Random(value)
			b.Writes = append(b.Writes, durable.Write{Key: keyRenewed, Name: renewedPart(c.id), Value: value})
		}
	}
	if len(b.Writes) > 0 {
		if err := n.commitNow(ctx, &b); err != nil {
			return err
		}
	}
	f.folded = now
	g, err := n.load(ctx, keyRenewed)
	if err != nil || g.Version == f.version {
		return err
	}
	values := make(map[ClientID][]byte, len(g.Parts))
	for _, p := range g.Parts {
		if len(p.Name) != 8 {
			continue
		}
		id := ClientID(binary.BigEndian.Uint64([]byte(p.Name)))
		values[id] = p.Value
		if old, known := f.values[id]; known && bytes.Equal(old, p.Value) {
			continue
		}
		if c := n.clients.get(id); c != nil {
			c.renewed.Store(now)
		}
	}
	f.version, f.values = g.Version, values
	return nil
}

func renewedPart(id ClientID) string { return string(binary.BigEndian.AppendUint64(nil, uint64(id))) }
