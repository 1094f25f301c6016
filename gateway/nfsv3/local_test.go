package nfsv3

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	nfs "github.com/willscott/go-nfs"

	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// raw sends one call over a connection of its own and returns status and rest
// of the reply.
func (w *world) raw(prog, vers, proc uint32, fill func(args *xdr.Writer)) (oncrpc.Reply, nfs.NFSStatus, xdr.Reader) {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	out := xdr.NewWriter(make([]byte, 4))
	h := oncrpc.Call{XID: 9, Prog: prog, Vers: vers, Proc: proc}
	h.Encode(&out)
	fill(&out)
	b := out.Bytes()
	binary.BigEndian.PutUint32(b, uint32(len(b)-4)|oncrpc.LastFragment)
	// The first call decides what the connection is.
	first := xdr.NewWriter(make([]byte, 4))
	null := oncrpc.Call{XID: 8, Prog: programNFS, Vers: 3}
	null.Encode(&first)
	f := first.Bytes()
	binary.BigEndian.PutUint32(f, uint32(len(f)-4)|oncrpc.LastFragment)
	if _, err := c.Write(bytes.Join([][]byte{f, b}, nil)); err != nil {
		w.t.Fatal(err)
	}
	var pool oncrpc.Pool
	rd := oncrpc.NewReader(c, maxCall)
	for {
		rec, err := rd.Next(&pool)
		if err != nil {
			w.t.Fatal(err)
		}
		r := xdr.NewReader(rec.B)
		var rep oncrpc.Reply
		if err := rep.Decode(&r); err != nil {
			w.t.Fatal(err)
		}
		if rep.XID == 9 {
			var status nfs.NFSStatus
			if rep.OK() {
				status = nfs.NFSStatus(r.Uint32())
			}
			return rep, status, r
		}
	}
}

func (w *world) status(proc nfs.NFSProcedure, fill func(args *xdr.Writer)) nfs.NFSStatus {
	w.t.Helper()
	rep, status, _ := w.raw(programNFS, 3, uint32(proc), fill)
	if !rep.OK() {
		w.t.Fatal(&rep)
	}
	return status
}

func (w *world) handle(parts ...string) []byte {
	w.t.Helper()
	h := &handler{s: New(Config{Exports: w.set})}
	fh := h.ToHandle(h.view(w.set.All()[0]), parts)
	if fh == nil {
		w.t.Fatalf("no handle for %v", parts)
	}
	return fh
}

// no appends n booleans that are false.
func no(args *xdr.Writer, n int) {
	for range n {
		args.Bool(false)
	}
}

func TestSetAttr(t *testing.T) {
	w := newWorld(t, nil)
	p := filepath.Join(w.dir, "f")
	if err := os.WriteFile(p, []byte("hello world"), 0o644); err != nil {
		t.Fatal(err)
	}
	set := func(guard *time.Time) nfs.NFSStatus {
		return w.status(nfs.NFSProcedureSetAttr, func(args *xdr.Writer) {
			args.Opaque(w.handle("f"))
			args.Bool(true) // mode
			args.Uint32(0o4600)
			no(args, 2) // owner, group
			args.Bool(true)
			args.Uint64(5)
			args.Uint32(0) // atime
			args.Uint32(2) // mtime
			args.Uint32(1_000_000_000)
			args.Uint32(7)
			args.Bool(guard != nil)
			if guard != nil {
				args.Uint32(uint32(guard.Unix()))
				args.Uint32(uint32(guard.Nanosecond()))
			}
		})
	}
	old := time.Unix(5, 0)
	if got := set(&old); got != nfs.NFSStatusNotSync {
		t.Errorf("with a wrong guard: %v", got)
	}
	if st, err := os.Stat(p); err != nil || st.Size() != 11 {
		t.Fatalf("%v, %v", st, err)
	}
	if got := set(nil); got != nfs.NFSStatusOk {
		t.Fatal(got)
	}
	st, err := os.Stat(p)
	if err != nil || st.Size() != 5 || st.Mode() != 0o600|os.ModeSetuid || !st.ModTime().Equal(time.Unix(1_000_000_000, 7)) {
		t.Errorf("%v, %v", st, err)
	}
	mtime := st.ModTime()
	if got := set(&mtime); got != nfs.NFSStatusOk {
		t.Errorf("with the right guard: %v", got)
	}
}

func TestLinkAndMkNod(t *testing.T) {
	w := newWorld(t, nil)
	if err := os.WriteFile(filepath.Join(w.dir, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	link := func(args *xdr.Writer) {
		args.Opaque(w.handle("f"))
		args.Opaque(w.handle())
		args.String("g")
	}
	if got := w.status(nfs.NFSProcedureLink, link); got != nfs.NFSStatusOk {
		t.Error("LINK:", got)
	}
	if got := w.status(nfs.NFSProcedureLink, link); got != nfs.NFSStatusExist {
		t.Error("LINK again:", got)
	}
	if st, err := os.Stat(filepath.Join(w.dir, "g")); err != nil || st.Sys().(*syscall.Stat_t).Nlink != 2 {
		t.Errorf("%v, %v", st, err)
	}
	for name, kind := range map[string]uint32{"socket": 6, "fifo": 7} {
		got := w.status(nfs.NFSProcedureMkNod, func(args *xdr.Writer) {
			args.Opaque(w.handle())
			args.String(name)
			args.Uint32(kind)
			no(args, 4)
			args.Uint32(0)
			args.Uint32(0)
		})
		want := map[string]os.FileMode{"socket": os.ModeSocket, "fifo": os.ModeNamedPipe}[name]
		if st, err := os.Stat(filepath.Join(w.dir, name)); got != nfs.NFSStatusOk || err != nil || st.Mode().Type() != want {
			t.Errorf("MKNOD %s: %v, %v, %v", name, got, st, err)
		}
	}
	if got := w.status(nfs.NFSProcedureMkNod, func(args *xdr.Writer) {
		args.Opaque(w.handle())
		args.String("regular")
		args.Uint32(1)
	}); got != nfs.NFSStatusBadType {
		t.Error("MKNOD of a regular file:", got)
	}
}

// RFC 1813 §3.3.19: what FSINFO promises is what is served.
func TestFSInfo(t *testing.T) {
	w := newWorld(t, nil)
	_, status, r := w.raw(programNFS, 3, uint32(nfs.NFSProcedureFSInfo), func(args *xdr.Writer) { args.Opaque(w.handle()) })
	if attrs, rtmax := r.Bool(), r.Uint32(); status != nfs.NFSStatusOk || attrs || rtmax != maxIO {
		t.Errorf("%v, attributes %v, rtmax %d", status, attrs, rtmax)
	}
	if got := w.status(nfs.NFSProcedureFSInfo, func(args *xdr.Writer) { args.Opaque([]byte("nonsense")) }); got != nfs.NFSStatusBadHandle {
		t.Error("of a handle that is none:", got)
	}
}

func TestCallsThatAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	nothing := func(*xdr.Writer) {}
	for _, tc := range []struct {
		prog, vers, proc uint32
		fill             func(*xdr.Writer)
		want             string
	}{
		{100227, 3, 0, nothing, "PROG_UNAVAIL"},
		{programNFS, 4, 0, nothing, "PROG_MISMATCH (3 to 3)"},
		{programNFS, 3, 22, nothing, "PROC_UNAVAIL"},
		{programNFS, 3, uint32(nfs.NFSProcedureGetAttr), nothing, "GARBAGE_ARGS"},
		{programNFS, 3, uint32(nfs.NFSProcedureLookup), func(args *xdr.Writer) {
			args.Opaque(w.handle())
			args.String("../etc")
		}, "GARBAGE_ARGS"},
		{programNFS, 3, uint32(nfs.NFSProcedureNull), func(args *xdr.Writer) { args.Uint32(1) }, "GARBAGE_ARGS"},
	} {
		if rep, _, _ := w.raw(tc.prog, tc.vers, tc.proc, tc.fill); rep.String() != tc.want {
			t.Errorf("program %d version %d procedure %d: %v, want %s", tc.prog, tc.vers, tc.proc, &rep, tc.want)
		}
	}
}
