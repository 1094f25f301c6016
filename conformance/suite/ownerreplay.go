package suite

import (
	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// ownerReplayTests are of the sequences of open and lock owners in NFSv4.0.
func ownerReplayTests() []Test {
	const seq = "RFC 7530 §9.1.7, §9.1.9"
	return []Test{
		{Code: "OWNER1", minors: v0, RFC: seq, Says: "OPEN that upgrades, sent again, does not raise the stateid's seqid a second time", run: ownerUpgradeAgain},
		{Code: "OWNER2", minors: v0, RFC: seq, Says: "LOCK of a new lock owner, sent again, locks once: one LOCKU frees the range", run: ownerLockAgain},
		{Code: "OWNER3", minors: v0, RFC: seq, Says: "LOCK that was denied, sent again after the lock is gone, is denied again", run: ownerDeniedAgain},
		{Code: "OWNER4", minors: v0, RFC: seq, Says: "LOCKU, sent again, does not free what was locked between", run: ownerUnlockAgain},
		{Code: "OWNER5", minors: v0, RFC: seq, Says: "CLOSE, sent again, does not close what was opened by another owner between", run: ownerCloseAgain},
		{Code: "OWNER6", minors: v0, RFC: seq, Says: "OPEN with the seqid before the last is NFS4ERR_BAD_SEQID", run: ownerTooOld},
		{Code: "OWNER7", minors: v0, RFC: seq, Says: "LOCK of a new lock owner with a wrong open seqid is NFS4ERR_BAD_SEQID and makes no lock owner", run: ownerLockOpenSeqid},
		{Code: "OWNER8", minors: v0, RFC: seq, Says: "a request with NFS4ERR_BAD_SEQID has not used the owner's seqid", run: ownerBadSeqidUsesNone},
		{Code: "OWNER9", minors: v0, RFC: seq, Says: "a request with NFS4ERR_BAD_STATEID has not used the owner's seqid", run: ownerBadStateidUsesNone},
		{Code: "OWNER10", minors: v0, RFC: "RFC 7530 §9.1.7", Says: "after 0xffffffff the next seqid is zero, or one", run: ownerWraps},
		{Code: "OWNER11", minors: v0, RFC: "RFC 7530 §16.18", Says: "OPEN_CONFIRM of an owner that is confirmed is refused", run: ownerConfirmTwice},
		{Code: "OWNER12", minors: v0, RFC: "RFC 7530 §16.18", Says: "OPEN_CONFIRM with a wrong seqid is NFS4ERR_BAD_SEQID and confirms nothing", run: ownerConfirmSeqid},
		{Code: "OWNER13", minors: v0, RFC: "RFC 7530 §16.18.5", Says: "an owner that has not confirmed and opens anew may begin with any seqid", run: ownerUnconfirmedAnew},
		{Code: "OWNER14", minors: v0, RFC: "RFC 7530 §16.37", Says: "after RELEASE_LOCKOWNER the lock owner may begin anew with any seqid", run: ownerReleased},
		{Code: "OWNER15", minors: v0, RFC: "RFC 7530 §16.37", Says: "RELEASE_LOCKOWNER of a client ID that is not known is NFS4ERR_STALE_CLIENTID, or NFS4ERR_EXPIRED as of one that was", run: ownerReleaseStale},
		{Code: "OWNER16", minors: v0, RFC: "RFC 7530 §16.37", Says: "RELEASE_LOCKOWNER of an owner that never locked succeeds", run: ownerReleaseUnknown},
		{Code: "OWNER17", minors: v0, RFC: "RFC 7530 §16.37", Says: "RELEASE_LOCKOWNER of one client does not touch the same owner's locks of another", run: ownerReleaseOther},
		{Code: "OWNER18", minors: v0, RFC: seq, Says: "one seqid with another operation than before is NFS4ERR_BAD_SEQID", run: ownerOtherOp},
		{Code: "OWNER19", minors: v0, RFC: seq, Says: "OPEN of an owner goes on from the seqid that LOCK of a new lock owner used", run: ownerLockCounts},
		{Code: "OWNER20", minors: v0, RFC: "RFC 7530 §16.10.5", Says: "LOCK with a client ID that is not known is NFS4ERR_STALE_CLIENTID, NFS4ERR_EXPIRED or NFS4ERR_BAD_STATEID", run: ownerLockStaleClient},
	}
}

func ownerUpgradeAgain(e *Env) {
	c, dir, f := e.opened40()
	p, q := e.again(c, client.PutFH(dir), openAgain(c, f, "f", 1))
	e.Expect(p, is(nfs4.OK))
	if a, b := get[client.OpenRes](e, p).Stateid, get[client.OpenRes](e, q).Stateid; a != b || a.Seqid != f.Stateid.Seqid+1 {
		e.Errorf("%v, upgraded %v, and again %v", f.Stateid, a, b)
	}
	f.Owner.Seqid++
	f.Stateid.Seqid++
	e.Must(f.Close())
}

// lock40 builds a LOCK of a new lock owner with seqid 0.
func lock40(c *client.Client, f *client.OpenFile, owner string, offset uint64) client.Op {
	return client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Offset: offset, Length: 10, New: true, OpenSeqid: f.Owner.Seqid, OpenStateid: f.Stateid,
		Owner: client.Owner{ClientID: c.ClientID, Name: owner},
	})
}

func ownerLockAgain(e *Env) {
	c, _, f := e.opened40()
	p, _ := e.again(c, client.PutFH(f.FH), lock40(c, f, "l", 0))
	e.Expect(p, is(nfs4.OK))
	e.OK(c, client.PutFH(f.FH), client.LockU(nfs4.WriteLT, 1, get[client.LockRes](e, p).Stateid, 0, 10))
	if any, _ := e.held(f, 0, 10); any {
		e.Errorf("the range is still locked")
	}
}

func ownerDeniedAgain(e *Env) {
	c, _, f := e.opened40()
	a := f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.WriteLT, 0, 10))
	denied := lock40(c, f, "l", 5)
	e.Want(c, is(nfs4.ErrDenied), client.PutFH(f.FH), denied)
	e.Must(a.Unlock(0, 10))
	e.Want(c, is(nfs4.ErrDenied), client.PutFH(f.FH), denied)
}

func ownerUnlockAgain(e *Env) {
	c, _, f := e.opened40()
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.WriteLT, 0, 10))
	unlock := client.LockU(nfs4.WriteLT, a.Owner.Seqid, a.Stateid, 0, 10)
	e.OK(c, client.PutFH(f.FH), unlock)
	e.Must(b.Lock(nfs4.WriteLT, 0, 10))
	e.OK(c, client.PutFH(f.FH), unlock)
	if _, excl := e.held(f, 0, 10); !excl {
		e.Errorf("the other owner's lock is gone")
	}
}

func ownerCloseAgain(e *Env) {
	c, dir, f := e.opened40()
	closing := client.Close(f.Owner.Seqid, f.Stateid)
	e.OK(c, client.PutFH(f.FH), closing)
	g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: 2, Name: "f"})
	e.Must(err)
	e.OK(c, client.PutFH(f.FH), closing)
	_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 2, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	e.Must(g.Close())
}

func ownerTooOld(e *Env) {
	c, dir, f := e.opened40()
	for range 3 {
		_, err := c.Open(f.Owner, dir, client.OpenArgs{Access: 1, Name: "f"})
		e.Must(err)
	}
	f.Owner.Seqid -= 2
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(dir), openAgain(c, f, "f", 1))
}

func ownerLockOpenSeqid(e *Env) {
	c, _, f := e.opened40()
	f.Owner.Seqid += 3
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(f.FH), lock40(c, f, "l", 0))
	f.Owner.Seqid -= 3
	e.OK(c, client.PutFH(f.FH), lock40(c, f, "l", 0))
}

func ownerBadSeqidUsesNone(e *Env) {
	c, dir, f := e.opened40()
	f.Owner.Seqid += 9
	for range 3 {
		e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(dir), openAgain(c, f, "f", 1))
	}
	f.Owner.Seqid -= 9
	e.OK(c, client.PutFH(dir), openAgain(c, f, "f", 1))
}

func ownerBadStateidUsesNone(e *Env) {
	c, _, f := e.opened40()
	newer := f.Stateid
	newer.Seqid += 5
	for range 3 {
		e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(f.FH), client.Close(f.Owner.Seqid, newer))
	}
	e.Must(f.Close())
}

// ownerWraps begins just below the end of the numbers. RFC 7530 §9.1.7 lets a
// seqid wrap as an unsigned number does; some clients skip zero.
func ownerWraps(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	owner := &client.StateOwner{Name: client.UniqueName("owner "), Seqid: 0xfffffffd}
	for range 5 {
		_, err := c.Open(owner, dir, client.OpenArgs{Access: 1, Name: "f"})
		e.Must(err)
	}
}

// unconfirmed opens as a new owner that has to confirm, with seqid 7.
func (e *Env) unconfirmed() (c *client.Client, dir client.FH, owner client.Owner, fh client.FH, s nfs4.Stateid) {
	c = e.Client()
	dir = e.Dir()
	e.Closed(c, dir, "f", "")
	owner = client.Owner{ClientID: c.ClientID, Name: client.UniqueName("new ")}
	p := e.OK(c, client.PutFH(dir), client.Open(client.OpenArgs{Seqid: 7, Access: 1, Owner: owner, Name: "f"}), client.GetFH())
	r := get[client.OpenRes](e, p)
	if r.Flags&nfs4.OpenResultConfirm == 0 {
		e.Skipf("the server asks for no confirmation")
	}
	return c, dir, owner, get[client.GetFHRes](e, p).FH, r.Stateid
}

func ownerConfirmTwice(e *Env) {
	c, _, _, fh, s := e.unconfirmed()
	p := e.OK(c, client.PutFH(fh), client.OpenConfirm(s, 8))
	e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrOldStateid), client.PutFH(fh), client.OpenConfirm(get[client.OpenConfirmRes](e, p).Stateid, 9))
}

func ownerConfirmSeqid(e *Env) {
	c, _, _, fh, s := e.unconfirmed()
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(fh), client.OpenConfirm(s, 12))
	e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrBadSeqid), client.PutFH(fh), client.Read(s, 0, 1))
	e.OK(c, client.PutFH(fh), client.OpenConfirm(s, 8))
}

func ownerUnconfirmedAnew(e *Env) {
	c, dir, owner, _, _ := e.unconfirmed()
	p := e.OK(c, client.PutFH(dir), client.Open(client.OpenArgs{Seqid: 500, Access: 1, Owner: owner, Name: "f"}), client.GetFH())
	e.OK(c, client.PutFH(get[client.GetFHRes](e, p).FH), client.OpenConfirm(get[client.OpenRes](e, p).Stateid, 501))
}

func ownerReleased(e *Env) {
	c, _, f := e.opened40()
	p := e.OK(c, client.PutFH(f.FH), lock40(c, f, "l", 0))
	f.Owner.Seqid++
	e.OK(c, client.PutFH(f.FH), client.LockU(nfs4.WriteLT, 1, get[client.LockRes](e, p).Stateid, 0, 10))
	owner := client.Owner{ClientID: c.ClientID, Name: "l"}
	e.OK(c, client.ReleaseLockOwner(owner))
	e.OK(c, client.PutFH(f.FH), client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Length: 10, New: true, OpenSeqid: f.Owner.Seqid, OpenStateid: f.Stateid, LockSeqid: 4000, Owner: owner,
	}))
}

func ownerReleaseStale(e *Env) {
	c := e.Client()
	e.Want(c, is(nfs4.ErrStaleClientID, nfs4.ErrExpired), client.ReleaseLockOwner(client.Owner{ClientID: c.ClientID ^ 0x5555, Name: "l"}))
}

func ownerReleaseUnknown(e *Env) {
	c := e.Client()
	e.OK(c, client.ReleaseLockOwner(client.Owner{ClientID: c.ClientID, Name: "never seen"}))
}

func ownerReleaseOther(e *Env) {
	c, dir, f := e.opened40()
	e.OK(c, client.PutFH(f.FH), lock40(c, f, "l", 0))
	f.Owner.Seqid++
	other := e.NewClient(nil)
	e.OK(other, client.ReleaseLockOwner(client.Owner{ClientID: other.ClientID, Name: "l"}))
	g, err := other.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Must(err)
	e.Err(g.Locks(client.NewOwner()).Lock(nfs4.WriteLT, 0, 10), nfs4.ErrDenied)
}

func ownerOtherOp(e *Env) {
	c, dir, f := e.opened40()
	e.OK(c, client.PutFH(dir), openAgain(c, f, "f", 1))
	newer := f.Stateid
	newer.Seqid++
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(f.FH), client.Close(f.Owner.Seqid, newer))
	f.Owner.Seqid++
	f.Stateid = newer
	e.Must(f.Close())
}

func ownerLockCounts(e *Env) {
	c, dir, f := e.opened40()
	e.OK(c, client.PutFH(f.FH), lock40(c, f, "l", 0))
	f.Owner.Seqid++
	e.OK(c, client.PutFH(dir), openAgain(c, f, "f", 1))
}

func ownerLockStaleClient(e *Env) {
	c, _, f := e.opened40()
	e.Want(c, is(nfs4.ErrStaleClientID, nfs4.ErrExpired, nfs4.ErrBadStateid), client.PutFH(f.FH), client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Length: 10, New: true, OpenSeqid: f.Owner.Seqid, OpenStateid: f.Stateid,
		Owner: client.Owner{ClientID: c.ClientID ^ 0x5555, Name: "l"},
	}))
}
