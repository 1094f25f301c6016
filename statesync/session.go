package statesync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// A SessionInfo describes a session. It must not be changed.
type SessionInfo struct {
	ID         nfs4.SessionID
	Client     ClientID
	Minor      uint32
	Flags      uint32 // CREATE_SESSION4_FLAG_…, as granted
	Fore, Back ChannelAttrs
}

// A session is a session's record in memory, with its slots.
type session struct {
	info    SessionInfo
	key     string // of its group
	client  *client
	version uint64
	gone    atomic.Bool

	// fresh says that this node made the session: what it does not know of the
	// slots did not happen.
	fresh bool

	ended uint64       // how many instances of gateways had ended when it was made
	roams atomic.Bool  // other gateways were seen to serve it, too
	asked atomic.Int32 // how often they were asked about its slots

	slots []atomic.Pointer[entry]
}

// Session returns what is known of a session. The error is ErrBadSession or
// ErrDelay.
func (n *Node) Session(ctx context.Context, id nfs4.SessionID) (SessionInfo, error) {
	s, err := n.session(ctx, id, 0)
	if err != nil {
		return SessionInfo{}, err
	}
	return s.info, n.back(ctx, s.client)
}

// session returns a session from memory or the store. slot is the one that is most
// likely to be used next.
func (n *Node) session(ctx context.Context, id nfs4.SessionID, slot uint32) (*session, error) {
	if s := n.sessions.get(id); s != nil && !s.gone.Load() {
		return s, nil
	}
	key := sessionKey(id)
	if err := n.loading.take(ctx, key); err != nil {
		return nil, err
	}
	defer n.loading.give(key)
	if s := n.sessions.get(id); s != nil && !s.gone.Load() {
		return s, nil
	}
	g, last, err := n.loadSession(ctx, id, slot)
	if err != nil {
		return nil, err
	}
	rec, err := rules.DecodeSession(head(g))
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	c, err := n.client(ctx, rec.Client)
	if errors.Is(err, ErrStaleClientID) {
		return nil, ErrBadSession
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(c.view.Load().rec.Sessions, id) {
		// Another gateway made the session, after this one learned of the client.
		if err := n.refresh(ctx, c); err != nil {
			return nil, err
		}
		if !slices.Contains(c.view.Load().rec.Sessions, id) {
			return nil, ErrBadSession
		}
	}
	s := n.putSession(c, rec, g.Version, false)
	if slot < uint32(len(s.slots)) {
		err = s.slot(slot).found(last)
	}
	return s, err
}

// loadSession reads the records of a session and of one of its slots, and brings the client
// into memory whose it is. All of it is read at one go: a client that comes from another gateway
// waits for it. The error is ErrBadSession if there is no such session.
func (n *Node) loadSession(ctx context.Context, id nfs4.SessionID, slot uint32) (s, last durable.Group, err error) {
	keys := []string{sessionKey(id), slotKey(id, slot)}
	client := sessionClient(id)
	if n.clients.get(client) == nil {
		key := clientKey(client)
		if err := n.loading.take(ctx, key); err != nil {
			return s, last, err
		}
		defer n.loading.give(key)
		keys = append(keys, key)
	}
	groups, err := n.loadAll(ctx, keys...)
	if err != nil {
		return s, last, storeError(err)
	}
	s, last = groups[0], groups[1]
	if head(s) == nil {
		return s, last, ErrBadSession
	}
	if len(groups) > 2 && n.clients.get(client) == nil {
		// Of a client that is not there the caller is told by n.client.
		if _, err = n.adopt(ctx, client, groups[2]); errors.Is(err, ErrStaleClientID) {
			err = nil
		}
	}
	return s, last, err
}

// putSession makes a session known in memory.
func (n *Node) putSession(c *client, rec *rules.Session, version uint64, fresh bool) *session {
	s := &session{
		info: SessionInfo{
			ID: rec.ID, Client: c.id, Minor: c.view.Load().rec.Minor, Flags: rec.Flags, Fore: rec.Fore, Back: rec.Back,
		},
		key:     sessionKey(rec.ID),
		client:  c,
		version: version,
		fresh:   fresh && !n.cfg.Shared,
		ended:   rec.Ended,
		slots:   make([]atomic.Pointer[entry], min(rec.Fore.MaxSlots, 1024)),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.sessions[rec.ID]; old != nil {
		return old
	}
	if c.sessions == nil || c.gone.Load() {
		s.gone.Store(true)
		return s
	}
	if !fresh {
		c.roamed()
	}
	c.sessions[rec.ID] = s
	n.sessions.put(rec.ID, s)
	return s
}

func (n *Node) dropSession(s *session) {
	key := s.key
	if n.loading.take(context.Background(), key) != nil {
		return
	}
	defer n.loading.give(key)
	s.gone.Store(true)
	s.client.mu.Lock()
	delete(s.client.sessions, s.info.ID)
	s.client.mu.Unlock()
	n.sessions.dropIf(s.info.ID, func(t *session) bool { return t == s })
}

// slot returns the entry of a slot, which must be one of the session's.
func (s *session) slot(i uint32) *entry {
	p := &s.slots[i]
	if e := p.Load(); e != nil {
		return e
	}
	e := &entry{key: slotKey(s.info.ID, i), session: s, slot: i, loaded: s.fresh, exact: s.fresh}
	if p.CompareAndSwap(nil, e) {
		return e
	}
	return p.Load()
}
