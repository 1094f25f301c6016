package suite

import (
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func openTests() []Test {
	return []Test{
		{Code: "OPEN1", minors: all, RFC: "RFC 8881 §18.16", Says: "an existing file is opened; the current filehandle becomes the file", run: openExisting},
		{Code: "OPEN2", minors: all, RFC: "RFC 8881 §18.16", Says: "a name that does not exist is NFS4ERR_NOENT without create", run: openNoEnt},
		{Code: "OPEN3", minors: all, RFC: "RFC 8881 §18.16.3", Says: "a directory is NFS4ERR_ISDIR, a symbolic link NFS4ERR_SYMLINK, other types refused", run: openTypes},
		{Code: "OPEN4", minors: all, RFC: "RFC 8881 §18.16.3, §18.18.3", Says: "no access, and access or deny not defined, are NFS4ERR_INVAL for OPEN and OPEN_DOWNGRADE", run: openBadAccess},
		{Code: "OPEN5", minors: all, RFC: "RFC 8881 §18.16.3", Says: "an empty name is NFS4ERR_INVAL, one too long NFS4ERR_NAMETOOLONG", run: openNames},
		{Code: "OPEN6", minors: all, RFC: "RFC 8881 §18.16", Says: "opening below anything but a directory is NFS4ERR_NOTDIR", run: openNotDir},
		{Code: "OPEN7", minors: all, RFC: "RFC 8881 §9.10", Says: "a second open by the same owner unites access and keeps the stateid, its seqid one higher", run: openUpgrade},
		{Code: "OPEN8", minors: all, RFC: "RFC 8881 §9.10", Says: "another owner has another stateid", run: openOtherOwner},
		{Code: "OPEN9", minors: all, RFC: "RFC 8881 §18.18", Says: "OPEN_DOWNGRADE takes access away", run: openDowngrade},
		{Code: "OPEN10", minors: all, RFC: "RFC 8881 §18.18.3", Says: "OPEN_DOWNGRADE to what is not held is NFS4ERR_INVAL", run: openDowngradeBad},
		{Code: "OPEN11", minors: all, RFC: "RFC 8881 §18.2", Says: "after CLOSE, CLOSE again is NFS4ERR_BAD_STATEID", run: openCloseTwice},
		{Code: "OPEN12", minors: all, RFC: "RFC 8881 §18.16", Says: "without permission OPEN is NFS4ERR_ACCESS", run: openAccess},
		{Code: "OPEN13", minors: v12, RFC: "RFC 8881 §18.16", Says: "CLAIM_FH opens by filehandle", run: openClaimFH},
		{Code: "OPEN14", minors: all, RFC: "RFC 8881 §9.11, §18.16.3", Says: "a reclaim outside grace is NFS4ERR_NO_GRACE", run: openReclaim},
		{Code: "OPEN15", minors: all, RFC: "RFC 8881 §18.16.3", Says: "a claim by a delegation that does not exist is refused", run: openDelegCur},
		{Code: "OPEN16", minors: all, RFC: "RFC 8881 §18.16.1", Says: "an owner of 1024 bytes is served", run: openLongOwner},
		{Code: "OPEN17", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "what the client wants of delegations is accepted; whatever is granted fits it", run: openWants},
		{Code: "OPEN18", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "the owner's client ID is the session's, whatever the request says", run: openOwnerClientID},
		{Code: "OPEN19", minors: v0, RFC: "RFC 7530 §16.16", Says: "an owner of a client ID that is not known is NFS4ERR_STALE_CLIENTID", run: openStaleClient},
		{Code: "OPEN20", minors: all, RFC: "RFC 8881 §18.16", Says: "one file may be open by many owners", run: openMany},
		{Code: "OPEN21", minors: all, RFC: "RFC 8881 §18.16", Says: "change_info is the directory's when a file is created", run: openChange},
		{Code: "OPEN22", minors: v12, RFC: "RFC 8881 §8.2.3", Says: "CLOSE gives a stateid that is not valid any more", run: openCloseStateid},
		{Code: "OPEN23", minors: all, RFC: "RFC 8881 §18.16", Says: "one owner may have many files open", run: openManyFiles},
		{Code: "OPEN24", minors: all, RFC: "RFC 7530 §13.1.1.1, RFC 8881 §15.1.1.1", Says: "an owner of more than 1024 bytes is a decoding error", run: openTooLongOwner},
	}
}

func openExisting(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "contents")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	if string(f.FH) != string(fh) || f.Stateid.IsSpecial() || f.Stateid.Seqid == 0 {
		e.Errorf("%v, want filehandle %v", f, fh)
	}
	r, err := f.Read(0, 100)
	e.Must(err)
	if string(r.Data) != "contents" {
		e.Errorf("%v", r)
	}
	e.Must(f.Close())
}

func openNoEnt(e *Env) {
	_, err := e.Client().Open(client.NewOwner(), e.Dir(), client.OpenArgs{Access: 1, Name: "missing"})
	e.Err(err, nfs4.ErrNoEnt)
}

func openTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.objects(c, dir)
	entries, err := c.List(dir, 32<<10, nfs4.AttrType)
	e.Must(err)
	for _, en := range entries {
		want := is(nfs4.ErrInval, nfs4.ErrSymlink, nfs4.ErrWrongType)
		switch en.Attrs.Type {
		case nfs4.TypeReg:
			continue
		case nfs4.TypeDir:
			want = is(nfs4.ErrIsDir)
		case nfs4.TypeLnk:
			want = is(nfs4.ErrSymlink)
		}
		_, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Name: en.Name})
		e.Err(err, want...)
	}
}

func openBadAccess(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	for _, a := range []client.OpenArgs{{Access: 0}, {Access: 4}, {Access: 1, Deny: 4}, {Access: 1, Deny: 0xff}} {
		a.Name = "f"
		_, err := c.Open(client.NewOwner(), dir, a)
		e.Err(err, nfs4.ErrInval)
	}
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})
	e.Must(err)
	e.Err(f.Downgrade(0, 0), nfs4.ErrInval)
}

func openNames(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for _, how := range []uint32{nfs4.OpenNoCreate, nfs4.OpenCreate} {
		_, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, How: how})
		e.Err(err, nfs4.ErrInval)
		_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, How: how, Name: strings.Repeat("n", 1000)})
		e.Err(err, nfs4.ErrNameTooLong)
		for _, name := range []string{".", ".."} {
			_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, How: how, Name: name})
			e.Err(err, nfs4.ErrBadName, nfs4.ErrInval, nfs4.ErrNoEnt, nfs4.ErrIsDir, nfs4.ErrExist)
		}
	}
}

func openNotDir(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		if typ != nfs4.TypeDir {
			_, err := c.Open(client.NewOwner(), fh, client.OpenArgs{Access: 1, Name: "x"})
			e.Err(err, nfs4.ErrNotDir, nfs4.ErrSymlink)
		}
	}
}

func openUpgrade(e *Env) {
	c := e.Client()
	f, _ := e.upgraded(c)
	_, err := f.Write(0, nfs4.FileSync, []byte("x"))
	e.Must(err)
	_, err = f.Read(0, 1)
	e.Must(err)
	// One CLOSE ends both opens.
	e.Must(f.Close())
	e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrExpired), client.PutFH(f.FH), client.Read(f.Stateid, 0, 1))
}

func openOtherOwner(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f, g := e.File(c, dir, "f", ""), e.File(c, dir, "f", "")
	if f.Stateid.Other == g.Stateid.Other {
		e.Errorf("two owners have %v", f.Stateid)
	}
	e.Must(f.Close())
	_, err := g.Write(0, nfs4.FileSync, []byte("x"))
	e.Must(err)
}

func openDowngrade(e *Env) {
	c := e.Client()
	f, _ := e.upgraded(c)
	before := f.Stateid
	e.Must(f.Downgrade(nfs4.ShareAccessRead, nfs4.ShareDenyNone))
	if f.Stateid.Other != before.Other || f.Stateid.Seqid != before.Seqid+1 {
		e.Errorf("%v became %v", before, f.Stateid)
	}
	_, err := f.Write(0, nfs4.FileSync, []byte("x"))
	e.Err(err, nfs4.ErrOpenMode)
	_, err = f.Read(0, 1)
	e.Must(err)
}

func openDowngradeBad(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})
	e.Must(err)
	e.Err(f.Downgrade(nfs4.ShareAccessBoth, 0), nfs4.ErrInval)
	e.Err(f.Downgrade(nfs4.ShareAccessWrite, 0), nfs4.ErrInval)
	e.Err(f.Downgrade(nfs4.ShareAccessRead, nfs4.ShareDenyRead), nfs4.ErrInval)
	_, err = f.Read(0, 1)
	e.Must(err)
}

func openCloseTwice(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	e.Must(f.Close())
	e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrExpired, nfs4.ErrOldStateid, nfs4.ErrBadSeqid), client.PutFH(f.FH), client.Close(f.Owner.Seqid+10, f.Stateid))
}

func openAccess(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "")
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o604))
	u := e.User(4711, 4711)
	_, err := u.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	for _, access := range []uint32{2, 3} {
		_, err = u.Open(client.NewOwner(), dir, client.OpenArgs{Access: access, Name: "f"})
		e.Err(err, nfs4.ErrAccess)
	}
	sub := e.Mkdir(c, dir, "closed")
	_, err = u.CreateFile(sub, "new")
	e.Err(err, nfs4.ErrAccess)
}

func openClaimFH(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "contents")
	f, err := c.Open(client.NewOwner(), fh, client.OpenArgs{Access: 3, Claim: nfs4.ClaimFH})
	e.Must(err)
	_, err = f.Write(0, nfs4.FileSync, []byte("C"))
	e.Must(err)
	e.Must(f.Close())
	_, err = c.Open(client.NewOwner(), e.Mkdir(c, e.Dir(), "d"), client.OpenArgs{Access: 1, Claim: nfs4.ClaimFH})
	e.Err(err, nfs4.ErrIsDir)
}

func openReclaim(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	_, err := c.Open(client.NewOwner(), fh, client.OpenArgs{Access: 3, Claim: nfs4.ClaimPrevious})
	e.Err(err, nfs4.ErrNoGrace)
}

func openDelegCur(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f := e.File(c, dir, "f", "")
	bogus := f.Stateid
	bogus.Other[2] ^= 0x77
	want := is(nfs4.ErrBadStateid, nfs4.ErrStaleStateid, nfs4.ErrExpired, nfs4.ErrNotSupp)
	_, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Claim: nfs4.ClaimDelegateCur, DelegStateid: bogus, Name: "f"})
	e.Err(err, want...)
	if e.Minor > 0 {
		_, err = c.Open(client.NewOwner(), f.FH, client.OpenArgs{Access: 1, Claim: nfs4.ClaimDelegCurFH, DelegStateid: bogus})
		e.Err(err, want...)
	}
}

func openLongOwner(e *Env) {
	c := e.Client()
	dir := e.Dir()
	o := client.NewOwner()
	o.Name += strings.Repeat("o", 1024-len(o.Name))
	f, err := c.Open(o, dir, client.OpenArgs{Access: 1, How: nfs4.OpenCreate, Name: "f"})
	e.Must(err)
	e.Must(f.Close())
}

func openTooLongOwner(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	e.badXDR(c.Compound(client.PutFH(dir), client.Open(client.OpenArgs{
		Access: 1, Owner: client.Owner{ClientID: c.ClientID, Name: strings.Repeat("o", 1025)}, Name: "f",
	})))
}

func openWants(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	for _, want := range []uint32{nfs4.WantNoPreference, nfs4.WantReadDeleg, nfs4.WantWriteDeleg, nfs4.WantAnyDeleg, nfs4.WantNoDeleg, nfs4.WantCancel,
		nfs4.WantAnyDeleg | nfs4.WantSignalDeleg, nfs4.WantAnyDeleg | nfs4.WantPushDeleg} {
		f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1 | want, Name: "f"})
		e.Must(err)
		if d := f.Res.Delegation; want == nfs4.WantNoDeleg && d != nfs4.OpenDelegateNone && d != nfs4.OpenDelegateNoneExt {
			e.Errorf("wanting none: delegation %d", d)
		}
		if f.Res.DelegStateid != (nfs4.Stateid{}) {
			e.OK(c, client.PutFH(f.FH), client.DelegReturn(f.Res.DelegStateid))
		}
		e.Must(f.Close())
	}
}

func openOwnerClientID(e *Env) {
	c := e.Client()
	dir := e.Dir()
	open := client.OpenArgs{Access: 3, Owner: client.Owner{ClientID: 0x1234, Name: "o"}, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "f"}
	p := e.OK(c, client.PutFH(dir), client.Open(open), client.GetFH())
	first := get[client.OpenRes](e, p).Stateid
	open.Owner.ClientID = c.ClientID
	q := e.OK(c, client.PutFH(dir), client.Open(open), client.GetFH())
	if second := get[client.OpenRes](e, q).Stateid; second.Other != first.Other {
		e.Errorf("the same owner with another client ID in its request: %v and %v", first, second)
	}
}

func openStaleClient(e *Env) {
	c := e.Client()
	e.Want(c, unknown40(), client.PutFH(e.Dir()), client.Open(client.OpenArgs{
		Access: 1, Owner: client.Owner{ClientID: c.ClientID ^ 0x5555, Name: "o"}, How: nfs4.OpenCreate, Name: "f",
	}))
}

func openMany(e *Env) {
	c := e.Client()
	dir := e.Dir()
	var files []*client.OpenFile
	for range 50 {
		files = append(files, e.File(c, dir, "f", ""))
	}
	for _, f := range files {
		_, err := f.Write(0, nfs4.Unstable, []byte("x"))
		e.Must(err)
		e.Must(f.Close())
	}
}

func openManyFiles(e *Env) {
	c := e.Client()
	dir := e.Dir()
	o := client.NewOwner()
	var files []*client.OpenFile
	for i := range 50 {
		f, err := c.Open(o, dir, client.OpenArgs{Access: 3, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: string(rune('A' + i))})
		e.Must(err)
		files = append(files, f)
	}
	seen := make(map[[12]byte]bool)
	for _, f := range files {
		if seen[f.Stateid.Other] {
			e.Errorf("%v is given twice", f.Stateid)
		}
		seen[f.Stateid.Other] = true
		e.Must(f.Close())
	}
}

func openChange(e *Env) {
	c := e.Client()
	dir := e.Dir()
	before := e.Attrs(c, dir, nfs4.AttrChange).Change()
	f := e.File(c, dir, "f", "")
	now := e.Attrs(c, dir, nfs4.AttrChange).Change()
	e.rose("OPEN that creates", f.Res.Change, before, now)
	g := e.File(c, dir, "f", "")
	if g.Res.Change.Atomic && g.Res.Change.Before != g.Res.Change.After {
		e.Errorf("OPEN of an existing file: %+v", g.Res.Change)
	}
}

func openCloseStateid(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	q, err := f.CloseReply()
	e.Must(err)
	e.Expect(q, is(nfs4.OK))
	sid := get[client.CloseRes](e, q).Stateid
	p := e.Do(c, client.PutFH(f.FH), client.Read(sid, 0, 1))
	e.Expect(p, is(nfs4.ErrBadStateid))
}

func createModeTests() []Test {
	return []Test{
		{Code: "CRM1", minors: all, RFC: "RFC 8881 §18.16.3", Says: "UNCHECKED creates with the attributes given, and opens what exists", run: crmUnchecked},
		{Code: "CRM2", minors: all, RFC: "RFC 8881 §18.16.3", Says: "UNCHECKED on an existing file heeds only a size of zero", run: crmUncheckedExisting},
		{Code: "CRM3", minors: all, RFC: "RFC 8881 §18.16.3", Says: "GUARDED on an existing name is NFS4ERR_EXIST", run: crmGuarded},
		{Code: "CRM4", minors: all, RFC: "RFC 8881 §18.16.3", Says: "EXCLUSIVE4 creates; again with its verifier it opens, with another it is NFS4ERR_EXIST", run: crmExclusive},
		{Code: "CRM5", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "EXCLUSIVE4_1 creates with attributes; again with its verifier it opens, with another it is NFS4ERR_EXIST", run: crmExclusive41},
		{Code: "CRM6", minors: all, RFC: "RFC 8881 §18.16.3", Says: "creating over a directory or symbolic link fails", run: crmOver},
		{Code: "CRM7", minors: all, RFC: "RFC 8881 §18.16.3", Says: "attributes that are read-only or not supported fail, and no file is created", run: crmBadAttrs},
		{Code: "CRM8", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "EXCLUSIVE4_1 with an attribute outside suppattr_exclcreat is NFS4ERR_INVAL", run: crmExclusiveAttrs},
		{Code: "CRM9", minors: all, RFC: "RFC 8881 §18.16.3", Says: "a file created with mode 0 or 0444 is still open for writing by its creator", run: crmModeZero},
		{Code: "CRM10", minors: all, RFC: "RFC 8881 §18.16.3", Says: "a size above zero is set when a file is created", run: crmSize},
		{Code: "CRM11", minors: v2, RFC: "RFC 8275 §4", Says: "mode_umask creates a file with the mode less the umask", run: crmModeUmask},
		{Code: "CRM12", minors: v12, RFC: "RFC 8881 §18.16.3", Says: "CLAIM_FH names a file that exists: with GUARDED create it fails", run: crmClaimFH},
	}
}

func (e *Env) create(c *client.Client, dir client.FH, a client.OpenArgs) (*client.OpenFile, error) {
	a.How = nfs4.OpenCreate
	if a.Access == 0 {
		a.Access = nfs4.ShareAccessBoth
	}
	return c.Open(client.NewOwner(), dir, a)
}

func crmUnchecked(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f, err := e.create(c, dir, client.OpenArgs{Name: "f", Attrs: new(client.Attrs).SetMode(0o640)})
	e.Must(err)
	if !f.Res.Set.Has(nfs4.AttrMode) || e.Attrs(c, f.FH, nfs4.AttrMode).Mode() != 0o640 {
		e.Errorf("attrset %v, %v", f.Res.Set, e.Attrs(c, f.FH, nfs4.AttrMode))
	}
	g, err := e.create(c, dir, client.OpenArgs{Name: "f"})
	e.Must(err)
	if string(g.FH) != string(f.FH) {
		e.Errorf("%v and %v", f.FH, g.FH)
	}
}

func crmUncheckedExisting(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "0123456789")
	f, err := e.create(c, dir, client.OpenArgs{Name: "f", Attrs: new(client.Attrs).SetMode(0o600).SetSize(5)})
	e.Must(err)
	if a := e.Attrs(c, fh, nfs4.AttrSize, nfs4.AttrMode); a.Size() != 10 || a.Mode() != 0o644 {
		e.Errorf("mode and size above zero: %v", a)
	}
	e.Must(f.Close())
	f, err = e.create(c, dir, client.OpenArgs{Name: "f", Attrs: new(client.Attrs).SetMode(0o600).SetSize(0)})
	e.Must(err)
	if a := e.Attrs(c, fh, nfs4.AttrSize, nfs4.AttrMode); a.Size() != 0 || a.Mode() != 0o644 {
		e.Errorf("size of zero: %v", a)
	}
	if f.Res.Set.Has(nfs4.AttrMode) {
		e.Errorf("attrset %v", f.Res.Set)
	}
}

func crmGuarded(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := client.OpenArgs{Name: "f", Mode: nfs4.CreateGuarded, Attrs: new(client.Attrs).SetMode(0o600)}
	_, err := e.create(c, dir, a)
	e.Must(err)
	_, err = e.create(c, dir, a)
	e.Err(err, nfs4.ErrExist)
}

func crmExclusive(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := client.OpenArgs{Name: "f", Mode: nfs4.CreateExclusive, Verifier: nfs4.Verifier{1, 2, 3, 4, 5, 6, 7, 8}}
	f, err := e.create(c, dir, a)
	if s, ok := client.Status(err); ok && e.Minor > 0 && (s == nfs4.ErrInval || s == nfs4.ErrNotSupp) {
		e.Unsupportedf("EXCLUSIVE4 is deprecated in NFSv4.1: %v", s)
	}
	e.Must(err)
	g, err := e.create(c, dir, a)
	e.Must(err)
	if string(g.FH) != string(f.FH) {
		e.Errorf("%v and %v", f.FH, g.FH)
	}
	a.Verifier[7]++
	_, err = e.create(c, dir, a)
	e.Err(err, nfs4.ErrExist)
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetMode(0o640)))
	if got := e.Attrs(c, f.FH, nfs4.AttrMode, nfs4.AttrSize); got.Mode() != 0o640 || got.Size() != 0 {
		e.Errorf("%v", got)
	}
}

func crmExclusive41(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := client.OpenArgs{Name: "f", Mode: nfs4.CreateExclusive41, Verifier: client.NewVerifier(), Attrs: new(client.Attrs).SetMode(0o640)}
	f, err := e.create(c, dir, a)
	e.Must(err)
	if got := e.Attrs(c, f.FH, nfs4.AttrMode).Mode(); got != 0o640 {
		e.Errorf("mode %o", got)
	}
	_, err = e.create(c, dir, a)
	e.Must(err)
	a.Verifier = client.NewVerifier()
	_, err = e.create(c, dir, a)
	e.Err(err, nfs4.ErrExist)
}

func crmOver(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Mkdir(c, dir, "d")
	e.symlink(c, dir, "s", "target")
	for _, mode := range []uint32{nfs4.CreateUnchecked, nfs4.CreateGuarded} {
		_, err := e.create(c, dir, client.OpenArgs{Name: "d", Mode: mode})
		e.Err(err, nfs4.ErrIsDir, nfs4.ErrExist)
		_, err = e.create(c, dir, client.OpenArgs{Name: "s", Mode: mode})
		e.Err(err, nfs4.ErrSymlink, nfs4.ErrExist)
	}
	e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup("target"))
}

func crmBadAttrs(e *Env) {
	c := e.Client()
	dir := e.Dir()
	_, err := e.create(c, dir, client.OpenArgs{Name: "f", Attrs: new(client.Attrs).SetNum(nfs4.AttrFileID, 1)})
	e.Err(err, nfs4.ErrInval)
	if !e.Supported(dir, nfs4.AttrArchive) {
		_, err = e.create(c, dir, client.OpenArgs{Name: "f", Attrs: new(client.Attrs).SetNum(nfs4.AttrArchive, 1)})
		e.Err(err, nfs4.ErrAttrNotSupp)
	}
	if names := e.Names(c, dir); len(names) != 0 {
		e.Errorf("created %v", names)
	}
}

func crmExclusiveAttrs(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := e.Attrs(c, dir, nfs4.AttrSupported, nfs4.AttrSuppAttrExclCreat)
	if a.ExclCreat.Has(nfs4.AttrTimeModifySet) {
		e.Skipf("the server can set time_modify_set beside the verifier")
	}
	if !a.Supported.Has(nfs4.AttrTimeModifySet) {
		e.Unsupportedf("the server does not support time_modify_set")
	}
	_, err := e.create(c, dir, client.OpenArgs{
		Name: "f", Mode: nfs4.CreateExclusive41, Verifier: client.NewVerifier(), Attrs: new(client.Attrs).SetModifyTime(&nfs4.Time{Sec: 5}),
	})
	e.Err(err, nfs4.ErrInval)
}

func crmModeZero(e *Env) {
	u := e.User(4711, 4711)
	dir := e.Dir()
	for name, mode := range map[string]uint32{"zero": 0, "readonly": 0o444} {
		f, err := e.create(u, dir, client.OpenArgs{Name: name, Attrs: new(client.Attrs).SetMode(mode)})
		e.Must(err)
		_, err = f.Write(0, nfs4.FileSync, []byte("x"))
		e.Must(err)
		e.Must(f.Close())
	}
}

func crmSize(e *Env) {
	c := e.Client()
	f, err := e.create(c, e.Dir(), client.OpenArgs{Name: "f", Attrs: new(client.Attrs).SetMode(0o600).SetSize(4096)})
	e.Must(err)
	if got := e.Attrs(c, f.FH, nfs4.AttrSize).Size(); got != 4096 {
		e.Errorf("size %d", got)
	}
}

func crmModeUmask(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrModeUmask)
	f, err := e.create(c, dir, client.OpenArgs{Name: "f", Attrs: new(client.Attrs).SetModeUmask(0o666, 0o027)})
	e.Must(err)
	if got := e.Attrs(c, f.FH, nfs4.AttrMode).Mode(); got != 0o640 {
		e.Errorf("mode %o, want 640", got)
	}
}

func crmClaimFH(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "contents")
	p, err := c.Compound(client.PutFH(fh), client.Open(client.OpenArgs{
		Access: 1, Owner: client.Owner{ClientID: c.ClientID, Name: "o"}, How: nfs4.OpenCreate, Mode: nfs4.CreateGuarded, Claim: nfs4.ClaimFH,
	}))
	if err == nil && (p.Status == nfs4.ErrInval || p.Status == nfs4.ErrExist) {
		return
	}
	e.badXDR(p, err)
}
