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

	// Body is the arguments of COMPOUND. It is not kept after the call.
	Body []byte
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
}
