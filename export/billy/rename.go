package billy

import (
	"errors"
	"io"
	"os"

	"holdfast/export"
)

// move renames o to the path to, where nothing is but perhaps a file to be
// replaced. mu is held for writing.
//
// memfs cannot be asked to: its Rename takes along and loses whatever has a path
// that begins like the old one, "ab" with "a", and leaves what breaks at the
// next use. There everything is made anew under the new name.
func (f *FS) move(o *object, to string) error {
	if !f.inMemory {
		return f.bfs.Rename(o.path, to)
	}
	if _, err := f.bfs.Lstat(to); err == nil {
		if err := f.bfs.Remove(to); err != nil {
			return err
		}
	}
	return f.copyTree(o.path, to)
}

// copyTree makes what is at from anew at to, and removes it at from. What is
// below a directory is moved first, so that it is whole in one of the two
// places whatever fails.
func (f *FS) copyTree(from, to string) error {
	info, err := f.bfs.Lstat(from)
	if err != nil {
		return err
	}
	switch typeOf(info.Mode()) {
	case export.Directory:
		if err := f.bfs.MkdirAll(to, info.Mode().Perm()); err != nil {
			return err
		}
		entries, err := f.bfs.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := f.copyTree(join(from, e.Name()), join(to, e.Name())); err != nil {
				return err
			}
		}
	case export.Symlink:
		target, err := f.bfs.Readlink(from)
		if err != nil {
			return err
		}
		if err := f.bfs.Symlink(target, to); err != nil {
			return err
		}
	default:
		if err := f.copyFile(from, to, info.Mode()); err != nil {
			return err
		}
	}
	if c, ok := f.bfs.(interface {
		Chmod(string, os.FileMode) error
	}); ok && typeOf(info.Mode()) != export.Symlink {
		if err := c.Chmod(to, info.Mode()); err != nil {
			return err
		}
	}
	return f.bfs.Remove(from)
}

func (f *FS) copyFile(from, to string, mode os.FileMode) error {
	src, err := f.bfs.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := f.bfs.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// reopenMoved opens the files that are open under their new path, where moving
// made them anew. mu is held for writing.
func (f *FS) reopenMoved() error {
	if !f.inMemory {
		return nil
	}
	f.extraMu.Lock()
	defer f.extraMu.Unlock()
	for file := range f.open {
		paths := f.table.Paths(rootKey, file.key)
		if len(paths) == 0 || "/"+paths[0] == file.path {
			continue
		}
		flags := os.O_RDONLY
		if file.write {
			flags = os.O_RDWR
		}
		opened, err := f.bfs.OpenFile("/"+paths[0], flags, 0)
		if err != nil {
			return translate("open after rename", err)
		}
		file.f.Close()
		file.f, file.path = opened, "/"+paths[0]
	}
	return nil
}
