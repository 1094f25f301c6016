package nfsops

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// opSetAttr is SETATTR (RFC 8881 §18.30). attrsset follows the status also when
// that is an error.
func opSetAttr(c *compound) nfs4.Status {
	sid := nfs4.DecodeStateid(&c.r)
	set, status := c.decodeSettable(&c.r, false)
	if !c.admit() {
		return c.status
	}
	var applied nfs4.Bitmap
	if status == nfs4.OK {
		status = c.setAttr(sid, &set, &applied)
	}
	if c.gone != nil || c.finished || c.jumped || c.done {
		return c.status
	}
	c.w.Truncate(c.opStart + 8)
	applied.Encode(c.w)
	c.keepBody = true
	return status
}

// setAttr sets the attributes and tells by applied those that were set.
func (c *compound) setAttr(sid nfs4.Stateid, set *settable, applied *nfs4.Bitmap) nfs4.Status {
	fs, status := c.cur.mutable()
	if status != nfs4.OK {
		return status
	}
	if set.mask.Empty() {
		return nfs4.OK
	}
	var file *openFile
	defer func() {
		if file != nil {
			file.release()
		}
	}()
	open := func() nfs4.Status {
		if set.set.Size == nil || file != nil {
			return nfs4.OK
		}
		file, status = c.openToTruncate(sid)
		return status
	}
	// What an earlier run may have done already must not keep this one from saying
	// so: then the file is opened only if need be.
	if c.req.Begun() == nil {
		if status := open(); status != nfs4.OK {
			return status
		}
	}
	outcome, err := c.beginChange(nil, c.unset(set))
	if err != nil {
		return c.fail(err)
	}
	*applied = set.mask
	if outcome != statesync.OutcomeDone {
		*applied = nfs4.Bitmap{}
		if status = open(); status == nfs4.OK {
			*applied, err = c.apply(fs, file, set)
			status = c.fail(err)
		}
	}
	if c.gone != nil || c.finished || c.jumped {
		return status
	}
	c.keepBody = true
	if err := c.req.Done(c.ctx, func() {
		c.conclude(status)
		applied.Encode(c.w)
	}); err != nil {
		*applied = nfs4.Bitmap{}
		return c.fail(err)
	}
	return status
}

// apply sets the attributes on the file system and returns those that were set.
func (c *compound) apply(fs export.Mutable, file *openFile, set *settable) (nfs4.Bitmap, error) {
	if !set.mask.AndNot(attrsACL).Empty() {
		var f export.File
		if file != nil {
			f = file.File
		}
		if err := fs.Setattr(c.creds(), c.cur.h, f, &set.set); err != nil {
			if errors.Is(err, export.ErrNotSupp) {
				err = fmt.Errorf("%w: %w", errAttrNotSupp, err)
			}
			return nfs4.Bitmap{}, err
		}
	}
	return c.applyRest(&c.cur, set)
}

// openToTruncate returns the current file, open for writing under a stateid as
// a WRITE would have it.
func (c *compound) openToTruncate(sid nfs4.Stateid) (*openFile, nfs4.Status) {
	if err := c.cur.fs().Getattr(c.cur.h, &c.attr); err != nil {
		return nil, c.fail(err)
	}
	switch c.attr.Type {
	case export.Regular:
		return c.openFor(sid, nfs4.ShareAccessWrite)
	case export.Directory:
		return nil, nfs4.ErrIsDir
	}
	return nil, nfs4.ErrInval
}

// Evidence of a SETATTR, in XDR:
//
//	filehandle   opaque
//	change       unsigned hyper, before
//	mode         unsigned int, optional; so are those that follow
//	uid, gid     unsigned int
//	size         unsigned hyper
//	atime, mtime nfstime4, if given by the client
//	lists        the access and the default ACL, each an array of tag, id, permissions

// unset is the evidence of SETATTR: what the object was before, and what it
// shall become.
func (c *compound) unset(set *settable) func() ([]byte, error) {
	return func() ([]byte, error) {
		if err := c.cur.fs().Getattr(c.cur.h, &c.attr); err != nil {
			return nil, err
		}
		var w xdr.Writer
		w.Opaque(c.cur.wire())
		w.Uint64(c.attr.Change)
		for _, p := range []*uint32{set.set.Mode, set.set.UID, set.set.GID} {
			if w.Bool(p != nil); p != nil {
				w.Uint32(*p)
			}
		}
		if w.Bool(set.set.Size != nil); set.set.Size != nil {
			w.Uint64(*set.set.Size)
		}
		given := set.set.AtimeHow == export.TimeGiven
		if w.Bool(given); given {
			encodeTime(&w, set.set.Atime)
		}
		given = set.set.MtimeHow == export.TimeGiven
		if w.Bool(given); given {
			encodeTime(&w, set.set.Mtime)
		}
		if w.Bool(set.haveACL); set.haveACL {
			encodeList(&w, set.acl)
			encodeList(&w, set.defaults)
		}
		return w.Bytes(), nil
	}
}

func encodeList(w *xdr.Writer, list []export.ACLEntry) {
	w.Uint32(uint32(len(list)))
	for _, e := range list {
		w.Uint32(uint32(e.Tag))
		w.Uint32(e.ID)
		w.Uint32(uint32(e.Perm))
	}
}

func decodeList(r *xdr.Reader) []export.ACLEntry {
	list := make([]export.ACLEntry, r.Count(maxACEs+4, 12))
	for i := range list {
		list[i] = export.ACLEntry{Tag: export.ACLTag(r.Uint32()), ID: r.Uint32(), Perm: uint8(r.Uint32())}
	}
	return list
}

// resolveSetattr says whether a SETATTR that was begun took place: the object
// changed since, and is as it should become. What the file system may have set a
// little differently is not asked for exactly: set-id bits, which it drops for who
// has no right to them, and times, which it keeps as exactly as it can.
func (s *Server) resolveSetattr(in *statesync.Intent) (statesync.Outcome, error) {
	ev := xdr.NewReader(in.Evidence)
	var o object
	exp, h, err := s.exports.Open(ev.Opaque(nfs4.FHSize))
	o.exp, o.h = exp, h
	var a export.Attr
	if err == nil {
		err = o.fs().Getattr(o.h, &a)
	}
	switch {
	case errors.Is(err, export.ErrStale):
		return statesync.OutcomeNotDone, nil
	case err != nil:
		return statesync.OutcomeUnknown, err
	}
	done := ev.Uint64() != a.Change
	modeIs, mode := ev.Bool(), uint32(0)
	if modeIs {
		mode = ev.Uint32()
	}
	if ev.Bool() {
		done = ev.Uint32() == a.UID && done
	}
	if ev.Bool() {
		done = ev.Uint32() == a.GID && done
	}
	if ev.Bool() {
		done = ev.Uint64() == a.Size && done
	}
	if ev.Bool() {
		done = sameTime(nfs4.DecodeTime(&ev), a.Atime) && done
	}
	if ev.Bool() {
		done = sameTime(nfs4.DecodeTime(&ev), a.Mtime) && done
	}
	if ev.Bool() {
		access, defaults := decodeList(&ev), decodeList(&ev)
		same, err := hasLists(&o, &a, access, defaults)
		if err != nil {
			return statesync.OutcomeUnknown, err
		}
		done = same && done
	} else if modeIs {
		const setID = nfs4.ModeSUID | nfs4.ModeSGID
		done = (mode^a.Mode)&nfs4.ModeMask&^uint32(setID) == 0 && done
	}
	if ev.Err() != nil {
		return statesync.OutcomeUnknown, fmt.Errorf("evidence of SETATTR: %w", statesync.ErrServerFault)
	}
	if done {
		return statesync.OutcomeDone, nil
	}
	return statesync.OutcomeNotDone, nil
}

// timeSlack is the coarsest granularity of times that file systems have.
const timeSlack = 2 * time.Second

func sameTime(want nfs4.Time, got time.Time) bool {
	late := time.Unix(want.Sec, int64(want.Nsec)).Sub(got)
	return late > -timeSlack && late < timeSlack
}

// hasLists says whether o's ACLs mean the same as the given ones.
func hasLists(o *object, a *export.Attr, access, defaults []export.ACLEntry) (bool, error) {
	got, err := readACL(o, a, false)
	if err != nil || !slices.Equal(toACEs(got), toACEs(access)) {
		return false, err
	}
	if a.Type != export.Directory {
		return true, nil
	}
	got, err = readACL(o, a, true)
	if err != nil || len(got) == 0 || len(defaults) == 0 {
		return len(got) == len(defaults), err
	}
	return slices.Equal(toACEs(got), toACEs(defaults)), nil
}
