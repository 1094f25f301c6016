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
	t    *testing.T
	dir  string
	join func(*statesync.Config) // changes what start joins with; nil: nothing

	mu    sync.Mutex
	store *memory.Store
	node  *statesync.Node
	srv   *nfsops.Server
	fs    *posix.FS
	conns []net.Conn

	// Effects are counted from 1 while at is not 0; at number at everything stops.
	effects, at int
	dead        bool

	// hangs, if it is not nil, makes it hang at that effect instead, until wake is closed.
	hangs, wake chan struct{}
	noGap       bool // not between the last look whether it may serve and a change of the file system

	running sync.WaitGroup // requests
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
	if w.at == 0 {
		return nil
	}
	w.effects++
	switch {
	case w.effects != w.at:
		return nil
	case w.hangs == nil:
		w.dead = true
		return errors.Join(durable.ErrClosed, errDead)
	}
	wake := w.wake
	close(w.hangs)
	w.mu.Unlock()
	<-wake
	w.mu.Lock()
	return nil
}

func (w *world) start() {
	w.t.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	cfg := statesync.Config{Store: w.store, Name: "gw", Lease: time.Minute, Logger: log}
	if w.join != nil {
		w.join(&cfg)
	}
	node, err := statesync.Join(ctx, cfg)
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
	w.kill()
	survived := w.store.Crash(seed)
	w.mu.Lock()
	w.dead = false
	w.store = survived
	w.mu.Unlock()
	w.start()
}

// kill ends the gateway: its connections are gone, and nothing of it has an
// effect any more.
func (w *world) kill() {
	w.mu.Lock()
	w.dead, w.at, w.effects = true, 0, 0
	conns := w.conns
	w.conns = nil
	w.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	w.srv.Close()
	w.fs.Close()
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

// armHang lets the gateway hang at the n-th effect from now until goOn; what it
// returns is closed when it does.
func (w *world) armHang(n int) (hangs <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.effects = n, 0
	w.hangs, w.wake = make(chan struct{}), make(chan struct{})
	return w.hangs
}

// skipGap lets a hang wait for the next effect.
func (w *world) skipGap() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noGap && w.hangs != nil && w.effects+1 == w.at {
		w.at++
	}
}

// goOn ends a hang, if there is one, and returns when the request that hung has ended.
func (w *world) goOn() {
	w.mu.Lock()
	if w.wake != nil {
		close(w.wake)
	}
	w.hangs, w.wake = nil, nil
	w.mu.Unlock()
	w.running.Wait()
}

// seen returns how many effects there were since arm.
func (w *world) seen() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.effects
}

func (w *world) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// dial connects a client to the gateway as it is now.
func (w *world) dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	w.mu.Lock()
	w.conns = append(w.conns, far)
	srv := w.srv
	w.mu.Unlock()
	go serve(far, srv, w)
	return near, nil
}

// client establishes a client of a minor version.
func (w *world) client(minor uint32) *client.Client {
	w.t.Helper()
	return establish(w.t, minor, w.dial)
}

func establish(t *testing.T, minor uint32, dial dialer) *client.Client {
	t.Helper()
	c, err := client.New(context.Background(), client.Config{Dial: dial, Minor: minor})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type testConn struct{}

func (testConn) Bind(nfs4.SessionID, bool) {}
func (testConn) Current() bool             { return true }
func (testConn) ID() uint64                { return 1 }

// serve answers one connection, a request at a time, until the gateway is dead; w may be nil.
func serve(conn net.Conn, srv *nfsops.Server, w *world) {
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
		var reply xdr.Writer
		reply.Reserve(oncrpc.MarkSize)
		oncrpc.AppendAccepted(&reply, head.XID, oncrpc.Success)
		if head.Proc != nfs4.ProcNull {
			if w != nil {
				w.running.Add(1)
			}
			err := srv.Compound(context.Background(), &call, &reply)
			if w != nil {
				w.running.Done()
			}
			if err != nil {
				return
			}
		}
		rec.Free()
		if w != nil && w.isDead() || out.WriteRecord(reply.Bytes()) != nil {
			return
		}
	}
}
