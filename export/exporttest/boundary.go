package exporttest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"holdfast/export"
)

var boundaryChecks = []check{
	{name: "names that are no names are refused", run: func(e *env) {
		d := e.dir(e.root(), "d")
		e.file(e.root(), "f", "")
		for _, name := range []string{"", ".", "..", "a/b", "../f", "/f", "/etc/passwd", "a\x00b"} {
			bad := []error{export.ErrBadName, export.ErrInval}
			_, err := e.FS.Lookup(e.owner(), d, name, nil)
			e.want(err, "lookup "+name, bad...)
			for _, t := range []export.FileType{export.Regular, export.Directory, export.Symlink} {
				_, _, _, err = e.m.Make(e.owner(), d, name, &export.MakeArgs{Type: t, Target: "x"}, false, nil)
				e.want(err, "make "+name, bad...)
			}
			_, err = e.m.Remove(e.owner(), d, name)
			e.want(err, "remove "+name, bad...)
			_, _, err = e.m.Rename(e.owner(), e.root(), "f", d, name)
			e.want(err, "rename to "+name, bad...)
			_, _, err = e.m.Rename(e.owner(), d, name, e.root(), "g")
			e.want(err, "rename from "+name, bad...)
			if _, lacks := e.cfg.Lacks[HardLinks]; !lacks {
				_, err = e.m.Link(e.owner(), e.lookup(e.root(), "f"), d, name)
				e.want(err, "link "+name, bad...)
			}
		}
	}},
	{name: "a symbolic link is never followed", needs: []Feature{Symlinks}, run: func(e *env) {
		outside := "/"
		if e.HostDir != "" {
			outside = e.TempDir()
			e.must(os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644), "write")
		}
		for i, target := range []string{outside, "..", "../..", ".", "/proc/self/root"} {
			name := fmt.Sprint("l", i)
			l := e.makeAs(e.owner(), e.root(), name, &export.MakeArgs{Type: export.Symlink, Target: target})
			_, err := e.FS.Lookup(e.owner(), l, "secret", nil)
			e.want(err, "lookup through a link", export.ErrSymlink)
			_, err = list(e.FS, e.owner(), l, 10)
			e.want(err, "readdir of a link", export.ErrSymlink)
			_, err = e.FS.Open(e.owner(), l, export.OpenRead)
			e.want(err, "open of a link", export.ErrSymlink)
			_, err = e.FS.Parent(e.owner(), l)
			e.want(err, "parent of a link", export.ErrSymlink, export.ErrNotDir)
			_, _, _, err = e.m.Make(e.owner(), l, "new", &export.MakeArgs{Type: export.Regular}, false, nil)
			e.want(err, "make through a link", export.ErrSymlink)
		}
		if e.HostDir != "" {
			if list, _ := os.ReadDir(outside); len(list) != 1 {
				e.Errorf("outside has %v", list)
			}
		}
	}},
	{name: "a directory turned into a link under its name", needs: []Feature{Symlinks}, run: func(e *env) {
		if e.HostDir == "" {
			e.Skip("not on the host")
		}
		outside := e.TempDir()
		e.must(os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644), "write")
		d := e.dir(e.root(), "d")
		e.must(os.Rename(filepath.Join(e.HostDir, "d"), filepath.Join(e.HostDir, "old")), "rename")
		e.must(os.Symlink(outside, filepath.Join(e.HostDir, "d")), "symlink")
		if _, err := e.FS.Lookup(e.owner(), d, "secret", nil); err == nil {
			e.Error("found what is outside")
		}
		h := e.lookup(e.root(), "d")
		_, err := e.FS.Lookup(e.owner(), h, "secret", nil)
		e.want(err, "lookup in the link", export.ErrSymlink)
	}},
	{name: "the root has no parent", run: func(e *env) {
		_, err := e.FS.Parent(e.owner(), e.root())
		e.want(err, "parent", export.ErrNotExist)
		d := e.dir(e.root(), "d")
		p, err := e.FS.Parent(e.owner(), d)
		e.must(err, "parent")
		if !bytes.Equal(p, e.root()) {
			e.Error("not the root")
		}
		_, err = e.FS.Parent(e.owner(), e.file(e.root(), "f", ""))
		e.want(err, "parent of a file", export.ErrNotDir)
	}},
	{name: "a path longer than the kernel takes", needs: []Feature{DeepPaths}, run: func(e *env) {
		dirs := [][]byte{e.root()}
		name := strings.Repeat("deep", 60)
		for range 40 {
			dirs = append(dirs, e.dir(dirs[len(dirs)-1], name))
		}
		last := dirs[len(dirs)-1]
		h := e.file(last, "f", "content")
		if got := e.content(h); got != "content" {
			e.Errorf("content %q", got)
		}
		for i := len(dirs) - 1; i > 0; i-- {
			parent, err := e.FS.Parent(e.owner(), dirs[i])
			e.must(err, "parent of %d", i)
			if !bytes.Equal(parent, dirs[i-1]) {
				e.Fatalf("the parent of %d is another", i)
			}
		}
	}},
	{name: "what the host moves out has no parent", needs: []Feature{HostRename}, run: func(e *env) {
		if e.HostDir == "" {
			e.Skip("not on the host")
		}
		d := e.dir(e.root(), "d")
		sub := e.dir(d, "sub")
		outside := filepath.Dir(e.HostDir)
		moved := filepath.Join(outside, "moved")
		e.must(os.Rename(filepath.Join(e.HostDir, "d"), moved), "rename")
		defer os.RemoveAll(moved)
		for _, h := range [][]byte{d, sub} {
			_, err := e.FS.Parent(e.owner(), h)
			e.want(err, "parent", export.ErrNotExist, export.ErrStale)
		}
	}},
	{name: "handles that are none are refused", run: func(e *env) {
		good := e.file(e.root(), "f", "")
		bad := [][]byte{nil, {}, {0}, {0xff}, make([]byte, 8), make([]byte, export.MaxHandle), make([]byte, 1000), bytes.Repeat([]byte{0xff}, export.MaxHandle), good[:1], good[:len(good)-1], append(slices.Clone(good), 0)}
		for i := range good {
			for _, bit := range []byte{1, 0x80} {
				h := slices.Clone(good)
				h[i] ^= bit
				bad = append(bad, h)
			}
		}
		wanted := []error{export.ErrBadHandle, export.ErrStale}
		for _, h := range bad {
			var a export.Attr
			e.want(e.FS.Getattr(h, &a), fmt.Sprintf("getattr %x", h), wanted...)
		}
		for _, h := range bad[:9] {
			_, err := e.FS.Lookup(e.owner(), h, "x", nil)
			e.want(err, "lookup", wanted...)
			_, err = e.FS.Access(e.owner(), h, 0xff)
			e.want(err, "access", wanted...)
			_, err = e.FS.Parent(e.owner(), h)
			e.want(err, "parent", wanted...)
			_, err = list(e.FS, e.owner(), h, 5)
			e.want(err, "readdir", wanted...)
			_, err = e.FS.Readlink(e.owner(), h)
			e.want(err, "readlink", wanted...)
			_, err = e.FS.Open(e.owner(), h, export.OpenRead)
			e.want(err, "open", wanted...)
			var st export.Statfs
			e.want(e.FS.Statfs(h, &st), "statfs", wanted...)
			e.want(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{}), "setattr", wanted...)
			_, err = e.m.Remove(e.owner(), h, "x")
			e.want(err, "remove", wanted...)
			if x, ok := e.FS.(export.Xattrs); ok {
				_, err = x.GetXattr(e.owner(), h, "x", 10)
				e.want(err, "getxattr", wanted...)
			}
			if x, ok := e.FS.(export.ACLs); ok {
				_, err = x.GetACL(h, false)
				e.want(err, "getacl", wanted...)
			}
		}
	}},
}

var handleChecks = []check{
	{name: "handles survive a restart and renames", needs: []Feature{Reopen}, run: func(e *env) {
		d := e.dir(e.root(), "d")
		sub := e.dir(d, "sub")
		f := e.file(sub, "f", "content")
		g := e.file(e.root(), "g", "gone")
		root := e.root()
		change := e.attr(f).Change
		_, _, err := e.m.Rename(e.owner(), d, "sub", e.root(), "top")
		e.must(err, "rename")
		_, _, err = e.m.Rename(e.owner(), sub, "f", d, "f2")
		e.must(err, "rename")
		_, err = e.m.Remove(e.owner(), e.root(), "g")
		e.must(err, "remove")
		for range 2 {
			e.reopen()
			if !bytes.Equal(e.root(), root) {
				e.Fatal("the root has another handle")
			}
			if got := e.content(f); got != "content" {
				e.Errorf("content %q", got)
			}
			if !bytes.Equal(e.lookup(d, "f2"), f) || !bytes.Equal(e.lookup(e.root(), "top"), sub) {
				e.Error("other handles")
			}
			var a export.Attr
			e.want(e.FS.Getattr(g, &a), "getattr of the removed", export.ErrStale)
			if now := e.attr(f).Change; now < change {
				e.Errorf("change fell from %d to %d", change, now)
			}
		}
	}},
	{name: "handles survive renames on the host", needs: []Feature{HostRename}, run: func(e *env) {
		if e.HostDir == "" {
			e.Skip("not on the host")
		}
		d := e.dir(e.root(), "d")
		f := e.file(d, "f", "content")
		e.must(os.Rename(filepath.Join(e.HostDir, "d"), filepath.Join(e.HostDir, "e")), "rename")
		e.must(os.Rename(filepath.Join(e.HostDir, "e", "f"), filepath.Join(e.HostDir, "g")), "rename")
		if got := e.content(f); got != "content" {
			e.Errorf("content %q", got)
		}
		if !bytes.Equal(e.lookup(e.root(), "g"), f) {
			e.Error("another handle")
		}
		e.must(os.Remove(filepath.Join(e.HostDir, "g")), "remove")
		var a export.Attr
		e.want(e.FS.Getattr(f, &a), "getattr of the removed", export.ErrStale)
	}},
	{name: "what the host makes is seen at once", run: func(e *env) {
		if e.HostDir == "" {
			e.Skip("not on the host")
		}
		before := e.attr(e.root()).Change
		e.must(os.WriteFile(filepath.Join(e.HostDir, "f"), []byte("x"), 0o644), "write")
		h := e.lookup(e.root(), "f")
		if got := e.content(h); got != "x" {
			e.Errorf("content %q", got)
		}
		if e.attr(e.root()).Change <= before {
			e.Error("change did not rise")
		}
		e.must(os.Remove(filepath.Join(e.HostDir, "f")), "remove")
		var a export.Attr
		e.want(e.FS.Getattr(h, &a), "getattr of the removed", export.ErrStale)
	}},
}
