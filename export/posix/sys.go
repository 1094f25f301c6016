//go:build linux

package posix

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the hot path, made so that nothing is allocated: names
// are given as NUL-terminated bytes, results land in the caller's memory. All
// return errno 0 for success and start again after EINTR where they can block.

const (
	noErrno    = syscall.Errno(0)
	openBits   = unix.O_CLOEXEC | unix.O_NOFOLLOW
	faccessNum = unix.SYS_FACCESSAT2

	// What attributes need. Where times are fine-grained, to look at the ctime
	// makes the next change dearer: who needs less asks for less.
	statxMask  = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID
	statxOwner = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_UID | unix.STATX_GID
	statxSize  = unix.STATX_SIZE
)

var emptyPath = [1]byte{}

// A cname is a NUL-terminated name. The zero value is the empty name.
type cname [256 + 8]byte

// set stores a name; it reports false if the name is too long.
func (c *cname) set(name string) bool {
	if len(name) > 255 {
		return false
	}
	n := copy(c[:], name)
	c[n] = 0
	return true
}

// setFD stores the name of fd in /proc/self/fd.
func (c *cname) setFD(fd int) {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + fd%10)
		fd /= 10
		if fd == 0 {
			break
		}
	}
	n := copy(c[:], digits[i:])
	c[n] = 0
}

// kernelHandle is struct file_handle with room for the largest one.
type kernelHandle struct {
	bytes uint32
	kind  int32
	data  [128]byte
}

func openByHandle(mount int, kh *kernelHandle, flags int) (int, syscall.Errno) {
	for {
		r, _, e := syscall.Syscall(unix.SYS_OPEN_BY_HANDLE_AT, uintptr(mount), uintptr(unsafe.Pointer(kh)), uintptr(flags))
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

// nameToHandle fills kh with the handle of name in dir, or of dir itself if
// the name is empty. It never follows a symbolic link.
func nameToHandle(dir int, name *byte, kh *kernelHandle) syscall.Errno {
	kh.bytes = uint32(len(kh.data))
	var mountID int32
	flags := 0
	if *name == 0 {
		flags = unix.AT_EMPTY_PATH
	}
	_, _, e := syscall.Syscall6(unix.SYS_NAME_TO_HANDLE_AT, uintptr(dir), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(kh)), uintptr(unsafe.Pointer(&mountID)), uintptr(flags), 0)
	return e
}

func openat(dir int, name *byte, flags int, mode uint32) (int, syscall.Errno) {
	for {
		r, _, e := syscall.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(flags), uintptr(mode), 0, 0)
		if e != syscall.EINTR {
			return int(r), e
		}
	}
}

// openBeneath opens name below dir without leaving it by "..", a link or a
// mount point: a mount point is EXDEV, a link on the way ELOOP.
func openBeneath(dir int, name *byte, flags int) (int, syscall.Errno) {
	how := unix.OpenHow{
		Flags:   uint64(flags),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		r, _, e := syscall.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(name)),
			uintptr(unsafe.Pointer(&how)), unix.SizeofOpenHow, 0, 0)
		if e != syscall.EINTR && e != syscall.EAGAIN {
			return int(r), e
		}
	}
}

func closeFD(fd int) { syscall.Syscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// statx describes name in dir, or dir itself if the name is empty.
func statx(dir int, name *byte, st *unix.Statx_t) syscall.Errno {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if *name == 0 {
		flags |= unix.AT_EMPTY_PATH
	}
	_, _, e := syscall.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(flags),
		statxMask, uintptr(unsafe.Pointer(st)), 0)
	return e
}

func statxFD(fd int, st *unix.Statx_t) syscall.Errno { return statx(fd, &emptyPath[0], st) }

// statxPart is statxFD for what mask names only.
func statxPart(fd int, mask uint, st *unix.Statx_t) syscall.Errno {
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH
	_, _, e := syscall.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(&emptyPath[0])), flags,
		uintptr(mask), uintptr(unsafe.Pointer(st)), 0)
	return e
}

// faccess checks permission on fd under the thread's file system identity.
func faccess(fd int, mode uint32) syscall.Errno {
	_, _, e := syscall.Syscall6(faccessNum, uintptr(fd), uintptr(unsafe.Pointer(&emptyPath[0])), uintptr(mode),
		unix.AT_EMPTY_PATH|unix.AT_EACCESS, 0, 0)
	return e
}

func getdents(fd int, buf []byte) (int, syscall.Errno) {
	r, _, e := syscall.Syscall(unix.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return int(r), e
}

func fgetxattr(fd int, name *byte, buf *byte, n int) (int, syscall.Errno) {
	r, _, e := syscall.Syscall6(unix.SYS_FGETXATTR, uintptr(fd), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(buf)), uintptr(n), 0, 0)
	return int(r), e
}

func mkdirat(dir int, name *byte, mode uint32) syscall.Errno {
	_, _, e := syscall.Syscall(unix.SYS_MKDIRAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(mode))
	return e
}

func mknodat(dir int, name *byte, mode uint32, dev uint64) syscall.Errno {
	_, _, e := syscall.Syscall6(unix.SYS_MKNODAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(mode), uintptr(dev), 0, 0)
	return e
}

func symlinkat(target string, dir int, name *byte) syscall.Errno {
	p, err := syscall.BytePtrFromString(target)
	if err != nil {
		return syscall.EINVAL
	}
	_, _, e := syscall.Syscall(unix.SYS_SYMLINKAT, uintptr(unsafe.Pointer(p)), uintptr(dir), uintptr(unsafe.Pointer(name)))
	return e
}

func linkat(fromDir int, from *byte, dir int, name *byte, flags int) syscall.Errno {
	_, _, e := syscall.Syscall6(unix.SYS_LINKAT, uintptr(fromDir), uintptr(unsafe.Pointer(from)), uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(flags), 0)
	return e
}

func unlinkat(dir int, name *byte, flags int) syscall.Errno {
	_, _, e := syscall.Syscall(unix.SYS_UNLINKAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(flags))
	return e
}

func renameat(fromDir int, from *byte, toDir int, to *byte) syscall.Errno {
	_, _, e := syscall.Syscall6(unix.SYS_RENAMEAT2, uintptr(fromDir), uintptr(unsafe.Pointer(from)), uintptr(toDir), uintptr(unsafe.Pointer(to)), 0, 0)
	return e
}

func fchownat(fd int, uid, gid uint32) syscall.Errno {
	_, _, e := syscall.Syscall6(unix.SYS_FCHOWNAT, uintptr(fd), uintptr(unsafe.Pointer(&emptyPath[0])), uintptr(uid), uintptr(gid), unix.AT_EMPTY_PATH, 0)
	return e
}

func fchmodat(dir int, name *byte, mode uint32) syscall.Errno {
	_, _, e := syscall.Syscall(unix.SYS_FCHMODAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(mode))
	return e
}

func utimens(fd int, ts *[2]unix.Timespec) syscall.Errno {
	_, _, e := syscall.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), uintptr(unsafe.Pointer(&emptyPath[0])), uintptr(unsafe.Pointer(ts)), unix.AT_EMPTY_PATH, 0, 0)
	return e
}

// retry runs a call of package unix again as long as a signal cuts it short.
func retry(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
