package nfsops

import "holdfast/internal/nfs4"

// operations holds the handler of each operation. A handler decodes its
// arguments, runs, appends the body of its result and returns the status; the
// body is dropped if the status is an error, unless it sets keepBody. An operation
// that changes something calls admit after decoding, and encodes inside a
// transaction of statesync, beginning with succeed or conclude.
//
// What has no handler is answered NOTSUPP.
var operations [nfs4.OpLast + 1]func(*compound) nfs4.Status

// changes says which operations have an effect that must not happen twice.
var changes = [nfs4.OpLast + 1]bool{
	nfs4.OpClose: true, nfs4.OpCreate: true, nfs4.OpLink: true, nfs4.OpLock: true, nfs4.OpLockU: true,
	nfs4.OpOpen: true, nfs4.OpOpenConfirm: true, nfs4.OpOpenDowngrade: true, nfs4.OpRemove: true,
	nfs4.OpRename: true, nfs4.OpSetAttr: true, nfs4.OpReleaseLockOwner: true, nfs4.OpFreeStateid: true,
	nfs4.OpSetXattr: true, nfs4.OpRemoveXattr: true, nfs4.OpAllocate: true, nfs4.OpDeallocate: true,
	nfs4.OpCopy: true, nfs4.OpClone: true, nfs4.OpWriteSame: true,
}

// The table is filled here and not where it is declared, since handlers refer to
// what refers to it.
func init() {
	operations = [nfs4.OpLast + 1]func(*compound) nfs4.Status{
		nfs4.OpPutFH:     opPutFH,
		nfs4.OpPutRootFH: opPutRootFH,
		nfs4.OpPutPubFH:  opPutRootFH,
		nfs4.OpGetFH:     opGetFH,
		nfs4.OpSaveFH:    opSaveFH,
		nfs4.OpRestoreFH: opRestoreFH,

		nfs4.OpGetAttr:       opGetAttr,
		nfs4.OpSetAttr:       opSetAttr,
		nfs4.OpVerify:        opVerify,
		nfs4.OpNVerify:       opNVerify,
		nfs4.OpLookup:        opLookup,
		nfs4.OpLookupP:       opLookupP,
		nfs4.OpReadDir:       opReadDir,
		nfs4.OpReadLink:      opReadLink,
		nfs4.OpAccess:        opAccess,
		nfs4.OpSecInfo:       opSecInfo,
		nfs4.OpSecInfoNoName: opSecInfoNoName,
		nfs4.OpOpenAttr:      opOpenAttr,

		nfs4.OpRead:   opRead,
		nfs4.OpWrite:  opWrite,
		nfs4.OpCommit: opCommit,

		nfs4.OpCreate: opCreate,
		nfs4.OpRemove: opRemove,
		nfs4.OpRename: opRename,
		nfs4.OpLink:   opLink,

		nfs4.OpOpen:             opOpen,
		nfs4.OpOpenConfirm:      opOpenConfirm,
		nfs4.OpOpenDowngrade:    opOpenDowngrade,
		nfs4.OpClose:            opClose,
		nfs4.OpLock:             opLock,
		nfs4.OpLockT:            opLockT,
		nfs4.OpLockU:            opLockU,
		nfs4.OpReleaseLockOwner: opReleaseLockOwner,
		nfs4.OpTestStateid:      opTestStateid,
		nfs4.OpFreeStateid:      opFreeStateid,
		nfs4.OpDelegReturn:      opDelegReturn,

		nfs4.OpSeek:          opSeek,
		nfs4.OpAllocate:      opAllocate,
		nfs4.OpDeallocate:    opDeallocate,
		nfs4.OpReadPlus:      opReadPlus,
		nfs4.OpIOAdvise:      opIOAdvise,
		nfs4.OpCopy:          opCopy,
		nfs4.OpClone:         opClone,
		nfs4.OpOffloadStatus: opOffload,
		nfs4.OpOffloadCancel: opOffload,
		nfs4.OpGetXattr:      opGetXattr,
		nfs4.OpSetXattr:      opSetXattr,
		nfs4.OpListXattrs:    opListXattrs,
		nfs4.OpRemoveXattr:   opRemoveXattr,

		nfs4.OpSequence:          opSequence,
		nfs4.OpExchangeID:        opExchangeID,
		nfs4.OpCreateSession:     opCreateSession,
		nfs4.OpDestroySession:    opDestroySession,
		nfs4.OpDestroyClientID:   opDestroyClientID,
		nfs4.OpBindConnToSession: opBindConnToSession,
		nfs4.OpBackchannelCtl:    opBackchannelCtl,
		nfs4.OpReclaimComplete:   opReclaimComplete,
		nfs4.OpSetSSV:            opSetSSV,

		nfs4.OpSetClientID:        opSetClientID,
		nfs4.OpSetClientIDConfirm: opSetClientIDConfirm,
		nfs4.OpRenew:              opRenew,
	}
}
