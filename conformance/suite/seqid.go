package suite

import (
	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func seqidTests() []Test {
	const rfc = "RFC 7530 §9.1.7"
	return []Test{
		{Code: "SEQID1", minors: v0, RFC: rfc, Says: "an OPEN sent again with the same seqid gets the same stateid", run: seqidOpenReplay},
		{Code: "SEQID2", minors: v0, RFC: rfc, Says: "a seqid that is neither the next nor the last is NFS4ERR_BAD_SEQID", run: seqidBad},
		{Code: "SEQID3", minors: v0, RFC: rfc, Says: "a CLOSE sent again gets the same answer", run: seqidCloseReplay},
		{Code: "SEQID4", minors: v0, RFC: rfc, Says: "a LOCK sent again gets the same stateid, a LOCKU too", run: seqidLockReplay},
		{Code: "SEQID5", minors: v0, RFC: rfc, Says: "a wrong lock seqid is NFS4ERR_BAD_SEQID", run: seqidLockBad},
		{Code: "SEQID6", minors: v0, RFC: rfc, Says: "an operation that failed otherwise has used its seqid", run: seqidFailureCounts},
		{Code: "SEQID7", minors: v0, RFC: "RFC 7530 §16.18", Says: "a new open owner must confirm, or is told not to", run: seqidConfirm},
		{Code: "SEQID8", minors: v0, RFC: rfc, Says: "an OPEN that failed, sent again, fails the same way", run: seqidFailureReplay},
		{Code: "SEQID9", minors: v0, RFC: rfc, Says: "an OPEN_DOWNGRADE sent again gets the same stateid", run: seqidDowngradeReplay},
		{Code: "SEQID10", minors: v0, RFC: rfc, Says: "an exclusive create sent again under its seqid creates nothing twice", run: seqidExclusiveReplay},
		{Code: "SEQID11", minors: v0, RFC: rfc, Says: "each owner has a sequence of its own", run: seqidOwners},
	}
}

// again sends a compound twice, under different xids, so that only the owner's
// sequence can tell that it is the same.
func (e *Env) again(c *client.Client, ops ...client.Op) (p, q *client.Reply) {
	p = e.Do(c, ops...)
	e.invalid = ""
	q = e.Do(c, ops...)
	e.invalid = ""
	if p.Status != q.Status {
		e.Fatalf("the reply was\n    %v\nand to the retry\n    %v", p, q)
	}
	return p, q
}

// opened40 is an open of a confirmed owner, whose next seqid is owner.Seqid.
func (e *Env) opened40() (c *client.Client, dir client.FH, f *client.OpenFile) {
	c = e.Client()
	dir = e.Dir()
	return c, dir, e.File(c, dir, "f", "contents")
}

func openAgain(c *client.Client, f *client.OpenFile, name string, access uint32) client.Op {
	return client.Open(client.OpenArgs{Seqid: f.Owner.Seqid, Access: access, Owner: client.Owner{ClientID: c.ClientID, Name: f.Owner.Name}, Name: name})
}

func seqidOpenReplay(e *Env) {
	c, dir, f := e.opened40()
	p, q := e.again(c, client.PutFH(dir), openAgain(c, f, "f", 1), client.GetFH())
	e.Expect(p, is(nfs4.OK))
	a, b := get[client.OpenRes](e, p).Stateid, get[client.OpenRes](e, q).Stateid
	if a != b {
		e.Errorf("%v, then %v", a, b)
	}
}

func seqidBad(e *Env) {
	c, dir, f := e.opened40()
	f.Owner.Seqid += 5
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(dir), openAgain(c, f, "f", 1))
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(f.FH), client.Close(f.Owner.Seqid, f.Stateid))
	f.Owner.Seqid -= 5
	e.Must(f.Close())
}

func seqidCloseReplay(e *Env) {
	c, _, f := e.opened40()
	p, q := e.again(c, client.PutFH(f.FH), client.Close(f.Owner.Seqid, f.Stateid))
	e.Expect(p, is(nfs4.OK))
	if a, b := get[client.CloseRes](e, p).Stateid, get[client.CloseRes](e, q).Stateid; a != b {
		e.Errorf("%v, then %v", a, b)
	}
}

func seqidLockReplay(e *Env) {
	c, _, f := e.opened40()
	lock := client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Length: 10, New: true, OpenSeqid: f.Owner.Seqid, OpenStateid: f.Stateid, LockSeqid: 0,
		Owner: client.Owner{ClientID: c.ClientID, Name: "l"},
	})
	p, q := e.again(c, client.PutFH(f.FH), lock)
	e.Expect(p, is(nfs4.OK))
	a, b := get[client.LockRes](e, p).Stateid, get[client.LockRes](e, q).Stateid
	if a != b {
		e.Errorf("LOCK: %v, then %v", a, b)
	}
	p, q = e.again(c, client.PutFH(f.FH), client.Lock(client.LockArgs{Type: nfs4.WriteLT, Offset: 20, Length: 10, LockStateid: a, LockSeqid: 1}))
	e.Expect(p, is(nfs4.OK))
	a, b = get[client.LockRes](e, p).Stateid, get[client.LockRes](e, q).Stateid
	if a != b {
		e.Errorf("second LOCK: %v, then %v", a, b)
	}
	p, q = e.again(c, client.PutFH(f.FH), client.LockU(nfs4.WriteLT, 2, a, 0, 10))
	e.Expect(p, is(nfs4.OK))
	if a, b := get[client.LockURes](e, p).Stateid, get[client.LockURes](e, q).Stateid; a != b {
		e.Errorf("LOCKU: %v, then %v", a, b)
	}
}

func seqidLockBad(e *Env) {
	c, _, f := e.opened40()
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(f.FH), client.LockU(nfs4.WriteLT, l.Owner.Seqid+7, l.Stateid, 0, 10))
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(f.FH), client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Offset: 50, Length: 10, LockStateid: l.Stateid, LockSeqid: l.Owner.Seqid + 7,
	}))
	e.Must(l.Unlock(0, 10))
}

func seqidFailureCounts(e *Env) {
	c, dir, f := e.opened40()
	_, err := c.Open(f.Owner, dir, client.OpenArgs{Access: 1, Name: "missing"})
	e.Err(err, nfs4.ErrNoEnt)
	// The owner's next seqid counts the failure.
	_, err = c.Open(f.Owner, dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
}

func seqidConfirm(e *Env) {
	c := e.Client()
	dir := e.Dir()
	o := client.Owner{ClientID: c.ClientID, Name: client.UniqueName("new")}
	p := e.OK(c, client.PutFH(dir), client.Open(client.OpenArgs{
		Seqid: 100, Access: 3, Owner: o, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "f",
	}), client.GetFH())
	r, fh := get[client.OpenRes](e, p), get[client.GetFHRes](e, p).FH
	if r.Flags&nfs4.OpenResultConfirm == 0 {
		e.Unsupportedf("the server asks for no confirmation")
	}
	e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrBadSeqid), client.PutFH(fh), client.Write(r.Stateid, 0, nfs4.FileSync, []byte("x")))
	p, q := e.again(c, client.PutFH(fh), client.OpenConfirm(r.Stateid, 101))
	e.Expect(p, is(nfs4.OK))
	a, b := get[client.OpenConfirmRes](e, p).Stateid, get[client.OpenConfirmRes](e, q).Stateid
	if a != b || a.Other != r.Stateid.Other || a.Seqid != r.Stateid.Seqid+1 {
		e.Errorf("open %v, confirmed %v and %v", r.Stateid, a, b)
	}
	e.OK(c, client.PutFH(fh), client.Write(a, 0, nfs4.FileSync, []byte("x")))
}

func seqidFailureReplay(e *Env) {
	c, dir, f := e.opened40()
	open := openAgain(c, f, "late", 1)
	e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(dir), open)
	e.Closed(c, dir, "late", "")
	e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(dir), open)
}

func seqidDowngradeReplay(e *Env) {
	c := e.Client()
	f, _ := e.upgraded(c)
	p, q := e.again(c, client.PutFH(f.FH), client.OpenDowngrade(f.Stateid, f.Owner.Seqid, 1, 0))
	e.Expect(p, is(nfs4.OK))
	if a, b := get[client.OpenDowngradeRes](e, p).Stateid, get[client.OpenDowngradeRes](e, q).Stateid; a != b {
		e.Errorf("%v, then %v", a, b)
	}
}

func seqidExclusiveReplay(e *Env) {
	c, dir, f := e.opened40()
	p, q := e.again(c, client.PutFH(dir), client.Open(client.OpenArgs{
		Seqid: f.Owner.Seqid, Access: 3, Owner: client.Owner{ClientID: c.ClientID, Name: f.Owner.Name}, How: nfs4.OpenCreate,
		Mode: nfs4.CreateGuarded, Attrs: new(client.Attrs).SetMode(0o600), Name: "new",
	}), client.GetFH())
	e.Expect(p, is(nfs4.OK))
	if a, b := get[client.OpenRes](e, p).Stateid, get[client.OpenRes](e, q).Stateid; a != b {
		e.Errorf("%v, then %v", a, b)
	}
}

func seqidOwners(e *Env) {
	c, dir, f := e.opened40()
	g := e.File(c, dir, "g", "")
	for range 3 {
		_, err := c.Open(f.Owner, dir, client.OpenArgs{Access: 1, Name: "f"})
		e.Must(err)
	}
	e.Must(g.Close())
}
