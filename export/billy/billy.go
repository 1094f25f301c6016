// Package billy serves any go-billy file system: memory, object stores,
// others' adapters.
//
// Such a file system knows paths only. A table (package table) remembers under
// which path an object was seen, and gives it a handle that lasts through
// renames made here; a table on disk makes it last through restarts. Handles
// are made up at first sight, so that two gateways cannot share one tree.
//
//	handle:  ┌───────────────┬──────────┐
//	         │ 0x30 │ type   │ random   │
//	         │ 1 byte        │ 16 bytes │
//	         └───────────────┴──────────┘
//
// Everything belongs to one configured owner, and access is checked here by the
// mode bits. Where the file system does not implement billy.Change, modes
// (without billy.Chmod) and times that clients set are kept in memory. The change
// attribute is the greatest of mtime, the time of start, and a count of the
// changes made here: it rises, and after a restart everything looks changed.
// Hard links, devices, sockets and FIFOs are not to be had.
//
// Many such file systems are not made for concurrent use, so that calls that
// change something run one at a time. Data is on stable storage only as far as
// the file system sees to it: it is synced if its files have a Sync method.
package billy

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	gobilly "github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/memfs"

	"holdfast/export"
	"holdfast/export/table"
)

// Options of New. The zero value is the default.
type Options struct {
	// StateDir is where the handle table is kept, in a file named after Name.
	// Empty, it is in memory, and handles do not survive a restart.
	StateDir string
	Name     string

	// UID and GID own everything.
	UID, GID uint32

	// MaxFileSize in bytes; 0 is 1 GiB for memfs, which takes memory for the
	// holes of a file too, and no bound for others.
	MaxFileSize int64
}

// FS is a served go-billy file system: export.FS and export.Mutable.
type FS struct {
	opt   Options
	table *table.Table

	// mu guards the billy file system: held for reading by what only looks, for
	// writing by what changes names, attributes or data. Lock order: mu, extraMu.
	mu  sync.RWMutex
	bfs gobilly.Filesystem

	extraMu  sync.Mutex
	extra    map[table.Key]*extra
	listings map[table.Key]*listing

	start       uint64 // least change attribute
	clockMtimes bool   // the file system tells the current time as mtime
	inMemory    bool   // it is memfs, see rename.go

	open map[*File]struct{} // guarded by extraMu
}

// extra is what is known of an object that the file system does not keep.
type extra struct {
	change       uint64
	mode         *uint32
	atime, mtime time.Time // zero: what the file system says
}

const (
	tag       = 0x30
	handleLen = 17
)

// New serves bfs.
func New(bfs gobilly.Filesystem, opt Options) (*FS, error) {
	f := &FS{
		opt: opt, bfs: bfs,
		extra:    make(map[table.Key]*extra),
		listings: make(map[table.Key]*listing),
		open:     make(map[*File]struct{}),
		start:    uint64(time.Now().UnixNano()),
	}
	path := ""
	if opt.StateDir != "" {
		name := opt.Name
		if name == "" {
			name = "billy"
		}
		path = filepath.Join(opt.StateDir, "handles-"+strings.ReplaceAll(name, "/", "_")+".log")
	}
	var err error
	if f.table, err = table.Open(path); err != nil {
		return nil, err
	}
	f.inMemory = isMemfs(bfs)
	if f.opt.MaxFileSize == 0 {
		f.opt.MaxFileSize = math.MaxInt64
		if f.inMemory {
			f.opt.MaxFileSize = 1 << 30
		}
	}
	if a, err := bfs.Lstat("/"); err == nil {
		if b, err := bfs.Lstat("/"); err == nil {
			f.clockMtimes = !a.ModTime().Equal(b.ModTime())
		}
	}
	return f, nil
}

// isMemfs looks below the layers that other file systems are wrapped in.
func isMemfs(bfs gobilly.Basic) bool {
	for {
		if _, ok := bfs.(*memfs.Memory); ok {
			return true
		}
		layer, ok := bfs.(interface{ Underlying() gobilly.Basic })
		if !ok {
			return false
		}
		bfs = layer.Underlying()
	}
}

// Close closes the handle table.
func (f *FS) Close() error { return f.table.Close() }

// Kind says by what handles are made.
func (f *FS) Kind() string { return "handle table" }

// Enforced says that mode bits are checked, here and not by a kernel.
func (f *FS) Enforced() bool { return true }

// Notes are sentences for the administrator, for the startup message.
func (f *FS) Notes() []string {
	notes := []string{fmt.Sprintf("go-billy file system: everything belongs to uid %d and gid %d; no hard links and devices; gateways cannot share it", f.opt.UID, f.opt.GID)}
	if f.opt.StateDir == "" {
		notes = append(notes, "no state directory: handles do not survive a restart")
	}
	return notes
}

var rootKey = table.Key([]byte{tag | byte(export.Directory), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})

// Root implements export.FS.
func (f *FS) Root() []byte { return []byte(rootKey) }

func checkHandle(h []byte) (table.Key, export.FileType, error) {
	if len(h) != handleLen || h[0]&0xf0 != tag {
		return "", 0, export.ErrBadHandle
	}
	t := export.FileType(h[0] & 0x0f)
	if t < export.Regular || t > export.FIFO {
		return "", 0, export.ErrBadHandle
	}
	return table.Key(h), t, nil
}

func newKey(t export.FileType) table.Key {
	var b [handleLen]byte
	rand.Read(b[1:]) // never fails
	b[0] = tag | byte(t)
	return table.Key(b[:])
}

// An object is one that was found under a path.
type object struct {
	key  table.Key
	path string
	info os.FileInfo
	attr export.Attr
}

// find looks for the object of a handle. mu is held.
func (f *FS) find(h []byte) (*object, error) {
	key, t, err := checkHandle(h)
	if err != nil {
		return nil, err
	}
	for _, path := range f.table.Paths(rootKey, key) {
		path = "/" + path
		info, err := f.bfs.Lstat(path)
		if err != nil && path == "/" {
			info, err = f.bfs.Stat(path) // some have no entry for their root
		}
		if err != nil || typeOf(info.Mode()) != t {
			continue
		}
		return f.object(key, path, info), nil
	}
	return nil, export.ErrStale
}

// findDir is find for what must be a directory.
func (f *FS) findDir(h []byte) (*object, error) {
	_, t, err := checkHandle(h)
	if err != nil {
		return nil, err
	}
	switch t {
	case export.Directory:
		return f.find(h)
	case export.Symlink:
		return nil, export.ErrSymlink
	default:
		return nil, export.ErrNotDir
	}
}

// child finds a name in a directory. mu is held.
func (f *FS) child(dir *object, name string) (*object, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := join(dir.path, name)
	info, err := f.bfs.Lstat(path)
	if err != nil {
		return nil, translate("lookup", err)
	}
	return f.known(dir, name, path, info)
}

// known gives what was found as name in dir its key.
func (f *FS) known(dir *object, name, path string, info os.FileInfo) (*object, error) {
	t := typeOf(info.Mode())
	key, ok := f.table.Child(dir.key, name)
	if !ok || export.FileType(key[0]&0x0f) != t {
		// Two that see it first at the same time must agree.
		f.extraMu.Lock()
		defer f.extraMu.Unlock()
		if key, ok = f.table.Child(dir.key, name); !ok || export.FileType(key[0]&0x0f) != t {
			key = newKey(t)
			if err := f.table.Put(key, dir.key, name); err != nil {
				return nil, err
			}
		}
		return f.objectLocked(key, path, info), nil
	}
	return f.object(key, path, info), nil
}

func join(dir, name string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}

func checkName(name string) error {
	switch {
	case name == "":
		return export.ErrInval
	case name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return export.ErrBadName
	case len(name) > export.MaxName:
		return export.ErrNameTooLong
	}
	return nil
}

func typeOf(m os.FileMode) export.FileType {
	switch m.Type() {
	case 0:
		return export.Regular
	case os.ModeDir:
		return export.Directory
	case os.ModeSymlink:
		return export.Symlink
	case os.ModeNamedPipe:
		return export.FIFO
	case os.ModeSocket:
		return export.Socket
	case os.ModeDevice:
		return export.BlockDevice
	case os.ModeDevice | os.ModeCharDevice:
		return export.CharDevice
	default:
		return export.Regular
	}
}

func (f *FS) object(key table.Key, path string, info os.FileInfo) *object {
	f.extraMu.Lock()
	defer f.extraMu.Unlock()
	return f.objectLocked(key, path, info)
}

func (f *FS) objectLocked(key table.Key, path string, info os.FileInfo) *object {
	o := &object{key: key, path: path, info: info}
	f.fill(&o.attr, o)
	return o
}

// fill makes the attributes of an object. extraMu is held.
func (f *FS) fill(a *export.Attr, o *object) {
	mtime := o.info.ModTime()
	if f.clockMtimes {
		mtime = time.Unix(0, int64(f.start))
	}
	*a = export.Attr{
		Type: typeOf(o.info.Mode()), Mode: modeBits(o.info.Mode()), Nlink: 1,
		UID: f.opt.UID, GID: f.opt.GID,
		Size: uint64(max(o.info.Size(), 0)), Change: f.start,
		Mtime: mtime, Atime: mtime, Ctime: mtime,
	}
	if a.Type == export.Directory {
		a.Nlink = 2
	}
	a.Used = (a.Size + 511) &^ 511
	// Random bits of the key number the file; those of the root are all zero.
	for _, b := range []byte(o.key[1:9]) {
		a.FileID = a.FileID<<8 | uint64(b)
	}
	a.FileID = a.FileID>>1 | 1
	if x := f.extra[o.key]; x != nil {
		if x.mode != nil {
			a.Mode = *x.mode
		}
		if !x.mtime.IsZero() {
			a.Mtime = x.mtime
		}
		if !x.atime.IsZero() {
			a.Atime = x.atime
		}
		a.Change = max(a.Change, x.change)
	}
	if !f.clockMtimes {
		a.Change = max(a.Change, uint64(max(o.info.ModTime().UnixNano(), 0)))
	}
	if a.Change > f.start {
		a.Ctime = time.Unix(0, int64(a.Change))
	}
}

func modeBits(m os.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&os.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&os.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&os.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

func goMode(mode uint32, t os.FileMode) os.FileMode {
	m := os.FileMode(mode&0o777) | t
	if mode&0o4000 != 0 {
		m |= os.ModeSetuid
	}
	if mode&0o2000 != 0 {
		m |= os.ModeSetgid
	}
	if mode&0o1000 != 0 {
		m |= os.ModeSticky
	}
	return m
}

// changed notes a change of an object; data says that it was its content.
func (f *FS) changed(key table.Key, data bool) {
	f.extraMu.Lock()
	defer f.extraMu.Unlock()
	x := f.extraOf(key)
	now := time.Now()
	x.change = max(x.change+1, f.start+1, uint64(now.UnixNano()))
	if data && (f.clockMtimes || !x.mtime.IsZero()) {
		x.mtime = now
	}
}

// extraOf returns what is kept of an object. extraMu is held.
func (f *FS) extraOf(key table.Key) *extra {
	x := f.extra[key]
	if x == nil {
		x = &extra{}
		f.extra[key] = x
	}
	return x
}

// may says whether cred has the rights want (4 read, 2 write, 1 execute).
func (f *FS) may(cred *export.Creds, a *export.Attr, want uint32) bool {
	mode := a.Mode
	switch {
	case cred == nil || cred.UID == ^uint32(0) || cred.GID == ^uint32(0):
		return false
	case cred.UID == 0:
		return want&1 == 0 || a.Type == export.Directory || mode&0o111 != 0
	case cred.UID == a.UID:
		mode >>= 6
	case cred.GID == a.GID || slices.Contains(cred.Groups, a.GID):
		mode >>= 3
	}
	return mode&want == want
}

// translate makes an error of this room from one of a billy file system.
func translate(op string, err error) error {
	if err == nil {
		return nil
	}
	kind := export.ErrIO
	for _, e := range []struct{ from, to error }{
		{fs.ErrNotExist, export.ErrNotExist}, {fs.ErrExist, export.ErrExist},
		{fs.ErrPermission, export.ErrAccess}, {gobilly.ErrReadOnly, export.ErrReadOnly},
		{gobilly.ErrNotSupported, export.ErrNotSupp}, {gobilly.ErrCrossedBoundary, export.ErrAccess},
		{syscall.ENOSPC, export.ErrNoSpace}, {syscall.EDQUOT, export.ErrQuota},
		{syscall.EROFS, export.ErrReadOnly}, {syscall.ENOTEMPTY, export.ErrNotEmpty},
		{syscall.ENOTDIR, export.ErrNotDir}, {syscall.EISDIR, export.ErrIsDir},
		{syscall.EFBIG, export.ErrFBig}, {syscall.ENAMETOOLONG, export.ErrNameTooLong},
		{syscall.EINVAL, export.ErrInval}, {syscall.EXDEV, export.ErrXDev},
	} {
		if errors.Is(err, e.from) {
			kind = e.to
			break
		}
	}
	return fmt.Errorf("billy: %s: %w (%v)", op, kind, err)
}
