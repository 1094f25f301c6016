package rules

import "errors"

// FileKey names a file in the shared state: the filehandle as it is on the
// wire, the same bytes on every gateway.
type FileKey string

// ClientID is a clientid4. 0 is never given out.
type ClientID uint64

// Errors of the state. Each stands for the nfsstat4 of the same name.
var (
	ErrBadStateid         = errors.New("bad stateid")
	ErrOldStateid         = errors.New("old stateid")
	ErrStaleStateid       = errors.New("stale stateid")
	ErrExpired            = errors.New("state expired")
	ErrAdminRevoked       = errors.New("state revoked by the administrator")
	ErrOpenMode           = errors.New("file not open for this access")
	ErrShareDenied        = errors.New("share reservation denied")
	ErrLocked             = errors.New("conflicts with a share reservation")
	ErrLockRange          = errors.New("lock range not supported")
	ErrLocksHeld          = errors.New("locks are held")
	ErrBadRange           = errors.New("lock range out of bounds")
	ErrInval              = errors.New("invalid argument")
	ErrGrace              = errors.New("reclaim not complete")
	ErrNoGrace            = errors.New("no grace period")
	ErrReclaimBad         = errors.New("reclaim not possible")
	ErrStaleClientID      = errors.New("stale clientid")
	ErrClientIDInUse      = errors.New("clientid in use by another principal")
	ErrClientIDBusy       = errors.New("client holds state")
	ErrNotSame            = errors.New("client owner and verifier are not those of the record")
	ErrNoEnt              = errors.New("no confirmed record")
	ErrPermission         = errors.New("not permitted for this principal")
	ErrCompleteAlready    = errors.New("reclaim complete already")
	ErrBadSession         = errors.New("bad session")
	ErrBadSlot            = errors.New("bad slot")
	ErrBadHighSlot        = errors.New("bad high slot")
	ErrSeqMisordered      = errors.New("sequence misordered")
	ErrSeqFalseRetry      = errors.New("sequence false retry")
	ErrRetryUncachedReply = errors.New("retry of a reply that was not kept")
	ErrBadSeqid           = errors.New("bad owner sequence")
	ErrTooManyOps         = errors.New("more operations than the session allows")
	ErrRequestTooBig      = errors.New("request larger than the session allows")
	ErrTooSmall           = errors.New("channel attributes too small")
	ErrResource           = errors.New("limit reached")
	ErrDelay              = errors.New("try again later")
	ErrConnNotBound       = errors.New("connection not bound to session")
	ErrBackchannelBusy    = errors.New("backchannel busy")
	ErrServerFault        = errors.New("state cannot be decoded")
	ErrFenced             = errors.New("gateway may not serve")
)

// A LockDenied is the error of Lock and TestLock when another owner's lock
// stands in the way (LOCK4denied).
type LockDenied struct {
	Offset, Length uint64
	Write          bool
	Client         ClientID
	Owner          []byte
}

func (*LockDenied) Error() string { return "lock denied" }
