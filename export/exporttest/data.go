package exporttest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"

	"holdfast/export"
)

var dataChecks = []check{
	{name: "reads end at the end of the file and say so", run: func(e *env) {
		f := e.open(e.owner(), e.file(e.root(), "f", "0123456789"), export.OpenRead)
		for _, c := range []struct {
			off  int64
			size int
			want string
			eof  bool
		}{{0, 5, "01234", false}, {0, 10, "0123456789", true}, {5, 10, "56789", true}, {10, 5, "", true}, {99, 5, "", true}, {9, 1, "9", true}, {8, 1, "8", false}} {
			buf := make([]byte, c.size)
			n, eof, err := f.ReadAt(buf, c.off)
			e.must(err, "read")
			if string(buf[:n]) != c.want || eof != c.eof {
				e.Errorf("%d at %d: %q %v", c.size, c.off, buf[:n], eof)
			}
		}
	}},
	{name: "writes beyond the end leave zeros", run: func(e *env) {
		h := e.file(e.root(), "f", "ab")
		f := e.open(e.owner(), h, export.OpenRead|export.OpenWrite)
		_, err := f.WriteAt([]byte("xy"), 5)
		e.must(err, "write")
		e.must(f.Sync(), "sync")
		if got := e.content(h); got != "ab\x00\x00\x00xy" {
			e.Errorf("%q", got)
		}
		var a export.Attr
		e.must(f.Getattr(&a), "getattr")
		if a.Size != 7 || a.FileID != e.attr(h).FileID {
			e.Errorf("%+v", a)
		}
	}},
	{name: "change rises with each write", run: func(e *env) {
		h := e.file(e.root(), "f", "")
		f := e.open(e.owner(), h, export.OpenRead|export.OpenWrite)
		last := e.attr(h).Change
		for i := range 300 {
			_, err := f.WriteAt([]byte{byte(i)}, 0)
			e.must(err, "write")
			if now := e.attr(h).Change; now <= last {
				e.Fatalf("write %d: change went from %d to %d", i, last, now)
			} else {
				last = now
			}
		}
	}},
	{name: "random reads and writes agree with an array of bytes", run: func(e *env) {
		rnd := rand.New(rand.NewPCG(1, 2))
		h := e.file(e.root(), "f", "")
		f := e.open(e.owner(), h, export.OpenRead|export.OpenWrite)
		var want []byte
		for range 400 {
			off, n := rnd.IntN(200000), rnd.IntN(5000)
			switch rnd.IntN(5) {
			case 0:
				e.must(e.m.Setattr(e.owner(), h, f, &export.SetAttr{Size: ptr(uint64(off))}), "truncate")
				if off < len(want) {
					want = want[:off:off]
				} else {
					want = append(want, make([]byte, off-len(want))...)
				}
			case 1, 2:
				p := make([]byte, n)
				for i := range p {
					p[i] = byte(rnd.Uint32())
				}
				_, err := f.WriteAt(p, int64(off))
				e.must(err, "write")
				if n > 0 && off+n > len(want) {
					want = append(want, make([]byte, off+n-len(want))...)
				}
				copy(want[min(off, len(want)):], p)
			default:
				p := make([]byte, n)
				m, eof, err := f.ReadAt(p, int64(off))
				e.must(err, "read")
				part := want[min(off, len(want)):min(off+n, len(want))]
				if !bytes.Equal(p[:m], part) || eof != (off+n >= len(want)) {
					e.Fatalf("read of %d at %d of %d: %d bytes, eof %v", n, off, len(want), m, eof)
				}
			}
			if got := e.attr(h).Size; got != uint64(len(want)) {
				e.Fatalf("size %d, want %d", got, len(want))
			}
		}
	}},
	{name: "concurrent writers of different places do not disturb each other", run: func(e *env) {
		h := e.file(e.root(), "f", "")
		const workers, blocks, size = 8, 40, 1000
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				f, err := e.FS.Open(e.owner(), h, export.OpenRead|export.OpenWrite)
				if err != nil {
					e.Error(err)
					return
				}
				defer f.Close()
				for b := range blocks {
					p := bytes.Repeat([]byte{byte('a' + w)}, size)
					if _, err := f.WriteAt(p, int64((b*workers+w)*size)); err != nil {
						e.Error(err)
					}
					if b%10 == 0 {
						if err := f.Sync(); err != nil {
							e.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		f := e.open(e.owner(), h, export.OpenRead)
		p := make([]byte, workers*blocks*size)
		n, _, err := f.ReadAt(p, 0)
		e.must(err, "read")
		for i := range n {
			if p[i] != byte('a'+i/size%workers) {
				e.Fatalf("byte %d is %q", i, p[i])
			}
		}
		if n != len(p) {
			e.Fatalf("%d bytes", n)
		}
	}},
	{name: "an open file outlives its name", needs: []Feature{Unlinked}, run: func(e *env) {
		h := e.file(e.root(), "f", "content")
		f := e.open(e.owner(), h, export.OpenRead|export.OpenWrite)
		_, err := e.m.Remove(e.owner(), e.root(), "f")
		e.must(err, "remove")
		_, err = f.WriteAt([]byte("C"), 0)
		e.must(err, "write")
		buf := make([]byte, 20)
		n, _, err := f.ReadAt(buf, 0)
		e.must(err, "read")
		var a export.Attr
		e.must(f.Getattr(&a), "getattr of the file")
		if string(buf[:n]) != "Content" || a.Nlink != 0 {
			e.Errorf("%q %+v", buf[:n], a)
		}
		e.must(e.FS.Getattr(h, &a), "getattr by handle while it is open")
		again, err := e.FS.Open(e.owner(), h, export.OpenRead)
		e.must(err, "open by handle while it is open")
		again.Close()
		f.Close()
		e.want(e.FS.Getattr(h, &a), "getattr after close", export.ErrStale)
	}},
	{name: "holes are seen", needs: []Feature{Sparse}, run: func(e *env) {
		f := e.open(e.owner(), e.file(e.root(), "f", ""), export.OpenRead|export.OpenWrite)
		s, ok := f.(export.Sparse)
		if !ok {
			e.Fatal("not export.Sparse")
		}
		const mib = 1 << 20
		_, err := f.WriteAt(bytes.Repeat([]byte("x"), mib), 4*mib)
		e.must(err, "write")
		e.must(f.Sync(), "sync")
		e.must(e.m.Setattr(e.owner(), e.lookup(e.root(), "f"), f, &export.SetAttr{Size: ptr(uint64(8 * mib))}), "extend")
		for _, c := range []struct {
			what      string
			seek      func(int64) (int64, error)
			off, want int64
		}{
			{"data from 0", s.SeekData, 0, 4 * mib}, {"data from 4.5", s.SeekData, 4*mib + mib/2, 4*mib + mib/2},
			{"hole from 0", s.SeekHole, 0, 0}, {"hole from 4", s.SeekHole, 4 * mib, 5 * mib},
			{"data from 6", s.SeekData, 6 * mib, 8 * mib},
		} {
			got, err := c.seek(c.off)
			e.must(err, "%s", c.what)
			if got != c.want {
				e.Errorf("%s: %d, want %d", c.what, got, c.want)
			}
		}
		_, err = s.SeekData(8 * mib)
		e.want(err, "data from the end", export.ErrNXIO)
		_, err = s.SeekHole(9 * mib)
		e.want(err, "hole beyond the end", export.ErrNXIO)
	}},
	{name: "space is reserved and punched", needs: []Feature{Allocate}, run: func(e *env) {
		h := e.file(e.root(), "f", "")
		f := e.open(e.owner(), h, export.OpenRead|export.OpenWrite)
		a, ok := f.(export.Allocator)
		if !ok {
			e.Fatal("not export.Allocator")
		}
		const mib = 1 << 20
		e.must(a.Allocate(0, 2*mib), "allocate")
		if at := e.attr(h); at.Size != 2*mib || at.Used < 2*mib {
			e.Errorf("%+v", at)
		}
		_, err := f.WriteAt(bytes.Repeat([]byte("x"), mib), 0)
		e.must(err, "write")
		before := e.attr(h)
		e.must(a.Deallocate(0, mib), "deallocate")
		at := e.attr(h)
		if at.Size != 2*mib || at.Used > before.Used-mib/2 || at.Change <= before.Change {
			e.Errorf("before %+v, after %+v", before, at)
		}
		buf := make([]byte, 100)
		_, _, err = f.ReadAt(buf, 1000)
		e.must(err, "read")
		if !bytes.Equal(buf, make([]byte, 100)) {
			e.Error("not zeros")
		}
	}},
	{name: "ranges are copied within the file system", needs: []Feature{Copy}, run: func(e *env) {
		src := e.open(e.owner(), e.file(e.root(), "a", "0123456789"), export.OpenRead)
		hb := e.file(e.root(), "b", "")
		dst := e.open(e.owner(), hb, export.OpenRead|export.OpenWrite)
		c, ok := src.(export.Copier)
		if !ok {
			e.Fatal("not export.Copier")
		}
		n, err := c.CopyTo(dst, 2, 3, 5)
		e.must(err, "copy")
		if got := e.content(hb); n != 5 || got != "\x00\x00\x0023456" {
			e.Errorf("%d %q", n, got)
		}
		n, err = c.CopyTo(dst, 8, 0, 100)
		e.must(err, "copy to the end")
		if got := e.content(hb); n != 2 || got != "89\x0023456" {
			e.Errorf("%d %q", n, got)
		}
		if cl, ok := src.(export.Cloner); ok {
			if err := cl.CloneTo(dst, 0, 0, 0); err == nil {
				if got := e.content(hb); got != "0123456789" {
					e.Errorf("cloned %q", got)
				}
			} else {
				e.want(err, "clone", export.ErrNotSupp, export.ErrInval, export.ErrXDev)
			}
		}
	}},
}

var directoryChecks = []check{
	{name: "a listing has each entry once, whatever the page", run: func(e *env) {
		want := map[string]string{}
		for i := range 100 {
			name := fmt.Sprint("entry", i)
			want[name] = string(e.make(e.root(), name, []export.FileType{export.Regular, export.Directory}[i%2]))
		}
		for _, page := range []int{1, 3, 40, 1000} {
			got := e.entries(e.root(), page)
			if len(got) != len(want) {
				e.Fatalf("page of %d: %d entries", page, len(got))
			}
			for _, d := range got {
				if want[d.Name] != string(d.Handle) {
					e.Errorf("page of %d: %s has another handle or came twice", page, d.Name)
				}
				if d.Cookie < 3 || d.Cookie > 1<<63-1 {
					e.Errorf("cookie %d", d.Cookie)
				}
				if a := e.attr(d.Handle); a.FileID != d.Attr.FileID || a.Type != d.Attr.Type || a.Change != d.Attr.Change {
					e.Errorf("%s: listed %+v, is %+v", d.Name, d.Attr, a)
				}
			}
		}
	}},
	{name: "a listing of names only", run: func(e *env) {
		e.file(e.root(), "a", "")
		e.dir(e.root(), "b")
		var got []string
		eof, err := e.FS.ReadDir(e.owner(), e.root(), 0, false, func(d *export.DirEntry) bool {
			got = append(got, d.Name)
			return true
		})
		e.must(err, "readdir")
		if len(got) != 2 || !eof {
			e.Error(got, eof)
		}
	}},
	{name: "an empty directory, and one that is none", run: func(e *env) {
		d := e.dir(e.root(), "d")
		if got := e.entries(d, 10); len(got) != 0 {
			e.Error(got)
		}
		_, err := list(e.FS, e.owner(), e.file(e.root(), "f", ""), 10)
		e.want(err, "readdir of a file", export.ErrNotDir)
		for _, cookie := range []uint64{1, 2, 1 << 63, 1<<64 - 1} {
			_, err := e.FS.ReadDir(e.owner(), d, cookie, true, func(*export.DirEntry) bool { return true })
			e.want(err, "a cookie that is none", export.ErrBadCookie)
		}
	}},
	{name: "a large directory listed while it changes", needs: []Feature{Cookies}, run: func(e *env) {
		n := e.cfg.Entries
		d := e.dir(e.root(), "d")
		var makers sync.WaitGroup
		for w := range 16 {
			makers.Go(func() {
				for i := w; i < n; i += 16 {
					if _, _, _, err := e.m.Make(e.owner(), d, fmt.Sprint("stay", i), &export.MakeArgs{Type: export.Regular}, false, nil); err != nil {
						e.Error(err)
						return
					}
				}
			})
		}
		makers.Wait()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprint("go", i%50)
				if _, _, _, err := e.m.Make(e.owner(), d, name, &export.MakeArgs{Type: export.Regular}, false, nil); err != nil {
					e.Error(err)
				}
				if _, _, err := e.m.Rename(e.owner(), d, name, d, name+"moved"); err != nil {
					e.Error(err)
				}
				if _, err := e.m.Remove(e.owner(), d, name+"moved"); err != nil {
					e.Error(err)
				}
			}
		})
		seen := map[string]int{}
		for _, entry := range e.entries(d, 701) {
			seen[entry.Name]++
		}
		close(stop)
		wg.Wait()
		for i := range n {
			if name := fmt.Sprint("stay", i); seen[name] != 1 {
				e.Fatalf("%s was listed %d times", name, seen[name])
			}
		}
	}},
	{name: "cookies hold after a restart", needs: []Feature{Reopen}, run: func(e *env) {
		want := map[string]bool{}
		for i := range 300 {
			name := fmt.Sprint("entry", i)
			want[name] = true
			e.make(e.root(), name, export.Regular)
		}
		root := e.root()
		cookie := uint64(0)
		for left := 300; left > 0; left -= 50 {
			n := 0
			_, err := e.FS.ReadDir(e.owner(), root, cookie, true, func(d *export.DirEntry) bool {
				if n == 50 {
					return false
				}
				n++
				if !want[d.Name] {
					e.Errorf("%s came twice", d.Name)
				}
				delete(want, d.Name)
				cookie = d.Cookie
				return true
			})
			e.must(err, "readdir")
			e.reopen()
		}
		if len(want) != 0 {
			e.Errorf("missing: %v", want)
		}
	}},
}

// reopen does what a restart does.
func (e *env) reopen() {
	e.Helper()
	fs, err := e.Reopen()
	e.must(err, "reopen")
	e.FS, e.m = fs, fs.(export.Mutable)
}
