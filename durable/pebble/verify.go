package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The files of logs and manifests are blocks of 32 KiB; the end of a block that
// cannot hold another chunk's header is left empty.
const (
	blockSize      = 32 << 10
	logHeader      = 19
	manifestHeader = 7
	// trailerSize is what ends a log that was closed: a header alone. No record
	// is as short.
	trailerSize = logHeader
)

// checkClaims holds the files of a store to what the witness says of them, before
// Pebble opens them. The error is damaged's, or that of reading.
func checkClaims(dir string, w *witness) error {
	db := filepath.Join(dir, dbName)
	desc, err := pdb.Peek(db, vfs.Default)
	if err != nil {
		return damaged(dir, db, err)
	}
	if !desc.Exists {
		return damaged(dir, db, errors.New("the manifest is missing"))
	}
	for _, c := range w.list() {
		switch c.kind {
		case kindLog:
			path := filepath.Join(db, fmt.Sprintf("%06d.log", c.num))
			if err := checkClaim(dir, path, c); err != nil {
				return err
			}
		case kindManifest:
			// A manifest that is not the current one is obsolete, or was not yet
			// put to use.
			path := filepath.Join(db, fmt.Sprintf("MANIFEST-%06d", c.num))
			if filepath.Base(desc.ManifestFilename) != filepath.Base(path) {
				continue
			}
			if err := checkClaim(dir, path, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkClaim(dir, path string, c claim) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if c.synced == 0 {
			return nil
		}
		return damaged(dir, path, errors.New("the file is missing"))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	header, slack, num := int64(logHeader), int64(trailerSize), c.num
	if c.kind == kindManifest {
		header, slack, num = manifestHeader, 0, 0
	}
	end, err := readableEnd(newRecordReader(record.NewReader, f, num))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if rest := blockSize - end%blockSize; rest < header {
		end += rest
	}
	if end+slack < c.synced {
		return damaged(dir, path, fmt.Errorf("readable to byte %d only, %d were synced", end, c.synced))
	}
	return nil
}

// newRecordReader calls record.NewReader, whose second type has no name outside of Pebble.
func newRecordReader[N ~uint64](make func(io.Reader, N) *record.Reader, r io.Reader, num uint64) *record.Reader {
	return make(r, N(num))
}

// readableEnd reads records until one is not whole, and returns where that one
// begins. The error is one of reading the file itself.
func readableEnd(r *record.Reader) (int64, error) {
	for {
		end := r.Offset()
		rec, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, rec)
		}
		var path *fs.PathError
		switch {
		case err == nil:
		case errors.As(err, &path):
			return 0, err
		default:
			return end, nil
		}
	}
}

// liveTables returns the paths of the tables that the database consists of.
func liveTables(dir string, db *pdb.DB) ([]string, error) {
	levels, err := db.SSTables()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, level := range levels {
		for _, table := range level {
			paths = append(paths, filepath.Join(dir, dbName, fmt.Sprintf("%06d.sst", uint64(table.BackingSSTNum))))
		}
	}
	return paths, nil
}

// checkTable reads every block of a table. A table that a compaction has
// removed meanwhile is fine.
func checkTable(dir, path string, opts sstable.ReaderOptions) (size int64, err error) {
	f, err := vfs.Default.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	src, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return 0, errors.Join(err, f.Close())
	}
	size = src.Size()
	defer func() {
		if r := recover(); r != nil {
			err = damaged(dir, path, fmt.Errorf("%v", r))
		}
	}()
	r, err := sstable.NewReader(context.Background(), src, opts)
	if err != nil {
		src.Close()
		return size, damaged(dir, path, err)
	}
	defer r.Close()
	if err := r.ValidateBlockChecksums(); err != nil {
		return size, damaged(dir, path, err)
	}
	return size, nil
}

// checkTables reads the tables that fit into budget bytes, and returns the others.
func checkTables(dir string, paths []string, opts sstable.ReaderOptions, budget int64) (rest []string, err error) {
	for _, path := range paths {
		if fi, err := os.Stat(path); err == nil && fi.Size() > budget {
			rest = append(rest, path)
			continue
		}
		size, err := checkTable(dir, path, opts)
		if err != nil {
			return nil, err
		}
		budget -= size
	}
	return rest, nil
}

// scrub reads the tables that Open had no time for, a few at a time, and fails
// the store when one is damaged.
func (s *Store) scrub(paths []string) {
	defer s.background.Done()
	const pace = 20 * time.Millisecond
	for _, path := range paths {
		if _, err := checkTable(s.dir, path, s.readerOpts); err != nil {
			s.health.fail(err)
			return
		}
		select {
		case <-s.health.down:
			return
		case <-time.After(pace):
		}
	}
}
