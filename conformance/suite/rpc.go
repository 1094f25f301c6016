package suite

import (
	"bytes"
	"encoding/binary"
	"net"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

func rpcTests() []Test {
	return []Test{
		{Code: "RPC1", minors: all, RFC: "RFC 8881 §16.1", Says: "the NULL procedure does nothing and succeeds", run: rpcNull},
		{Code: "RPC2", minors: all, RFC: "RFC 5531 §9", Says: "a program the server does not know is PROG_UNAVAIL", run: rpcProgram},
		{Code: "RPC3", minors: all, RFC: "RFC 5531 §9", Says: "a version of the program that is not served is PROG_MISMATCH with the versions that are", run: rpcVersion},
		{Code: "RPC4", minors: all, RFC: "RFC 5531 §9", Says: "a procedure beyond COMPOUND is PROC_UNAVAIL", run: rpcProcedure},
		{Code: "RPC5", minors: all, RFC: "RFC 5531 §9", Says: "another RPC version is denied with RPC_MISMATCH", run: rpcMismatch},
		{Code: "RPC6", minors: all, RFC: "RFC 5531 §9", Says: "an authentication flavor that is not known is denied with AUTH_ERROR", run: rpcFlavor},
		{Code: "RPC7", minors: all, RFC: "RFC 5531 appendix A", Says: "an AUTH_SYS credential that does not decode is denied with AUTH_ERROR", run: rpcBadCred},
		{Code: "RPC8", minors: all, RFC: "RFC 5531 §11", Says: "a record may come in several fragments, also empty ones", run: rpcFragments},
		{Code: "RPC9", minors: all, RFC: "RFC 5531 §11", Says: "a record may come byte by byte", run: rpcByteByByte},
		{Code: "RPC10", minors: all, RFC: "RFC 5531 §11", Says: "a record larger than any call ends the connection and hurts no other", run: rpcHuge},
		{Code: "RPC11", minors: all, RFC: "RFC 5531 §11", Says: "several calls may be sent before the first is answered; each reply carries its call's xid", run: rpcPipeline},
		{Code: "RPC12", minors: all, RFC: "RFC 5531 §9", Says: "COMPOUND arguments that do not decode are GARBAGE_ARGS, or NFS4ERR_BADXDR", run: rpcGarbage},
		{Code: "RPC13", minors: all, RFC: "RFC 5531 §8.2", Says: "the NULL procedure may be called with AUTH_NONE", run: rpcNullAuthNone},
		{Code: "RPC14", minors: all, RFC: "RFC 5531 §9", Says: "an RPC reply sent to a server is not answered as a call and hurts no other connection", run: rpcReplyToServer},
	}
}

func rpcNull(e *Env) { e.Must(e.Conn().Null()) }

func rpcNullAuthNone(e *Env) {
	_, err := e.Conn().Do(client.NewCall(oncrpc.Auth{}, nfs4.ProcNull, nil))
	e.Must(err)
}

func (e *Env) rpc(c *client.Conn, call oncrpc.Call) error {
	call.Cred = c.Cred()
	_, err := c.Do(client.NewRPC(call, nil))
	return err
}

func rpcProgram(e *Env) {
	err := e.rpc(e.Conn(), oncrpc.Call{Prog: 0x20001234, Vers: 4})
	e.Refused(err, "PROG_UNAVAIL", func(r *oncrpc.Reply) bool { return !r.Denied && r.Stat == oncrpc.ProgUnavail })
}

func rpcVersion(e *Env) {
	err := e.rpc(e.Conn(), oncrpc.Call{Prog: nfs4.Program, Vers: 77})
	e.Refused(err, "PROG_MISMATCH up to version 4", func(r *oncrpc.Reply) bool {
		return !r.Denied && r.Stat == oncrpc.ProgMismatch && r.Low <= 4 && r.High == 4
	})
}

func rpcProcedure(e *Env) {
	err := e.rpc(e.Conn(), oncrpc.Call{Prog: nfs4.Program, Vers: 4, Proc: 2})
	e.Refused(err, "PROC_UNAVAIL", func(r *oncrpc.Reply) bool { return !r.Denied && r.Stat == oncrpc.ProcUnavail })
}

func rpcMismatch(e *Env) {
	c := e.Conn()
	q := client.NewCall(c.Cred(), nfs4.ProcNull, nil)
	binary.BigEndian.PutUint32(q.Bytes()[oncrpc.MarkSize+8:], 3)
	_, err := c.Do(q)
	e.Refused(err, "RPC_MISMATCH", func(r *oncrpc.Reply) bool { return r.RPCMismatch && r.Low == 2 && r.High == 2 })
}

// authError is a denial for the credential, whichever reason it names.
func authError(r *oncrpc.Reply) bool {
	return r.Denied && !r.RPCMismatch && r.AuthStat != oncrpc.AuthOK
}

func rpcFlavor(e *Env) {
	_, err := e.Conn().Do(client.NewCompound(oncrpc.Auth{Flavor: 390099, Body: []byte("what")}, e.Minor, "", client.PutRootFH()))
	e.Refused(err, "AUTH_ERROR", authError)
}

func rpcBadCred(e *Env) {
	// The group count says 17, one above the bound.
	body := make([]byte, 20+17*4)
	body[19] = 17
	_, err := e.Conn().Do(client.NewCompound(oncrpc.Auth{Flavor: oncrpc.AuthSys, Body: body}, e.Minor, "", client.PutRootFH()))
	e.Refused(err, "AUTH_ERROR", authError)
}

// garbage is a call whose arguments did not decode.
func garbage(r *oncrpc.Reply) bool { return !r.Denied && r.Stat == oncrpc.GarbageArgs }

// nullRecord returns a NULL call without its mark.
func nullRecord(c *client.Conn) []byte {
	q := client.NewCall(c.Cred(), nfs4.ProcNull, nil)
	q.SetXID(c.NextXID())
	return q.Bytes()[oncrpc.MarkSize:]
}

// rawStream opens a connection of the test's own, without a client on it.
func (e *Env) rawStream() (stream net.Conn, replies *oncrpc.Reader) {
	nc, err := e.Dial(e.ctx)
	if err != nil {
		e.Fatalf("%v", err)
	}
	// A server that never answers must fail the test, not hang it.
	e.Must(nc.SetDeadline(time.Now().Add(e.patience())))
	return nc, oncrpc.NewReader(nc, 1<<20)
}

// readNull reads one reply and requires it to answer the record.
func (e *Env) readNull(r *oncrpc.Reader, rec []byte) {
	var pool oncrpc.Pool
	buf, err := r.Next(&pool)
	if err != nil {
		e.Fatalf("no reply: %v", err)
	}
	in := xdr.NewReader(buf.B)
	var p oncrpc.Reply
	if err := p.Decode(&in); err != nil || !p.OK() || p.XID != binary.BigEndian.Uint32(rec) {
		e.Fatalf("reply %v (%v) to xid %x", &p, err, rec[:4])
	}
}

func mark(n int, last bool) []byte {
	m := uint32(n)
	if last {
		m |= oncrpc.LastFragment
	}
	return binary.BigEndian.AppendUint32(nil, m)
}

func rpcFragments(e *Env) {
	s, r := e.rawStream()
	defer s.Close()
	rec := nullRecord(e.Conn())
	var b bytes.Buffer
	for i, part := range [][]byte{rec[:1], nil, rec[1:10], rec[10:11], rec[11:]} {
		b.Write(mark(len(part), i == 4))
		b.Write(part)
	}
	_, err := s.Write(b.Bytes())
	e.Must(err)
	e.readNull(r, rec)
}

func rpcByteByByte(e *Env) {
	s, r := e.rawStream()
	defer s.Close()
	rec := nullRecord(e.Conn())
	for _, c := range append(mark(len(rec), true), rec...) {
		_, err := s.Write([]byte{c})
		e.Must(err)
	}
	e.readNull(r, rec)
}

func rpcHuge(e *Env) {
	s, r := e.rawStream()
	defer s.Close()
	other := e.Conn()
	_, err := s.Write(append(mark(0x7fffffff, true), make([]byte, 64)...))
	e.Must(err)
	var pool oncrpc.Pool
	if buf, err := r.Next(&pool); err == nil {
		e.Errorf("a record of 2 GiB that was never sent is answered with %d bytes", len(buf.B))
	}
	e.Must(other.Null())
}

func rpcPipeline(e *Env) {
	c := e.Conn()
	var waits []func() (*client.Reply, error)
	for range 32 {
		wait, err := c.Start(client.NewCall(c.Cred(), nfs4.ProcNull, nil))
		e.Must(err)
		waits = append(waits, wait)
	}
	for _, wait := range waits {
		_, err := wait()
		e.Must(err)
	}
}

func rpcGarbage(e *Env) {
	c := e.Conn()
	p, err := c.Do(client.NewCall(c.Cred(), nfs4.ProcCompd, []byte{0, 0, 0, 200, 'x', 'y', 'z', 0}))
	if err == nil {
		e.Expect(p, is(nfs4.ErrBadXDR))
		return
	}
	e.Refused(err, "GARBAGE_ARGS", garbage)
	e.Must(c.Null())
}

func rpcReplyToServer(e *Env) {
	other := e.Conn()
	s, _ := e.rawStream()
	defer s.Close()
	var w xdr.Writer
	oncrpc.AppendAccepted(&w, 1, oncrpc.Success)
	_, err := s.Write(append(mark(w.Len(), true), w.Bytes()...))
	e.Must(err)
	e.Must(other.Null())
}
