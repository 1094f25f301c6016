package statesync

import (
	"context"
	"errors"

	"holdfast/internal/moment"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// CheckIO says whether I/O with a stateid may go on (RFC 8881 §8.2.3, §9.1.2;
// RFC 7530 §9.1.6). c is 0 in NFSv4.0, where the stateid alone tells whose it is and
// renews the lease. access is nfs4.ShareAccessRead, …Write or both. since is the
// moment as of which the stateid has to be known (fresh.go); once it is, no store is
// asked.
//
// The errors are ErrBadStateid, ErrOldStateid, ErrExpired, ErrOpenMode,
// ErrLocked and ErrDelay.
func (n *Node) CheckIO(ctx context.Context, c ClientID, f FileKey, s nfs4.Stateid, access uint32, since uint64) (IOResult, error) {
	var io rules.IO
	var verdict error
	ref := rules.Ref{Stateid: s, Client: c, Minor0: c == 0}
	check := func(st *rules.File) { io, verdict = st.CheckIO(ref, access, n.dead) }
	switch {
	case !n.cfg.Shared:
		since = 0 // nobody else changes anything
	case s.IsSpecial():
		since = moment.Next() // it is about everybody's opens
	}
	if err := n.recall(ctx, f, s, since); err != nil {
		return IOResult{}, err
	}
	e := n.files.get(f)
	if e == nil || !e.read(check) {
		known, err := n.checkSome(ctx, f, s.Other, since, func(st *rules.File) error { check(st); return verdict })
		if err == nil && !known {
			err = n.view(ctx, f, check)
		}
		if err != nil {
			return IOResult{}, err
		}
	} else {
		e.used.Store(n.clock())
	}
	if c != 0 && n.dead(c) {
		return IOResult{}, ErrBadStateid // revoked while the request was under way
	}
	if verdict != nil {
		if err := n.checkAgain(ctx, f, check, &verdict); err != nil {
			return IOResult{}, err
		}
	}
	if verdict != nil {
		if c == 0 && errors.Is(verdict, ErrBadStateid) && !n.known(f, s) {
			verdict = n.unknownAnywhere(ctx, s.Other)
		}
		return IOResult{}, verdict
	}
	if c == 0 && !io.Special {
		if err := n.renew40(ctx, io.Client); err != nil {
			return IOResult{}, err
		}
	}
	return IOResult{Special: io.Special, UID: io.UID, Access: io.Access, Client: io.Client}, nil
}

// checkAgain asks again whatever may have been judged by what is not so any
// more: late clients give way, and other gateways may have changed the file.
func (n *Node) checkAgain(ctx context.Context, f FileKey, check func(*rules.File), verdict *error) error {
	for {
		late, err := n.giveWay(ctx, inTheWay(*verdict))
		if err != nil {
			return err
		}
		if !late {
			break
		}
		if err := n.view(ctx, f, check); err != nil {
			return err
		}
	}
	if *verdict == nil || !n.cfg.Shared {
		return nil
	}
	return n.viewNow(ctx, f, check)
}

// recall freshens a file that is in memory as a whole.
func (n *Node) recall(ctx context.Context, key FileKey, s nfs4.Stateid, since uint64) error {
	f := n.files.get(key)
	if f == nil || f.known(since) || !f.known(0) {
		return nil // checkSome and view ask the store
	}
	if !s.IsSpecial() && n.stillAway() {
		return nil
	}
	err := n.freshen(ctx, key, since)
	if !s.IsSpecial() && away(err) {
		n.out.Store(true)
		return nil
	}
	return err
}

// stillAway says that the store was out of reach when it was last asked for a file's version, and that the lease of this
// gateway was not renewed since: then reading and writing do not wait for it again.
func (n *Node) stillAway() bool {
	if !n.out.Load() {
		return false
	}
	n.members.mu.Lock()
	overdue := n.overdue(n.clock())
	n.members.mu.Unlock()
	if !overdue {
		n.out.Store(false)
	}
	return overdue
}

// known says that a stateid stands for something on the file.
func (n *Node) known(f FileKey, s nfs4.Stateid) (found bool) {
	if e := n.files.get(f); e != nil {
		e.read(func(st *rules.File) { _, found = st.Find(s.Other) })
	}
	return found
}

// renew40 renews the lease of a client by its use of a stateid.
func (n *Node) renew40(ctx context.Context, id ClientID) error {
	if c := n.clients.get(id); c != nil && !c.gone.Load() {
		return n.back(ctx, c)
	}
	_, err := n.live40(ctx, id)
	if errors.Is(err, ErrStaleClientID) {
		err = ErrExpired
	}
	return err
}

// ConflictsWithDeny says whether an open denies I/O without a stateid. The
// error is ErrLocked or ErrDelay.
func (n *Node) ConflictsWithDeny(ctx context.Context, f FileKey, access uint32) error {
	_, err := n.CheckIO(ctx, 0, f, nfs4.AnonymousStateid, access, 0)
	return err
}
