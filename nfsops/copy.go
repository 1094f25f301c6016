package nfsops

import (
	"math"

	"holdfast/export"
	"holdfast/internal/nfs4"
)

// maxCopy bounds what one COPY copies, in bytes, so that its reply is not long
// in coming: a client goes on where a copy ended.
const maxCopy = 64 << 20

// ranges decodes what COPY and CLONE begin with, and opens both files.
func (c *compound) copyFiles(from, to nfs4.Stateid) (src, dst *openFile, status nfs4.Status) {
	if status := c.bothHandles(); status != nfs4.OK {
		return nil, nil, status
	}
	if c.saved.exp != c.cur.exp {
		return nil, nil, nfs4.ErrXDev
	}
	if _, status := c.cur.mutable(); status != nfs4.OK {
		return nil, nil, status
	}
	dst, status = c.openFor(to, nfs4.ShareAccessWrite)
	if status != nfs4.OK {
		return nil, nil, status
	}
	// The source is the saved filehandle, with the saved stateid for the
	// current one.
	c.swapHandles()
	src, status = c.openFor(from, nfs4.ShareAccessRead)
	c.swapHandles()
	if status != nfs4.OK {
		dst.release()
		return nil, nil, status
	}
	return src, dst, nfs4.OK
}

func (c *compound) swapHandles() {
	var o object
	o.copyFrom(&c.cur)
	c.cur.copyFrom(&c.saved)
	c.saved.copyFrom(&o)
	c.sid, c.savedSid = c.savedSid, c.sid
}

// checkRanges checks the ranges of COPY and CLONE against the source's size
// (RFC 7862 §15.2.3, §15.13.3); count 0 means to the end. It returns the
// number of bytes to copy.
func (c *compound) checkRanges(src *openFile, srcOff, dstOff, count uint64) (uint64, nfs4.Status) {
	if err := src.Getattr(&c.attr); err != nil {
		return 0, c.fail(err)
	}
	if srcOff > c.attr.Size || count > c.attr.Size-srcOff {
		return 0, nfs4.ErrInval
	}
	if count == 0 {
		count = c.attr.Size - srcOff
	}
	if dstOff > math.MaxInt64-count {
		return 0, nfs4.ErrFBig
	}
	if c.sameFile() && srcOff < dstOff+count && dstOff < srcOff+count {
		return 0, nfs4.ErrInval
	}
	return count, nfs4.OK
}

// sameFile says whether the saved filehandle is the current one.
func (c *compound) sameFile() bool { return string(c.cur.wire()) == string(c.saved.wire()) }

// opCopy is COPY (RFC 7862 §15.2) within this server. It is always synchronous
// and may be short, like write(2): so no callback is needed to tell its end.
func opCopy(c *compound) nfs4.Status {
	from, to := nfs4.DecodeStateid(&c.r), nfs4.DecodeStateid(&c.r)
	srcOff, dstOff, count := c.r.Uint64(), c.r.Uint64(), c.r.Uint64()
	c.r.Bool() // consecutive: it always is
	c.r.Bool() // synchronous: it always is
	servers := c.r.Count(64, 8)
	for range servers {
		switch c.r.Uint32() {
		case nfs4.NetlocName, nfs4.NetlocURL:
			c.r.Opaque(nfs4.OpaqueLimit)
		case nfs4.NetlocNetaddr:
			c.r.Opaque(nfs4.OpaqueLimit)
			c.r.Opaque(nfs4.OpaqueLimit)
		default:
			return nfs4.ErrBadXDR
		}
	}
	if !c.admit() {
		return c.status
	}
	if servers > 0 {
		return nfs4.ErrNotSupp // no copies between servers
	}
	src, dst, status := c.copyFiles(from, to)
	if status != nfs4.OK {
		return status
	}
	defer src.release()
	defer dst.release()
	if c.sameFile() { // which only CLONE may do
		return nfs4.ErrInval
	}
	n, status := c.checkRanges(src, srcOff, dstOff, count)
	if status != nfs4.OK {
		return status
	}
	verifier := c.srv.writeVerifier()
	done, err := c.copyRange(src.File, dst.File, int64(srcOff), int64(dstOff), int64(min(n, maxCopy)))
	if err != nil && done == 0 {
		return c.fail(err)
	}
	c.w.Uint32(0) // no callback stateid
	c.w.Uint64(uint64(done))
	c.w.Uint32(nfs4.Unstable)
	verifier.Encode(c.w)
	c.w.Bool(true) // consecutive
	c.w.Bool(true) // synchronous
	return nfs4.OK
}

// copyRange copies n bytes, by the file system where it can.
func (c *compound) copyRange(src, dst export.File, srcOff, dstOff, n int64) (int64, error) {
	var done int64
	if copier, ok := src.(export.Copier); ok {
		for done < n {
			if err := c.mayAct(); err != nil {
				return 0, err
			}
			m, err := copier.CopyTo(dst, srcOff+done, dstOff+done, n-done)
			done += m
			if err != nil || m == 0 {
				break
			}
		}
	}
	buf := make([]byte, min(n-done, 1<<20))
	for done < n {
		m, _, err := src.ReadAt(buf[:min(int64(len(buf)), n-done)], srcOff+done)
		if err != nil {
			return done, err
		}
		if m == 0 {
			break
		}
		if err := c.mayAct(); err != nil {
			return 0, err
		}
		w, err := dst.WriteAt(buf[:m], dstOff+done)
		done += int64(w)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// opClone is CLONE (RFC 7862 §15.13). Done twice it does the same.
func opClone(c *compound) nfs4.Status {
	from, to := nfs4.DecodeStateid(&c.r), nfs4.DecodeStateid(&c.r)
	srcOff, dstOff, count := c.r.Uint64(), c.r.Uint64(), c.r.Uint64()
	if !c.admit() {
		return c.status
	}
	src, dst, status := c.copyFiles(from, to)
	if status != nfs4.OK {
		return status
	}
	defer src.release()
	defer dst.release()
	if _, status := c.checkRanges(src, srcOff, dstOff, count); status != nfs4.OK {
		return status
	}
	cloner, ok := src.File.(export.Cloner)
	if !ok {
		return nfs4.ErrNotSupp
	}
	if err := c.mayAct(); err != nil {
		return c.fail(err)
	}
	if err := cloner.CloneTo(dst.File, int64(srcOff), int64(dstOff), int64(count)); err != nil {
		return c.fail(err)
	}
	return c.fail(c.sync(dst))
}

// opOffload is OFFLOAD_STATUS and OFFLOAD_CANCEL (RFC 7862 §15.9, §15.8): no copy
// outlives its request.
func opOffload(c *compound) nfs4.Status {
	nfs4.DecodeStateid(&c.r)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	return nfs4.ErrBadStateid
}
