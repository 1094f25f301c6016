//go:build linux

package posix

import (
	"encoding/binary"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

const (
	tagKernel = 0x10
	tagTable  = 0x20
	tagMask   = 0xf0
	typeMask  = 0x0f

	kernelHead  = 2  // tag and kernel type
	tableHandle = 17 // tag, inode number, birth time
)

// appendHandle appends the handle made of a kernel handle; ok is false if
// it does not fit. Kernel handles are made of words of four bytes.
func appendHandle(dst []byte, kh *kernelHandle, t export.FileType) (h []byte, ok bool) {
	if kh.kind < 0 || kh.kind > 0xff || kh.bytes == 0 || kh.bytes%4 != 0 || kernelHead+int(kh.bytes) > export.MaxHandle {
		return dst, false
	}
	dst = append(dst, tagKernel|byte(t), byte(kh.kind))
	return append(dst, kh.data[:kh.bytes]...), true
}

// typeOf is the type that a handle tells.
func typeOf(h []byte) export.FileType { return export.FileType(h[0] & typeMask) }

// checkHandle says whether h can have been made by this FS.
func (fs *FS) checkHandle(h []byte) error {
	if len(h) == 0 || len(h) > export.MaxHandle {
		return export.ErrBadHandle
	}
	if t := typeOf(h); t < export.Regular || t > export.FIFO {
		return export.ErrBadHandle
	}
	if fs.table != nil {
		if h[0]&tagMask != tagTable || len(h) != tableHandle {
			return export.ErrBadHandle
		}
		return nil
	}
	if h[0]&tagMask != tagKernel || len(h) <= kernelHead || len(h)%4 != kernelHead {
		return export.ErrBadHandle
	}
	// File systems overlook a wrong kind or what is too long, and the same object
	// would have two handles.
	if len(fs.root) > 0 {
		sameKind, sameSize := h[1] == fs.root[1], len(h) == len(fs.root)
		if fs.kind.uniform && !(sameKind && sameSize) || sameKind && !sameSize {
			return export.ErrBadHandle
		}
	}
	return nil
}

// checkDir is checkHandle for what must be a directory.
func (fs *FS) checkDir(h []byte) error {
	if err := fs.checkHandle(h); err != nil {
		return err
	}
	switch typeOf(h) {
	case export.Directory:
		return nil
	case export.Symlink:
		return export.ErrSymlink
	default:
		return export.ErrNotDir
	}
}

// checkRegular is checkHandle for what must be a regular file.
func (fs *FS) checkRegular(h []byte) error {
	if err := fs.checkHandle(h); err != nil {
		return err
	}
	switch typeOf(h) {
	case export.Regular:
		return nil
	case export.Directory:
		return export.ErrIsDir
	case export.Symlink:
		return export.ErrSymlink
	default:
		return export.ErrWrongType
	}
}

// beingMade is how often a handle is tried again for which ext4 has no memory:
// that is what it says while another object is being made under the inode number of
// one that was removed. It soon is ESTALE.
const beingMade = 8

// openHandle opens the object of h with the process's own rights: the caller
// has checked, or will, what is done with it.
func (fs *FS) openHandle(h []byte, flags int) (int, error) {
	if err := fs.checkHandle(h); err != nil {
		return -1, err
	}
	if fs.table != nil {
		return fs.openByTable(h, flags)
	}
	var kh kernelHandle
	kh.kind = int32(h[1])
	kh.bytes = uint32(copy(kh.data[:], h[kernelHead:]))
	fd, e := openByHandle(fs.rootFD, &kh, flags|openBits)
	for range beingMade {
		if e != syscall.ENOMEM {
			break
		}
		runtime.Gosched()
		fd, e = openByHandle(fs.rootFD, &kh, flags|openBits)
	}
	switch e {
	case noErrno:
		return fd, nil
	case syscall.EINVAL, syscall.EOVERFLOW:
		return -1, export.ErrBadHandle
	case syscall.ESTALE, syscall.ENOENT:
		return -1, export.ErrStale
	default:
		return -1, fail("open_by_handle_at", e)
	}
}

// handleOf returns the handle of the object that is open as fd and has
// attributes st, found as name in the directory with handle dir.
func (fs *FS) handleOf(fd int, st *unix.Statx_t, dir []byte, name string) ([]byte, error) {
	if fs.table != nil {
		return fs.tableHandleOf(st, dir, name)
	}
	return kernelHandleAt(fd, &emptyPath[0], st)
}

// kernelHandleAt is handleOf for the kernel's handles, by name in dir.
func kernelHandleAt(dir int, name *byte, st *unix.Statx_t) ([]byte, error) {
	var kh kernelHandle
	if e := nameToHandle(dir, name, &kh); e != noErrno {
		return nil, fail("name_to_handle_at", e)
	}
	h, ok := appendHandle(make([]byte, 0, kernelHead+kh.bytes), &kh, fileType(st.Mode))
	if !ok {
		return nil, fail("name_to_handle_at", syscall.EOVERFLOW)
	}
	return h, nil
}

// reopen opens what is open as fd once more, for another use: the kernel checks
// the right to that against the thread's identity.
func (fs *FS) reopen(fd, flags int) (int, syscall.Errno) {
	var name cname
	name.setFD(fd)
	return openat(fs.procFD, &name[0], flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
}

// An fsidRule says how FSID is found: on btrfs each subvolume numbers its
// files anew, and its number is in the handle.
type fsidRule uint8

const (
	oneFSID fsidRule = iota
	btrfsFSID
)

func (fs *FS) fsidOf(h []byte) uint64 {
	if fs.fsid == btrfsFSID && fs.table == nil && len(h) >= kernelHead+16 {
		return binary.LittleEndian.Uint64(h[kernelHead+8:])
	}
	return 0
}
