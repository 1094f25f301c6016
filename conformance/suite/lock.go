package suite

import (
	"math/rand/v2"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func lockTests() []Test {
	return []Test{
		{Code: "LOCK1", minors: all, RFC: "RFC 8881 §18.10", Says: "a range is locked and unlocked; each success raises the stateid's seqid by one", run: lockBasic},
		{Code: "LOCK2", minors: all, RFC: "RFC 8881 §18.10.3", Says: "a conflicting lock is NFS4ERR_DENIED and tells range, type and owner of the conflict", run: lockDenied},
		{Code: "LOCK3", minors: all, RFC: "RFC 8881 §9.1", Says: "read locks are shared, write locks exclude", run: lockShared},
		{Code: "LOCK4", minors: all, RFC: "RFC 8881 §18.10.3", Says: "a length of zero, and a range past the last offset, are NFS4ERR_INVAL", run: lockBadRange},
		{Code: "LOCK5", minors: all, RFC: "RFC 8881 §18.10.4", Says: "a WRITE lock needs an open for writing", run: lockOpenMode},
		{Code: "LOCK6", minors: all, RFC: "RFC 8881 §18.10.3", Says: "what is no regular file cannot be locked", run: lockTypes},
		{Code: "LOCK7", minors: all, RFC: "RFC 8881 §18.10", Says: "LOCK and LOCKU with a stateid that the server never gave are refused", run: lockBadStateid},
		{Code: "LOCK8", minors: all, RFC: "RFC 8881 §18.2.3", Says: "CLOSE with locks held releases them, or is NFS4ERR_LOCKS_HELD", run: lockClose},
		{Code: "LOCK9", minors: all, RFC: "RFC 8881 §9.6", Says: "READW_LT and WRITEW_LT do not make the server wait: a conflict is NFS4ERR_DENIED at once", run: lockBlocking},
		{Code: "LOCK10", minors: all, RFC: "RFC 8881 §18.10.3", Says: "a reclaim outside grace is NFS4ERR_NO_GRACE", run: lockReclaim},
		{Code: "LOCK11", minors: all, RFC: "RFC 8881 §9.1.2", Says: "one lock owner's locks on two files are apart", run: lockTwoFiles},
		{Code: "LOCK12", minors: all, RFC: "RFC 8881 §8.2.2", Says: "an older lock stateid is NFS4ERR_OLD_STATEID", run: lockOldStateid},
		{Code: "LOCK13", minors: v12, RFC: "RFC 8881 §18.10.3", Says: "open_to_lock_owner for a lock owner that has locks already gives its stateid", run: lockOwnerAgain},
		{Code: "LOCK14", minors: all, RFC: "RFC 8881 §18.32, §9.1", Says: "a lock stateid reads and writes as its open does", run: lockStateidIO},
		{Code: "LOCK15", minors: all, RFC: "RFC 8881 §9.1", Says: "a lock of another client is in the way too, and goes with it", run: lockOtherClient},
		{Code: "LOCK16", minors: all, RFC: "RFC 8881 §18.12", Says: "unlocking what is not locked succeeds", run: lockUnlockNothing},
		{Code: "LOCK17", minors: all, RFC: "RFC 8881 §18.10", Says: "a lock type not defined is a decoding error or NFS4ERR_INVAL", run: lockBadType},
		{Code: "LOCK18", minors: all, RFC: "RFC 8881 §18.10.3", Says: "an owner of 1024 bytes is served", run: lockLongOwner},
		{Code: "LOCK19", minors: v0, RFC: "RFC 7530 §16.37", Says: "RELEASE_LOCKOWNER without locks succeeds, with locks is NFS4ERR_LOCKS_HELD", run: lockReleaseOwner},
		{Code: "LOCK20", minors: v12, RFC: "RFC 8881 §18.10.3", Says: "the client ID in a request's lock owner is ignored", run: lockIgnoreClientID},
		{Code: "LOCK21", minors: all, RFC: "RFC 8881 §18.10", Says: "locks outlive the removal of the file's name", run: lockRemoved},
		{Code: "LOCK22", minors: all, RFC: "RFC 8881 §18.10.3", Says: "a LOCK refused with NFS4ERR_DENIED locks no part of its range", run: lockRefusedLeavesNothing},
		{Code: "LOCKT1", minors: all, RFC: "RFC 8881 §18.11", Says: "LOCKT tells of conflicts with others and not with the owner's own locks", run: locktBasic},
		{Code: "LOCKT2", minors: all, RFC: "RFC 8881 §18.11", Says: "LOCKT checks its range as LOCK does, and needs a regular file", run: locktErrors},
	}
}

func lockBasic(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	last := l.Stateid
	if last.Other == f.Stateid.Other || last.Seqid != 1 {
		e.Errorf("open %v, first lock %v", f.Stateid, last)
	}
	for i, step := range []func() error{
		func() error { return l.Lock(nfs4.WriteLT, 10, 10) },
		func() error { return l.Lock(nfs4.ReadLT, 0, 5) },
		func() error { return l.Unlock(0, 20) },
		func() error { return l.Lock(nfs4.WriteLT, 0, nfs4.Uint64Max) },
		func() error { return l.Unlock(0, nfs4.Uint64Max) },
	} {
		e.Must(step())
		if l.Stateid.Other != last.Other || l.Stateid.Seqid != last.Seqid+1 {
			e.Errorf("step %d: %v after %v", i, l.Stateid, last)
		}
		last = l.Stateid
	}
	e.Must(f.Close())
}

func lockDenied(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.WriteLT, 100, 50))
	p, err := b.LockReply(nfs4.ReadLT, 0, 1000)
	e.Must(err)
	e.Expect(p, is(nfs4.ErrDenied))
	d := get[client.DeniedRes](e, p)
	if d.Offset != 100 || d.Length != 50 || d.Type != nfs4.WriteLT || string(d.Owner) != a.Owner.Name || d.ClientID != c.ClientID {
		e.Errorf("%+v", d)
	}
	e.Must(b.Lock(nfs4.WriteLT, 150, 10))
	e.Must(b.Lock(nfs4.WriteLT, 0, 100))
	p, err = b.LockReply(nfs4.WriteLT, 149, 1)
	e.Must(err)
	e.Expect(p, is(nfs4.ErrDenied))
}

func lockShared(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.ReadLT, 0, 10))
	e.Must(b.Lock(nfs4.ReadLT, 5, 10))
	e.Err(a.Lock(nfs4.WriteLT, 0, 10), nfs4.ErrDenied)
	e.Must(a.Lock(nfs4.WriteLT, 0, 5)) // upgrade where nobody else reads
	e.Err(b.Lock(nfs4.ReadLT, 4, 1), nfs4.ErrDenied)
	e.Must(b.Unlock(5, 10))
	e.Must(a.Lock(nfs4.WriteLT, 0, 10))
	e.Must(a.Lock(nfs4.ReadLT, 0, 10)) // downgrade
	e.Must(b.Lock(nfs4.ReadLT, 0, 10))
}

func lockBadRange(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Err(l.Lock(nfs4.ReadLT, 0, 0), nfs4.ErrInval)
	e.Err(l.Lock(nfs4.ReadLT, nfs4.Uint64Max-5, 100), nfs4.ErrInval)
	e.Must(l.Lock(nfs4.ReadLT, nfs4.Uint64Max-5, nfs4.Uint64Max))
	e.Must(l.Lock(nfs4.ReadLT, 10, nfs4.Uint64Max-10))
	e.Err(l.Unlock(0, 0), nfs4.ErrInval)
	e.Err(l.Unlock(nfs4.Uint64Max-5, 100), nfs4.ErrInval)
}

func lockOpenMode(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})
	e.Must(err)
	l := f.Locks(client.NewOwner())
	e.Err(l.Lock(nfs4.WriteLT, 0, 1), nfs4.ErrOpenMode)
	e.Must(l.Lock(nfs4.ReadLT, 0, 1))
	g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessWrite, Name: "f"})
	e.Must(err)
	e.Must(g.Locks(client.NewOwner()).Lock(nfs4.WriteLT, 10, 1))
}

func lockTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f := e.File(c, dir, "f", "")
	for typ, fh := range e.objects(c, dir) {
		if typ == nfs4.TypeReg {
			continue
		}
		want := is(nfs4.ErrInval, nfs4.ErrSymlink, nfs4.ErrWrongType, nfs4.ErrBadStateid)
		if typ == nfs4.TypeDir {
			want = is(nfs4.ErrIsDir, nfs4.ErrBadStateid)
		}
		e.Want(c, want, client.PutFH(fh), client.Lock(client.LockArgs{
			Type: nfs4.ReadLT, Length: 1, New: true, OpenStateid: f.Stateid, OpenSeqid: f.Owner.Seqid, Owner: client.Owner{ClientID: c.ClientID, Name: "l"},
		}))
		if e.Minor == 0 {
			break // a refused LOCK may have used the open owner's sequence
		}
	}
}

func lockBadStateid(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	bad := f.Stateid
	bad.Other[4] ^= 0x3c
	want := is(nfs4.ErrBadStateid, nfs4.ErrStaleStateid, nfs4.ErrExpired)
	e.Want(c, want, client.PutFH(f.FH), client.Lock(client.LockArgs{
		Type: nfs4.ReadLT, Length: 1, New: true, OpenStateid: bad, OpenSeqid: f.Owner.Seqid, Owner: client.Owner{ClientID: c.ClientID, Name: "l"},
	}))
	e.Want(c, want, client.PutFH(f.FH), client.Lock(client.LockArgs{Type: nfs4.ReadLT, Length: 1, LockStateid: bad}))
	e.Want(c, want, client.PutFH(f.FH), client.LockU(nfs4.ReadLT, 0, bad, 0, 1))
}

func lockClose(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	p, err := f.CloseReply()
	e.Must(err)
	e.Expect(p, is(nfs4.OK, nfs4.ErrLocksHeld))
	if p.Status == nfs4.ErrLocksHeld {
		e.Must(l.Unlock(0, 10))
		e.Must(f.Close())
	}
	other := e.NewClient(nil)
	p = e.Do(other, client.PutFH(f.FH), client.LockT(nfs4.WriteLT, 0, 10, client.Owner{ClientID: other.ClientID, Name: "o"}))
	e.Expect(p, is(nfs4.OK))
	e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrExpired), client.PutFH(f.FH), client.LockU(nfs4.WriteLT, l.Owner.Seqid, l.Stateid, 0, 10))
}

func lockBlocking(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.WriteWLT, 0, 10))
	e.Err(b.Lock(nfs4.ReadWLT, 5, 10), nfs4.ErrDenied)
	e.Err(b.Lock(nfs4.WriteWLT, 5, 10), nfs4.ErrDenied)
	e.Must(a.Unlock(0, 10))
	e.Must(b.Lock(nfs4.ReadWLT, 5, 10))
}

func lockReclaim(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	e.Want(c, is(nfs4.ErrNoGrace), client.PutFH(f.FH), client.Lock(client.LockArgs{
		Type: nfs4.ReadLT, Reclaim: true, Length: 1, New: true, OpenStateid: f.Stateid, OpenSeqid: f.Owner.Seqid, Owner: client.Owner{ClientID: c.ClientID, Name: "l"},
	}))
}

func lockTwoFiles(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f, g := e.File(c, dir, "f", ""), e.File(c, dir, "g", "")
	o := client.NewOwner()
	a, b := f.Locks(o), g.Locks(o)
	e.Must(a.Lock(nfs4.WriteLT, 0, 10))
	e.Must(b.Lock(nfs4.WriteLT, 0, 10))
	if a.Stateid.Other == b.Stateid.Other {
		e.Errorf("both are %v", a.Stateid)
	}
	e.Must(a.Unlock(0, 10))
	other := f.Locks(client.NewOwner())
	if d, err := other.Test(nfs4.WriteLT, 0, 10); err != nil || d != nil {
		e.Errorf("first file: %v, %v", d, err)
	}
	if d, err := g.Locks(client.NewOwner()).Test(nfs4.WriteLT, 0, 10); err != nil || d == nil {
		e.Errorf("second file: %v, %v", d, err)
	}
}

func lockOldStateid(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	old := l.Stateid
	e.Must(l.Lock(nfs4.WriteLT, 20, 10))
	e.Want(c, is(nfs4.ErrOldStateid), client.PutFH(f.FH), client.LockU(nfs4.WriteLT, l.Owner.Seqid, old, 0, 10))
	l.Owner.Seqid++ // NFSv4.0 counts it
	newer := l.Stateid
	newer.Seqid += 3
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(f.FH), client.LockU(nfs4.WriteLT, l.Owner.Seqid, newer, 0, 10))
}

func lockOwnerAgain(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	o := client.NewOwner()
	a := f.Locks(o)
	e.Must(a.Lock(nfs4.WriteLT, 0, 10))
	b := f.Locks(o) // does not know the stateid
	e.Must(b.Lock(nfs4.WriteLT, 20, 10))
	if a.Stateid.Other != b.Stateid.Other || b.Stateid.Seqid != a.Stateid.Seqid+1 {
		e.Errorf("%v, then %v", a.Stateid, b.Stateid)
	}
}

func lockStateidIO(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 5))
	e.OK(c, client.PutFH(f.FH), client.Write(l.Stateid, 0, nfs4.FileSync, []byte("abc")))
	p := e.OK(c, client.PutFH(f.FH), client.Read(l.Stateid, 0, 10))
	if got := get[client.ReadRes](e, p).Data; string(got) != "abc3456789" {
		e.Errorf("%v", got)
	}
	e.OK(c, client.PutFH(f.FH), client.SetAttr(l.Stateid, new(client.Attrs).SetSize(3)))
}

func lockOtherClient(e *Env) {
	dir := e.Dir()
	f := e.File(e.Client(), dir, "f", "")
	a := e.NewClient(nil)
	g, err := a.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Must(err)
	l := g.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	mine := f.Locks(client.NewOwner())
	p, err := mine.LockReply(nfs4.WriteLT, 0, 10)
	e.Must(err)
	if d := get[client.DeniedRes](e, e.Expect(p, is(nfs4.ErrDenied))); d.ClientID != a.ClientID {
		e.Errorf("denied by %x, want client %x", d.ClientID, a.ClientID)
	}
	// The other client restarts: its lock is released as it confirms.
	e.NewClient(func(cfg *client.Config) { cfg.Owner = a.Config.Owner })
	e.Must(mine.Lock(nfs4.WriteLT, 0, 10))
}

func lockUnlockNothing(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.Must(l.Unlock(100, 10))
	e.Must(l.Unlock(0, 10))
	e.Must(l.Unlock(0, 10))
}

func lockBadType(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	p, err := c.Compound(client.PutFH(f.FH), client.Lock(client.LockArgs{
		Type: 9, Length: 1, New: true, OpenStateid: f.Stateid, OpenSeqid: f.Owner.Seqid, Owner: client.Owner{ClientID: c.ClientID, Name: "l"},
	}))
	if err == nil && p.Status == nfs4.ErrInval {
		return
	}
	e.badXDR(p, err)
}

func lockLongOwner(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	o := client.NewOwner()
	for len(o.Name) < nfs4.OpaqueLimit {
		o.Name += "o"
	}
	e.Must(f.Locks(o).Lock(nfs4.WriteLT, 0, 10))
	d, err := f.Locks(client.NewOwner()).Test(nfs4.ReadLT, 0, 10)
	e.Must(err)
	if d == nil || string(d.Owner) != o.Name {
		e.Errorf("%+v", d)
	}
}

func lockReleaseOwner(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	o := client.Owner{ClientID: c.ClientID, Name: l.Owner.Name}
	e.Want(c, is(nfs4.ErrLocksHeld), client.ReleaseLockOwner(o))
	e.Must(l.Unlock(0, 10))
	e.OK(c, client.ReleaseLockOwner(o))
	e.OK(c, client.ReleaseLockOwner(client.Owner{ClientID: c.ClientID, Name: "never seen"}))
	e.Want(c, unknown40(), client.ReleaseLockOwner(client.Owner{ClientID: c.ClientID ^ 0x777, Name: "x"}))
}

func lockIgnoreClientID(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	e.OK(c, client.PutFH(f.FH), client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Length: 10, New: true, OpenStateid: f.Stateid, Owner: client.Owner{ClientID: 0x1234, Name: "l"},
	}))
	p := e.Do(c, client.PutFH(f.FH), client.LockT(nfs4.WriteLT, 0, 10, client.Owner{ClientID: 0x4321, Name: "other"}))
	d := get[client.DeniedRes](e, e.Expect(p, is(nfs4.ErrDenied)))
	if d.ClientID != c.ClientID {
		e.Errorf("denied by %x, want %x", d.ClientID, c.ClientID)
	}
	e.OK(c, client.PutFH(f.FH), client.LockT(nfs4.WriteLT, 0, 10, client.Owner{ClientID: 0x4321, Name: "l"}))
}

func lockRemoved(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f := e.File(c, dir, "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	p := e.Do(c, client.PutFH(dir), client.Remove("f"))
	e.Expect(p, is(nfs4.OK, nfs4.ErrFileOpen))
	if f.Res.Flags&nfs4.OpenResultPreserveUnlinked == 0 {
		e.Unsupportedf("the server does not preserve unlinked files")
	}
	e.Must(l.Unlock(0, 10))
	e.Must(f.Close())
}

func lockRefusedLeavesNothing(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.WriteLT, 50, 10))
	e.Err(b.Lock(nfs4.WriteLT, 0, 100), nfs4.ErrDenied)
	e.Must(a.Lock(nfs4.WriteLT, 0, 100))
	e.Must(a.Unlock(0, 100))
	if d, err := a.Test(nfs4.WriteLT, 0, nfs4.Uint64Max); err != nil || d != nil {
		e.Errorf("%v, %v", d, err)
	}
}

func locktBasic(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.ReadLT, 0, 10))
	for _, c := range []struct {
		l        *client.Locks
		typ      uint32
		off, len uint64
		conflict bool
	}{
		{a, nfs4.WriteLT, 0, 10, false}, {b, nfs4.ReadLT, 0, 10, false}, {b, nfs4.WriteLT, 0, 10, true},
		{b, nfs4.WriteLT, 9, 1, true}, {b, nfs4.WriteLT, 10, 10, false}, {b, nfs4.WriteLT, 0, nfs4.Uint64Max, true},
	} {
		d, err := c.l.Test(c.typ, c.off, c.len)
		e.Must(err)
		if (d != nil) != c.conflict {
			e.Errorf("type %d, %d bytes at %d by %s: %+v, want conflict %v", c.typ, c.len, c.off, c.l.Owner.Name, d, c.conflict)
		}
	}
}

func locktErrors(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "")
	o := client.Owner{ClientID: c.ClientID, Name: "o"}
	e.Want(c, is(nfs4.ErrInval), client.PutFH(fh), client.LockT(nfs4.ReadLT, 0, 0, o))
	e.Want(c, is(nfs4.ErrInval), client.PutFH(fh), client.LockT(nfs4.ReadLT, nfs4.Uint64Max-5, 100, o))
	e.Want(c, is(nfs4.ErrIsDir), client.PutFH(dir), client.LockT(nfs4.ReadLT, 0, 1, o))
	e.Want(c, is(nfs4.ErrInval, nfs4.ErrSymlink, nfs4.ErrWrongType), client.PutFH(e.fifo(c, dir, "p")), client.LockT(nfs4.ReadLT, 0, 1, o))
	if e.Minor == 0 {
		e.Want(c, unknown40(), client.PutFH(fh), client.LockT(nfs4.ReadLT, 0, 1, client.Owner{ClientID: c.ClientID ^ 0x99, Name: "o"}))
	}
}

func lockRangeTests() []Test {
	return []Test{
		{Code: "RANGE1", minors: all, RFC: "RFC 8881 §18.12.3", Says: "unlocking the middle of a lock leaves both ends", run: rangeSplit},
		{Code: "RANGE2", minors: all, RFC: "RFC 8881 §18.10.4", Says: "locks of one owner that touch or overlap act as one", run: rangeMerge},
		{Code: "RANGE3", minors: all, RFC: "RFC 8881 §18.10.4", Says: "changing the type of a part leaves the rest as it was", run: rangeChange},
		{Code: "RANGE4", minors: all, RFC: "RFC 8881 §18.10.3", Says: "a lock to the end covers all offsets from its first on", run: rangeToEnd},
		{Code: "RANGE5", minors: all, RFC: "RFC 8881 §18.10", Says: "after any sequence of locks and unlocks, every byte has the locks it should have", run: rangeOracle},
		{Code: "RANGE6", minors: all, RFC: "RFC 8881 §18.10", Says: "hundreds of locks on one file are kept apart", run: rangeMany},
		{Code: "RANGE7", minors: all, RFC: "RFC 8881 §18.10", Says: "offsets beyond 32 and 63 bits are told apart", run: rangeFar},
	}
}

// held asks as a stranger whether a range is free of write locks (for reading)
// and of any locks (for writing).
func (e *Env) held(f *client.OpenFile, offset, length uint64) (read, write bool) {
	stranger := f.Locks(client.NewOwner())
	d, err := stranger.Test(nfs4.ReadLT, offset, length)
	e.Must(err)
	w, err := stranger.Test(nfs4.WriteLT, offset, length)
	e.Must(err)
	return w != nil, d != nil
}

// wantHeld requires for each byte of a line such as "..rrww" what is locked.
func (e *Env) wantHeld(f *client.OpenFile, line string) {
	for i, want := range line {
		any, excl := e.held(f, uint64(i), 1)
		got := '.'
		if excl {
			got = 'w'
		} else if any {
			got = 'r'
		}
		if got != want {
			e.Fatalf("byte %d is %c, want %s", i, got, line)
		}
	}
}

func rangeSplit(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.Must(l.Unlock(3, 4))
	e.wantHeld(f, "www....www.")
}

func rangeMerge(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 3))
	e.Must(l.Lock(nfs4.WriteLT, 6, 3))
	e.Must(l.Lock(nfs4.WriteLT, 3, 3))
	e.wantHeld(f, "wwwwwwwww.")
	e.Must(l.Lock(nfs4.WriteLT, 2, 5))
	e.Must(l.Unlock(0, 9))
	e.wantHeld(f, "..........")
}

func rangeChange(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 9))
	e.Must(l.Lock(nfs4.ReadLT, 3, 3))
	e.wantHeld(f, "wwwrrrwww.")
	e.Must(l.Lock(nfs4.WriteLT, 4, 1))
	e.wantHeld(f, "wwwrwrwww.")
}

func rangeToEnd(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 5, nfs4.Uint64Max))
	e.wantHeld(f, ".....ww")
	if any, _ := e.held(f, nfs4.Uint64Max-1, 1); !any {
		e.Errorf("the last offset but one is free")
	}
	d, err := f.Locks(client.NewOwner()).Test(nfs4.ReadLT, 7, 1)
	e.Must(err)
	// Where the largest offset is 2^63-1, that is the end of the file too.
	if d == nil || d.Offset != 5 || d.Length < 1<<63-1-5 {
		e.Errorf("%+v", d)
	}
	e.Must(l.Unlock(10, nfs4.Uint64Max))
	e.wantHeld(f, ".....wwwww.")
	if any, _ := e.held(f, 1<<40, 1); any {
		e.Errorf("offset 2^40 is still locked")
	}
}

// rangeOracle compares with a plain array of bytes.
func rangeOracle(e *Env) {
	const size = 24
	f := e.File(e.Client(), e.Dir(), "f", "")
	owners := []*client.Locks{f.Locks(client.NewOwner()), f.Locks(client.NewOwner()), f.Locks(client.NewOwner())}
	known := make([]bool, len(owners))
	var state [3][size]uint32 // 0, ReadLT or WriteLT
	rnd := rand.New(rand.NewPCG(7, uint64(e.Minor)))
	for step := range 300 {
		o := rnd.IntN(len(owners))
		from := rnd.IntN(size)
		n := 1 + rnd.IntN(size-from)
		typ := uint32(rnd.IntN(3)) // 0: unlock
		if typ == 0 {
			if !known[o] {
				continue
			}
			e.Must(owners[o].Unlock(uint64(from), uint64(n)))
			for i := from; i < from+n; i++ {
				state[o][i] = 0
			}
			continue
		}
		conflict := false
		for other := range owners {
			for i := from; i < from+n && other != o; i++ {
				conflict = conflict || state[other][i] == nfs4.WriteLT || (state[other][i] != 0 && typ == nfs4.WriteLT)
			}
		}
		err := owners[o].Lock(typ, uint64(from), uint64(n))
		s, ok := client.Status(err)
		if !ok || conflict != (s == nfs4.ErrDenied) || (!conflict && s != nfs4.OK) {
			e.Fatalf("step %d: owner %d, type %d, %d bytes at %d: %v, conflict %v", step, o, typ, n, from, err, conflict)
		}
		if !conflict {
			known[o] = true
			for i := from; i < from+n; i++ {
				state[o][i] = typ
			}
		}
		if step%30 == 29 {
			line := []byte{}
			for i := range size {
				b := byte('.')
				for o := range owners {
					if state[o][i] == nfs4.WriteLT {
						b = 'w'
					} else if state[o][i] == nfs4.ReadLT && b != 'w' {
						b = 'r'
					}
				}
				line = append(line, b)
			}
			e.wantHeld(f, string(line))
		}
	}
}

func rangeMany(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l, m := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	for i := range uint64(300) {
		e.Must(l.Lock(nfs4.WriteLT, i*10, 3))
		e.Must(m.Lock(nfs4.WriteLT, i*10+5, 3))
	}
	for _, i := range []uint64{0, 1, 150, 299} {
		if any, _ := e.held(f, i*10+3, 2); any {
			e.Errorf("the gap after lock %d is taken", i)
		}
		if _, excl := e.held(f, i*10+2, 1); !excl {
			e.Errorf("lock %d is not held", i)
		}
		e.Err(l.Lock(nfs4.ReadLT, i*10+6, 1), nfs4.ErrDenied)
	}
	e.Must(l.Unlock(0, nfs4.Uint64Max))
	if any, _ := e.held(f, 0, 5); any {
		e.Errorf("still locked after unlocking everything")
	}
	if _, excl := e.held(f, 5, 1); !excl {
		e.Errorf("the other owner's lock went too")
	}
}

func rangeFar(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	for _, at := range []uint64{1<<31 - 1, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, nfs4.Uint64Max - 2} {
		e.Must(l.Lock(nfs4.WriteLT, at, 1))
		if _, excl := e.held(f, at, 1); !excl {
			e.Errorf("offset %#x is not locked", at)
		}
		e.Must(l.Unlock(at, 1))
		if any, _ := e.held(f, at, 1); any {
			e.Errorf("offset %#x is still locked", at)
		}
	}
}
