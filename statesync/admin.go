package statesync

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"holdfast/durable"
	"holdfast/statesync/rules"
)

// Clients returns every client in the store, by id. Renewed is when this
// gateway heard of it last.
func (n *Node) Clients(ctx context.Context) ([]ClientInfo, error) {
	var ids []ClientID
	if err := n.store.Scan(ctx, prefixClient, func(g durable.Group) bool {
		if id, ok := clientOf(prefixClient, g.Key); ok {
			ids = append(ids, id)
		}
		return true
	}); err != nil {
		return nil, storeError(err)
	}
	infos := make([]ClientInfo, 0, len(ids))
	for _, id := range ids {
		c, err := n.client(ctx, id)
		if errors.Is(err, ErrStaleClientID) {
			continue
		}
		if err != nil {
			return nil, err
		}
		info, err := n.describe(ctx, c)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b ClientInfo) int { return cmp.Compare(a.ID, b.ID) })
	return infos, nil
}

func (n *Node) describe(ctx context.Context, c *client) (ClientInfo, error) {
	rec := c.view.Load().rec
	info := ClientInfo{
		ID: c.id, Owner: rec.Owner, Principal: rec.Principal, Minor: rec.Minor, Confirmed: rec.Confirmed,
		Remote: rec.Remote, Impl: rec.Impl,
		Renewed:  n.base.Add(time.Duration(c.renewed.Load())),
		Courtesy: n.expired(c),
		Sessions: len(rec.Sessions),
	}
	g, err := n.load(ctx, statesKey(c.id))
	if err != nil {
		return info, storeError(err)
	}
	for _, p := range g.Parts {
		switch {
		case len(p.Name) == 0 || p.Name[0] != partState || len(p.Name) != 13:
		case isLock([12]byte([]byte(p.Name[1:]))):
			info.Locks++
		default:
			info.Opens++
		}
	}
	return info, nil
}

// Locks returns every open and every locked byte range in the store.
func (n *Node) Locks(ctx context.Context) ([]LockInfo, error) {
	var infos []LockInfo
	var damaged error
	err := n.store.Scan(ctx, prefixFile, func(g durable.Group) bool {
		st, err := rules.DecodeFile(g.Parts)
		if err != nil {
			damaged = err
			return false
		}
		key := FileKey(g.Key[len(prefixFile):])
		st.Each(func(i rules.Info) bool {
			infos = append(infos, LockInfo{
				File: key, Client: i.Client, Owner: i.Owner, Lock: i.Lock, Access: i.Access, Deny: i.Deny,
				Offset: i.Offset, Length: i.Length, Write: i.Write,
			})
			return true
		})
		return true
	})
	if err == nil {
		err = damaged
	}
	return infos, storeError(err)
}

// Evict takes everything away from a client, as an administrator asks. The
// error is ErrStaleClientID or ErrDelay.
func (n *Node) Evict(ctx context.Context, id ClientID) error {
	c, err := n.client(ctx, id)
	if err != nil {
		return err
	}
	c.evicted.Store(true)
	if err := n.remove(ctx, c, true, func(*rules.Client) bool { return true }); err != nil {
		return err
	}
	n.stats.revoked.Add(1)
	n.log.Info("client evicted", "client", uint64(id))
	return nil
}
