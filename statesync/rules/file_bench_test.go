package rules

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"holdfast/internal/nfs4"
)

func benchOther(kind byte, i int) (other Other) {
	other[0] = kind
	binary.BigEndian.PutUint32(other[8:], uint32(i))
	return other
}

// must applies what a rule decided.
func must(tb testing.TB, f *File, d *Delta, err error) {
	tb.Helper()
	if err == nil {
		err = f.Apply(d)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// locked returns a file on which n ranges are locked: all by one owner, or
// each by an owner of its own. They are 10 bytes long and 20 apart; reads lie on
// one another instead.
func locked(tb testing.TB, n int, owners bool, write bool) *File {
	tb.Helper()
	f := &File{}
	_, d, err := f.Open(&OpenRequest{Client: 1, Owner: []byte("opener"), Access: 3, NewOther: benchOther('o', 0)}, nil)
	must(tb, f, d, err)
	for i := range n {
		req := &LockRequest{
			Ref: Ref{Client: 1, Stateid: nfs4.Stateid{Other: benchOther('o', 0)}}, New: true,
			Owner: []byte("lock-owner-of-usual-size"), Write: write,
			Offset: uint64(i) * 20, Length: 10, NewOther: benchOther('l', 0),
		}
		if owners {
			req.Owner = fmt.Appendf(nil, "lock-owner-of-%09d", i)
			req.NewOther = benchOther('l', i)
			if !write {
				req.Offset, req.Length = 0, 10+uint64(i)
			}
		}
		_, d, err := f.Lock(req, nil)
		must(tb, f, d, err)
	}
	return f
}

var benchSizes = []int{10, 10_000, 1_000_000}

// BenchmarkLockUnlock locks and unlocks one range of a file with many.
func BenchmarkLockUnlock(b *testing.B) {
	for _, owners := range []bool{false, true} {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("owners=%t/locks=%d", owners, n), func(b *testing.B) {
				f := locked(b, n, owners, true)
				ref := Ref{Client: 1, Stateid: nfs4.Stateid{Other: benchOther('l', 0)}}
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; b.Loop(); i++ {
					at := uint64(i*7919%n)*20 + 12
					_, d, err := f.Lock(&LockRequest{Ref: ref, Write: true, Offset: at, Length: 2}, nil)
					must(b, f, d, err)
					_, d, err = f.Unlock(ref, at, 2)
					must(b, f, d, err)
				}
			})
		}
	}
}

// BenchmarkConflict looks for the conflict with a write lock where many owners
// have read locks on the same bytes.
func BenchmarkConflict(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("locks=%d", n), func(b *testing.B) {
			f := locked(b, n, true, false)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				req := &TestRequest{Client: 2, Write: true, Offset: uint64(n) + 8, Length: 1}
				if f.TestLock(req, nil) == nil {
					b.Fatal("granted")
				}
			}
		})
	}
}

// BenchmarkCheckIO is what every READ and WRITE asks.
func BenchmarkCheckIO(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("locks=%d", n), func(b *testing.B) {
			f := locked(b, n, true, true)
			ref := Ref{Client: 1, Stateid: nfs4.Stateid{Other: benchOther('l', n/2)}}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if _, err := f.CheckIO(ref, nfs4.ShareAccessBoth, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpenClose opens and closes a file that many owners have open.
func BenchmarkOpenClose(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("opens=%d", n), func(b *testing.B) {
			f := &File{}
			for i := range n {
				_, d, err := f.Open(&OpenRequest{
					Client: ClientID(1 + i), Owner: []byte("opener"), Access: 3, NewOther: benchOther('o', i),
				}, nil)
				must(b, f, d, err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := n; b.Loop(); i++ {
				other := benchOther('o', i)
				_, d, err := f.Open(&OpenRequest{Client: 1, Owner: []byte("another"), Access: 3, NewOther: other}, nil)
				must(b, f, d, err)
				_, d, err = f.Close(Ref{Client: 1, Stateid: nfs4.Stateid{Other: other}})
				must(b, f, d, err)
			}
		})
	}
}

// BenchmarkDecodeFile reads a file's group from the store.
func BenchmarkDecodeFile(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("locks=%d", n), func(b *testing.B) {
			parts := locked(b, n, true, true).Parts()
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if _, err := DecodeFile(parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// heapOf returns what a value made by build takes of the heap.
func heapOf(build func() any) (bytes uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	keep := build()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(keep)
	return after.HeapAlloc - before.HeapAlloc
}

// TestMemoryPerLock keeps a lock small, since a client may have millions.
func TestMemoryPerLock(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		what   string
		owners bool
		limit  uint64
	}{
		{"one owner", false, 100},
		{"an owner and a stateid for each", true, 400},
	} {
		got := heapOf(func() any { return locked(t, n, c.owners, true) }) / n
		t.Logf("%s: %d bytes per lock", c.what, got)
		if got > c.limit {
			t.Errorf("%s: %d bytes per lock, want at most %d", c.what, got, c.limit)
		}
	}
	got := heapOf(func() any {
		files := make([]*File, n)
		for i := range files {
			f := &File{}
			_, d, err := f.Open(&OpenRequest{Client: 1, Owner: []byte("opener"), Access: 3, NewOther: benchOther('o', i)}, nil)
			must(t, f, d, err)
			files[i] = f
		}
		return files
	}) / n
	t.Logf("%d bytes per open file", got)
	if got > 800 {
		t.Errorf("%d bytes per open file, want at most 800", got)
	}
}
