package suite

import (
	"bytes"
	"slices"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func sharingTests() []Test {
	const trunk = "RFC 8881 §2.10.5"
	return []Test{
		{Code: "SHR1", minors: all, RFC: trunk, Says: "a file opened here is locked, written, unlocked and closed there", run: shrOpenLock},
		{Code: "SHR2", minors: v12, RFC: "RFC 8881 §2.10.6.2", Says: "a request that ran here is replayed there: every kind of change, its reply unchanged", run: shrReplay},
		{Code: "SHR3", minors: v0, RFC: "RFC 7530 §3.1.1", Flags: extra, Says: "a call that ran here, sent again there with its xid, has one effect and the first reply", run: shrReplay40},
		{Code: "SHR4", minors: v12, RFC: "RFC 8881 §2.10.6.2", Says: "one request in the same slot on two sides at once runs once; both get its reply, or one is told to wait", run: shrSlotTwice},
		{Code: "SHR5", minors: v12, RFC: "RFC 8881 §18.37.3", Says: "a session destroyed there while it is used here gives replies or NFS4ERR_BADSESSION, and only the latter after it", run: shrDestroyInUse},
		{Code: "SHR6", minors: all, RFC: "RFC 8881 §8.3", Flags: slow, Says: "a lease renewed there keeps the state of here", run: shrLease},
		{Code: "SHR7", minors: all, RFC: "RFC 8881 §18.10.3", Says: "a lock of here is in the way there, and its range and owner are told", run: shrLockConflict},
		{Code: "SHR8", minors: all, RFC: "RFC 8881 §9.7", Says: "what an open denies here is denied there, until it is closed", run: shrDeny},
		{Code: "SHR9", minors: v12, RFC: trunk, Says: "server owner and scope are the same everywhere, and a client owner has one client ID", run: shrIdentity},
		{Code: "SHR10", minors: all, RFC: trunk, Says: "filehandle, fsid, fileid, size and change of a file are the same everywhere, also after changes on either side", run: shrAttrs},
		{Code: "SHR11", minors: all, RFC: "RFC 8881 §8.2.2", Says: "a stateid that was replaced here is NFS4ERR_OLD_STATEID there", run: shrOldStateid},
		{Code: "SHR12", minors: all, RFC: "RFC 8881 §18.32.3", Flags: extra, Says: "servers that can lose unstable data each for itself have different write verifiers", run: shrVerifier},
		{Code: "SHR13", minors: all, RFC: "RFC 8881 §18.25.3", Says: "what is removed there is gone here, what is made there is here", run: shrNames},
		{Code: "SHR14", minors: all, RFC: "RFC 8881 §18.23.3", Says: "a READDIR begun here goes on there by its cookie and verifier", run: shrReaddir},
		{Code: "SHR15", minors: all, RFC: "RFC 8881 §9.9", Says: "an open upgraded there keeps its stateid and is downgraded here", run: shrUpgrade},
		{Code: "SHR16", minors: all, RFC: "RFC 8881 §18.2.3", Says: "a stateid closed there is NFS4ERR_BAD_STATEID here", run: shrClosed},
		{Code: "SHR17", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "CREATE_SESSION there for a client ID from here, sent again here, gives the same session", run: shrCreateSession},
		{Code: "SHR18", minors: v12, RFC: "RFC 8881 §18.51.3", Says: "RECLAIM_COMPLETE sent here is complete there", run: shrReclaimComplete},
		{Code: "SHR19", minors: v12, RFC: "RFC 8881 §18.50.3", Says: "a client ID destroyed there is NFS4ERR_STALE_CLIENTID here", run: shrDestroyClient},
		{Code: "SHR20", minors: v12, RFC: "RFC 8881 §18.34.3", Says: "a session of here can be bound to a connection there", run: shrBind},
		{Code: "SHR21", minors: v12, RFC: "RFC 8881 §2.10.6.1", Says: "requests of one slot may alternate between the sides", run: shrAlternate},
		{Code: "SHR22", minors: v0, RFC: "RFC 7530 §9.1.7", Says: "a request of an owner that ran here, sent again there with its seqid, gets the same stateid", run: shrSeqid},
		{Code: "SHR23", minors: v0, RFC: "RFC 7530 §16.28", Says: "RENEW there renews the client ID of here", run: shrRenew},
		{Code: "SHR24", minors: v0, RFC: "RFC 7530 §16.18", Says: "an open of here that wants to be confirmed is confirmed there", run: shrConfirm},
		{Code: "SHR25", minors: v0, RFC: "RFC 7530 §16.33", Says: "a client ID set here is confirmed there", run: shrSetClientID},
		{Code: "SHR26", minors: v0, RFC: "RFC 7530 §16.37", Says: "a lock owner of here is released there", run: shrReleaseOwner},
	}
}

// ClientAt establishes a client at one of the target's addresses.
func (e *Env) ClientAt(at int) *client.Client {
	return e.NewClient(func(cfg *client.Config) { cfg.Dial = e.at(at) })
}

// ConnAt opens a bare connection to one of the target's addresses, closed at the
// end of the test.
func (e *Env) ConnAt(at int) *client.Conn {
	nc, err := e.at(at)(e.ctx)
	if err != nil {
		e.Fatalf("address %d: %v", at, err)
	}
	c := client.NewConn(nc, e.options())
	e.conns = append(e.conns, c)
	return c
}

// move makes a client go on at another address: nothing is sent, and its
// connection stays open.
func (e *Env) move(c *client.Client, at int) { c.SetConn(e.ConnAt(at)) }

// here and there are two addresses of the target.
const (
	here  = 0
	there = 1
)

func shrOpenLock(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	f := e.File(c, dir, "f", "contents")
	e.move(c, there)
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.OK(c, client.PutFH(f.FH), client.Write(l.Stateid, 0, nfs4.FileSync, []byte("written ")))
	e.move(c, here)
	if got := e.Contents(c, f.FH); got != "written " {
		e.Errorf("here it holds %q", got)
	}
	e.move(c, there)
	e.Must(l.Unlock(0, 10))
	e.Must(f.Close())
}

func shrReplay(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	other := e.ConnAt(there)
	sl := e.Slot(c.Session, 1)
	step := func(ops ...client.Op) *client.Reply {
		p, q := e.twice(sl, c.Conn(), other, true, ops...)
		e.Expect(p, is(nfs4.OK))
		e.sameReply(p, q)
		return p
	}
	o := client.Owner{ClientID: c.ClientID, Name: "o"}
	step(client.PutFH(dir), client.Mkdir("d"), client.GetFH())
	p := step(client.PutFH(dir), client.Open(client.OpenArgs{Access: 3, Owner: o, How: nfs4.OpenCreate, Mode: nfs4.CreateGuarded, Name: "f"}), client.GetFH())
	fh, sid := get[client.GetFHRes](e, p).FH, get[client.OpenRes](e, p).Stateid
	step(client.PutFH(fh), client.Write(sid, 0, nfs4.FileSync, []byte("data")), client.GetAttr(nfs4.AttrChange))
	p = step(client.PutFH(fh), client.Lock(client.LockArgs{Type: nfs4.WriteLT, Length: 5, New: true, OpenStateid: sid, Owner: o}))
	step(client.PutFH(fh), client.LockU(nfs4.WriteLT, 0, get[client.LockRes](e, p).Stateid, 0, 5))
	step(client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetMode(0o600)))
	step(client.PutFH(fh), client.SaveFH(), client.PutFH(dir), client.Link("link"))
	step(client.PutFH(dir), client.SaveFH(), client.Rename("link", "renamed"))
	step(client.PutFH(dir), client.Remove("renamed"))
	step(client.PutFH(fh), client.Close(0, sid))
	if names := e.Names(c, dir); !slices.Equal(names, []string{"d", "f"}) {
		e.Errorf("the directory holds %v", names)
	}
}

func shrReplay40(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	e.Closed(c, dir, "f", "contents")
	other := e.ConnAt(there)
	for _, ops := range [][]client.Op{
		{client.PutFH(dir), client.Mkdir("d"), client.GetFH()},
		{client.PutFH(dir), client.SaveFH(), client.Rename("f", "g")},
		{client.PutFH(dir), client.Remove("g")},
	} {
		q := client.NewCompound(c.Conn().Cred(), 0, "", ops...)
		p := e.Expect(e.reply(c.Conn().Do(q)), is(nfs4.OK))
		e.sameReply(p, e.reply(other.Do(q)))
	}
}

func shrSlotTwice(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	other := e.ConnAt(there)
	sl := e.Slot(c.Session, 1)
	for range 20 {
		req := sl.Request(true, client.PutFH(dir), client.Mkdir(client.UniqueName("d")), client.GetFH())
		first, err := c.Conn().Start(req)
		e.Must(err)
		second, err := other.Start(req)
		e.Must(err)
		p, q := e.reply(first()), e.reply(second())
		sl.Seq++
		if (p.Status == nfs4.ErrDelay) != (q.Status == nfs4.ErrDelay) {
			continue
		}
		e.Expect(p, is(nfs4.OK))
		e.sameReply(p, q)
	}
	if names := e.Names(c, dir); len(names) != 20 {
		e.Errorf("%d directories", len(names))
	}
}

func shrDestroyInUse(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	s := c.Session
	var waits []func() (*client.Reply, error)
	for range min(8, s.Granted.Fore.MaxRequests) {
		wait, err := c.Conn().Start(e.Slot(s, 0).Request(true, client.PutFH(dir), client.Mkdir(client.UniqueName("d"))))
		e.Must(err)
		waits = append(waits, wait)
	}
	e.WantRaw(e.ConnAt(there), is(nfs4.OK), client.DestroySession(s.ID))
	for _, wait := range waits {
		e.Expect(e.reply(wait()), is(nfs4.OK, nfs4.ErrBadSession))
	}
	e.WantRaw(e.ConnAt(here), is(nfs4.ErrBadSession), client.Sequence(s.ID, 1, 0, 0, false))
}

func shrLease(e *Env) {
	c := e.ClientAt(here)
	f := e.File(c, e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.move(c, there)
	rival := e.ClientAt(here)
	e.pass(1.7, func() {
		e.renewal(c)()
		e.renewal(rival)()
	})
	o := client.Owner{ClientID: rival.ClientID, Name: "rival"}
	e.Want(rival, is(nfs4.ErrDenied), client.PutFH(f.FH), client.LockT(nfs4.WriteLT, 0, 10, o))
	e.move(c, here)
	e.OK(c, client.PutFH(f.FH), client.Write(l.Stateid, 0, nfs4.FileSync, []byte("x")))
	e.Must(l.Unlock(0, 10))
}

func shrLockConflict(e *Env) {
	a, b := e.ClientAt(here), e.ClientAt(there)
	dir := e.Dir()
	locks := e.File(a, dir, "f", "").Locks(client.NewOwner())
	e.Must(locks.Lock(nfs4.WriteLT, 100, 50))
	rival := e.File(b, dir, "f", "").Locks(client.NewOwner())
	for _, ask := range []func() (*client.DeniedRes, error){
		func() (*client.DeniedRes, error) {
			p, err := rival.LockReply(nfs4.ReadLT, 120, 1)
			e.Expect(e.reply(p, err), is(nfs4.ErrDenied))
			return client.Get[client.DeniedRes](p), nil
		},
		func() (*client.DeniedRes, error) { return rival.Test(nfs4.ReadLT, 0, 200) },
	} {
		d, err := ask()
		e.Must(err)
		if d == nil || d.Offset != 100 || d.Length != 50 || d.Type != nfs4.WriteLT || d.ClientID != a.ClientID || string(d.Owner) != locks.Owner.Name {
			e.Errorf("client %#x holds 100 to 150 as %q; told is %+v", a.ClientID, locks.Owner.Name, d)
		}
	}
	e.Must(locks.Unlock(100, 50))
	e.Must(rival.Lock(nfs4.ReadLT, 120, 1))
}

func shrDeny(e *Env) {
	a, b := e.ClientAt(here), e.ClientAt(there)
	dir := e.Dir()
	e.Closed(a, dir, "f", "x")
	f, err := a.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: 2, Name: "f"})
	e.Must(err)
	owner := client.NewOwner()
	_, err = b.Open(owner, dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	e.Must(f.Close())
	g, err := b.Open(owner, dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Must(err)
	_, err = a.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: 2, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	e.Must(g.Close())
}

func shrIdentity(e *Env) {
	args := owner()
	var first *client.ExchangeIDRes
	for at := range e.Addresses {
		r := e.exchange(e.ConnAt(at), args)
		switch {
		case first == nil:
			first = r
			e.confirm(e.ConnAt(at), r) // before that each EXCHANGE_ID may give another client ID
		case r.ClientID != first.ClientID:
			e.Errorf("the client ID is %#x at the first address and %#x at address %d", first.ClientID, r.ClientID, at)
		case !bytes.Equal(r.ServerMajor, first.ServerMajor) || r.ServerMinor != first.ServerMinor || !bytes.Equal(r.Scope, first.Scope):
			e.Errorf("the server is %+v at the first address and %+v at address %d", first, r, at)
		}
	}
}

func shrAttrs(e *Env) {
	a, b := e.ClientAt(here), e.ClientAt(there)
	dir := e.Dir()
	fh := e.Closed(a, dir, "f", "contents")
	list := []nfs4.Attr{nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrFSID, nfs4.AttrFileID, nfs4.AttrType, nfs4.AttrFilehandle}
	before := uint64(0)
	for i, c := range []*client.Client{a, b, a} {
		other, err := b.LookupFH(dir, "f")
		e.Must(err)
		if !slices.Equal(fh, other) {
			e.Errorf("filehandle %v here, %v there", fh, other)
		}
		x, y := e.Attrs(a, fh, list...), e.Attrs(b, fh, list...)
		if x.String() != y.String() {
			e.Errorf("here %v\nthere %v", x, y)
		}
		if change := x.Num(nfs4.AttrChange); change <= before {
			e.Errorf("step %d: change is %d, was %d", i, change, before)
		}
		before = x.Num(nfs4.AttrChange)
		e.OK(c, client.PutFH(fh), client.Write(nfs4.AnonymousStateid, uint64(100*i), nfs4.FileSync, []byte("more")))
	}
}

func shrOldStateid(e *Env) {
	c := e.ClientAt(here)
	f := e.File(c, e.Dir(), "f", "x")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	old := l.Stateid
	e.Must(l.Lock(nfs4.WriteLT, 20, 10))
	e.move(c, there)
	e.Want(c, is(nfs4.ErrOldStateid), client.PutFH(f.FH), client.Write(old, 0, nfs4.FileSync, []byte("x")))
	e.OK(c, client.PutFH(f.FH), client.Write(l.Stateid, 0, nfs4.FileSync, []byte("x")))
}

func shrVerifier(e *Env) {
	fh := e.Closed(e.Client(), e.Dir(), "f", "x")
	seen := make(map[nfs4.Verifier]int)
	for at := range e.Addresses {
		p := e.OK(e.ClientAt(at), client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.Unstable, []byte("y")))
		v := get[client.WriteRes](e, p).Verifier
		if other, same := seen[v]; same {
			e.Errorf("addresses %d and %d have the verifier %v", other, at, v)
		}
		seen[v] = at
	}
}

func shrNames(e *Env) {
	a, b := e.ClientAt(here), e.ClientAt(there)
	dir := e.Dir()
	for _, c := range [][2]*client.Client{{a, b}, {b, a}} {
		this, that := c[0], c[1]
		e.Want(that, is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup("d"))
		before := e.Attrs(that, dir, nfs4.AttrChange).Num(nfs4.AttrChange)
		e.Mkdir(this, dir, "d")
		e.OK(that, client.PutFH(dir), client.Lookup("d"))
		if after := e.Attrs(that, dir, nfs4.AttrChange).Num(nfs4.AttrChange); after <= before {
			e.Errorf("the directory's change is %d, was %d", after, before)
		}
		if names := e.Names(that, dir); !slices.Equal(names, []string{"d"}) {
			e.Errorf("the directory holds %v", names)
		}
		e.OK(this, client.PutFH(dir), client.Remove("d"))
		e.Want(that, is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup("d"))
	}
}
