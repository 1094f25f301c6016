package pebble

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Crash ends the store as a kill does: nothing is written from this moment on.
func (s *Store) Crash() {
	s.health.fail(errors.New("crash"))
	s.Close()
}

// WithFS puts a file system below the store.
func WithFS(o Options, fs vfs.FS) Options {
	o.fs = fs
	return o
}

// Flush writes a table of what is in memory.
func (s *Store) Flush() error { return s.db.Flush() }

// Level tells how full the disk is taken to be.
func (s *Store) Level() int { return int(s.space.level.Load()) }

// MaxBacklog is from how many memtables on commits wait for a flush.
const MaxBacklog = maxBacklog

// Backlog tells how many memtables wait for their flush.
func (s *Store) Backlog() int { return int(s.backlog.n.Load()) }

// Keys counts the records in the database, as they are, for all groups.
func (s *Store) Keys() (n int, err error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, errors.Join(it.Error(), it.Close())
}

// FormatNew is the format file of a store whose first Open is not through.
func FormatNew() []byte { return formatText("new") }

// Written tells the bytes that went to the log, to tables from memory, and to
// tables from tables.
func (s *Store) Written() [3]uint64 {
	m := s.db.Metrics()
	var w [3]uint64
	w[0] = m.WAL.BytesWritten
	for i := range m.Levels {
		w[1] += m.Levels[i].TableBytesFlushed
		w[2] += m.Levels[i].TableBytesCompacted
	}
	return w
}
