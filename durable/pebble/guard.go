package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// guard is the file system that Pebble sees. Pebble ends the process when its
// log or manifest cannot be written. So these vital files never fail for it: a
// full disk makes a vital operation wait for space; tables get the error, and
// Pebble tries them again. Any other error fails the store. From that moment the
// guard is a fence: nothing on disk changes any more, and every operation
// pretends to succeed. So Pebble's own waiting ends and it can be closed, and
// who waits for a commit learns from health that it did not happen.
//
// During Open a full disk is an error like the others, and the first error is
// Open's result. Compactions are refused until Open is through: what space there
// is is for the recovery, which must not fail for what can be done later.
//
// A guard is used by any number of goroutines at once; one file by one writer.
type guard struct {
	vfs.FS
	health  *health
	space   *space
	witness *witness
	// armed is set when Open is through.
	armed atomic.Bool
}

// errFenced is what a read of a file that was never written gets.
var errFenced = errors.New("state store has failed")

const retryEvery = 50 * time.Millisecond

// classify tells the kind of a file by its name, and its number if it has one.
func classify(name string) (kind fileKind, num uint64) {
	base := filepath.Base(name)
	switch {
	case strings.HasSuffix(base, ".log"):
		num, err := strconv.ParseUint(strings.TrimSuffix(base, ".log"), 10, 64)
		if err != nil {
			return kindOther, 0
		}
		return kindLog, num
	case strings.HasPrefix(base, "MANIFEST-"):
		num, err := strconv.ParseUint(strings.TrimPrefix(base, "MANIFEST-"), 10, 64)
		if err != nil {
			return kindOther, 0
		}
		return kindManifest, num
	case strings.HasPrefix(base, "marker."):
		return kindMarker, 0
	case strings.HasSuffix(base, ".sst"), strings.HasSuffix(base, ".blob"):
		return kindTable, 0
	}
	return kindOther, 0
}

func (k fileKind) vital() bool { return k == kindLog || k == kindManifest || k == kindMarker }

// vital runs op until it succeeds. It returns false when the store has failed:
// op did not happen then, or not whole.
func (g *guard) vital(op func() error) (done bool) {
	for {
		if g.health.failed.Load() {
			return false
		}
		err := op()
		switch {
		case err == nil:
			return true
		case !g.armed.Load() || !isFull(err):
			g.health.fail(err)
			return false
		}
		g.space.relieve()
		if !g.pause(retryEvery) {
			g.health.fail(fmt.Errorf("closed while waiting for space: %w", err))
			return false
		}
	}
}

// pause waits, and says whether the store still lives.
func (g *guard) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-g.health.down:
		return false
	case <-t.C:
		return true
	}
}

// table notes the outcome of an operation on a file that is not vital. Pebble
// tries a failed flush again at once and for ever: the pause keeps it from
// burning a processor.
func (g *guard) table(err error) error {
	switch {
	case err == nil:
		return nil
	case !g.armed.Load() || !isFull(err):
		g.health.fail(err)
		return nil
	}
	g.space.deny()
	g.pause(4 * retryEvery)
	return err
}

// flushCategory is how Pebble names the tables that it writes from memory.
const flushCategory = "pebble-memtable-flush"

// mayBegin says whether a table may be begun. A refusal comes after a pause:
// Pebble tries again at once.
func (g *guard) mayBegin(flush bool) bool {
	switch {
	case !g.armed.Load():
		// Pebble's Open begins compactions, and waits for their end.
		if !flush {
			g.pause(retryEvery / 10)
		}
		return flush
	case !g.space.roomForTable(flush):
		g.pause(4 * retryEvery)
		return false
	}
	return true
}

func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	kind, num := classify(name)
	if !kind.vital() {
		if g.health.failed.Load() {
			return deadFile{}, nil
		}
		compacts := kind == kindTable && category != flushCategory
		if kind == kindTable && !g.mayBegin(!compacts) {
			return nil, putOff(compacts, &fs.PathError{Op: "create", Path: name, Err: unix.ENOSPC})
		}
		f, err := g.FS.Create(name, category)
		return g.plain(f, err, compacts)
	}
	return g.openVital(kind, num, func() (vfs.File, error) {
		if kind == kindLog {
			// Each log begins with a look: others fill the disk as well.
			g.space.look()
		}
		if kind != kindMarker {
			if err := g.witness.replace(kind, 0, num); err != nil {
				return nil, err
			}
		}
		return g.FS.Create(name, category)
	})
}

// plain wraps a file that is not vital, just opened for writing.
func (g *guard) plain(f vfs.File, err error, compacts bool) (vfs.File, error) {
	if err != nil {
		if err := g.table(err); err != nil {
			return nil, putOff(compacts, err)
		}
		return deadFile{}, nil
	}
	return &file{File: f, g: g, compacts: compacts}, nil
}

// putOff makes a lack of space for a compaction a reason to do it later. After
// an error Pebble would keep away from its tables for half a minute, when space
// may be back long since.
func putOff(compacts bool, err error) error {
	if compacts && isFull(err) {
		return fmt.Errorf("%w: %w", pdb.ErrCancelledCompaction, err)
	}
	return err
}

func (g *guard) openVital(kind fileKind, num uint64, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	if !g.vital(func() (err error) { f, err = open(); return err }) {
		return deadFile{}, nil
	}
	v := &vitalFile{File: f, g: g, kind: kind, num: num}
	if kind == kindLog {
		if fi, err := f.Stat(); err == nil {
			v.filled = fi.Size()
		}
	}
	return v, nil
}

func (g *guard) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	kind, num := classify(newname)
	_, old := classify(oldname)
	renamed := false
	return g.openVital(kind, num, func() (vfs.File, error) {
		// A retry finds the file renamed already: start a fresh one then.
		if renamed {
			return g.FS.Create(newname, category)
		}
		g.space.look()
		if err := g.witness.replace(kind, old, num); err != nil {
			return nil, err
		}
		renamed = true
		return g.FS.ReuseForWrite(oldname, newname, category)
	})
}

func (g *guard) Remove(name string) error {
	kind, num := classify(name)
	if g.health.failed.Load() {
		return nil
	}
	if kind == kindLog || kind == kindManifest {
		if err := g.witness.replace(kind, num, 0); err != nil {
			g.health.fail(err)
			return nil
		}
	}
	return g.FS.Remove(name)
}

func (g *guard) RemoveAll(name string) error {
	if g.health.failed.Load() {
		return nil
	}
	return g.FS.RemoveAll(name)
}

func (g *guard) Rename(oldname, newname string) error {
	if kind, _ := classify(newname); !kind.vital() {
		return g.unlessFailed(func() error { return g.FS.Rename(oldname, newname) })
	}
	g.vital(func() error { return g.FS.Rename(oldname, newname) })
	return nil
}

func (g *guard) Link(oldname, newname string) error {
	return g.unlessFailed(func() error { return g.FS.Link(oldname, newname) })
}

func (g *guard) unlessFailed(op func() error) error {
	if g.health.failed.Load() {
		return nil
	}
	return g.table(op())
}

func (g *guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if g.health.failed.Load() {
		return deadFile{}, nil
	}
	f, err := g.FS.OpenReadWrite(name, category, opts...)
	return g.plain(f, err, false)
}

// Open opens a file for reading. After the store failed it may never have been
// written.
func (g *guard) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := g.FS.Open(name, opts...)
	if err != nil && g.health.failed.Load() {
		time.Sleep(4 * retryEvery) // or Pebble tries again at once
	}
	return f, err
}

// OpenDir opens the directory that holds the vital files' names.
func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &vitalFile{File: f, g: g}, nil
}

// Lock does nothing: the store's own LOCK is held, and is given up when
// the store closes, even if a failed Pebble never does.
func (g *guard) Lock(string) (io.Closer, error) { return noCloser{}, nil }

// Unwrap hides the file system below, so that nothing goes past the guard.
func (g *guard) Unwrap() vfs.FS { return nil }

type noCloser struct{}

func (noCloser) Close() error { return nil }

// file is a file that is not vital, open for writing.
type file struct {
	vfs.File
	g        *guard
	compacts bool // written by a compaction
}

func (f *file) try(op func() error) error { return putOff(f.compacts, f.g.unlessFailed(op)) }

func (f *file) Write(p []byte) (int, error) {
	f.g.space.wrote(len(p))
	n := len(p)
	err := f.try(func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	return written(n, len(p), err)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.g.space.wrote(len(p))
	n := len(p)
	err := f.try(func() (err error) {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return written(n, len(p), err)
}

// written is the result of a write of want bytes, which may be a pretence.
func written(n, want int, err error) (int, error) {
	if err == nil {
		n = want
	}
	return n, err
}

func (f *file) Sync() error     { return f.try(f.File.Sync) }
func (f *file) SyncData() error { return f.try(f.File.SyncData) }

func (f *file) SyncTo(length int64) (full bool, err error) {
	err = f.try(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// vitalFile is a log, a manifest, a marker, or the directory of these.
type vitalFile struct {
	vfs.File
	g       *guard
	kind    fileKind
	num     uint64
	written atomic.Int64
	filled  int64 // its size, if a log; of the writer
}

// fillStep is how far a log's size is ahead of what is written to it.
const fillStep = 256 << 10

var zeros [fillStep]byte

// fill keeps a log's size ahead of what is written to it, with zeros, at which
// Pebble ends its reading. A sync of a file that grew has to write its size and
// where its blocks are besides, which takes another wait for the disk, and on most
// file systems a commit of their journal. A log that is used again has its size.
func (f *vitalFile) fill(more int) {
	if f.kind != kindLog || f.g.space.level.Load() != roomy || f.g.health.failed.Load() {
		return
	}
	at := f.written.Load()
	for at+int64(more) > f.filled {
		f.filled = max(f.filled, at) // what is written stays
		n, err := f.File.WriteAt(zeros[:], f.filled)
		f.g.space.wrote(n)
		f.filled += int64(n)
		if err != nil {
			return // the write itself will tell
		}
	}
}

func (f *vitalFile) Write(p []byte) (int, error) {
	f.g.space.wrote(len(p))
	f.fill(len(p))
	rest := p
	f.g.vital(func() error {
		n, err := f.File.Write(rest)
		rest = rest[n:]
		return err
	})
	f.written.Add(int64(len(p)))
	return len(p), nil
}

// sync never retries: after a failed fsync the kernel may have dropped the
// pages, and a second one would succeed all the same.
func (f *vitalFile) sync(op func() error) error {
	if f.g.health.failed.Load() {
		return nil
	}
	n := f.written.Load()
	err := op()
	if err == nil && (f.kind == kindLog || f.kind == kindManifest) {
		err = f.g.witness.raise(f.kind, f.num, n)
	}
	if err != nil {
		f.g.health.fail(err)
	}
	return nil
}

func (f *vitalFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *vitalFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *vitalFile) SyncTo(length int64) (bool, error) {
	if f.g.health.failed.Load() {
		return false, nil
	}
	// A hint only: SyncData follows before anything is promised.
	if _, err := f.File.SyncTo(length); err != nil {
		f.g.health.fail(err)
	}
	return false, nil
}

func (f *vitalFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.g.health.fail(err)
	}
	return nil
}
