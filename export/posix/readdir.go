//go:build linux

package posix

import (
	"bytes"
	"encoding/binary"
	"math"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

const (
	direntBuffer = 32 << 10
	direntHead   = 19 // of struct linux_dirent64, before the name

	// A directory read in pages is kept open between two pages.
	maxCachedDirs = 64
	dirCacheTime  = 10 * time.Second
)

var direntBuffers = sync.Pool{New: func() any { return new([direntBuffer]byte) }}

// The cookie of an entry is the file system's own position after it, which
// outlives restarts, moved up by three, since 0, 1 and 2 are no cookies. The
// end of a directory, for which file systems use the largest position, stays
// what it is, so that no cookie is negative to clients.
func cookieOf(off int64) uint64 {
	if off > math.MaxInt64-4 {
		return math.MaxInt64
	}
	return uint64(off) + 3
}

func offsetOf(cookie uint64) (int64, error) {
	switch {
	case cookie == 0:
		return 0, nil
	case cookie < 3 || cookie > math.MaxInt64:
		return 0, export.ErrBadCookie
	case cookie == math.MaxInt64:
		return math.MaxInt64, nil
	default:
		return int64(cookie - 3), nil
	}
}

// ReadDir implements export.FS. Who may read dir but not search it gets names
// without handles and attributes.
func (fs *FS) ReadDir(cred *export.Creds, dir []byte, cookie uint64, withAttr bool, fn func(*export.DirEntry) bool) (bool, error) {
	if err := fs.checkDir(dir); err != nil {
		return false, err
	}
	off, err := offsetOf(cookie)
	if err != nil {
		return false, err
	}
	fd, err := fs.dirs.take(dir, cookie)
	if err != nil {
		if fd, err = fs.openHandle(dir, dirFlags); err != nil {
			return false, err
		}
	}
	keep := false
	at := cookie
	defer func() {
		if !keep || !fs.dirs.put(dir, at, fd) {
			closeFD(fd)
		}
	}()
	search, err := fs.mayList(cred, fd, withAttr)
	if err != nil {
		return false, err
	}
	if _, err := unix.Seek(fd, off, unix.SEEK_SET); err != nil {
		return false, export.ErrBadCookie
	}
	buf := direntBuffers.Get().(*[direntBuffer]byte)
	defer direntBuffers.Put(buf)
	var arena []byte // the handles of one buffer of entries
	var entry export.DirEntry
	for {
		n, e := getdents(fd, buf[:])
		switch {
		case e == syscall.ENOENT:
			return false, export.ErrStale // removed
		case e == syscall.EINVAL && cookie != 0 && at == cookie:
			return false, export.ErrBadCookie
		case e != noErrno:
			return false, fail("getdents", e)
		case n == 0:
			return true, nil
		}
		arena = nil
		text := string(buf[:n]) // the names of entries are parts of it
		for i := 0; i < n; {
			size := int(binary.NativeEndian.Uint16(buf[i+16:]))
			if size < direntHead+2 || i+size > n {
				return false, fail("getdents", syscall.EIO)
			}
			pos := i
			i += size
			name := buf[pos+direntHead : pos+size]
			end := bytes.IndexByte(name, 0)
			if end < 1 {
				return false, fail("getdents", syscall.EIO)
			}
			entry = export.DirEntry{
				Name:   text[pos+direntHead : pos+direntHead+end],
				Cookie: cookieOf(int64(binary.NativeEndian.Uint64(buf[pos+8:]))),
			}
			if entry.Name == "." || entry.Name == ".." {
				at = entry.Cookie
				continue
			}
			if search {
				var ok bool
				if arena, ok, err = fs.describeEntry(fd, dir, &name[0], &entry, arena, n-pos); err != nil {
					return false, err
				} else if !ok {
					at = entry.Cookie
					continue
				}
			}
			if !fn(&entry) {
				keep = true
				return false, nil
			}
			at = entry.Cookie
		}
	}
}

// mayList checks that cred may read the directory fd, and says whether its
// entries can be looked at: if that is wanted, and cred may search it.
func (fs *FS) mayList(cred *export.Creds, fd int, withAttr bool) (search bool, err error) {
	want := uint32(unix.R_OK)
	if withAttr {
		want |= unix.X_OK
	}
	if cred != nil && cred.UID != 0 && fs.own.enforced && fs.kind.plain {
		var st unix.Statx_t
		if e := statxPart(fd, statxOwner, &st); e != noErrno {
			return false, fail("statx", e)
		}
		if fs.judge(cred, &st, fd, want) == allowed {
			return withAttr, nil
		}
	}
	who, err := fs.own.become(cred)
	if err != nil {
		return false, accessErr(err)
	}
	e := faccess(fd, want)
	all := e == noErrno
	if !all && withAttr {
		e = faccess(fd, unix.R_OK)
	}
	if err := who.end(); err != nil {
		return false, err
	}
	return all && withAttr, fail("readdir", e)
}

// describeEntry fills an entry. ok is false if the name is gone meanwhile, or
// a mount point. Handles are put in arena, which is made for left more bytes of
// entries if it is nil.
func (fs *FS) describeEntry(fd int, dir []byte, name *byte, entry *export.DirEntry, arena []byte, left int) (_ []byte, ok bool, err error) {
	var st unix.Statx_t
	switch e := statx(fd, name, &st); {
	case e == syscall.ENOENT || e == syscall.ESTALE:
		return arena, false, nil
	case e != noErrno:
		return arena, false, fail("statx", e)
	}
	if st.Mnt_id != fs.mount {
		return arena, false, nil
	}
	if fs.table != nil {
		h, err := fs.tableHandleOf(&st, dir, entry.Name)
		if err != nil {
			return arena, false, err
		}
		entry.Handle = h
		fs.fill(&entry.Attr, &st, h)
		return arena, true, nil
	}
	var kh kernelHandle
	switch e := nameToHandle(fd, name, &kh); {
	case e == syscall.ENOENT || e == syscall.ESTALE:
		return arena, false, nil
	case e != noErrno:
		return arena, false, fail("name_to_handle_at", e)
	}
	if ino, _ := fs.inodeIn(&kh); !fs.byName || ino != st.Ino {
		// The two calls may have seen two objects, one renamed over the other.
		ok, err := fs.describeOpened(fd, dir, name, entry)
		return arena, ok, err
	}
	if arena == nil {
		// An entry of the least size, 24 bytes, has a handle of this size.
		arena = make([]byte, 0, (left/24+1)*(kernelHead+int(kh.bytes)))
	}
	from := len(arena)
	arena, ok = appendHandle(arena, &kh, fileType(st.Mode))
	if !ok {
		return arena, false, fail("name_to_handle_at", syscall.EOVERFLOW)
	}
	entry.Handle = arena[from:len(arena):len(arena)]
	fs.fill(&entry.Attr, &st, entry.Handle)
	return arena, true, nil
}

// describeOpened fills an entry from one object that it holds meanwhile.
func (fs *FS) describeOpened(dfd int, dir []byte, name *byte, entry *export.DirEntry) (bool, error) {
	fd, e := openBeneath(dfd, name, pathFlags)
	switch e {
	case noErrno:
	case syscall.ENOENT, syscall.EXDEV, syscall.ESTALE:
		return false, nil
	default:
		return false, fail("open", e)
	}
	defer closeFD(fd)
	h, err := fs.describeObject(fd, dir, entry.Name, &entry.Attr)
	entry.Handle = h
	return err == nil, err
}

// inodeIn reads the inode number out of a kernel handle of those file systems
// whose format is known.
func (fs *FS) inodeIn(kh *kernelHandle) (uint64, bool) {
	const (
		ino32 = 1    // FILEID_INO32_GEN
		xfs64 = 0x81 // XFS_FILEID_INO64_GEN
		btrfs = 0x4d // FILEID_BTRFS_WITHOUT_PARENT
	)
	u32 := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(kh.data[i:])) }
	switch {
	case (fs.kind.name == "ext4" || fs.kind.name == "xfs") && kh.kind == ino32 && kh.bytes == 8:
		return u32(0), true
	case fs.kind.name == "xfs" && kh.kind == xfs64 && kh.bytes >= 12,
		fs.kind.name == "btrfs" && kh.kind == btrfs && kh.bytes >= 20:
		return u32(0) | u32(4)<<32, true
	case fs.kind.name == "tmpfs" && kh.kind == ino32 && kh.bytes == 12:
		return u32(4) | u32(8)<<32, true
	}
	return 0, false
}

// dirCache keeps directories open between two pages of a listing, by the place
// where the next one begins, so that a page costs no new walk in file systems
// whose positions are costly to find. An entry is used by one call at a time.
type dirCache struct {
	mu     sync.Mutex
	open   map[dirPlace]cachedDir
	closed bool
}

type dirPlace struct {
	dir    string
	cookie uint64
}

type cachedDir struct {
	fd    int
	timer *time.Timer
}

func (c *dirCache) init() { c.open = make(map[dirPlace]cachedDir) }

func (c *dirCache) take(dir []byte, cookie uint64) (int, error) {
	if cookie == 0 {
		return -1, export.ErrNotExist
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.open[dirPlace{string(dir), cookie}]
	if !ok {
		return -1, export.ErrNotExist
	}
	delete(c.open, dirPlace{string(dir), cookie})
	e.timer.Stop()
	return e.fd, nil
}

// put keeps fd; false leaves it to the caller.
func (c *dirCache) put(dir []byte, cookie uint64, fd int) bool {
	at := dirPlace{string(dir), cookie}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, dup := c.open[at]; dup || c.closed || cookie == 0 {
		return false
	}
	for old := range c.open {
		if len(c.open) < maxCachedDirs {
			break
		}
		c.drop(old)
	}
	e := cachedDir{fd: fd}
	e.timer = time.AfterFunc(dirCacheTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if now, ok := c.open[at]; ok && now.timer == e.timer {
			c.drop(at)
		}
	})
	c.open[at] = e
	return true
}

// drop closes what is kept at a place. The mutex is held.
func (c *dirCache) drop(at dirPlace) {
	e := c.open[at]
	delete(c.open, at)
	e.timer.Stop()
	closeFD(e.fd)
}

// forget closes what is kept of a directory, so that it can vanish.
func (c *dirCache) forget(dir []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := range c.open {
		if at.dir == string(dir) {
			c.drop(at)
		}
	}
}

func (c *dirCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for at := range c.open {
		c.drop(at)
	}
}
