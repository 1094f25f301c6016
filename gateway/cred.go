package gateway

import (
	"bytes"
	"slices"

	"holdfast/export"
	"holdfast/internal/oncrpc"
	"holdfast/nfsops"
)

// A credential is one that a client sent, decoded. It is never changed, so
// calls may share it.
type credential struct {
	raw     []byte
	flavor  nfsops.Flavor
	creds   export.Creds
	machine string
}

// credCache remembers the last few credentials of a connection: nearly every
// call brings one of them, byte for byte.
type credCache struct {
	entries [8]*credential
	next    int
}

var anonymous = &credential{
	flavor: nfsops.AuthNone,
	creds:  export.Creds{UID: 65534, GID: 65534},
}

// find decodes the credential of a call. Flavors that are not served are
// AUTH_BADCRED: RFC 9289 §4.1 demands it of AUTH_TLS, and clients take it as the
// sign to try another flavor.
func (cc *credCache) find(a *oncrpc.Auth) (*credential, oncrpc.AuthStat) {
	switch a.Flavor {
	case oncrpc.AuthNone:
		return anonymous, oncrpc.AuthOK
	case oncrpc.AuthSys:
	default:
		return nil, oncrpc.AuthBadCred
	}
	for _, e := range cc.entries {
		if e != nil && bytes.Equal(e.raw, a.Body) {
			return e, oncrpc.AuthOK
		}
	}
	var sys oncrpc.SysCred
	if sys.Decode(a.Body) != nil {
		return nil, oncrpc.AuthBadCred
	}
	e := &credential{
		raw:     bytes.Clone(a.Body),
		flavor:  nfsops.AuthSys,
		creds:   export.Creds{UID: sys.UID, GID: sys.GID, Groups: slices.Clone(sys.Groups())},
		machine: string(sys.Machine),
	}
	cc.entries[cc.next] = e
	cc.next = (cc.next + 1) % len(cc.entries)
	return e, oncrpc.AuthOK
}
