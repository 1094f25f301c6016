package nfsops

import (
	"errors"
	"time"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// openArgs are OPEN4args.
type openArgs struct {
	seqid        uint32
	access, deny uint32
	want         uint32
	client       statesync.ClientID
	owner        []byte
	create       bool
	mode         uint32
	attrs        settable
	verifier     nfs4.Verifier
	claim        uint32
	name         string
	stateid      nfs4.Stateid
}

// decodeOpen reads OPEN4args. The status is that of the first argument that cannot
// be accepted, which is told only after all of them are read.
func (c *compound) decodeOpen(a *openArgs) nfs4.Status {
	status := nfs4.OK
	note := func(s nfs4.Status) {
		if status == nfs4.OK {
			status = s
		}
	}
	r := &c.r
	a.seqid = r.Uint32()
	share := r.Uint32()
	a.access, a.want = share&nfs4.ShareAccessBoth, share&^uint32(nfs4.ShareAccessBoth)
	a.deny = r.Uint32()
	a.client = statesync.ClientID(r.Uint64())
	a.owner = r.Opaque(nfs4.OpaqueLimit)
	if c.minor > 0 {
		a.client = c.clientID()
	}
	switch r.Uint32() {
	case nfs4.OpenNoCreate:
	case nfs4.OpenCreate:
		a.create = true
		a.mode = r.Uint32()
		switch {
		case a.mode <= nfs4.CreateGuarded:
			var s nfs4.Status
			a.attrs, s = c.decodeSettable(r, true)
			note(s)
		case a.mode == nfs4.CreateExclusive:
			a.verifier = nfs4.DecodeVerifier(r)
			if c.persistent() { // RFC 8881 §18.16.3: GUARDED4 is as exact there
				note(nfs4.ErrInval)
			}
		case a.mode == nfs4.CreateExclusive41 && c.minor > 0:
			a.verifier = nfs4.DecodeVerifier(r)
			var s nfs4.Status
			a.attrs, s = c.decodeSettable(r, true)
			note(s)
			if a.attrs.set.AtimeHow != export.TimeKeep || a.attrs.set.MtimeHow != export.TimeKeep {
				note(nfs4.ErrInval) // suppattr_exclcreat has no times: they hold the verifier
			}
		default:
			return nfs4.ErrBadXDR
		}
	default:
		return nfs4.ErrBadXDR
	}
	a.claim = r.Uint32()
	switch a.claim {
	case nfs4.ClaimNull, nfs4.ClaimDelegatePrev:
		note(c.decodeName(&a.name))
	case nfs4.ClaimPrevious:
		r.Uint32() // delegation type
	case nfs4.ClaimDelegateCur:
		a.stateid = nfs4.DecodeStateid(r)
		note(c.decodeName(&a.name))
	case nfs4.ClaimFH, nfs4.ClaimDelegPrevFH, nfs4.ClaimDelegCurFH:
		if c.minor == 0 {
			return nfs4.ErrBadXDR
		}
		if a.claim == nfs4.ClaimDelegCurFH {
			a.stateid = nfs4.DecodeStateid(r)
		}
	default:
		return nfs4.ErrBadXDR
	}
	if r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	known := uint32(0)
	if c.minor > 0 {
		known = nfs4.WantDelegMask | nfs4.WantSignalDeleg | nfs4.WantPushDeleg | nfs4.WantDelegTimestamps | nfs4.WantOpenXorDelegation
	}
	if a.access == 0 || a.want&^known != 0 || a.deny > nfs4.ShareDenyBoth {
		note(nfs4.ErrInval)
	}
	return status
}

// decodeName reads a component4.
func (c *compound) decodeName(name *string) nfs4.Status {
	b := c.r.Opaque(c.r.Remaining()) // checkName knows better what is too long
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := checkName(b); status != nfs4.OK {
		return status
	}
	*name = string(b)
	return nfs4.OK
}

// opOpen is OPEN (RFC 8881 §18.16, RFC 7530 §16.16).
func opOpen(c *compound) nfs4.Status {
	var a openArgs
	bad := c.decodeOpen(&a)
	if bad == nfs4.ErrBadXDR {
		return bad
	}
	if !c.admit() {
		return c.status
	}
	var turn *statesync.Turn
	if c.minor == 0 {
		var err error
		turn, err = c.srv.node.OpenOwnerTurn(c.ctx, c.req, a.client, a.owner, a.seqid)
		if err != nil {
			return c.fail(err)
		}
		defer turn.Release()
		if turn.Replay != nil {
			return c.replayTurn(turn)
		}
	}
	if bad != nfs4.OK {
		return c.failTurn(turn, bad, nil)
	}
	if status := c.current(); status != nfs4.OK {
		return c.failTurn(turn, status, nil)
	}
	switch a.claim {
	case nfs4.ClaimNull:
		if a.create {
			return c.openCreate(&a, turn)
		}
		var attr export.Attr
		exp, h, err := c.lookupName(&c.cur, a.name, &attr)
		if err != nil {
			return c.failTurn(turn, c.fail(err), nil)
		}
		var o object
		o.put(c, exp, h)
		return c.openExisting(&a, turn, &o, &attr)
	case nfs4.ClaimFH:
		if a.create {
			return nfs4.ErrInval
		}
		var attr export.Attr
		if err := c.cur.fs().Getattr(c.cur.h, &attr); err != nil {
			return c.fail(err)
		}
		if attr.Type == export.Regular && attr.Nlink == 0 {
			// Removed, and somebody is still in it. The client that opens it takes it
			// for what its name leads to, and has to look that up anew.
			return c.fail(export.ErrStale)
		}
		var o object
		o.copyFrom(&c.cur)
		return c.openExisting(&a, turn, &o, &attr)
	case nfs4.ClaimPrevious:
		// State is never lost, so there is nothing to reclaim and no grace period.
		return c.failTurn(turn, nfs4.ErrNoGrace, nil)
	case nfs4.ClaimDelegateCur, nfs4.ClaimDelegCurFH:
		return c.failTurn(turn, nfs4.ErrBadStateid, nil) // no delegation was granted
	default:
		return c.failTurn(turn, nfs4.ErrNotSupp, nil)
	}
}

// openExisting opens object o, which exists.
func (c *compound) openExisting(a *openArgs, turn *statesync.Turn, o *object, attr *export.Attr) nfs4.Status {
	if status := c.openable(attr); status != nfs4.OK {
		return c.failTurn(turn, status, nil)
	}
	file, err := c.openGrant(o, a.access)
	if err != nil {
		return c.failTurn(turn, c.failType(err), nil)
	}
	// Without OPEN4_CREATE nothing can have changed, and no client looks.
	var d export.DirChange
	if a.create {
		c.dirChange(&d)
	}
	return c.openState(a, turn, o, file, d, nfs4.Bitmap{})
}

// openable checks the type of what is to be opened (RFC 7530 §16.16.5, RFC
// 8881 §18.16.3).
func (c *compound) openable(attr *export.Attr) nfs4.Status {
	switch attr.Type {
	case export.Regular:
		return nfs4.OK
	case export.Directory:
		return nfs4.ErrIsDir
	case export.Symlink:
		return nfs4.ErrSymlink
	}
	return c.pick(nfs4.ErrSymlink, nfs4.ErrWrongType)
}

// openGrant asks the kernel whether the caller may open o, and returns the open
// file where I/O can use it.
func (c *compound) openGrant(o *object, access uint32) (export.File, error) {
	creds := c.credsFor(o)
	switch access {
	case nfs4.ShareAccessRead:
		return c.openChecked(o, creds, export.OpenRead)
	case nfs4.ShareAccessWrite:
		if o.exp.ReadOnly {
			return nil, export.ErrReadOnly
		}
		f, err := o.fs().Open(creds, o.h, export.OpenWrite)
		if err == nil {
			f.Close() // opened again for both when written to
		}
		return nil, err
	}
	if o.exp.ReadOnly {
		return nil, export.ErrReadOnly
	}
	return o.fs().Open(creds, o.h, export.OpenRead|export.OpenWrite)
}

// dirChange is the change_info4 of an OPEN that did not change the directory.
func (c *compound) dirChange(d *export.DirChange) {
	var attr export.Attr
	if c.cur.fs().Getattr(c.cur.h, &attr) == nil {
		*d = export.DirChange{Before: attr.Change, After: attr.Change, Atomic: true}
	}
}

// openStateArgs is what the shared state must know of an OPEN of object o.
func (c *compound) openStateArgs(a *openArgs, o *object) *statesync.OpenArgs {
	return &statesync.OpenArgs{
		Client: a.client, Owner: a.owner, File: o.key(), Access: a.access, Deny: a.deny, Claim: a.claim,
		UID: c.credsFor(o).UID,
	}
}

// openState commits the open and encodes its result. file may be nil; it is
// kept or closed.
func (c *compound) openState(a *openArgs, turn *statesync.Turn, o *object, file export.File, d export.DirChange, set nfs4.Bitmap) nfs4.Status {
	err := c.srv.node.Open(c.ctx, c.req, turn, c.openStateArgs(a, o), func(res *statesync.OpenResult) {
		c.cur.copyFrom(o)
		c.setStateid(res.Stateid)
		c.succeed()
		w := c.w
		res.Stateid.Encode(w)
		changeInfo(w, d)
		flags := uint32(nfs4.OpenResultLocktypePOSIX)
		if res.NeedConfirm {
			flags |= nfs4.OpenResultConfirm
		}
		w.Uint32(flags)
		set.Encode(w)
		c.encodeNoDelegation(a.want)
	})
	if err != nil {
		if file != nil {
			file.Close()
		}
		return c.failTurn(turn, c.fail(err), nil)
	}
	if file != nil {
		c.srv.files.keepAs(o.wire(), a.access&nfs4.ShareAccessWrite != 0, file).release()
	}
	return c.status
}

// encodeNoDelegation is open_delegation4 of a server that grants none.
func (c *compound) encodeNoDelegation(want uint32) {
	switch want & nfs4.WantDelegMask {
	case nfs4.WantNoPreference:
		c.w.Uint32(nfs4.OpenDelegateNone)
	case nfs4.WantNoDeleg:
		c.w.Uint32(nfs4.OpenDelegateNoneExt)
		c.w.Uint32(nfs4.WNDNotWanted)
	case nfs4.WantCancel:
		c.w.Uint32(nfs4.OpenDelegateNoneExt)
		c.w.Uint32(nfs4.WNDCancelled)
	default:
		c.w.Uint32(nfs4.OpenDelegateNoneExt)
		c.w.Uint32(nfs4.WNDResource)
		c.w.Bool(false) // will not signal when one is available
	}
}

// Evidence of an OPEN that creates or truncates begins with what it is about.
const (
	evidenceAbsent   = 0
	evidenceTruncate = 1 // followed by the filehandle and its change
)

// errNameExists says that OPEN with OPEN4_CREATE finds a file and need not
// change it.
var errNameExists = errors.New("name exists")

// openCreate is OPEN with OPEN4_CREATE.
func (c *compound) openCreate(a *openArgs, turn *statesync.Turn) nfs4.Status {
	fs, status := c.cur.mutable()
	if status != nfs4.OK {
		return c.failTurn(turn, status, nil)
	}
	dir := c.cur.key()
	var existing object
	var attr export.Attr
	names := []statesync.Name{{Dir: dir, Name: a.name}}
	truncate := a.mode == nfs4.CreateUnchecked && a.attrs.set.Size != nil && *a.attrs.set.Size == 0
	kind := -1
	outcome, err := c.beginChange(names, func() ([]byte, error) {
		exp, h, err := c.lookupName(&c.cur, a.name, &attr)
		if errors.Is(err, export.ErrNotExist) {
			kind = evidenceAbsent
			return []byte{evidenceAbsent}, nil
		}
		if err != nil {
			return nil, err
		}
		existing.put(c, exp, h)
		if a.mode == nfs4.CreateUnchecked && truncate && attr.Type == export.Regular && attr.Size != 0 {
			if err := c.srv.node.TestOpen(c.ctx, c.req, turn, c.openStateArgs(a, &existing)); err != nil {
				return nil, err
			}
			if a.access&nfs4.ShareAccessWrite == 0 { // it writes all the same
				if err := c.srv.node.ConflictsWithDeny(c.ctx, existing.key(), nfs4.ShareAccessWrite); err != nil {
					return nil, err
				}
			}
			kind = evidenceTruncate
			w := xdr.NewWriter([]byte{evidenceTruncate})
			w.Opaque(existing.wire())
			w.Uint64(attr.Change)
			return w.Bytes(), nil
		}
		return nil, errNameExists
	})
	if errors.Is(err, errNameExists) {
		return c.openFound(a, turn, &existing, &attr, truncate)
	}
	if err != nil {
		return c.failTurn(turn, c.fail(err), nil)
	}
	if in := c.req.Begun(); kind < 0 && in != nil && len(in.Evidence) > 0 {
		kind = int(in.Evidence[0]) // begun by an earlier run
	}
	if kind == evidenceAbsent {
		return c.openMake(a, turn, fs, outcome)
	}
	return c.openTruncate(a, turn, fs, outcome, &existing)
}

// openTruncate makes a regular file empty, or an earlier run did, and opens it. The file is
// the one that the evidence names if o is none yet.
func (c *compound) openTruncate(a *openArgs, turn *statesync.Turn, fs export.Mutable, outcome statesync.Outcome, o *object) nfs4.Status {
	if o.exp == nil {
		ev := xdr.NewReader(c.req.Begun().Evidence[1:])
		if !o.set(c, ev.Opaque(nfs4.FHSize)) {
			return c.failTurn(turn, c.fail(export.ErrStale), nil)
		}
	}
	file, err := c.openGrant(o, a.access)
	if outcome == statesync.OutcomeDone && errors.Is(err, export.ErrStale) {
		file, err = nil, nil // it was removed since
	}
	if err != nil {
		return c.failTurn(turn, c.failType(err), nil)
	}
	if outcome != statesync.OutcomeDone {
		zero := uint64(0)
		if err := fs.Setattr(c.creds(), o.h, nil, &export.SetAttr{Size: &zero}); err != nil {
			if file != nil {
				file.Close()
			}
			return c.failTurn(turn, c.fail(err), nil)
		}
	}
	var d export.DirChange
	c.dirChange(&d)
	return c.openState(a, turn, o, file, d, nfs4.BitmapOf(nfs4.AttrSize))
}

// openFound is an OPEN with OPEN4_CREATE of a name that exists.
func (c *compound) openFound(a *openArgs, turn *statesync.Turn, o *object, attr *export.Attr, truncate bool) nfs4.Status {
	switch a.mode {
	case nfs4.CreateGuarded:
		return c.failTurn(turn, nfs4.ErrExist, nil)
	case nfs4.CreateExclusive, nfs4.CreateExclusive41:
		if attr.Type != export.Regular || !holdsVerifier(attr, a.verifier) {
			return c.failTurn(turn, nfs4.ErrExist, nil)
		}
		// Made by an earlier run of this very OPEN: whoever made it may use it.
		var d export.DirChange
		c.dirChange(&d)
		return c.openState(a, turn, o, nil, d, exclusiveSet(a))
	}
	if truncate && attr.Type == export.Regular {
		var d export.DirChange
		file, err := c.openGrant(o, a.access)
		if err != nil {
			return c.failTurn(turn, c.failType(err), nil)
		}
		c.dirChange(&d)
		return c.openState(a, turn, o, file, d, nfs4.BitmapOf(nfs4.AttrSize))
	}
	return c.openExisting(a, turn, o, attr)
}

// verifierTimes puts a create verifier into two timestamps, where it survives
// with the file (RFC 8881 §18.16.3). Seconds of 31 bits are what every file
// system can hold; the top bit of each half is told by the nanoseconds.
func verifierTimes(v nfs4.Verifier) (atime, mtime time.Time) {
	r := xdr.NewReader(v[:])
	half := func(n uint32) time.Time { return time.Unix(int64(n&0x7fffffff), 250e6+500e6*int64(n>>31)) }
	return half(r.Uint32()), half(r.Uint32())
}

// holdsVerifier says whether a file was made with the verifier. A file system
// that keeps whole seconds loses the top bits.
func holdsVerifier(attr *export.Attr, v nfs4.Verifier) bool {
	holds := func(have, want time.Time) bool {
		return have.Equal(want) || have.Nanosecond() == 0 && have.Unix() == want.Unix()
	}
	at, mt := verifierTimes(v)
	return holds(attr.Atime, at) && holds(attr.Mtime, mt)
}

// persistent says whether the request's session keeps its replies whatever
// happens to the server.
func (c *compound) persistent() bool {
	return c.req != nil && c.req.Session != nil && c.req.Session.Flags&nfs4.CreateSessionPersist != 0
}

// exclusiveSet is attrset of an exclusive create: the attributes that were set
// and those that hold the verifier.
func exclusiveSet(a *openArgs) nfs4.Bitmap {
	set := a.attrs.mask
	set.Set(nfs4.AttrTimeAccess)
	set.Set(nfs4.AttrTimeModify)
	return set
}

// openMake makes the file and opens it.
func (c *compound) openMake(a *openArgs, turn *statesync.Turn, fs export.Mutable, outcome statesync.Outcome) nfs4.Status {
	var o object
	var file export.File
	var d export.DirChange
	var attr export.Attr
	exclusive := a.mode >= nfs4.CreateExclusive
	if outcome == statesync.OutcomeDone {
		if err := c.earlier(&o); err != nil {
			return c.failTurn(turn, c.fail(err), nil)
		}
		c.dirChange(&d)
		d.Atomic = false
	} else {
		args := export.MakeArgs{Type: export.Regular, Set: a.attrs.set, Umask: a.attrs.umask}
		if exclusive {
			args.Set.AtimeHow, args.Set.MtimeHow = export.TimeGiven, export.TimeGiven
			args.Set.Atime, args.Set.Mtime = verifierTimes(a.verifier)
			if args.Set.Mode == nil {
				args.Set.Mode = new(uint32) // until the client says more
			}
		}
		h, f, change, err := fs.Make(c.creds(), c.cur.h, a.name, &args, true, &attr)
		if err != nil {
			return c.failTurn(turn, c.fail(err), nil)
		}
		file, d = f, change
		o.put(c, c.cur.exp, h)
	}
	set, err := c.applyMade(&o, &a.attrs, outcome)
	if err != nil {
		if file != nil {
			file.Close()
		}
		c.unmake(fs, a.name, outcome)
		return c.failTurn(turn, c.fail(err), nil)
	}
	if exclusive {
		set = exclusiveSet(a)
	}
	status := c.openState(a, turn, &o, nil, d, set)
	if file != nil {
		if status == nfs4.OK {
			c.srv.files.keepAs(o.wire(), true, file).release()
		} else {
			file.Close()
		}
	}
	return status
}

// unmake removes what was just made and could not be given its attributes: the
// operation failed, so there must be nothing.
func (c *compound) unmake(fs export.Mutable, name string, outcome statesync.Outcome) {
	if outcome == statesync.OutcomeDone {
		return // made by an earlier run, which may have told
	}
	if _, err := fs.Remove(c.creds(), c.cur.h, name); err != nil {
		c.srv.log.Warn("object whose attributes could not be set stays", "name", name, "error", err)
	}
}

// resolveOpen finds out whether an OPEN made its file, or truncated it.
func (s *Server) resolveOpen(in *statesync.Intent) (statesync.Outcome, error) {
	took := statesync.OutcomeNotDone
	if len(in.Evidence) > 0 && in.Evidence[0] == evidenceTruncate {
		ev := xdr.NewReader(in.Evidence[1:])
		exp, h, err := s.exports.Open(ev.Opaque(nfs4.FHSize))
		change := ev.Uint64()
		if err != nil || ev.Err() != nil {
			return took, nil
		}
		var attr export.Attr
		if err := exp.FS.Getattr(h, &attr); err == nil && attr.Size == 0 && attr.Change != change {
			took = statesync.OutcomeDone
		}
		return took, nil
	}
	return s.resolveMade(in)
}
