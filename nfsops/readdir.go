package nfsops

import (
	"errors"

	"holdfast/export"
	"holdfast/export/exports"
	"holdfast/internal/nfs4"
)

// The cookieverf of every directory is zero: cookies stay valid as long as the
// file system keeps them, on every gateway and after a restart, and it tells
// itself when it does not (NFS4ERR_BAD_COOKIE).
var cookieVerifier nfs4.Verifier

// A listing is a READDIR that is being answered.
type listing struct {
	c     *compound
	mask  nfs4.Bitmap
	end   int // where the reply must end
	names int // bytes of names and cookies that may follow (dircount)
	count int
	full  bool
	err   error // ends the READDIR
	bare  error // why entries have no attributes
	obj   object
	attr  export.Attr
}

// Bytes of READDIR4resok.
const (
	readDirTail = 8               // no further entry, eof
	readDirMin  = 8 + readDirTail // with the verifier
)

// opReadDir is READDIR (RFC 8881 §18.23).
func opReadDir(c *compound) nfs4.Status {
	cookie := c.r.Uint64()
	verifier := nfs4.DecodeVerifier(&c.r)
	dircount := c.r.Uint32()
	maxcount := c.r.Uint32()
	mask := nfs4.DecodeBitmap(&c.r)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if c.asksWriteOnly(mask) {
		return nfs4.ErrInval
	}
	if status := c.directory(); status != nfs4.OK {
		return c.notDir(status)
	}
	switch {
	case cookie == 1 || cookie == 2:
		return nfs4.ErrBadCookie
	case cookie != 0 && verifier != cookieVerifier:
		return nfs4.ErrNotSame
	}
	limit := min(int(maxcount), c.space())
	if limit < readDirMin {
		return c.tooSmall(int(maxcount))
	}
	l := &listing{c: c, mask: mask, end: c.w.Len() + limit - readDirTail, names: int(dircount)}
	if dircount == 0 {
		l.names = int(maxcount)
	}
	cookieVerifier.Encode(c.w)
	eof, err := c.cur.fs().ReadDir(c.creds(), c.cur.h, cookie, needsAttr(mask), l.entry)
	switch {
	case l.err != nil:
		return c.fail(l.err)
	case err != nil:
		return c.notDir(c.fail(err))
	case l.full && l.count == 0:
		c.w.Truncate(c.opStart + 8)
		return c.tooSmall(int(maxcount))
	}
	c.w.Bool(false)
	c.w.Bool(eof && !l.full)
	return nfs4.OK
}

// entry appends an entry4 and says whether to go on.
func (l *listing) entry(e *export.DirEntry) bool {
	c := l.c
	exp, h, attr := c.cur.exp, e.Handle, &e.Attr
	root, crossing := c.srv.exports.Cross(exp, h)
	if crossing && !root.Allows(c.call.Remote) {
		return true
	}
	l.names -= 8 + 4 + (len(e.Name)+3)&^3
	if l.names < 0 && l.count > 0 {
		l.full = true
		return false
	}
	at := c.w.Len()
	c.w.Bool(true)
	c.w.Uint64(e.Cookie)
	c.w.String(e.Name)
	attrs := c.w.Len()
	var err error
	if crossing {
		exp, h, attr = root, root.FS.Root(), &l.attr
		err = exp.FS.Getattr(h, attr)
	}
	if err == nil {
		err = l.attributes(exp, h, attr)
	}
	switch {
	case errors.Is(err, export.ErrStale) || errors.Is(err, export.ErrNotExist):
		c.w.Truncate(at) // it vanished meanwhile
		return true
	case err != nil && !l.mask.Has(nfs4.AttrRDAttrError):
		l.err = err
		return false
	case err != nil:
		status := c.fail(err)
		if c.gone != nil {
			l.err = err
			return false
		}
		c.w.Truncate(attrs)
		nfs4.BitmapOf(nfs4.AttrRDAttrError).Encode(c.w)
		c.w.Uint32(4)
		c.w.Uint32(uint32(status))
	}
	if c.w.Len() > l.end {
		c.w.Truncate(at)
		l.full = true
		return false
	}
	l.count++
	return true
}

// attributes appends the fattr4 of an entry.
func (l *listing) attributes(exp *exports.Export, h []byte, attr *export.Attr) error {
	switch {
	case attr.Type == 0 && needsAttr(l.mask):
		return l.why()
	case l.mask.Has(nfs4.AttrFilehandle):
		l.obj.put(l.c, exp, h)
	default:
		l.obj.exp, l.obj.h = exp, h
	}
	return l.c.encodeAttrs(l.c.w, l.mask, &l.obj, attr)
}

// why says why an entry has no attributes. Of a directory that the caller may
// read and not search it gets to know the names; else the object vanished before it
// could be looked at.
func (l *listing) why() error {
	if l.bare == nil {
		c := l.c
		got, err := c.cur.fs().Access(c.creds(), c.cur.h, export.AccessLookup)
		switch {
		case err != nil:
			l.bare = err
		case got&export.AccessLookup == 0:
			l.bare = export.ErrAccess
		default:
			l.bare = export.ErrStale
		}
	}
	return l.bare
}

// needsAttr says whether any attribute of mask is about the object.
func needsAttr(mask nfs4.Bitmap) bool {
	return !mask.AndNot(nfs4.BitmapOf(nfs4.AttrRDAttrError)).Empty()
}
