package pebble_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"holdfast/durable"
	"holdfast/durable/pebble"
)

// journal is a load whose every batch can be found again: writer w raises its
// counter and the size of a part with each batch.
type journal struct {
	writers int
	acked   []atomic.Uint64
}

func newJournal(writers int) *journal {
	return &journal{writers: writers, acked: make([]atomic.Uint64, writers)}
}

func (j *journal) batch(w int, n uint64) *durable.Batch {
	key := fmt.Sprint("journal/", w)
	return &durable.Batch{
		Checks: []durable.Check{{Key: key, Version: n - 1}},
		Writes: []durable.Write{
			{Key: key, Value: binary.BigEndian.AppendUint64(nil, n)},
			{Key: key, Name: "size", Value: make([]byte, n%2000)},
			{Key: fmt.Sprintf("item/%d/%d", w, n), Value: []byte("x")},
		},
		Forget: []string{fmt.Sprintf("item/%d/%d", w, n-min(n, 50))},
	}
}

// run commits until stop is closed or a commit fails, and returns that error.
func (j *journal) run(s durable.Store, w int, stop <-chan struct{}) error {
	for n := j.acked[w].Load() + 1; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		ack, err := s.Commit(context.Background(), j.batch(w, n))
		if err != nil {
			return err
		}
		if err := ack.Wait(); err != nil {
			return err
		}
		j.acked[w].Store(n)
	}
}

// check holds a store to what was acknowledged, and goes on from what is there.
func (j *journal) check(t testing.TB, s durable.Store, acked []uint64) {
	t.Helper()
	for w := range j.writers {
		groups, err := s.Load(context.Background(), fmt.Sprint("journal/", w))
		if err != nil {
			t.Fatal(err)
		}
		g := groups[0]
		if g.Version < acked[w] {
			t.Fatalf("writer %d: batch %d was acknowledged, %d is found", w, acked[w], g.Version)
		}
		j.acked[w].Store(g.Version)
		if g.Version == 0 {
			continue
		}
		if len(g.Parts) != 2 || binary.BigEndian.Uint64(g.Parts[0].Value) != g.Version || uint64(len(g.Parts[1].Value)) != g.Version%2000 {
			t.Fatalf("writer %d: version %d is not whole", w, g.Version)
		}
		n := uint64(0)
		if err := s.Scan(context.Background(), fmt.Sprintf("item/%d/", w), func(durable.Group) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		if n != min(g.Version, 50) {
			t.Fatalf("writer %d: %d items at version %d", w, n, g.Version)
		}
	}
}

func (j *journal) snapshot() []uint64 {
	acked := make([]uint64, j.writers)
	for w := range acked {
		acked[w] = j.acked[w].Load()
	}
	return acked
}

// When the machine dies, what was not synced is lost in part, in any order. All
// that was acknowledged survives, and the torn rest is not taken for damage.
func TestPowerLoss(t *testing.T) {
	for round := range 12 {
		powerLoss(t, uint64(round))
	}
}

func powerLoss(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 5))
	dir := t.TempDir()
	mem := vfs.NewCrashableMem()
	if err := mem.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		f, err := mem.OpenDir(d)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	// A small reserve makes small memtables, so that logs and manifests change.
	s, err := pebble.Open(dir, pebble.WithFS(pebble.Options{Reserve: 2 << 20}, mem))
	if err != nil {
		t.Fatal(err)
	}
	j := newJournal(4)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range j.writers {
		wg.Go(func() {
			if err := j.run(s, w, stop); err != nil {
				t.Error(err)
			}
		})
	}
	goal := uint64(r.IntN(1500))
	for j.acked[0].Load() < goal && !t.Failed() {
	}
	acked := j.snapshot()
	clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[seed%3], RNG: r})
	close(stop)
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// What is not the file system's is written once, at Open.
	after := filepath.Join(t.TempDir(), "after")
	if _, err := vfs.Clone(clone, vfs.Default, dir, after); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(after, "FORMAT"), read(t, filepath.Join(dir, "FORMAT")), 0o600); err != nil {
		t.Fatal(err)
	}
	s2, err := pebble.Open(after, pebble.Options{CheckBytes: -1})
	if err != nil {
		t.Fatalf("seed %d: open after the power loss: %v", seed, err)
	}
	defer s2.Close()
	j.check(t, s2, acked)
}

// Whichever write to the disk is the first to fail: nothing panics, commits say
// so, and what was acknowledged is found when the disk is sound again.
func TestFailingDisk(t *testing.T) {
	dir := t.TempDir()
	j := newJournal(4)
	step := 3
	if testing.Short() {
		step = 7
	}
	failed := 0
	for n := int32(0); n < 160; n += int32(step) {
		inj := &failFrom{n: n, err: syscall.EIO}
		s, err := pebble.Open(dir, pebble.WithFS(pebble.Options{Reserve: 2 << 20}, errorfs.Wrap(vfs.Default, inj)))
		if err != nil {
			if !errors.Is(err, syscall.EIO) && !errors.Is(err, durable.ErrUnavailable) {
				t.Fatalf("step %d: open: %v", n, err)
			}
		} else {
			failed += j.untilFailure(t, s, n)
		}
		s = mustOpen(t, dir)
		j.check(t, s, j.snapshot())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Error("no failure was met while the store was open")
	}
}

func (j *journal) untilFailure(t *testing.T, s *pebble.Store, step int32) int {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var failures atomic.Int32
	goal := j.acked[0].Load() + 400
	for w := range j.writers {
		wg.Go(func() {
			err := j.run(s, w, stop)
			switch {
			case err == nil:
			case errors.Is(err, durable.ErrUnknown), errors.Is(err, durable.ErrUnavailable):
				failures.Add(1)
			default:
				t.Errorf("step %d: commit on a failing disk: %v", step, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running && j.acked[0].Load() < goal; {
		select {
		case <-done:
			running = false
		default:
		}
	}
	close(stop)
	<-done
	if s.Err() != nil {
		if _, err := s.Commit(context.Background(), &durable.Batch{}); !errors.Is(err, durable.ErrUnavailable) {
			t.Errorf("step %d: a commit after the failure: %v", step, err)
		}
		if _, err := s.Load(context.Background(), "g"); !errors.Is(err, durable.ErrUnavailable) {
			t.Errorf("step %d: a load after the failure: %v", step, err)
		}
	}
	// A failed flush of tables alone is tried again, and may never be noticed.
	s.Close()
	return int(failures.Load())
}

// failFrom fails every write from the n-th on.
type failFrom struct {
	n   int32
	err error
	i   atomic.Int32
}

func (f *failFrom) String() string { return "failFrom" }

func (f *failFrom) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpFilePreallocate || f.i.Add(1)-1 < f.n {
		return nil
	}
	return &fs.PathError{Op: "write", Path: op.Path, Err: f.err}
}
