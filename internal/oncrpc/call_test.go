package oncrpc

import (
	"bytes"
	"errors"
	"testing"

	"holdfast/internal/xdr"
)

func callRecord(c Call) []byte {
	var w xdr.Writer
	c.Encode(&w)
	return fragments(string(w.Bytes()))
}

func TestCallRoundTrip(t *testing.T) {
	sys := SysCred{Stamp: 5, Machine: []byte("host"), UID: 1000, GID: 100}
	sys.SetGroups([]uint32{4, 24, 27})
	c := Call{XID: 0xdeadbeef, Prog: 100003, Vers: 4, Proc: 1, Cred: sys.Auth()}
	var w xdr.Writer
	c.Encode(&w)
	w.Uint32(77)

	r := xdr.NewReader(w.Bytes())
	var back Call
	if err := back.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if back.XID != c.XID || back.Prog != c.Prog || back.Vers != 4 || back.Proc != 1 || back.Cred.Flavor != AuthSys || back.Verf.Flavor != AuthNone {
		t.Errorf("came back as %+v", back)
	}
	if r.Uint32() != 77 || r.Remaining() != 0 {
		t.Error("the cursor is not at the arguments")
	}
	var got SysCred
	if err := got.Decode(back.Cred.Body); err != nil {
		t.Fatal(err)
	}
	if got.UID != 1000 || got.GID != 100 || string(got.Machine) != "host" || len(got.Groups()) != 3 || got.Groups()[2] != 27 {
		t.Errorf("credential came back as %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() {
		r := xdr.NewReader(w.Bytes())
		if back.Decode(&r) != nil || got.Decode(back.Cred.Body) != nil {
			t.Error("cannot decode")
		}
	}); n != 0 {
		t.Errorf("decoding allocates %v times", n)
	}
	if prog, vers, proc, ok := PeekCall(w.Bytes()); prog != 100003 || vers != 4 || proc != 1 || !ok {
		t.Error("PeekCall is wrong")
	}
}

func TestCallErrors(t *testing.T) {
	words := func(v ...uint32) []byte {
		var w xdr.Writer
		for _, x := range v {
			w.Uint32(x)
		}
		return w.Bytes()
	}
	for _, c := range []struct {
		name string
		in   []byte
		want error
		xid  uint32
	}{
		{"empty", nil, xdr.ErrShort, 0},
		{"reply", words(7, 1, 0, 0, 0, 0), ErrNotCall, 7},
		{"rpc version 3", words(7, 0, 3, 100003, 4, 0, 0, 0, 0, 0), ErrRPCVersion, 7},
		{"cut short", words(7, 0, 2, 100003), xdr.ErrShort, 7},
		{"credential of 401 bytes", append(words(7, 0, 2, 100003, 4, 0, 1, 401), make([]byte, 500)...), ErrAuth, 7},
		{"credential longer than the call", words(7, 0, 2, 100003, 4, 0, 1, 400), ErrAuth, 7},
		{"no verifier", words(7, 0, 2, 100003, 4, 0, 0, 0), ErrAuth, 7},
	} {
		r := xdr.NewReader(c.in)
		var call Call
		if err := call.Decode(&r); !errors.Is(err, c.want) || call.XID != c.xid {
			t.Errorf("%s: %v with xid %d, want %v", c.name, err, call.XID, c.want)
		}
	}
	var s SysCred
	for _, body := range [][]byte{
		words(0, 256), words(0, 0, 1, 1, 17), words(0, 0, 1, 1, 2, 5), words(0, 0, 1, 1, 0, 9), {1},
	} {
		if err := s.Decode(body); !errors.Is(err, ErrAuth) {
			t.Errorf("AUTH_SYS body %x: %v", body, err)
		}
	}
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		encode func(w *xdr.Writer)
		want   string
	}{
		{func(w *xdr.Writer) { AppendAccepted(w, 3, Success) }, "SUCCESS"},
		{func(w *xdr.Writer) { AppendAccepted(w, 3, ProgUnavail) }, "PROG_UNAVAIL"},
		{func(w *xdr.Writer) { AppendProgMismatch(w, 3, 3, 4) }, "PROG_MISMATCH (3 to 4)"},
		{func(w *xdr.Writer) { AppendAccepted(w, 3, ProcUnavail) }, "PROC_UNAVAIL"},
		{func(w *xdr.Writer) { AppendAccepted(w, 3, GarbageArgs) }, "GARBAGE_ARGS"},
		{func(w *xdr.Writer) { AppendAccepted(w, 3, SystemErr) }, "SYSTEM_ERR"},
		{func(w *xdr.Writer) { AppendRPCMismatch(w, 3) }, "denied: RPC_MISMATCH (2 to 2)"},
		{func(w *xdr.Writer) { AppendAuthError(w, 3, AuthTooWeak) }, "denied: AUTH_TOOWEAK"},
	} {
		var w xdr.Writer
		c.encode(&w)
		r := xdr.NewReader(w.Bytes())
		var p Reply
		if err := p.Decode(&r); err != nil || p.XID != 3 || r.Remaining() != 0 || p.String() != c.want {
			t.Errorf("%v from %x (%v), want %s", &p, w.Bytes(), err, c.want)
		}
		if p.OK() != (c.want == "SUCCESS") {
			t.Errorf("OK of %s is %v", c.want, p.OK())
		}
	}
}

// FuzzCall: any bytes decode or fail without a panic, and what decodes encodes
// to the same bytes.
func FuzzCall(f *testing.F) {
	sys := SysCred{Machine: []byte("abc")}
	f.Add(callRecord(Call{XID: 1, Prog: 100003, Vers: 4, Proc: 1, Cred: sys.Auth()})[4:])
	f.Fuzz(func(t *testing.T, in []byte) {
		r := xdr.NewReader(in)
		var c Call
		if c.Decode(&r) != nil {
			return
		}
		var w xdr.Writer
		c.Encode(&w)
		again := xdr.NewReader(w.Bytes())
		var d Call
		if err := d.Decode(&again); err != nil || d.XID != c.XID || !bytes.Equal(d.Cred.Body, c.Cred.Body) {
			t.Fatalf("%+v came back as %+v, %v", c, d, err)
		}
		if w.Len() != r.Offset() {
			t.Fatalf("read %d bytes, wrote %d", r.Offset(), w.Len())
		}
		var s SysCred
		if s.Decode(c.Cred.Body) == nil {
			if auth := s.Auth(); len(auth.Body) != len(c.Cred.Body) {
				t.Fatalf("AUTH_SYS of %d bytes comes back with %d", len(c.Cred.Body), len(auth.Body))
			}
		}
	})
}

// FuzzReply: any bytes decode or fail without a panic.
func FuzzReply(f *testing.F) {
	var w xdr.Writer
	AppendProgMismatch(&w, 1, 3, 4)
	f.Add(w.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		r := xdr.NewReader(in)
		var p Reply
		if p.Decode(&r) == nil && p.String() == "" {
			t.Fatal("a reply without a name")
		}
	})
}
