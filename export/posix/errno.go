//go:build linux

package posix

import (
	"syscall"

	"holdfast/export"
)

// sentinel is the table from the kernel's errors to those of package export:
// the only place that knows it.
func sentinel(e syscall.Errno) error {
	switch e {
	case syscall.EPERM:
		return export.ErrPerm
	case syscall.ENOENT:
		return export.ErrNotExist
	case syscall.ENXIO, syscall.ENODEV:
		return export.ErrNXIO
	case syscall.EACCES:
		return export.ErrAccess
	case syscall.EEXIST:
		return export.ErrExist
	case syscall.EXDEV:
		return export.ErrXDev
	case syscall.ENOTDIR:
		return export.ErrNotDir
	case syscall.EISDIR:
		return export.ErrIsDir
	case syscall.EINVAL, syscall.EDOM:
		return export.ErrInval
	case syscall.EFBIG, syscall.EOVERFLOW:
		return export.ErrFBig
	case syscall.ENOSPC:
		return export.ErrNoSpace
	case syscall.EROFS:
		return export.ErrReadOnly
	case syscall.EMLINK:
		return export.ErrTooManyLink
	case syscall.ENAMETOOLONG:
		return export.ErrNameTooLong
	case syscall.EILSEQ:
		return export.ErrBadName // a name that the file system's character set lacks
	case syscall.ENOTEMPTY:
		return export.ErrNotEmpty
	case syscall.EDQUOT:
		return export.ErrQuota
	case syscall.ESTALE:
		return export.ErrStale
	case syscall.ELOOP:
		return export.ErrSymlink
	case syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.ENOTTY:
		return export.ErrNotSupp
	case syscall.ENODATA:
		return export.ErrNoXattr
	case syscall.E2BIG:
		return export.ErrXattrTooBig
	case syscall.EBUSY, syscall.ETXTBSY:
		return export.ErrBusy
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ETIMEDOUT:
		return export.ErrAgain
	default:
		return export.ErrIO
	}
}

// An opError is a failed system call: what was tried and the kernel's word.
type opError struct {
	op    string
	errno syscall.Errno
}

func (e *opError) Error() string { return "posix: " + e.op + ": " + e.errno.Error() }

// Unwrap gives the sentinel of package export.
func (e *opError) Unwrap() error { return sentinel(e.errno) }

// Is lets callers in this room ask for the errno itself.
func (e *opError) Is(target error) bool { return target == e.errno }

// fail makes an error of errno; 0 is no error.
func fail(op string, e syscall.Errno) error {
	if e == noErrno {
		return nil
	}
	return &opError{op, e}
}

// errnoOf takes an error of package unix apart.
func errnoOf(err error) syscall.Errno {
	if err == nil {
		return noErrno
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EIO
}
