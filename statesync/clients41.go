package statesync

import (
	"context"
	"fmt"
	"slices"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// ExchangeID is EXCHANGE_ID (RFC 8881 §18.35). The errors are
// ErrClientIDInUse, ErrNoEnt, ErrNotSame, ErrPermission, ErrResource and
// ErrDelay.
func (n *Node) ExchangeID(ctx context.Context, a *ExchangeIDArgs) (ExchangeIDResult, error) {
	if len(a.Owner) == 0 || len(a.Owner) > nfs4.OpaqueLimit || len(a.Principal) > nfs4.OpaqueLimit {
		return ExchangeIDResult{}, ErrInval
	}
	var named *rules.Client
	err := n.onOwner(ctx, max(a.Minor, 1), a.Owner, func(o *owned) (ch *rules.Change, err error) {
		named, ch, err = rules.ExchangeID(o.known, &rules.Exchange{
			Owner: a.Owner, Verifier: a.Verifier, Principal: a.Principal, Minor: max(a.Minor, 1),
			Update: a.Flags&nfs4.ExchgUpdConfirmedRecA != 0,
			Impl:   a.ImplName, Remote: a.Remote, New: n.newID(),
		})
		return ch, err
	}, nil)
	if err != nil {
		return ExchangeIDResult{}, err
	}
	res := ExchangeIDResult{
		Client:   named.ID,
		Sequence: named.Sequence + 1,
		Flags:    nfs4.ExchgUseNonPNFS,
	}
	if named.Confirmed {
		res.Flags |= nfs4.ExchgConfirmedR
	}
	return res, nil
}

// CreateSession is CREATE_SESSION (RFC 8881 §18.36). The errors are
// ErrStaleClientID, ErrSeqMisordered, ErrClientIDInUse, ErrTooSmall,
// ErrResource and ErrDelay. PERSIST is granted when it is asked for.
func (n *Node) CreateSession(ctx context.Context, a *CreateSessionArgs) (CreateSessionResult, error) {
	c, err := n.client(ctx, a.Client)
	if err != nil {
		return CreateSessionResult{}, err
	}
	rec := c.view.Load().rec
	var before instances
	if n.cfg.Shared {
		if before, err = n.instancesNow(ctx); err != nil {
			return CreateSessionResult{}, storeError(err)
		}
	}
	var created rules.Created
	var made *rules.Session
	ended := false
	err = n.onOwner(ctx, rec.Minor, rec.Owner, func(o *owned) (ch *rules.Change, err error) {
		created, made, ch, err = rules.CreateSession(o.known, o.client(a.Client), &rules.NewSession{
			ID: n.newSessionID(a.Client), Sequence: a.Sequence, Flags: a.Flags, Fore: a.Fore, Back: a.Back,
			CallbackProgram: a.CallbackProgram, CallbackSec: a.CallbackSec, Principal: a.Principal, Ended: before.ended,
		}, n.sessionLimits())
		ended = ch != nil && len(ch.Drop) > 0
		return ch, err
	}, func(b *durable.Batch) {
		if made == nil {
			return
		}
		key := sessionKey(made.ID)
		b.Checks = append(b.Checks, durable.Check{Key: key})
		b.Writes = append(b.Writes, durable.Write{Key: key, Value: made.Encode()})
	})
	if err == nil {
		err = created.Err.Error()
	}
	if err != nil {
		return CreateSessionResult{}, err
	}
	if ended { // an earlier incarnation of the client, with its sessions
		n.endEverywhere(ctx)
	}
	if c, err := n.client(ctx, a.Client); err == nil {
		if made != nil {
			n.putSession(c, made, 1, true)
		}
		if err := n.back(ctx, c); err != nil {
			return CreateSessionResult{}, err
		}
	}
	return CreateSessionResult{
		Session: created.Session, Sequence: created.Sequence, Flags: created.Flags,
		Fore: created.Fore, Back: created.Back,
	}, nil
}

// DestroySession is DESTROY_SESSION (RFC 8881 §18.37). The error is
// ErrBadSession or ErrDelay.
func (n *Node) DestroySession(ctx context.Context, id nfs4.SessionID) error {
	s, err := n.session(ctx, id, 0)
	if err != nil {
		return err
	}
	rec := s.client.view.Load().rec
	found := false
	err = n.onOwner(ctx, rec.Minor, rec.Owner, func(o *owned) (*rules.Change, error) {
		c := o.client(s.client.id)
		if found = c != nil && slices.Contains(c.Sessions, id); !found {
			return nil, nil
		}
		return rules.Keep(o.known, rules.DestroySession(c, id)), nil
	}, func(b *durable.Batch) {
		b.Forget = append(b.Forget, sessionKey(id))
		n.endedWrite(b, 's', id[:])
		for i := range s.info.Fore.MaxSlots {
			b.Forget = append(b.Forget, slotKey(id, i))
		}
	})
	if err != nil {
		return err
	}
	n.dropSession(s)
	if !found {
		return ErrBadSession
	}
	n.endEverywhere(ctx)
	return nil
}

// DestroyClientID is DESTROY_CLIENTID (RFC 8881 §18.50). The errors are
// ErrClientIDBusy, ErrStaleClientID and ErrDelay.
func (n *Node) DestroyClientID(ctx context.Context, id ClientID) error {
	c, err := n.client(ctx, id)
	if err != nil {
		return err
	}
	if c.minor0() {
		return ErrStaleClientID
	}
	rec := c.view.Load().rec
	return n.onOwner(ctx, rec.Minor, rec.Owner, func(o *owned) (*rules.Change, error) {
		rec := o.client(id)
		if rec == nil {
			return nil, ErrStaleClientID
		}
		if len(rec.Sessions) > 0 {
			return nil, ErrClientIDBusy
		}
		has, err := n.hasState(ctx, id)
		if err != nil {
			return nil, err
		}
		if has {
			return nil, ErrClientIDBusy
		}
		return rules.Remove(o.known, rec, false), nil
	}, nil)
}

// ReclaimComplete is RECLAIM_COMPLETE (RFC 8881 §18.51). For a single file
// system there is nothing to note: nothing is ever to be reclaimed.
func (n *Node) ReclaimComplete(ctx context.Context, req *Request, oneFS bool) error {
	if oneFS || req.client == nil {
		return nil
	}
	c := req.client
	by := fmt.Sprintf("%s %d", req.entry.key, req.sequence)
	rec := c.view.Load().rec
	if next, err := rules.ReclaimComplete(rec, by); next == nil {
		return err
	}
	gone := false
	err := n.onOwner(ctx, rec.Minor, rec.Owner, func(o *owned) (*rules.Change, error) {
		rec := o.client(c.id)
		if gone = rec == nil; gone {
			return nil, nil
		}
		next, err := rules.ReclaimComplete(rec, by)
		if next == nil {
			return nil, err
		}
		return rules.Keep(o.known, next), nil
	}, nil)
	if gone && err == nil {
		return c.ended()
	}
	return err
}
