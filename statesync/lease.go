package statesync

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"holdfast/durable"
	"holdfast/statesync/rules"
)

// sweepState is what the background work remembers from one time to the next.
type sweepState struct {
	mu      sync.Mutex // one sweep at a time
	scanned bool       // every client of the store was seen
	tombs   map[ClientID]int64
}

// background does what nobody waits for: it ends clients that are overdue,
// cleans up after those that went, and drops what is not needed any more.
func (n *Node) background(ctx context.Context) {
	defer n.wg.Done()
	tick := time.NewTicker(min(max(n.cfg.Lease/4, time.Second), 15*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-n.gone:
			if err := n.clean(ctx, id); err != nil && ctx.Err() == nil {
				n.log.Warn("remains of a client are not cleaned up yet", "client", uint64(id), "error", err)
			}
		case <-tick.C:
			if err := n.sweepAll(ctx); err != nil && ctx.Err() == nil {
				n.log.Warn("sweep of the shared state failed", "error", err)
			}
		}
	}
}

// toClean asks for a client's remains to be cleaned up. A sweep does it if this
// is lost.
func (n *Node) toClean(id ClientID) {
	select {
	case n.gone <- id:
	default:
	}
}

// sweepAll does all that is due.
func (n *Node) sweepAll(ctx context.Context) error {
	n.sweep.mu.Lock()
	defer n.sweep.mu.Unlock()
	return errors.Join(
		n.sweepClients(ctx),
		n.sweepRemains(ctx),
		n.sweepDRC(ctx),
		n.sweepNames(ctx),
		n.sweepOwners(ctx),
		n.sweepFiles(),
	)
}

// maxDeparted bounds how many clients that went are remembered.
const maxDeparted = 1 << 16

// sweepClients removes clients that nobody confirmed, and those that were late
// for so long that courtesy ends.
func (n *Node) sweepClients(ctx context.Context) error {
	if !n.sweep.scanned || n.cfg.Shared {
		if err := n.meetAll(ctx); err != nil {
			return err
		}
		n.sweep.scanned = true
	}
	if n.departed.len() > maxDeparted {
		n.departed.clear() // what still matters is found out again
	}
	now := n.clock()
	for _, c := range n.clients.all() {
		rec := c.view.Load()
		if rec == nil || c.gone.Load() {
			continue
		}
		late := now - c.renewed.Load()
		var err error
		switch {
		case !rec.rec.Confirmed && now-c.made > int64(n.cfg.Limits.UnconfirmedLife):
			err = n.remove(ctx, c, false, func(rec *rules.Client) bool { return !rec.Confirmed })
		case rec.rec.Confirmed && late > int64(n.cfg.Lease+n.cfg.Courtesy):
			err = n.revoke(ctx, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// revoke takes everything away from a client whose lease ran out, by what every
// gateway told in the store (owned.late).
func (n *Node) revoke(ctx context.Context, c *client) error {
	err := n.remove(ctx, c, true, func(*rules.Client) bool { return n.expired(c) })
	if err == nil && c.gone.Load() {
		n.stats.revoked.Add(1)
		n.log.Info("state of a client that was late is revoked", "client", uint64(c.id))
	}
	return err
}

// remove removes a client, if cond holds of its record.
func (n *Node) remove(ctx context.Context, c *client, revoked bool, cond func(*rules.Client) bool) error {
	rec := c.view.Load().rec
	there := true
	err := n.onOwner(ctx, rec.Minor, rec.Owner, func(o *owned) (*rules.Change, error) {
		rec := o.client(c.id)
		if there = rec != nil; !there || !cond(rec) {
			return nil, nil
		}
		return rules.Remove(o.known, rec, revoked), nil
	}, nil)
	if err == nil && !there {
		n.forget(c)
	}
	return err
}

// giveWay revokes the clients that stand in the way of a request, if the lease
// of every one of them ran out: they kept their state by courtesy. It returns
// false if one of them is still entitled to it.
func (n *Node) giveWay(ctx context.Context, ids []ClientID) (bool, error) {
	if len(ids) == 0 {
		return false, nil
	}
	var late []*client
	for _, id := range ids {
		c, err := n.client(ctx, id)
		switch {
		case errors.Is(err, ErrStaleClientID):
			n.departed.put(id, true)
			continue
		case err != nil:
			return false, err
		case !n.expired(c):
			return false, nil
		}
		late = append(late, c)
	}
	for _, c := range late {
		if err := n.revoke(ctx, c); err != nil {
			return false, err
		}
		if !c.gone.Load() {
			return false, nil // it came back just now
		}
	}
	if err := n.barrier(ctx); err != nil {
		return false, err
	}
	return true, nil
}

// sweepRemains cleans up after clients that went, and forgets them in the end.
func (n *Node) sweepRemains(ctx context.Context) error {
	var dirty, tombs []ClientID
	err := n.store.Scan(ctx, prefixGone, func(g durable.Group) bool {
		id, ok := clientOf(prefixGone, g.Key)
		left, err := decodeRemains(head(g))
		switch {
		case !ok || err != nil:
			n.log.Error("record of a client that went cannot be read", "key", g.Key, "error", err)
		case left.cleaned:
			tombs = append(tombs, id)
		default:
			dirty = append(dirty, id)
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, id := range dirty {
		if err := n.clean(ctx, id); err != nil {
			return err
		}
	}
	return n.bury(ctx, append(tombs, dirty...))
}

// bury forgets clients whose tombs were seen for as long as courtesy lasts.
func (n *Node) bury(ctx context.Context, tombs []ClientID) error {
	now := n.clock()
	seen := make(map[ClientID]int64, len(tombs))
	for _, id := range tombs {
		since, known := n.sweep.tombs[id]
		if !known {
			since = now
		}
		if now-since <= int64(n.cfg.Courtesy) {
			seen[id] = since
			continue
		}
		if err := n.commitNow(ctx, &durable.Batch{Forget: []string{goneKey(id)}}); err != nil {
			return err
		}
	}
	n.sweep.tombs = seen
	return nil
}

// clean removes what a client that went left behind: sessions and slots, opens
// and locks, owners, and at last the record that says so.
func (n *Node) clean(ctx context.Context, id ClientID) error {
	g, err := n.load(ctx, goneKey(id))
	if err != nil || head(g) == nil {
		return err
	}
	left, err := decodeRemains(head(g))
	if err != nil || left.cleaned {
		return err
	}
	for _, s := range left.sessions {
		if err := n.cleanSession(ctx, s); err != nil {
			return err
		}
	}
	states, err := n.load(ctx, statesKey(id))
	if err != nil {
		return err
	}
	files := make(map[FileKey]struct{})
	var owners []string
	for _, p := range states.Parts {
		switch {
		case len(p.Name) > 1 && p.Name[0] == partState:
			files[FileKey(p.Value)] = struct{}{}
		case len(p.Name) > 1 && p.Name[0] == partOwner:
			owners = append(owners, ownerKey(id, rules.OwnerKind(p.Name[1]), []byte(p.Name[2:])))
		}
	}
	for f := range files {
		if err := n.prune(ctx, f, id); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(owners, 256) {
		if err := n.commitNow(ctx, &durable.Batch{Forget: chunk}); err != nil {
			return err
		}
		for _, key := range chunk {
			n.dropOwner(key)
		}
	}
	last := durable.Batch{
		Forget: []string{statesKey(id)},
		Writes: []durable.Write{{Key: keyRenewed, Name: renewedPart(id)}},
	}
	if left.revoked {
		tomb := remains{revoked: true, cleaned: true}
		last.Writes = append(last.Writes, durable.Write{Key: goneKey(id), Value: tomb.encode()})
	} else {
		last.Forget = append(last.Forget, goneKey(id))
	}
	if err := n.commitNow(ctx, &last); err != nil {
		return err
	}
	n.departed.drop(id)
	return nil
}

// cleanSession drops the groups of a session.
func (n *Node) cleanSession(ctx context.Context, id [16]byte) error {
	g, err := n.load(ctx, sessionKey(id))
	if err != nil || head(g) == nil {
		return err
	}
	rec, err := rules.DecodeSession(head(g))
	if err != nil {
		return err
	}
	b := durable.Batch{Forget: []string{sessionKey(id)}}
	for i := range min(rec.Fore.MaxSlots, 1024) {
		b.Forget = append(b.Forget, slotKey(id, i))
	}
	return n.commitNow(ctx, &b)
}
