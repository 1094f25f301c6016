//go:build linux

package posix

import (
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

// A dirOp is a directory whose names are changed: open, locked against other
// changes where this FS is the only writer, and with its attributes before.
type dirOp struct {
	fs     *FS
	handle []byte
	fd     int
	before unix.Statx_t
	first  uint64 // change attribute before
	unlock func()
}

// beginChange opens the directory h. With another directory (not nil) both are
// locked; that one's dirOp is made by also.
func (fs *FS) beginChange(h, other []byte) (*dirOp, error) {
	if err := fs.checkDir(h); err != nil {
		return nil, err
	}
	d := &dirOp{fs: fs, handle: h, unlock: fs.lockDirs(h, other)}
	if err := d.open(); err != nil {
		d.unlock()
		return nil, err
	}
	return d, nil
}

func (d *dirOp) open() (err error) {
	if d.fd, err = d.fs.openHandle(d.handle, dirFlags); err != nil {
		return err
	}
	if e := statxFD(d.fd, &d.before); e != noErrno {
		closeFD(d.fd)
		return fail("statx", e)
	}
	d.first = d.fs.changeOf(&d.before)
	return nil
}

// also opens the other directory that beginChange locked.
func (d *dirOp) also(h []byte) (*dirOp, error) {
	if err := d.fs.checkDir(h); err != nil {
		return nil, err
	}
	o := &dirOp{fs: d.fs, handle: h}
	return o, o.open()
}

// end is called when the change is made: it tells the change attribute before
// and after, and lets other changes begin.
func (d *dirOp) end() (export.DirChange, error) {
	d.fs.changed(d.handle, d.fd, &d.before)
	var st unix.Statx_t
	e := statxFD(d.fd, &st)
	c := export.DirChange{Before: d.first, After: d.fs.changeOf(&st), Atomic: d.fs.opt.SoleWriter}
	d.release()
	return c, fail("statx", e)
}

func (d *dirOp) release() {
	if d.unlock != nil {
		d.unlock()
		d.unlock = nil
	}
}

func (d *dirOp) sync() error { return d.fs.syncDir(d.handle, d.fd) }

func (d *dirOp) close() {
	d.release()
	closeFD(d.fd)
}

// Link implements export.Mutable.
func (fs *FS) Link(cred *export.Creds, h, dir []byte, name string) (export.DirChange, error) {
	var none export.DirChange
	var cn cname
	if err := checkName(&cn, name); err != nil {
		return none, err
	}
	if err := fs.checkHandle(h); err != nil {
		return none, err
	}
	if typeOf(h) == export.Directory {
		return none, export.ErrIsDir
	}
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return none, err
	}
	defer closeFD(fd)
	d, err := fs.beginChange(dir, nil)
	if err != nil {
		return none, err
	}
	defer d.close()
	var before unix.Statx_t
	if e := statxFD(fd, &before); e != noErrno {
		return none, fail("statx", e)
	}
	var from cname
	from.setFD(fd)
	who, err := fs.own.become(cred)
	if err != nil {
		return none, accessErr(err)
	}
	e := linkat(fs.procFD, &from[0], d.fd, &cn[0], unix.AT_SYMLINK_FOLLOW)
	if err := who.end(); err != nil {
		return none, err
	}
	if e == syscall.ENOENT && before.Nlink == 0 {
		return none, export.ErrStale
	}
	if e != noErrno {
		return none, fail("link", e)
	}
	fs.changed(h, fd, &before)
	if fs.table != nil {
		if err := fs.table.Put(tableKey(h), tableKey(dir), name); err != nil {
			return none, err
		}
	}
	change, err := d.end()
	if err == nil && !fs.kind.journal {
		err = fs.syncObject(h)
	}
	if err == nil {
		err = d.sync()
	}
	return change, err
}

// Remove implements export.Mutable.
func (fs *FS) Remove(cred *export.Creds, dir []byte, name string) (export.DirChange, error) {
	var none export.DirChange
	var cn cname
	if err := checkName(&cn, name); err != nil {
		return none, err
	}
	d, err := fs.beginChange(dir, nil)
	if err != nil {
		return none, err
	}
	defer d.close()
	victim := fs.holdVictim(d.fd, &cn[0])
	defer victim.release(fs)
	who, err := fs.own.become(cred)
	if err != nil {
		return none, accessErr(err)
	}
	e := unlinkat(d.fd, &cn[0], 0)
	if e == syscall.EISDIR {
		e = unlinkat(d.fd, &cn[0], unix.AT_REMOVEDIR)
	}
	if err := who.end(); err != nil {
		return none, err
	}
	if e != noErrno {
		return none, fail("remove", e)
	}
	victim.changed(fs)
	if fs.table != nil {
		if err := fs.table.Remove(tableKey(dir), name); err != nil {
			return none, err
		}
	}
	change, err := d.end()
	if err == nil {
		err = d.sync()
	}
	return change, err
}

// Rename implements export.Mutable. A target of the other kind, a directory for
// what is none or the reverse, is ErrExist (RFC 8881 §18.26.3).
func (fs *FS) Rename(cred *export.Creds, fromDir []byte, from string, toDir []byte, to string) (export.DirChange, export.DirChange, error) {
	var none export.DirChange
	var fromName, toName cname
	if err := checkName(&fromName, from); err != nil {
		return none, none, err
	}
	if err := checkName(&toName, to); err != nil {
		return none, none, err
	}
	d, err := fs.beginChange(fromDir, toDir)
	if err != nil {
		return none, none, err
	}
	defer d.close()
	t, err := d.also(toDir)
	if err != nil {
		return none, none, err
	}
	defer t.close()
	victim := fs.holdVictim(t.fd, &toName[0])
	defer victim.release(fs)
	who, err := fs.own.become(cred)
	if err != nil {
		return none, none, accessErr(err)
	}
	e := renameat(d.fd, &fromName[0], t.fd, &toName[0])
	if err := who.end(); err != nil {
		return none, none, err
	}
	switch e {
	case noErrno:
	case syscall.EISDIR, syscall.ENOTDIR:
		return none, none, fail("rename", syscall.EEXIST)
	case syscall.EEXIST:
		return none, none, fail("rename", syscall.ENOTEMPTY) // what some file systems say
	default:
		return none, none, fail("rename", e)
	}
	victim.changed(fs)
	if fs.table != nil {
		if err := fs.renamed(d.fd, &fromName[0], fromDir, from, toDir, to); err != nil {
			return none, none, err
		}
	}
	after, err := t.end()
	if err != nil {
		return none, none, err
	}
	before, err := d.end()
	if err == nil {
		err = t.sync()
	}
	if err == nil && string(fromDir) != string(toDir) {
		err = d.sync()
	}
	return before, after, err
}

// A victim is what a removal or renaming takes a name from. It is held where
// its own change attribute must be seen to rise, or where something is kept
// of it that must go.
type victim struct {
	fd     int // -1: none
	before unix.Statx_t
	handle []byte
}

func (fs *FS) holdVictim(dfd int, name *byte) victim {
	v := victim{fd: -1}
	var st unix.Statx_t
	if e := statx(dfd, name, &st); e != noErrno {
		return v
	}
	if fileType(st.Mode) != export.Directory && (!fs.change.coarse || st.Nlink < 2) {
		return v
	}
	fd, e := openBeneath(dfd, name, pathFlags)
	if e != noErrno {
		return v
	}
	if statxFD(fd, &v.before) != noErrno {
		closeFD(fd)
		return v
	}
	if fs.table != nil {
		v.handle = fs.tableHandle(&v.before)
	} else if h, err := kernelHandleAt(fd, &emptyPath[0], &v.before); err == nil {
		v.handle = h
	} else {
		closeFD(fd)
		return v
	}
	v.fd = fd
	return v
}

func (v *victim) changed(fs *FS) {
	if v.fd < 0 {
		return
	}
	if fileType(v.before.Mode) == export.Directory {
		fs.dirs.forget(v.handle)
	} else {
		fs.changed(v.handle, v.fd, &v.before)
	}
}

func (v *victim) release(*FS) {
	if v.fd >= 0 {
		closeFD(v.fd)
	}
}
