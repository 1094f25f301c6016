package exports

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-billy/v5/memfs"

	"holdfast/export"
	"holdfast/export/billy"
)

var key = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}

func memory(t testing.TB) export.FS {
	t.Helper()
	fs, err := billy.New(memfs.New(), billy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

func set(t testing.TB, paths ...string) *Set {
	t.Helper()
	var list []*Export
	for _, p := range paths {
		list = append(list, &Export{Path: p, FS: memory(t)})
	}
	s, err := New(key, list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealAndOpen(t *testing.T) {
	s := set(t, "/data/a", "/data/b")
	for _, e := range append(s.All(), s.Root()) {
		for _, n := range []int{1, 10, export.MaxHandle} {
			h := bytes.Repeat([]byte{7}, n)
			fh := s.Seal([]byte("before"), e, h)[len("before"):]
			if len(fh) > 128 {
				t.Errorf("a filehandle of %d bytes", len(fh))
			}
			got, inner, err := s.Open(fh)
			if err != nil || got != e || !bytes.Equal(inner, h) {
				t.Fatalf("%v %x %v", got, inner, err)
			}
			for cut := range fh {
				if _, _, err := s.Open(fh[:cut]); !errors.Is(err, export.ErrBadHandle) {
					t.Errorf("cut at %d: %v", cut, err)
				}
			}
			for i := range fh {
				forged := slices.Clone(fh)
				forged[i] ^= 0x10
				if _, _, err := s.Open(forged); !errors.Is(err, export.ErrBadHandle) {
					t.Errorf("changed at %d: %v", i, err)
				}
			}
			if _, _, err := s.Open(append(slices.Clone(fh), 0)); !errors.Is(err, export.ErrBadHandle) {
				t.Errorf("a byte more: %v", err)
			}
		}
	}
}

// Every gateway with the key gives the same filehandles; one with another key
// opens none of them.
func TestSealIsTheClusters(t *testing.T) {
	a, b := set(t, "/x", "/y"), set(t, "/y", "/x")
	fh := a.Seal(nil, a.All()[0], []byte("handle"))
	e, h, err := b.Open(fh)
	if err != nil || e.Path != "/x" || string(h) != "handle" {
		t.Error(e, h, err)
	}
	if got := b.Seal(nil, e, h); !bytes.Equal(got, fh) {
		t.Error("two gateways, two filehandles")
	}
	other, err := New([16]byte{9}, []*Export{{Path: "/x", FS: memory(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Open(fh); !errors.Is(err, export.ErrBadHandle) {
		t.Error(err)
	}
	without := set(t, "/y", "/z")
	if _, _, err := without.Open(fh); !errors.Is(err, export.ErrStale) {
		t.Errorf("an export that is no more: %v", err)
	}
}

func TestSealAndOpenDoNotAllocate(t *testing.T) {
	s := set(t, "/x")
	e, h := s.All()[0], bytes.Repeat([]byte{1}, 10)
	buf := make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() {
		fh := s.Seal(buf, e, h)
		if _, _, err := s.Open(fh); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPseudoTree(t *testing.T) {
	s := set(t, "/data/a", "/data/b", "/home")
	root := s.Root()
	if !root.Pseudo() || !root.ReadOnly {
		t.Fatal("the root is no pseudo file system")
	}
	var a export.Attr
	data, err := root.FS.Lookup(nil, root.FS.Root(), "data", &a)
	if err != nil || a.Type != export.Directory || a.FileID == 0 {
		t.Fatal(err, a)
	}
	if _, crosses := s.Cross(root, data); crosses {
		t.Error("/data is no export")
	}
	b, err := root.FS.Lookup(nil, data, "b", nil)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := s.Cross(root, b)
	if !ok || e.Path != "/data/b" {
		t.Fatal(e, ok)
	}
	if h, ok := s.MountPoint(e, &a); !ok || !bytes.Equal(h, b) {
		t.Error("another mount point")
	}
	if h, ok := s.ParentOfRoot(e); !ok || !bytes.Equal(h, data) {
		t.Error("another parent")
	}
	if p, err := root.FS.Parent(nil, data); err != nil || !bytes.Equal(p, root.FS.Root()) {
		t.Error(err)
	}
	if _, err := root.FS.Parent(nil, root.FS.Root()); !errors.Is(err, export.ErrNotExist) {
		t.Error(err)
	}
	if _, err := root.FS.Lookup(nil, root.FS.Root(), "none", nil); !errors.Is(err, export.ErrNotExist) {
		t.Error(err)
	}
	if err := root.FS.Getattr([]byte("nothing"), &a); !errors.Is(err, export.ErrStale) && !errors.Is(err, export.ErrBadHandle) {
		t.Error(err)
	}
	if _, ok := root.FS.(export.Mutable); ok {
		t.Error("it can be changed")
	}
}

func TestPseudoListing(t *testing.T) {
	s := set(t, "/c", "/a", "/b/x")
	fs := s.Root().FS
	var names []string
	cookie, ids := uint64(0), map[uint64]bool{}
	for eof := false; !eof; {
		var err error
		n := 0
		eof, err = fs.ReadDir(nil, fs.Root(), cookie, true, func(d *export.DirEntry) bool {
			if n == 1 {
				return false
			}
			n++
			cookie = d.Cookie
			ids[d.Attr.FileID] = true
			names = append(names, d.Name)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(names, " ") != "a b c" || len(ids) != 3 {
		t.Error(names, ids)
	}
	for _, cookie := range []uint64{1, 2, 99} {
		if _, err := fs.ReadDir(nil, fs.Root(), cookie, true, func(*export.DirEntry) bool { return true }); !errors.Is(err, export.ErrBadCookie) {
			t.Errorf("cookie %d: %v", cookie, err)
		}
	}
}

// Handles, file ids and change do not depend on the order of the configuration,
// and change moves with the exports.
func TestPseudoIsStable(t *testing.T) {
	attr := func(s *Set) (a export.Attr) {
		if err := s.Root().FS.Getattr(s.Root().FS.Root(), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	a, b, c := set(t, "/x", "/y"), set(t, "/y", "/x"), set(t, "/x", "/y", "/z")
	if attr(a) != attr(b) || !bytes.Equal(a.Root().FS.Root(), b.Root().FS.Root()) {
		t.Errorf("%+v and %+v", attr(a), attr(b))
	}
	if attr(a).Change == attr(c).Change {
		t.Error("change is the same with another export")
	}
}

func TestOneExportMayBeTheRoot(t *testing.T) {
	s := set(t, "/")
	if s.Root().Pseudo() || s.Root().Path != "/" {
		t.Fatal(s.Root())
	}
	if _, ok := s.ParentOfRoot(s.Root()); ok {
		t.Error("it has a parent")
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for _, paths := range [][]string{{}, {"data"}, {"/data/"}, {"/a", "/a"}, {"/a", "/a/b"}, {"/", "/a"}, {"/a/../b"}, {""}} {
		var list []*Export
		for _, p := range paths {
			list = append(list, &Export{Path: p, FS: memory(t)})
		}
		if _, err := New(key, list); err == nil {
			t.Errorf("%q is taken", paths)
		}
	}
	if _, err := New(key, []*Export{{Path: "/a", ID: 5, FS: memory(t)}, {Path: "/b", ID: 5, FS: memory(t)}}); err == nil {
		t.Error("two exports of one id are taken")
	}
	if _, err := New(key, []*Export{{Path: "/a"}}); err == nil {
		t.Error("no file system is taken")
	}
}

func TestClients(t *testing.T) {
	e := &Export{Clients: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "fd12::1": true, "fe80::1": false, "::1": false, "fd12::1%eth0": true,
	} {
		if e.Allows(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	if !(&Export{}).Allows(netip.MustParseAddr("192.0.2.1")) {
		t.Error("without a list all may")
	}
}

func TestSquash(t *testing.T) {
	user := export.Creds{UID: 5, GID: 6, Groups: []uint32{7, 8}}
	zeroGroup := export.Creds{UID: 5, GID: 0, Groups: []uint32{0, 8}}
	rootUser := export.Creds{Groups: []uint32{0, 4}}
	for _, c := range []struct {
		squash Squash
		in     export.Creds
		want   export.Creds
	}{
		{SquashRoot, user, user},
		{SquashRoot, rootUser, export.Creds{UID: 100, GID: 101, Groups: []uint32{101, 4}}},
		{SquashRoot, zeroGroup, export.Creds{UID: 5, GID: 101, Groups: []uint32{101, 8}}},
		{SquashNone, rootUser, rootUser},
		{SquashAll, user, export.Creds{UID: 100, GID: 101}},
		{SquashAll, rootUser, export.Creds{UID: 100, GID: 101}},
	} {
		e := &Export{Squash: c.squash, AnonUID: 100, AnonGID: 101}
		in := c.in
		in.Groups = slices.Clone(in.Groups)
		var got export.Creds
		e.Apply(&in, &got)
		if got.UID != c.want.UID || got.GID != c.want.GID || !slices.Equal(got.Groups, c.want.Groups) {
			t.Errorf("%d: %+v became %+v, want %+v", c.squash, c.in, got, c.want)
		}
		if !slices.Equal(in.Groups, c.in.Groups) {
			t.Errorf("the caller's groups were changed: %v", in.Groups)
		}
	}
}
