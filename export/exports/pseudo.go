package exports

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"holdfast/export"
)

// pseudoFS is the read-only tree of directories that leads to the exports. It
// never changes, so that all gateways with the same exports show the same.
type pseudoFS struct {
	root   *pseudoNode
	byPath map[string]*pseudoNode
	byID   map[uint64]*pseudoNode
	change uint64
}

type pseudoNode struct {
	fs       *pseudoFS
	name     string
	id       uint64
	handle   []byte
	parent   *pseudoNode
	children []*pseudoNode // sorted by name; the cookie of child i is i+3
	export   *Export       // mounted here, or nil
}

func newPseudoFS(list []*Export) *pseudoFS {
	fs := &pseudoFS{byPath: map[string]*pseudoNode{}, byID: map[uint64]*pseudoNode{}}
	fs.root = fs.dir("/")
	// The order of the configuration must not show.
	list = slices.SortedFunc(slices.Values(list), func(a, b *Export) int { return strings.Compare(a.Path, b.Path) })
	sum := fnv.New64a()
	for _, e := range list {
		fs.dir(e.Path).export = e
		sum.Write([]byte(e.Path + "\x00"))
	}
	fs.change = sum.Sum64()>>1 | 1
	for _, n := range fs.byPath {
		sort.Slice(n.children, func(i, j int) bool { return n.children[i].name < n.children[j].name })
	}
	return fs
}

// dir returns the directory at p, made with those above it if need be.
func (fs *pseudoFS) dir(p string) *pseudoNode {
	if n := fs.byPath[p]; n != nil {
		return n
	}
	sum := fnv.New64a()
	sum.Write([]byte(p))
	n := &pseudoNode{fs: fs, name: path.Base(p), id: sum.Sum64()>>1 | 1}
	for fs.byID[n.id] != nil {
		n.id += 2
	}
	n.handle = binary.BigEndian.AppendUint64(nil, n.id)
	fs.byPath[p], fs.byID[n.id] = n, n
	if p == "/" {
		n.parent = n
	} else {
		n.parent = fs.dir(path.Dir(p))
		n.parent.children = append(n.parent.children, n)
	}
	return n
}

func (fs *pseudoFS) node(h []byte) *pseudoNode {
	if len(h) != 8 {
		return nil
	}
	return fs.byID[binary.BigEndian.Uint64(h)]
}

func (n *pseudoNode) attr(a *export.Attr) {
	epoch := time.Unix(0, 0)
	*a = export.Attr{
		Type: export.Directory, Mode: 0o555, Nlink: uint32(2 + len(n.children)),
		Size: 4096, FileID: n.id, Change: n.fs.change,
		Atime: epoch, Mtime: epoch, Ctime: epoch,
	}
}

func (fs *pseudoFS) find(h []byte) (*pseudoNode, error) {
	if n := fs.node(h); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("pseudo file system: %w", export.ErrStale)
}

func (fs *pseudoFS) Root() []byte { return fs.root.handle }

func (fs *pseudoFS) Getattr(h []byte, a *export.Attr) error {
	n, err := fs.find(h)
	if err == nil {
		n.attr(a)
	}
	return err
}

func (fs *pseudoFS) Access(_ *export.Creds, h []byte, want uint32) (uint32, error) {
	_, err := fs.find(h)
	return want & (export.AccessRead | export.AccessLookup | export.AccessExecute), err
}

func (fs *pseudoFS) Lookup(_ *export.Creds, dir []byte, name string, a *export.Attr) ([]byte, error) {
	n, err := fs.find(dir)
	if err != nil {
		return nil, err
	}
	for _, child := range n.children {
		if child.name == name {
			if a != nil {
				child.attr(a)
			}
			return child.handle, nil
		}
	}
	return nil, export.ErrNotExist
}

func (fs *pseudoFS) Parent(_ *export.Creds, dir []byte) ([]byte, error) {
	n, err := fs.find(dir)
	if err != nil {
		return nil, err
	}
	if n == fs.root {
		return nil, export.ErrNotExist
	}
	return n.parent.handle, nil
}

func (fs *pseudoFS) ReadDir(_ *export.Creds, dir []byte, cookie uint64, withAttr bool, fn func(*export.DirEntry) bool) (bool, error) {
	n, err := fs.find(dir)
	if err != nil {
		return false, err
	}
	const first = 3
	i := 0
	if cookie != 0 {
		if cookie < first || cookie-first >= uint64(len(n.children)) {
			return false, export.ErrBadCookie
		}
		i = int(cookie-first) + 1
	}
	for ; i < len(n.children); i++ {
		e := export.DirEntry{Name: n.children[i].name, Cookie: uint64(i + first), Handle: n.children[i].handle}
		if withAttr {
			n.children[i].attr(&e.Attr)
		}
		if !fn(&e) {
			return false, nil
		}
	}
	return true, nil
}

func (fs *pseudoFS) Readlink(*export.Creds, []byte) (string, error) { return "", export.ErrInval }

func (fs *pseudoFS) Open(*export.Creds, []byte, export.OpenMode) (export.File, error) {
	return nil, export.ErrIsDir
}

func (fs *pseudoFS) Statfs(_ []byte, st *export.Statfs) error {
	*st = export.Statfs{MaxName: export.MaxName, MaxLink: 1, TimeDelta: time.Nanosecond, FilesTotal: uint64(len(fs.byID))}
	return nil
}
