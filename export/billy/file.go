package billy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	gobilly "github.com/go-git/go-billy/v5"

	"holdfast/export"
	"holdfast/export/table"
)

// File is an open file of a billy file system. Methods may be called at the
// same time; those that write run one at a time.
type File struct {
	fs     *FS
	key    table.Key
	write  bool
	f      gobilly.File // guarded by fs.mu, as path
	path   string
	closed atomic.Bool
	failed atomic.Pointer[error] // of a sync, for ever
}

// Open implements export.FS.
func (f *FS) Open(cred *export.Creds, h []byte, mode export.OpenMode) (export.File, error) {
	_, t, err := checkHandle(h)
	if err != nil {
		return nil, err
	}
	switch t {
	case export.Regular:
	case export.Directory:
		return nil, export.ErrIsDir
	case export.Symlink:
		return nil, export.ErrSymlink
	default:
		return nil, export.ErrWrongType
	}
	var want uint32
	flags := os.O_RDONLY
	if mode&export.OpenRead != 0 {
		want |= 4
	}
	if mode&export.OpenWrite != 0 {
		want |= 2
		flags = os.O_RDWR
	}
	if want == 0 {
		return nil, export.ErrInval
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	o, err := f.find(h)
	if err != nil {
		return nil, err
	}
	if mode&export.OpenGranted == 0 && !f.may(cred, &o.attr, want) {
		return nil, export.ErrAccess
	}
	opened, err := f.bfs.OpenFile(o.path, flags, 0)
	if err != nil {
		return nil, translate("open", err)
	}
	return f.newFile(o, opened, mode&export.OpenWrite != 0), nil
}

func (f *FS) newFile(o *object, opened gobilly.File, write bool) *File {
	file := &File{fs: f, key: o.key, f: opened, path: o.path, write: write}
	f.extraMu.Lock()
	defer f.extraMu.Unlock()
	f.open[file] = struct{}{}
	return file
}

// ReadAt implements export.File.
func (f *File) ReadAt(p []byte, off int64) (int, bool, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if off < 0 {
		return 0, false, export.ErrInval
	}
	n := 0
	for n < len(p) {
		m, err := f.f.ReadAt(p[n:], off+int64(n))
		n += m
		if errors.Is(err, io.EOF) {
			return n, true, nil
		}
		if err != nil {
			return n, false, translate("read", err)
		}
		if m == 0 {
			return n, false, export.ErrIO
		}
	}
	var more [1]byte
	m, err := f.f.ReadAt(more[:], off+int64(n))
	return n, m == 0 && errors.Is(err, io.EOF), nil
}

// WriteAt implements export.File.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if !f.write {
		return 0, export.ErrAccess
	}
	if off < 0 {
		return 0, export.ErrInval
	}
	if int64(len(p)) > f.fs.opt.MaxFileSize || off > f.fs.opt.MaxFileSize-int64(len(p)) {
		return 0, export.ErrFBig
	}
	if len(p) == 0 {
		return 0, nil
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.f.Seek(off, io.SeekStart); err != nil {
		return 0, translate("write", err)
	}
	n, err := f.f.Write(p)
	if n > 0 {
		f.fs.changed(f.key, true)
	}
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, translate("write", err)
}

// Sync implements export.File, if the billy file can be synced.
func (f *File) Sync() error {
	if failed := f.failed.Load(); failed != nil {
		return *failed
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	s, ok := f.f.(interface{ Sync() error })
	if !ok {
		return nil
	}
	if err := s.Sync(); err != nil {
		err = fmt.Errorf("data may be lost: %w", translate("sync", err))
		f.failed.CompareAndSwap(nil, &err)
		return err
	}
	return nil
}

// Getattr implements export.File. Of a file that was removed it tells ErrStale.
func (f *File) Getattr(attr *export.Attr) error { return f.fs.Getattr([]byte(f.key), attr) }

// Close implements export.File.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.extraMu.Lock()
	delete(f.fs.open, f)
	f.fs.extraMu.Unlock()
	return translate("close", f.f.Close())
}
