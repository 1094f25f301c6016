package exporttest

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"holdfast/export"
)

var nameChecks = []check{
	{name: "a name that exists is not made again", run: func(e *env) {
		e.file(e.root(), "f", "content")
		if _, lacks := e.cfg.Lacks[Symlinks]; !lacks {
			e.make(e.root(), "dangling", export.Symlink)
			_, _, _, err := e.m.Make(e.owner(), e.root(), "dangling", &export.MakeArgs{Type: export.Regular}, true, nil)
			e.want(err, "make over a dangling link", export.ErrExist)
		}
		for _, t := range []export.FileType{export.Regular, export.Directory, export.Symlink} {
			_, _, _, err := e.m.Make(e.owner(), e.root(), "f", &export.MakeArgs{Type: t, Target: targetFor(t)}, false, nil)
			e.want(err, "make again", export.ErrExist)
		}
		if got := e.content(e.lookup(e.root(), "f")); got != "content" {
			e.Errorf("content %q", got)
		}
	}},
	{name: "of concurrent makers of one name exactly one wins", run: func(e *env) {
		for round := range 20 {
			name := fmt.Sprint("n", round)
			var wins, other atomic.Int32
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					t := export.Regular
					if i%2 == 0 {
						t = export.Directory
					}
					_, f, _, err := e.m.Make(e.owner(), e.root(), name, &export.MakeArgs{Type: t}, true, nil)
					switch {
					case err == nil:
						wins.Add(1)
						if f != nil {
							f.Close()
						}
					case !isOne(err, export.ErrExist):
						other.Add(1)
						e.Errorf("loser: %v", err)
					}
				})
			}
			wg.Wait()
			if wins.Load() != 1 {
				e.Fatalf("%d winners", wins.Load())
			}
		}
	}},
	{name: "names are bytes up to 255", run: func(e *env) {
		for _, name := range []string{
			strings.Repeat("n", 255), "mit Leerzeichen", "größe", "\u65e5\u672c\u8a9e", "...", "a\nb", "back\\slash", "-rf", "semi;colon*?",
		} {
			h := e.file(e.root(), name, "")
			if got := e.lookup(e.root(), name); string(got) != string(h) {
				e.Errorf("%q found as another object", name)
			}
		}
		_, _, _, err := e.m.Make(e.owner(), e.root(), strings.Repeat("n", 256), &export.MakeArgs{Type: export.Regular}, false, nil)
		e.want(err, "256 bytes", export.ErrNameTooLong)
		_, err = e.FS.Lookup(e.owner(), e.root(), strings.Repeat("n", 256), nil)
		e.want(err, "256 bytes", export.ErrNameTooLong)
	}},
	{name: "remove takes the name and the object away", run: func(e *env) {
		h := e.file(e.root(), "f", "")
		_, err := e.m.Remove(e.owner(), e.root(), "f")
		e.must(err, "remove")
		_, err = e.FS.Lookup(e.owner(), e.root(), "f", nil)
		e.want(err, "lookup", export.ErrNotExist)
		var a export.Attr
		e.want(e.FS.Getattr(h, &a), "getattr", export.ErrStale)
		_, err = e.m.Remove(e.owner(), e.root(), "f")
		e.want(err, "remove again", export.ErrNotExist)
	}},
	{name: "a removed directory is stale, and one with entries stays", run: func(e *env) {
		d := e.dir(e.root(), "d")
		e.file(d, "f", "")
		_, err := e.m.Remove(e.owner(), e.root(), "d")
		e.want(err, "remove", export.ErrNotEmpty)
		_, err = e.m.Remove(e.owner(), d, "f")
		e.must(err, "remove")
		_, err = e.m.Remove(e.owner(), e.root(), "d")
		e.must(err, "remove")
		var a export.Attr
		e.want(e.FS.Getattr(d, &a), "getattr", export.ErrStale)
		_, _, _, err = e.m.Make(e.owner(), d, "x", &export.MakeArgs{Type: export.Regular}, false, nil)
		e.want(err, "make in it", export.ErrStale, export.ErrNotExist)
	}},
	{name: "a new object does not get the handle of a removed one", run: func(e *env) {
		seen := map[string]bool{}
		for range 50 {
			h := e.file(e.root(), "f", "")
			if seen[string(h)] {
				e.Fatal("handle came again")
			}
			seen[string(h)] = true
			_, err := e.m.Remove(e.owner(), e.root(), "f")
			e.must(err, "remove")
		}
		var a export.Attr
		e.file(e.root(), "f", "")
		for h := range seen {
			e.want(e.FS.Getattr([]byte(h), &a), "getattr of a removed one", export.ErrStale)
		}
	}},
	{name: "hard links are names of one object", needs: []Feature{HardLinks}, run: func(e *env) {
		d := e.dir(e.root(), "d")
		h := e.file(e.root(), "a", "x")
		before := e.attr(h)
		change, err := e.m.Link(e.owner(), h, d, "b")
		e.must(err, "link")
		if change.After == change.Before {
			e.Error("the directory's change attribute did not move")
		}
		if got := e.lookup(d, "b"); string(got) != string(h) {
			e.Errorf("handle %x, want %x", got, h)
		}
		if a := e.attr(h); a.Nlink != 2 || a.Change == before.Change {
			e.Errorf("%+v", a)
		}
		_, err = e.m.Link(e.owner(), h, e.root(), "a")
		e.want(err, "link over a name", export.ErrExist)
		_, err = e.m.Link(e.owner(), d, e.root(), "dd")
		e.want(err, "link of a directory", export.ErrIsDir, export.ErrPerm)
		_, err = e.m.Remove(e.owner(), e.root(), "a")
		e.must(err, "remove")
		if a := e.attr(h); a.Nlink != 1 {
			e.Errorf("%d links", a.Nlink)
		}
		if got := e.content(e.lookup(d, "b")); got != "x" {
			e.Errorf("content %q", got)
		}
	}},
	{name: "links of links and FIFOs", needs: []Feature{HardLinks, Symlinks, Special}, run: func(e *env) {
		for i, t := range []export.FileType{export.Symlink, export.FIFO} {
			h := e.make(e.root(), fmt.Sprint("a", i), t)
			_, err := e.m.Link(e.owner(), h, e.root(), fmt.Sprint("b", i))
			e.must(err, "link")
			if got := e.lookup(e.root(), fmt.Sprint("b", i)); string(got) != string(h) {
				e.Error("another object")
			}
		}
	}},
	{name: "rename moves an object with its handle", run: func(e *env) {
		d1, d2 := e.dir(e.root(), "d1"), e.dir(e.root(), "d2")
		h := e.file(d1, "a", "content")
		sub := e.dir(d1, "sub")
		deep := e.file(sub, "deep", "deep")
		from, to, err := e.m.Rename(e.owner(), d1, "a", d2, "b")
		e.must(err, "rename")
		if from.After == from.Before || to.After == to.Before {
			e.Errorf("change attributes did not move: %+v %+v", from, to)
		}
		if got := e.lookup(d2, "b"); string(got) != string(h) {
			e.Error("another handle")
		}
		_, err = e.FS.Lookup(e.owner(), d1, "a", nil)
		e.want(err, "lookup of the old name", export.ErrNotExist)
		_, _, err = e.m.Rename(e.owner(), d1, "sub", e.root(), "top")
		e.must(err, "rename a directory")
		if got := e.content(deep); got != "deep" {
			e.Errorf("content %q", got)
		}
		parent, err := e.FS.Parent(e.owner(), sub)
		e.must(err, "parent")
		if string(parent) != string(e.root()) {
			e.Error("the parent is not the root")
		}
		_, _, err = e.m.Rename(e.owner(), d1, "none", d2, "x")
		e.want(err, "rename of nothing", export.ErrNotExist)
	}},
	{name: "rename spares names that begin alike", run: func(e *env) {
		e.file(e.root(), "a", "a")
		ab := e.dir(e.root(), "ab")
		e.file(ab, "x", "x")
		e.file(e.root(), "abc", "abc")
		e.file(e.root(), "ax", "old")
		_, _, err := e.m.Rename(e.owner(), e.root(), "a", e.root(), "ax")
		e.must(err, "rename")
		if got := fmt.Sprint(names(e.entries(e.root(), 100))); got != "[ab abc ax]" {
			e.Error(got)
		}
		for path, want := range map[string]string{"ax": "a", "abc": "abc"} {
			if got := e.content(e.lookup(e.root(), path)); got != want {
				e.Errorf("%s: %q", path, got)
			}
		}
		if got := e.content(e.lookup(ab, "x")); got != "x" {
			e.Error(got)
		}
	}},
	{name: "rename replaces a target of the same kind", run: func(e *env) {
		a := e.file(e.root(), "a", "new")
		b := e.file(e.root(), "b", "old")
		_, _, err := e.m.Rename(e.owner(), e.root(), "a", e.root(), "b")
		e.must(err, "rename")
		if got := e.lookup(e.root(), "b"); string(got) != string(a) {
			e.Error("the name is not the renamed object's")
		}
		var attr export.Attr
		e.want(e.FS.Getattr(b, &attr), "getattr of the replaced", export.ErrStale)
		d1, d2 := e.dir(e.root(), "d1"), e.dir(e.root(), "d2")
		e.file(d1, "x", "")
		_, _, err = e.m.Rename(e.owner(), e.root(), "d1", e.root(), "d2")
		e.must(err, "rename over an empty directory")
		e.want(e.FS.Getattr(d2, &attr), "getattr of the replaced", export.ErrStale)
		e.lookup(d1, "x")
	}},
	{name: "rename refuses a target that does not fit", run: func(e *env) {
		e.file(e.root(), "f", "")
		d := e.dir(e.root(), "d")
		full := e.dir(e.root(), "full")
		e.file(full, "x", "")
		_, _, err := e.m.Rename(e.owner(), e.root(), "f", e.root(), "d")
		e.want(err, "file to directory", export.ErrExist)
		_, _, err = e.m.Rename(e.owner(), e.root(), "d", e.root(), "f")
		e.want(err, "directory to file", export.ErrExist)
		_, _, err = e.m.Rename(e.owner(), e.root(), "d", e.root(), "full")
		e.want(err, "directory to one with entries", export.ErrNotEmpty)
		_, _, err = e.m.Rename(e.owner(), e.root(), "d", d, "into")
		e.want(err, "directory into itself", export.ErrInval)
		inner := e.dir(d, "inner")
		_, _, err = e.m.Rename(e.owner(), e.root(), "d", inner, "into")
		e.want(err, "directory into what it holds", export.ErrInval)
	}},
	{name: "rename to another name of the same object leaves both", needs: []Feature{HardLinks}, run: func(e *env) {
		h := e.file(e.root(), "a", "")
		_, err := e.m.Link(e.owner(), h, e.root(), "b")
		e.must(err, "link")
		_, _, err = e.m.Rename(e.owner(), e.root(), "a", e.root(), "b")
		e.must(err, "rename")
		if got := fmt.Sprint(names(e.entries(e.root(), 10))); got != "[a b]" {
			e.Error(got)
		}
		if string(e.lookup(e.root(), "a")) != string(h) || e.attr(h).Nlink != 2 {
			e.Error("not two names of it")
		}
	}},
	{name: "the change attribute of a directory rises with each change", run: func(e *env) {
		last := e.attr(e.root()).Change
		step := func(what string, c export.DirChange) {
			e.Helper()
			now := e.attr(e.root()).Change
			if c.Before < last || c.After <= c.Before || now < c.After {
				e.Errorf("%s: had %d, then before %d, after %d, now %d", what, last, c.Before, c.After, now)
			}
			last = now
		}
		for i := range 50 {
			name := fmt.Sprint("n", i)
			_, _, c, err := e.m.Make(e.owner(), e.root(), name, &export.MakeArgs{Type: export.Regular}, false, nil)
			e.must(err, "make")
			step("make", c)
			c, _, err = e.m.Rename(e.owner(), e.root(), name, e.root(), name+"x")
			e.must(err, "rename")
			step("rename", c)
			c, err = e.m.Remove(e.owner(), e.root(), name+"x")
			e.must(err, "remove")
			step("remove", c)
		}
	}},
}
