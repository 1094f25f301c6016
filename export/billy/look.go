package billy

import (
	"hash/fnv"
	"math"
	"sort"
	"time"

	"holdfast/export"
)

// Getattr implements export.FS.
func (f *FS) Getattr(h []byte, attr *export.Attr) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	o, err := f.find(h)
	if err != nil {
		return err
	}
	*attr = o.attr
	return nil
}

// Access implements export.FS.
func (f *FS) Access(cred *export.Creds, h []byte, want uint32) (uint32, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	o, err := f.find(h)
	if err != nil {
		return 0, err
	}
	grants := [3]uint32{export.AccessRead, export.AccessModify | export.AccessExtend, export.AccessExecute}
	if o.attr.Type == export.Directory {
		grants = [3]uint32{export.AccessRead, export.AccessModify | export.AccessExtend | export.AccessDelete, export.AccessLookup}
	}
	var got uint32
	for i, right := range [3]uint32{4, 2, 1} {
		if f.may(cred, &o.attr, right) {
			got |= grants[i]
		}
	}
	return got & want, nil
}

// Lookup implements export.FS.
func (f *FS) Lookup(cred *export.Creds, dir []byte, name string, attr *export.Attr) ([]byte, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	d, err := f.findDir(dir)
	if err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if !f.may(cred, &d.attr, 1) {
		return nil, export.ErrAccess
	}
	o, err := f.child(d, name)
	if err != nil {
		return nil, err
	}
	if attr != nil {
		*attr = o.attr
	}
	return []byte(o.key), nil
}

// Parent implements export.FS.
func (f *FS) Parent(cred *export.Creds, dir []byte) ([]byte, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	d, err := f.findDir(dir)
	if err != nil {
		return nil, err
	}
	if d.key == rootKey {
		return nil, export.ErrNotExist
	}
	if !f.may(cred, &d.attr, 1) {
		return nil, export.ErrAccess
	}
	parent, ok := f.table.ParentOf(d.key)
	if !ok {
		return nil, export.ErrStale
	}
	return []byte(parent), nil
}

// Readlink implements export.FS.
func (f *FS) Readlink(_ *export.Creds, h []byte) (string, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	o, err := f.find(h)
	if err != nil {
		return "", err
	}
	if o.attr.Type != export.Symlink {
		return "", export.ErrWrongType
	}
	target, err := f.bfs.Readlink(o.path)
	return target, translate("readlink", err)
}

// Statfs implements export.FS. Billy file systems do not tell their space: it is
// said to be plenty.
func (f *FS) Statfs(h []byte, st *export.Statfs) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if _, err := f.find(h); err != nil {
		return err
	}
	const plenty, files = 1 << 40, 1 << 30
	*st = export.Statfs{
		Total: plenty, Free: plenty, Avail: plenty,
		FilesTotal: files, FilesFree: files, FilesAvail: files,
		MaxFileSize: uint64(f.opt.MaxFileSize), MaxName: export.MaxName, MaxLink: 1,
		TimeDelta: time.Nanosecond,
	}
	return nil
}

// A listing is the names of a directory in the order of their cookies. It is
// kept for those who read on in it.
type listing struct {
	names   []listed
	expires time.Time
}

type listed struct {
	cookie uint64
	name   string
}

const (
	listingsKept = 32
	listingTime  = 30 * time.Second
)

// cookieOf is the place of a name in its directory: a hash, which stays the
// same when other names come and go.
func cookieOf(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()&(math.MaxInt64>>1) + 3
}

// names returns the listing of a directory. mu is held.
func (f *FS) names(d *object, cookie uint64) (*listing, error) {
	now := time.Now()
	f.extraMu.Lock()
	kept := f.listings[d.key]
	f.extraMu.Unlock()
	if cookie != 0 && kept != nil && now.Before(kept.expires) {
		return kept, nil
	}
	infos, err := f.bfs.ReadDir(d.path)
	if err != nil {
		return nil, translate("readdir", err)
	}
	l := &listing{expires: now.Add(listingTime)}
	for _, info := range infos {
		if checkName(info.Name()) == nil {
			l.names = append(l.names, listed{cookieOf(info.Name()), info.Name()})
		}
	}
	sort.Slice(l.names, func(i, j int) bool {
		a, b := l.names[i], l.names[j]
		return a.cookie < b.cookie || a.cookie == b.cookie && a.name < b.name
	})
	f.extraMu.Lock()
	defer f.extraMu.Unlock()
	for key, old := range f.listings {
		if len(f.listings) >= listingsKept || now.After(old.expires) {
			delete(f.listings, key)
		}
	}
	f.listings[d.key] = l
	return l, nil
}

// ReadDir implements export.FS. Names that came after a listing began may be
// missing in its later pages.
func (f *FS) ReadDir(cred *export.Creds, dir []byte, cookie uint64, withAttr bool, fn func(*export.DirEntry) bool) (bool, error) {
	if cookie == 1 || cookie == 2 || cookie > math.MaxInt64 {
		return false, export.ErrBadCookie
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	d, err := f.findDir(dir)
	if err != nil {
		return false, err
	}
	if !f.may(cred, &d.attr, 4) {
		return false, export.ErrAccess
	}
	l, err := f.names(d, cookie)
	if err != nil {
		return false, err
	}
	search := withAttr && f.may(cred, &d.attr, 1)
	at := sort.Search(len(l.names), func(i int) bool { return l.names[i].cookie > cookie })
	if cookie == 0 {
		at = 0
	}
	for _, n := range l.names[at:] {
		e := export.DirEntry{Name: n.name, Cookie: n.cookie}
		if search {
			o, err := f.child(d, n.name)
			if err != nil {
				continue // gone
			}
			e.Handle, e.Attr = []byte(o.key), o.attr
		} else if _, err := f.bfs.Lstat(join(d.path, n.name)); err != nil {
			continue
		}
		if !fn(&e) {
			return false, nil
		}
	}
	return true, nil
}
