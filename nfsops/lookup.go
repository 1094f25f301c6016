package nfsops

import (
	"bytes"
	"errors"
	"fmt"

	"holdfast/export"
	"holdfast/export/exports"
	"holdfast/internal/nfs4"
)

// checkName checks a component4. Names are bytes to Linux clients and file
// systems, in whatever encoding users chose, so they need not be UTF-8 (RFC 7530
// §12.8; fs_charset_cap says so in 4.1). The errors are those of RFC 8881 §14.5 and RFC
// 7530 §12.7: "/" and NUL are characters that no name can hold, "." and ".."
// are names that no object can have.
func checkName(name []byte) nfs4.Status {
	switch {
	case len(name) == 0:
		return nfs4.ErrInval
	case len(name) > export.MaxName:
		return nfs4.ErrNameTooLong
	case bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0:
		return nfs4.ErrBadChar
	case len(name) == 1 && name[0] == '.' || len(name) == 2 && name[0] == '.' && name[1] == '.':
		return nfs4.ErrBadName
	}
	return nfs4.OK
}

// lookupName returns what a name in a directory is, with its attributes. In the
// pseudo file system it crosses into what is exported there, which does not
// exist for a caller whose address may not use it.
func (c *compound) lookupName(dir *object, name string, attr *export.Attr) (*exports.Export, []byte, error) {
	h, err := dir.fs().Lookup(c.credsFor(dir), dir.h, name, attr)
	if err != nil {
		return nil, nil, err
	}
	root, crossed := c.srv.exports.Cross(dir.exp, h)
	if !crossed {
		return dir.exp, h, nil
	}
	if !root.Allows(c.call.Remote) {
		return nil, nil, export.ErrNotExist
	}
	h = root.FS.Root()
	if err := root.FS.Getattr(h, attr); err != nil {
		return nil, nil, fmt.Errorf("root of %s: %w", root.Path, err)
	}
	return root, h, nil
}

// directory checks that the current filehandle is a directory, as operations
// that take a name want it.
func (c *compound) directory() nfs4.Status {
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if err := c.cur.fs().Getattr(c.cur.h, &c.attr); err != nil {
		return c.fail(err)
	}
	return directoryStatus(c.attr.Type)
}

// directoryStatus is the status of using an object of type t as a directory
// (RFC 8881 §18.13.3, RFC 7530 §16.13.4).
func directoryStatus(t export.FileType) nfs4.Status {
	switch t {
	case export.Directory:
		return nfs4.OK
	case export.Symlink:
		return nfs4.ErrSymlink
	}
	return nfs4.ErrNotDir
}

// failLookup is fail for an operation that uses the current filehandle as a
// directory: what it is instead decides the status.
func (c *compound) failLookup(err error) nfs4.Status {
	if errors.Is(err, export.ErrNotDir) || errors.Is(err, export.ErrSymlink) {
		if status := c.directory(); status != nfs4.OK {
			return status
		}
	}
	return c.fail(err)
}

// opLookup is LOOKUP (RFC 8881 §18.13).
func opLookup(c *compound) nfs4.Status {
	var name string
	if status := c.decodeName(&name); status != nfs4.OK {
		return status
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	exp, h, err := c.lookupName(&c.cur, name, &c.attr)
	if err != nil {
		return c.failLookup(err)
	}
	c.cur.put(c, exp, h)
	c.forgetStateid()
	c.fresh = true
	return nfs4.OK
}

// parent returns the directory that holds directory o, out of an export into
// the pseudo file system if need be. At the very root it is export.ErrNotExist.
func (c *compound) parent(o *object) (*exports.Export, []byte, error) {
	if !o.isRoot() {
		h, err := o.fs().Parent(c.credsFor(o), o.h)
		return o.exp, h, err
	}
	h, ok := c.srv.exports.ParentOfRoot(o.exp)
	if !ok {
		return nil, nil, export.ErrNotExist
	}
	return c.srv.exports.Root(), h, nil
}

// opLookupP is LOOKUPP (RFC 8881 §18.14).
func opLookupP(c *compound) nfs4.Status {
	if status := c.directory(); status != nfs4.OK {
		return c.notDir(status)
	}
	exp, h, err := c.parent(&c.cur)
	if err != nil {
		return c.fail(err)
	}
	c.cur.put(c, exp, h)
	c.forgetStateid()
	return nfs4.OK
}

// notDir is the status of operations that do not tell symbolic links from
// what else is no directory.
func (c *compound) notDir(status nfs4.Status) nfs4.Status {
	if status == nfs4.ErrSymlink {
		return nfs4.ErrNotDir
	}
	return status
}

// opReadLink is READLINK (RFC 8881 §18.24, RFC 7530 §16.25).
func opReadLink(c *compound) nfs4.Status {
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if err := c.cur.fs().Getattr(c.cur.h, &c.attr); err != nil {
		return c.fail(err)
	}
	if c.attr.Type != export.Symlink {
		return c.pick(nfs4.ErrInval, nfs4.ErrWrongType)
	}
	target, err := c.cur.fs().Readlink(c.creds(), c.cur.h)
	if err != nil {
		return c.fail(err)
	}
	c.w.String(target)
	return nfs4.OK
}

// Bits of ACCESS that mean something, and those about extended attributes of
// 4.2 (RFC 8276 §8.5).
const (
	accessDir  = nfs4.AccessRead | nfs4.AccessLookup | nfs4.AccessModify | nfs4.AccessExtend | nfs4.AccessDelete
	accessFile = nfs4.AccessRead | nfs4.AccessModify | nfs4.AccessExtend | nfs4.AccessExecute
	accessXA   = nfs4.AccessXARead | nfs4.AccessXAWrite | nfs4.AccessXAList
	accessAll  = accessDir | accessFile

	accessChanges = nfs4.AccessModify | nfs4.AccessExtend | nfs4.AccessDelete | nfs4.AccessXAWrite
)

// opAccess is ACCESS (RFC 8881 §18.1). A bit that the minor version does not
// define is NFS4ERR_INVAL; one without meaning for the type of object is not
// supported.
func opAccess(c *compound) nfs4.Status {
	want := c.r.Uint32()
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if want&^uint32(accessAll) != 0 && (c.minor < 2 || want&^uint32(accessAll|accessXA) != 0) {
		return nfs4.ErrInval
	}
	fs := c.cur.fs()
	if err := c.look(); err != nil {
		return c.fail(err)
	}
	supported := want & accessFile
	if c.attr.Type == export.Directory {
		supported = want & accessDir
	}
	if _, ok := fs.(export.Xattrs); ok && (c.attr.Type == export.Directory || c.attr.Type == export.Regular) {
		supported |= want & accessXA
	}
	access, err := fs.Access(c.creds(), c.cur.h, accessAsked(supported))
	if err != nil {
		return c.fail(err)
	}
	access = accessGranted(access)
	if _, status := c.cur.mutable(); status != nfs4.OK {
		access &^= accessChanges
	}
	if c.attr.Mode&0o111 == 0 && c.attr.Type != export.Directory {
		// The superuser may execute what nobody may, except that (RFC 8881 §18.1.3)
		// forbids to say so.
		access &^= nfs4.AccessExecute
	}
	c.w.Uint32(supported)
	c.w.Uint32(access & supported)
	return nfs4.OK
}

// accessAsked returns what to ask a file system about for the bits of ACCESS:
// who may read and write a file may do so with its attributes.
func accessAsked(bits uint32) uint32 {
	ask := bits & accessAll
	if bits&nfs4.AccessXARead != 0 {
		ask |= nfs4.AccessRead
	}
	if bits&nfs4.AccessXAWrite != 0 {
		ask |= nfs4.AccessModify
	}
	return ask
}

// accessGranted is the way back. Listing the names of attributes needs no
// permission.
func accessGranted(access uint32) uint32 {
	if access&nfs4.AccessRead != 0 {
		access |= nfs4.AccessXARead
	}
	if access&nfs4.AccessModify != 0 {
		access |= nfs4.AccessXAWrite
	}
	return access | nfs4.AccessXAList
}

// opSecInfo is SECINFO (RFC 8881 §18.29, RFC 7530 §16.31).
func opSecInfo(c *compound) nfs4.Status {
	var name string
	if status := c.decodeName(&name); status != nfs4.OK {
		return status
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if _, _, err := c.lookupName(&c.cur, name, &c.attr); err != nil {
		return c.notDir(c.failLookup(err))
	}
	c.flavors()
	return nfs4.OK
}

// opSecInfoNoName is SECINFO_NO_NAME (RFC 8881 §18.45).
func opSecInfoNoName(c *compound) nfs4.Status {
	style := c.r.Uint32()
	if c.r.Err() != nil || style > nfs4.SecInfoParent {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if style == nfs4.SecInfoParent {
		if status := c.directory(); status != nfs4.OK {
			return c.notDir(status)
		}
		if _, _, err := c.parent(&c.cur); err != nil {
			return c.fail(err)
		}
	}
	c.flavors()
	return nfs4.OK
}

// flavors appends the SECINFO4resok of every object, the preferred flavor
// first, and consumes the current filehandle (RFC 8881 §2.6.3.1.1.8).
func (c *compound) flavors() {
	c.w.Uint32(2)
	c.w.Uint32(uint32(AuthSys))
	c.w.Uint32(uint32(AuthNone))
	if c.minor > 0 {
		c.cur.set(c, nil)
		c.forgetStateid()
	}
}

// opOpenAttr is OPENATTR (RFC 8881 §18.17): there are no named attributes.
func opOpenAttr(c *compound) nfs4.Status {
	c.r.Bool() // createdir
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	return nfs4.ErrNotSupp
}
