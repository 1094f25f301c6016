package statesync

import (
	"context"
	"errors"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// TestStateid is TEST_STATEID of one stateid (RFC 8881 §18.48). The errors are
// ErrBadStateid, ErrOldStateid and ErrDelay. since is as in CheckIO.
func (n *Node) TestStateid(ctx context.Context, c ClientID, s nfs4.Stateid, since uint64) error {
	if s.IsSpecial() {
		return ErrBadStateid
	}
	f, err := n.find(ctx, c, s.Other)
	if err != nil {
		return err
	}
	if err := n.freshen(ctx, f, since); err != nil && !away(err) {
		return err
	}
	verdict := ErrBadStateid
	if err := n.view(ctx, f, func(st *rules.File) {
		_, verdict = st.Lookup(rules.Ref{Stateid: s, Client: c})
	}); err != nil {
		return err
	}
	return verdict
}

// FreeStateid is FREE_STATEID (RFC 8881 §18.38). The errors are ErrBadStateid,
// ErrOldStateid, ErrLocksHeld, ErrResource, ErrDelay, ErrDuplicate and
// ErrBadSession.
func (n *Node) FreeStateid(ctx context.Context, req *Request, c ClientID, s nfs4.Stateid, encode func()) error {
	if s.IsSpecial() {
		return ErrBadStateid
	}
	f, err := n.find(ctx, c, s.Other)
	if err != nil {
		return err // Refuse finds out whether another gateway freed it
	}
	x := &change{file: f, owner: c, state: s, req: req, encode: encode}
	x.decide = func(on *deciding) (*rules.Delta, error) { return on.state.FreeStateid(x.ref()) }
	return n.run(ctx, x)
}

// ReleaseLockOwner is RELEASE_LOCKOWNER (RFC 7530 §16.37). Running it again does
// no harm, so it leaves no trace in the request. The errors are ErrLocksHeld,
// ErrStaleClientID, ErrExpired, ErrResource and ErrDelay.
func (n *Node) ReleaseLockOwner(ctx context.Context, req *Request, c ClientID, name []byte) error {
	if _, err := n.live40(ctx, c); err != nil {
		return err
	}
	o, err := n.ownerTurn(ctx, c, rules.LockOwner, name)
	if err != nil {
		return err
	}
	defer o.turn.give()
	for f := range o.files {
		held := false
		if err := n.viewNow(ctx, f, func(st *rules.File) {
			_, err := st.ReleaseLockOwner(c, name)
			held = errors.Is(err, ErrLocksHeld)
		}); err != nil {
			return err
		}
		if held {
			return ErrLocksHeld
		}
	}
	for f := range o.files {
		if err := n.run(ctx, &change{file: f, owner: c, decide: func(on *deciding) (*rules.Delta, error) {
			return on.state.ReleaseLockOwner(c, name)
		}}); err != nil {
			return err
		}
	}
	if o.version > 0 {
		b := &durable.Batch{Checks: []durable.Check{{Key: o.key, Version: o.version}}}
		o.forgetWrites(b)
		if err := n.tried(n.commitNow(ctx, b)); err != nil {
			return err
		}
	}
	n.unload(o)
	return nil
}

// prune drops what clients that went have on a file.
func (n *Node) prune(ctx context.Context, key FileKey, id ClientID) error {
	return n.run(ctx, &change{file: key, owner: id, decide: func(on *deciding) (*rules.Delta, error) {
		return on.state.DropClient(id), nil
	}})
}

// startOver drops what an open owner that was never confirmed had opened. The
// caller has the owner's turn.
func (n *Node) startOver(ctx context.Context, o *owner) error {
	for f, other := range o.files {
		ref := rules.Ref{Stateid: nfs4.Stateid{Other: other}, Client: o.client}
		for _, rule := range []func(*rules.File) (rules.OpenState, *rules.Delta, error){
			func(st *rules.File) (rules.OpenState, *rules.Delta, error) { return st.Confirm(ref) },
			func(st *rules.File) (rules.OpenState, *rules.Delta, error) { return st.Close(ref) },
		} {
			err := n.run(ctx, &change{file: f, owner: o.client, decide: func(on *deciding) (*rules.Delta, error) {
				_, d, err := rule(on.state)
				return d, err
			}})
			if err != nil && !errors.Is(err, ErrBadStateid) {
				return err
			}
		}
	}
	if o.version > 0 {
		b := &durable.Batch{Checks: []durable.Check{{Key: o.key, Version: o.version}}, Forget: []string{o.key}}
		if err := n.commitNow(ctx, b); err != nil {
			o.loaded = false
			return storeError(err)
		}
	}
	o.version, o.exists, o.rec, o.files = 0, false, rules.Owner{}, nil
	return nil
}
