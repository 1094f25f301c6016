// Package nfsops is NFSv4: COMPOUND and every operation of minor versions 0, 1
// and 2, one family of operations per file.
//
// An operation is decoded from the request and its result encoded into the
// reply in one pass. It is a method of compound, which carries what operations
// share: the filehandles, the stateids, the caller, the reply. Operations are the
// same in all minor versions; only admission differs, SEQUENCE and slots in 4.1 and
// later, owner sequences and a duplicate-request cache in 4.0.
//
// This is the only package that turns errors into nfsstat4 (status.go).
package nfsops

import (
	"errors"
	"net/netip"

	"holdfast/export"
	"holdfast/internal/nfs4"
)

// Flavor is an RPC authentication flavor (RFC 5531 §8.2).
type Flavor uint32

// The flavors that are understood.
const (
	AuthNone Flavor = 0
	AuthSys  Flavor = 1
)

// A Call is one NFSv4 RPC call, as the gateway hands it over.
type Call struct {
	XID     uint32
	Flavor  Flavor
	Creds   export.Creds // before squashing; of AuthNone it is ignored
	Machine string       // AUTH_SYS machinename

	// Remote is where the client is, for logs and export access lists; never
	// part of an identity.
	Remote netip.Addr

	// Conn is the connection that the call came in on.
	Conn Conn

	// Since is the moment from which on the connection's calls followed each other, by their xids,
	// so that they may be taken for all that a client of NFSv4.0 sent.
	Since uint64

	// Body is the arguments of COMPOUND. It is not kept after the call.
	Body []byte

	// MayOwe says that Compound may return ErrOwed.
	MayOwe bool
	owing  func() error
}

// ErrOwed says that the reply is whole, but must not leave before Call.Settle has
// returned nil: what it tells of is not on stable storage yet.
var ErrOwed = errors.New("nfsops: reply waits for stable storage")

// Owe makes settle what Settle calls, and returns ErrOwed.
func (call *Call) Owe(settle func() error) error {
	call.owing = settle
	return ErrOwed
}

// Settle waits, after ErrOwed, until the reply may leave. The error is like that of
// Compound, and then there is no reply. It is called once, by any goroutine.
func (call *Call) Settle() error {
	settle := call.owing
	call.owing = nil
	return settle()
}

// A Conn is a client's connection as operations see it. Its methods may be
// called at the same time.
type Conn interface {
	// Bind notes that the connection serves the session, which SEQUENCE,
	// CREATE_SESSION and BIND_CONN_TO_SESSION do implicitly or by request
	// (RFC 8881 §2.10.3.1); back says that callbacks may go over it.
	Bind(session nfs4.SessionID, back bool)

	// ID tells connections of this gateway apart, for logs.
	ID() uint64

	// Current is false from when the gateway has stood still for so long that the
	// client may have sent again elsewhere what came in on the connection before:
	// it must not take effect here any more.
	Current() bool
}
