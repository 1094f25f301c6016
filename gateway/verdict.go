package gateway

import (
	"errors"

	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// A verdict says what becomes of a call before anybody looks at its arguments
// (RFC 5531 §9).
type verdict uint8

const (
	accepted verdict = iota
	notRPC
	rpcMismatch
	badCredential
	unknownProgram
	unknownVersion
	unknownProcedure
)

func (v verdict) String() string {
	return [...]string{"accepted", "not RPC", "RPC_MISMATCH", "AUTH_BADCRED", "PROG_UNAVAIL", "PROG_MISMATCH", "PROC_UNAVAIL"}[v]
}

// judge looks at a call's header, of which decodeErr says whether it could be
// read.
func (c *conn) judge(h *oncrpc.Call, decodeErr error) (verdict, *credential) {
	switch {
	case errors.Is(decodeErr, oncrpc.ErrRPCVersion):
		return rpcMismatch, nil
	case errors.Is(decodeErr, oncrpc.ErrAuth):
		return badCredential, nil
	case decodeErr != nil:
		return notRPC, nil
	}
	cred, stat := c.creds.find(&h.Cred)
	switch {
	case stat != oncrpc.AuthOK:
		return badCredential, nil
	case h.Prog != ProgramNFS:
		return unknownProgram, nil
	case h.Vers != version4:
		return unknownVersion, nil
	case h.Proc > 1:
		return unknownProcedure, nil
	}
	return accepted, cred
}

// append appends the whole reply to a call that has no results.
func (v verdict) append(w *xdr.Writer, h *oncrpc.Call, lowest uint32) {
	switch v {
	case accepted:
		oncrpc.AppendAccepted(w, h.XID, oncrpc.Success)
	case rpcMismatch:
		oncrpc.AppendRPCMismatch(w, h.XID)
	case badCredential:
		oncrpc.AppendAuthError(w, h.XID, oncrpc.AuthBadCred)
	case unknownVersion:
		oncrpc.AppendProgMismatch(w, h.XID, lowest, version4)
	case unknownProcedure:
		oncrpc.AppendAccepted(w, h.XID, oncrpc.ProcUnavail)
	default:
		oncrpc.AppendAccepted(w, h.XID, oncrpc.ProgUnavail)
	}
}

// lowestVersion is the lowest version of the NFS program that is served.
func (s *Server) lowestVersion() uint32 {
	if s.cfg.NFSv3 != nil {
		return version3
	}
	return version4
}
