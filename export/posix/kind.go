//go:build linux

package posix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// fsKind is what is known about a file system from its type.
type fsKind struct {
	name string

	// journal: metadata reaches the disk in the order in which it changed, so
	// that one sync of anything that changed last covers all that changed
	// before.
	journal bool

	// plain: access is decided by owner, group, mode bits and POSIX access
	// control lists, and by nothing else.
	plain bool

	// uniform: all handles are of one kind and size.
	uniform bool
}

// kindOf looks at the file system that holds fd. What is not known for sure is
// taken as the slower kind.
func kindOf(fd int) (fsKind, error) {
	var sf unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &sf) }); err != nil {
		return fsKind{}, fmt.Errorf("fstatfs: %w", err)
	}
	switch sf.Type {
	case unix.EXT4_SUPER_MAGIC: // ext2 and ext3 as well
		return fsKind{"ext4", extJournal(fd), true, true}, nil
	case unix.XFS_SUPER_MAGIC:
		return fsKind{"xfs", true, true, false}, nil
	case unix.BTRFS_SUPER_MAGIC:
		return fsKind{"btrfs", false, true, true}, nil
	case unix.TMPFS_MAGIC:
		return fsKind{"tmpfs", true, true, true}, nil
	case unix.F2FS_SUPER_MAGIC:
		return fsKind{"f2fs", false, true, true}, nil
	default:
		return fsKind{fmt.Sprintf("file system %#x", uint32(sf.Type)), false, false, false}, nil
	}
}

// extJournal says whether an ext4 has a journal, from what its driver shows.
func extJournal(fd int) bool {
	var st unix.Statx_t
	if statxFD(fd, &st) != noErrno {
		return false
	}
	dev, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", st.Dev_major, st.Dev_minor))
	if err != nil {
		return false
	}
	task, err := os.ReadFile(filepath.Join("/sys/fs/ext4", filepath.Base(dev), "journal_task"))
	return err == nil && !strings.HasPrefix(string(task), "<")
}
