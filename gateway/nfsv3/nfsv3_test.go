package nfsv3

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nfs "github.com/willscott/go-nfs"
	nfsc "github.com/willscott/go-nfs-client/nfs"
	rpc "github.com/willscott/go-nfs-client/nfs/rpc"

	"holdfast/export/exports"
	"holdfast/export/posix"
	"holdfast/gateway"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
	"holdfast/nfsops"
)

// world is a gateway that serves NFSv3 for a directory.
type world struct {
	t    *testing.T
	dir  string
	set  *exports.Set
	addr string
}

type noHandler struct{}

func (noHandler) Compound(context.Context, *nfsops.Call, *xdr.Writer) error {
	return errors.New("NFSv4 is not part of this test")
}

func newWorld(t *testing.T, edit func(e *exports.Export)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	fs, err := posix.New(w.dir, posix.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	e := &exports.Export{Path: "/data", FS: fs, Squash: exports.SquashRoot, AnonUID: uint32(os.Getuid()), AnonGID: uint32(os.Getgid())}
	if edit != nil {
		edit(e)
	}
	if w.set, err = exports.New([16]byte{1}, []*exports.Export{e}); err != nil {
		t.Fatal(err)
	}
	s, err := gateway.New(gateway.Config{Listen: []string{"127.0.0.1:0"}, Handler: noHandler{}, NFSv3: New(Config{Exports: w.set})})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve()
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	w.addr = s.Addrs()[0].String()
	return w
}

func (w *world) dial() *rpc.Client {
	w.t.Helper()
	_, port, _ := net.SplitHostPort(w.addr)
	var n int
	fmt.Sscan(port, &n)
	c, err := nfsc.DialServiceAtPort("127.0.0.1", n)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) mount() *nfsc.Target {
	w.t.Helper()
	target, err := w.tryMount("/data")
	if err != nil {
		w.t.Fatal(err)
	}
	return target
}

func (w *world) tryMount(dir string) (*nfsc.Target, error) {
	m := nfsc.Mount{Client: w.dial()}
	return m.Mount(dir, rpc.NewAuthUnix("host", 1000, 1000).Auth())
}

func TestFilesThroughNFSv3(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mount()

	// Larger than one WRITE.
	data := bytes.Repeat([]byte("holdfast"), 300_000)
	f, err := c.OpenFile("/file", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(w.dir, "file"))
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	r, err := c.Open("/file")
	if err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(back, data) {
		t.Fatalf("read back %d bytes, %v", len(back), err)
	}

	if _, err := c.Mkdir("/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mkdir("/dir", 0o755); !os.IsExist(err) {
		t.Errorf("mkdir again: %v", err)
	}
	if err := c.Symlink("../file", "/dir/link"); err != nil {
		t.Error("symlink:", err)
	}
	if target, err := os.Readlink(filepath.Join(w.dir, "dir/link")); target != "../file" {
		t.Errorf("link to %q, %v", target, err)
	}
	if err := c.Rename("/file", "/dir/moved"); err != nil {
		t.Error("rename:", err)
	}
	if _, _, err := c.Lookup("/file", false); !os.IsNotExist(err) {
		t.Errorf("lookup of what was renamed: %v", err)
	}
	if err := c.RmDir("/dir"); err == nil {
		t.Error("a directory with files was removed")
	}
	if err := c.Remove("/dir/moved"); err != nil {
		t.Error("remove:", err)
	}
	if err := c.Remove("/dir/link"); err != nil {
		t.Error("remove:", err)
	}
	if err := c.RmDir("/dir"); err != nil {
		t.Error("rmdir:", err)
	}
	if left, _ := os.ReadDir(w.dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A filehandle stays good while its file is renamed by somebody else, and is
// that of NFSv4.
func TestHandleSurvivesRename(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mount()
	fh, err := c.Create("/a", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if e, _, err := w.set.Open(fh); err != nil || e.Path != "/data" {
		t.Fatalf("not a handle of the exports: %v", err)
	}
	if err := os.Mkdir(filepath.Join(w.dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.dir, "a"), filepath.Join(w.dir, "d/b")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "d/b"), []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if attr, err := c.GetAttr(fh); err != nil || attr.Size() != 5 {
		t.Fatalf("%v, %v", attr, err)
	}
	if err := os.Remove(filepath.Join(w.dir, "d/b")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetAttr(fh); err == nil {
		t.Fatal("the handle of a removed file is good")
	}
}

// The parent of a directory, asked for by handle, is its parent.
func TestLookupOfParent(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mount()
	top, err := c.Mkdir("/top", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mkdir("/top/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	_, sub, err := c.Lookup("/top/sub", false)
	if err != nil {
		t.Fatal(err)
	}
	h := &handler{s: New(Config{Exports: w.set})}
	view, parts, err := h.FromHandle(sub)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.ToHandle(view, parts[:len(parts)-1]); !bytes.Equal(got, top) {
		t.Errorf("parent of sub is %x, want %x", got, top)
	}
	if got := h.ToHandle(view, append(parts, objectMark+"00")); got != nil {
		t.Errorf("a name that looks like a handle was taken for one: %x", got)
	}
	if got := h.ToHandle(view, append(parts, "..")); got != nil {
		t.Errorf("a name of .. was followed: %x", got)
	}
}

func TestLargeDirectory(t *testing.T) {
	w := newWorld(t, nil)
	const n = 3000
	for i := range n {
		if err := os.WriteFile(filepath.Join(w.dir, fmt.Sprintf("file-%04d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.mount().ReadDirPlus("/")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), "file-") {
			seen[e.Name()] = true
		}
	}
	if len(seen) != n {
		t.Fatalf("%d of %d names", len(seen), n)
	}
}

func TestMountIsRefused(t *testing.T) {
	w := newWorld(t, func(e *exports.Export) { e.Clients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	if _, err := w.tryMount("/data"); err == nil {
		t.Error("a client that is not in the list could mount")
	}
	if _, err := w.tryMount("/other"); err == nil {
		t.Error("what is not exported could be mounted")
	}
	// Nor does a handle from elsewhere help.
	h := &handler{s: New(Config{Exports: w.set}), remote: netip.MustParseAddr("127.0.0.1")}
	e := w.set.All()[0]
	if _, _, err := h.FromHandle(w.set.Seal(nil, e, e.FS.Root())); err == nil {
		t.Error("a client that is not in the list could use a handle")
	}
}

// What ACCESS allows is what the anonymous user may do.
func TestAccess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("serving files as another user needs root")
	}
	w := newWorld(t, func(e *exports.Export) { e.AnonUID, e.AnonGID = 65534, 65534 })
	for name, mode := range map[string]os.FileMode{"open": 0o666, "closed": 0o600} {
		p := filepath.Join(w.dir, name)
		if err := os.WriteFile(p, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]uint32{"open": 0x01 | 0x04 | 0x08, "closed": 0} {
		h := &handler{s: New(Config{Exports: w.set})}
		e := w.set.All()[0]
		v := h.view(e)
		fh := h.ToHandle(v, []string{name})
		var args xdr.Writer
		args.Opaque(fh)
		args.Uint32(0x3f)
		r := xdr.NewReader(args.Bytes())
		answer := h.local(&oncrpc.Call{XID: 7, Prog: programNFS, Vers: 3, Proc: uint32(nfs.NFSProcedureAccess)}, &r)
		var out xdr.Writer
		answer(&out)
		back := xdr.NewReader(out.Bytes())
		var rep oncrpc.Reply
		if err := rep.Decode(&back); err != nil || !rep.OK() {
			t.Fatalf("%v, %v", &rep, err)
		}
		if status, attrs, got := back.Uint32(), back.Bool(), back.Uint32(); status != 0 || attrs || got != want || back.Remaining() != 0 {
			t.Errorf("%s: status %d, access %#x, want %#x", name, status, got, want)
		}
	}
}

func TestReadOnlyExport(t *testing.T) {
	w := newWorld(t, func(e *exports.Export) { e.ReadOnly = true })
	if err := os.WriteFile(filepath.Join(w.dir, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := w.mount()
	if _, err := c.Create("/new", 0o644); err == nil {
		t.Error("a file was made")
	}
	if err := c.Remove("/f"); err == nil {
		t.Error("a file was removed")
	}
	if f, err := c.Open("/f"); err != nil {
		t.Error(err)
	} else if b, err := io.ReadAll(f); string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "f")); err != nil {
		t.Error(err)
	}
}

// Whatever a client sends, the program lives, and other clients are served:
// calls that are well formed with values that are not, and calls cut or changed
// anywhere.
func TestHostileCalls(t *testing.T) {
	w := newWorld(t, nil)
	good := w.mount()
	e := w.set.All()[0]
	root := w.set.Seal(nil, e, e.FS.Root())
	file, err := good.Create("/f", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var conn net.Conn
	for i := range 3000 {
		if conn == nil {
			if conn, err = net.Dial("tcp", w.addr); err != nil {
				t.Fatal(err)
			}
		}
		call := randomCall(rnd, root, file)
		if rnd.IntN(3) == 0 {
			call[rnd.IntN(len(call))] ^= 1 << rnd.IntN(8)
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(call))|oncrpc.LastFragment), call...)
		if _, err := conn.Write(framed); err != nil {
			conn.Close()
			conn = nil
			continue
		}
		if rnd.IntN(4) != 0 {
			continue
		}
		// Close what may have been cut off, so that calls get through again.
		conn.Close()
		conn = nil
		if i%100 == 0 {
			if _, err := good.GetAttr(root); err != nil {
				t.Fatalf("call %d: another client is not served: %v", i, err)
			}
		}
	}
	if conn != nil {
		conn.Close()
	}
	if _, err := good.GetAttr(root); err != nil {
		t.Fatalf("another client is not served: %v", err)
	}
}

func randomCall(rnd *rand.Rand, root, file []byte) []byte {
	var w xdr.Writer
	h := oncrpc.Call{XID: rnd.Uint32(), Prog: programNFS, Vers: version, Proc: uint32(rnd.IntN(22))}
	if rnd.IntN(20) == 0 {
		h.Prog, h.Proc = programMount, uint32(rnd.IntN(6))
	}
	h.Encode(&w)
	handle := func() { w.Opaque([][]byte{root, file, root[:5], nil}[rnd.IntN(4)]) }
	name := func() {
		w.String([]string{"f", "new", "", ".", "..", strings.Repeat("x", 255), "\xff\xfe", objectMark + "00"}[rnd.IntN(8)])
	}
	number := func() uint32 { return []uint32{0, 1, 2, 3, 4096, 1 << 20, 1 << 31, 0xffffffff}[rnd.IntN(8)] }
	big := func() { w.Uint32(number()); w.Uint32(number()) }
	attrs := func() {
		for range 3 {
			if set := rnd.IntN(2); set == 1 {
				w.Uint32(1)
				w.Uint32(number())
			} else {
				w.Uint32(0)
			}
		}
		w.Uint32(1)
		w.Uint64(uint64(rnd.IntN(1 << 20)))
		w.Uint32(2)
		big()
		w.Uint32(uint32(rnd.IntN(2)))
	}
	if h.Prog == programMount {
		w.String("/data")
		return w.Bytes()
	}
	switch nfs.NFSProcedure(h.Proc) {
	case nfs.NFSProcedureSetAttr:
		handle()
		attrs()
		w.Uint32(0)
	case nfs.NFSProcedureLookup, nfs.NFSProcedureRemove, nfs.NFSProcedureRmDir:
		handle()
		name()
	case nfs.NFSProcedureAccess:
		handle()
		w.Uint32(number())
	case nfs.NFSProcedureRead:
		handle()
		big()
		w.Uint32(number())
	case nfs.NFSProcedureWrite:
		handle()
		w.Uint64(uint64(rnd.IntN(1 << 20)))
		data := make([]byte, rnd.IntN(100))
		w.Uint32(uint32(len(data)))
		w.Uint32(uint32(rnd.IntN(3)))
		w.Opaque(data)
	case nfs.NFSProcedureCreate:
		handle()
		name()
		how := rnd.IntN(3)
		w.Uint32(uint32(how))
		if how == 2 {
			w.Uint64(rnd.Uint64())
		} else {
			attrs()
		}
	case nfs.NFSProcedureMkDir:
		handle()
		name()
		attrs()
	case nfs.NFSProcedureSymlink:
		handle()
		name()
		attrs()
		name()
	case nfs.NFSProcedureMkNod:
		handle()
		name()
		kind := rnd.IntN(9)
		w.Uint32(uint32(kind))
		if kind == 3 || kind == 4 || kind == 6 || kind == 7 {
			attrs()
		}
		if kind == 3 || kind == 4 {
			big()
		}
	case nfs.NFSProcedureRename:
		handle()
		name()
		handle()
		name()
	case nfs.NFSProcedureLink:
		handle()
		handle()
		name()
	case nfs.NFSProcedureReadDir, nfs.NFSProcedureReadDirPlus:
		handle()
		big()
		w.Uint64(rnd.Uint64())
		w.Uint32(number())
		if nfs.NFSProcedure(h.Proc) == nfs.NFSProcedureReadDirPlus {
			w.Uint32(number())
		}
	case nfs.NFSProcedureCommit:
		handle()
		big()
		w.Uint32(number())
	case nfs.NFSProcedureNull:
	default:
		handle()
	}
	return w.Bytes()
}
