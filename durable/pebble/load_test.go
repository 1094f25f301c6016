package pebble_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/pebble"
)

// A steady load that overwrites the same slots all the time neither grows the
// store nor stalls it.
func TestOverwriteLoadIsBounded(t *testing.T) {
	total := 400_000
	if testing.Short() || raceEnabled {
		total = 40_000
	}
	dir := t.TempDir()
	s := mustOpen(t, dir)
	const writers, slots = 16, 256
	var worst time.Duration
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			value := make([]byte, 150)
			var slow time.Duration
			for i := range total / writers {
				start := time.Now()
				if err := commitWait(s, &durable.Batch{Writes: []durable.Write{
					{Key: fmt.Sprintf("slot/%04d/%d", w, i%slots), Value: value},
					{Key: fmt.Sprintf("file/%04d/%d", w, i%7), Value: value},
				}}); err != nil {
					t.Error(err)
					return
				}
				slow = max(slow, time.Since(start))
			}
			mu.Lock()
			worst = max(worst, slow)
			mu.Unlock()
		})
	}
	wg.Wait()
	size := diskUse(t, filepath.Join(dir, "db"))
	stats := s.Written()
	t.Logf("%d commits: %d MiB on disk, %d MiB logged, %d MiB flushed, %d MiB compacted, slowest commit %v",
		total, size>>20, stats[0]>>20, stats[1]>>20, stats[2]>>20, worst)
	// Six logs at most, and tables that hold little more than what lives.
	if size > 6*6<<20+64<<20 {
		t.Errorf("the store takes %d MiB", size>>20)
	}
	if stats[1]+stats[2] > stats[0]/2+8<<20 {
		t.Errorf("%d bytes of log made %d bytes of tables", stats[0], stats[1]+stats[2])
	}
}

func diskUse(t testing.TB, dir string) (size int64) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if fi, err := e.Info(); err == nil {
			size += fi.Size()
		} else if !os.IsNotExist(err) {
			return err
		}
		return nil
	}); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return size
}

// What is forgotten leaves no record behind.
func TestForgottenLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	for i := range 300 {
		b := &durable.Batch{}
		for p := range i {
			b.Writes = append(b.Writes, durable.Write{Key: fmt.Sprint("g", i), Name: fmt.Sprint(p * i), Value: make([]byte, 10)})
		}
		b.Writes = append(b.Writes, durable.Write{Key: fmt.Sprint("g", i), Value: make([]byte, 10*i)})
		if err := commitWait(s, b); err != nil {
			t.Fatal(err)
		}
	}
	forget := func(from int) {
		t.Helper()
		for i := from; i < 300; i += 2 {
			if err := commitWait(s, &durable.Batch{Forget: []string{fmt.Sprint("g", i)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	forget(0)
	// The other half as a store that knows nothing of them yet.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	forget(1)
	if n, err := s.Keys(); err != nil || n != 0 {
		t.Errorf("%d records are left: %v", n, err)
	}
	groups, err := s.Load(context.Background(), "g1", "g2", "g299")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if g.Version != 0 || len(g.Parts) != 0 {
			t.Errorf("%q is still there", g.Key)
		}
	}
}

// A commit that goes on in the cache allocates next to nothing.
func TestCommitAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := mustOpen(t, t.TempDir())
	b := durable.Batch{
		Checks: []durable.Check{{Key: "slot/1/1"}, {Key: "file/1"}},
		Writes: []durable.Write{{Key: "slot/1/1", Value: make([]byte, 100)}, {Key: "file/1", Value: make([]byte, 100)}, {Key: "file/1", Name: "lock/1", Value: make([]byte, 100)}},
	}
	if n := testing.AllocsPerRun(2000, func() {
		if err := commitWait(s, &b); err != nil {
			t.Fatal(err)
		}
		b.Checks[0].Version++
		b.Checks[1].Version++
	}); n > 2 {
		t.Errorf("%v allocations per commit", n)
	}
}

// A store of many groups opens at once, also after a crash.
func BenchmarkOpenAfterCrash(b *testing.B) {
	dir := b.TempDir()
	s, err := pebble.Open(dir, pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 2000 {
		batch := &durable.Batch{}
		for j := range 100 {
			batch.Writes = append(batch.Writes, durable.Write{Key: fmt.Sprintf("file/%d/%d", i, j), Value: make([]byte, 100)})
		}
		if err := commitWait(s, batch); err != nil {
			b.Fatal(err)
		}
	}
	s.Crash()
	for b.Loop() {
		s, err := pebble.Open(dir, pebble.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := commitWait(s, &durable.Batch{Writes: []durable.Write{{Key: "g", Value: []byte("v")}}}); err != nil {
			b.Fatal(err)
		}
		s.Crash()
		b.StartTimer()
	}
}

func TestStatus(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := commitWait(s, &durable.Batch{Writes: []durable.Write{{Key: "g", Value: make([]byte, 50_000)}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if st := s.Status(); st.Level != "ok" || st.Err != nil || st.Free <= 0 || st.TableBytes == 0 {
		t.Errorf("%+v", st)
	}
	s.Crash()
	if st := s.Status(); st.Level != "failed" || st.Err == nil {
		t.Errorf("after a failure: %+v", st)
	}
}
