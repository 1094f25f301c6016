package statesync

import (
	"context"
	"errors"

	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// unconfirmedOwner says that OPEN must ask for OPEN_CONFIRM.
func (t *Turn) unconfirmedOwner() bool { return !t.confirmed() }

// Open is OPEN once the file is known (RFC 8881 §18.16, RFC 7530 §16.16). If the
// request had begun to create the file this is its Done. encode appends the
// result; it may be called again after Compound.Rewind.
//
// The errors are ErrShareDenied, ErrGrace, ErrNoGrace, ErrInval, ErrResource,
// ErrDelay, ErrDuplicate, and for a client that is no more ErrBadSession,
// ErrExpired or ErrStaleClientID.
func (n *Node) Open(ctx context.Context, req *Request, t *Turn, a *OpenArgs, encode func(*OpenResult)) error {
	if err := n.mayOpen(ctx, req, a); err != nil {
		return err
	}
	var st rules.OpenState
	x := &change{file: a.File, owner: a.Client, req: req, turn: t}
	if req.client != nil {
		x.owner = req.client.id
	}
	x.decide = func(on *deciding) (*rules.Delta, error) {
		return fresh(func() (d *rules.Delta, err error) {
			st, d, err = on.state.Open(&rules.OpenRequest{
				Client: x.owner, Owner: a.Owner, Access: a.Access, Deny: a.Deny, UID: a.UID,
				Unconfirmed: t.unconfirmedOwner(), NewOther: n.newOther(on.file, x.owner, false),
			}, on.dead)
			return d, err
		})
	}
	x.encode = func() {
		if t != nil && st.Made {
			t.puts[0], t.drops[0] = ownedFile{a.File, st.Stateid.Other, true}, false
		}
		encode(&OpenResult{Stateid: st.Stateid, Access: st.Access, Deny: st.Deny, NeedConfirm: st.NeedConfirm})
	}
	return n.run(ctx, x)
}

// TestOpen returns the error that Open would, without opening: an OPEN that
// truncates must know before it does. What comes between the two is found by
// Open.
func (n *Node) TestOpen(ctx context.Context, req *Request, t *Turn, a *OpenArgs) error {
	if err := n.mayOpen(ctx, req, a); err != nil {
		return err
	}
	owner := a.Client
	if req.client != nil {
		owner = req.client.id
	}
	other := n.newOther(n.file(a.File), owner, false)
	for {
		var conflict error
		if err := n.viewNow(ctx, a.File, func(st *rules.File) {
			_, _, conflict = st.Open(&rules.OpenRequest{
				Client: owner, Owner: a.Owner, Access: a.Access, Deny: a.Deny, UID: a.UID,
				Unconfirmed: t.unconfirmedOwner(), NewOther: other,
			}, n.dead)
		}); err != nil {
			return err
		}
		late, err := n.giveWay(ctx, inTheWay(conflict))
		if err != nil {
			return err
		}
		if !late {
			return conflict
		}
	}
}

// fresh runs a rule that makes a stateid, again if it happens to be one that is
// there.
func fresh(rule func() (*rules.Delta, error)) (d *rules.Delta, err error) {
	for range 8 {
		if d, err = rule(); !errors.Is(err, ErrServerFault) {
			return d, err
		}
	}
	return nil, err
}

// mayOpen checks what an OPEN claims. State is never lost, so there is nothing to
// reclaim; but a client must say that it has nothing to (RFC 8881 §18.51).
func (n *Node) mayOpen(ctx context.Context, req *Request, a *OpenArgs) error {
	switch a.Claim {
	case nfs4.ClaimNull, nfs4.ClaimFH:
		return req.reclaimed(ctx)
	case nfs4.ClaimPrevious:
		return ErrNoGrace
	case nfs4.ClaimDelegateCur, nfs4.ClaimDelegCurFH:
		return ErrBadStateid
	}
	return ErrReclaimBad
}

// reclaimed returns ErrGrace before a client's RECLAIM_COMPLETE, which may have
// gone to another gateway.
func (r *Request) reclaimed(ctx context.Context) error {
	c := r.client
	if c == nil || c.view.Load().rec.ReclaimComplete {
		return nil
	}
	if r.n.cfg.Shared {
		g, err := r.n.load(ctx, c.key)
		if err != nil {
			return storeError(err)
		}
		there, err := r.n.reload(c, g)
		switch {
		case err != nil:
			return err
		case !there:
			return c.ended()
		}
	}
	if !c.view.Load().rec.ReclaimComplete {
		return ErrGrace
	}
	return nil
}

// openOp runs a rule over an open that exists.
func (n *Node) openOp(ctx context.Context, x *change, encode func(*OpenResult), rule func(*rules.File) (rules.OpenState, *rules.Delta, error)) error {
	var st rules.OpenState
	if x.req.client != nil {
		x.owner = x.req.client.id
	}
	x.decide = func(on *deciding) (d *rules.Delta, err error) {
		st, d, err = rule(on.state)
		return d, err
	}
	x.encode = func() {
		encode(&OpenResult{Stateid: st.Stateid, Access: st.Access, Deny: st.Deny, NeedConfirm: st.NeedConfirm})
	}
	return n.run(ctx, x)
}

// OpenConfirm is OPEN_CONFIRM (RFC 7530 §16.18). The errors are ErrBadStateid,
// ErrOldStateid, ErrExpired, ErrDelay, ErrResource and ErrDuplicate.
func (n *Node) OpenConfirm(ctx context.Context, req *Request, t *Turn, f FileKey, s nfs4.Stateid, encode func(*OpenResult)) error {
	x := &change{file: f, state: s, req: req, turn: t, confirm: true}
	return n.openOp(ctx, x, encode, func(st *rules.File) (rules.OpenState, *rules.Delta, error) {
		return st.Confirm(x.ref())
	})
}

// OpenDowngrade is OPEN_DOWNGRADE (RFC 8881 §18.18). The errors are those of
// OpenConfirm and ErrInval.
func (n *Node) OpenDowngrade(ctx context.Context, req *Request, t *Turn, c ClientID, f FileKey, s nfs4.Stateid, access, deny uint32, encode func(*OpenResult)) error {
	x := &change{file: f, owner: c, state: s, req: req, turn: t}
	return n.openOp(ctx, x, encode, func(st *rules.File) (rules.OpenState, *rules.Delta, error) {
		return st.Downgrade(x.ref(), access, deny)
	})
}

// CloseFile is CLOSE (RFC 8881 §18.2). The locks of the open go with it. The
// errors are those of OpenConfirm.
func (n *Node) CloseFile(ctx context.Context, req *Request, t *Turn, c ClientID, f FileKey, s nfs4.Stateid, encode func(*OpenResult)) error {
	x := &change{file: f, owner: c, state: s, req: req, turn: t}
	if t != nil {
		t.puts[0], t.drops[0] = ownedFile{f, s.Other, true}, true
	}
	return n.openOp(ctx, x, encode, func(st *rules.File) (rules.OpenState, *rules.Delta, error) {
		return st.Close(x.ref())
	})
}
