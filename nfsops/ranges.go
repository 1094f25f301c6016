package nfsops

import (
	"errors"
	"math"

	"holdfast/export"
	"holdfast/internal/nfs4"
)

// opSeek is SEEK (RFC 7862 §15.11). A file system that does not know its holes
// has one, at the end.
func opSeek(c *compound) nfs4.Status {
	s := nfs4.DecodeStateid(&c.r)
	off := c.r.Uint64()
	what := c.r.Uint32()
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if what > nfs4.ContentHole {
		return nfs4.ErrUnionNotSupp
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	f, status := c.openFor(s, nfs4.ShareAccessRead)
	if status != nfs4.OK {
		return status
	}
	defer f.release()
	if err := f.Getattr(&c.attr); err != nil {
		return c.fail(err)
	}
	if off >= c.attr.Size {
		return nfs4.ErrNXIO
	}
	at, err := seek(f.File, int64(off), what, int64(c.attr.Size))
	if errors.Is(err, export.ErrNXIO) {
		at, err = int64(c.attr.Size), nil
	}
	if err != nil {
		return c.fail(err)
	}
	c.w.Bool(uint64(at) >= c.attr.Size)
	c.w.Uint64(uint64(at))
	return nfs4.OK
}

func seek(f export.File, off int64, what uint32, size int64) (int64, error) {
	sparse, ok := f.(export.Sparse)
	switch {
	case !ok && what == nfs4.ContentData:
		return off, nil
	case !ok:
		return size, nil
	case what == nfs4.ContentData:
		return sparse.SeekData(off)
	}
	return sparse.SeekHole(off)
}

// opAllocate is ALLOCATE (RFC 7862 §15.1), opDeallocate is DEALLOCATE (§15.4).
func opAllocate(c *compound) nfs4.Status {
	return c.allocation(func(a export.Allocator, off, n int64) error { return a.Allocate(off, n) })
}

func opDeallocate(c *compound) nfs4.Status {
	return c.allocation(func(a export.Allocator, off, n int64) error { return a.Deallocate(off, n) })
}

func (c *compound) allocation(do func(a export.Allocator, off, n int64) error) nfs4.Status {
	s := nfs4.DecodeStateid(&c.r)
	off, n := c.r.Uint64(), c.r.Uint64()
	if !c.admit() {
		return c.status
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if _, status := c.cur.mutable(); status != nfs4.OK {
		return status
	}
	if n == 0 || n > math.MaxUint64-off {
		return nfs4.ErrInval
	}
	if off+n > math.MaxInt64 {
		return nfs4.ErrFBig
	}
	f, status := c.openFor(s, nfs4.ShareAccessWrite)
	if status != nfs4.OK {
		return status
	}
	defer f.release()
	a, ok := f.File.(export.Allocator)
	if !ok {
		return nfs4.ErrNotSupp
	}
	if err := c.mayAct(); err != nil {
		return c.fail(err)
	}
	if err := do(a, int64(off), int64(n)); err != nil {
		return c.fail(err)
	}
	return c.fail(c.sync(f))
}

// opReadPlus is READ_PLUS (RFC 7862 §15.10).
func opReadPlus(c *compound) nfs4.Status {
	s := nfs4.DecodeStateid(&c.r)
	off := c.r.Uint64()
	count := int64(c.r.Uint32())
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	f, status := c.openFor(s, nfs4.ShareAccessRead)
	if status != nfs4.OK {
		return status
	}
	defer f.release()
	if err := f.Getattr(&c.attr); err != nil {
		return c.fail(err)
	}
	eofAt := c.w.Len()
	c.w.Bool(true)
	c.w.Uint32(0)
	if off >= c.attr.Size {
		return nfs4.OK
	}
	size := int64(c.attr.Size)
	pos, end := int64(off), min(int64(off)+min(count, int64(c.srv.cfg.MaxIO)), size)
	segments := uint32(0)
	const head = 4 + 8 + 4 // type, offset, length of data
	for pos < end && c.space() > 64 {
		data, err := seek(f.File, pos, nfs4.ContentData, size)
		if errors.Is(err, export.ErrNXIO) {
			data, err = size, nil
		}
		if err != nil {
			return c.fail(err)
		}
		if data > pos {
			n := min(data, end) - pos
			c.w.Uint32(nfs4.ContentHole)
			c.w.Uint64(uint64(pos))
			c.w.Uint64(uint64(n))
			pos += n
			segments++
			continue
		}
		hole, err := seek(f.File, pos, nfs4.ContentHole, size)
		if err != nil && !errors.Is(err, export.ErrNXIO) {
			return c.fail(err)
		}
		if err != nil || hole <= pos {
			hole = end // the file changed meanwhile
		}
		n := min(hole, end, pos+int64(c.space()-head-8)&^3) - pos
		if n <= 0 {
			break
		}
		buf := c.w.Spare(head + int(n) + 3)
		got, _, err := f.ReadAt(buf[head:head+n], pos)
		if err != nil {
			return c.fail(err)
		}
		if got == 0 {
			break
		}
		c.w.Uint32(nfs4.ContentData)
		c.w.Uint64(uint64(pos))
		c.w.Uint32(uint32(got))
		c.w.Advance(got)
		c.w.Pad(got)
		pos += int64(got)
		segments++
	}
	eof := uint32(0)
	if pos >= size {
		eof = 1
	}
	c.w.PutUint32(eofAt, eof)
	c.w.PutUint32(eofAt+4, segments)
	return nfs4.OK
}

// opIOAdvise is IO_ADVISE (RFC 7862 §15.5). No advice changes what is done.
func opIOAdvise(c *compound) nfs4.Status {
	s := nfs4.DecodeStateid(&c.r)
	c.r.Uint64()
	c.r.Uint64()
	nfs4.DecodeBitmap(&c.r)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	s, status := c.stateid(s)
	if status != nfs4.OK {
		return status
	}
	if _, err := c.srv.node.CheckIO(c.ctx, c.clientID(), c.cur.key(), s, 0, c.since()); err != nil {
		return c.fail(err)
	}
	nfs4.Bitmap{}.Encode(c.w)
	return nfs4.OK
}
