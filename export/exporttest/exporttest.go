// Package exporttest checks that a file system keeps what package export
// promises. It is a package so that each implementation, here or elsewhere,
// runs the same checks:
//
//	func TestMine(t *testing.T) { exporttest.Run(t, exporttest.Config{New: …}) }
//
// What an implementation lacks is declared in its Config, with the reason, and
// shows as skipped tests.
package exporttest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdfast/export"
)

// A Feature is what a file system may lack.
type Feature string

// The features.
const (
	HardLinks  Feature = "hard links"
	Symlinks   Feature = "symbolic links"
	Devices    Feature = "devices"
	Special    Feature = "FIFOs and sockets"
	Chown      Feature = "change of owner"
	Sparse     Feature = "holes that can be seen"
	Allocate   Feature = "reserving and punching space"
	Copy       Feature = "copies by the file system"
	Xattr      Feature = "extended attributes"
	ACL        Feature = "access control lists"
	Identities Feature = "callers with different rights"
	Reopen     Feature = "handles that survive a restart"
	HostRename Feature = "handles that survive renames on the host"
	Unlinked   Feature = "open files that have lost their name"
	DeepPaths  Feature = "paths of any length"
	Cookies    Feature = "listings that are exact while the directory changes"
)

// A Tree is a fresh, empty file system under test.
type Tree struct {
	FS export.FS // must be an export.Mutable too

	// Owner owns the root directory.
	Owner export.Creds

	// HostDir is the tree's directory on the host, if it has one.
	HostDir string

	// Reopen closes FS and opens the same tree again, as a restart does.
	Reopen func() (export.FS, error)
}

// A Config describes an implementation.
type Config struct {
	// New makes a tree; it removes it by t.Cleanup.
	New func(t testing.TB) Tree

	// Lacks tells what the implementation cannot do, and why.
	Lacks map[Feature]string

	// Entries in the large directory; 0 is 20,000.
	Entries int
}

// Run runs all checks, each on a tree of its own.
func Run(t *testing.T, cfg Config) {
	if cfg.Entries == 0 {
		cfg.Entries = 20000
	}
	for _, group := range [][]check{
		objectChecks, nameChecks, setattrChecks, dataChecks, directoryChecks,
		accessChecks, boundaryChecks, handleChecks, extraChecks, modelChecks,
	} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				for _, f := range c.needs {
					if why, ok := cfg.Lacks[f]; ok {
						t.Skipf("lacks %s: %s", f, why)
					}
				}
				tree := cfg.New(t)
				m, ok := tree.FS.(export.Mutable)
				if !ok {
					t.Fatal("the file system cannot be changed")
				}
				c.run(&env{T: t, Tree: tree, m: m, cfg: cfg})
			})
		}
	}
}

// A check is one promise, named after it.
type check struct {
	name  string
	needs []Feature
	run   func(e *env)
}

// env is what a check works with. Its methods fail the test.
type env struct {
	*testing.T
	Tree
	m   export.Mutable
	cfg Config
}

func (e *env) owner() *export.Creds { return &e.Owner }

// must fails the test if err is not nil.
func (e *env) must(err error, what string, args ...any) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", fmt.Sprintf(what, args...), err)
	}
}

// want fails the test if err is none of wanted.
func (e *env) want(err error, what string, wanted ...error) {
	e.Helper()
	for _, w := range wanted {
		if errors.Is(err, w) {
			return
		}
	}
	e.Fatalf("%s: got %v, want %v", what, err, wanted)
}

func (e *env) root() []byte { return e.FS.Root() }

// make makes an object as the owner.
func (e *env) make(dir []byte, name string, t export.FileType) []byte {
	e.Helper()
	return e.makeAs(e.owner(), dir, name, &export.MakeArgs{Type: t, Target: targetFor(t)})
}

func targetFor(t export.FileType) string {
	if t == export.Symlink {
		return "target"
	}
	return ""
}

func (e *env) makeAs(cred *export.Creds, dir []byte, name string, args *export.MakeArgs) []byte {
	e.Helper()
	var attr export.Attr
	h, _, _, err := e.m.Make(cred, dir, name, args, false, &attr)
	e.must(err, "make %q", name)
	if attr.Type != args.Type {
		e.Fatalf("make %q: type %v, want %v", name, attr.Type, args.Type)
	}
	if len(h) == 0 || len(h) > export.MaxHandle {
		e.Fatalf("make %q: handle of %d bytes", name, len(h))
	}
	return h
}

func (e *env) file(dir []byte, name, content string) []byte {
	e.Helper()
	h, f, _, err := e.m.Make(e.owner(), dir, name, &export.MakeArgs{Type: export.Regular}, true, nil)
	e.must(err, "make %q", name)
	if content != "" {
		n, err := f.WriteAt([]byte(content), 0)
		e.must(err, "write %q", name)
		if n != len(content) {
			e.Fatalf("write %q: %d bytes of %d", name, n, len(content))
		}
	}
	e.must(f.Close(), "close %q", name)
	return h
}

func (e *env) dir(dir []byte, name string) []byte {
	e.Helper()
	return e.make(dir, name, export.Directory)
}

func (e *env) attr(h []byte) export.Attr {
	e.Helper()
	var a export.Attr
	e.must(e.FS.Getattr(h, &a), "getattr")
	return a
}

func (e *env) lookup(dir []byte, name string) []byte {
	e.Helper()
	h, err := e.FS.Lookup(e.owner(), dir, name, nil)
	e.must(err, "lookup %q", name)
	return h
}

func (e *env) open(cred *export.Creds, h []byte, mode export.OpenMode) export.File {
	e.Helper()
	f, err := e.FS.Open(cred, h, mode)
	e.must(err, "open")
	e.Cleanup(func() { f.Close() })
	return f
}

func (e *env) content(h []byte) string {
	e.Helper()
	f, err := e.FS.Open(e.owner(), h, export.OpenRead|export.OpenGranted)
	e.must(err, "open")
	defer f.Close()
	buf := make([]byte, 1<<16)
	n, _, err := f.ReadAt(buf, 0)
	e.must(err, "read")
	return string(buf[:n])
}

// entries lists a directory from the start, in pages of so many entries.
func (e *env) entries(dir []byte, page int) []export.DirEntry {
	e.Helper()
	list, err := list(e.FS, e.owner(), dir, page)
	e.must(err, "readdir")
	return list
}

func list(fs export.FS, cred *export.Creds, dir []byte, page int) ([]export.DirEntry, error) {
	var all []export.DirEntry
	cookie := uint64(0)
	for {
		left := page
		eof, err := fs.ReadDir(cred, dir, cookie, true, func(d *export.DirEntry) bool {
			if left == 0 {
				return false
			}
			left--
			cookie = d.Cookie
			all = append(all, *d)
			return true
		})
		if err != nil || eof {
			return all, err
		}
		if left == page {
			return all, errors.New("a page without an entry, and not the end")
		}
	}
}

func names(list []export.DirEntry) []string {
	var n []string
	for _, e := range list {
		n = append(n, e.Name)
	}
	slices.Sort(n)
	return n
}

func ptr[T any](v T) *T { return &v }
