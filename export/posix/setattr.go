//go:build linux

package posix

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

// Setattr implements export.Mutable: owner and group, mode, size, times. What
// may be refused for want of a right is tried first, so that all or nothing is
// set unless the disk fails or is full in between.
func (fs *FS) Setattr(cred *export.Creds, h []byte, f export.File, set *export.SetAttr) error {
	if err := fs.checkHandle(h); err != nil {
		return err
	}
	if set.Size != nil {
		if err := fs.checkRegular(h); err != nil {
			return err
		}
		if *set.Size > 1<<63-1 {
			return export.ErrFBig
		}
	}
	if set.Mode != nil && typeOf(h) == export.Symlink {
		return export.ErrNotSupp
	}
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	var before unix.Statx_t
	if e := statxFD(fd, &before); e != noErrno {
		return fail("statx", e)
	}
	sizeFD := -1
	if open, ok := fs.ownFile(f); ok && open.write {
		sizeFD = open.fd
	}
	who, err := fs.own.become(cred)
	if err != nil {
		return accessErr(err)
	}
	op, e := fs.setAll(fd, sizeFD, set)
	if err := who.end(); err != nil {
		return err
	}
	fs.changed(h, fd, &before)
	if e != noErrno {
		return fail(op, e)
	}
	return fs.syncObject(h)
}

// setAll sets attributes of fd, which is open as a path, under the thread's
// identity. sizeFD is the file open for writing, or -1.
func (fs *FS) setAll(fd, sizeFD int, set *export.SetAttr) (op string, e syscall.Errno) {
	if set.Size != nil && sizeFD < 0 {
		sizeFD, e = fs.reopen(fd, unix.O_WRONLY|unix.O_NONBLOCK)
		if e != noErrno {
			return "truncate", e
		}
		defer closeFD(sizeFD)
	}
	if set.UID != nil || set.GID != nil {
		uid, gid := ^uint32(0), ^uint32(0) // as they are
		if set.UID != nil {
			uid = *set.UID
		}
		if set.GID != nil {
			gid = *set.GID
		}
		if set.UID != nil && uid == ^uint32(0) || set.GID != nil && gid == ^uint32(0) {
			return "chown", syscall.EINVAL
		}
		if e := fchownat(fd, uid, gid); e != noErrno {
			return "chown", e
		}
	}
	if set.Mode != nil {
		var name cname
		name.setFD(fd)
		if e := fchmodat(fs.procFD, &name[0], *set.Mode&0o7777); e != noErrno {
			return "chmod", e
		}
	}
	if set.Size != nil {
		if e := errnoOf(retry(func() error { return unix.Ftruncate(sizeFD, int64(*set.Size)) })); e != noErrno {
			return "truncate", e
		}
	}
	if e := setTimes(fd, set); e != noErrno {
		return "utimens", e
	}
	return "", noErrno
}

// setTimes sets the times. To whom a file does not belong the kernel lets both
// be now, with the right to write, but not the mtime alone; a client asks for
// that when it truncates (and then it is done already).
func setTimes(fd int, set *export.SetAttr) syscall.Errno {
	mtimeNow := set.AtimeHow == export.TimeKeep && set.MtimeHow == export.TimeNow
	if set.AtimeHow == export.TimeKeep && set.MtimeHow == export.TimeKeep || mtimeNow && set.Size != nil {
		return noErrno
	}
	ts := [2]unix.Timespec{timespec(set.AtimeHow, set.Atime), timespec(set.MtimeHow, set.Mtime)}
	e := utimens(fd, &ts)
	if e == syscall.EPERM && mtimeNow {
		ts[0].Nsec = unix.UTIME_NOW
		e = utimens(fd, &ts)
	}
	return e
}

func timespec(how export.TimeSet, t time.Time) unix.Timespec {
	switch how {
	case export.TimeNow:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	case export.TimeGiven:
		ts := unix.Timespec{}
		ts.Sec, ts.Nsec = t.Unix(), int64(t.Nanosecond())
		return ts
	default:
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
}
