//go:build linux

// Package posix serves a directory tree of the host by handle.
//
// # Handles
//
// A handle is a tag and the kernel's own handle of the object
// (name_to_handle_at(2)), which does not depend on names and is the same on
// every host that has the same file system:
//
//	┌───────────────┬─────────────┬──────────────────────────┐
//	│ 0x10 │ type   │ kernel type │ kernel handle            │
//	│ 1 byte        │ 1 byte      │ ext4: 8, xfs: 8 or 12, … │
//	└───────────────┴─────────────┴──────────────────────────┘
//
// Without CAP_DAC_READ_SEARCH, or where the file system gives no handles, the
// handle is the object's inode number and birth time, and a table on disk
// remembers under which names it was seen (package table):
//
//	┌───────────────┬──────────────┬────────────┐
//	│ 0x20 │ type   │ inode number │ birth time │
//	│ 1 byte        │ 8 bytes      │ 8 bytes    │
//	└───────────────┴──────────────┴────────────┘
//
// The type is that of export.FileType. A handle that was not made by this
// package is ErrBadHandle; it is for the sealed filehandle around it (package
// exports) to see that clients cannot make up handles.
//
// # The boundary
//
// Names are resolved one component at a time and never through a symbolic
// link. The export is one mount: where another one is mounted below it, Lookup
// answers ErrNotExist and ReadDir with attributes leaves the name out. Parent
// stops at the root, and a directory that the host moved out of the export has
// no parent (ErrNotExist). Such a directory, and a file with another name
// outside, can still be used by who has its handle: the handle is the object's.
//
// # Access
//
// Run by root, each operation has the caller's uid, gid and groups and none of
// root's rights, by setfsuid(2) and its like on the thread that it runs on.
// Where the answer is plain from owner, group and mode bits and the object has
// no access control list, and the file system is one whose rules are just
// these, reading operations are allowed without that switch; whatever
// this does not allow is asked of the kernel under the caller's identity. What
// changes the file system always runs under the caller's identity. Data is
// written through files that were opened with the right to write.
//
// Run by another user, everything is done as that user, and Notes says so.
//
// # Stable storage
//
// What a method of export.Mutable did is synced when it returns, by syncs that
// calls at the same time share, unless Options.Async is set.
package posix

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
	"holdfast/export/table"
)

// Options of New. The zero value is the default.
type Options struct {
	// StateDir is where the handle table is kept if one is needed. Empty, the
	// table is in memory, and handles do not survive a restart.
	StateDir string

	// Async lets methods return before their effect is on stable storage: a
	// crash of the host may then undo what clients were told is done.
	Async bool

	// SoleWriter promises that nothing but this FS changes the tree, no
	// other gateway and no program on the host. Then DirChange is atomic.
	SoleWriter bool

	// StrictKernel asks the kernel under the caller's identity for each
	// operation, also where mode bits alone tell the answer.
	StrictKernel bool

	// Shared says that other gateways serve the same tree: New is ErrNotShareable
	// where handles would have to come from a table, which is this FS' own.
	Shared bool

	// ForceTable uses the handle table although the kernel has handles.
	ForceTable bool
}

// ErrNotShareable is what New returns with Options.Shared where handles would
// mean nothing to another gateway. The text says what is missing.
var ErrNotShareable = errors.New("several gateways cannot share this directory")

// FS is a served directory tree. It implements export.FS, export.Mutable,
// export.Xattrs and export.ACLs; its files implement export.Sparse,
// export.Allocator, export.Copier and export.Cloner.
type FS struct {
	opt  Options
	path string
	own  identity
	kind fsKind

	rootFD  int       // the directory, for reading: what open_by_handle_at needs, and sync
	procFD  int       // /proc/self/fd
	dev     [2]uint32 // of the root
	rootIno uint64
	mount   uint64 // STATX_MNT_ID of the root
	fsid    fsidRule
	root    []byte
	byName  bool // kernel handles tell the inode number, see lookupByName

	table *table.Table // nil if the kernel's handles are used
	open  openTable    // with table: the files that are open, by handle

	change  changeClock
	locks   dirLocks
	syncs   syncGroups
	barrier barrier
	dirs    dirCache
	space   spaceWatch
	notes   []string

	closeOnce sync.Once
}

var (
	_ export.FS      = (*FS)(nil)
	_ export.Mutable = (*FS)(nil)
	_ export.Xattrs  = (*FS)(nil)
	_ export.ACLs    = (*FS)(nil)
)

// New serves the directory at path. Linux 5.8 or later is needed.
func New(path string, opt Options) (*FS, error) {
	fs := &FS{opt: opt, path: path, rootFD: -1, procFD: -1}
	if err := fs.start(); err != nil {
		fs.Close()
		return nil, fmt.Errorf("export %s: %w", path, err)
	}
	return fs, nil
}

func (fs *FS) start() error {
	var err error
	if fs.own, err = ownIdentity(); err != nil {
		return err
	}
	// The kernel follows links in the path that the administrator gave; no
	// client's name is resolved this way.
	if fs.rootFD, err = unix.Open(fs.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	if fs.procFD, err = unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("/proc must be mounted: %w", err)
	}
	var st unix.Statx_t
	if e := statxFD(fs.rootFD, &st); e != noErrno {
		return fail("statx", e)
	}
	if e := faccess(fs.rootFD, unix.X_OK); e == syscall.ENOSYS || e == syscall.EINVAL {
		return errors.New("this kernel is too old: Linux 5.8 is needed")
	}
	fs.dev = [2]uint32{st.Dev_major, st.Dev_minor}
	fs.mount, fs.rootIno = st.Mnt_id, st.Ino
	if fs.kind, err = kindOf(fs.rootFD); err != nil {
		return err
	}
	if fs.kind.name == "btrfs" {
		fs.fsid = btrfsFSID
	}
	fs.dirs.init()
	fs.syncs.init()
	fs.barrier.init(fs)
	if err := fs.chooseHandles(&st); err != nil {
		return err
	}
	fs.change.init(fs)
	fs.space.init(fs)
	fs.describe()
	return nil
}

// chooseHandles decides between the kernel's handles and the table.
func (fs *FS) chooseHandles(st *unix.Statx_t) error {
	why := fs.tryKernelHandles(st)
	if why == "" && !fs.opt.ForceTable {
		return nil
	}
	if why == "" {
		why = "it was asked for"
	}
	if fs.opt.Shared {
		return fmt.Errorf("%w: its filehandles would mean nothing to the others: %s", ErrNotShareable, why)
	}
	return fs.useTable(st, why)
}

// tryKernelHandles says why the kernel's handles cannot be used, or nothing.
func (fs *FS) tryKernelHandles(st *unix.Statx_t) string {
	var kh kernelHandle
	switch e := nameToHandle(fs.rootFD, &emptyPath[0], &kh); e {
	case noErrno:
	case syscall.EPERM:
		// The kernel itself never says so.
		return "name_to_handle_at(2) is not allowed here (a container? its seccomp profile forbids it)"
	default:
		return "the file system gives no handles"
	}
	h, ok := appendHandle(nil, &kh, fileType(st.Mode))
	if !ok {
		return "the file system's handles are too long"
	}
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		if errors.Is(err, syscall.EPERM) {
			return "CAP_DAC_READ_SEARCH is missing"
		}
		return "the file system cannot open by handle"
	}
	closeFD(fd)
	fs.root = h
	ino, known := fs.inodeIn(&kh)
	fs.byName = known && ino == st.Ino
	return ""
}

func (fs *FS) describe() {
	if fs.own.uid != 0 {
		fs.note("not run by root: every client acts as uid %d, and owners cannot be set", fs.own.uid)
	}
	if has, err := hasCap(unix.CAP_SYS_RESOURCE); err == nil && has {
		fs.note("the process has CAP_SYS_RESOURCE: disk quotas do not bind clients (with systemd: CapabilityBoundingSet=~CAP_SYS_RESOURCE)")
	}
	if fs.change.coarse {
		fs.note("timestamps are coarse (%v): changes through this gateway are told apart in memory and settled on the file system within %v; changes on the host within one step are not seen", fs.change.step, settleAfter)
	}
	if fs.opt.Async {
		fs.note("async: a crash of the host may undo changes that clients were told are done")
	}
}

func (fs *FS) note(format string, args ...any) {
	fs.notes = append(fs.notes, fmt.Sprintf(format, args...))
}

// Close gives back what the FS holds. Files that are still open stay usable,
// but no method of FS may be called any more.
func (fs *FS) Close() error {
	var err error
	fs.closeOnce.Do(func() {
		fs.change.close()
		fs.dirs.close()
		fs.barrier.close()
		if fs.table != nil {
			err = fs.table.Close()
		}
		for _, fd := range []int{fs.rootFD, fs.procFD} {
			if fd >= 0 {
				closeFD(fd)
			}
		}
	})
	return err
}

// Kind says by what handles are made: "kernel handles" or "handle table".
func (fs *FS) Kind() string {
	if fs.table != nil {
		return "handle table"
	}
	return "kernel handles"
}

// Enforced says whether callers act under their own identity. If not, all act
// as the user that runs the process.
func (fs *FS) Enforced() bool { return fs.own.enforced }

// Notes are sentences for the administrator about what this tree cannot do or
// what it costs, for the startup message.
func (fs *FS) Notes() []string { return fs.notes }

// Root implements export.FS.
func (fs *FS) Root() []byte { return fs.root }
