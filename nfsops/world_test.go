package nfsops_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/export"
	"holdfast/export/exports"
	"holdfast/export/posix"
	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
	"holdfast/nfsops"
	"holdfast/statesync"
)

// A world is one gateway without its network: a real directory, a store whose
// crashes are exact, and the operations between them. It can be stopped dead
// at any of its effects and started again on what survived.
type world struct {
	t   *testing.T
	dir string

	mu    sync.Mutex
	store *memory.Store
	node  *statesync.Node
	srv   *nfsops.Server
	fs    *posix.FS
	conns []net.Conn

	// Effects are counted from 1 while at is not 0; at number at everything stops.
	effects, at int
	dead        bool
}

var errDead = errors.New("the gateway is dead")

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.store = memory.NewWithHooks(w.hooks())
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) hooks() memory.Hooks {
	return memory.Hooks{Commit: func(*durable.Batch) error { return w.effect() }, Wait: w.effect}
}

// effect is called at each effect; an error means that it must not happen.
func (w *world) effect() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errors.Join(durable.ErrClosed, errDead)
	}
	if w.at != 0 {
		w.effects++
		if w.effects == w.at {
			w.dead = true
			return errors.Join(durable.ErrClosed, errDead)
		}
	}
	return nil
}

func (w *world) start() {
	w.t.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	node, err := statesync.Join(ctx, statesync.Config{Store: w.store, Name: "gw", Lease: time.Minute, Logger: log})
	if err != nil {
		w.t.Fatalf("join: %v", err)
	}
	fs, err := posix.New(w.dir, posix.Options{Async: true})
	if err != nil {
		w.t.Fatalf("posix: %v", err)
	}
	set, err := exports.New(node.Identity().HandleKey, []*exports.Export{{
		Path: "/", FS: &crashFS{FS: fs, w: w}, Squash: exports.SquashNone,
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	srv, err := nfsops.New(nfsops.Config{Node: node, Exports: set, Logger: log})
	if err != nil {
		w.t.Fatal(err)
	}
	w.node, w.fs, w.srv = node, fs, srv
}

// restart is what happens after a kill: the connections are gone, and a new
// process starts on what the store and the file system kept. seed chooses how much
// of what nobody had waited for was kept.
func (w *world) restart(seed uint64) {
	w.mu.Lock()
	w.dead, w.at, w.effects = true, 0, 0
	conns := w.conns
	w.conns = nil
	old, fs := w.store, w.fs
	w.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	w.srv.Close()
	fs.Close()
	survived := old.Crash(seed)
	w.mu.Lock()
	w.dead = false
	w.store = survived
	w.mu.Unlock()
	w.start()
}

func (w *world) stop() {
	w.mu.Lock()
	conns := w.conns
	w.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	w.srv.Close()
	w.node.Close(context.Background())
	w.fs.Close()
}

// arm lets everything stop at the n-th effect from now; 0 lets it run.
func (w *world) arm(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.effects = n, 0
}

// seen returns how many effects there were since arm.
func (w *world) seen() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.effects
}

// dial connects a client to the gateway as it is now.
func (w *world) dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	w.mu.Lock()
	w.conns = append(w.conns, far)
	srv := w.srv
	w.mu.Unlock()
	go serve(far, srv)
	return near, nil
}

// client establishes a client of a minor version.
func (w *world) client(minor uint32) *client.Client {
	w.t.Helper()
	c, err := client.New(context.Background(), client.Config{Dial: w.dial, Minor: minor})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

type testConn struct{}

func (testConn) Bind(nfs4.SessionID, bool) {}
func (testConn) ID() uint64                { return 1 }

// serve answers one connection, a request at a time.
func serve(conn net.Conn, srv *nfsops.Server) {
	defer conn.Close()
	r := oncrpc.NewReader(conn, 2<<20)
	out := oncrpc.NewWriter(conn)
	var pool oncrpc.Pool
	for {
		rec, err := r.Next(&pool)
		if err != nil {
			return
		}
		args := xdr.NewReader(rec.B)
		var head oncrpc.Call
		if head.Decode(&args) != nil {
			return
		}
		call := nfsops.Call{XID: head.XID, Conn: testConn{}, Remote: netip.IPv6Loopback(), Body: args.Rest()}
		var sys oncrpc.SysCred
		if head.Cred.Flavor == oncrpc.AuthSys && sys.Decode(head.Cred.Body) == nil {
			call.Flavor = nfsops.AuthSys
			call.Creds = export.Creds{UID: sys.UID, GID: sys.GID, Groups: sys.Groups()}
		}
		var w xdr.Writer
		w.Reserve(oncrpc.MarkSize)
		oncrpc.AppendAccepted(&w, head.XID, oncrpc.Success)
		if head.Proc != nfs4.ProcNull {
			if err := srv.Compound(context.Background(), &call, &w); err != nil {
				return
			}
		}
		rec.Free()
		if out.WriteRecord(w.Bytes()) != nil {
			return
		}
	}
}

// crashFS is the file system with an effect before and after each change.
type crashFS struct {
	*posix.FS
	w *world
}

// change runs one change between two effects.
func (f *crashFS) change(do func() error) error {
	if err := f.w.effect(); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return f.w.effect()
}

func (f *crashFS) Setattr(cred *export.Creds, h []byte, file export.File, set *export.SetAttr) error {
	return f.change(func() error { return f.FS.Setattr(cred, h, file, set) })
}

func (f *crashFS) Make(cred *export.Creds, dir []byte, name string, args *export.MakeArgs, open bool, attr *export.Attr) (h []byte, file export.File, d export.DirChange, err error) {
	err = f.change(func() error {
		h, file, d, err = f.FS.Make(cred, dir, name, args, open, attr)
		return err
	})
	return h, file, d, err
}

func (f *crashFS) Link(cred *export.Creds, h, dir []byte, name string) (d export.DirChange, err error) {
	err = f.change(func() error { d, err = f.FS.Link(cred, h, dir, name); return err })
	return d, err
}

func (f *crashFS) Remove(cred *export.Creds, dir []byte, name string) (d export.DirChange, err error) {
	err = f.change(func() error { d, err = f.FS.Remove(cred, dir, name); return err })
	return d, err
}

func (f *crashFS) Rename(cred *export.Creds, fromDir []byte, from string, toDir []byte, to string) (a, b export.DirChange, err error) {
	err = f.change(func() error { a, b, err = f.FS.Rename(cred, fromDir, from, toDir, to); return err })
	return a, b, err
}

func (f *crashFS) SetXattr(cred *export.Creds, h []byte, name string, value []byte, mode export.XattrMode) error {
	return f.change(func() error { return f.FS.SetXattr(cred, h, name, value, mode) })
}

func (f *crashFS) RemoveXattr(cred *export.Creds, h []byte, name string) error {
	return f.change(func() error { return f.FS.RemoveXattr(cred, h, name) })
}
