package nfsv3

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-billy/v5"

	"holdfast/export"
	"holdfast/export/exports"
)

// A view is one export as the library wants to see it: a billy file system, in
// which everything is done as the anonymous user.
type view struct {
	h     *handler
	e     *exports.Export
	cred  *export.Creds
	async bool
}

var _ billy.Filesystem = (*view)(nil)

// errnos are what the library makes nfsstat3 of.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{export.ErrPerm, syscall.EPERM},
	{export.ErrNotExist, syscall.ENOENT},
	{export.ErrNXIO, syscall.ENXIO},
	{export.ErrAccess, syscall.EACCES},
	{export.ErrExist, syscall.EEXIST},
	{export.ErrXDev, syscall.EXDEV},
	{export.ErrNotDir, syscall.ENOTDIR},
	{export.ErrIsDir, syscall.EISDIR},
	{export.ErrInval, syscall.EINVAL},
	{export.ErrFBig, syscall.EFBIG},
	{export.ErrNoSpace, syscall.ENOSPC},
	{export.ErrReadOnly, syscall.EROFS},
	{export.ErrTooManyLink, syscall.EMLINK},
	{export.ErrNameTooLong, syscall.ENAMETOOLONG},
	{export.ErrBadName, syscall.EINVAL},
	{export.ErrNotEmpty, syscall.ENOTEMPTY},
	{export.ErrQuota, syscall.EDQUOT},
	{export.ErrStale, syscall.ESTALE},
	{export.ErrBadHandle, syscall.ESTALE},
	{export.ErrNotSupp, syscall.ENOTSUP},
	{export.ErrSymlink, syscall.EINVAL},
	{export.ErrWrongType, syscall.EINVAL},
	{export.ErrBusy, syscall.EBUSY},
	{export.ErrAgain, syscall.EAGAIN},
}

// fail gives an error the form in which the os package reports it.
func (v *view) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var done *fs.PathError
	if errors.As(err, &done) {
		return err
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return &fs.PathError{Op: op, Path: name, Err: e.errno}
		}
	}
	v.h.s.log.Warn("NFSv3 request failed", "op", op, "export", v.e.Path, "error", err)
	return &fs.PathError{Op: op, Path: name, Err: syscall.EIO}
}

// mutable returns the export's file system if it may be changed.
func (v *view) mutable() (export.Mutable, error) {
	m, ok := v.e.FS.(export.Mutable)
	if !ok || v.e.ReadOnly {
		return nil, export.ErrReadOnly
	}
	return m, nil
}

func (v *view) change() error {
	_, err := v.mutable()
	return err
}

// resolve returns handle and attributes of a path of the library's.
func (v *view) resolve(p string, attr *export.Attr) ([]byte, error) {
	handle, parent, names, err := split(p)
	switch {
	case err != nil:
		return nil, err
	case handle == nil:
		handle = v.e.FS.Root()
	case parent:
		if handle, err = v.e.FS.Parent(v.cred, handle); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return handle, v.e.FS.Getattr(handle, attr)
	}
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, err
		}
		if handle, err = v.e.FS.Lookup(v.cred, handle, name, attr); err != nil {
			return nil, err
		}
	}
	return handle, nil
}

// place returns the directory and the name at the end of a path.
func (v *view) place(p string) (dir []byte, name string, err error) {
	at := strings.LastIndexByte(p, '/')
	name = p[at+1:]
	if err := checkName(name); err != nil {
		return nil, "", err
	}
	var attr export.Attr
	dir, err = v.resolve(p[:max(at, 0)], &attr)
	return dir, name, err
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsRune(name, 0):
		return export.ErrInval
	case len(name) > export.MaxName:
		return export.ErrNameTooLong
	}
	return nil
}

// Join implements billy.Basic.
func (v *view) Join(elem ...string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(elem), func(s string) bool { return s == "" || s == "/" }), "/")
}

// Root implements billy.Chroot.
func (v *view) Root() string { return "/" }

// Chroot implements billy.Chroot. The library has no use for it.
func (v *view) Chroot(string) (billy.Filesystem, error) { return nil, billy.ErrNotSupported }

// TempFile implements billy.TempFile. The library has no use for it.
func (v *view) TempFile(string, string) (billy.File, error) { return nil, billy.ErrNotSupported }

// Stat implements billy.Basic. It does not follow a link: a client does that.
func (v *view) Stat(p string) (os.FileInfo, error) { return v.Lstat(p) }

// Lstat implements billy.Symlink.
func (v *view) Lstat(p string) (_ os.FileInfo, err error) {
	defer v.h.guard(&err)
	i := &info{name: p[strings.LastIndexByte(p, '/')+1:]}
	if _, err := v.resolve(p, &i.attr); err != nil {
		return nil, v.fail("lstat", p, err)
	}
	return i, nil
}

// ReadDir implements billy.Dir.
func (v *view) ReadDir(p string) (_ []os.FileInfo, err error) {
	defer v.h.guard(&err)
	var attr export.Attr
	dir, err := v.resolve(p, &attr)
	if err != nil {
		return nil, v.fail("readdir", p, err)
	}
	var all []os.FileInfo
	var cookie uint64
	for eof := false; !eof; {
		eof, err = v.e.FS.ReadDir(v.cred, dir, cookie, true, func(d *export.DirEntry) bool {
			cookie = d.Cookie
			if d.Handle != nil {
				all = append(all, &info{name: strings.Clone(d.Name), attr: d.Attr})
			}
			return true
		})
		if err != nil {
			return nil, v.fail("readdir", p, err)
		}
	}
	slices.SortFunc(all, func(a, b os.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}

// Readlink implements billy.Symlink.
func (v *view) Readlink(p string) (_ string, err error) {
	defer v.h.guard(&err)
	var attr export.Attr
	handle, err := v.resolve(p, &attr)
	if err != nil {
		return "", v.fail("readlink", p, err)
	}
	target, err := v.e.FS.Readlink(v.cred, handle)
	return target, v.fail("readlink", p, err)
}

// alter runs a change of the export.
func (v *view) alter(op, p string, do func(m export.Mutable) error) (err error) {
	defer v.h.guard(&err)
	m, err := v.mutable()
	if err == nil {
		err = do(m)
	}
	return v.fail(op, p, err)
}

// make makes an object.
func (v *view) make(op, p string, args *export.MakeArgs) error {
	return v.alter(op, p, func(m export.Mutable) error {
		dir, name, err := v.place(p)
		if err != nil {
			return err
		}
		var attr export.Attr
		_, _, _, err = m.Make(v.cred, dir, name, args, false, &attr)
		return err
	})
}

// modeOf returns the mode bits as NFS has them, which is how the library
// passes them on; Go's own bits for them are understood as well.
func modeOf(perm os.FileMode) *uint32 {
	m := uint32(perm & 0o7777)
	for bit, mode := range map[os.FileMode]uint32{os.ModeSetuid: 0o4000, os.ModeSetgid: 0o2000, os.ModeSticky: 0o1000} {
		if perm&bit != 0 {
			m |= mode
		}
	}
	return &m
}

// MkdirAll implements billy.Dir; it makes the last directory only.
func (v *view) MkdirAll(p string, perm os.FileMode) error {
	return v.make("mkdir", p, &export.MakeArgs{Type: export.Directory, Set: export.SetAttr{Mode: modeOf(perm)}})
}

// Symlink implements billy.Symlink.
func (v *view) Symlink(target, p string) error {
	return v.make("symlink", p, &export.MakeArgs{Type: export.Symlink, Target: target})
}

// Remove implements billy.Basic.
func (v *view) Remove(p string) error {
	return v.alter("remove", p, func(m export.Mutable) error {
		dir, name, err := v.place(p)
		if err != nil {
			return err
		}
		_, err = m.Remove(v.cred, dir, name)
		return err
	})
}

// Rename implements billy.Basic.
func (v *view) Rename(from, to string) error {
	return v.alter("rename", from, func(m export.Mutable) error {
		fromDir, fromName, err := v.place(from)
		if err != nil {
			return err
		}
		toDir, toName, err := v.place(to)
		if err != nil {
			return err
		}
		_, _, err = m.Rename(v.cred, fromDir, fromName, toDir, toName)
		return err
	})
}

// set sets attributes.
func (v *view) set(op, p string, set *export.SetAttr) error {
	return v.alter(op, p, func(m export.Mutable) error {
		var attr export.Attr
		handle, err := v.resolve(p, &attr)
		if err != nil {
			return err
		}
		return m.Setattr(v.cred, handle, nil, set)
	})
}

// Chmod implements billy.Change.
func (v *view) Chmod(p string, mode os.FileMode) error {
	return v.set("chmod", p, &export.SetAttr{Mode: modeOf(mode)})
}

// Chown implements billy.Change.
func (v *view) Chown(p string, uid, gid int) error { return v.Lchown(p, uid, gid) }

// Lchown implements billy.Change. An id of -1 is left as it is.
func (v *view) Lchown(p string, uid, gid int) error {
	set := &export.SetAttr{}
	if uid >= 0 {
		u := uint32(uid)
		set.UID = &u
	}
	if gid >= 0 {
		g := uint32(gid)
		set.GID = &g
	}
	return v.set("chown", p, set)
}

// Chtimes implements billy.Change.
func (v *view) Chtimes(p string, atime, mtime time.Time) error {
	return v.set("chtimes", p, &export.SetAttr{AtimeHow: export.TimeGiven, Atime: atime, MtimeHow: export.TimeGiven, Mtime: mtime})
}
