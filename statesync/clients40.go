package statesync

import (
	"context"
	"errors"

	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// SetClientID is SETCLIENTID (RFC 7530 §16.33). The errors are
// ErrClientIDInUse, with who uses it in the result, and ErrDelay.
func (n *Node) SetClientID(ctx context.Context, a *SetClientIDArgs) (SetClientIDResult, error) {
	if len(a.ID) > nfs4.OpaqueLimit || len(a.Principal) > nfs4.OpaqueLimit {
		return SetClientIDResult{}, ErrInval
	}
	var res SetClientIDResult
	err := n.onOwner(ctx, 0, a.ID, func(o *owned) (*rules.Change, error) {
		var confirm nfs4.Verifier
		n.cfg.Random(confirm[:])
		c, verifier, ch, err := rules.SetClientID(o.known, &rules.SetID{
			ID: a.ID, Verifier: a.Verifier, Principal: a.Principal, Remote: a.Remote,
			Callback: rules.Callback{
				Program: a.CallbackProgram, NetID: a.CallbackNetID, Addr: a.CallbackAddr, Ident: a.CallbackIdent,
			},
			New: n.newID(), Confirm: confirm,
		})
		if err != nil {
			if errors.Is(err, ErrClientIDInUse) {
				cb := &o.known.Confirmed.Callback
				res.InUseNetID, res.InUseAddr = cb.NetID, cb.Addr
			}
			return nil, err
		}
		res.Client, res.Confirm = c.ID, verifier
		return ch, nil
	}, nil)
	return res, err
}

// SetClientIDConfirm is SETCLIENTID_CONFIRM (RFC 7530 §16.34). The errors are
// ErrStaleClientID, ErrClientIDInUse and ErrDelay.
func (n *Node) SetClientIDConfirm(ctx context.Context, id ClientID, confirm nfs4.Verifier, principal string) error {
	c, err := n.client(ctx, id)
	if err != nil {
		return err
	}
	rec := c.view.Load().rec
	if rec.Minor != 0 {
		return ErrStaleClientID
	}
	ended := false
	err = n.onOwner(ctx, 0, rec.Owner, func(o *owned) (*rules.Change, error) {
		ch, err := rules.SetClientIDConfirm(o.known, o.client(id), confirm, principal)
		ended = ch != nil && len(ch.Drop) > 0
		return ch, err
	}, nil)
	if err == nil && ended {
		n.endEverywhere(ctx)
	}
	if err == nil {
		err = n.back(ctx, c)
	}
	return err
}

// Renew is RENEW (RFC 7530 §16.31). The errors are ErrStaleClientID,
// ErrExpired, ErrPermission and ErrDelay.
func (n *Node) Renew(ctx context.Context, id ClientID, principal string) error {
	_, err := n.live40(ctx, id)
	return err
}
