package nfsops

import (
	"errors"
	"math"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/statesync"
)

// clientID is whose request it is; 0 in 4.0, where only stateids tell.
func (c *compound) clientID() statesync.ClientID {
	if c.req != nil {
		return c.req.Client
	}
	return 0
}

// since is as of when stateids have to be known.
func (c *compound) since() uint64 {
	if c.minor == 0 {
		return c.call.Since
	}
	return c.req.Since()
}

// openFor returns the current file, open for access (nfs4.ShareAccess…) under a
// stateid; the caller must release it.
//
// What was granted at OPEN is not asked again of the one who opened: an open
// file stays usable whatever becomes of its mode. Everybody else, and I/O
// without an open, is subject to the kernel's check.
func (c *compound) openFor(s nfs4.Stateid, access uint32) (*openFile, nfs4.Status) {
	s, status := c.stateid(s)
	if status != nfs4.OK {
		return nil, status
	}
	res, err := c.srv.node.CheckIO(c.ctx, c.clientID(), c.cur.key(), s, access, c.since())
	if err != nil {
		return nil, c.fail(err)
	}
	creds := c.creds()
	if res.Special || res.UID != creds.UID {
		mode := export.OpenRead
		if access&nfs4.ShareAccessWrite != 0 {
			mode = export.OpenWrite
		}
		f, err := c.openChecked(&c.cur, creds, mode)
		if err != nil {
			return nil, c.failType(err)
		}
		return unkept(c.srv.files, f), nfs4.OK
	}
	write := access&nfs4.ShareAccessWrite != 0
	f, err := c.srv.files.get(c.cur.wire(), write, func() (export.File, error) {
		mode := export.OpenRead | export.OpenGranted
		if write {
			mode |= export.OpenWrite
		}
		return c.cur.fs().Open(creds, c.cur.h, mode)
	})
	if err != nil {
		return nil, c.failType(err)
	}
	return f, nfs4.OK
}

// openChecked opens a file as the kernel allows creds to. Who may execute a file may read
// it as well, because a client cannot execute what it cannot read; its owner
// may always read and write the data of a file it has open, but that is
// known at OPEN only.
func (c *compound) openChecked(o *object, creds *export.Creds, mode export.OpenMode) (export.File, error) {
	f, err := o.fs().Open(creds, o.h, mode)
	if err == nil || mode != export.OpenRead || !errors.Is(err, export.ErrAccess) {
		return f, err
	}
	got, aerr := o.fs().Access(creds, o.h, export.AccessExecute)
	if aerr != nil || got&export.AccessExecute == 0 {
		return nil, err
	}
	return o.fs().Open(creds, o.h, mode|export.OpenGranted)
}

// failType is fail for operations on regular files: what else an object is
// has its own status (RFC 8881 §15.1.2.9 and §15.1.4.8, RFC 7530 §13.1.2).
func (c *compound) failType(err error) nfs4.Status {
	switch {
	case errors.Is(err, export.ErrSymlink):
		return c.pick(nfs4.ErrInval, nfs4.ErrSymlink)
	case errors.Is(err, export.ErrWrongType):
		return c.pick(nfs4.ErrInval, nfs4.ErrWrongType)
	}
	return c.fail(err)
}

// regular checks that c.attr is of a regular file.
func (c *compound) regular() nfs4.Status {
	switch c.attr.Type {
	case export.Regular:
		return nfs4.OK
	case export.Directory:
		return nfs4.ErrIsDir
	case export.Symlink:
		return c.failType(export.ErrSymlink)
	}
	return c.failType(export.ErrWrongType)
}

// opRead is READ (RFC 8881 §18.22).
func opRead(c *compound) nfs4.Status {
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
	room := int64(c.space()-8) &^ 3
	if room < min(count, 1) {
		return c.tooBig()
	}
	count = min(count, int64(c.srv.cfg.MaxIO), room)
	if off > math.MaxInt64 || count == 0 {
		if err := f.Getattr(&c.attr); err != nil {
			return c.fail(err)
		}
		c.w.Bool(off >= c.attr.Size)
		c.w.Uint32(0)
		return nfs4.OK
	}
	buf := c.w.Spare(int(count) + 8 + 3)
	n, eof, err := f.ReadAt(buf[8:8+count], int64(off))
	if err != nil {
		return c.fail(err)
	}
	c.w.Bool(eof)
	c.w.Uint32(uint32(n))
	c.w.Advance(n)
	c.w.Pad(n)
	return nfs4.OK
}

// opWrite is WRITE (RFC 8881 §18.32). It is not among the requests that are
// begun and done: writing the same bytes again, while the client still waits
// for the reply, changes nothing.
func opWrite(c *compound) nfs4.Status {
	s := nfs4.DecodeStateid(&c.r)
	off := c.r.Uint64()
	stable := c.r.Uint32()
	data := c.r.Opaque(c.srv.cfg.MaxIO)
	if c.r.Err() != nil || stable > nfs4.FileSync {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if _, status := c.cur.mutable(); status != nfs4.OK {
		return status
	}
	if off > math.MaxInt64-uint64(len(data)) {
		return nfs4.ErrFBig
	}
	f, status := c.openFor(s, nfs4.ShareAccessWrite)
	if status != nfs4.OK {
		return status
	}
	defer f.release()
	verifier := c.srv.writeVerifier() // before the write: a failed sync after it must show
	if err := c.mayAct(); err != nil {
		return c.fail(err)
	}
	n, err := 0, error(nil)
	if len(data) > 0 {
		if n, err = f.WriteAt(data, int64(off)); err != nil && n == 0 {
			return c.fail(err)
		}
	}
	if stable != nfs4.Unstable {
		if err := c.sync(f); err != nil {
			return c.fail(err)
		}
		stable = nfs4.FileSync
	}
	c.w.Uint32(uint32(n))
	c.w.Uint32(stable)
	verifier.Encode(c.w)
	return nfs4.OK
}

// sync makes a file's data stable. Should that fail, what was written before
// may be lost: every client must learn of it by the verifier.
func (c *compound) sync(f *openFile) error {
	err := f.Sync()
	if err != nil {
		c.srv.syncFailures.Add(1)
		c.srv.files.forget([]byte(f.id.key)) // its error would stick for ever
	}
	return err
}

// opCommit is COMMIT (RFC 8881 §18.3). It needs no stateid; the whole file is
// made stable.
func opCommit(c *compound) nfs4.Status {
	off := c.r.Uint64()
	count := c.r.Uint32()
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if off > math.MaxUint64-uint64(count) {
		return nfs4.ErrInval
	}
	if _, status := c.cur.mutable(); status != nfs4.OK {
		return status
	}
	f, err := c.srv.files.get(c.cur.wire(), false, func() (export.File, error) {
		return c.cur.fs().Open(c.creds(), c.cur.h, export.OpenRead|export.OpenGranted)
	})
	if err != nil {
		return c.failType(err)
	}
	defer f.release()
	verifier := c.srv.writeVerifier()
	if err := c.sync(f); err != nil {
		return c.fail(err)
	}
	verifier.Encode(c.w)
	return nfs4.OK
}
