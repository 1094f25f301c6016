// Package statesync is the shared NFSv4 protocol state: clients, sessions,
// slots with their replies, opens and byte-range locks.
//
// All of it is versioned records in a durable.Store; a Node keeps the records
// it uses in memory and loses nothing when it loses them. What the records
// mean is decided in sub-room rules, by pure functions from records and a
// request to changes and a result. This package runs those functions inside
// transactions, in which one commit carries the new state and the place in the
// reply that goes with it.
//
// # A request that changes something
//
//	Sequence / Legacy ─▶ Request          slot (4.1, 4.2) or duplicate-request entry (4.0)
//	   │
//	   ├─ state only:  Open, Close, Lock, …      1 commit: state + Progress
//	   │
//	   └─ files:       Begin ─▶ file system ─▶ Done (or Open)   2 commits:
//	                   intent + evidence        effect + Progress
//
// Progress is the reply so far and where to go on. Whatever follows the last
// commit of a request changes nothing, so a gateway that is sent the request
// again goes on from the Progress: one effect, and the same status.
//
// # Names
//
// While a file operation is begun it holds the directory entries that it makes
// or removes, in memory against this gateway's other requests and as a record
// in the store against all others. So the state of a name after a crash is
// evidence of whether the operation took place: nobody else can have changed
// it.
//
// # Records
//
//	group                     what                                        drawn in
//	cluster                   identity, handle key, epoch, format         cluster.go
//	gateway/<name>            how often the gateway started               cluster.go
//	ident/<kind>/<owner>      client owner → its clients                  rules/client.go
//	client/<id>               a client                                    rules/client.go
//	session/<id>              a session                                   rules/session.go
//	slot/<session>/<n>        the last request of a slot that changed     rules/slot.go
//	                          something: Progress, Intent
//	drc/<hash>                the same of an NFSv4.0 request              rules/slot.go
//	name/<directory><name>    who holds a directory entry                 names.go
//	forgotten                 how often groups of names were forgotten    names.go
//	owner/<client><o|l><name> an NFSv4.0 open or lock owner               rules/owner.go
//	file/<filehandle>         opens and locks of a file                   rules/file.go
//	states/<client>           where a client has stateids and owners      keys.go
//	gone/<client>             what a client that went left behind         identity.go
//
// Every record begins with the number of its format. A commit of a request
// checks the versions of all that it relies on: the file, the client, the
// session, the slot. So whoever removes one of these, on whichever gateway,
// makes every grant under way fail.
package statesync

import (
	"context"
	"log/slog"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// FileKey names a file in the shared state: the filehandle as it is on the
// wire, the same bytes on every gateway.
type FileKey = rules.FileKey

// ClientID is a clientid4. 0 is never given out.
type ClientID = rules.ClientID

// Config is what Join needs.
type Config struct {
	Store durable.Store

	// Name names this gateway among those of the cluster, 1 to 64 bytes.
	Name string

	// Lease is how long a client's state is safe without a sign of it (lease_time).
	// 1 s to 1 h; default 90 s.
	Lease time.Duration

	// Shared says that other gateways write to the same Store, so that what is
	// not in memory may have changed there.
	Shared bool

	// Courtesy is how long the state of a client whose lease ran out is kept
	// while it is in nobody's way. Default 24 h.
	Courtesy time.Duration

	// GatewayLease is how long this gateway may serve after the store heard
	// of it last; another one may then declare it dead. 500 ms to 1 min;
	// default 5 s. It must be the same on all gateways. Only with Shared.
	GatewayLease time.Duration

	// StoreOutage is how long the gateways may serve on while none of them reaches
	// the Store: 9/10 of it. Default 1 min or GatewayLease, whichever is more; at most
	// 1 h; with GatewayLease or less they stop when their leases end.
	StoreOutage time.Duration

	// Address is this gateway's machine, as the others may show it and as their
	// fencing hooks are told. May be empty; at most 256 bytes.
	Address string

	// Lifeline is the address at which this gateway holds lifelines for the
	// others; empty: it holds none. At most 256 bytes.
	Lifeline string

	// Watch, if not nil, holds the lifeline of an instance of another gateway, as
	// lifeline.Watch does: nil is returned only if that instance can do nothing
	// any more.
	Watch func(ctx context.Context, addr, gateway string, instance uint64, held func()) error

	// FenceHook, if not nil, is called before another gateway is declared dead, and
	// must see to it that the other one cannot reach the files any more. While it fails
	// it is called again, and what the other one had begun stays unresolved. Several
	// gateways may call it for the same one, and one for several, at once.
	FenceHook func(ctx context.Context, who Fenced) error

	Limits Limits
	Logger *slog.Logger

	// Manual says that the caller does what otherwise goes on in the background,
	// with Node.Beat and Node.Sweep: for a simulation, in which nothing happens
	// by itself.
	Manual bool

	// Now is a clock that never goes back; nil means the machine's.
	Now func() time.Time

	// Random fills p with unpredictable bytes; nil means crypto/rand.
	Random func(p []byte)
}

// Limits bound what one client can take. 0 means the default.
type Limits struct {
	Slots           uint32 // fore channel slots of a session: default 64, at most 1024
	Clients         int    // clients known at once: default 100,000
	Sessions        int    // sessions of a client: default 64
	Opens           int    // open files of a client: default 100,000
	Locks           int    // byte ranges locked by a client: default 2,000,000
	Operations      uint32 // operations in a COMPOUND: default 128, 8 to 1,024
	RequestBytes    uint32 // default 1 MiB + 64 KiB
	ReplyBytes      uint32 // default 1 MiB + 64 KiB
	CachedBytes     uint32 // a reply kept for replay: default 8 KiB, 1 to 64 KiB
	UnconfirmedLife time.Duration
}

// The errors of the rules, which the Node hands on.
var (
	ErrBadStateid         = rules.ErrBadStateid
	ErrOldStateid         = rules.ErrOldStateid
	ErrStaleStateid       = rules.ErrStaleStateid
	ErrExpired            = rules.ErrExpired
	ErrAdminRevoked       = rules.ErrAdminRevoked
	ErrOpenMode           = rules.ErrOpenMode
	ErrShareDenied        = rules.ErrShareDenied
	ErrLocked             = rules.ErrLocked
	ErrLockRange          = rules.ErrLockRange
	ErrLocksHeld          = rules.ErrLocksHeld
	ErrBadRange           = rules.ErrBadRange
	ErrInval              = rules.ErrInval
	ErrGrace              = rules.ErrGrace
	ErrNoGrace            = rules.ErrNoGrace
	ErrReclaimBad         = rules.ErrReclaimBad
	ErrStaleClientID      = rules.ErrStaleClientID
	ErrClientIDInUse      = rules.ErrClientIDInUse
	ErrClientIDBusy       = rules.ErrClientIDBusy
	ErrNotSame            = rules.ErrNotSame
	ErrNoEnt              = rules.ErrNoEnt
	ErrPermission         = rules.ErrPermission
	ErrCompleteAlready    = rules.ErrCompleteAlready
	ErrBadSession         = rules.ErrBadSession
	ErrBadSlot            = rules.ErrBadSlot
	ErrBadHighSlot        = rules.ErrBadHighSlot
	ErrSeqMisordered      = rules.ErrSeqMisordered
	ErrSeqFalseRetry      = rules.ErrSeqFalseRetry
	ErrRetryUncachedReply = rules.ErrRetryUncachedReply
	ErrBadSeqid           = rules.ErrBadSeqid
	ErrTooSmall           = rules.ErrTooSmall
	ErrTooManyOps         = rules.ErrTooManyOps
	ErrRequestTooBig      = rules.ErrRequestTooBig
	ErrResource           = rules.ErrResource
	ErrDelay              = rules.ErrDelay
	ErrConnNotBound       = rules.ErrConnNotBound
	ErrBackchannelBusy    = rules.ErrBackchannelBusy
	ErrServerFault        = rules.ErrServerFault
	ErrFenced             = rules.ErrFenced
)

// A LockDenied is the error of Lock and TestLock when another owner's lock
// stands in the way.
type LockDenied = rules.LockDenied

// Identity is what makes all gateways of a cluster one server. It is made once
// and never changes.
type Identity struct {
	ServerOwner []byte // so_major_id; so_minor_id is 0
	Scope       []byte
	HandleKey   [16]byte // seals filehandles
}

// The vocabulary of requests that change something, which the rules share.
type (
	Name     = rules.Name
	Intent   = rules.Intent
	Outcome  = rules.Outcome
	Progress = rules.Progress
)

// The outcomes.
const (
	OutcomeUnknown = rules.OutcomeUnknown
	OutcomeDone    = rules.OutcomeDone
	OutcomeNotDone = rules.OutcomeNotDone
)

// A Resolver finds out whether an intent of a dead gateway took place, by
// comparing its evidence with the file system, and sets Made of one that made an
// object. The names are held meanwhile.
type Resolver func(ctx context.Context, in *Intent) (Outcome, error)

// A Compound is nfsops's running COMPOUND, as far as a transaction must know it.
type Compound interface {
	// Progress returns where the compound stands after the operation whose
	// result was encoded last. The Node copies what it keeps.
	Progress(p *Progress)

	// Mark returns the present length of the reply; Rewind cuts the reply
	// back to it. A transaction that must run again encodes again.
	Mark() int
	Rewind(mark int)
}

// SequenceArgs are those of SEQUENCE (RFC 8881 §18.46).
type SequenceArgs struct {
	Session   nfs4.SessionID
	Sequence  uint32
	Slot      uint32
	Highest   uint32
	CacheThis bool
	Checksum  uint64 // of the COMPOUND's body: tells a retry from another request

	// What the COMPOUND takes, which the session limits: operations with
	// SEQUENCE, and bytes.
	Operations   uint32
	RequestBytes uint32
}

// ChannelAttrs are channel_attrs4 without RDMA.
type ChannelAttrs = rules.ChannelAttrs

// ExchangeIDArgs are those of EXCHANGE_ID (RFC 8881 §18.35) with SP4_NONE.
type ExchangeIDArgs struct {
	Owner     []byte
	Verifier  nfs4.Verifier
	Flags     uint32
	Principal string
	Minor     uint32
	ImplName  string // for people: what the client says it is
	Remote    string // for people: where it was seen last
}

// ExchangeIDResult is that of EXCHANGE_ID.
type ExchangeIDResult struct {
	Client   ClientID
	Sequence uint32
	Flags    uint32
}

// CreateSessionArgs are those of CREATE_SESSION (RFC 8881 §18.36).
type CreateSessionArgs struct {
	Client          ClientID
	Sequence        uint32
	Flags           uint32
	Fore, Back      ChannelAttrs
	CallbackProgram uint32
	CallbackSec     []byte // encoded csa_sec_parms
	Principal       string
}

// CreateSessionResult is that of CREATE_SESSION.
type CreateSessionResult struct {
	Session    nfs4.SessionID
	Sequence   uint32
	Flags      uint32
	Fore, Back ChannelAttrs
}

// SetClientIDArgs are those of SETCLIENTID (RFC 7530 §16.33).
type SetClientIDArgs struct {
	ID                []byte
	Verifier          nfs4.Verifier
	CallbackProgram   uint32
	CallbackNetID     string
	CallbackAddr      string
	CallbackIdent     uint32
	Principal, Remote string
}

// SetClientIDResult is that of SETCLIENTID.
type SetClientIDResult struct {
	Client  ClientID
	Confirm nfs4.Verifier

	// InUse holds the netid and address of the client that uses the id, when
	// the error is ErrClientIDInUse.
	InUseNetID, InUseAddr string
}

// OpenArgs are those of an OPEN once the file is known.
type OpenArgs struct {
	Client ClientID
	Owner  []byte
	File   FileKey
	Access uint32 // nfs4.ShareAccess…, 1 to 3, without the want bits
	Deny   uint32
	Claim  uint32

	// Principal is who opens: uid of the caller after AUTH_SYS. CheckIO reports it.
	UID uint32
}

// OpenResult is the state that OPEN, OPEN_CONFIRM, OPEN_DOWNGRADE and CLOSE
// leave.
type OpenResult struct {
	Stateid     nfs4.Stateid
	Access      uint32
	Deny        uint32
	NeedConfirm bool // NFSv4.0: OPEN4_RESULT_CONFIRM
}

// LockArgs are those of LOCK and TestLock.
type LockArgs struct {
	Client         ClientID
	File           FileKey
	Write          bool
	Offset, Length uint64 // Length of 2^64-1: to the end
	Reclaim        bool

	// A new lock owner comes with the stateid of its open file; one that has
	// locks on the file already with the lock stateid.
	New     bool
	Owner   []byte
	Stateid nfs4.Stateid
}

// IOResult says what CheckIO found.
type IOResult struct {
	// Special is true for the anonymous and the READ-bypass stateid: nothing
	// was granted, the caller's rights must be checked.
	Special bool

	// UID of the one who opened, and the access it was granted.
	UID    uint32
	Access uint32
	Client ClientID
}

// ClientInfo describes a client to an administrator.
type ClientInfo struct {
	ID        ClientID
	Owner     []byte
	Principal string
	Minor     uint32
	Confirmed bool
	Remote    string
	Impl      string
	Renewed   time.Time
	Courtesy  bool // its lease ran out; its state is kept until it is in somebody's way
	Sessions  int
	Opens     int
	Locks     int
}

// LockInfo describes an open or a byte-range lock to an administrator.
type LockInfo struct {
	File           FileKey
	Client         ClientID
	Owner          []byte
	Lock           bool // a byte-range lock; otherwise an open
	Access, Deny   uint32
	Offset, Length uint64
	Write          bool
}
