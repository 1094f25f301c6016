//go:build linux

package posix

import (
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

var aclAccessName = [...]byte{'s', 'y', 's', 't', 'e', 'm', '.', 'p', 'o', 's', 'i', 'x', '_', 'a', 'c', 'l', '_', 'a', 'c', 'c', 'e', 's', 's', 0}

// verdict is what owner, group and mode bits tell.
type verdict uint8

const (
	askKernel verdict = iota
	allowed
	denied
)

// judge decides by the rules of inode_permission in the kernel whether cred has
// the rights want (R_OK, W_OK, X_OK) on an object with attributes st. fd is the
// object open other than as a path, to look for an access control list, or -1
// if only the owner and mode bits that are the same for all can decide.
//
// The rules: the owner's bits for the owner; for others the list where there
// is one, and otherwise the group's bits for members and the last bits for the
// rest. The kernel leaves the list alone when the group bits, its mask, are all
// clear.
func (fs *FS) judge(cred *export.Creds, st *unix.Statx_t, fd int, want uint32) verdict {
	if !fs.kind.plain || fs.opt.StrictKernel || !fs.own.enforced || cred == nil || cred.UID == 0 {
		return askKernel
	}
	if cred.UID == ^uint32(0) || cred.GID == ^uint32(0) {
		return askKernel
	}
	mode := uint32(st.Mode)
	if cred.UID == st.Uid {
		return bits(mode>>6, want)
	}
	if mode&0o070 != 0 && fs.mayHaveACL(fd) {
		return askKernel
	}
	if cred.GID == st.Gid || slices.Contains(cred.Groups, st.Gid) {
		return bits(mode>>3, want)
	}
	return bits(mode, want)
}

func bits(mode, want uint32) verdict {
	if mode&want == want {
		return allowed
	}
	return denied
}

// mayHaveACL says whether the object that is open as fd has an access control
// list, or may have one.
func (fs *FS) mayHaveACL(fd int) bool {
	if fd < 0 {
		return true
	}
	_, e := fgetxattr(fd, &aclAccessName[0], nil, 0)
	return e != syscall.ENODATA && e != syscall.EOPNOTSUPP
}

// Access implements export.FS. The kernel has the last word where something
// else than the object's mode could say no: a list, a read-only file system.
func (fs *FS) Access(cred *export.Creds, h []byte, want uint32) (uint32, error) {
	if err := fs.checkHandle(h); err != nil {
		return 0, err
	}
	t := typeOf(h)
	flags := unix.O_PATH
	if t == export.Directory || t == export.Regular {
		// Open, and not only as a path, an access control list can be seen. A
		// lease on the file is not waited for.
		flags = unix.O_RDONLY | unix.O_NONBLOCK
	}
	fd, err := fs.openHandle(h, flags)
	if err != nil && flags != unix.O_PATH {
		flags = unix.O_PATH
		fd, err = fs.openHandle(h, flags)
	}
	if err != nil {
		return 0, err
	}
	defer closeFD(fd)
	var st unix.Statx_t
	if e := statxPart(fd, statxOwner, &st); e != noErrno {
		return 0, fail("statx", e)
	}
	rights := [...]struct{ right, bits uint32 }{
		{unix.R_OK, export.AccessRead},
		{unix.W_OK, export.AccessModify | export.AccessExtend},
		{unix.X_OK, export.AccessExecute},
	}
	if t == export.Directory {
		rights[1].bits = export.AccessModify | export.AccessExtend | export.AccessDelete
		rights[2].bits = export.AccessLookup
	}
	aclFD := fd
	if flags == unix.O_PATH {
		aclFD = -1
	}
	var got, ask uint32
	for _, r := range rights {
		if want&r.bits == 0 {
			continue
		}
		switch fs.judge(cred, &st, aclFD, r.right) {
		case askKernel:
			ask |= r.right
		case allowed:
			// A file system or an object that cannot be written denies it to all.
			if r.right != unix.W_OK || faccess(fd, unix.W_OK) == noErrno {
				got |= want & r.bits
			}
		}
	}
	if ask == 0 {
		return got, nil
	}
	who, err := fs.own.become(cred)
	if err != nil {
		return 0, accessErr(err)
	}
	all := faccess(fd, ask) == noErrno
	for _, r := range rights {
		if ask&r.right != 0 && (all || faccess(fd, r.right) == noErrno) {
			got |= want & r.bits
		}
	}
	if err := who.end(); err != nil {
		return 0, err
	}
	return got, nil
}

// accessErr says for the caller that an identity could not be taken.
func accessErr(err error) error { return &identityError{err} }

type identityError struct{ err error }

func (e *identityError) Error() string   { return e.err.Error() }
func (e *identityError) Unwrap() []error { return []error{export.ErrAccess, e.err} }
