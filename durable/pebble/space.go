package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const ballastName = "BALLAST"

// How full the disk is.
const (
	roomy int32 = iota // every commit is taken
	tight              // only commits that release something
	full               // none
)

// lookEvery is how often free space is looked at when nothing is written:
// others write to the disk too.
const lookEvery = 250 * time.Millisecond

// limits are the free space, in bytes, that a store wants around it.
type limits struct {
	reserve int64 // below: tight
	hard    int64 // below: full
	ballast int64
}

// defaultLimits fits the reserve to the size of the file system. It must hold
// what is in memory and not yet in a table, and the tables of a compaction
// beside those they replace; it is never more than an eighth of the disk.
func defaultLimits(total int64) limits {
	reserve := min(max(total/8, 2<<20), 128<<20)
	return limits{reserve: reserve, hard: reserve / 4, ballast: max(reserve/4, 512<<10)}
}

// space watches the free space of the file system under a store. It looks when
// enough was written to matter and at intervals, not on each commit.
type space struct {
	log  *slog.Logger
	dir  string
	lim  limits
	free func(dir string) (avail, total int64, err error)
	// onTight is called when the disk is no longer roomy, with a lock held.
	onTight func()
	// onLevel is called when the level has changed, with a lock held.
	onLevel func()

	level  atomic.Int32
	budget atomic.Int64 // bytes to be written before the next look

	mu   sync.Mutex
	lost bool // the ballast was given back
	// denied is when a write last found no space, whatever statfs says: there
	// are quotas.
	denied time.Time
}

// denial is how long one write without space stops commits.
const denial = time.Second

func newSpace(log *slog.Logger, dir string, lim limits) *space {
	return &space{log: log, dir: dir, lim: lim, free: statfs}
}

// statfs returns what an unprivileged user may still write.
func statfs(dir string) (avail, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// isFull says whether err means that no space is left, on the disk or in a
// quota.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// wrote counts n bytes that went to the disk.
func (s *space) wrote(n int) {
	if s.budget.Add(-int64(n)) < 0 {
		s.look()
	}
}

// look measures the free space and sets the level.
func (s *space) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	avail, _, err := s.free(s.dir)
	if err != nil {
		s.log.Warn("state store: free space unknown", "error", err)
		s.budget.Store(1 << 20)
		return
	}
	// With the ballast back there is room for releases at least.
	if s.lost && avail >= s.lim.hard+s.lim.ballast {
		if err := s.restore(); err != nil {
			s.log.Warn("state store: no space for the ballast file yet", "error", err)
		} else if avail, _, err = s.free(s.dir); err != nil {
			avail = 0
		}
	}
	old := s.level.Load()
	level := roomy
	switch {
	case avail < s.lim.hard || s.lost || time.Since(s.denied) < denial:
		level = full
	case avail < s.lim.reserve, old != roomy && avail < s.lim.reserve+s.lim.reserve/8:
		level = tight
	}
	s.budget.Store(min(max((avail-s.lim.reserve)/4, 256<<10), 64<<20))
	s.set(level, avail)
}

func (s *space) set(level int32, avail int64) {
	old := s.level.Swap(level)
	if old == level {
		return
	}
	if s.onLevel != nil {
		s.onLevel()
	}
	switch {
	case level == roomy:
		s.log.Info("state store: space is back, state changes go on", "free", avail)
	default:
		s.log.Error("state store: the disk is nearly full, new state is refused", "dir", s.dir,
			"free", avail, "wanted", s.lim.reserve, "releases", level == tight)
		if s.onTight != nil {
			s.onTight()
		}
	}
}

// deny is called when a write of a table found no space.
func (s *space) deny() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = time.Now()
	s.set(full, 0)
}

// roomForTable says whether a table may be begun. When the disk is full, what is
// left is for flushes, and the last of it for the log.
func (s *space) roomForTable(flush bool) bool {
	s.look()
	if s.level.Load() != full {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	avail, _, err := s.free(s.dir)
	return flush && err == nil && (!s.lost || avail >= s.lim.ballast/2)
}

// relieve is called when a write found no space: it gives the ballast back and
// stops commits.
func (s *space) relieve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = time.Now()
	s.set(full, 0)
	if s.lost {
		return
	}
	s.lost = true
	if err := os.Remove(filepath.Join(s.dir, ballastName)); err != nil && !os.IsNotExist(err) {
		s.log.Error("state store: cannot give the ballast back", "error", err)
	}
}

// restore makes the ballast file. s.mu is held, or nobody else knows s yet.
func (s *space) restore() error {
	path := filepath.Join(s.dir, ballastName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Fallocate(int(f.Fd()), 0, 0, s.lim.ballast)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fill(f, s.lim.ballast)
	}
	if err == nil {
		err = f.Truncate(s.lim.ballast)
	}
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("ballast %s: %w", path, err)
	}
	s.lost = false
	return nil
}

func fill(f *os.File, size int64) error {
	block := make([]byte, 256<<10)
	for off := int64(0); off < size; off += int64(len(block)) {
		if _, err := f.WriteAt(block, off); err != nil {
			return err
		}
	}
	return nil
}

// watch looks at intervals until stop is closed.
func (s *space) watch(stop <-chan struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			s.look()
		}
	}
}
