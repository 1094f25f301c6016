package nfsops

import (
	"errors"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// replayTurn sends the result of an owner's last operation again (RFC 7530
// §9.1.9): Replay is nfsstat4 and the body.
func (c *compound) replayTurn(t *statesync.Turn) nfs4.Status {
	r := xdr.NewReader(t.Replay)
	status := nfs4.Status(r.Uint32())
	if r.Err() != nil {
		return nfs4.ErrServerFault
	}
	c.w.Truncate(c.opStart + 4)
	c.w.Raw(t.Replay)
	c.keepBody = true
	if t.ReplayFH != nil {
		c.cur.set(c, t.ReplayFH)
	}
	return status
}

// failTurn ends an operation that did not succeed. In 4.0 most errors advance
// the owner's sequence and are part of what a replay returns (RFC 7530
// §9.1.7); and whatever the request had begun ends with this result. body
// appends what follows the status, if not nil.
func (c *compound) failTurn(t *statesync.Turn, status nfs4.Status, body func()) nfs4.Status {
	if c.gone != nil || c.finished || c.jumped || c.done {
		return c.status
	}
	encode := func() {
		c.conclude(status)
		if body != nil {
			body()
		}
	}
	c.keepBody = body != nil
	var err error
	switch {
	case t != nil && advances(status):
		err = t.Fail(c.ctx, encode)
	case c.req != nil && c.req.Holds():
		err = c.req.Done(c.ctx, encode)
	default:
		encode()
		c.done = false
		return status
	}
	if err != nil {
		return c.fail(err)
	}
	return status
}

// advances says whether an error moves the owner's sequence on (RFC 7530
// §9.1.7).
func advances(status nfs4.Status) bool {
	switch status {
	case nfs4.ErrStaleClientID, nfs4.ErrStaleStateid, nfs4.ErrBadStateid, nfs4.ErrBadSeqid,
		nfs4.ErrBadXDR, nfs4.ErrResource, nfs4.ErrNoFileHandle, nfs4.ErrMoved:
		return false
	}
	return true
}

// stateTurn is admit and, in 4.0, the turn of the owner of s. ok is false if the
// operation must return status at once.
func (c *compound) stateTurn(s nfs4.Stateid, seqid uint32) (t *statesync.Turn, status nfs4.Status, ok bool) {
	if !c.admit() {
		return nil, c.status, false
	}
	if status := c.current(); status != nfs4.OK {
		return nil, status, false
	}
	if c.minor > 0 {
		return nil, nfs4.OK, true
	}
	t, err := c.srv.node.StateTurn(c.ctx, c.req, c.op, c.cur.key(), s, seqid)
	if err != nil {
		return nil, c.fail(err), false
	}
	if t.Replay != nil {
		defer t.Release()
		return nil, c.replayTurn(t), false
	}
	return t, nfs4.OK, true
}

// stateResult encodes a result that is a stateid, which becomes the current
// one.
func (c *compound) stateResult(s nfs4.Stateid) {
	c.setStateid(s)
	c.succeed()
	s.Encode(c.w)
}

func (c *compound) openResult(res *statesync.OpenResult) { c.stateResult(res.Stateid) }

// opOpenConfirm is OPEN_CONFIRM (RFC 7530 §16.18).
func opOpenConfirm(c *compound) nfs4.Status {
	s := nfs4.DecodeStateid(&c.r)
	seqid := c.r.Uint32()
	t, status, ok := c.stateTurn(s, seqid)
	if !ok {
		return status
	}
	defer t.Release()
	if err := c.srv.node.OpenConfirm(c.ctx, c.req, t, c.cur.key(), s, c.openResult); err != nil {
		return c.failTurn(t, c.fail(err), nil)
	}
	return nfs4.OK
}

// opOpenDowngrade is OPEN_DOWNGRADE (RFC 8881 §18.18).
func opOpenDowngrade(c *compound) nfs4.Status {
	s := nfs4.DecodeStateid(&c.r)
	seqid := c.r.Uint32()
	access, deny := c.r.Uint32(), c.r.Uint32()
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	s, bad := c.stateid(s)
	if c.minor > 0 {
		access &^= nfs4.WantDelegMask | nfs4.WantSignalDeleg | nfs4.WantPushDeleg
	}
	t, status, ok := c.stateTurn(s, seqid)
	if !ok {
		return status
	}
	defer t.Release()
	if bad == nfs4.OK && (access == 0 || access > nfs4.ShareAccessBoth || deny > nfs4.ShareDenyBoth) {
		bad = nfs4.ErrInval
	}
	if bad != nfs4.OK {
		return c.failTurn(t, bad, nil)
	}
	if err := c.srv.node.OpenDowngrade(c.ctx, c.req, t, c.clientID(), c.cur.key(), s, access, deny, c.openResult); err != nil {
		return c.failTurn(t, c.fail(err), nil)
	}
	return nfs4.OK
}

// opClose is CLOSE (RFC 8881 §18.2). The stateid that it returns is of no
// further use: in 4.1 and later it is the invalid one.
func opClose(c *compound) nfs4.Status {
	seqid := c.r.Uint32()
	s := nfs4.DecodeStateid(&c.r)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	s, bad := c.stateid(s)
	t, status, ok := c.stateTurn(s, seqid)
	if !ok {
		return status
	}
	defer t.Release()
	if bad != nfs4.OK {
		return c.failTurn(t, bad, nil)
	}
	key := c.cur.key()
	err := c.srv.node.CloseFile(c.ctx, c.req, t, c.clientID(), key, s, func(res *statesync.OpenResult) {
		out := res.Stateid
		if c.minor > 0 {
			out = nfs4.InvalidStateid
		}
		c.stateResult(out)
	})
	if err != nil {
		return c.failTurn(t, c.fail(err), nil)
	}
	if !c.srv.node.InUse(key) {
		c.srv.files.drop(c.cur.wire())
	}
	return nfs4.OK
}

// lockType decodes nfs_lock_type4. The blocking kinds say only that the client
// will ask again; no queue is kept for it.
func lockType(r *xdr.Reader) (write bool) {
	switch r.Uint32() {
	case nfs4.ReadLT, nfs4.ReadWLT:
		return false
	case nfs4.WriteLT, nfs4.WriteWLT:
		return true
	}
	r.Fail(xdr.ErrValue)
	return false
}

// encodeDenied is LOCK4denied.
func (c *compound) encodeDenied(d *statesync.LockDenied) {
	c.w.Uint64(d.Offset)
	c.w.Uint64(d.Length)
	if d.Write {
		c.w.Uint32(nfs4.WriteLT)
	} else {
		c.w.Uint32(nfs4.ReadLT)
	}
	c.w.Uint64(uint64(d.Client))
	c.w.Opaque(d.Owner)
}

// opLock is LOCK (RFC 8881 §18.10, RFC 7530 §16.10).
func opLock(c *compound) nfs4.Status {
	r := &c.r
	a := statesync.LockArgs{Write: lockType(r)}
	a.Reclaim = r.Bool()
	a.Offset, a.Length = r.Uint64(), r.Uint64()
	var openSeqid, seqid uint32
	if a.New = r.Bool(); a.New {
		openSeqid = r.Uint32()
		a.Stateid = nfs4.DecodeStateid(r)
		seqid = r.Uint32()
		a.Client = statesync.ClientID(r.Uint64())
		a.Owner = r.Opaque(nfs4.OpaqueLimit)
	} else {
		a.Stateid = nfs4.DecodeStateid(r)
		seqid = r.Uint32()
	}
	if r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	var bad nfs4.Status
	a.Stateid, bad = c.stateid(a.Stateid)
	var t *statesync.Turn
	if c.minor == 0 && a.New {
		if !c.admit() {
			return c.status
		}
		if status := c.current(); status != nfs4.OK {
			return status
		}
		var err error
		t, err = c.srv.node.LockOwnerTurn(c.ctx, c.req, c.cur.key(), a.Stateid, openSeqid, a.Client, a.Owner, seqid)
		if err != nil {
			return c.fail(err)
		}
		defer t.Release()
		if t.Replay != nil {
			return c.replayTurn(t)
		}
	} else {
		var status nfs4.Status
		var ok bool
		if t, status, ok = c.stateTurn(a.Stateid, seqid); !ok {
			return status
		}
		defer t.Release()
		a.Client = c.clientID()
	}
	if bad == nfs4.OK {
		bad = c.lockable()
	}
	if bad != nfs4.OK {
		return c.failTurn(t, bad, nil)
	}
	a.File = c.cur.key()
	err := c.srv.node.Lock(c.ctx, c.req, t, &a, c.stateResult)
	if err == nil {
		return nfs4.OK
	}
	var denied *statesync.LockDenied
	if errors.As(err, &denied) {
		return c.failTurn(t, nfs4.ErrDenied, func() { c.encodeDenied(denied) })
	}
	return c.failTurn(t, c.fail(err), nil)
}

// lockable checks that the current filehandle is one that can have locks. Only
// regular files are opened, so one that is open needs no look.
func (c *compound) lockable() nfs4.Status {
	if c.srv.node.InUse(c.cur.key()) {
		return nfs4.OK
	}
	if err := c.cur.fs().Getattr(c.cur.h, &c.attr); err != nil {
		return c.fail(err)
	}
	return c.regular()
}

// opLockT is LOCKT (RFC 8881 §18.11).
func opLockT(c *compound) nfs4.Status {
	r := &c.r
	a := statesync.LockArgs{Write: lockType(r), New: true}
	a.Offset, a.Length = r.Uint64(), r.Uint64()
	a.Client = statesync.ClientID(r.Uint64())
	a.Owner = r.Opaque(nfs4.OpaqueLimit)
	if r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if c.minor > 0 {
		a.Client = c.clientID()
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if status := c.lockable(); status != nfs4.OK {
		return status
	}
	a.File = c.cur.key()
	err := c.srv.node.TestLock(c.ctx, &a)
	var denied *statesync.LockDenied
	if errors.As(err, &denied) {
		c.keepBody = true
		c.encodeDenied(denied)
		return nfs4.ErrDenied
	}
	return c.fail(err)
}

// opLockU is LOCKU (RFC 8881 §18.12).
func opLockU(c *compound) nfs4.Status {
	r := &c.r
	lockType(r)
	seqid := r.Uint32()
	s := nfs4.DecodeStateid(r)
	off, length := r.Uint64(), r.Uint64()
	if r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	s, bad := c.stateid(s)
	t, status, ok := c.stateTurn(s, seqid)
	if !ok {
		return status
	}
	defer t.Release()
	if bad != nfs4.OK {
		return c.failTurn(t, bad, nil)
	}
	if err := c.srv.node.Unlock(c.ctx, c.req, t, c.clientID(), c.cur.key(), s, off, length, c.stateResult); err != nil {
		return c.failTurn(t, c.fail(err), nil)
	}
	return nfs4.OK
}

// opReleaseLockOwner is RELEASE_LOCKOWNER (RFC 7530 §16.37).
func opReleaseLockOwner(c *compound) nfs4.Status {
	client := statesync.ClientID(c.r.Uint64())
	owner := c.r.Opaque(nfs4.OpaqueLimit)
	if !c.admit() {
		return c.status
	}
	return c.fail(c.srv.node.ReleaseLockOwner(c.ctx, c.req, client, owner))
}

// maxTestStateids bounds TEST_STATEID; more than a request can hold is
// malformed anyway.
const maxTestStateids = 65536

// opTestStateid is TEST_STATEID (RFC 8881 §18.48).
func opTestStateid(c *compound) nfs4.Status {
	n := c.r.Count(maxTestStateids, 16)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if c.space() < 4+4*n {
		return c.tooBig()
	}
	c.w.Uint32(uint32(n))
	for range n {
		s := nfs4.DecodeStateid(&c.r)
		status := c.fail(c.srv.node.TestStateid(c.ctx, c.req.Client, s, c.since()))
		if c.gone != nil {
			return status
		}
		c.w.Uint32(uint32(status))
	}
	return nfs4.OK
}

// opFreeStateid is FREE_STATEID (RFC 8881 §18.38).
func opFreeStateid(c *compound) nfs4.Status {
	s := nfs4.DecodeStateid(&c.r)
	if !c.admit() {
		return c.status
	}
	s, status := c.stateid(s)
	if status != nfs4.OK {
		return status
	}
	return c.fail(c.srv.node.FreeStateid(c.ctx, c.req, c.req.Client, s, c.succeed))
}

// opDelegReturn is DELEGRETURN (RFC 8881 §18.6) of a server that granted no
// delegation.
func opDelegReturn(c *compound) nfs4.Status {
	nfs4.DecodeStateid(&c.r)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	return nfs4.ErrBadStateid
}
