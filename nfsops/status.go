package nfsops

import (
	"context"
	"errors"

	"holdfast/durable"
	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// statusTable maps errors to nfsstat4. The first that matches counts.
var statusTable = []struct {
	err    error
	status nfs4.Status
}{
	{errAttrNotSupp, nfs4.ErrAttrNotSupp},
	{export.ErrNotExist, nfs4.ErrNoEnt},
	{export.ErrAccess, nfs4.ErrAccess},
	{export.ErrPerm, nfs4.ErrPerm},
	{export.ErrExist, nfs4.ErrExist},
	{export.ErrStale, nfs4.ErrStale},
	{export.ErrBadHandle, nfs4.ErrBadHandle},
	{export.ErrNotDir, nfs4.ErrNotDir},
	{export.ErrIsDir, nfs4.ErrIsDir},
	{export.ErrInval, nfs4.ErrInval},
	{export.ErrSymlink, nfs4.ErrSymlink},
	{export.ErrWrongType, nfs4.ErrInval},
	{export.ErrNotEmpty, nfs4.ErrNotEmpty},
	{export.ErrNameTooLong, nfs4.ErrNameTooLong},
	{export.ErrBadName, nfs4.ErrBadName},
	{export.ErrReadOnly, nfs4.ErrROFS},
	{export.ErrNoSpace, nfs4.ErrNoSpc},
	{export.ErrQuota, nfs4.ErrDQuot},
	{export.ErrFBig, nfs4.ErrFBig},
	{export.ErrXDev, nfs4.ErrXDev},
	{export.ErrTooManyLink, nfs4.ErrMLink},
	{export.ErrNotSupp, nfs4.ErrNotSupp},
	{export.ErrNoXattr, nfs4.ErrNoXattr},
	{export.ErrXattrTooBig, nfs4.ErrXattr2Big},
	{export.ErrNXIO, nfs4.ErrNXIO},
	{export.ErrBadCookie, nfs4.ErrBadCookie},
	{export.ErrTooSmall, nfs4.ErrTooSmall},
	{export.ErrBusy, nfs4.ErrFileOpen},
	{export.ErrAgain, nfs4.ErrDelay},
	{export.ErrIO, nfs4.ErrIO},

	{statesync.ErrBadStateid, nfs4.ErrBadStateid},
	{statesync.ErrOldStateid, nfs4.ErrOldStateid},
	{statesync.ErrStaleStateid, nfs4.ErrStaleStateid},
	{statesync.ErrExpired, nfs4.ErrExpired},
	{statesync.ErrAdminRevoked, nfs4.ErrAdminRevoked},
	{statesync.ErrOpenMode, nfs4.ErrOpenMode},
	{statesync.ErrShareDenied, nfs4.ErrShareDenied},
	{statesync.ErrLocked, nfs4.ErrLocked},
	{statesync.ErrLockRange, nfs4.ErrLockRange},
	{statesync.ErrLocksHeld, nfs4.ErrLocksHeld},
	{statesync.ErrBadRange, nfs4.ErrBadRange},
	{statesync.ErrInval, nfs4.ErrInval},
	{statesync.ErrGrace, nfs4.ErrGrace},
	{statesync.ErrNoGrace, nfs4.ErrNoGrace},
	{statesync.ErrReclaimBad, nfs4.ErrReclaimBad},
	{statesync.ErrStaleClientID, nfs4.ErrStaleClientID},
	{statesync.ErrClientIDInUse, nfs4.ErrClIDInUse},
	{statesync.ErrClientIDBusy, nfs4.ErrClientIDBusy},
	{statesync.ErrNotSame, nfs4.ErrNotSame},
	{statesync.ErrNoEnt, nfs4.ErrNoEnt},
	{statesync.ErrPermission, nfs4.ErrPerm},
	{statesync.ErrCompleteAlready, nfs4.ErrCompleteAlready},
	{statesync.ErrBadSession, nfs4.ErrBadSession},
	{statesync.ErrBadSlot, nfs4.ErrBadSlot},
	{statesync.ErrBadHighSlot, nfs4.ErrBadHighSlot},
	{statesync.ErrSeqMisordered, nfs4.ErrSeqMisordered},
	{statesync.ErrSeqFalseRetry, nfs4.ErrSeqFalseRetry},
	{statesync.ErrRetryUncachedReply, nfs4.ErrRetryUncachedRep},
	{statesync.ErrBadSeqid, nfs4.ErrBadSeqid},
	{statesync.ErrTooSmall, nfs4.ErrTooSmall},
	{statesync.ErrTooManyOps, nfs4.ErrTooManyOps},
	{statesync.ErrRequestTooBig, nfs4.ErrReqTooBig},
	{statesync.ErrDelay, nfs4.ErrDelay},
	{statesync.ErrConnNotBound, nfs4.ErrConnNotBoundToSession},
	{statesync.ErrBackchannelBusy, nfs4.ErrBackChanBusy},
	{statesync.ErrServerFault, nfs4.ErrServerFault},

	{durable.ErrUnavailable, nfs4.ErrDelay},
	{durable.ErrUnknown, nfs4.ErrDelay},

	{xdr.ErrShort, nfs4.ErrBadXDR},
	{xdr.ErrBound, nfs4.ErrBadXDR},
	{xdr.ErrValue, nfs4.ErrBadXDR},
}

// fail is the status of an operation that ended with err. An error that says
// that the gateway may not serve, or that nobody waits any more, leaves the
// request without an answer. What is not in the table is logged: it is a
// fault of the server or of the storage.
func (c *compound) fail(err error) nfs4.Status {
	if err == nil {
		return nfs4.OK
	}
	if errors.Is(err, statesync.ErrFenced) || errors.Is(err, context.Canceled) || errors.Is(err, durable.ErrClosed) {
		c.gone = c.unanswered(err)
		return nfs4.ErrDelay
	}
	if errors.Is(err, statesync.ErrDuplicate) {
		if !c.admitted() {
			c.gone = c.unanswered(err)
		}
		return c.status
	}
	var denied *statesync.LockDenied
	if errors.As(err, &denied) {
		return nfs4.ErrDenied
	}
	if errors.Is(err, statesync.ErrResource) || errors.Is(err, durable.ErrFull) {
		// 4.1 forbids NFS4ERR_RESOURCE (RFC 8881 §15.2 lists it for no operation).
		return c.pick(nfs4.ErrResource, nfs4.ErrDelay)
	}
	for i := range statusTable {
		if errors.Is(err, statusTable[i].err) {
			return statusTable[i].status
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nfs4.ErrDelay
	}
	c.srv.log.Error("operation failed", "op", c.op.String(), "error", err)
	return nfs4.ErrServerFault
}
