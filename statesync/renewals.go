package statesync

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"

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
//
// A client that was silent for longer may come back at one gateway while another
// one takes its state away. The store decides which came first:
//
//	it comes back   commit: the client is there; its part changes    then its request runs
//	it is revoked   commit: no part changed since it was seen late   then it is gone
//
// So each costs one commit, and only of a client that nobody proved to be alive
// within its lease (proven).
const keyRenewed = "renewed"

// renewals is what a Node remembers of the group between two looks.
type renewals struct {
	folded int64 // when this gateway last told, by Node.clock; by one goroutine

	turn  turn  // for the rest
	read  int64 // when the group was last read, by Node.clock
	known map[ClientID]renewal
}

// A renewal is a part as it was read.
type renewal struct {
	value []byte
	since int64 // it was written after that, by Node.clock; never if that is not known
}

// never is a time before all others.
const never = math.MinInt64 / 2

func (f *renewals) init() {
	f.turn = newTurn()
	f.read = never
}

// grace is how long after its lease a client counts as late.
func (n *Node) grace() int64 {
	if n.cfg.Shared {
		return int64(n.cfg.Lease) / 2
	}
	return 0
}

// back notes that a client is heard of, before its request has any effect. The
// store learns first of one that may count as late somewhere. The errors are
// ErrBadSession, ErrExpired and ErrAdminRevoked for a client that is no more, and
// what storeError says.
func (n *Node) back(ctx context.Context, c *client) error {
	for !n.proven(c) {
		now := n.clock()
		b := &durable.Batch{Writes: []durable.Write{n.renewedWrite(c.id)}}
		c.check(b)
		err := n.commitNow(ctx, b)
		if conflict, ok := errors.AsType[*durable.Conflict](err); ok {
			for _, g := range conflict.Groups {
				if there, err := n.reload(c, g); err != nil {
					return err
				} else if !there {
					return c.ended()
				}
			}
			continue
		}
		if err != nil {
			return storeError(err)
		}
		c.proveAt(now)
	}
	n.renew(c)
	return nil
}

// proven says that a client cannot count as late anywhere.
func (n *Node) proven(c *client) bool {
	return !n.cfg.Shared || n.clock()-c.proven.Load() <= int64(n.cfg.Lease)
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
			b.Writes = append(b.Writes, n.renewedWrite(c.id))
		}
	}
	if len(b.Writes) > 0 {
		if err := n.commitNow(ctx, &b); err != nil {
			return err
		}
	}
	f.folded = now
	_, err := n.readRenewals(ctx)
	return err
}

// readRenewals reads of the clients heard of elsewhere. It returns the version of
// what it read.
func (n *Node) readRenewals(ctx context.Context) (uint64, error) {
	f := &n.renewals
	if err := f.turn.take(ctx); err != nil {
		return 0, err
	}
	defer f.turn.give()
	g, err := n.load(ctx, keyRenewed)
	if err != nil {
		return 0, err
	}
	now := n.clock()
	if now-f.read > n.grace() && f.read != never {
		n.spareAll(now - int64(n.cfg.Lease))
	}
	known := make(map[ClientID]renewal, len(g.Parts))
	for _, p := range g.Parts {
		if len(p.Name) != 8 {
			continue
		}
		id := ClientID(binary.BigEndian.Uint64([]byte(p.Name)))
		r, was := f.known[id]
		if !was || !bytes.Equal(r.value, p.Value) {
			r = renewal{p.Value, f.read}
			if c := n.clients.get(id); c != nil {
				c.renewed.Store(now)
				c.proveAt(r.since)
			}
		}
		known[id] = r
	}
	f.read, f.known = now, known
	return g.Version, nil
}

// spareAll counts every client as heard of at a time. While nobody reaches the store
// no gateway can tell whom it hears of, and has half a lease for it afterwards.
func (n *Node) spareAll(at int64) {
	for _, c := range n.clients.all() {
		for old := c.renewed.Load(); old < at && !c.renewed.CompareAndSwap(old, at); {
			old = c.renewed.Load()
		}
	}
}

// provenBefore returns a time after which a client that is not in memory yet was
// heard of somewhere.
func (n *Node) provenBefore(ctx context.Context, id ClientID) int64 {
	f := &n.renewals
	if f.turn.take(ctx) != nil {
		return never
	}
	defer f.turn.give()
	if r, ok := f.known[id]; ok {
		return r.since
	}
	return never
}

func (n *Node) renewedWrite(id ClientID) durable.Write {
	value := make([]byte, 8)
	n.cfg.Random(value)
	return durable.Write{Key: keyRenewed, Name: renewedPart(id), Value: value}
}

func renewedPart(id ClientID) string { return string(binary.BigEndian.AppendUint64(nil, uint64(id))) }
