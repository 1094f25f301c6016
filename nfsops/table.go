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

		nfs4.OpSequence:          opSequence,
		nfs4.OpExchangeID:        opExchangeID,
		nfs4.OpCreateSession:     opCreateSession,
		nfs4.OpDestroySession:    opDestroySession,
		nfs4.OpDestroyClientID:   opDestroyClientID,
		nfs4.OpBindConnToSession: opBindConnToSession,
		nfs4.OpBackchannelCtl:    opBackchannelCtl,
		nfs4.OpReclaimComplete:   opReclaimComplete,

		nfs4.OpSetClientID:        opSetClientID,
		nfs4.OpSetClientIDConfirm: opSetClientIDConfirm,
		nfs4.OpRenew:              opRenew,
	}
}
