package suite

import (
	"bytes"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func openClaimTests() []Test {
	const claims = "RFC 7530 §16.16.5, RFC 8881 §18.16.3"
	const grace = "RFC 7530 §9.6.2, RFC 8881 §8.4.2.1"
	return []Test{
		{Code: "CLAIM1", minors: all, RFC: grace, Says: "CLAIM_PREVIOUS outside the grace period is NFS4ERR_NO_GRACE, whatever delegation it claims", run: claimPrevious},
		{Code: "CLAIM2", minors: all, RFC: claims, Says: "CLAIM_PREVIOUS for a directory is refused", run: claimPreviousDir},
		{Code: "CLAIM3", minors: all, RFC: claims, Says: "CLAIM_DELEGATE_CUR with an open's stateid, which is no delegation's, is NFS4ERR_BAD_STATEID", run: claimCurOpen},
		{Code: "CLAIM4", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "CLAIM_DELEG_CUR_FH with an open's stateid, which is no delegation's, is NFS4ERR_BAD_STATEID", run: claimCurFHOpen},
		{Code: "CLAIM5", minors: all, RFC: "RFC 7530 §16.16.5, RFC 8881 §10.2.1", Says: "CLAIM_DELEGATE_PREV without a delegation of an earlier instance is refused", run: claimPrev},
		{Code: "CLAIM6", minors: v12, RFC: "RFC 8881 §10.2.1", Says: "CLAIM_DELEG_PREV_FH without a delegation of an earlier instance is refused", run: claimPrevFH},
		{Code: "CLAIM7", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "CLAIM_FH of a directory is NFS4ERR_ISDIR, of a symbolic link NFS4ERR_SYMLINK, of others NFS4ERR_WRONG_TYPE", run: claimFHTypes},
		{Code: "CLAIM8", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "CLAIM_FH keeps the current filehandle and gives the stateid that CLAIM_NULL of the same owner gave", run: claimFHSame},
		{Code: "CLAIM9", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "CLAIM_FH heeds the share reservations of others", run: claimFHDenied},
		{Code: "CLAIM10", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "CLAIM_FH checks the user's permission", run: claimFHAccess},
		{Code: "CLAIM11", minors: all, RFC: "RFC 7530 §9.6.2, RFC 8881 §9.11", Says: "LOCK with reclaim outside the grace period is NFS4ERR_NO_GRACE and locks nothing", run: claimLock},
		{Code: "OPENM1", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "OPEN4_RESULT_CONFIRM is never returned", run: openNoConfirm},
		{Code: "OPENM2", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "the seqid of OPEN, CLOSE and LOCK may be any value", run: openAnySeqid},
		{Code: "OPENM3", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "to WANT_NO_DELEG no delegation is given, and NONE_EXT says WND4_NOT_WANTED", run: openNoDeleg},
		{Code: "OPENM4", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "a WANT value that is not defined is refused, or at least brings no delegation", run: openWantUndefined},
		{Code: "OPENM5", minors: all, RFC: claims, Says: "each opened type but a regular file is refused by OPEN with create, too", run: openCreateTypes},
		{Code: "OPENM6", minors: all, RFC: claims, Says: "an OPEN that fails leaves no open: the file can be opened with every deny", run: openFailedNothing},
		{Code: "OPENM7", minors: all, RFC: claims, Says: "of many opens by one owner one CLOSE closes all", run: openOneClose},
		{Code: "OPENM8", minors: all, RFC: claims, Says: "the same owner's name of two clients are two owners", run: openOwnersOfTwo},
		{Code: "OPENM9", minors: all, RFC: "RFC 7530 §16.16.5, RFC 8881 §18.16.3", Says: "a file that was removed and made again under its name is opened anew", run: openAfterRemove},
		{Code: "OPENM10", minors: all, RFC: "RFC 7530 §16.19.4, RFC 8881 §18.18.3", Says: "OPEN_DOWNGRADE with an access or deny that is not defined is NFS4ERR_INVAL", run: openDowngradeUndefined},
		{Code: "OPENM11", minors: all, RFC: "RFC 7530 §16.19.4, RFC 8881 §18.18.3", Says: "OPEN_DOWNGRADE to the mode that is open succeeds and raises the seqid", run: openDowngradeSame},
		{Code: "OPENM12", minors: all, RFC: "RFC 7530 §16.2.4, RFC 8881 §18.2.3", Says: "after CLOSE the lock stateids of the open are not valid", run: openCloseLocks},
	}
}

func claimPrevious(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	for _, deleg := range []uint32{nfs4.OpenDelegateNone, nfs4.OpenDelegateRead, nfs4.OpenDelegateWrite} {
		_, err := c.Open(client.NewOwner(), fh, client.OpenArgs{Access: 3, Claim: nfs4.ClaimPrevious, DelegType: deleg})
		e.Err(err, nfs4.ErrNoGrace)
	}
}

func claimPreviousDir(e *Env) {
	c := e.Client()
	_, err := c.Open(client.NewOwner(), e.Dir(), client.OpenArgs{Access: 3, Claim: nfs4.ClaimPrevious})
	e.Err(err, nfs4.ErrNoGrace, nfs4.ErrIsDir, nfs4.ErrInval)
}

func claimCurOpen(e *Env) {
	h := e.holding(e.Client())
	_, err := h.c.Open(client.NewOwner(), h.dir, client.OpenArgs{Access: 1, Claim: nfs4.ClaimDelegateCur, DelegStateid: h.f.Stateid, Name: "f"})
	e.Err(err, nfs4.ErrBadStateid, nfs4.ErrNotSupp)
}

func claimCurFHOpen(e *Env) {
	h := e.holding(e.Client())
	for _, s := range []nfs4.Stateid{h.f.Stateid, h.l.Stateid, nfs4.AnonymousStateid} {
		_, err := h.c.Open(client.NewOwner(), h.f.FH, client.OpenArgs{Access: 1, Claim: nfs4.ClaimDelegCurFH, DelegStateid: s})
		e.Err(err, nfs4.ErrBadStateid, nfs4.ErrNotSupp)
	}
}

func claimPrev(e *Env) {
	h := e.holding(e.Client())
	_, err := h.c.Open(client.NewOwner(), h.dir, client.OpenArgs{Access: 1, Claim: nfs4.ClaimDelegatePrev, Name: "f"})
	e.Err(err, nfs4.ErrNotSupp, nfs4.ErrInval, nfs4.ErrReclaimBad, nfs4.ErrNoGrace)
}

func claimPrevFH(e *Env) {
	h := e.holding(e.Client())
	_, err := h.c.Open(client.NewOwner(), h.f.FH, client.OpenArgs{Access: 1, Claim: nfs4.ClaimDelegPrevFH})
	e.Err(err, nfs4.ErrNotSupp, nfs4.ErrInval, nfs4.ErrReclaimBad, nfs4.ErrNoGrace)
}

func claimFHTypes(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		want := nfs4.ErrWrongType
		switch typ {
		case nfs4.TypeReg:
			continue
		case nfs4.TypeDir:
			want = nfs4.ErrIsDir
		case nfs4.TypeLnk:
			want = nfs4.ErrSymlink
		}
		_, err := c.Open(client.NewOwner(), fh, client.OpenArgs{Access: 1, Claim: nfs4.ClaimFH})
		e.Err(err, want)
	}
}

func claimFHSame(e *Env) {
	h := e.holding(e.Client())
	g, err := h.c.Open(h.f.Owner, h.f.FH, client.OpenArgs{Access: 1, Claim: nfs4.ClaimFH})
	e.Must(err)
	if !bytes.Equal(g.FH, h.f.FH) {
		e.Errorf("the current filehandle becomes %v, it was %v", g.FH, h.f.FH)
	}
	if g.Stateid.Other != h.f.Stateid.Other || g.Stateid.Seqid != h.f.Stateid.Seqid+1 {
		e.Errorf("%v, then by CLAIM_FH %v", h.f.Stateid, g.Stateid)
	}
}

func claimFHDenied(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: 2, Name: "f"})
	e.Must(err)
	_, err = c.Open(client.NewOwner(), f.FH, client.OpenArgs{Access: 2, Claim: nfs4.ClaimFH})
	e.Err(err, nfs4.ErrShareDenied)
	_, err = c.Open(client.NewOwner(), f.FH, client.OpenArgs{Access: 1, Deny: 1, Claim: nfs4.ClaimFH})
	e.Err(err, nfs4.ErrShareDenied)
}

func claimFHAccess(e *Env) {
	s := e.attrScene()
	u := e.User(1001, 1001)
	_, err := u.Open(client.NewOwner(), s.fh, client.OpenArgs{Access: 2, Claim: nfs4.ClaimFH})
	e.Err(err, nfs4.ErrAccess)
	_, err = u.Open(client.NewOwner(), s.fh, client.OpenArgs{Access: 1, Claim: nfs4.ClaimFH})
	e.Must(err)
}

func claimLock(e *Env) {
	h := e.holding(e.Client())
	e.Want(h.c, is(nfs4.ErrNoGrace), client.PutFH(h.f.FH), client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Reclaim: true, Offset: 100, Length: 10, LockStateid: h.l.Stateid, LockSeqid: h.l.Owner.Seqid,
	}))
	if any, _ := e.held(h.f, 100, 10); any {
		e.Errorf("the refused reclaim holds the range")
	}
}

func openNoConfirm(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for _, name := range []string{"f", "f", "g"} {
		f, err := c.CreateFile(dir, name)
		e.Must(err)
		if f.Res.Flags&nfs4.OpenResultConfirm != 0 {
			e.Errorf("flags %#x", f.Res.Flags)
		}
	}
}

func openAnySeqid(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	owner := &client.StateOwner{Name: client.UniqueName("owner "), Seqid: 77}
	for _, seqid := range []uint32{77, 3, 0xffffffff, 0} {
		owner.Seqid = seqid
		f, err := c.Open(owner, dir, client.OpenArgs{Access: 3, Name: "f"})
		e.Must(err)
		l := f.Locks(&client.StateOwner{Name: client.UniqueName("locker "), Seqid: seqid})
		e.Must(l.Lock(nfs4.WriteLT, 0, 1))
		l.Owner.Seqid = seqid
		e.Must(l.Unlock(0, 1))
		owner.Seqid = seqid
		e.Must(f.Close())
	}
}

func openNoDeleg(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1 | nfs4.WantNoDeleg, Name: "f"})
	e.Must(err)
	switch f.Res.Delegation {
	case nfs4.OpenDelegateNone: // of a server that does not heed the flags
	case nfs4.OpenDelegateNoneExt:
		if f.Res.WhyNone != nfs4.WNDNotWanted {
			e.Errorf("why none: %d", f.Res.WhyNone)
		}
	default:
		e.Errorf("delegation type %d", f.Res.Delegation)
	}
}

func openWantUndefined(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1 | 0x0700, Name: "f"})
	e.Err(err, nfs4.ErrInval, nfs4.ErrBadXDR, nfs4.OK)
	if f != nil && f.Res.Delegation != nfs4.OpenDelegateNone && f.Res.Delegation != nfs4.OpenDelegateNoneExt {
		e.Errorf("delegation type %d", f.Res.Delegation)
	}
}

func openCreateTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for typ := range e.objects(c, dir) {
		if typ == nfs4.TypeReg {
			continue
		}
		name := map[nfs4.FileType]string{nfs4.TypeDir: "dir", nfs4.TypeLnk: "lnk", nfs4.TypeFIFO: "fifo", nfs4.TypeSock: "sock"}[typ]
		if name == "" {
			name = typ.String()
		}
		_, err := e.create(c, dir, client.OpenArgs{Name: name})
		e.Err(err, nfs4.ErrIsDir, nfs4.ErrSymlink, nfs4.ErrExist, nfs4.ErrInval, nfs4.ErrWrongType)
		_, err = e.create(c, dir, client.OpenArgs{Name: name, Mode: nfs4.CreateGuarded})
		e.Err(err, nfs4.ErrExist)
	}
}

func openFailedNothing(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "")
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o400))
	u := e.User(1001, 1001)
	_, err := u.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: 3, Name: "f"})
	e.Err(err, nfs4.ErrAccess)
	_, err = u.Open(client.NewOwner(), dir, client.OpenArgs{Access: 0, Deny: 3, Name: "f"})
	e.Err(err, nfs4.ErrInval, nfs4.ErrBadXDR) // OPEN4 says which
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: 3, Name: "f"})
	e.Must(err)
	e.Must(f.Close())
}

func openOneClose(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	owner := client.NewOwner()
	var f *client.OpenFile
	for _, access := range []uint32{1, 2, 3, 1, 3} {
		var err error
		f, err = c.Open(owner, dir, client.OpenArgs{Access: access, Name: "f"})
		e.Must(err)
	}
	e.Must(f.Close())
	g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: 3, Name: "f"})
	e.Must(err)
	e.Must(g.Close())
}

func openOwnersOfTwo(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	name := client.UniqueName("owner ")
	f, err := c.Open(&client.StateOwner{Name: name}, dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	other := e.NewClient(nil)
	g, err := other.Open(&client.StateOwner{Name: name}, dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	if f.Stateid.Other == g.Stateid.Other {
		e.Errorf("both have %v", f.Stateid)
	}
	e.Must(g.Close())
	_, err = f.Read(0, 1)
	e.Must(err)
}

func openAfterRemove(e *Env) {
	c := e.Client()
	dir := e.Dir()
	old := e.Closed(c, dir, "f", "old")
	e.OK(c, client.PutFH(dir), client.Remove("f"))
	f := e.File(c, dir, "f", "new")
	if bytes.Equal(old, f.FH) {
		e.Errorf("the new file has the old one's filehandle")
	}
	if got := e.Contents(c, f.FH); got != "new" {
		e.Errorf("it reads %q", got)
	}
}

func openDowngradeUndefined(e *Env) {
	for _, m := range []shareMode{{4, 0}, {0, 0}, {1, 4}, {1, 0xffffffff}} {
		f := e.File(e.Client(), e.Dir(), "f", "")
		e.Err(f.Downgrade(m.access, m.deny), nfs4.ErrInval)
	}
}

func openDowngradeSame(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	before := f.Stateid
	e.Must(f.Downgrade(3, 0))
	if f.Stateid.Other != before.Other || f.Stateid.Seqid != before.Seqid+1 {
		e.Errorf("%v, then %v", before, f.Stateid)
	}
	_, err := f.Write(0, nfs4.FileSync, []byte("x"))
	e.Must(err)
}

func openCloseLocks(e *Env) {
	h := e.holding(e.Client())
	e.Must(h.l.Unlock(0, nfs4.Uint64Max))
	e.Must(h.f.Close())
	e.Want(h.c, is(nfs4.ErrBadStateid), client.PutFH(h.f.FH), client.LockU(nfs4.WriteLT, h.l.Owner.Seqid, h.l.Stateid, 0, 10))
	e.Want(h.c, is(nfs4.ErrBadStateid), client.PutFH(h.f.FH), client.Read(h.l.Stateid, 0, 1))
}
