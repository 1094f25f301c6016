package nfsops

import (
	"errors"
	"sort"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// Bounds of extended attributes, those of Linux.
const (
	maxXattrName  = 255 - len("user.")
	maxXattrValue = 64 << 10
)

// xattrs is the file system of the current filehandle as one with extended
// attributes.
func (c *compound) xattrs() (export.Xattrs, nfs4.Status) {
	if status := c.current(); status != nfs4.OK {
		return nil, status
	}
	x, ok := c.cur.fs().(export.Xattrs)
	if !ok {
		return nil, nfs4.ErrNotSupp
	}
	return x, nfs4.OK
}

// decodeXattrName reads an xattrkey4 (RFC 8276 §8.1); it has no namespace
// prefix.
func (c *compound) decodeXattrName() (string, nfs4.Status) {
	b := c.r.Opaque(1 << 12)
	switch {
	case c.r.Err() != nil:
		return "", nfs4.ErrBadXDR
	case len(b) == 0 || hasNUL(b) || !utf8.Valid(b):
		return "", nfs4.ErrInval
	case len(b) > maxXattrName:
		return "", nfs4.ErrNameTooLong
	}
	return string(b), nfs4.OK
}

// opGetXattr is GETXATTR (RFC 8276 §8.4.1).
func opGetXattr(c *compound) nfs4.Status {
	name, status := c.decodeXattrName()
	if status != nfs4.OK {
		return status
	}
	x, status := c.xattrs()
	if status != nfs4.OK {
		return status
	}
	value, err := x.GetXattr(c.creds(), c.cur.h, name, maxXattrValue)
	if err != nil {
		return c.fail(err)
	}
	if c.space() < 8+len(value) {
		return c.tooBig()
	}
	c.w.Opaque(value)
	return nfs4.OK
}

// xattrHold names an extended attribute among the names that are held during
// a change. No directory entry has such a name.
func (c *compound) xattrHold(name string) []statesync.Name {
	return []statesync.Name{{Dir: c.cur.key(), Name: "\x00" + name}}
}

// opSetXattr is SETXATTR (RFC 8276 §8.4.2).
func opSetXattr(c *compound) nfs4.Status {
	option := c.r.Uint32()
	name, status := c.decodeXattrName()
	if status == nfs4.ErrBadXDR {
		return status
	}
	value := c.r.Opaque(1 << 21)
	if option > nfs4.SetXattrReplace {
		c.r.Fail(xdr.ErrValue)
	}
	if !c.admit() {
		return c.status
	}
	if status != nfs4.OK {
		return status
	}
	if len(value) > maxXattrValue {
		return nfs4.ErrXattr2Big
	}
	x, status := c.xattrs()
	if status != nfs4.OK {
		return status
	}
	if _, status := c.cur.mutable(); status != nfs4.OK {
		return status
	}
	mode := export.XattrMode(option)
	var before export.Attr
	outcome, err := c.beginChange(c.xattrHold(name), func() ([]byte, error) {
		if err := c.cur.fs().Getattr(c.cur.h, &before); err != nil {
			return nil, err
		}
		_, err := x.GetXattr(c.creds(), c.cur.h, name, maxXattrValue)
		switch {
		case err == nil && mode == export.XattrCreate:
			return nil, export.ErrExist
		case errors.Is(err, export.ErrNoXattr) && mode == export.XattrReplace:
			return nil, export.ErrNoXattr
		case err != nil && !errors.Is(err, export.ErrNoXattr):
			return nil, err
		}
		var w xdr.Writer
		w.String(name)
		w.Uint64(xxhash.Sum64(value))
		w.Uint32(uint32(len(value)))
		return w.Bytes(), nil
	})
	if err != nil {
		return c.fail(err)
	}
	if outcome != statesync.OutcomeDone {
		err = x.SetXattr(c.creds(), c.cur.h, name, value, mode)
	}
	return c.finishXattr(err, before.Change)
}

// finishXattr ends a change of an extended attribute with its change_info4,
// which is that of the file.
func (c *compound) finishXattr(err error, before uint64) nfs4.Status {
	var d export.DirChange
	if err == nil {
		if c.cur.fs().Getattr(c.cur.h, &c.attr) == nil {
			d = export.DirChange{Before: before, After: c.attr.Change}
			if before == 0 {
				d.Before = d.After
			}
		}
	}
	return c.finish(err, func() { changeInfo(c.w, d) })
}

// opRemoveXattr is REMOVEXATTR (RFC 8276 §8.4.4).
func opRemoveXattr(c *compound) nfs4.Status {
	name, status := c.decodeXattrName()
	if !c.admit() {
		return c.status
	}
	if status != nfs4.OK {
		return status
	}
	x, status := c.xattrs()
	if status != nfs4.OK {
		return status
	}
	if _, status := c.cur.mutable(); status != nfs4.OK {
		return status
	}
	var before export.Attr
	outcome, err := c.beginChange(c.xattrHold(name), func() ([]byte, error) {
		if err := c.cur.fs().Getattr(c.cur.h, &before); err != nil {
			return nil, err
		}
		if _, err := x.GetXattr(c.creds(), c.cur.h, name, maxXattrValue); err != nil {
			return nil, err
		}
		var w xdr.Writer
		w.String(name)
		return w.Bytes(), nil
	})
	if err != nil {
		return c.fail(err)
	}
	if outcome != statesync.OutcomeDone {
		err = x.RemoveXattr(c.creds(), c.cur.h, name)
	}
	return c.finishXattr(err, before.Change)
}

// resolveXattr finds out whether a SETXATTR or REMOVEXATTR took place.
func (s *Server) resolveXattr(in *statesync.Intent) (statesync.Outcome, error) {
	ev := xdr.NewReader(in.Evidence)
	name := string(ev.Opaque(maxXattrName))
	exp, h, err := s.exports.Open([]byte(in.Names[0].Dir))
	if err != nil {
		return statesync.OutcomeNotDone, nil // running it says why it cannot be
	}
	x, ok := exp.FS.(export.Xattrs)
	if !ok {
		return statesync.OutcomeNotDone, nil
	}
	value, err := x.GetXattr(gatewayCreds, h, name, maxXattrValue)
	if err != nil && !errors.Is(err, export.ErrNoXattr) {
		return statesync.OutcomeNotDone, nil
	}
	there := err == nil
	if in.Op == nfs4.OpSetXattr {
		there = there && xxhash.Sum64(value) == ev.Uint64() && uint32(len(value)) == ev.Uint32()
	} else {
		there = !there
	}
	if there {
		return statesync.OutcomeDone, nil
	}
	return statesync.OutcomeNotDone, nil
}

// opListXattrs is LISTXATTRS (RFC 8276 §8.4.3). The cookie is the number of
// names that went before, in their order.
func opListXattrs(c *compound) nfs4.Status {
	cookie := c.r.Uint64()
	max := int(c.r.Uint32())
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	x, status := c.xattrs()
	if status != nfs4.OK {
		return status
	}
	names, err := x.ListXattrs(c.creds(), c.cur.h)
	if err != nil {
		return c.fail(err)
	}
	if cookie > uint64(len(names)) {
		return nfs4.ErrBadCookie
	}
	sort.Strings(names)
	names = names[cookie:]
	asked := max
	max = min(max, c.space())
	const fixed = 8 + 4 + 4 // cookie, count, eof
	used := fixed
	n := 0
	for n < len(names) && used+4+(len(names[n])+3)&^3 <= max {
		used += 4 + (len(names[n])+3)&^3
		n++
	}
	if max < fixed || n == 0 && len(names) > 0 {
		return c.tooSmall(asked)
	}
	c.w.Uint64(cookie + uint64(n))
	c.w.Uint32(uint32(n))
	for _, name := range names[:n] {
		c.w.String(name)
	}
	c.w.Bool(n == len(names))
	return nfs4.OK
}
