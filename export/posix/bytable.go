//go:build linux

package posix

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
	"holdfast/export/table"
)

// useTable makes handles of inode number and birth time, found again by the
// names that a table remembers.
func (fs *FS) useTable(st *unix.Statx_t, why string) error {
	path := ""
	if fs.opt.StateDir != "" {
		// One table for each tree, whatever way leads to it.
		sum := fnv.New64a()
		fmt.Fprintf(sum, "%d:%d:%d:%d", st.Dev_major, st.Dev_minor, st.Ino, nanos(st.Btime))
		path = filepath.Join(fs.opt.StateDir, fmt.Sprintf("handles-%016x.log", sum.Sum64()))
	}
	t, err := table.Open(path)
	if err != nil {
		return err
	}
	fs.table, fs.byName = t, false
	fs.open.init()
	fs.root = fs.tableHandle(st)
	fs.note("handles come from a table, since %s: what the host renames becomes stale until a client looks it up again, and gateways cannot share this tree", why)
	if path == "" {
		fs.note("no state directory: handles do not survive a restart")
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		fs.note("the file system keeps no birth times: a file made right after another was removed may be taken for it")
	}
	return nil
}

// tableHandle is the handle of an object with attributes st.
func (fs *FS) tableHandle(st *unix.Statx_t) []byte {
	h := make([]byte, 1, tableHandle)
	h[0] = tagTable | byte(fileType(st.Mode))
	h = binary.BigEndian.AppendUint64(h, st.Ino)
	if st.Mask&unix.STATX_BTIME == 0 {
		return binary.BigEndian.AppendUint64(h, 0)
	}
	return binary.BigEndian.AppendUint64(h, nanos(st.Btime))
}

func tableKey(h []byte) table.Key { return table.Key(h) }

// tableHandleOf is tableHandle for what was found as name in dir, which the
// table remembers before anybody gets the handle.
func (fs *FS) tableHandleOf(st *unix.Statx_t, dir []byte, name string) ([]byte, error) {
	h := fs.tableHandle(st)
	if err := fs.table.Put(tableKey(h), tableKey(dir), name); err != nil {
		return nil, err
	}
	return h, nil
}

// renamed tells the table of a renaming. The kernel leaves two names of one
// object as they are, and then the first is still there.
func (fs *FS) renamed(dfd int, fromName *byte, fromDir []byte, from string, toDir []byte, to string) error {
	if string(fromDir) == string(toDir) && from == to {
		return nil
	}
	var st unix.Statx_t
	if statx(dfd, fromName, &st) == noErrno {
		if key, ok := fs.table.Child(tableKey(toDir), to); ok && key == tableKey(fs.tableHandle(&st)) {
			return nil
		}
	}
	return fs.table.Rename(tableKey(fromDir), from, tableKey(toDir), to)
}

// openByTable opens the object of h by one of its names, and sees that it is
// the object that is meant. A file without a name is found if it is open here.
func (fs *FS) openByTable(h []byte, flags int) (int, error) {
	for _, path := range fs.table.Paths(tableKey(fs.root), tableKey(h)) {
		fd, e := fs.openPath(path)
		if e != noErrno {
			continue
		}
		var st unix.Statx_t
		if statxFD(fd, &st) != noErrno || string(fs.tableHandle(&st)) != string(h) || st.Mnt_id != fs.mount {
			closeFD(fd)
			continue
		}
		if flags&unix.O_PATH != 0 {
			return fd, nil
		}
		opened, e := fs.reopen(fd, flags)
		closeFD(fd)
		if e != noErrno {
			return -1, fail("open", e)
		}
		return opened, nil
	}
	if fd, ok := fs.open.reopen(fs, h, flags); ok {
		return fd, nil
	}
	return -1, export.ErrStale
}

// openPath opens a path below the root, in pieces that the kernel takes.
func (fs *FS) openPath(path string) (int, syscall.Errno) {
	if path == "" {
		return openBeneath(fs.rootFD, &dot[0], pathFlags)
	}
	at, mine := fs.rootFD, false
	for {
		piece, rest := path, ""
		if len(path) >= unix.PathMax {
			cut := strings.LastIndexByte(path[:unix.PathMax-1], '/')
			piece, rest = path[:cut], path[cut+1:]
		}
		name, err := syscall.BytePtrFromString(piece)
		if err != nil {
			return -1, syscall.EINVAL
		}
		fd, e := openBeneath(at, name, pathFlags)
		if mine {
			closeFD(at)
		}
		if e != noErrno || rest == "" {
			return fd, e
		}
		at, mine, path = fd, true, rest
	}
}

// openTable knows the open files by handle: one that lost its last name can
// still be reached.
type openTable struct {
	mu    sync.Mutex
	files map[string][]*File
}

func (t *openTable) init() { t.files = make(map[string][]*File) }

func (t *openTable) add(f *File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files[string(f.handle)] = append(t.files[string(f.handle)], f)
}

func (t *openTable) remove(f *File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.files[string(f.handle)]
	for i, other := range list {
		if other == f {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(t.files, string(f.handle))
	} else {
		t.files[string(f.handle)] = list
	}
}

func (t *openTable) reopen(fs *FS, h []byte, flags int) (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock() // held so that the file is not closed meanwhile
	list := t.files[string(h)]
	if len(list) == 0 {
		return -1, false
	}
	fd, e := fs.reopen(list[0].fd, flags)
	return fd, e == noErrno
}
