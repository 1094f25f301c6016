package client

import (
	"encoding/binary"

	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// An Op is one operation of a COMPOUND, already encoded. A malformed one is an
// Op made by hand.
type Op struct {
	Num  nfs4.Op
	Args []byte
}

// op encodes an operation's arguments.
func op(num nfs4.Op, args func(w *xdr.Writer)) Op {
	var w xdr.Writer
	if args != nil {
		args(&w)
	}
	return Op{Num: num, Args: w.Bytes()}
}

// A Request is an encoded RPC call, ready to be sent any number of times. It
// is not safe for concurrent use, also not by two sends at once.
//
//	mark | xid | … cred, verf | tag | minor | count | op | args | op | args …
//	0      4                                                ^ ArgsAt(0)
type Request struct {
	msg   []byte
	args  []int // where each operation's arguments begin
	minor uint32
}

// NewCall encodes a call of the NFS program with arguments as they are. Its
// xid is 0 until it is set or first sent by Conn.Do.
func NewCall(cred oncrpc.Auth, proc uint32, args []byte) *Request {
	return NewRPC(oncrpc.Call{Prog: nfs4.Program, Vers: nfs4.Version, Proc: proc, Cred: cred}, args)
}

// NewRPC encodes any RPC call.
func NewRPC(call oncrpc.Call, args []byte) *Request {
	var w xdr.Writer
	w.Reserve(oncrpc.MarkSize)
	call.Encode(&w)
	w.Raw(args)
	return &Request{msg: w.Bytes()}
}

// NewCompound encodes a COMPOUND.
func NewCompound(cred oncrpc.Auth, minor uint32, tag string, ops ...Op) *Request {
	var w xdr.Writer
	w.Reserve(oncrpc.MarkSize)
	call := oncrpc.Call{Prog: nfs4.Program, Vers: nfs4.Version, Proc: nfs4.ProcCompd, Cred: cred}
	call.Encode(&w)
	w.String(tag)
	w.Uint32(minor)
	w.Uint32(uint32(len(ops)))
	q := &Request{args: make([]int, 0, len(ops)), minor: minor}
	for _, o := range ops {
		w.Uint32(uint32(o.Num))
		q.args = append(q.args, w.Len())
		w.Raw(o.Args)
	}
	q.msg = w.Bytes()
	return q
}

// Bytes returns the request with four bytes in front for the record mark. What
// is changed there is sent.
func (q *Request) Bytes() []byte { return q.msg }

// Clone returns a copy that can be patched and sent independently.
func (q *Request) Clone() *Request {
	return &Request{msg: append([]byte(nil), q.msg...), args: q.args, minor: q.minor}
}

// XID returns the call's xid.
func (q *Request) XID() uint32 { return binary.BigEndian.Uint32(q.msg[oncrpc.MarkSize:]) }

// SetXID sets the call's xid. 0 makes Conn.Do choose a new one.
func (q *Request) SetXID(xid uint32) { binary.BigEndian.PutUint32(q.msg[oncrpc.MarkSize:], xid) }

// ArgsAt returns where operation i's arguments begin in Bytes.
func (q *Request) ArgsAt(i int) int { return q.args[i] }

// PutUint32 patches four bytes of operation i's arguments, at bytes in.
func (q *Request) PutUint32(i, at int, v uint32) {
	binary.BigEndian.PutUint32(q.msg[q.args[i]+at:], v)
}

// PutUint64 patches eight bytes of operation i's arguments, at bytes in.
func (q *Request) PutUint64(i, at int, v uint64) {
	binary.BigEndian.PutUint64(q.msg[q.args[i]+at:], v)
}

// SetSequence patches the slot and sequence of a compound that begins with
// SEQUENCE.
func (q *Request) SetSequence(slot, seq uint32) {
	q.PutUint32(0, nfs4.SessionSize, seq)
	q.PutUint32(0, nfs4.SessionSize+4, slot)
}
