//go:build linux

package posix

import (
	"encoding/binary"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

// A list in an extended attribute is little-endian: a version, then entries of
// tag, permission and id.
const (
	aclVersion   = 2
	aclHead      = 4
	aclEntryLen  = 8
	aclNoID      = ^uint32(0)
	maxACLs      = 1024
	aclAccess    = "system.posix_acl_access"
	aclDefault   = "system.posix_acl_default"
	tagUserObj   = 0x01
	tagUser      = 0x02
	tagGroupObj  = 0x04
	tagGroup     = 0x08
	tagMaskEntry = 0x10
	tagOther     = 0x20
)

var aclTags = map[uint16]export.ACLTag{
	tagUserObj: export.ACLUserObj, tagUser: export.ACLUser, tagGroupObj: export.ACLGroupObj,
	tagGroup: export.ACLGroup, tagMaskEntry: export.ACLMask, tagOther: export.ACLOther,
}

// GetACL implements export.ACLs.
func (fs *FS) GetACL(h []byte, defaults bool) ([]export.ACLEntry, error) {
	if err := fs.checkHandle(h); err != nil {
		return nil, err
	}
	if defaults && typeOf(h) != export.Directory {
		return nil, nil
	}
	if typeOf(h) == export.Symlink {
		return nil, export.ErrNotSupp
	}
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	attr := aclAccess
	if defaults {
		attr = aclDefault
	}
	buf := make([]byte, aclHead+maxACLs*aclEntryLen)
	n := 0
	err = retry(func() (err error) {
		n, err = unix.Getxattr(procPath(fd), attr, buf)
		return err
	})
	switch {
	case err == nil:
		return decodeACL(buf[:n])
	case err != syscall.ENODATA && err != syscall.EOPNOTSUPP:
		return nil, fail("getxattr", errnoOf(err))
	case defaults:
		return nil, nil
	}
	var st unix.Statx_t
	if e := statxFD(fd, &st); e != noErrno {
		return nil, fail("statx", e)
	}
	return []export.ACLEntry{
		{Tag: export.ACLUserObj, Perm: uint8(st.Mode >> 6 & 7)},
		{Tag: export.ACLGroupObj, Perm: uint8(st.Mode >> 3 & 7)},
		{Tag: export.ACLOther, Perm: uint8(st.Mode & 7)},
	}, nil
}

// SetACL implements export.ACLs.
func (fs *FS) SetACL(cred *export.Creds, h []byte, defaults bool, acl []export.ACLEntry) error {
	if err := fs.checkHandle(h); err != nil {
		return err
	}
	if typeOf(h) == export.Symlink {
		return export.ErrNotSupp
	}
	if defaults && typeOf(h) != export.Directory {
		if len(acl) == 0 {
			return nil
		}
		return export.ErrInval
	}
	if len(acl) > maxACLs || len(acl) == 0 && !defaults {
		return export.ErrInval
	}
	attr := aclAccess
	if defaults {
		attr = aclDefault
	}
	value, err := encodeACL(acl)
	if err != nil {
		return err
	}
	fd, err := fs.openHandle(h, unix.O_PATH)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	path := procPath(fd)
	return fs.alter(cred, h, fd, func() error {
		if len(acl) > 0 {
			return xattrErr("setxattr", unix.Setxattr(path, attr, value, 0))
		}
		err := unix.Removexattr(path, attr)
		if err == syscall.ENODATA {
			return nil
		}
		return xattrErr("removexattr", err)
	})
}

func decodeACL(b []byte) ([]export.ACLEntry, error) {
	if len(b) < aclHead || (len(b)-aclHead)%aclEntryLen != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return nil, fail("access control list", syscall.EIO)
	}
	acl := make([]export.ACLEntry, 0, (len(b)-aclHead)/aclEntryLen)
	for b = b[aclHead:]; len(b) > 0; b = b[aclEntryLen:] {
		e := export.ACLEntry{Tag: aclTags[binary.LittleEndian.Uint16(b)], Perm: b[2] & 7}
		switch e.Tag {
		case 0:
			return nil, fail("access control list", syscall.EIO)
		case export.ACLUser, export.ACLGroup:
			e.ID = binary.LittleEndian.Uint32(b[4:])
		}
		acl = append(acl, e)
	}
	return acl, nil
}

// encodeACL puts entries in the order that the kernel wants: by tag, named ones
// by id. The kernel checks that the list is whole.
func encodeACL(acl []export.ACLEntry) ([]byte, error) {
	type raw struct {
		tag, perm uint16
		id        uint32
	}
	list := make([]raw, 0, len(acl))
	for _, e := range acl {
		r := raw{perm: uint16(e.Perm & 7), id: aclNoID}
		for bit, tag := range aclTags {
			if tag == e.Tag {
				r.tag = bit
			}
		}
		switch {
		case r.tag == 0:
			return nil, export.ErrInval
		case e.Tag == export.ACLUser || e.Tag == export.ACLGroup:
			if e.ID == aclNoID {
				return nil, export.ErrInval
			}
			r.id = e.ID
		}
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b raw) int {
		if a.tag != b.tag {
			return int(a.tag) - int(b.tag)
		}
		switch {
		case a.id < b.id:
			return -1
		case a.id > b.id:
			return 1
		}
		return 0
	})
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, aclHead+len(list)*aclEntryLen), aclVersion)
	for _, r := range list {
		out = binary.LittleEndian.AppendUint16(out, r.tag)
		out = binary.LittleEndian.AppendUint16(out, r.perm)
		out = binary.LittleEndian.AppendUint32(out, r.id)
	}
	return out, nil
}
