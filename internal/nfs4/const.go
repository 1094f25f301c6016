package nfs4

// ONC RPC numbers of the NFS program and its callbacks (RFC 7863).
const (
	Program     = 100003 // NFS4_PROGRAM
	Version     = 4
	ProcNull    = 0
	ProcCompd   = 1          // NFSPROC4_COMPOUND
	CBProgram   = 0x40000000 // the program number of the XDR file; a client names its own
	CBVersion   = 1
	CBProcNull  = 0
	CBProcCompd = 1
)

// Sizes in bytes (RFC 7863).
const (
	FHSize       = 128
	VerifierSize = 8
	OtherSize    = 12
	OpaqueLimit  = 1024
	SessionSize  = 16
	DeviceIDSize = 16
)

// Limits of integers that have a meaning of their own.
const (
	MaxFileLen = 0xffffffffffffffff // NFS4_MAXFILELEN: to the end of the file
	MaxFileOff = 0xfffffffffffffffe
	Uint64Max  = 0xffffffffffffffff
	Uint32Max  = 0xffffffff
)

// A FileType is an nfs_ftype4.
type FileType uint32

// The file types.
const (
	TypeReg       FileType = 1
	TypeDir       FileType = 2
	TypeBlk       FileType = 3
	TypeChr       FileType = 4
	TypeLnk       FileType = 5
	TypeSock      FileType = 6
	TypeFIFO      FileType = 7
	TypeAttrDir   FileType = 8
	TypeNamedAttr FileType = 9
)

// Bits of ACCESS (RFC 8881 §18.1, RFC 8276 §8.2).
const (
	AccessRead    = 0x001
	AccessLookup  = 0x002
	AccessModify  = 0x004
	AccessExtend  = 0x008
	AccessDelete  = 0x010
	AccessExecute = 0x020
	AccessXARead  = 0x040
	AccessXAWrite = 0x080
	AccessXAList  = 0x100
)

// Share access and deny of OPEN, and what else rides in share_access
// (RFC 8881 §18.16, RFC 9754).
const (
	ShareAccessRead  = 1
	ShareAccessWrite = 2
	ShareAccessBoth  = 3

	ShareDenyNone  = 0
	ShareDenyRead  = 1
	ShareDenyWrite = 2
	ShareDenyBoth  = 3

	WantDelegMask         = 0xff00
	WantNoPreference      = 0x0000
	WantReadDeleg         = 0x0100
	WantWriteDeleg        = 0x0200
	WantAnyDeleg          = 0x0300
	WantNoDeleg           = 0x0400
	WantCancel            = 0x0500
	WantSignalDeleg       = 0x10000 // ..._SIGNAL_DELEG_WHEN_RESRC_AVAIL
	WantPushDeleg         = 0x20000 // ..._PUSH_DELEG_WHEN_UNCONTENDED
	WantDelegTimestamps   = 0x100000
	WantOpenXorDelegation = 0x200000
)

// opentype4.
const (
	OpenNoCreate = 0
	OpenCreate   = 1
)

// createmode4.
const (
	CreateUnchecked   = 0
	CreateGuarded     = 1
	CreateExclusive   = 2 // EXCLUSIVE4
	CreateExclusive41 = 3 // EXCLUSIVE4_1, from NFSv4.1 on
)

// open_claim_type4. The last three are of NFSv4.1.
const (
	ClaimNull         = 0
	ClaimPrevious     = 1
	ClaimDelegateCur  = 2
	ClaimDelegatePrev = 3
	ClaimFH           = 4
	ClaimDelegCurFH   = 5
	ClaimDelegPrevFH  = 6
)

// Flags of an OPEN result.
const (
	OpenResultConfirm           = 0x02
	OpenResultLocktypePOSIX     = 0x04
	OpenResultPreserveUnlinked  = 0x08
	OpenResultNoOpenStateid     = 0x10
	OpenResultMayNotifyLock     = 0x20
	LimitSize                   = 1 // NFS_LIMIT_SIZE of nfs_space_limit4
	LimitBlocks                 = 2
	OpenDelegateNone            = 0
	OpenDelegateRead            = 1
	OpenDelegateWrite           = 2
	OpenDelegateNoneExt         = 3
	OpenDelegateReadAttrsDeleg  = 4
	OpenDelegateWriteAttrsDeleg = 5
)

// why_no_delegation4.
const (
	WNDNotWanted              = 0
	WNDContention             = 1
	WNDResource               = 2
	WNDNotSuppFtype           = 3
	WNDWriteDelegNotSuppFtype = 4
	WNDNotSuppUpgrade         = 5
	WNDNotSuppDowngrade       = 6
	WNDCancelled              = 7
	WNDIsDir                  = 8
)

// nfs_lock_type4.
const (
	ReadLT   = 1
	WriteLT  = 2
	ReadWLT  = 3 // READW_LT, "blocking" read
	WriteWLT = 4 // WRITEW_LT, "blocking" write
)

// stable_how4.
const (
	Unstable = 0
	DataSync = 1
	FileSync = 2
)

// time_how4.
const (
	SetToServerTime = 0
	SetToClientTime = 1
)

// Flags of EXCHANGE_ID (RFC 8881 §18.35).
const (
	ExchgSuppMovedRefer   = 0x00000001
	ExchgSuppMovedMigr    = 0x00000002
	ExchgSuppFenceOps     = 0x00000004
	ExchgBindPrincStateid = 0x00000100
	ExchgUseNonPNFS       = 0x00010000
	ExchgUsePNFSMDS       = 0x00020000
	ExchgUsePNFSDS        = 0x00040000
	ExchgMaskPNFS         = 0x00070000
	ExchgUpdConfirmedRecA = 0x40000000
	ExchgConfirmedR       = 0x80000000
	// ExchgMaskArg is every bit a client may set: eia_flags with another one
	// is NFS4ERR_INVAL.
	ExchgMaskArg = ExchgSuppMovedRefer | ExchgSuppMovedMigr | ExchgSuppFenceOps | ExchgBindPrincStateid |
		ExchgMaskPNFS | ExchgUpdConfirmedRecA
)

// state_protect_how4.
const (
	SP4None     = 0
	SP4MachCred = 1
	SP4SSV      = 2
)

// Flags of CREATE_SESSION (RFC 8881 §18.36).
const (
	CreateSessionPersist      = 1
	CreateSessionConnBackChan = 2
	CreateSessionConnRDMA     = 4
)

// channel_dir_from_client4 and channel_dir_from_server4 of
// BIND_CONN_TO_SESSION.
const (
	CDFCFore       = 1
	CDFCBack       = 2
	CDFCForeOrBoth = 3
	CDFCBackOrBoth = 7
	CDFSFore       = 1
	CDFSBack       = 2
	CDFSBoth       = 3
)

// sr_status_flags of SEQUENCE (RFC 8881 §18.46).
const (
	SeqCBPathDown             = 0x0001
	SeqCBGSSContextsExpiring  = 0x0002
	SeqCBGSSContextsExpired   = 0x0004
	SeqExpiredAllStateRevoked = 0x0008
	SeqExpiredSomeRevoked     = 0x0010
	SeqAdminStateRevoked      = 0x0020
	SeqRecallableStateRevoked = 0x0040
	SeqLeaseMoved             = 0x0080
	SeqRestartReclaimNeeded   = 0x0100
	SeqCBPathDownSession      = 0x0200
	SeqBackchannelFault       = 0x0400
	SeqDevIDChanged           = 0x0800
	SeqDevIDDeleted           = 0x1000
)

// secinfo_style4 of SECINFO_NO_NAME.
const (
	SecInfoCurrentFH = 0
	SecInfoParent    = 1
)

// RPC_GSS services in a SECINFO result.
const (
	RPCGSSSvcNone      = 1
	RPCGSSSvcIntegrity = 2
	RPCGSSSvcPrivacy   = 3
)

// Bits of fattr4_aclsupport.
const (
	ACLSupportAllow = 1
	ACLSupportDeny  = 2
	ACLSupportAudit = 4
	ACLSupportAlarm = 8
)

// acetype4.
const (
	ACEAllowed = 0
	ACEDenied  = 1
	ACEAudit   = 2
	ACEAlarm   = 3
)

// aceflag4.
const (
	ACEFileInherit        = 0x01
	ACEDirectoryInherit   = 0x02
	ACENoPropagateInherit = 0x04
	ACEInheritOnly        = 0x08
	ACESuccessfulAccess   = 0x10
	ACEFailedAccess       = 0x20
	ACEIdentifierGroup    = 0x40
	ACEInherited          = 0x80
)

// acemask4.
const (
	ACEReadData           = 0x000001
	ACEListDirectory      = 0x000001
	ACEWriteData          = 0x000002
	ACEAddFile            = 0x000002
	ACEAppendData         = 0x000004
	ACEAddSubdirectory    = 0x000004
	ACEReadNamedAttrs     = 0x000008
	ACEWriteNamedAttrs    = 0x000010
	ACEExecute            = 0x000020
	ACEDeleteChild        = 0x000040
	ACEReadAttributes     = 0x000080
	ACEWriteAttributes    = 0x000100
	ACEWriteRetention     = 0x000200
	ACEWriteRetentionHold = 0x000400
	ACEDelete             = 0x010000
	ACEReadACL            = 0x020000
	ACEWriteACL           = 0x040000
	ACEWriteOwner         = 0x080000
	ACESynchronize        = 0x100000
	ACEGenericRead        = 0x120081
	ACEGenericWrite       = 0x160106
	ACEGenericExecute     = 0x1200a0
)

// aclflag4 of dacl and sacl.
const (
	ACLAutoInherit = 1
	ACLProtected   = 2
	ACLDefaulted   = 4
)

// The special identifiers of an ACE (RFC 8881 §6.2.1.5).
const (
	WhoOwner         = "OWNER@"
	WhoGroup         = "GROUP@"
	WhoEveryone      = "EVERYONE@"
	WhoInteractive   = "INTERACTIVE@"
	WhoNetwork       = "NETWORK@"
	WhoDialup        = "DIALUP@"
	WhoBatch         = "BATCH@"
	WhoAnonymous     = "ANONYMOUS@"
	WhoAuthenticated = "AUTHENTICATED@"
	WhoService       = "SERVICE@"
)

// fh_expire_type.
const (
	FHPersistent       = 0
	FHNoExpireWithOpen = 1
	FHVolatileAny      = 2
	FHVolMigration     = 4
	FHVolRename        = 8
)

// Mode bits (mode4); other bits of a mode are NFS4ERR_INVAL.
const (
	ModeSUID = 0o4000
	ModeSGID = 0o2000
	ModeSVTX = 0o1000
	ModeMask = 0o7777
)

// change_attr_type4 (RFC 7862 §12.2.3).
const (
	ChangeIsMonotonicIncr        = 0
	ChangeIsVersionCounter       = 1
	ChangeIsVersionCounterNoPNFS = 2
	ChangeIsTimeMetadata         = 3
	ChangeIsUndefined            = 4
)

// fs_charset_cap.
const (
	CharsetContainsNonUTF8 = 1
	CharsetAllowsOnlyUTF8  = 2
)

// data_content4 of SEEK and READ_PLUS.
const (
	ContentData = 0
	ContentHole = 1
)

// netloc_type4 of COPY.
const (
	NetlocName    = 1
	NetlocURL     = 2
	NetlocNetaddr = 3
)

// IO_ADVISE_type4: bits of a bitmap.
const (
	AdviseNormal                = 0
	AdviseSequential            = 1
	AdviseSequentialBackwards   = 2
	AdviseRandom                = 3
	AdviseWillneed              = 4
	AdviseWillneedOpportunistic = 5
	AdviseDontneed              = 6
	AdviseNoreuse               = 7
	AdviseRead                  = 8
	AdviseWrite                 = 9
	AdviseInitProximity         = 10
)

// setxattr_option4 (RFC 8276 §8.4.2).
const (
	SetXattrEither  = 0
	SetXattrCreate  = 1
	SetXattrReplace = 2
)

// Layout types, I/O modes and returns.
const (
	LayoutNFSv41Files  = 1
	LayoutOSD2Objects  = 2
	LayoutBlockVolume  = 3
	LayoutFlexFiles    = 4
	LayoutIOModeRead   = 1
	LayoutIOModeRW     = 2
	LayoutIOModeAny    = 3
	LayoutReturnFile   = 1
	LayoutReturnFSID   = 2
	LayoutReturnAll    = 3
	FSStatusFixed      = 1
	FSStatusUpdated    = 2
	FSStatusVersioned  = 3
	FSStatusWritable   = 4
	FSStatusReferral   = 5
	GetDirDelegOK      = 0
	GetDirDelegUnavail = 1
)
