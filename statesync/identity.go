package statesync

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync/rules"
)

// owned is a client owner with its clients, as read for one transaction.
type owned struct {
	key     string // of the ident group
	version uint64
	known   rules.Known

	// versions of the clients' groups, by id.
	versions map[ClientID]uint64

	// late are checks that a client that counts as late is so everywhere.
	late []durable.Check
}

// client returns one of the owner's clients, nil if id is none of them.
func (o *owned) client(id ClientID) *rules.Client {
	for _, c := range []*rules.Client{o.known.Confirmed, o.known.Unconfirmed} {
		if c != nil && c.ID == id {
			return c
		}
	}
	return nil
}

// onOwner runs a transaction over the clients of a client owner. decide is
// called with what the store holds, perhaps several times; a nil Change
// commits nothing. extra adds to the batch what else goes with it.
func (n *Node) onOwner(ctx context.Context, minor uint32, name []byte, decide func(*owned) (*rules.Change, error), extra func(*durable.Batch)) error {
	key := identKey(minor, name)
	if err := n.idents.take(ctx, key); err != nil {
		return err
	}
	defer n.idents.give(key)
	for {
		o, err := n.loadOwned(ctx, key)
		if err != nil {
			return err
		}
		ch, err := decide(o)
		if err != nil || ch == nil {
			return err
		}
		if len(ch.Put) > 0 && o.client(ch.Put[0].ID) == nil && n.clients.len() >= n.cfg.Limits.Clients+len(ch.Drop) {
			return ErrResource
		}
		b := n.changeBatch(o, ch)
		if extra != nil {
			extra(b)
		}
		err = n.commitNow(ctx, b)
		if _, ok := errors.AsType[*durable.Conflict](err); ok {
			continue
		}
		if err != nil {
			if errors.Is(err, durable.ErrUnknown) {
				n.dropped(ch) // whether they went is read again
			}
			return storeError(err)
		}
		n.changed(o, ch)
		if slices.ContainsFunc(b.Writes, func(w durable.Write) bool { return w.Key == keyEnded }) {
			n.publish(encodeMessage(msgEnded, 0))
		}
		return nil
	}
}

func (n *Node) loadOwned(ctx context.Context, key string) (*owned, error) {
	g, err := n.load(ctx, key)
	if err != nil {
		return nil, storeError(err)
	}
	o := &owned{key: key, version: g.Version, versions: make(map[ClientID]uint64)}
	value := head(g)
	if value == nil {
		return o, nil
	}
	id, err := rules.DecodeIdent(value)
	if err != nil {
		return nil, err
	}
	get := func(id ClientID) (*rules.Client, error) {
		if id == 0 {
			return nil, nil
		}
		g, err := n.load(ctx, clientKey(id))
		if err != nil {
			return nil, storeError(err)
		}
		o.versions[id] = g.Version
		if head(g) == nil {
			return nil, nil
		}
		return rules.DecodeClient(head(g))
	}
	if o.known.Confirmed, err = get(id.Confirmed); err != nil {
		return nil, err
	}
	if o.known.Unconfirmed, err = get(id.Unconfirmed); err != nil {
		return nil, err
	}
	if conf := o.known.Confirmed; conf != nil {
		if o.known.Idle, err = n.idle(ctx, o, conf); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// idle says that a client has no state, or that its lease ran out. What relies on
// that then fails if another gateway hears of the client before.
func (n *Node) idle(ctx context.Context, o *owned, rec *rules.Client) (bool, error) {
	c, err := n.client(ctx, rec.ID)
	switch {
	case errors.Is(err, ErrStaleClientID):
		return true, nil
	case err != nil:
		return false, err
	case n.expired(c) && n.cfg.Shared:
		version, err := n.readRenewals(ctx)
		if err != nil {
			return false, storeError(err)
		}
		o.late = []durable.Check{{Key: keyRenewed, Version: version}}
	}
	switch {
	case n.expired(c):
		return true, nil
	case len(rec.Sessions) > 0:
		return false, nil
	}
	has, err := n.hasState(ctx, c.id)
	return !has, err
}

// hasState says whether a client has any stateid.
func (n *Node) hasState(ctx context.Context, id ClientID) (bool, error) {
	g, err := n.load(ctx, statesKey(id))
	if err != nil {
		return false, storeError(err)
	}
	for _, p := range g.Parts {
		if len(p.Name) > 0 && p.Name[0] == partState {
			return true, nil
		}
	}
	return false, nil
}

// changeBatch is the batch that carries out ch. A client that goes leaves a
// record of what it had, so that its remains can be found.
func (n *Node) changeBatch(o *owned, ch *rules.Change) *durable.Batch {
	b := &durable.Batch{Checks: append([]durable.Check{{Key: o.key, Version: o.version}}, o.late...)}
	for id, version := range o.versions {
		b.Checks = append(b.Checks, durable.Check{Key: clientKey(id), Version: version})
	}
	for _, rec := range ch.Put {
		key := clientKey(rec.ID)
		if _, known := o.versions[rec.ID]; !known {
			b.Checks = append(b.Checks, durable.Check{Key: key})
		}
		b.Writes = append(b.Writes, durable.Write{Key: key, Value: rec.Encode()})
	}
	for _, id := range ch.Drop {
		b.Forget = append(b.Forget, clientKey(id))
		n.endedWrite(b, 'c', binary.BigEndian.AppendUint64(nil, uint64(id)))
		if rec := o.client(id); rec != nil {
			left := remains{revoked: ch.Revoked && rec.Minor == 0, sessions: rec.Sessions}
			b.Writes = append(b.Writes, durable.Write{Key: goneKey(id), Value: left.encode()})
		}
	}
	if ch.Ident == (rules.Ident{}) {
		b.Forget = append(b.Forget, o.key)
	} else {
		b.Writes = append(b.Writes, durable.Write{Key: o.key, Value: ch.Ident.Encode()})
	}
	return b
}

// changed brings memory to what was committed.
func (n *Node) changed(o *owned, ch *rules.Change) {
	for _, rec := range ch.Put {
		id := rec.ID
		c := n.clients.getOrMake(id, func() *client {
			c := n.newClient(id, n.clock())
			if c.fresh = o.versions[id] == 0; c.fresh {
				c.proveAt(n.clock())
			}
			c.install(rec, o.versions[id]+1) // before anybody sees it
			return c
		})
		c.install(rec, o.versions[id]+1)
	}
	n.dropped(ch)
	for _, id := range ch.Drop {
		n.toClean(id)
	}
}

// dropped takes clients that go out of memory, after whoever loads them just
// now.
func (n *Node) dropped(ch *rules.Change) {
	for _, id := range ch.Drop {
		key := clientKey(id)
		if n.loading.take(context.Background(), key) != nil {
			continue
		}
		if c := n.clients.get(id); c != nil {
			n.forget(c)
		}
		n.loading.give(key)
	}
}

// A remains record holds, of a client that went, what the cleaner must know:
//
//	u32 format · u32 flags (1 revoked, 2 cleaned) · n × sessionid
//
// That of a revoked NFSv4.0 client stays for a while after its remains are cleaned
// up, so that the client is told NFS4ERR_EXPIRED.
type remains struct {
	revoked, cleaned bool
	sessions         []nfs4.SessionID
}

const (
	remainsFormat  = 1
	remainsRevoked = 1
	remainsCleaned = 2
	maxSessions    = 4096
)

func (g *remains) encode() []byte {
	w := xdr.NewWriter(nil)
	w.Uint32(remainsFormat)
	flags := uint32(0)
	if g.revoked {
		flags |= remainsRevoked
	}
	if g.cleaned {
		flags |= remainsCleaned
	}
	w.Uint32(flags)
	w.Uint32(uint32(len(g.sessions)))
	for _, s := range g.sessions {
		s.Encode(&w)
	}
	return w.Bytes()
}

func decodeRemains(b []byte) (*remains, error) {
	r := xdr.NewReader(b)
	if format := r.Uint32(); r.Err() == nil && format != remainsFormat {
		return nil, fmt.Errorf("%w: record of a client that went has format %d", ErrServerFault, format)
	}
	flags := r.Uint32()
	g := &remains{revoked: flags&remainsRevoked != 0, cleaned: flags&remainsCleaned != 0}
	for range r.Count(maxSessions, nfs4.SessionSize) {
		g.sessions = append(g.sessions, nfs4.DecodeSessionID(&r))
	}
	if r.Err() != nil {
		return nil, fmt.Errorf("%w: record of a client that went: %w", ErrServerFault, r.Err())
	}
	return g, nil
}
