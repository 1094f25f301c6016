//go:build linux

package posix

import (
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

// settleAfter is the time after which a change that coarse timestamps did not
// show is written to the file system.
const settleAfter = 50 * time.Millisecond

// A changeClock makes the change attribute: the ctime in nanoseconds.
//
// Linux 6.13 and later give a fresh ctime to each change that follows a look at
// it on ext4, xfs, btrfs and tmpfs: nothing is to be added. Elsewhere a ctime
// moves in steps of milliseconds, and two changes within a step look alike. There
// each change through this process that did not move the ctime adds one to the
// attribute, in memory, and a moment later the object's ctime is moved on the
// file system (by an owner change to the same owner), past what was added, so
// that every gateway and this one after a restart tell a higher value again. The
// cost there: one more statx for each change, and one such call for each object
// that changed twice within a step. What remains unseen are changes by others
// within the same step, and what was added if the host dies within settleAfter.
type changeClock struct {
	fs     *FS
	coarse bool
	step   time.Duration // of timestamps; 1 ns if they are fine

	mu    sync.RWMutex
	added map[uint64]*addedChange // by inode number
	wake  chan struct{}           // there is something in added
	quit  chan struct{}
	done  chan struct{}
}

// An addedChange is what the ctime of an object does not show.
type addedChange struct {
	ctime  uint64 // nanoseconds; with another ctime the entry means nothing
	n      uint64
	handle []byte
	since  time.Time
}

func (c *changeClock) init(fs *FS) {
	c.fs = fs
	c.step = timestampStep(fs)
	c.coarse = c.step > time.Nanosecond
	if c.coarse {
		c.begin()
	}
}

func (c *changeClock) begin() {
	c.added = make(map[uint64]*addedChange)
	c.wake = make(chan struct{}, 1)
	c.quit = make(chan struct{})
	c.done = make(chan struct{})
	go c.settle()
}

func (c *changeClock) close() {
	if c.quit != nil {
		close(c.quit)
		<-c.done
	}
}

// changeOf is the change attribute of an object with attributes st.
func (fs *FS) changeOf(st *unix.Statx_t) uint64 {
	v := nanos(st.Ctime)
	c := &fs.change
	if !c.coarse {
		return v
	}
	c.mu.RLock()
	if a := c.added[st.Ino]; a != nil && a.ctime == v {
		v += a.n
	}
	c.mu.RUnlock()
	return v
}

// changed is told after a change of the object with handle h, open as fd, that
// had attributes before. It does nothing where timestamps are fine.
func (fs *FS) changed(h []byte, fd int, before *unix.Statx_t) {
	c := &fs.change
	if !c.coarse {
		return
	}
	var st unix.Statx_t
	if statxFD(fd, &st) != noErrno {
		return // nobody can look at it any more
	}
	now := nanos(st.Ctime)
	c.mu.Lock()
	a := c.added[st.Ino]
	switch {
	case a != nil && a.ctime == now:
		a.n++
	case before != nil && nanos(before.Ctime) == now:
		c.added[st.Ino] = &addedChange{ctime: now, n: 1, handle: slices.Clone(h), since: time.Now()}
	default:
		// Remembered, since another change may have come before the caller's look.
		c.added[st.Ino] = &addedChange{ctime: now, handle: slices.Clone(h), since: time.Now()}
	}
	first := len(c.added) == 1
	c.mu.Unlock()
	if first {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// settle moves the ctime of objects to which something was added.
func (c *changeClock) settle() {
	defer close(c.done)
	defer c.settleOld(0)
	for {
		select {
		case <-c.quit:
			return
		case <-c.wake:
		}
		tick := time.NewTicker(settleAfter / 2)
		for left := true; left; {
			select {
			case <-c.quit:
				tick.Stop()
				return
			case <-tick.C:
				left = c.settleOld(max(settleAfter, 2*c.step))
			}
		}
		tick.Stop()
	}
}

// settleOld settles what is older than age, and says whether more is left.
func (c *changeClock) settleOld(age time.Duration) bool {
	type job struct {
		ino uint64
		a   *addedChange
	}
	var jobs []job
	now := time.Now()
	c.mu.Lock()
	for ino, a := range c.added {
		if now.Sub(a.since) < age {
			continue
		}
		if a.n == 0 {
			delete(c.added, ino)
		} else {
			jobs = append(jobs, job{ino, a})
		}
	}
	c.mu.Unlock()
	if age == 0 && len(jobs) > 0 {
		time.Sleep(2 * c.step) // at the end: only after a step the ctime moves
	}
	for _, j := range jobs {
		c.fs.touch(j.a.handle)
		c.mu.Lock()
		if c.added[j.ino] == j.a {
			delete(c.added, j.ino)
		}
		c.mu.Unlock()
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.added) > 0
}

// touch moves the ctime of an object and nothing else.
func (fs *FS) touch(h []byte) {
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return
	}
	defer closeFD(fd)
	var st unix.Statx_t
	if statxFD(fd, &st) != noErrno {
		return
	}
	if st.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 || typeOf(h) != export.Regular {
		fchownat(fd, ^uint32(0), ^uint32(0))
		return
	}
	// An owner change, even to the same owner, would clear these bits.
	var name cname
	name.setFD(fd)
	fchmodat(fs.procFD, &name[0], uint32(st.Mode)&0o7777)
}

// timestampStep tries how far apart the ctimes of changes are that are looked
// at, on a file without a name.
func timestampStep(fs *FS) time.Duration {
	coarse := 10 * time.Millisecond
	var res unix.Timespec
	if unix.ClockGetres(unix.CLOCK_REALTIME_COARSE, &res) == nil && res.Nano() > 0 {
		coarse = time.Duration(res.Nano())
	}
	fd, e := openat(fs.rootFD, &dot[0], unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if e == syscall.EROFS {
		return time.Nanosecond // nothing changes
	}
	if e != noErrno {
		return coarse
	}
	defer closeFD(fd)
	fine, whole := true, true
	var last uint64
	for i := range 16 {
		var st unix.Statx_t
		if unix.Fchmod(fd, 0o600|uint32(i&1)<<6) != nil || statxFD(fd, &st) != noErrno {
			return coarse
		}
		now := nanos(st.Ctime)
		fine = fine && now != last
		whole = whole && st.Ctime.Nsec == 0
		last = now
	}
	switch {
	case fine:
		return time.Nanosecond
	case whole:
		return 2 * time.Second // the coarsest that there are
	default:
		return coarse
	}
}
