//go:build linux

package posix

import (
	"fmt"
	"sync/atomic"
	"testing"

	"holdfast/export"
)

// The callers whose cost differs: root, the owner of everything, and somebody
// whom only the kernel can judge.
func benchCallers(b *testing.B, fn func(b *testing.B, fs *FS, cred *export.Creds)) {
	callers := []struct {
		name string
		cred *export.Creds
		opt  Options
	}{
		{"root", &export.Creds{}, Options{Async: true}},
		{"user", &export.Creds{UID: 1000, GID: 1000, Groups: []uint32{4, 24, 1000}}, Options{Async: true}},
		{"strict", &export.Creds{UID: 1000, GID: 1000, Groups: []uint32{4, 24, 1000}}, Options{Async: true, StrictKernel: true}},
		{"table", &export.Creds{}, Options{Async: true, ForceTable: true}},
	}
	for _, c := range callers {
		b.Run(c.name, func(b *testing.B) {
			fs := newFS(b, c.opt)
			if !fs.Enforced() && c.cred.UID != 0 {
				b.Skip("needs root")
			}
			mode := uint32(0o777)
			if err := fs.Setattr(root, fs.Root(), nil, &export.SetAttr{Mode: &mode}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			fn(b, fs, c.cred)
		})
	}
}

func benchFile(b *testing.B, fs *FS, cred *export.Creds, size int) ([]byte, export.File) {
	h, f, _, err := fs.Make(cred, fs.Root(), "file", &export.MakeArgs{Type: export.Regular}, true, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	if _, err := f.WriteAt(make([]byte, size), 0); err != nil {
		b.Fatal(err)
	}
	return h, f
}

func BenchmarkGetattr(b *testing.B) {
	benchCallers(b, func(b *testing.B, fs *FS, cred *export.Creds) {
		h, _ := benchFile(b, fs, cred, 0)
		var attr export.Attr
		for b.Loop() {
			if err := fs.Getattr(h, &attr); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	benchCallers(b, func(b *testing.B, fs *FS, cred *export.Creds) {
		benchFile(b, fs, cred, 0)
		var attr export.Attr
		for b.Loop() {
			if _, err := fs.Lookup(cred, fs.Root(), "file", &attr); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAccess(b *testing.B) {
	benchCallers(b, func(b *testing.B, fs *FS, cred *export.Creds) {
		h, _ := benchFile(b, fs, cred, 0)
		for b.Loop() {
			if _, err := fs.Access(cred, h, 0x2d); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpenClose(b *testing.B) {
	benchCallers(b, func(b *testing.B, fs *FS, cred *export.Creds) {
		h, _ := benchFile(b, fs, cred, 0)
		for b.Loop() {
			f, err := fs.Open(cred, h, export.OpenRead|export.OpenWrite)
			if err != nil {
				b.Fatal(err)
			}
			f.Close()
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			fs := newFS(b, Options{Async: true})
			_, f := benchFile(b, fs, root, 4<<20)
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := f.ReadAt(buf, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWrite4K(b *testing.B) {
	benchCallers(b, func(b *testing.B, fs *FS, cred *export.Creds) {
		_, f := benchFile(b, fs, cred, 1<<20)
		buf := make([]byte, 4<<10)
		for b.Loop() {
			if _, err := f.WriteAt(buf, 8<<10); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMakeRemove(b *testing.B) {
	benchCallers(b, func(b *testing.B, fs *FS, cred *export.Creds) {
		for b.Loop() {
			_, f, _, err := fs.Make(cred, fs.Root(), "made", &export.MakeArgs{Type: export.Regular}, true, nil)
			if err != nil {
				b.Fatal(err)
			}
			f.Close()
			if _, err := fs.Remove(cred, fs.Root(), "made"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkReadDir20000(b *testing.B) {
	fs := newFS(b, Options{Async: true})
	for i := range 20000 {
		if _, _, _, err := fs.Make(root, fs.Root(), fmt.Sprintf("entry-%d", i), &export.MakeArgs{Type: export.Regular}, false, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		seen := 0
		cookie := uint64(0)
		for eof := false; !eof; {
			var err error
			page := 0
			eof, err = fs.ReadDir(root, fs.Root(), cookie, true, func(e *export.DirEntry) bool {
				if page == 500 {
					return false
				}
				page++
				seen++
				cookie = e.Cookie
				return true
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		if seen != 20000 {
			b.Fatal(seen)
		}
	}
}

func TestGetattrDoesNotAllocate(t *testing.T) {
	fs := newFS(t, Options{})
	if fs.table != nil {
		t.Skip("this file system gives no handles here")
	}
	var attr export.Attr
	h := fs.Root()
	if n := testing.AllocsPerRun(100, func() { fs.Getattr(h, &attr) }); n != 0 {
		t.Errorf("Getattr allocates %v times", n)
	}
}

// Changes that are synced, by 16 callers who share the syncs.
func BenchmarkMakeRemoveStable(b *testing.B) {
	fs := newFS(b, Options{})
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		name := fmt.Sprint("made", n.Add(1))
		for pb.Next() {
			_, f, _, err := fs.Make(root, fs.Root(), name, &export.MakeArgs{Type: export.Regular}, true, nil)
			if err != nil {
				b.Error(err)
				return
			}
			f.Close()
			if _, err := fs.Remove(root, fs.Root(), name); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
