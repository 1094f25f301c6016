package client

import (
	"bytes"
	"errors"
	"net"
	"reflect"
	"sync"
	"testing"

	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// pair returns a Conn and the other end of its stream as records.
func pair(t *testing.T, opt Options) (*Conn, *oncrpc.Reader, *oncrpc.Writer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := NewConn(near, opt)
	t.Cleanup(func() { _ = c.Close(); _ = far.Close() })
	return c, oncrpc.NewReader(far, 1<<20), oncrpc.NewWriter(far)
}

// reply encodes a COMPOUND reply whose results are given as words.
func reply(xid uint32, status nfs4.Status, count uint32, results ...uint32) []byte {
	var w xdr.Writer
	w.Reserve(oncrpc.MarkSize)
	oncrpc.AppendAccepted(&w, xid, oncrpc.Success)
	w.Uint32(uint32(status))
	w.String("tag")
	w.Uint32(count)
	for _, v := range results {
		w.Uint32(v)
	}
	return w.Bytes()
}

// Replies find their callers by xid, in whatever order they come.
func TestPipelining(t *testing.T) {
	c, r, w := pair(t, Options{})
	const n = 20
	var wg sync.WaitGroup
	for i := range uint32(n) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p, err := c.Compound(0, PutRootFH(), Access(i))
			if err != nil || Get[AccessRes](p).Access != i {
				t.Errorf("call %d: %v, %v", i, p, err)
			}
		}()
	}
	var pool oncrpc.Pool
	var replies [][]byte
	for range n {
		rec, err := r.Next(&pool)
		if err != nil {
			t.Fatal(err)
		}
		xid, _, _ := oncrpc.PeekType(rec.B)
		in := xdr.NewReader(rec.B[len(rec.B)-4:])
		bits := in.Uint32()
		replies = append(replies, reply(xid, nfs4.OK, 2, 24, 0, 3, 0, 63, bits))
	}
	for i := n - 1; i >= 0; i-- {
		if err := w.WriteRecord(replies[i]); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
}

func TestDropFailsTheWaiting(t *testing.T) {
	c, r, _ := pair(t, Options{})
	wait, err := c.Start(NewCompound(c.Cred(), 0, "", GetFH()))
	if err != nil {
		t.Fatal(err)
	}
	var pool oncrpc.Pool
	if _, err := r.Next(&pool); err != nil {
		t.Fatal(err)
	}
	c.Drop()
	if _, err := wait(); !errors.Is(err, ErrClosed) {
		t.Errorf("waiting gives %v", err)
	}
	if _, err := c.Compound(0, GetFH()); !errors.Is(err, ErrClosed) {
		t.Errorf("calling gives %v", err)
	}
}

// The same bytes go out however often a request is sent.
func TestResend(t *testing.T) {
	a, ra, wa := pair(t, Options{})
	b, rb, wb := pair(t, Options{})
	q := NewCompound(a.Cred(), 1, "x", Sequence(nfs4.SessionID{1}, 1, 0, 0, true), PutRootFH())
	var pool oncrpc.Pool
	var seen [][]byte
	for _, end := range []struct {
		c *Conn
		r *oncrpc.Reader
		w *oncrpc.Writer
	}{{a, ra, wa}, {b, rb, wb}} {
		wait, err := end.c.Start(q)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := end.r.Next(&pool)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, rec.B)
		if err := end.w.WriteRecord(reply(q.XID(), nfs4.ErrBadSession, 1, 53, uint32(nfs4.ErrBadSession))); err != nil {
			t.Fatal(err)
		}
		p, err := wait()
		if err != nil || p.Status != nfs4.ErrBadSession {
			t.Fatalf("%v, %v", p, err)
		}
	}
	if !bytes.Equal(seen[0], seen[1]) {
		t.Errorf("sent\n%x, then\n%x", seen[0], seen[1])
	}
	q.SetSequence(7, 9)
	in := xdr.NewReader(q.Bytes()[q.ArgsAt(0):])
	if id := nfs4.DecodeSessionID(&in); id != (nfs4.SessionID{1}) || in.Uint32() != 9 || in.Uint32() != 7 {
		t.Error("SetSequence patches the wrong place")
	}
}

func TestCallbackOnTheSameConnection(t *testing.T) {
	seen := make(chan CBCall, 4)
	_, r, w := pair(t, Options{Callbacks: &Callbacks{Seen: seen}})
	var m xdr.Writer
	m.Reserve(oncrpc.MarkSize)
	call := oncrpc.Call{XID: 77, Prog: nfs4.CBProgram, Vers: 1, Proc: nfs4.CBProcCompd}
	call.Encode(&m)
	m.String("")
	m.Uint32(1)
	m.Uint32(0)
	m.Uint32(2)
	m.Uint32(uint32(nfs4.CBSequence))
	nfs4.SessionID{5}.Encode(&m)
	for _, v := range []uint32{3, 0, 0, 0, 0} {
		m.Uint32(v)
	}
	m.Uint32(uint32(nfs4.CBRecall))
	nfs4.Stateid{Seqid: 1}.Encode(&m)
	m.Bool(false)
	m.Opaque([]byte("fh"))
	if err := w.WriteRecord(m.Bytes()); err != nil {
		t.Fatal(err)
	}
	var pool oncrpc.Pool
	rec, err := r.Next(&pool)
	if err != nil {
		t.Fatal(err)
	}
	in := xdr.NewReader(rec.B)
	var head oncrpc.Reply
	if err := head.Decode(&in); err != nil || head.XID != 77 || !head.OK() {
		t.Fatalf("%v, %v", &head, err)
	}
	if s := in.Uint32(); s != 0 {
		t.Errorf("status %v", nfs4.Status(s))
	}
	if (<-seen).Op != nfs4.CBSequence {
		t.Error("CB_SEQUENCE is not the first seen")
	}
	if a, ok := (<-seen).Args.(*CBRecallArgs); !ok || string(a.FH) != "fh" {
		t.Errorf("recall seen as %+v", a)
	}
}

// The hot path allocates nothing in the steady state, on this side at least.
func TestRoundTripAllocations(t *testing.T) {
	c, r, w := pair(t, Options{})
	go func() {
		var pool oncrpc.Pool
		out := reply(0, nfs4.OK, 1, 24, 0)
		for {
			rec, err := r.Next(&pool)
			if err != nil {
				return
			}
			copy(out[oncrpc.MarkSize:], rec.B[:4])
			rec.Free()
			if w.WriteRecord(out) != nil {
				return
			}
		}
	}()
	q := NewCompound(c.Cred(), 0, "", PutRootFH())
	if n := testing.AllocsPerRun(500, func() {
		q.SetXID(c.NextXID())
		rec, err := c.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := ReplyStatus(rec.B); s != nfs4.OK || err != nil {
			t.Fatal(s, err)
		}
		rec.Free()
	}); n >= 2 {
		t.Errorf("%v allocations per round trip", n)
	}
}

func TestReplyChecks(t *testing.T) {
	for name, rec := range map[string][]byte{
		"bytes too many":          reply(1, nfs4.OK, 1, 24, 0, 99),
		"result cut short":        reply(1, nfs4.OK, 1, 3, 0, 1),
		"status is not the last":  reply(1, nfs4.OK, 1, 24, 2),
		"goes on after a failure": reply(1, nfs4.OK, 2, 24, 2, 24, 0),
	} {
		if p, err := DecodeReply(rec[4:]); err == nil {
			t.Errorf("%s: accepted as %v", name, p)
		}
	}
	p, err := DecodeReply(reply(1, nfs4.ErrNoEnt, 2, 24, 0, 15, 2)[4:])
	if err != nil || p.Status != nfs4.ErrNoEnt || p.Last().Op != nfs4.OpLookup {
		t.Errorf("%v, %v", p, err)
	}
	if s, ok := Status(p.Err()); s != nfs4.ErrNoEnt || !ok {
		t.Errorf("Status gives %v %v", s, ok)
	}
	if s := p.String(); s != `COMPOUND NFS4ERR_NOENT tag="tag": PUTROOTFH; LOOKUP NFS4ERR_NOENT` {
		t.Error(s)
	}
}

func TestAttrsRoundTrip(t *testing.T) {
	when := nfs4.Time{Sec: -5, Nsec: 7}
	a := new(Attrs).SetMode(0o640).SetSize(99).SetOwner("17").SetGroup("root@x").SetNum(nfs4.AttrHidden, 1).
		SetACL([]ACE{{Type: nfs4.ACEAllowed, Mask: nfs4.ACEReadData, Who: nfs4.WhoOwner}}).SetModeUmask(0o777, 0o22)
	a.Mask.Set(nfs4.AttrTimeModify)
	a.time[nfs4.AttrTimeModify] = when
	a.Mask.Set(nfs4.AttrFSID)
	a.FSID = FSID{1, 2}
	var w xdr.Writer
	a.Encode(&w)
	r := xdr.NewReader(w.Bytes())
	b := decodeAttrs(&r)
	if r.Err() != nil || r.Remaining() != 0 {
		t.Fatal(r.Err(), r.Remaining())
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%v came back as %v", a, b)
	}
	if b.Size() != 99 || b.Mode() != 0o640 || b.Time(nfs4.AttrTimeModify) != when || !b.Has(nfs4.AttrACL) || b.Has(nfs4.AttrType) {
		t.Errorf("values of %v", b)
	}
}

// FuzzDecodeReply: whatever a server sends, the client decodes it or says why
// not.
func FuzzDecodeReply(f *testing.F) {
	f.Add(reply(1, nfs4.ErrNoEnt, 2, 24, 0, 15, 2)[4:])
	f.Add(reply(1, nfs4.OK, 1, 9, 0, 2, 0x18, 2, 12, 0, 5, 0)[4:])
	f.Add(reply(1, nfs4.OK, 1, 26, 0, 0, 0, 1, 0, 5, 1, 0x61000000, 0, 0, 0, 1)[4:])
	f.Fuzz(func(t *testing.T, rec []byte) {
		p, err := DecodeReply(rec)
		if err == nil && p.String() == "" {
			t.Error("a reply that prints as nothing")
		}
	})
}
