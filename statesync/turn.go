package statesync

import (
	"context"

	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// StateTurn takes the turn of the owner of a stateid for op: CLOSE, OPEN_CONFIRM,
// OPEN_DOWNGRADE, LOCK of an owner that has locks on the file, or LOCKU. The
// errors are ErrBadStateid, ErrExpired, ErrStaleClientID, ErrBadSeqid, ErrDelay
// and that of ctx.
func (n *Node) StateTurn(ctx context.Context, req *Request, op nfs4.Op, f FileKey, s nfs4.Stateid, seqid uint32) (*Turn, error) {
	o, err := n.ownerOf(ctx, f, s)
	if err != nil {
		return nil, err
	}
	t := &Turn{n: n, req: req}
	t.own(0, o, seqid)
	if err := t.judge(op, o, seqid); err != nil {
		t.Release()
		return nil, err
	}
	return t, nil
}

// judge compares seqid with the owner's sequence.
func (t *Turn) judge(op nfs4.Op, o *owner, seqid uint32) error {
	replay, err := o.sequence(op, seqid)
	if replay {
		t.replay(o)
	}
	return err
}

// ownerOf takes the turn of the owner of a stateid, or of one that it closed
// last.
func (n *Node) ownerOf(ctx context.Context, f FileKey, s nfs4.Stateid) (*owner, error) {
	if s.IsSpecial() {
		return nil, ErrBadStateid
	}
	var st rules.State
	found := false
	find := func(file *rules.File) { st, found = file.Find(s.Other) }
	if err := n.view(ctx, f, find); err != nil {
		return nil, err
	}
	if !found && n.cfg.Shared {
		if err := n.viewNow(ctx, f, find); err != nil {
			return nil, err
		}
	}
	if !found {
		o, err := n.whoClosed(ctx, s.Other)
		if err != nil {
			return nil, err
		}
		if o != nil {
			return n.ownerTurn(ctx, o.client, o.kind, o.name)
		}
		return nil, n.unknownState(s.Other)
	}
	if err := n.renew40(ctx, st.Client); err != nil {
		return nil, err
	}
	kind := rules.OpenOwner
	if st.Kind == rules.KindLock {
		kind = rules.LockOwner
	}
	return n.ownerTurn(ctx, st.Client, kind, st.Owner)
}

// LockOwnerTurn takes the turns of the open owner of a stateid and of a lock
// owner that locks through it for the first time: LOCK with
// open_to_lock_owner4. Both sequences advance. The errors are those of
// StateTurn.
func (n *Node) LockOwnerTurn(ctx context.Context, req *Request, f FileKey, open nfs4.Stateid, openSeqid uint32, c ClientID, name []byte, lockSeqid uint32) (*Turn, error) {
	if _, err := n.live40(ctx, c); err != nil {
		return nil, err
	}
	o, err := n.ownerOf(ctx, f, open)
	if err != nil {
		return nil, err
	}
	t := &Turn{n: n, req: req}
	t.own(0, o, openSeqid)
	if o.kind != rules.OpenOwner || o.client != c {
		t.Release()
		return nil, ErrBadStateid
	}
	if err := t.judge(nfs4.OpLock, o, openSeqid); err != nil || t.Replay != nil {
		if err != nil {
			t.Release()
			return nil, err
		}
		return t, nil
	}
	l, err := n.ownerTurn(ctx, c, rules.LockOwner, name)
	if err != nil {
		t.Release()
		return nil, err
	}
	// The lock owner may be known from another file. Its sequence goes on from
	// what the client says, since the open owner's already told that this is no
	// replay.
	t.own(1, l, lockSeqid)
	return t, nil
}
