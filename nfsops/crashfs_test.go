package nfsops_test

import (
	"holdfast/export"
	"holdfast/export/posix"
)

// crashFS is the file system with an effect before and after each change.
type crashFS struct {
	*posix.FS
	w *world
}

// crashFile is an open file of it.
type crashFile struct {
	*posix.File
	w *world
}

// change runs one change between two effects.
func (w *world) change(do func() error) error {
	w.skipGap()
	if err := w.effect(); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return w.effect()
}

func (f *crashFS) wrap(file export.File) export.File {
	if own, ok := file.(*posix.File); ok {
		return &crashFile{own, f.w}
	}
	return file
}

// unwrap returns what the file system underneath knows.
func unwrap(file export.File) export.File {
	if c, ok := file.(*crashFile); ok {
		return c.File
	}
	return file
}

func (f *crashFS) Open(cred *export.Creds, h []byte, mode export.OpenMode) (export.File, error) {
	file, err := f.FS.Open(cred, h, mode)
	return f.wrap(file), err
}

func (f *crashFS) Setattr(cred *export.Creds, h []byte, file export.File, set *export.SetAttr) error {
	return f.w.change(func() error { return f.FS.Setattr(cred, h, unwrap(file), set) })
}

func (f *crashFS) Make(cred *export.Creds, dir []byte, name string, args *export.MakeArgs, open bool, attr *export.Attr) (h []byte, file export.File, d export.DirChange, err error) {
	err = f.w.change(func() error {
		h, file, d, err = f.FS.Make(cred, dir, name, args, open, attr)
		return err
	})
	return h, f.wrap(file), d, err
}

func (f *crashFS) Link(cred *export.Creds, h, dir []byte, name string) (d export.DirChange, err error) {
	err = f.w.change(func() error { d, err = f.FS.Link(cred, h, dir, name); return err })
	return d, err
}

func (f *crashFS) Remove(cred *export.Creds, dir []byte, name string) (d export.DirChange, err error) {
	err = f.w.change(func() error { d, err = f.FS.Remove(cred, dir, name); return err })
	return d, err
}

func (f *crashFS) Rename(cred *export.Creds, fromDir []byte, from string, toDir []byte, to string) (a, b export.DirChange, err error) {
	err = f.w.change(func() error { a, b, err = f.FS.Rename(cred, fromDir, from, toDir, to); return err })
	return a, b, err
}

func (f *crashFS) SetXattr(cred *export.Creds, h []byte, name string, value []byte, mode export.XattrMode) error {
	return f.w.change(func() error { return f.FS.SetXattr(cred, h, name, value, mode) })
}

func (f *crashFS) RemoveXattr(cred *export.Creds, h []byte, name string) error {
	return f.w.change(func() error { return f.FS.RemoveXattr(cred, h, name) })
}

func (f *crashFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.w.change(func() error { n, err = f.File.WriteAt(p, off); return err })
	return n, err
}

func (f *crashFile) Sync() error { return f.w.change(f.File.Sync) }

func (f *crashFile) Allocate(off, n int64) error {
	return f.w.change(func() error { return f.File.Allocate(off, n) })
}

func (f *crashFile) Deallocate(off, n int64) error {
	return f.w.change(func() error { return f.File.Deallocate(off, n) })
}

func (f *crashFile) CopyTo(dst export.File, srcOff, dstOff, n int64) (done int64, err error) {
	err = f.w.change(func() error { done, err = f.File.CopyTo(unwrap(dst), srcOff, dstOff, n); return err })
	return done, err
}

func (f *crashFile) CloneTo(dst export.File, srcOff, dstOff, n int64) error {
	return f.w.change(func() error { return f.File.CloneTo(unwrap(dst), srcOff, dstOff, n) })
}
