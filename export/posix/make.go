//go:build linux

package posix

import (
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

// Make implements export.Mutable.
func (fs *FS) Make(cred *export.Creds, dir []byte, name string, args *export.MakeArgs, open bool, attr *export.Attr) ([]byte, export.File, export.DirChange, error) {
	var none export.DirChange
	var cn cname
	if err := checkName(&cn, name); err != nil {
		return nil, nil, none, err
	}
	if cred == nil {
		return nil, nil, none, accessErr(errIdentity)
	}
	d, err := fs.beginChange(dir, nil)
	if err != nil {
		return nil, nil, none, err
	}
	defer d.close()
	mode, masked := makeMode(d.fd, args)
	who, err := fs.own.become(cred)
	if err != nil {
		return nil, nil, none, accessErr(err)
	}
	fd, op, e := fs.makeObject(d.fd, &cn[0], args, mode, masked)
	if err := who.end(); err != nil {
		if e == noErrno {
			closeFD(fd)
		}
		return nil, nil, none, err
	}
	if e != noErrno {
		return nil, nil, none, fail(op, e)
	}
	h, err := fs.describeObject(fd, dir, name, attr)
	if err == nil && fs.change.coarse {
		fs.changed(h, fd, nil)
		if attr != nil {
			err = fs.fillFrom(fd, h, attr)
		}
	}
	change, err2 := d.end()
	if err == nil {
		err = err2
	}
	if err == nil && !fs.kind.journal && !fs.opt.Async {
		if args.Type == export.Regular {
			err = fsync(fd)
		} else {
			err = fs.syncObject(h)
		}
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		fs.unmake(d.fd, &cn[0], fd)
		closeFD(fd)
		return nil, nil, none, err
	}
	if args.Type == export.Regular && open {
		return h, fs.newFile(fd, cred, h, true), change, nil
	}
	closeFD(fd)
	return h, nil, change, nil
}

func (fs *FS) fillFrom(fd int, h []byte, attr *export.Attr) error {
	var st unix.Statx_t
	if e := statxFD(fd, &st); e != noErrno {
		return fail("statx", e)
	}
	fs.fill(attr, &st, h)
	return nil
}

var aclDefaultName = [...]byte{'s', 'y', 's', 't', 'e', 'm', '.', 'p', 'o', 's', 'i', 'x', '_', 'a', 'c', 'l', '_', 'd', 'e', 'f', 'a', 'u', 'l', 't', 0}

// makeMode is the mode to give to the kernel for a new object in the directory
// dfd: the caller's umask counts only where no default list is inherited
// (RFC 8275 §5), which masked tells. The kernel does so with the process's own umask.
func makeMode(dfd int, args *export.MakeArgs) (mode uint32, masked bool) {
	mode = 0o644
	if args.Type == export.Directory {
		mode = 0o755
	}
	if args.Set.Mode != nil {
		mode = *args.Set.Mode & 0o7777
	}
	if args.Type == export.Symlink {
		return 0o777, false
	}
	if _, e := fgetxattr(dfd, &aclDefaultName[0], nil, 0); e == noErrno {
		return mode, false
	}
	return mode &^ (args.Umask & 0o777), true
}

// makeObject makes an object and gives it its attributes under the thread's
// identity. It is open as fd: a regular file for reading and writing, others as
// a path. Should an attribute be refused the object is removed again.
func (fs *FS) makeObject(dfd int, name *byte, args *export.MakeArgs, mode uint32, masked bool) (fd int, op string, e syscall.Errno) {
	switch args.Type {
	case export.Regular:
		fd, e = openat(dfd, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_NONBLOCK|openBits, mode)
		if e != noErrno {
			return -1, "create", e
		}
	case export.Directory:
		op, e = "mkdir", mkdirat(dfd, name, mode)
	case export.Symlink:
		op, e = "symlink", symlinkat(args.Target, dfd, name)
	case export.FIFO:
		op, e = "mkfifo", mknodat(dfd, name, unix.S_IFIFO|mode, 0)
	case export.Socket:
		op, e = "mknod", mknodat(dfd, name, unix.S_IFSOCK|mode, 0)
	case export.BlockDevice:
		op, e = "mknod", mknodat(dfd, name, unix.S_IFBLK|mode, unix.Mkdev(args.Major, args.Minor))
	case export.CharDevice:
		op, e = "mknod", mknodat(dfd, name, unix.S_IFCHR|mode, unix.Mkdev(args.Major, args.Minor))
	default:
		return -1, "make", syscall.EINVAL
	}
	if e != noErrno {
		return -1, op, e
	}
	if args.Type != export.Regular {
		if fd, e = openBeneath(dfd, name, pathFlags); e != noErrno {
			return -1, "open", e // somebody else removed it at once
		}
	}
	if op, e = fs.finishMake(fd, args, mode, masked); e != noErrno {
		fs.unmake(dfd, name, fd)
		closeFD(fd)
		return -1, op, e
	}
	return fd, "", noErrno
}

// finishMake sets what the making call could not: mode bits that the process's
// umask took or that mkdir ignores, and the other attributes asked for.
func (fs *FS) finishMake(fd int, args *export.MakeArgs, mode uint32, masked bool) (string, syscall.Errno) {
	set := args.Set
	set.Mode = nil
	if args.Type != export.Regular && set.Size != nil {
		return "truncate", syscall.EINVAL
	}
	var st unix.Statx_t
	if e := statxFD(fd, &st); e != noErrno {
		return "statx", e
	}
	if args.Type == export.Symlink {
		return fs.setAll(fd, fd, &set)
	}
	if set.UID != nil && *set.UID == st.Uid {
		set.UID = nil
	}
	if set.GID != nil && *set.GID == st.Gid {
		set.GID = nil
	}
	want := uint32(st.Mode)&0o7777 | mode&0o7000
	if masked {
		want |= mode & 0o777
	}
	// A new owner clears the set-id bits, so that these must be set after it.
	if want != uint32(st.Mode)&0o7777 || (set.UID != nil || set.GID != nil) && want&0o6000 != 0 {
		set.Mode = &want
	}
	if set.Size != nil && *set.Size == 0 {
		set.Size = nil
	}
	return fs.setAll(fd, fd, &set)
}

// unmake removes what was made as name, if it is still what is open as fd.
func (fs *FS) unmake(dfd int, name *byte, fd int) {
	var made, now unix.Statx_t
	if statxFD(fd, &made) != noErrno || statx(dfd, name, &now) != noErrno || made.Ino != now.Ino || made.Btime != now.Btime {
		return
	}
	flags := 0
	if fileType(made.Mode) == export.Directory {
		flags = unix.AT_REMOVEDIR
	}
	unlinkat(dfd, name, flags)
}
