package nfs4

import "strconv"

// An Op is an nfs_opnum4: the number of an operation of COMPOUND.
type Op uint32

// The operations of NFSv4.0 (3 to 39), 4.1 (40 to 58), 4.2 (59 to 71) and
// RFC 8276 (72 to 75).
const (
	OpAccess             Op = 3
	OpClose              Op = 4
	OpCommit             Op = 5
	OpCreate             Op = 6
	OpDelegPurge         Op = 7
	OpDelegReturn        Op = 8
	OpGetAttr            Op = 9
	OpGetFH              Op = 10
	OpLink               Op = 11
	OpLock               Op = 12
	OpLockT              Op = 13
	OpLockU              Op = 14
	OpLookup             Op = 15
	OpLookupP            Op = 16
	OpNVerify            Op = 17
	OpOpen               Op = 18
	OpOpenAttr           Op = 19
	OpOpenConfirm        Op = 20
	OpOpenDowngrade      Op = 21
	OpPutFH              Op = 22
	OpPutPubFH           Op = 23
	OpPutRootFH          Op = 24
	OpRead               Op = 25
	OpReadDir            Op = 26
	OpReadLink           Op = 27
	OpRemove             Op = 28
	OpRename             Op = 29
	OpRenew              Op = 30
	OpRestoreFH          Op = 31
	OpSaveFH             Op = 32
	OpSecInfo            Op = 33
	OpSetAttr            Op = 34
	OpSetClientID        Op = 35
	OpSetClientIDConfirm Op = 36
	OpVerify             Op = 37
	OpWrite              Op = 38
	OpReleaseLockOwner   Op = 39
	OpBackchannelCtl     Op = 40
	OpBindConnToSession  Op = 41
	OpExchangeID         Op = 42
	OpCreateSession      Op = 43
	OpDestroySession     Op = 44
	OpFreeStateid        Op = 45
	OpGetDirDelegation   Op = 46
	OpGetDeviceInfo      Op = 47
	OpGetDeviceList      Op = 48
	OpLayoutCommit       Op = 49
	OpLayoutGet          Op = 50
	OpLayoutReturn       Op = 51
	OpSecInfoNoName      Op = 52
	OpSequence           Op = 53
	OpSetSSV             Op = 54
	OpTestStateid        Op = 55
	OpWantDelegation     Op = 56
	OpDestroyClientID    Op = 57
	OpReclaimComplete    Op = 58
	OpAllocate           Op = 59
	OpCopy               Op = 60
	OpCopyNotify         Op = 61
	OpDeallocate         Op = 62
	OpIOAdvise           Op = 63
	OpLayoutError        Op = 64
	OpLayoutStats        Op = 65
	OpOffloadCancel      Op = 66
	OpOffloadStatus      Op = 67
	OpReadPlus           Op = 68
	OpSeek               Op = 69
	OpWriteSame          Op = 70
	OpClone              Op = 71
	OpGetXattr           Op = 72
	OpSetXattr           Op = 73
	OpListXattrs         Op = 74
	OpRemoveXattr        Op = 75
	OpIllegal            Op = 10044
)

// OpFirst and OpLast bound the operation numbers that any minor version
// defines, OpIllegal apart.
const (
	OpFirst = OpAccess
	OpLast  = OpRemoveXattr
)

// A CBOp is an nfs_cb_opnum4: the number of an operation of CB_COMPOUND.
type CBOp uint32

// The callback operations. NFSv4.0 knows the first two and CBIllegal only.
const (
	CBGetAttr            CBOp = 3
	CBRecall             CBOp = 4
	CBLayoutRecall       CBOp = 5
	CBNotify             CBOp = 6
	CBPushDeleg          CBOp = 7
	CBRecallAny          CBOp = 8
	CBRecallableObjAvail CBOp = 9
	CBRecallSlot         CBOp = 10
	CBSequence           CBOp = 11
	CBWantsCancelled     CBOp = 12
	CBNotifyLock         CBOp = 13
	CBNotifyDeviceID     CBOp = 14
	CBOffload            CBOp = 15
	CBIllegal            CBOp = 10044
)

// The operations' bit of presence in each minor version.
const (
	in0   = 1 << 0
	in1   = 1 << 1
	in2   = 1 << 2
	inAll = in0 | in1 | in2
)

type opInfo struct {
	name   string
	minors uint8
}

var opTable = [OpLast + 1]opInfo{
	OpAccess:             {"ACCESS", inAll},
	OpClose:              {"CLOSE", inAll},
	OpCommit:             {"COMMIT", inAll},
	OpCreate:             {"CREATE", inAll},
	OpDelegPurge:         {"DELEGPURGE", inAll},
	OpDelegReturn:        {"DELEGRETURN", inAll},
	OpGetAttr:            {"GETATTR", inAll},
	OpGetFH:              {"GETFH", inAll},
	OpLink:               {"LINK", inAll},
	OpLock:               {"LOCK", inAll},
	OpLockT:              {"LOCKT", inAll},
	OpLockU:              {"LOCKU", inAll},
	OpLookup:             {"LOOKUP", inAll},
	OpLookupP:            {"LOOKUPP", inAll},
	OpNVerify:            {"NVERIFY", inAll},
	OpOpen:               {"OPEN", inAll},
	OpOpenAttr:           {"OPENATTR", inAll},
	OpOpenConfirm:        {"OPEN_CONFIRM", in0},
	OpOpenDowngrade:      {"OPEN_DOWNGRADE", inAll},
	OpPutFH:              {"PUTFH", inAll},
	OpPutPubFH:           {"PUTPUBFH", inAll},
	OpPutRootFH:          {"PUTROOTFH", inAll},
	OpRead:               {"READ", inAll},
	OpReadDir:            {"READDIR", inAll},
	OpReadLink:           {"READLINK", inAll},
	OpRemove:             {"REMOVE", inAll},
	OpRename:             {"RENAME", inAll},
	OpRenew:              {"RENEW", in0},
	OpRestoreFH:          {"RESTOREFH", inAll},
	OpSaveFH:             {"SAVEFH", inAll},
	OpSecInfo:            {"SECINFO", inAll},
	OpSetAttr:            {"SETATTR", inAll},
	OpSetClientID:        {"SETCLIENTID", in0},
	OpSetClientIDConfirm: {"SETCLIENTID_CONFIRM", in0},
	OpVerify:             {"VERIFY", inAll},
	OpWrite:              {"WRITE", inAll},
	OpReleaseLockOwner:   {"RELEASE_LOCKOWNER", in0},
	OpBackchannelCtl:     {"BACKCHANNEL_CTL", in1 | in2},
	OpBindConnToSession:  {"BIND_CONN_TO_SESSION", in1 | in2},
	OpExchangeID:         {"EXCHANGE_ID", in1 | in2},
	OpCreateSession:      {"CREATE_SESSION", in1 | in2},
	OpDestroySession:     {"DESTROY_SESSION", in1 | in2},
	OpFreeStateid:        {"FREE_STATEID", in1 | in2},
	OpGetDirDelegation:   {"GET_DIR_DELEGATION", in1 | in2},
	OpGetDeviceInfo:      {"GETDEVICEINFO", in1 | in2},
	OpGetDeviceList:      {"GETDEVICELIST", in1 | in2},
	OpLayoutCommit:       {"LAYOUTCOMMIT", in1 | in2},
	OpLayoutGet:          {"LAYOUTGET", in1 | in2},
	OpLayoutReturn:       {"LAYOUTRETURN", in1 | in2},
	OpSecInfoNoName:      {"SECINFO_NO_NAME", in1 | in2},
	OpSequence:           {"SEQUENCE", in1 | in2},
	OpSetSSV:             {"SET_SSV", in1 | in2},
	OpTestStateid:        {"TEST_STATEID", in1 | in2},
	OpWantDelegation:     {"WANT_DELEGATION", in1 | in2},
	OpDestroyClientID:    {"DESTROY_CLIENTID", in1 | in2},
	OpReclaimComplete:    {"RECLAIM_COMPLETE", in1 | in2},
	OpAllocate:           {"ALLOCATE", in2},
	OpCopy:               {"COPY", in2},
	OpCopyNotify:         {"COPY_NOTIFY", in2},
	OpDeallocate:         {"DEALLOCATE", in2},
	OpIOAdvise:           {"IO_ADVISE", in2},
	OpLayoutError:        {"LAYOUTERROR", in2},
	OpLayoutStats:        {"LAYOUTSTATS", in2},
	OpOffloadCancel:      {"OFFLOAD_CANCEL", in2},
	OpOffloadStatus:      {"OFFLOAD_STATUS", in2},
	OpReadPlus:           {"READ_PLUS", in2},
	OpSeek:               {"SEEK", in2},
	OpWriteSame:          {"WRITE_SAME", in2},
	OpClone:              {"CLONE", in2},
	OpGetXattr:           {"GETXATTR", in2},
	OpSetXattr:           {"SETXATTR", in2},
	OpListXattrs:         {"LISTXATTRS", in2},
	OpRemoveXattr:        {"REMOVEXATTR", in2},
}

// String returns the name without its prefix, such as "LOOKUP".
func (op Op) String() string {
	if op <= OpLast && opTable[op].name != "" {
		return opTable[op].name
	}
	if op == OpIllegal {
		return "ILLEGAL"
	}
	return "OP_" + strconv.FormatUint(uint64(op), 10)
}

// Known says whether the number is defined for minor version minor, also as
// an operation that this version forbids. What is not known is answered with
// OP_ILLEGAL and NFS4ERR_OP_ILLEGAL (RFC 8881 §16.2.3, RFC 7530 §15.2.4).
func (op Op) Known(minor uint32) bool {
	if op > OpLast || minor > 2 {
		return false
	}
	m := opTable[op].minors
	return m != 0 && m&(1<<(minor+1)-1) != 0
}

// In says whether minor version minor has the operation. One that is Known
// and not In is answered with NFS4ERR_NOTSUPP: the operations that NFSv4.1
// makes mandatory not to implement (RFC 8881 §17), such as SETCLIENTID.
func (op Op) In(minor uint32) bool {
	return op <= OpLast && minor <= 2 && opTable[op].minors&(1<<minor) != 0
}

// MinorMin returns the first minor version that has the operation, or -1.
func (op Op) MinorMin() int {
	for m := uint32(0); m <= 2; m++ {
		if op.In(m) {
			return int(m)
		}
	}
	return -1
}

// MinorMax returns the last minor version that has the operation, or -1.
func (op Op) MinorMax() int {
	for m := 2; m >= 0; m-- {
		if op.In(uint32(m)) {
			return m
		}
	}
	return -1
}

var cbNames = map[CBOp]string{
	CBGetAttr:            "CB_GETATTR",
	CBRecall:             "CB_RECALL",
	CBLayoutRecall:       "CB_LAYOUTRECALL",
	CBNotify:             "CB_NOTIFY",
	CBPushDeleg:          "CB_PUSH_DELEG",
	CBRecallAny:          "CB_RECALL_ANY",
	CBRecallableObjAvail: "CB_RECALLABLE_OBJ_AVAIL",
	CBRecallSlot:         "CB_RECALL_SLOT",
	CBSequence:           "CB_SEQUENCE",
	CBWantsCancelled:     "CB_WANTS_CANCELLED",
	CBNotifyLock:         "CB_NOTIFY_LOCK",
	CBNotifyDeviceID:     "CB_NOTIFY_DEVICEID",
	CBOffload:            "CB_OFFLOAD",
	CBIllegal:            "CB_ILLEGAL",
}

// String returns the name without its prefix, such as "CB_RECALL".
func (op CBOp) String() string {
	if n, ok := cbNames[op]; ok {
		return n
	}
	return "OP_CB_" + strconv.FormatUint(uint64(op), 10)
}
