package nfsops

import (
	"bytes"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// opVerify is VERIFY (RFC 8881 §18.31).
func opVerify(c *compound) nfs4.Status {
	same, status := c.sameAttrs()
	if status == nfs4.OK && !same {
		return nfs4.ErrNotSame
	}
	return status
}

// opNVerify is NVERIFY (RFC 8881 §18.15).
func opNVerify(c *compound) nfs4.Status {
	same, status := c.sameAttrs()
	if status == nfs4.OK && same {
		return nfs4.ErrSame
	}
	return status
}

// verifyForbidden cannot be compared: rdattr_error is about a READDIR, and what
// can only be set has no value.
var verifyForbidden = attrsWriteOnly.Or(nfs4.BitmapOf(nfs4.AttrRDAttrError))

// sameAttrs reads a fattr4 and says whether it is what the current object has.
// It is encoded as GETATTR would have it and compared byte by byte.
func (c *compound) sameAttrs() (bool, nfs4.Status) {
	mask, high := nfs4.DecodeBitmapHigh(&c.r)
	given := c.r.Opaque(c.r.Remaining())
	if c.r.Err() != nil {
		return false, nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return false, status
	}
	if !mask.And(verifyForbidden).And(attrsOfMinor[c.minor]).Empty() {
		return false, nfs4.ErrInval
	}
	if err := c.cur.fs().Getattr(c.cur.h, &c.attr); err != nil {
		return false, c.fail(err)
	}
	if high || !mask.AndNot(c.readable(c.cur.exp, &c.attr)).Empty() {
		return false, nfs4.ErrAttrNotSupp
	}
	at := c.w.Len()
	defer func() { c.w.Truncate(at) }()
	if err := c.encodeAttrs(c.w, mask, &c.cur, &c.attr); err != nil {
		return false, c.fail(err)
	}
	own := xdr.NewReader(c.w.Bytes()[at:])
	nfs4.DecodeBitmap(&own)
	return bytes.Equal(given, own.Opaque(own.Remaining())), nfs4.OK
}
