package nfsops

import (
	"errors"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// maxTarget bounds the target of a symbolic link in bytes (PATH_MAX).
const maxTarget = 4095

// opCreate is CREATE (RFC 8881 §18.4): everything but regular files.
func opCreate(c *compound) nfs4.Status {
	args := export.MakeArgs{}
	status := nfs4.OK
	switch t := nfs4.FileType(c.r.Uint32()); t {
	case nfs4.TypeLnk:
		args.Type = export.Symlink
		target := c.r.Opaque(1 << 16)
		switch {
		case len(target) > maxTarget:
			status = nfs4.ErrNameTooLong
		case len(target) == 0 || hasNUL(target):
			status = nfs4.ErrInval
		}
		args.Target = string(target)
	case nfs4.TypeBlk, nfs4.TypeChr:
		args.Type = export.BlockDevice
		if t == nfs4.TypeChr {
			args.Type = export.CharDevice
		}
		args.Major, args.Minor = c.r.Uint32(), c.r.Uint32()
	case nfs4.TypeSock:
		args.Type = export.Socket
	case nfs4.TypeFIFO:
		args.Type = export.FIFO
	case nfs4.TypeDir:
		args.Type = export.Directory
	default:
		status = nfs4.ErrBadType
	}
	var name string
	if s := c.decodeName(&name); status == nfs4.OK {
		status = s
	}
	set, s := c.decodeSettable(&c.r, true)
	if status == nfs4.OK {
		status = s
	}
	if status == nfs4.OK && set.set.Size != nil {
		status = nfs4.ErrInval
	}
	fs, status, ok := c.admitChange(status, false)
	if !ok {
		return status
	}
	args.Set, args.Umask = set.set, set.umask
	outcome, err := c.beginChange([]statesync.Name{{Dir: c.cur.key(), Name: name}}, c.absent(&c.cur, name))
	if err != nil {
		return c.failDir(err)
	}
	var o object
	var d export.DirChange
	if outcome == statesync.OutcomeDone {
		err = c.earlier(&o)
		c.dirChange(&d)
		d.Atomic = false
	} else {
		var h []byte
		h, _, d, err = fs.Make(c.creds(), c.cur.h, name, &args, false, &c.attr)
		if err == nil {
			o.put(c, c.cur.exp, h)
		}
	}
	var applied nfs4.Bitmap
	if err == nil {
		if applied, err = c.applyMade(&o, &set, outcome); err != nil {
			c.unmake(fs, name, outcome)
		}
	}
	return c.finish(err, func() {
		c.cur.copyFrom(&o)
		c.forgetStateid()
		changeInfo(c.w, d)
		applied.Encode(c.w)
	})
}

func hasNUL(b []byte) bool {
	for _, x := range b {
		if x == 0 {
			return true
		}
	}
	return false
}

// failDir is fail for operations whose filehandle must be a directory.
func (c *compound) failDir(err error) nfs4.Status {
	if errors.Is(err, export.ErrSymlink) || errors.Is(err, export.ErrWrongType) {
		return nfs4.ErrNotDir
	}
	return c.fail(err)
}

// victim is the evidence of operations that remove a name: what it names.
func (c *compound) victim(w *xdr.Writer, o *object, name string) error {
	h, err := o.fs().Lookup(c.credsFor(o), o.h, name, &c.attr)
	if err != nil {
		return err
	}
	w.Opaque(c.srv.exports.Seal(nil, o.exp, h))
	return nil
}

// opRemove is REMOVE (RFC 8881 §18.25).
func opRemove(c *compound) nfs4.Status {
	var name string
	fs, status, ok := c.admitChange(c.decodeName(&name), false)
	if !ok {
		return status
	}
	var gone []byte // the filehandle that lost a name
	outcome, err := c.beginChange([]statesync.Name{{Dir: c.cur.key(), Name: name}}, func() ([]byte, error) {
		var w xdr.Writer
		err := c.victim(&w, &c.cur, name)
		if err == nil && c.attr.Type == export.Regular && c.attr.Nlink == 1 {
			ev := xdr.NewReader(w.Bytes())
			gone = ev.Opaque(nfs4.FHSize)
		}
		return w.Bytes(), err
	})
	if err != nil {
		return c.failDir(err)
	}
	var d export.DirChange
	if outcome == statesync.OutcomeDone {
		c.dirChange(&d)
		d.Atomic = false
	} else {
		d, err = fs.Remove(c.creds(), c.cur.h, name)
	}
	if err == nil && gone != nil {
		c.srv.files.drop(gone)
	}
	return c.finish(err, func() { changeInfo(c.w, d) })
}

// opRename is RENAME (RFC 8881 §18.26): from the saved filehandle to the
// current one.
func opRename(c *compound) nfs4.Status {
	var from, to string
	status := c.decodeName(&from)
	if s := c.decodeName(&to); status == nfs4.OK {
		status = s
	}
	fs, status, ok := c.admitChange(status, true)
	if !ok {
		return status
	}
	names := []statesync.Name{{Dir: c.saved.key(), Name: from}, {Dir: c.cur.key(), Name: to}}
	outcome, err := c.beginChange(names, func() ([]byte, error) {
		var w xdr.Writer
		if err := c.victim(&w, &c.saved, from); err != nil {
			return nil, err
		}
		err := c.victim(&w, &c.cur, to)
		if errors.Is(err, export.ErrNotExist) {
			w.Opaque(nil)
			err = nil
		}
		return w.Bytes(), err
	})
	if err != nil {
		return c.failDir(err)
	}
	var source, target export.DirChange
	if outcome == statesync.OutcomeDone {
		c.dirChange(&target)
		target.Atomic = false
		var attr export.Attr
		if c.saved.fs().Getattr(c.saved.h, &attr) == nil {
			source = export.DirChange{Before: attr.Change, After: attr.Change}
		}
	} else {
		source, target, err = fs.Rename(c.creds(), c.saved.h, from, c.cur.h, to)
	}
	return c.finish(err, func() {
		changeInfo(c.w, source)
		changeInfo(c.w, target)
	})
}

// admitChange is admit for operations on directory entries. decoded is the
// status of their arguments; saved says that the saved filehandle is needed as
// well, in the same export. If ok is false the operation must return status at once.
func (c *compound) admitChange(decoded nfs4.Status, saved bool) (fs export.Mutable, status nfs4.Status, ok bool) {
	if !c.admit() {
		return nil, c.status, false
	}
	status = decoded
	if status == nfs4.OK {
		status = c.current()
	}
	if status == nfs4.OK && saved {
		if status = c.bothHandles(); status == nfs4.OK && c.saved.exp != c.cur.exp {
			status = nfs4.ErrXDev
		}
	}
	if status == nfs4.OK {
		fs, status = c.cur.mutable()
	}
	return fs, status, status == nfs4.OK
}

// bothHandles checks that there is a current and a saved filehandle.
func (c *compound) bothHandles() nfs4.Status {
	if c.cur.exp == nil || c.saved.exp == nil {
		return nfs4.ErrNoFileHandle
	}
	return nfs4.OK
}

// opLink is LINK (RFC 8881 §18.9): a name for the saved filehandle in the
// current one.
func opLink(c *compound) nfs4.Status {
	var name string
	fs, status, ok := c.admitChange(c.decodeName(&name), true)
	if !ok {
		return status
	}
	absent := c.absent(&c.cur, name)
	outcome, err := c.beginChange([]statesync.Name{{Dir: c.cur.key(), Name: name}}, func() ([]byte, error) {
		if err := c.saved.fs().Getattr(c.saved.h, &c.attr); err != nil {
			return nil, err
		}
		if c.attr.Type == export.Directory {
			return nil, export.ErrIsDir
		}
		if _, err := absent(); err != nil {
			return nil, err
		}
		var w xdr.Writer
		w.Opaque(c.saved.wire())
		return w.Bytes(), nil
	})
	if err != nil {
		return c.failDir(err)
	}
	var d export.DirChange
	if outcome == statesync.OutcomeDone {
		c.dirChange(&d)
		d.Atomic = false
	} else {
		d, err = fs.Link(c.creds(), c.saved.h, c.cur.h, name)
	}
	return c.finish(err, func() { changeInfo(c.w, d) })
}
