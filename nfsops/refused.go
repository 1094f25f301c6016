package nfsops

import (
	"context"
	"errors"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// refused is called when the running operation ended with an error, and the
// COMPOUND with it. If it could have changed something, the store is told where
// there are other gateways: one of them may have an older copy of the request.
func (c *compound) refused() {
	if !c.srv.node.Shared() || !c.couldChange() {
		return
	}
	status := c.status
	if c.minor == 0 && c.req == nil && !c.admit() {
		return
	}
	if c.req == nil {
		return // of SEQUENCE itself, or before it
	}
	c.done, c.status = true, status
	err := c.req.Refuse(c.ctx)
	switch {
	case errors.Is(err, statesync.ErrDuplicate), errors.Is(err, statesync.ErrFenced), errors.Is(err, context.Canceled):
		c.done = false
		c.fail(err) // c.status is that of the other run, if there was one
	}
}

// couldChange says whether the running operation, or one of those after it that
// will not run now, changes something in a run that goes better.
func (c *compound) couldChange() bool {
	r := xdr.NewReader(c.call.Body)
	r.Seek(c.opOffset)
	for range c.nops - c.index {
		op := nfs4.Op(r.Uint32())
		switch {
		case r.Err() != nil:
			return false // no run comes further than this
		case int(op) < len(changes) && changes[op], !skipArgs(op, &r):
			return true
		}
	}
	return false
}

// skipArgs reads over the arguments of an operation that changes nothing. It
// returns false for others.
func skipArgs(op nfs4.Op, r *xdr.Reader) bool {
	stateid := func() { r.Fixed(16) }
	opaque := func() { r.Opaque(r.Remaining()) }
	switch op {
	case nfs4.OpGetFH, nfs4.OpSaveFH, nfs4.OpRestoreFH, nfs4.OpPutRootFH, nfs4.OpPutPubFH, nfs4.OpLookupP, nfs4.OpReadLink:
	case nfs4.OpPutFH, nfs4.OpLookup, nfs4.OpSecInfo, nfs4.OpGetXattr:
		opaque()
	case nfs4.OpAccess, nfs4.OpSecInfoNoName:
		r.Uint32()
	case nfs4.OpGetAttr:
		nfs4.DecodeBitmap(r)
	case nfs4.OpVerify, nfs4.OpNVerify:
		nfs4.DecodeBitmap(r)
		opaque()
	case nfs4.OpRead, nfs4.OpReadPlus, nfs4.OpSeek:
		stateid()
		r.Uint64()
		r.Uint32()
	case nfs4.OpWrite:
		stateid()
		r.Uint64()
		r.Uint32()
		opaque()
	case nfs4.OpCommit, nfs4.OpListXattrs:
		r.Uint64()
		r.Uint32()
	case nfs4.OpReadDir:
		r.Fixed(8 + 8 + 4 + 4)
		nfs4.DecodeBitmap(r)
	case nfs4.OpLockT:
		r.Uint32()
		r.Fixed(8 + 8 + 8)
		opaque()
	case nfs4.OpSequence:
		r.Fixed(nfs4.SessionSize + 4*4)
	case nfs4.OpRenew:
		r.Uint64()
	default:
		return false
	}
	return true
}
