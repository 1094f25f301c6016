//go:build linux

package posix

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

const userPrefix = "user."

// maxXattrList bounds the names of one object: the kernel's own limit.
const maxXattrList = 64 << 10

// xattrTarget checks a name and opens what has the attribute. Only regular files
// and directories have attributes in the user namespace.
func (fs *FS) xattrTarget(h []byte, name string) (int, error) {
	if err := fs.checkHandle(h); err != nil {
		return -1, err
	}
	if t := typeOf(h); t != export.Regular && t != export.Directory {
		return -1, export.ErrWrongType
	}
	if len(name) > export.MaxName-len(userPrefix) {
		return -1, export.ErrNameTooLong
	}
	if strings.IndexByte(name, 0) >= 0 {
		return -1, export.ErrBadName
	}
	return fs.openHandle(h, unix.O_PATH)
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// asCaller runs fn under the identity of cred.
func (fs *FS) asCaller(cred *export.Creds, fn func() error) error {
	who, err := fs.own.become(cred)
	if err != nil {
		return accessErr(err)
	}
	err = retry(fn)
	if endErr := who.end(); endErr != nil {
		return endErr
	}
	return err
}

// GetXattr implements export.Xattrs.
func (fs *FS) GetXattr(cred *export.Creds, h []byte, name string, limit int) ([]byte, error) {
	if name == "" {
		return nil, export.ErrNoXattr
	}
	fd, err := fs.xattrTarget(h, name)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	// The value may grow between asking for its size and for it.
	path := procPath(fd)
	for size := min(limit, 4096); ; {
		buf := make([]byte, max(size, 1))
		n := 0
		err := fs.asCaller(cred, func() (err error) {
			n, err = unix.Getxattr(path, userPrefix+name, buf)
			return err
		})
		switch {
		case err == nil && n > limit:
			return nil, export.ErrTooSmall
		case err == nil:
			return buf[:n], nil
		case err != syscall.ERANGE:
			return nil, xattrErr("getxattr", err)
		case size >= limit:
			return nil, export.ErrTooSmall
		}
		size = min(limit, 64<<10)
	}
}

// SetXattr implements export.Xattrs.
func (fs *FS) SetXattr(cred *export.Creds, h []byte, name string, value []byte, mode export.XattrMode) error {
	if name == "" {
		return export.ErrInval
	}
	fd, err := fs.xattrTarget(h, name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	flags := 0
	switch mode {
	case export.XattrCreate:
		flags = unix.XATTR_CREATE
	case export.XattrReplace:
		flags = unix.XATTR_REPLACE
	}
	path := procPath(fd)
	return fs.alter(cred, h, fd, func() error {
		return xattrErr("setxattr", unix.Setxattr(path, userPrefix+name, value, flags))
	})
}

// RemoveXattr implements export.Xattrs.
func (fs *FS) RemoveXattr(cred *export.Creds, h []byte, name string) error {
	if name == "" {
		return export.ErrNoXattr
	}
	fd, err := fs.xattrTarget(h, name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	path := procPath(fd)
	return fs.alter(cred, h, fd, func() error {
		return xattrErr("removexattr", unix.Removexattr(path, userPrefix+name))
	})
}

// alter runs a change of the object h, open as fd, under the identity of cred,
// and puts it on stable storage.
func (fs *FS) alter(cred *export.Creds, h []byte, fd int, fn func() error) error {
	var before unix.Statx_t
	if e := statxFD(fd, &before); e != noErrno {
		return fail("statx", e)
	}
	if err := fs.asCaller(cred, fn); err != nil {
		return err
	}
	fs.changed(h, fd, &before)
	return fs.syncObject(h)
}

// ListXattrs implements export.Xattrs. It needs no right but the handle, as
// listxattr(2).
func (fs *FS) ListXattrs(_ *export.Creds, h []byte) ([]string, error) {
	fd, err := fs.xattrTarget(h, "")
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	buf := make([]byte, maxXattrList)
	n := 0
	err = retry(func() (err error) {
		n, err = unix.Listxattr(procPath(fd), buf)
		return err
	})
	if err == syscall.EOPNOTSUPP {
		return nil, nil
	}
	if err != nil {
		return nil, fail("listxattr", errnoOf(err))
	}
	var names []string
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if short, ok := strings.CutPrefix(name, userPrefix); ok && short != "" {
			names = append(names, short)
		}
	}
	return names, nil
}

// xattrErr is fail for calls whose errors have a meaning of their own: ENOSPC
// stands for a value beyond what the file system keeps in an object, too.
func xattrErr(op string, err error) error {
	switch err {
	case nil:
		return nil
	case syscall.E2BIG, syscall.ERANGE:
		return &opError{op, syscall.E2BIG}
	case syscall.EINTR:
		return err // to be tried again
	}
	if e, ok := err.(syscall.Errno); ok {
		return fail(op, e)
	}
	return err
}
