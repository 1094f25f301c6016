package nfsops_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/durable/memory"
	"holdfast/export/exports"
	"holdfast/export/posix"
	"holdfast/internal/nfs4"
	"holdfast/nfsops"
	"holdfast/statesync"
)

// A house is a gateway that exports three directories:
//
//	/a             to read and write, with ACLs and extended attributes
//	/dir/readonly  read-only
//	/dir/private   to addresses that no client of the test has
type house struct {
	t       testing.TB
	a, ro   string // the directories
	srv     *nfsops.Server
	node    *statesync.Node
	exports *exports.Set
}

func newHouse(t testing.TB, configure ...func(*nfsops.Config)) *house {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("serving files as their owners needs root")
	}
	h := &house{t: t, a: t.TempDir(), ro: t.TempDir()}
	for _, dir := range []string{h.a, h.ro} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	node, err := statesync.Join(ctx, statesync.Config{Store: memory.New(), Name: "gw", Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Close(ctx) })
	fs := func(dir string) *posix.FS {
		fs, err := posix.New(dir, posix.Options{Async: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fs.Close() })
		return fs
	}
	h.exports, err = exports.New(node.Identity().HandleKey, []*exports.Export{
		{ID: 1, Path: "/a", FS: fs(h.a), Squash: exports.SquashNone},
		{ID: 2, Path: "/dir/readonly", FS: fs(h.ro), Squash: exports.SquashNone, ReadOnly: true},
		{ID: 3, Path: "/dir/private", FS: fs(t.TempDir()), Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := nfsops.Config{Node: node, Exports: h.exports, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range configure {
		f(&cfg)
	}
	srv, err := nfsops.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	h.srv, h.node = srv, node
	return h
}

// client establishes a client of a minor version that acts as uid.
func (h *house) client(minor, uid uint32) *client.Client {
	h.t.Helper()
	c, err := client.New(context.Background(), client.Config{
		Minor:   minor,
		Options: client.Options{Cred: client.SysAuth(uid, uid)},
		Dial: func(context.Context) (net.Conn, error) {
			near, far := net.Pipe()
			go serve(far, h.srv, nil)
			return near, nil
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// file makes a file in the first export, and returns its path.
func (h *house) file(name, content string, mode os.FileMode) string {
	h.t.Helper()
	p := filepath.Join(h.a, name)
	if err := os.WriteFile(p, []byte(content), mode); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *house) mkdir(name string, mode os.FileMode) string {
	h.t.Helper()
	p := filepath.Join(h.a, name)
	if err := os.Mkdir(p, mode); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// walk returns a filehandle.
func walk(t testing.TB, c *client.Client, path string) client.FH {
	t.Helper()
	fh, err := c.Walk(path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return fh
}

// status runs a compound and returns its status.
func status(t *testing.T, c *client.Client, ops ...client.Op) nfs4.Status {
	t.Helper()
	p, err := c.Compound(ops...)
	if err != nil {
		t.Fatal(err)
	}
	return p.Status
}

// must runs a compound that must succeed.
func must(t *testing.T, c *client.Client, ops ...client.Op) *client.Reply {
	t.Helper()
	p, err := client.Check(c.Compound(ops...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eachMinor runs a test with a client of each minor version.
func eachMinor(t *testing.T, f func(t *testing.T, h *house, c *client.Client)) {
	for minor := range uint32(3) {
		t.Run("4."+string(rune('0'+minor)), func(t *testing.T) {
			h := newHouse(t)
			f(t, h, h.client(minor, 0))
		})
	}
}
