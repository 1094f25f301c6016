package nfsops

import (
	"strconv"

	"holdfast/export"
	"holdfast/export/exports"
	"holdfast/internal/nfs4"
	"holdfast/statesync"
)

// An object is a current or saved filehandle.
type object struct {
	exp *exports.Export // nil: no filehandle
	h   []byte          // the file system's handle; part of buf
	n   int
	buf [nfs4.FHSize]byte
}

// set makes the object the one that a filehandle names; nil unsets it. It
// returns false if there is no such object.
func (o *object) set(c *compound, wire []byte) bool {
	if wire == nil {
		o.exp, o.h, o.n = nil, nil, 0
		return true
	}
	if len(wire) > len(o.buf) {
		return false
	}
	o.n = copy(o.buf[:], wire)
	exp, h, err := c.srv.exports.Open(o.buf[:o.n])
	if err != nil {
		o.exp, o.h, o.n = nil, nil, 0
		return false
	}
	o.exp, o.h = exp, h
	return true
}

// put makes the object handle h of exp.
func (o *object) put(c *compound, exp *exports.Export, h []byte) {
	wire := c.srv.exports.Seal(o.buf[:0], exp, h)
	o.n = len(wire)
	o.exp = exp
	o.h = o.buf[5 : o.n-8]
}

// copyFrom makes o the same object as other.
func (o *object) copyFrom(other *object) {
	o.exp, o.n = other.exp, other.n
	copy(o.buf[:o.n], other.buf[:other.n])
	o.h = nil
	if o.exp != nil {
		o.h = o.buf[5 : o.n-8]
	}
}

func (o *object) wire() []byte { return o.buf[:o.n] }

func (o *object) wireOrNil() []byte {
	if o.exp == nil {
		return nil
	}
	return o.buf[:o.n]
}

// key names the file in the shared state.
func (o *object) key() statesync.FileKey { return statesync.FileKey(o.buf[:o.n]) }

// fs is the file system of the object.
func (o *object) fs() export.FS { return o.exp.FS }

// mutable is the file system for changes, or the status that says why there
// can be none.
func (o *object) mutable() (export.Mutable, nfs4.Status) {
	if o.exp.ReadOnly {
		return nil, nfs4.ErrROFS
	}
	m, ok := o.exp.FS.(export.Mutable)
	if !ok {
		return nil, nfs4.ErrROFS
	}
	return m, nfs4.OK
}

// current checks that there is a current filehandle.
func (c *compound) current() nfs4.Status {
	if c.cur.exp == nil {
		return nfs4.ErrNoFileHandle
	}
	return nfs4.OK
}

// forget drops the current stateid, as operations do that set the current
// filehandle (RFC 8881 §16.2.3.1.2).
func (c *compound) forgetStateid() {
	c.sid = nfs4.Stateid{}
}

// setStateid makes s the current stateid.
func (c *compound) setStateid(s nfs4.Stateid) { c.sid = s }

// stateid replaces the special stateid that stands for the current one (RFC
// 8881 §8.2.3).
func (c *compound) stateid(s nfs4.Stateid) (nfs4.Stateid, nfs4.Status) {
	if c.minor == 0 || s != nfs4.CurrentStateid {
		if c.minor > 0 && s == nfs4.InvalidStateid {
			return s, nfs4.ErrBadStateid
		}
		return s, nfs4.OK
	}
	if c.sid == (nfs4.Stateid{}) {
		return s, nfs4.ErrBadStateid
	}
	return c.sid, nfs4.OK
}

// opPutFH is PUTFH (RFC 8881 §18.19).
func opPutFH(c *compound) nfs4.Status {
	wire := c.r.Opaque(nfs4.FHSize)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	exp, _, err := c.srv.exports.Open(wire)
	if err != nil {
		return c.fail(err)
	}
	if !exp.Allows(c.call.Remote) {
		return nfs4.ErrAccess
	}
	c.cur.set(c, wire)
	c.forgetStateid()
	return nfs4.OK
}

// opPutRootFH is PUTROOTFH and PUTPUBFH (RFC 8881 §18.21, §18.20).
func opPutRootFH(c *compound) nfs4.Status {
	root := c.srv.exports.Root()
	if !root.Allows(c.call.Remote) {
		return nfs4.ErrAccess
	}
	c.cur.put(c, root, root.FS.Root())
	c.forgetStateid()
	return nfs4.OK
}

// opGetFH is GETFH (RFC 8881 §18.8).
func opGetFH(c *compound) nfs4.Status {
	if status := c.current(); status != nfs4.OK {
		return status
	}
	c.w.Opaque(c.cur.wire())
	return nfs4.OK
}

// opSaveFH is SAVEFH (RFC 8881 §18.28).
func opSaveFH(c *compound) nfs4.Status {
	if status := c.current(); status != nfs4.OK {
		return status
	}
	c.saved.copyFrom(&c.cur)
	c.savedSid = c.sid
	return nfs4.OK
}

// opRestoreFH is RESTOREFH (RFC 8881 §18.27).
func opRestoreFH(c *compound) nfs4.Status {
	if c.saved.exp == nil {
		return c.pick(nfs4.ErrRestoreFH, nfs4.ErrNoFileHandle)
	}
	c.cur.copyFrom(&c.saved)
	c.sid = c.savedSid
	return nfs4.OK
}

func sysPrincipal(uid uint32) string { return "sys:" + strconv.FormatUint(uint64(uid), 10) }
