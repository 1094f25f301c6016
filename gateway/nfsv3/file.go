package nfsv3

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/willscott/go-nfs/file"

	"holdfast/export"
)

// info is an export.Attr as an os.FileInfo.
type info struct {
	name string
	attr export.Attr
}

// Name implements os.FileInfo.
func (i *info) Name() string { return i.name }

// Size implements os.FileInfo.
func (i *info) Size() int64 { return int64(i.attr.Size) }

// ModTime implements os.FileInfo.
func (i *info) ModTime() time.Time { return i.attr.Mtime }

// IsDir implements os.FileInfo.
func (i *info) IsDir() bool { return i.attr.Type == export.Directory }

// Mode implements os.FileInfo. The set-id and sticky bits stay where NFS has
// them, which is where the library takes them from.
func (i *info) Mode() os.FileMode {
	m := os.FileMode(i.attr.Mode & 0o7777)
	switch i.attr.Type {
	case export.Directory:
		m |= os.ModeDir
	case export.BlockDevice:
		m |= os.ModeDevice
	case export.CharDevice:
		m |= os.ModeDevice | os.ModeCharDevice
	case export.Symlink:
		m |= os.ModeSymlink
	case export.Socket:
		m |= os.ModeSocket
	case export.FIFO:
		m |= os.ModeNamedPipe
	}
	return m
}

// Sys implements os.FileInfo: what the library wants to know besides.
func (i *info) Sys() any {
	return &file.FileInfo{
		Nlink:  i.attr.Nlink,
		UID:    i.attr.UID,
		GID:    i.attr.GID,
		Major:  i.attr.Major,
		Minor:  i.attr.Minor,
		Fileid: i.attr.FileID,
	}
}

// opened is a file that the library has open, for one request.
type opened struct {
	v      *view
	name   string
	handle []byte
	f      export.File
	off    int64
}

var _ billy.File = (*opened)(nil)

// Create implements billy.Basic.
func (v *view) Create(p string) (billy.File, error) {
	return v.OpenFile(p, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// Open implements billy.Basic.
func (v *view) Open(p string) (billy.File, error) { return v.OpenFile(p, os.O_RDONLY, 0) }

// OpenFile implements billy.Basic.
func (v *view) OpenFile(p string, flag int, perm os.FileMode) (_ billy.File, err error) {
	defer v.h.guard(&err)
	o := &opened{v: v, name: p}
	if err := o.open(flag, perm); err != nil {
		return nil, v.fail("open", p, err)
	}
	return o, nil
}

func (o *opened) open(flag int, perm os.FileMode) error {
	v := o.v
	access := map[int]export.OpenMode{os.O_RDONLY: export.OpenRead, os.O_WRONLY: export.OpenWrite}[flag&(os.O_RDONLY|os.O_WRONLY|os.O_RDWR)]
	if access == 0 {
		access = export.OpenRead | export.OpenWrite
	}
	if access != export.OpenRead || flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		if err := v.change(); err != nil {
			return err
		}
	}
	var attr export.Attr
	var err error
	if flag&os.O_CREATE != 0 {
		err = o.create(perm, &attr)
		if err == nil || flag&os.O_EXCL != 0 || !errors.Is(err, export.ErrExist) {
			return err
		}
	}
	if o.handle, err = v.resolve(o.name, &attr); err != nil {
		return err
	}
	if o.f, err = v.e.FS.Open(v.cred, o.handle, access); err != nil || flag&os.O_TRUNC == 0 {
		return err
	}
	if err := o.Truncate(0); err != nil {
		o.f.Close()
		return err
	}
	return nil
}

func (o *opened) create(perm os.FileMode, attr *export.Attr) error {
	m, err := o.v.mutable()
	if err != nil {
		return err
	}
	dir, name, err := o.v.place(o.name)
	if err != nil {
		return err
	}
	args := &export.MakeArgs{Type: export.Regular, Set: export.SetAttr{Mode: modeOf(perm)}}
	o.handle, o.f, _, err = m.Make(o.v.cred, dir, name, args, true, attr)
	return err
}

// Name implements billy.File.
func (o *opened) Name() string { return o.name }

// Write implements io.Writer. What it wrote is on stable storage, since that is
// what the client is told.
func (o *opened) Write(p []byte) (n int, err error) {
	defer o.v.h.guard(&err)
	n, err = o.f.WriteAt(p, o.off)
	o.off += int64(n)
	if err == nil && !o.v.async {
		err = o.f.Sync()
	}
	return n, o.v.fail("write", o.name, err)
}

// Read implements io.Reader.
func (o *opened) Read(p []byte) (int, error) {
	n, err := o.ReadAt(p, o.off)
	o.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (o *opened) ReadAt(p []byte, off int64) (n int, err error) {
	defer o.v.h.guard(&err)
	n, eof, err := o.f.ReadAt(p, off)
	if err == nil && eof && n < len(p) {
		return n, io.EOF
	}
	return n, o.v.fail("read", o.name, err)
}

// Seek implements io.Seeker.
func (o *opened) Seek(off int64, whence int) (_ int64, err error) {
	defer o.v.h.guard(&err)
	switch whence {
	case io.SeekCurrent:
		off += o.off
	case io.SeekEnd:
		var attr export.Attr
		if err := o.f.Getattr(&attr); err != nil {
			return 0, o.v.fail("seek", o.name, err)
		}
		off += int64(attr.Size)
	}
	if off < 0 {
		return 0, o.v.fail("seek", o.name, export.ErrInval)
	}
	o.off = off
	return off, nil
}

// Truncate implements billy.File.
func (o *opened) Truncate(size int64) error {
	return o.v.alter("truncate", o.name, func(m export.Mutable) error {
		if size < 0 {
			return export.ErrInval
		}
		n := uint64(size)
		return m.Setattr(o.v.cred, o.handle, o.f, &export.SetAttr{Size: &n})
	})
}

// Close implements io.Closer.
func (o *opened) Close() error { return o.f.Close() }

// Lock implements billy.File; there is no lock manager.
func (o *opened) Lock() error { return billy.ErrNotSupported }

// Unlock implements billy.File.
func (o *opened) Unlock() error { return billy.ErrNotSupported }
