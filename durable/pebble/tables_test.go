package pebble_test

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"holdfast/durable"
	"holdfast/durable/pebble"
)

// tableFS asks before a table is begun, and before the options are in place,
// which is late in Pebble's Open.
type tableFS struct {
	vfs.FS
	begin   func(compaction bool) error
	options func()
}

func (f *tableFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		if err := f.begin(category == "pebble-compaction"); err != nil {
			return nil, err
		}
	}
	return f.FS.Create(name, category)
}

func (f *tableFS) Rename(oldname, newname string) error {
	if f.options != nil && strings.HasPrefix(filepath.Base(newname), "OPTIONS-") {
		f.options()
	}
	return f.FS.Rename(oldname, newname)
}

// Commits that wait for a flush are refused when it turns out that there is no
// space for it, and the store can be closed all the same.
func TestFlushWithoutSpace(t *testing.T) {
	full := make(chan struct{})
	disk := &tableFS{FS: vfs.Default, begin: func(bool) error {
		<-full
		return unix.ENOSPC
	}}
	dir := t.TempDir()
	s, err := pebble.Open(dir, pebble.WithFS(pebble.Options{Reserve: 2 << 20}, disk))
	if err != nil {
		t.Fatal(err)
	}
	growers := newGrowers(0, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		grow(t, s, growers, nil)
	}()
	until(t, "commits wait for a flush", func() bool { return s.Backlog() >= pebble.MaxBacklog })
	close(full)
	<-done
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	allThere(t, s, growers)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A flush that succeeds lets the commits go on that waited for it.
func TestFlushLate(t *testing.T) {
	flush := make(chan struct{})
	disk := &tableFS{FS: vfs.Default, begin: func(bool) error {
		<-flush
		return nil
	}}
	s, err := pebble.Open(t.TempDir(), pebble.WithFS(pebble.Options{Reserve: 2 << 20}, disk))
	if err != nil {
		t.Fatal(err)
	}
	growers := newGrowers(0, 8)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		grow(t, s, growers, stop)
	}()
	until(t, "commits wait for a flush", func() bool { return s.Backlog() >= pebble.MaxBacklog })
	close(flush)
	until(t, "the backlog is gone", func() bool { return s.Backlog() < pebble.MaxBacklog })
	close(stop)
	<-done
	allThere(t, s, growers)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A compaction, which can be tried later, takes no space that the recovery needs,
// and does not fail it.
func TestCompactionsAfterOpen(t *testing.T) {
	// A refused compaction stops commits for a time: the first ones wait, so that
	// there is one after the last flush.
	var compactions atomic.Int64
	committed := make(chan struct{})
	disk := &tableFS{FS: vfs.Default, begin: func(compaction bool) error {
		if compaction {
			compactions.Add(1)
			<-committed
			return unix.ENOSPC
		}
		return nil
	}}
	dir := t.TempDir()
	s, err := pebble.Open(dir, pebble.WithFS(pebble.Options{Reserve: 2 << 20}, disk))
	if err != nil {
		t.Fatal(err)
	}
	put := func() error {
		return commitWait(s, &durable.Batch{Writes: []durable.Write{{Key: "key", Value: []byte("value")}}})
	}
	until(t, "compactions are due", func() bool {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		return compactions.Load() > 0
	})
	if err := put(); err != nil { // the recovery must flush it
		t.Fatal(err)
	}
	close(committed)
	s.Crash()

	compactions.Store(0)
	again := &tableFS{FS: vfs.Default, begin: disk.begin}
	again.options = func() {
		// Long enough for a compaction that does not wait.
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end) && compactions.Load() == 0; {
			time.Sleep(time.Millisecond)
		}
		if compactions.Load() > 0 {
			t.Error("a compaction began while the store was being opened")
		}
	}
	s, err = pebble.Open(dir, pebble.WithFS(pebble.Options{Reserve: 2 << 20}, again))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the compaction begins", func() bool { return compactions.Load() > 0 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
