package pebble

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// guard is the file system that Pebble sees. Pebble ends the process when its
// log or manifest cannot be written. So these vital files never fail for it: a
// full disk makes a vital operation wait for space, and any other error
// fails the store. From that moment the guard is a fence: nothing on disk changes
// any more, vital operations only pretend, so that Pebble can be left behind in
// peace, and who waits for a commit learns from health that it did not happen.
//
// During Open errors go through: there they are Open's result.
//
// A guard is used by any number of goroutines at once; one file by one writer.
type guard struct {
	vfs.FS
	health  *health
	space   *space
	witness *witness
	// armed is set when Open is through.
	armed atomic.Bool
	// fullOpening is signalled when a table cannot be written during Open.
	fullOpening chan struct{}
}

// errFenced is what an operation that is not vital gets after the store failed.
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

// vital runs op until it succeeds. It returns false when the store has failed and op
// did not happen. During Open it returns op's error.
func (g *guard) vital(op func() error) (done bool, err error) {
	for {
		if g.health.failed.Load() {
			return false, nil
		}
		err := op()
		switch {
		case err == nil:
			return true, nil
		case !g.armed.Load():
			return true, err
		case !isFull(err):
			g.health.fail(err)
			return false, nil
		}
		g.space.relieve()
		if !g.pause(retryEvery) {
			g.health.fail(fmt.Errorf("closed while waiting for space: %w", err))
			return false, nil
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
	if err == nil || !isFull(err) {
		return err
	}
	g.space.look()
	if !g.armed.Load() {
		select {
		case g.fullOpening <- struct{}{}:
		default:
		}
	}
	g.pause(4 * retryEvery)
	return err
}

func (g *guard) fenced() error {
	if !g.health.failed.Load() {
		return nil
	}
	g.pause(4 * retryEvery)
	return errFenced
}

func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	kind, num := classify(name)
	if !kind.vital() {
		if err := g.fenced(); err != nil {
			return nil, err
		}
		if kind == kindTable && g.armed.Load() && g.space.level.Load() == full {
			// What is left is the log's.
			g.pause(4 * retryEvery)
			g.space.look()
			if g.space.level.Load() == full {
				return nil, fmt.Errorf("create %s: state store: %w", name, errNoSpace)
			}
		}
		f, err := g.FS.Create(name, category)
		if err != nil {
			return nil, g.table(err)
		}
		return &file{File: f, g: g}, nil
	}
	return g.openVital(kind, num, func() (vfs.File, error) {
		if kind != kindMarker {
			if err := g.witness.replace(kind, 0, num); err != nil {
				return nil, err
			}
		}
		return g.FS.Create(name, category)
	})
}

func (g *guard) openVital(kind fileKind, num uint64, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	done, err := g.vital(func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if !done {
		return deadFile{}, nil
	}
	return &vitalFile{File: f, g: g, kind: kind, num: num}, nil
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
		if err := g.fenced(); err != nil {
			return err
		}
		return g.table(g.FS.Rename(oldname, newname))
	}
	_, err := g.vital(func() error { return g.FS.Rename(oldname, newname) })
	return err
}

func (g *guard) Link(oldname, newname string) error {
	if err := g.fenced(); err != nil {
		return err
	}
	return g.table(g.FS.Link(oldname, newname))
}

func (g *guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := g.fenced(); err != nil {
		return nil, err
	}
	f, err := g.FS.OpenReadWrite(name, category, opts...)
	if err != nil {
		return nil, g.table(err)
	}
	return &file{File: f, g: g}, nil
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

var errNoSpace = &os.PathError{Op: "write", Path: "state store", Err: unix.ENOSPC}

// file is a file that is not vital, open for writing.
type file struct {
	vfs.File
	g *guard
}

func (f *file) Write(p []byte) (int, error) {
	if err := f.g.fenced(); err != nil {
		return 0, err
	}
	f.g.space.wrote(len(p))
	n, err := f.File.Write(p)
	return n, f.g.table(err)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.g.fenced(); err != nil {
		return 0, err
	}
	f.g.space.wrote(len(p))
	n, err := f.File.WriteAt(p, off)
	return n, f.g.table(err)
}

func (f *file) Sync() error     { return f.g.table(f.File.Sync()) }
func (f *file) SyncData() error { return f.g.table(f.File.SyncData()) }

// vitalFile is a log, a manifest, a marker, or the directory of these.
type vitalFile struct {
	vfs.File
	g       *guard
	kind    fileKind
	num     uint64
	written atomic.Int64
}

func (f *vitalFile) Write(p []byte) (int, error) {
	f.g.space.wrote(len(p))
	rest := p
	_, err := f.g.vital(func() error {
		n, err := f.File.Write(rest)
		rest = rest[n:]
		return err
	})
	if err != nil {
		return len(p) - len(rest), err
	}
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
	if err != nil && f.g.armed.Load() {
		f.g.health.fail(err)
		return nil
	}
	return err
}

func (f *vitalFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *vitalFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *vitalFile) SyncTo(length int64) (bool, error) {
	if f.g.health.failed.Load() {
		return false, nil
	}
	// A hint only: SyncData follows before anything is promised.
	_, err := f.File.SyncTo(length)
	if err != nil && f.g.armed.Load() {
		f.g.health.fail(err)
		err = nil
	}
	return false, err
}

func (f *vitalFile) Close() error {
	err := f.File.Close()
	if err != nil && f.g.armed.Load() {
		f.g.health.fail(err)
		return nil
	}
	return err
}
