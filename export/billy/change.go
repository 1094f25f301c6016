package billy

import (
	"errors"
	"os"
	"strings"
	"time"

	gobilly "github.com/go-git/go-billy/v5"

	"holdfast/export"
)

// mayChange checks that cred may change names in d; victim, if any, is what
// loses a name there.
func (f *FS) mayChange(cred *export.Creds, d, victim *object) error {
	if !f.may(cred, &d.attr, 2|1) {
		return export.ErrAccess
	}
	if victim != nil && d.attr.Mode&0o1000 != 0 && cred.UID != 0 && cred.UID != f.opt.UID {
		return export.ErrPerm // sticky: only the owner may
	}
	return nil
}

// dirChange notes a change of a directory. mu is held for writing.
func (f *FS) dirChange(d *object) export.DirChange {
	f.changed(d.key, true)
	f.extraMu.Lock()
	defer f.extraMu.Unlock()
	return export.DirChange{Before: d.attr.Change, After: f.extra[d.key].change, Atomic: f.clockMtimes}
}

// Make implements export.Mutable.
func (f *FS) Make(cred *export.Creds, dir []byte, name string, args *export.MakeArgs, open bool, attr *export.Attr) ([]byte, export.File, export.DirChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, file, c, err := f.make(cred, dir, name, args, open, attr)
	if err != nil {
		return nil, nil, export.DirChange{}, err
	}
	return h, file, c, nil
}

func (f *FS) make(cred *export.Creds, dir []byte, name string, args *export.MakeArgs, open bool, attr *export.Attr) (h []byte, file export.File, c export.DirChange, err error) {
	d, err := f.findDir(dir)
	if err != nil {
		return nil, nil, c, err
	}
	if err := checkName(name); err != nil {
		return nil, nil, c, err
	}
	if !f.may(cred, &d.attr, 1) {
		return nil, nil, c, export.ErrAccess
	}
	if _, err := f.child(d, name); err == nil {
		return nil, nil, c, export.ErrExist
	} else if !errors.Is(err, export.ErrNotExist) {
		return nil, nil, c, err
	}
	if err := f.mayChange(cred, d, nil); err != nil {
		return nil, nil, c, err
	}
	mode := uint32(0o644)
	if args.Type == export.Directory {
		mode = 0o755
	}
	if args.Set.Mode != nil {
		mode = *args.Set.Mode & 0o7777
	}
	mode &^= args.Umask & 0o777
	path := join(d.path, name)
	var opened gobilly.File
	switch args.Type {
	case export.Regular:
		opened, err = f.bfs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, os.FileMode(mode&0o777))
	case export.Directory:
		err = f.bfs.MkdirAll(path, os.FileMode(mode&0o777))
	case export.Symlink:
		if args.Target == "" {
			err = export.ErrInval
		} else {
			err = f.bfs.Symlink(args.Target, path)
		}
	default:
		err = export.ErrNotSupp
	}
	if err != nil {
		if errors.Is(err, export.ErrInval) || errors.Is(err, export.ErrNotSupp) {
			return nil, nil, c, err
		}
		return nil, nil, c, translate("make", err)
	}
	o, err := f.child(d, name)
	if err == nil {
		err = f.finishMake(cred, o, args, mode, opened)
	}
	if err == nil {
		o, err = f.child(d, name)
	}
	if err != nil {
		if opened != nil {
			opened.Close()
		}
		f.bfs.Remove(path)
		f.table.Remove(d.key, name)
		return nil, nil, c, err
	}
	if attr != nil {
		*attr = o.attr
	}
	c = f.dirChange(d)
	if opened == nil {
		return []byte(o.key), nil, c, nil
	}
	if !open {
		return []byte(o.key), nil, c, translate("close", opened.Close())
	}
	return []byte(o.key), f.newFile(o, opened, true), c, nil
}

// finishMake sets the other attributes of a new object.
func (f *FS) finishMake(cred *export.Creds, o *object, args *export.MakeArgs, mode uint32, opened gobilly.File) error {
	f.changed(o.key, true)
	set := args.Set
	set.Mode, set.Size = nil, nil
	if args.Type != export.Symlink && o.attr.Mode != mode {
		set.Mode = &mode
	}
	if args.Set.Size != nil && opened != nil && *args.Set.Size != 0 {
		if *args.Set.Size > uint64(f.opt.MaxFileSize) {
			return export.ErrFBig
		}
		if err := opened.Truncate(int64(*args.Set.Size)); err != nil {
			return translate("truncate", err)
		}
	}
	owner := export.Creds{UID: f.opt.UID, GID: f.opt.GID}
	return f.setattr(&owner, o, nil, &set)
}

// Setattr implements export.Mutable.
func (f *FS) Setattr(cred *export.Creds, h []byte, file export.File, set *export.SetAttr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.find(h)
	if err != nil {
		return err
	}
	return f.setattr(cred, o, file, set)
}

func (f *FS) setattr(cred *export.Creds, o *object, file export.File, set *export.SetAttr) error {
	if err := f.maySet(cred, o, file, set); err != nil {
		return err
	}
	change, _ := f.bfs.(gobilly.Change)
	if set.Mode != nil {
		mode := *set.Mode & 0o7777
		if cred.UID != 0 && cred.GID != f.opt.GID {
			mode &^= 0o2000
		}
		if err := f.chmod(o, mode); err != nil {
			return err
		}
	}
	if set.Size != nil {
		if err := f.truncate(o, file, int64(*set.Size)); err != nil {
			return err
		}
	}
	if set.AtimeHow != export.TimeKeep || set.MtimeHow != export.TimeKeep {
		atime := pick(set.AtimeHow, set.Atime, o.attr.Atime)
		mtime := pick(set.MtimeHow, set.Mtime, o.attr.Mtime)
		if change != nil {
			if err := change.Chtimes(o.path, atime, mtime); err != nil {
				return translate("chtimes", err)
			}
		}
		f.extraMu.Lock()
		x := f.extraOf(o.key)
		if change == nil || !x.mtime.IsZero() {
			x.atime, x.mtime = atime, mtime
		}
		f.extraMu.Unlock()
	}
	f.changed(o.key, false)
	return nil
}

// maySet checks all of set before any of it is done.
func (f *FS) maySet(cred *export.Creds, o *object, file export.File, set *export.SetAttr) error {
	if cred == nil {
		return export.ErrAccess
	}
	owns := cred.UID == 0 || cred.UID == f.opt.UID
	if set.UID != nil && *set.UID != f.opt.UID || set.GID != nil && *set.GID != f.opt.GID {
		return export.ErrPerm // everything belongs to the one owner
	}
	if !owns && (set.UID != nil || set.GID != nil || set.Mode != nil || set.AtimeHow == export.TimeGiven || set.MtimeHow == export.TimeGiven) {
		return export.ErrPerm
	}
	if !owns && (set.AtimeHow == export.TimeNow || set.MtimeHow == export.TimeNow) && !f.may(cred, &o.attr, 2) {
		return export.ErrAccess
	}
	if set.Mode != nil && o.attr.Type == export.Symlink {
		return export.ErrNotSupp
	}
	if set.Size == nil {
		return nil
	}
	switch {
	case o.attr.Type == export.Directory:
		return export.ErrIsDir
	case o.attr.Type != export.Regular:
		return export.ErrWrongType
	case *set.Size > uint64(f.opt.MaxFileSize):
		return export.ErrFBig
	}
	if open, ok := file.(*File); ok && open.write {
		return nil
	}
	if !f.may(cred, &o.attr, 2) {
		return export.ErrAccess
	}
	return nil
}

func pick(how export.TimeSet, given, old time.Time) time.Time {
	switch how {
	case export.TimeNow:
		return time.Now()
	case export.TimeGiven:
		return given
	default:
		return old
	}
}

func (f *FS) chmod(o *object, mode uint32) error {
	if c, ok := f.bfs.(gobilly.Chmod); ok {
		err := c.Chmod(o.path, goMode(mode, o.info.Mode().Type()))
		if err != nil && !errors.Is(err, gobilly.ErrNotSupported) {
			return translate("chmod", err)
		}
		if err == nil {
			if info, err := f.bfs.Lstat(o.path); err == nil && modeBits(info.Mode()) == mode {
				f.extraMu.Lock()
				if x := f.extra[o.key]; x != nil {
					x.mode = nil
				}
				f.extraMu.Unlock()
				return nil
			}
		}
	}
	f.extraMu.Lock()
	defer f.extraMu.Unlock()
	f.extraOf(o.key).mode = &mode
	return nil
}

func (f *FS) truncate(o *object, file export.File, size int64) error {
	if open, ok := file.(*File); ok && open.write {
		if err := open.f.Truncate(size); err != nil {
			return translate("truncate", err)
		}
	} else {
		opened, err := f.bfs.OpenFile(o.path, os.O_RDWR, 0)
		if err != nil {
			return translate("truncate", err)
		}
		err = opened.Truncate(size)
		if closeErr := opened.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return translate("truncate", err)
		}
	}
	f.changed(o.key, true)
	return nil
}

// Link implements export.Mutable: billy has no hard links.
func (f *FS) Link(*export.Creds, []byte, []byte, string) (export.DirChange, error) {
	return export.DirChange{}, export.ErrNotSupp
}

// Remove implements export.Mutable.
func (f *FS) Remove(cred *export.Creds, dir []byte, name string) (export.DirChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var none export.DirChange
	d, err := f.findDir(dir)
	if err != nil {
		return none, err
	}
	if err := checkName(name); err != nil {
		return none, err
	}
	if !f.may(cred, &d.attr, 1) {
		return none, export.ErrAccess
	}
	o, err := f.child(d, name)
	if err != nil {
		return none, err
	}
	if err := f.mayChange(cred, d, o); err != nil {
		return none, err
	}
	if err := f.removable(o); err != nil {
		return none, err
	}
	if err := f.bfs.Remove(o.path); err != nil {
		return none, translate("remove", err)
	}
	if err := f.gone(d, name, o); err != nil {
		return none, err
	}
	return f.dirChange(d), nil
}

// removable says whether o is no directory with something in it.
func (f *FS) removable(o *object) error {
	if o.attr.Type != export.Directory {
		return nil
	}
	infos, err := f.bfs.ReadDir(o.path)
	if err != nil {
		return translate("readdir", err)
	}
	if len(infos) > 0 {
		return export.ErrNotEmpty
	}
	return nil
}

// gone forgets an object that lost its name.
func (f *FS) gone(d *object, name string, o *object) error {
	f.extraMu.Lock()
	delete(f.extra, o.key)
	delete(f.listings, o.key)
	f.extraMu.Unlock()
	return f.table.Remove(d.key, name)
}

// Rename implements export.Mutable.
func (f *FS) Rename(cred *export.Creds, fromDir []byte, from string, toDir []byte, to string) (export.DirChange, export.DirChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var none export.DirChange
	src, err := f.findDir(fromDir)
	if err != nil {
		return none, none, err
	}
	dst, err := f.findDir(toDir)
	if err != nil {
		return none, none, err
	}
	if err := errors.Join(checkName(from), checkName(to)); err != nil {
		return none, none, err
	}
	if !f.may(cred, &src.attr, 1) || !f.may(cred, &dst.attr, 1) {
		return none, none, export.ErrAccess
	}
	o, err := f.child(src, from)
	if err != nil {
		return none, none, err
	}
	old, err := f.child(dst, to)
	if err != nil && !errors.Is(err, export.ErrNotExist) {
		return none, none, err
	}
	same := export.DirChange{Before: src.attr.Change, After: src.attr.Change}
	if old != nil && old.key == o.key {
		return same, export.DirChange{Before: dst.attr.Change, After: dst.attr.Change}, nil
	}
	if err := f.mayRename(cred, src, dst, o, old); err != nil {
		return none, none, err
	}
	if old != nil {
		if old.attr.Type == export.Directory {
			if err := f.bfs.Remove(old.path); err != nil {
				return none, none, translate("rename", err)
			}
		}
		if err := f.gone(dst, to, old); err != nil {
			return none, none, err
		}
	}
	if err := f.move(o, join(dst.path, to)); err != nil {
		return none, none, translate("rename", err)
	}
	if err := f.table.Rename(src.key, from, dst.key, to); err != nil {
		return none, none, err
	}
	if err := f.reopenMoved(); err != nil {
		return none, none, err
	}
	f.changed(o.key, false)
	before := f.dirChange(src)
	if src.key == dst.key {
		return before, before, nil
	}
	return before, f.dirChange(dst), nil
}

func (f *FS) mayRename(cred *export.Creds, src, dst, o, old *object) error {
	if err := f.mayChange(cred, src, o); err != nil {
		return err
	}
	if err := f.mayChange(cred, dst, old); err != nil {
		return err
	}
	if o.attr.Type == export.Directory && strings.HasPrefix(join(dst.path, ""), o.path+"/") {
		return export.ErrInval // into itself
	}
	if old == nil {
		return nil
	}
	if (o.attr.Type == export.Directory) != (old.attr.Type == export.Directory) {
		return export.ErrExist
	}
	return f.removable(old)
}
