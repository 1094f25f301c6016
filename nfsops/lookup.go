package nfsops

import (
	"bytes"
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
