//go:build linux

package posix

import (
	"time"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

func fileType(mode uint16) export.FileType {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return export.Directory
	case unix.S_IFLNK:
		return export.Symlink
	case unix.S_IFBLK:
		return export.BlockDevice
	case unix.S_IFCHR:
		return export.CharDevice
	case unix.S_IFSOCK:
		return export.Socket
	case unix.S_IFIFO:
		return export.FIFO
	default:
		return export.Regular
	}
}

func timeOf(t unix.StatxTimestamp) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

func nanos(t unix.StatxTimestamp) uint64 { return uint64(t.Sec*1e9 + int64(t.Nsec)) }

// fill makes attr from what statx told of the object with handle h. Where h
// is not known (nil) FSID is that of the root.
func (fs *FS) fill(attr *export.Attr, st *unix.Statx_t, h []byte) {
	if h == nil {
		h = fs.root
	}
	*attr = export.Attr{
		Type:   fileType(st.Mode),
		Mode:   uint32(st.Mode) & 0o7777,
		Nlink:  st.Nlink,
		UID:    st.Uid,
		GID:    st.Gid,
		Size:   st.Size,
		Used:   st.Blocks * 512,
		Major:  st.Rdev_major,
		Minor:  st.Rdev_minor,
		FSID:   fs.fsidOf(h),
		FileID: st.Ino,
		Atime:  timeOf(st.Atime),
		Mtime:  timeOf(st.Mtime),
		Ctime:  timeOf(st.Ctime),
		Change: fs.changeOf(st),
	}
	if attr.FileID == 0 {
		attr.FileID = ^uint64(0)
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		attr.Btime = timeOf(st.Btime)
	}
}

// Getattr implements export.FS: three system calls, and no switch of identity,
// since who has a handle may see the attributes.
func (fs *FS) Getattr(h []byte, attr *export.Attr) error {
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return err
	}
	var st unix.Statx_t
	e := statxFD(fd, &st)
	closeFD(fd)
	if e != noErrno {
		return fail("statx", e)
	}
	if fileType(st.Mode) != typeOf(h) {
		return export.ErrBadHandle
	}
	if st.Nlink == 0 && typeOf(h) == export.Directory {
		return export.ErrStale // removed, and somebody on the host is still in it
	}
	fs.fill(attr, &st, h)
	return nil
}
