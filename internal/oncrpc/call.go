package oncrpc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"holdfast/internal/xdr"
)

// RPCVersion is the version of the RPC protocol.
const RPCVersion = 2

// msg_type.
const (
	MsgCall  = 0
	MsgReply = 1
)

// Authentication flavors (RFC 5531 §8.2, RFC 2203, RFC 9289).
const (
	AuthNone   = 0
	AuthSys    = 1
	AuthShort  = 2
	RPCSecGSS  = 6
	AuthTLS    = 7
	maxAuth    = 400 // opaque body<400>
	maxMachine = 255
	// MaxGroups is how many supplementary groups AUTH_SYS carries.
	MaxGroups = 16
)

// ErrNotCall says that a message is not an RPC call.
var ErrNotCall = errors.New("oncrpc: not a call")

// ErrNotReply says that a message is not an RPC reply.
var ErrNotReply = errors.New("oncrpc: not a reply")

// ErrRPCVersion says that a call has another RPC version than 2, which is
// answered with AppendRPCMismatch.
var ErrRPCVersion = errors.New("oncrpc: RPC version not supported")

// ErrAuth says that a credential or verifier cannot be decoded, which is
// answered with AppendAuthError and AuthBadCred or AuthBadVerf.
var ErrAuth = errors.New("oncrpc: malformed credential or verifier")

// An Auth is an opaque_auth. Body aliases the message.
type Auth struct {
	Flavor uint32
	Body   []byte
}

func (a *Auth) decode(r *xdr.Reader) {
	a.Flavor = r.Uint32()
	a.Body = r.Opaque(maxAuth)
}

func (a *Auth) encode(w *xdr.Writer) {
	w.Uint32(a.Flavor)
	w.Opaque(a.Body)
}

// A Call is the header of an RPC call.
type Call struct {
	XID  uint32
	Prog uint32
	Vers uint32
	Proc uint32
	Cred Auth
	Verf Auth
}

// Decode reads the header and leaves r at the arguments. The error wraps
// ErrNotCall, ErrRPCVersion or ErrAuth, or is xdr's for a header cut short. XID
// is set whenever its bytes were there. Decode allocates nothing unless it
// fails.
func (c *Call) Decode(r *xdr.Reader) error {
	*c = Call{XID: r.Uint32()}
	if mtype := r.Uint32(); r.Err() == nil && mtype != MsgCall {
		return fmt.Errorf("%w: message type %d", ErrNotCall, mtype)
	}
	if v := r.Uint32(); r.Err() == nil && v != RPCVersion {
		return fmt.Errorf("%w: %d", ErrRPCVersion, v)
	}
	c.Prog = r.Uint32()
	c.Vers = r.Uint32()
	c.Proc = r.Uint32()
	if r.Err() != nil {
		return fmt.Errorf("call header: %w", r.Err())
	}
	c.Cred.decode(r)
	c.Verf.decode(r)
	if r.Err() != nil {
		return fmt.Errorf("%w: %w", ErrAuth, r.Err())
	}
	return nil
}

// Encode appends the header; the arguments follow it.
func (c *Call) Encode(w *xdr.Writer) {
	w.Uint32(c.XID)
	w.Uint32(MsgCall)
	w.Uint32(RPCVersion)
	w.Uint32(c.Prog)
	w.Uint32(c.Vers)
	w.Uint32(c.Proc)
	c.Cred.encode(w)
	c.Verf.encode(w)
}

// PeekType returns a message's xid and msg_type, MsgCall or MsgReply; ok is
// false for a message of less than eight bytes.
func PeekType(msg []byte) (xid, mtype uint32, ok bool) {
	if len(msg) < 8 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(msg), binary.BigEndian.Uint32(msg[4:]), true
}

// PeekCall returns program, version and procedure of a message; ok is false if
// it is not a call of RPC version 2 with at least these fields.
func PeekCall(msg []byte) (prog, vers, proc uint32, ok bool) {
	if len(msg) < 24 || binary.BigEndian.Uint32(msg[4:]) != MsgCall || binary.BigEndian.Uint32(msg[8:]) != RPCVersion {
		return 0, 0, 0, false
	}
	return binary.BigEndian.Uint32(msg[12:]), binary.BigEndian.Uint32(msg[16:]), binary.BigEndian.Uint32(msg[20:]), true
}

// A SysCred is the body of an AUTH_SYS credential (RFC 5531, appendix A).
// Machine aliases the credential.
type SysCred struct {
	Stamp   uint32
	Machine []byte
	UID     uint32
	GID     uint32
	groups  [MaxGroups]uint32
	n       int
}

// Groups returns the supplementary groups. The slice lives in the SysCred.
func (s *SysCred) Groups() []uint32 { return s.groups[:s.n] }

// SetGroups sets the supplementary groups; those after the sixteenth are
// dropped.
func (s *SysCred) SetGroups(gids []uint32) { s.n = copy(s.groups[:], gids) }

// Decode reads the body of a credential of flavor AuthSys. The error wraps
// ErrAuth. It allocates nothing unless it fails.
func (s *SysCred) Decode(body []byte) error {
	r := xdr.NewReader(body)
	*s = SysCred{Stamp: r.Uint32(), Machine: r.Opaque(maxMachine), UID: r.Uint32(), GID: r.Uint32()}
	n := r.Count(MaxGroups, 4)
	for i := range n {
		s.groups[i] = r.Uint32()
	}
	s.n = n
	if r.Err() != nil {
		return fmt.Errorf("%w: AUTH_SYS: %w", ErrAuth, r.Err())
	}
	if r.Remaining() != 0 {
		return fmt.Errorf("%w: AUTH_SYS: %d bytes too many", ErrAuth, r.Remaining())
	}
	return nil
}

// Auth returns the credential in its opaque form.
func (s *SysCred) Auth() Auth {
	var w xdr.Writer
	w.Uint32(s.Stamp)
	w.Opaque(s.Machine)
	w.Uint32(s.UID)
	w.Uint32(s.GID)
	w.Uint32(uint32(s.n))
	for _, g := range s.groups[:s.n] {
		w.Uint32(g)
	}
	return Auth{Flavor: AuthSys, Body: w.Bytes()}
}
