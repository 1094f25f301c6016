package pebble

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"holdfast/durable"
	"holdfast/internal/together"
)

// Store is the embedded durable.Store. Use Open. All methods may be called at
// the same time from any number of goroutines.
type Store struct {
	dir        string
	log        *slog.Logger
	db         *pdb.DB
	health     *health
	space      *space
	witness    *witness
	guard      *guard
	readerOpts sstable.ReaderOptions
	lock       *os.File
	background sync.WaitGroup
	released   chan struct{} // something was deleted on a nearly full disk

	seed       maphash.Seed
	shards     [shardCount]shard
	shardLimit int // bytes of a shard's entries
	backlog    backlog
	syncs      together.Calls
	sync       func() error // syncLog, without a closure for each commit

	users  gate
	closed chan struct{} // closed at the end of Close
}

// Open opens the store in dir, and makes it if dir is missing or empty. The
// error is, possibly wrapped, durable.ErrInUse, durable.ErrFormat for a directory that is
// not such a store or is one of a newer program, durable.ErrDamaged for one whose
// content cannot be trusted, durable.ErrFull when there is not enough space to
// recover, durable.ErrUnavailable, or what the file system said.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := checkDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, log: o.Log, lock: lock, health: newHealth(o.Log), seed: maphash.MakeSeed(),
		released: make(chan struct{}, 1), closed: make(chan struct{})}
	s.users.init()
	s.backlog.init()
	s.sync = s.syncLog
	s.shardLimit = o.CacheBytes / shardCount
	for i := range s.shards {
		s.shards[i].init()
	}
	if err := s.open(o); err != nil {
		// What Pebble has not given back must not touch the directory again.
		s.health.fail(err)
		s.closeFiles()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(o Options) error {
	ready, err := checkDir(s.dir)
	if err != nil {
		return err
	}
	if !ready {
		if err := s.prepare(o.fs); err != nil {
			return err
		}
	}
	w, unreadable, err := openWitness(o.fs, s.dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged(s.dir, filepath.Join(s.dir, witnessName), errors.New("the file is missing or too short"))
	}
	if err != nil {
		return err
	}
	s.witness = w
	if unreadable > 0 {
		s.log.Warn("state store: part of the witness file cannot be read; damage is found less surely until it is replaced",
			"file", filepath.Join(s.dir, witnessName), "slots", unreadable)
	}
	if ready {
		if err := checkClaims(s.dir, w); err != nil {
			return err
		}
	}
	if err := s.openSpace(o); err != nil {
		return err
	}
	// Before Pebble runs, which tells of a full disk from goroutines of its own.
	s.space.onLevel, s.space.onTight = s.backlog.look, s.releasing
	s.guard = &guard{FS: o.fs, health: s.health, space: s.space, witness: w}
	popts := s.pebbleOptions(o, s.space.lim)
	popts.ErrorIfNotExists = ready
	if err := s.openPebble(popts); err != nil {
		return err
	}
	return s.settle(o, ready)
}

// prepare makes what a new store consists of, or what is left of an Open that
// was cut off before anything was promised.
func (s *Store) prepare(disk vfs.FS) error {
	if err := writeFormat(s.dir, "new"); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.dir, dbName)); err != nil {
		return err
	}
	if err := createWitness(disk, s.dir); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, dbName), 0o700); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// openSpace sets up the watch over free space, and sees that recovery fits.
func (s *Store) openSpace(o Options) error {
	avail, total, err := statfs(s.dir)
	if err != nil {
		return err
	}
	lim := defaultLimits(total)
	if o.Reserve > 0 {
		lim = limits{reserve: o.Reserve, hard: o.Reserve / 4, ballast: o.Reserve / 4}
	}
	s.space = newSpace(s.log, s.dir, lim)
	need := int64(1 << 20)
	for _, c := range s.witness.list() {
		if c.kind == kindLog {
			need += c.synced
		}
	}
	if avail < need {
		s.space.relieve()
		if avail, _, err = statfs(s.dir); err != nil {
			return err
		}
	}
	if avail < need {
		return fmt.Errorf("%w: %s has %d bytes free, and %d are needed to open the store", durable.ErrFull, s.dir, avail, need)
	}
	if fi, err := os.Stat(filepath.Join(s.dir, ballastName)); err == nil && fi.Size() == lim.ballast {
		return nil
	}
	s.space.lost = true
	return nil
}

// openPebble opens the database. Once the store has failed, what Pebble finds is
// worth nothing.
func (s *Store) openPebble(popts *pdb.Options) error {
	db := filepath.Join(s.dir, dbName)
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = damaged(s.dir, db, fmt.Errorf("%v", p))
			}
		}()
		s.db, err = pdb.Open(db, popts)
		return err
	}()
	if failed := s.health.cause(); failed != nil {
		if err == nil {
			s.closePebble()
		}
		err = failed
	}
	if err != nil {
		return s.openError(db, err)
	}
	s.guard.armed.Store(true)
	s.readerOpts = popts.MakeReaderOptions()
	return nil
}

// openError says what Pebble's error at Open means.
func (s *Store) openError(path string, err error) error {
	text := err.Error()
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, durable.ErrDamaged):
		return err
	case isFull(err):
		return fmt.Errorf("%w: no space to recover the store in %s: %w", durable.ErrFull, s.dir, err)
	case strings.Contains(text, "format major version"):
		return fmt.Errorf("%w: %w", durable.ErrFormat, err)
	case errors.Is(err, fs.ErrNotExist):
		return damaged(s.dir, path, err)
	case errors.As(err, &pathErr):
		return fmt.Errorf("open %s: %w", path, err)
	}
	return damaged(s.dir, path, err)
}

// settle ends Open: the tables are read, the store is declared ready, and the
// background work begins.
func (s *Store) settle(o Options, ready bool) error {
	tables, err := liveTables(s.dir, s.db)
	var rest []string
	if err == nil {
		rest, err = checkTables(s.dir, tables, s.readerOpts, o.CheckBytes)
	}
	if err == nil {
		err = s.health.err()
	}
	if err == nil && !ready {
		err = writeFormat(s.dir, "ready")
	}
	if err != nil {
		s.health.fail(err)
		s.closePebble()
		return err
	}
	s.space.look()
	s.background.Go(s.reclaim)
	s.background.Go(func() { s.space.watch(s.health.down) })
	if len(rest) > 0 {
		s.background.Add(1)
		go s.scrub(rest)
	}
	return nil
}

// Close implements durable.Store. It waits for calls that run.
func (s *Store) Close() error {
	if !s.users.shut() {
		return durable.ErrClosed
	}
	defer close(s.closed)
	if !s.health.failed.Load() && s.space.level.Load() == roomy {
		// With the log flushed, the next Open has nothing to replay.
		if done, err := s.db.AsyncFlush(); err == nil {
			select {
			case <-done:
			case <-s.health.down:
			}
		}
	}
	s.health.shutDown()
	s.background.Wait()
	err := s.closePebble()
	if err != nil {
		s.health.fail(err)
	}
	if failed := s.health.err(); failed != nil {
		err = failed
	}
	s.closeFiles()
	return err
}

// closePebble closes the database. One that has failed may hold locks that
// nobody will release: it is left behind then, for the guard fences it off.
func (s *Store) closePebble() error {
	closed := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				closed <- fmt.Errorf("close the database: %v", p)
			}
		}()
		closed <- s.db.Close()
	}()
	select {
	case err := <-closed:
		return err
	case <-s.health.dead: // before, or just because it is being closed
	}
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	select {
	case err := <-closed:
		return err
	case <-patience.C:
		return errors.New("the failed database did not close")
	}
}

func (s *Store) closeFiles() {
	if s.witness != nil {
		s.witness.close()
	}
	s.lock.Close()
}

// gate counts the calls that use the database, so that Close can wait for them.
type gate struct {
	n    atomic.Int64 // calls, plus shutBit once it is shut
	once sync.Once
	idle chan struct{}
}

const shutBit = 1 << 62

func (g *gate) init() { g.idle = make(chan struct{}) }

func (g *gate) enter() error {
	if g.n.Add(1)&shutBit != 0 {
		g.leave()
		return durable.ErrClosed
	}
	return nil
}

func (g *gate) leave() {
	if g.n.Add(-1) == shutBit {
		g.once.Do(func() { close(g.idle) })
	}
}

// shut lets nobody in any more and waits until everybody has left. It returns
// false if the gate was shut before.
func (g *gate) shut() bool {
	old := g.n.Or(shutBit)
	if old&shutBit != 0 {
		return false
	}
	if old != 0 {
		<-g.idle
	}
	return true
}
