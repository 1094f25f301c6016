package statesync

import (
	"context"

	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// Lock is LOCK (RFC 8881 §18.10, RFC 7530 §16.10). encode appends the result;
// it may be called again after Compound.Rewind.
//
// The errors are *LockDenied, ErrBadStateid, ErrOldStateid, ErrOpenMode,
// ErrInval, ErrGrace, ErrNoGrace, ErrResource, ErrDelay, ErrDuplicate, and for a
// client that is no more ErrBadSession, ErrExpired or ErrStaleClientID.
func (n *Node) Lock(ctx context.Context, req *Request, t *Turn, a *LockArgs, encode func(nfs4.Stateid)) error {
	if a.Reclaim {
		return ErrNoGrace // nothing is ever lost
	}
	if err := req.reclaimed(ctx); err != nil {
		return err
	}
	if a.New && !t.confirmed() {
		return ErrBadStateid
	}
	var s nfs4.Stateid
	var made bool
	x := &change{file: a.File, owner: a.Client, state: a.Stateid, req: req, turn: t}
	if req.client != nil {
		x.owner = req.client.id
	}
	x.decide = func(on *deciding) (*rules.Delta, error) {
		return fresh(func() (d *rules.Delta, err error) {
			other := n.newOther(on.file, on.client.id, true)
			s, d, err = on.state.Lock(&rules.LockRequest{
				Ref: x.ref(), New: a.New, Owner: a.Owner, Write: a.Write, Offset: a.Offset, Length: a.Length, NewOther: other,
			}, on.dead)
			made = s.Other == other
			return d, err
		})
	}
	x.encode = func() {
		if t != nil && made {
			i := t.lockOwner()
			t.puts[i], t.drops[i] = ownedFile{a.File, s.Other, true}, false
		}
		encode(s)
	}
	return n.run(ctx, x)
}

// lockOwner is the index of the lock owner among those whose turn it is.
func (t *Turn) lockOwner() int {
	if t.held[1] != nil {
		return 1
	}
	return 0
}

// Unlock is LOCKU (RFC 8881 §18.12). The errors are those of Lock, but for
// *LockDenied and ErrOpenMode.
func (n *Node) Unlock(ctx context.Context, req *Request, t *Turn, c ClientID, f FileKey, s nfs4.Stateid, off, length uint64, encode func(nfs4.Stateid)) error {
	x := &change{file: f, owner: c, state: s, req: req, turn: t}
	if req.client != nil {
		x.owner = req.client.id
	}
	var next nfs4.Stateid
	x.decide = func(on *deciding) (d *rules.Delta, err error) {
		next, d, err = on.state.Unlock(x.ref(), off, length)
		return d, err
	}
	x.encode = func() { encode(next) }
	return n.run(ctx, x)
}

// TestLock is LOCKT (RFC 8881 §18.11): a.Owner and a.Client say who asks. The
// errors are *LockDenied, ErrInval, ErrStaleClientID, ErrExpired and ErrDelay.
func (n *Node) TestLock(ctx context.Context, a *LockArgs) error {
	c, err := n.client(ctx, a.Client)
	if err != nil {
		return err
	}
	if c.minor0() {
		if _, err := n.live40(ctx, a.Client); err != nil {
			return err
		}
	}
	for {
		var denied error
		err := n.viewNow(ctx, a.File, func(st *rules.File) {
			denied = st.TestLock(&rules.TestRequest{
				Client: a.Client, Owner: a.Owner, Write: a.Write, Offset: a.Offset, Length: a.Length,
			}, n.dead)
		})
		if err != nil {
			return err
		}
		late, err := n.giveWay(ctx, inTheWay(denied))
		if err != nil {
			return err
		}
		if !late {
			return denied
		}
	}
}
