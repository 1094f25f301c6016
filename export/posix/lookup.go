//go:build linux

package posix

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

const (
	dirFlags  = unix.O_RDONLY | unix.O_DIRECTORY
	pathFlags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

// checkName stores a name for a system call, if it is one component.
func checkName(c *cname, name string) error {
	switch {
	case name == "":
		return export.ErrInval
	case name == "." || name == ".." || strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0:
		return export.ErrBadName
	case !c.set(name):
		return export.ErrNameTooLong
	}
	return nil
}

// Lookup implements export.FS.
func (fs *FS) Lookup(cred *export.Creds, dir []byte, name string, attr *export.Attr) ([]byte, error) {
	if err := fs.checkDir(dir); err != nil {
		return nil, err
	}
	var cn cname
	if err := checkName(&cn, name); err != nil {
		return nil, err
	}
	flags := dirFlags // to see whether it has an access control list
	if cred == nil || cred.UID == fs.own.uid {
		flags = unix.O_PATH | unix.O_DIRECTORY
	}
	dfd, err := fs.openHandle(dir, flags)
	if err != nil {
		return nil, err
	}
	defer closeFD(dfd)
	if fs.byName {
		h, seen, err := fs.lookupByName(cred, dfd, &cn[0], attr)
		if seen || err != nil {
			return h, err
		}
	}
	fd, e, err := fs.searchAs(cred, dfd, &cn[0])
	if err != nil {
		return nil, err
	}
	switch e {
	case noErrno:
	case syscall.EXDEV:
		return nil, fail("lookup", syscall.ENOENT) // a mount point
	default:
		return nil, fail("lookup", e)
	}
	defer closeFD(fd)
	return fs.describeObject(fd, dir, name, attr)
}

// lookupByName is Lookup without opening the object: its attributes and its
// handle are asked for by name, and belong together if the handle has the inode
// number of the attributes. seen is false if they do not.
func (fs *FS) lookupByName(cred *export.Creds, dfd int, name *byte, attr *export.Attr) (h []byte, seen bool, err error) {
	who, err := fs.searcher(cred, dfd)
	if err != nil {
		return nil, false, err
	}
	var st unix.Statx_t
	var kh kernelHandle
	e := statx(dfd, name, &st)
	if e == noErrno && st.Mnt_id == fs.mount {
		e = nameToHandle(dfd, name, &kh)
	}
	if err := who.end(); err != nil {
		return nil, false, err
	}
	switch {
	case e != noErrno:
		return nil, true, fail("lookup", e)
	case st.Mnt_id != fs.mount:
		return nil, true, fail("lookup", syscall.ENOENT) // a mount point
	}
	if ino, known := fs.inodeIn(&kh); !known || ino != st.Ino {
		return nil, false, nil
	}
	h, ok := appendHandle(make([]byte, 0, kernelHead+kh.bytes), &kh, fileType(st.Mode))
	if !ok {
		return nil, true, fail("name_to_handle_at", syscall.EOVERFLOW)
	}
	if attr != nil {
		fs.fill(attr, &st, h)
	}
	return h, true, nil
}

// searcher gives the thread the identity under which a name is looked up in the
// directory dfd: its own where the mode tells that cred may.
func (fs *FS) searcher(cred *export.Creds, dfd int) (guise, error) {
	if cred != nil && cred.UID != 0 && fs.own.enforced && fs.kind.plain {
		var st unix.Statx_t
		if e := statxPart(dfd, statxOwner, &st); e != noErrno {
			return guise{}, fail("statx", e)
		}
		if fs.judge(cred, &st, dfd, unix.X_OK) == allowed {
			return guise{}, nil
		}
	}
	who, err := fs.own.become(cred)
	if err != nil {
		return guise{}, accessErr(err)
	}
	return who, nil
}

// searchAs opens name in the directory dfd as a path, if cred may search it.
func (fs *FS) searchAs(cred *export.Creds, dfd int, name *byte) (int, syscall.Errno, error) {
	who, err := fs.searcher(cred, dfd)
	if err != nil {
		return -1, noErrno, err
	}
	fd, e := openBeneath(dfd, name, pathFlags)
	if err := who.end(); err != nil {
		if e == noErrno {
			closeFD(fd)
		}
		return -1, noErrno, err
	}
	return fd, e, nil
}

// describeObject fills attr and returns the handle of what is open as fd and
// was found as name in dir.
func (fs *FS) describeObject(fd int, dir []byte, name string, attr *export.Attr) ([]byte, error) {
	var st unix.Statx_t
	if e := statxFD(fd, &st); e != noErrno {
		return nil, fail("statx", e)
	}
	h, err := fs.handleOf(fd, &st, dir, name)
	if err != nil {
		return nil, err
	}
	if attr != nil {
		fs.fill(attr, &st, h)
	}
	return h, nil
}

func (fs *FS) isRoot(st *unix.Statx_t) bool {
	return st.Ino == fs.rootIno && st.Dev_major == fs.dev[0] && st.Dev_minor == fs.dev[1]
}

var dotDot = [3]byte{'.', '.', 0}

// Parent implements export.FS. It climbs from the parent to the root of the
// export to see that both are still connected.
func (fs *FS) Parent(cred *export.Creds, dir []byte) ([]byte, error) {
	if err := fs.checkDir(dir); err != nil {
		return nil, err
	}
	dfd, err := fs.openHandle(dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer closeFD(dfd)
	var st unix.Statx_t
	if e := statxFD(dfd, &st); e != noErrno {
		return nil, fail("statx", e)
	}
	if fs.isRoot(&st) {
		return nil, export.ErrNotExist
	}
	who, err := fs.own.become(cred)
	if err != nil {
		return nil, accessErr(err)
	}
	pfd, e := openat(dfd, &dotDot[0], pathFlags|unix.O_DIRECTORY, 0)
	if err := who.end(); err != nil {
		if e == noErrno {
			closeFD(pfd)
		}
		return nil, err
	}
	if e != noErrno {
		return nil, fail("parent", e)
	}
	defer closeFD(pfd)
	inside, err := fs.inside(pfd)
	if err != nil {
		return nil, err
	}
	if !inside {
		return nil, export.ErrNotExist
	}
	if e := statxFD(pfd, &st); e != noErrno {
		return nil, fail("statx", e)
	}
	if fs.table != nil {
		return fs.tableHandle(&st), nil
	}
	return kernelHandleAt(pfd, &emptyPath[0], &st)
}

// inside says whether the directory fd is the root or below it.
func (fs *FS) inside(fd int) (bool, error) {
	at, mine := fd, false // mine: at is to be closed here
	defer func() {
		if mine {
			closeFD(at)
		}
	}()
	var last unix.Statx_t
	for first := true; ; first = false {
		var st unix.Statx_t
		if e := statxFD(at, &st); e != noErrno {
			return false, fail("statx", e)
		}
		if fs.isRoot(&st) {
			return true, nil
		}
		if st.Mnt_id != fs.mount || !first && st.Ino == last.Ino && st.Dev_minor == last.Dev_minor && st.Dev_major == last.Dev_major {
			return false, nil // above the export's mount, or at the very top
		}
		last = st
		up, e := openat(at, &dotDot[0], pathFlags|unix.O_DIRECTORY, 0)
		if e != noErrno {
			return false, fail("parent", e)
		}
		if mine {
			closeFD(at)
		}
		at, mine = up, true
	}
}

// Readlink implements export.FS. Like readlink(2) on an open link it needs no
// right on the link itself.
func (fs *FS) Readlink(_ *export.Creds, h []byte) (string, error) {
	if err := fs.checkHandle(h); err != nil {
		return "", err
	}
	if typeOf(h) != export.Symlink {
		return "", export.ErrWrongType
	}
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer closeFD(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		if errors.Is(err, syscall.ENOENT) {
			return "", export.ErrWrongType
		}
		return "", fail("readlink", errnoOf(err))
	}
	return string(buf[:n]), nil
}

// Statfs implements export.FS.
func (fs *FS) Statfs(h []byte, st *export.Statfs) error {
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	var sf unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &sf) }); err != nil {
		return fail("fstatfs", errnoOf(err))
	}
	unit := uint64(sf.Frsize)
	if unit == 0 {
		unit = uint64(sf.Bsize)
	}
	*st = export.Statfs{
		Total: sf.Blocks * unit, Free: sf.Bfree * unit, Avail: sf.Bavail * unit,
		FilesTotal: sf.Files, FilesFree: sf.Ffree, FilesAvail: sf.Ffree,
		MaxFileSize: math.MaxInt64,
		MaxName:     uint32(min(sf.Namelen, export.MaxName)),
		MaxLink:     math.MaxInt32,
		TimeDelta:   time.Nanosecond,
	}
	switch fs.kind.name {
	case "ext4":
		st.MaxLink = 65000
		st.MaxFileSize = 1<<32*uint64(sf.Bsize) - 1 // block numbers in a file have 32 bits
	case "btrfs":
		st.MaxLink = 65535
	}
	if fs.change.step >= time.Second {
		st.TimeDelta = time.Second
	}
	return nil
}
