//go:build linux

package posix

import (
	"sync"

	"golang.org/x/sys/unix"

	"holdfast/export"
	"holdfast/internal/together"
)

// syncGroups lets calls that want the same object synced at the same time share
// a sync. A call is only served by a sync that began after it asked, so that
// its own change is covered.
type syncGroups struct {
	mu     sync.Mutex // not held while a sync runs
	groups map[string]*syncGroup
}

type syncGroup struct{ next *syncRound } // next: those who came while a sync runs

type syncRound struct {
	start, done chan struct{}
	err         error
}

func (g *syncGroups) init() { g.groups = make(map[string]*syncGroup) }

// do runs fn for key, or waits for a call of another that does. fn must not
// panic.
func (g *syncGroups) do(key []byte, fn func() error) error {
	g.mu.Lock()
	grp := g.groups[string(key)]
	if grp == nil {
		grp = &syncGroup{}
		g.groups[string(key)] = grp
		g.mu.Unlock()
		err := fn()
		g.advance(key, grp)
		return err
	}
	if round := grp.next; round != nil {
		g.mu.Unlock()
		<-round.done
		return round.err
	}
	round := &syncRound{start: make(chan struct{}), done: make(chan struct{})}
	grp.next = round
	g.mu.Unlock()
	<-round.start
	round.err = fn()
	close(round.done)
	g.advance(key, grp)
	return round.err
}

// advance lets the next round begin, if there is one.
func (g *syncGroups) advance(key []byte, grp *syncGroup) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if grp.next == nil {
		delete(g.groups, string(key))
		return
	}
	close(grp.next.start)
	grp.next = nil
}

func fsync(fd int) error {
	return fail("fsync", errnoOf(retry(func() error { return unix.Fsync(fd) })))
}

// syncDir puts the names in the directory with handle dir, open as fd, on
// stable storage.
func (fs *FS) syncDir(dir []byte, fd int) error {
	if fs.opt.Async {
		return nil
	}
	if fs.kind.journal && fs.barrier.usable() {
		return fs.barrier.sync()
	}
	return fs.syncs.do(dir, func() error { return fsync(fd) })
}

// syncObject puts the attributes of the object with handle h on stable storage,
// where it can without its data.
func (fs *FS) syncObject(h []byte) error {
	if fs.opt.Async {
		return nil
	}
	if t := typeOf(h); fs.kind.journal && fs.barrier.usable() || t != export.Regular && t != export.Directory {
		return fs.barrier.sync() // what is no file and no directory cannot be synced by itself
	}
	return fs.syncs.do(h, func() error {
		fd, err := fs.openHandle(h, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			// Not readable to a user that is not root, or held by a lease.
			return fs.barrier.sync()
		}
		defer closeFD(fd)
		return fsync(fd)
	})
}

// A barrier puts all metadata that changed before on stable storage. Where
// metadata is journalled in order it is enough to change and sync one file
// without a name: calls for whatever objects share that sync, and no data is
// written. Elsewhere the whole file system is synced.
type barrier struct {
	fs   *FS
	runs together.Calls
	tmp  int    // the file without a name, or -1
	mode uint32 // of tmp, changed by the one sync that runs
}

func (b *barrier) init(fs *FS) {
	b.fs, b.tmp = fs, -1
	if !fs.kind.journal {
		return
	}
	if fd, e := openat(fs.rootFD, &dot[0], unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); e == noErrno {
		b.tmp = fd
	}
}

// usable says that the barrier costs one small sync.
func (b *barrier) usable() bool { return b.tmp >= 0 }

func (b *barrier) sync() error {
	return b.runs.Do(func() error {
		if b.tmp < 0 {
			return fail("syncfs", errnoOf(retry(func() error { return unix.Syncfs(b.fs.rootFD) })))
		}
		b.mode ^= 0o100
		if err := unix.Fchmod(b.tmp, 0o600|b.mode); err != nil {
			return fail("fchmod", errnoOf(err))
		}
		return fsync(b.tmp)
	})
}

func (b *barrier) close() {
	if b.fs != nil && b.tmp >= 0 {
		closeFD(b.tmp)
	}
}

var dot = [2]byte{'.', 0}

// dirLocks make changes of one directory wait for each other, so that the
// change attribute before and after one of them is its alone. They are held
// around system calls only, never around a sync. Two are taken in the order
// of their index.
type dirLocks struct{ mu [64]sync.Mutex }

func (l *dirLocks) index(h []byte) int {
	sum := uint32(2166136261)
	for _, c := range h {
		sum = (sum ^ uint32(c)) * 16777619
	}
	return int(sum % uint32(len(l.mu)))
}

// lockDirs locks the directories a and b (b may be nil or the same as a) if
// this FS is the only writer. The result undoes it.
func (fs *FS) lockDirs(a, b []byte) (unlock func()) {
	if !fs.opt.SoleWriter {
		return func() {}
	}
	i := fs.locks.index(a)
	j := i
	if b != nil {
		j = fs.locks.index(b)
	}
	if j < i {
		i, j = j, i
	}
	fs.locks.mu[i].Lock()
	if i == j {
		return fs.locks.mu[i].Unlock
	}
	fs.locks.mu[j].Lock()
	return func() {
		fs.locks.mu[j].Unlock()
		fs.locks.mu[i].Unlock()
	}
}
