package oncrpc

import (
	"fmt"

	"holdfast/internal/xdr"
)

// An AcceptStat is the accept_stat of a call that was accepted.
type AcceptStat uint32

// The values of accept_stat.
const (
	Success      AcceptStat = 0
	ProgUnavail  AcceptStat = 1
	ProgMismatch AcceptStat = 2
	ProcUnavail  AcceptStat = 3
	GarbageArgs  AcceptStat = 4
	SystemErr    AcceptStat = 5
)

// String returns the name the RFC uses.
func (s AcceptStat) String() string {
	names := [...]string{"SUCCESS", "PROG_UNAVAIL", "PROG_MISMATCH", "PROC_UNAVAIL", "GARBAGE_ARGS", "SYSTEM_ERR"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("accept_stat(%d)", uint32(s))
}

// reply_stat and reject_stat.
const (
	msgAccepted = 0
	msgDenied   = 1
	rpcMismatch = 0
	authError   = 1
)

// An AuthStat is the auth_stat of a call denied for its authentication.
type AuthStat uint32

// The values of auth_stat.
const (
	AuthOK           AuthStat = 0
	AuthBadCred      AuthStat = 1
	AuthRejectedCred AuthStat = 2
	AuthBadVerf      AuthStat = 3
	AuthRejectedVerf AuthStat = 4
	AuthTooWeak      AuthStat = 5
	AuthInvalidResp  AuthStat = 6
	AuthFailed       AuthStat = 7
	GSSCredProblem   AuthStat = 13
	GSSCtxProblem    AuthStat = 14
)

// String returns the name the RFC uses.
func (s AuthStat) String() string {
	switch s {
	case AuthOK:
		return "AUTH_OK"
	case AuthBadCred:
		return "AUTH_BADCRED"
	case AuthRejectedCred:
		return "AUTH_REJECTEDCRED"
	case AuthBadVerf:
		return "AUTH_BADVERF"
	case AuthRejectedVerf:
		return "AUTH_REJECTEDVERF"
	case AuthTooWeak:
		return "AUTH_TOOWEAK"
	case AuthInvalidResp:
		return "AUTH_INVALIDRESP"
	case AuthFailed:
		return "AUTH_FAILED"
	case GSSCredProblem:
		return "RPCSEC_GSS_CREDPROBLEM"
	case GSSCtxProblem:
		return "RPCSEC_GSS_CTXPROBLEM"
	}
	return fmt.Sprintf("auth_stat(%d)", uint32(s))
}

// AcceptedSize is the size in bytes of what AppendAccepted appends.
const AcceptedSize = 24

// AppendAccepted appends the header of an accepted call's reply with a null
// verifier. The results follow it if stat is Success; for ProgMismatch use
// AppendProgMismatch.
func AppendAccepted(w *xdr.Writer, xid uint32, stat AcceptStat) {
	w.Uint32(xid)
	w.Uint32(MsgReply)
	w.Uint32(msgAccepted)
	w.Uint32(AuthNone)
	w.Uint32(0)
	w.Uint32(uint32(stat))
}

// AppendProgMismatch appends the reply that names the program versions served.
func AppendProgMismatch(w *xdr.Writer, xid, low, high uint32) {
	AppendAccepted(w, xid, ProgMismatch)
	w.Uint32(low)
	w.Uint32(high)
}

// AppendRPCMismatch appends the reply to a call of another RPC version.
func AppendRPCMismatch(w *xdr.Writer, xid uint32) {
	w.Uint32(xid)
	w.Uint32(MsgReply)
	w.Uint32(msgDenied)
	w.Uint32(rpcMismatch)
	w.Uint32(RPCVersion)
	w.Uint32(RPCVersion)
}

// AppendAuthError appends the reply that denies a call for its authentication.
func AppendAuthError(w *xdr.Writer, xid uint32, stat AuthStat) {
	w.Uint32(xid)
	w.Uint32(MsgReply)
	w.Uint32(msgDenied)
	w.Uint32(authError)
	w.Uint32(uint32(stat))
}

// A Reply is the header of an RPC reply.
type Reply struct {
	XID    uint32
	Denied bool
	// Of an accepted call; Low and High also of a denied one with RPC mismatch.
	Verf      Auth
	Stat      AcceptStat
	Low, High uint32
	// Of a denied call.
	RPCMismatch bool
	AuthStat    AuthStat
}

// Decode reads the header and leaves r at the results. The error wraps
// ErrNotReply or is xdr's. It allocates nothing unless it fails.
func (p *Reply) Decode(r *xdr.Reader) error {
	*p = Reply{XID: r.Uint32()}
	if mtype := r.Uint32(); r.Err() == nil && mtype != MsgReply {
		return fmt.Errorf("%w: message type %d", ErrNotReply, mtype)
	}
	switch stat := r.Uint32(); stat {
	case msgAccepted:
		p.Verf.decode(r)
		p.Stat = AcceptStat(r.Uint32())
		if p.Stat == ProgMismatch {
			p.Low, p.High = r.Uint32(), r.Uint32()
		} else if p.Stat > SystemErr {
			r.Fail(xdr.ErrValue)
		}
	case msgDenied:
		p.Denied = true
		switch r.Uint32() {
		case rpcMismatch:
			p.RPCMismatch = true
			p.Low, p.High = r.Uint32(), r.Uint32()
		case authError:
			p.AuthStat = AuthStat(r.Uint32())
		default:
			r.Fail(xdr.ErrValue)
		}
	default:
		r.Fail(xdr.ErrValue)
	}
	if r.Err() != nil {
		return fmt.Errorf("reply header: %w", r.Err())
	}
	return nil
}

// OK says whether the call was carried out and results follow.
func (p *Reply) OK() bool { return !p.Denied && p.Stat == Success }

// String says what became of the call.
func (p *Reply) String() string {
	switch {
	case p.RPCMismatch:
		return fmt.Sprintf("denied: RPC_MISMATCH (%d to %d)", p.Low, p.High)
	case p.Denied:
		return "denied: " + p.AuthStat.String()
	case p.Stat == ProgMismatch:
		return fmt.Sprintf("PROG_MISMATCH (%d to %d)", p.Low, p.High)
	}
	return p.Stat.String()
}
