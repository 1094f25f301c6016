package exporttest

import (
	"strings"
	"testing"

	"holdfast/export"
)

var objectChecks = []check{
	{name: "the root is a directory", run: func(e *env) {
		if a := e.attr(e.root()); a.Type != export.Directory || a.FileID == 0 || a.Nlink == 0 {
			e.Fatalf("root: %+v", a)
		}
	}},
	{name: "make, lookup and getattr agree", run: func(e *env) {
		for _, t := range []export.FileType{export.Regular, export.Directory} {
			var made, found export.Attr
			name := []string{1: "file", 2: "directory"}[t]
			h, _, _, err := e.m.Make(e.owner(), e.root(), name, &export.MakeArgs{Type: t}, false, &made)
			e.must(err, "make")
			h2, err := e.FS.Lookup(e.owner(), e.root(), name, &found)
			e.must(err, "lookup")
			if string(h) != string(h2) {
				e.Fatalf("handles differ: %x made, %x found", h, h2)
			}
			now := e.attr(h)
			if made.FileID != found.FileID || now.FileID != found.FileID || now.Type != t || found.Type != t {
				e.Fatalf("attributes differ: %+v, %+v, %+v", made, found, now)
			}
		}
	}},
	{name: "the default mode is 0644 and 0755", run: func(e *env) {
		if a := e.attr(e.make(e.root(), "f", export.Regular)); a.Mode != 0o644 {
			e.Errorf("file: %#o", a.Mode)
		}
		if a := e.attr(e.make(e.root(), "d", export.Directory)); a.Mode&0o777 != 0o755 {
			e.Errorf("directory: %#o", a.Mode)
		}
	}},
	{name: "the mode asked for is set whatever the process's umask", run: func(e *env) {
		for _, mode := range []uint32{0, 0o666, 0o777, 0o421} {
			name := "f" + string(rune('a'+mode%26))
			h := e.makeAs(e.owner(), e.root(), name, &export.MakeArgs{Type: export.Regular, Set: export.SetAttr{Mode: ptr(mode)}})
			if a := e.attr(h); a.Mode != mode {
				e.Errorf("file: %#o, want %#o", a.Mode, mode)
			}
			h = e.makeAs(e.owner(), e.root(), "d"+name, &export.MakeArgs{Type: export.Directory, Set: export.SetAttr{Mode: ptr(mode)}})
			if a := e.attr(h); a.Mode&0o777 != mode {
				e.Errorf("directory: %#o, want %#o", a.Mode, mode)
			}
		}
	}},
	{name: "the caller's umask is applied", run: func(e *env) {
		h := e.makeAs(e.owner(), e.root(), "f", &export.MakeArgs{Type: export.Regular, Umask: 0o027, Set: export.SetAttr{Mode: ptr(uint32(0o666))}})
		if a := e.attr(h); a.Mode != 0o640 {
			e.Errorf("file: %#o", a.Mode)
		}
		h = e.makeAs(e.owner(), e.root(), "d", &export.MakeArgs{Type: export.Directory, Umask: 0o077, Set: export.SetAttr{Mode: ptr(uint32(0o777))}})
		if a := e.attr(h); a.Mode&0o777 != 0o700 {
			e.Errorf("directory: %#o", a.Mode)
		}
	}},
	{name: "a file of mode 0 is made and open for reading and writing", run: func(e *env) {
		_, f, _, err := e.m.Make(e.owner(), e.root(), "f", &export.MakeArgs{Type: export.Regular, Set: export.SetAttr{Mode: ptr(uint32(0))}}, true, nil)
		e.must(err, "make")
		defer f.Close()
		if _, err := f.WriteAt([]byte("secret"), 0); err != nil {
			e.Fatal(err)
		}
		buf := make([]byte, 10)
		if n, eof, err := f.ReadAt(buf, 0); err != nil || n != 6 || !eof {
			e.Fatal(n, eof, err)
		}
	}},
	{name: "symbolic links keep their target", needs: []Feature{Symlinks}, run: func(e *env) {
		for i, target := range []string{"x", "../../outside", "/etc/passwd", strings.Repeat("long/", 100) + "end", "dangling \xc3\xa4"} {
			name := string(rune('a' + i))
			h := e.makeAs(e.owner(), e.root(), name, &export.MakeArgs{Type: export.Symlink, Target: target})
			got, err := e.FS.Readlink(e.owner(), h)
			e.must(err, "readlink")
			if got != target {
				e.Errorf("target %q, want %q", got, target)
			}
		}
		_, err := e.FS.Readlink(e.owner(), e.root())
		e.want(err, "readlink of a directory", export.ErrWrongType)
	}},
	{name: "FIFOs and sockets are made", needs: []Feature{Special}, run: func(e *env) {
		for _, t := range []export.FileType{export.FIFO, export.Socket} {
			h := e.makeAs(e.owner(), e.root(), string(rune('a'+t)), &export.MakeArgs{Type: t, Set: export.SetAttr{Mode: ptr(uint32(0o620))}})
			if a := e.attr(h); a.Type != t || a.Mode != 0o620 {
				e.Errorf("%+v", a)
			}
			_, err := e.FS.Open(e.owner(), h, export.OpenRead)
			e.want(err, "open", export.ErrWrongType)
		}
	}},
	{name: "devices are made, and never opened", needs: []Feature{Devices}, run: func(e *env) {
		for _, t := range []export.FileType{export.BlockDevice, export.CharDevice} {
			h := e.makeAs(e.owner(), e.root(), string(rune('a'+t)), &export.MakeArgs{Type: t, Major: 250, Minor: 77})
			if a := e.attr(h); a.Type != t || a.Major != 250 || a.Minor != 77 {
				e.Errorf("%+v", a)
			}
			_, err := e.FS.Open(e.owner(), h, export.OpenRead)
			e.want(err, "open", export.ErrWrongType)
		}
	}},
	{name: "open refuses what is no regular file", run: func(e *env) {
		_, err := e.FS.Open(e.owner(), e.dir(e.root(), "d"), export.OpenRead)
		e.want(err, "open a directory", export.ErrIsDir)
		if _, lacks := e.cfg.Lacks[Symlinks]; !lacks {
			_, err = e.FS.Open(e.owner(), e.make(e.root(), "l", export.Symlink), export.OpenRead)
			e.want(err, "open a link", export.ErrSymlink)
		}
	}},
	{name: "names within something that is no directory", run: func(e *env) {
		f := e.file(e.root(), "f", "")
		_, err := e.FS.Lookup(e.owner(), f, "x", nil)
		e.want(err, "lookup in a file", export.ErrNotDir)
		_, _, _, err = e.m.Make(e.owner(), f, "x", &export.MakeArgs{Type: export.Regular}, false, nil)
		e.want(err, "make in a file", export.ErrNotDir)
		if _, lacks := e.cfg.Lacks[Symlinks]; lacks {
			return
		}
		l := e.make(e.root(), "l", export.Symlink)
		_, err = e.FS.Lookup(e.owner(), l, "x", nil)
		e.want(err, "lookup in a link", export.ErrSymlink)
	}},
	{name: "what failed is not left behind", needs: []Feature{Identities, Chown}, run: func(e *env) {
		d := e.dir(e.root(), "d")
		e.must(e.m.Setattr(e.owner(), d, nil, &export.SetAttr{Mode: ptr(uint32(0o777))}), "chmod")
		for _, t := range []export.FileType{export.Regular, export.Directory, export.Symlink} {
			args := &export.MakeArgs{Type: t, Target: targetFor(t), Set: export.SetAttr{UID: ptr(uint32(4711))}}
			_, _, _, err := e.m.Make(alice(), d, "x", args, true, nil)
			e.want(err, "give a new object away", export.ErrPerm)
			_, err = e.FS.Lookup(e.owner(), d, "x", nil)
			e.want(err, "lookup", export.ErrNotExist)
		}
	}},
	{name: "statfs tells of space", run: func(e *env) {
		var st export.Statfs
		e.must(e.FS.Statfs(e.root(), &st), "statfs")
		if st.Avail > st.Total || st.MaxName < 255 || st.MaxFileSize == 0 || st.TimeDelta <= 0 {
			e.Errorf("%+v", st)
		}
	}},
}

// Two users beside the owner.
func alice() *export.Creds { return &export.Creds{UID: 10001, GID: 10001, Groups: []uint32{20000}} }
func bob() *export.Creds   { return &export.Creds{UID: 10002, GID: 10002} }

var _ testing.TB = (*env)(nil)
