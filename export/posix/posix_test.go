//go:build linux

package posix

import (
	"errors"
	"testing"

	"holdfast/export"
)

var root = &export.Creds{}

func newFS(t testing.TB, opt Options) *FS {
	t.Helper()
	fs, err := New(t.TempDir(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

func TestMakeAndRead(t *testing.T) {
	for _, opt := range []Options{{}, {ForceTable: true}} {
		fs := newFS(t, opt)
		t.Log(fs.Kind(), fs.kind, fs.notes, fs.change.step)
		var attr export.Attr
		h, f, ch, err := fs.Make(&export.Creds{UID: 0, GID: 0}, fs.Root(), "a", &export.MakeArgs{Type: export.Regular}, true, &attr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
		h2, err := fs.Lookup(root, fs.Root(), "a", &attr)
		if err != nil || string(h2) != string(h) || attr.Size != 5 {
			t.Fatal(err, h2, h, attr, ch)
		}
		n := 0
		eof, err := fs.ReadDir(root, fs.Root(), 0, true, func(e *export.DirEntry) bool { n++; return true })
		if n != 1 || !eof || err != nil {
			t.Fatal(n, eof, err)
		}
		if _, err := fs.Remove(root, fs.Root(), "a"); err != nil {
			t.Fatal(err)
		}
		t.Log(fs.Getattr(h, &attr))
	}
}

// Gateways that share a tree need handles that are not one gateway's own.
func TestShared(t *testing.T) {
	if fs, err := New(t.TempDir(), Options{Shared: true}); err == nil {
		if fs.table != nil {
			t.Error("handles come from a table")
		}
		fs.Close()
	} else if !errors.Is(err, ErrNotShareable) {
		t.Error(err)
	}
	if _, err := New(t.TempDir(), Options{Shared: true, ForceTable: true}); !errors.Is(err, ErrNotShareable) {
		t.Errorf("with a table: %v", err)
	}
}
