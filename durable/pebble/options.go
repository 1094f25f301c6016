package pebble

import (
	"fmt"
	"log/slog"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options are what Open can be told. The zero value is right for a gateway.
type Options struct {
	// Log gets what an operator should know; nil: nothing is logged.
	Log *slog.Logger
	// CacheBytes bounds the memory for recently used groups; 0: 64 MiB.
	CacheBytes int
	// BlockCacheBytes bounds Pebble's cache of table blocks; 0: 32 MiB.
	BlockCacheBytes int64
	// Reserve is the free space, in bytes, below which only commits that
	// release something are taken, and below a quarter of which none are;
	// 0: an eighth of the file system, at least 2 MiB and at most 128 MiB.
	Reserve int64
	// CheckBytes is how many bytes of tables Open reads to find damage before
	// it returns; the rest is read in the background. 0: 256 MiB, which takes
	// a fraction of a second; negative: all.
	CheckBytes int64

	// fs lets a test put a file system below the guard.
	fs vfs.FS
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 64 << 20
	}
	if o.BlockCacheBytes <= 0 {
		o.BlockCacheBytes = 32 << 20
	}
	if o.CheckBytes == 0 {
		o.CheckBytes = 256 << 20
	}
	if o.CheckBytes < 0 {
		o.CheckBytes = 1 << 62
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
	return o
}

// memTableSize is how much is kept in memory, and in the log, before a table is
// written. Slot records are overwritten all the time, and a version that is
// overwritten in memory is never written to a table: at 4 MiB a steady load over
// 4,000 slots was measured to write a fifth of its bytes to tables. At 16 MiB it
// is a twentieth, but what is kept is in no processor's cache then: OPEN and CLOSE
// were an eighth slower, and a log takes four times as long to replay after a crash.
func memTableSize(reserve int64) uint64 {
	return uint64(min(max(reserve/8, 256<<10), 4<<20))
}

// pebbleOptions tunes Pebble for records that are small, overwritten all the
// time, and rarely read.
//
//   - Commits wait for flushes before they are in Pebble's hands, see backlog.
//     Logs are recycled by Pebble, as many as there were at once, so that an
//     fsync changes no metadata and needs no new space.
//   - L0 is compacted from two files on, and writes stop at 24: a flush of a
//     steady load is a few hundred KiB after the overwritten versions are gone,
//     so compactions are small and frequent, and reads and restarts stay cheap.
//   - Two compactions at most, the second only when the first falls behind: the
//     processors are the gateway's.
//   - L0 is not compressed, it lives too shortly; the others are, in the fastest
//     way.
//   - No compactions by reads: hot groups are answered from our cache.
func (s *Store) pebbleOptions(o Options, lim limits) *pdb.Options {
	p := &pdb.Options{
		FormatMajorVersion:          pdb.FormatTableFormatV6,
		FS:                          s.guard,
		Logger:                      pebbleLog{s.health},
		MemTableSize:                memTableSize(lim.reserve),
		MemTableStopWritesThreshold: stallBacklog,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               32 << 20,
		MaxOpenFiles:                512,
		CacheSize:                   o.BlockCacheBytes,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		NumPrevManifest:             1,
		// A range tombstone is rare; its space should not wait for a full memtable.
		FlushDelayDeleteRange: 10 * time.Second,
		EventListener: &pdb.EventListener{
			BackgroundError: s.backgroundError,
			WALCreated: func(pdb.WALCreateInfo) {
				if s.guard.armed.Load() { // the first log belongs to no memtable that was closed
					s.backlog.rotated()
				}
			},
			FlushEnd: s.flushEnd,
			DataCorruption: func(info pdb.DataCorruptionInfo) {
				s.health.fail(damaged(s.dir, info.Path, info.Details))
			},
		},
	}
	p.Experimental.ReadSamplingMultiplier = -1
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
		if i == 0 {
			p.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		}
	}
	return p
}

// flushEnd hears of the end of a flush. One that found no space will be tried
// again; one that found nothing to write has an error, too.
func (s *Store) flushEnd(info pdb.FlushInfo) {
	if s.guard.armed.Load() && !isFull(info.Err) {
		s.backlog.flushed(info.Input)
	}
}

// backgroundError hears of flushes and compactions that failed. Pebble tries
// them again; only damage is final.
func (s *Store) backgroundError(err error) {
	switch {
	case s.health.failed.Load():
	case pdb.IsCorruptionError(err):
		s.health.fail(damaged(s.dir, s.dir, err))
	default:
		s.log.Warn("state store: background work failed and will be tried again", "error", err)
	}
}

// pebbleLog is Pebble's logger. It must not end the process: what is fatal to
// Pebble fails the store, and the guard sees to it that nothing is written
// afterwards.
type pebbleLog struct{ health *health }

func (l pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.health.log.Warn("state store: " + fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	if l.health.failed.Load() {
		time.Sleep(4 * retryEvery) // or Pebble tries again at once
	}
	l.health.fail(fmt.Errorf(format, args...))
}
