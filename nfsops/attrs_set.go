package nfsops

import (
	"errors"
	"time"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// errAttrNotSupp says that an attribute cannot be set on this object: NFS4ERR_ATTRNOTSUPP.
var errAttrNotSupp = errors.New("attribute not supported")

// A settable is the attributes of SETATTR, CREATE or OPEN, decoded and checked.
type settable struct {
	// mask is what was asked for, all of it known and settable.
	mask nfs4.Bitmap

	// set is what the file system sets itself. Mode comes from mode or
	// mode_umask.
	set export.SetAttr

	// umask is that of mode_umask (RFC 8275): the file system applies it
	// unless the new object inherits an ACL.
	umask     uint32
	haveUmask bool

	// acl is the access list, defaults the default list, both from acl or
	// dacl; valid if haveACL is true.
	acl, defaults []export.ACLEntry
	haveACL       bool
}

// decodeSettable reads a fattr4 to be set: the createattrs of an operation that
// creates, or the obj_attributes of SETATTR. The current filehandle tells which
// attributes are supported. All of the fattr4 is read, whatever the status; the first
// fault in this order counts:
//
//	NFS4ERR_NOFILEHANDLE there is no current filehandle
//	NFS4ERR_BADXDR       it cannot be decoded
//	NFS4ERR_ATTRNOTSUPP  an attribute is not supported
//	NFS4ERR_INVAL        an attribute cannot be set, or not to this value
//	NFS4ERR_BADOWNER     a user or group has no translation
func (c *compound) decodeSettable(r *xdr.Reader, creating bool) (settable, nfs4.Status) {
	var s settable
	var high bool
	s.mask, high = nfs4.DecodeBitmapHigh(r)
	vals := xdr.NewReader(r.Opaque(r.Remaining()))
	if r.Err() != nil {
		return s, nfs4.ErrBadXDR
	}
	if status := c.checkSettable(s.mask, high, creating); status != nfs4.OK {
		return s, status
	}
	status := nfs4.OK
	for a, ok := s.mask.Next(0); ok; a, ok = s.mask.Next(a + 1) {
		st := c.decodeAttr(&vals, a, &s)
		if vals.Err() != nil {
			return s, nfs4.ErrBadXDR
		}
		if status == nfs4.OK {
			status = st
		}
	}
	if vals.Remaining() != 0 {
		return s, nfs4.ErrBadXDR
	}
	return s, status
}

// checkSettable checks which attributes are to be set, whatever their values.
func (c *compound) checkSettable(mask nfs4.Bitmap, high, creating bool) nfs4.Status {
	if status := c.current(); status != nfs4.OK {
		return status
	}
	supported := c.supported(c.cur.exp)
	switch {
	case high || !mask.AndNot(supported).Empty() || mask.Has(nfs4.AttrTimeCreate):
		return nfs4.ErrAttrNotSupp // no file system here lets time_create be set
	case !mask.AndNot(attrsSettable).Empty():
		return nfs4.ErrInval // RFC 8881 §5.5
	case mask.Has(nfs4.AttrModeUmask) && (!creating || mask.Has(nfs4.AttrMode)):
		return nfs4.ErrInval // RFC 8275 §5
	case mask.Has(nfs4.AttrACL) && mask.Has(nfs4.AttrDACL):
		return nfs4.ErrInval // RFC 8881 §6.2.2: two values of one list
	}
	return nfs4.OK
}

// decodeAttr reads the value of one attribute to be set.
func (c *compound) decodeAttr(r *xdr.Reader, a nfs4.Attr, s *settable) nfs4.Status {
	switch a {
	case nfs4.AttrSize:
		size := r.Uint64()
		s.set.Size = &size
		if size > 1<<63-1 {
			return nfs4.ErrFBig
		}
	case nfs4.AttrMode:
		mode := r.Uint32()
		s.set.Mode = &mode
		if mode&^uint32(nfs4.ModeMask) != 0 {
			return nfs4.ErrInval
		}
	case nfs4.AttrModeUmask:
		mode := r.Uint32()
		s.set.Mode = &mode
		s.umask, s.haveUmask = r.Uint32(), true
		if mode&^uint32(nfs4.ModeMask) != 0 || s.umask&^uint32(0o777) != 0 {
			return nfs4.ErrInval
		}
	case nfs4.AttrOwner, nfs4.AttrOwnerGroup:
		group := a == nfs4.AttrOwnerGroup
		text := r.Opaque(nfs4.OpaqueLimit)
		if r.Err() != nil {
			return nfs4.ErrBadXDR
		}
		id, status := c.srv.owners.parse(text, group)
		if group {
			s.set.GID = &id
		} else {
			s.set.UID = &id
		}
		return status
	case nfs4.AttrTimeAccessSet:
		return decodeSetTime(r, &s.set.AtimeHow, &s.set.Atime)
	case nfs4.AttrTimeModifySet:
		return decodeSetTime(r, &s.set.MtimeHow, &s.set.Mtime)
	case nfs4.AttrACL:
		return c.decodeACL(r, s)
	case nfs4.AttrDACL:
		// Automatic inheritance (RFC 8881 §6.4.3.2) is not kept by POSIX lists.
		flags := r.Uint32()
		if status := c.decodeACL(r, s); status != nfs4.OK {
			return status
		}
		if flags != 0 {
			return nfs4.ErrAttrNotSupp
		}
	}
	return nfs4.OK
}

// decodeSetTime reads a settime4.
func decodeSetTime(r *xdr.Reader, how *export.TimeSet, t *time.Time) nfs4.Status {
	switch r.Uint32() {
	case nfs4.SetToServerTime:
		*how = export.TimeNow
	case nfs4.SetToClientTime:
		v := nfs4.DecodeTime(r)
		if !v.Valid() {
			return nfs4.ErrInval
		}
		*how, *t = export.TimeGiven, time.Unix(v.Sec, int64(v.Nsec))
	default:
		r.Fail(xdr.ErrValue)
	}
	return nfs4.OK
}

// encodeTime appends an nfstime4.
func encodeTime(w *xdr.Writer, t time.Time) {
	nfs4.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}.Encode(w)
}

// applyRest sets what Setattr and Make cannot: the ACLs of s on o. It
// returns attrsset: all that was asked for, without the ACL if there is an
// error.
func (c *compound) applyRest(o *object, s *settable) (nfs4.Bitmap, error) {
	if !s.haveACL {
		return s.mask, nil
	}
	if err := c.setACL(o, s); err != nil {
		return s.mask.AndNot(attrsACL), err
	}
	return s.mask, nil
}
