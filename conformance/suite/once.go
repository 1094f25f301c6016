package suite

import (
	"strings"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
)

func exactlyOnceTests() []Test {
	return []Test{
		{Code: "ONCE1", minors: v0, RFC: "RFC 7530 §3.1.1", Flags: extra, Says: "a call sent again with its xid over another connection has one effect and the first reply", run: onceDRC},
		{Code: "ONCE2", minors: v12, RFC: "RFC 8881 §2.10.6", Says: "a request whose connection drops before the reply is answered from the cache over a new one", run: onceDrop},
		{Code: "ONCE3", minors: v12, RFC: "RFC 8881 §2.10.6", Flags: extra, Says: "a change that was not asked to be cached is replayed all the same", run: onceUncached},
		{Code: "ONCE4", minors: v0, RFC: "RFC 7530 §3.1.1", Flags: extra, Says: "another call that happens to have an old xid is carried out", run: onceXIDReuse},
		{Code: "ONCE5", minors: all, RFC: "RFC 8881 §2.9", Says: "dropping a connection keeps opens and locks", run: onceKeepsState},
	}
}

func onceDRC(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "contents")
	for _, ops := range [][]client.Op{
		{client.PutFH(dir), client.Mkdir("d"), client.GetFH()},
		{client.PutFH(dir), client.SaveFH(), client.Rename("f", "g")},
		{client.PutFH(dir), client.Remove("g")},
	} {
		q := client.NewCompound(c.Conn().Cred(), 0, "", ops...)
		p := e.Expect(e.reply(c.Conn().Do(q)), is(nfs4.OK))
		e.sameReply(p, e.reply(e.Conn().Do(q)))
	}
}

func onceXIDReuse(e *Env) {
	c := e.Client()
	dir := e.Dir()
	q := client.NewCompound(c.Conn().Cred(), 0, "", client.PutFH(dir), client.Mkdir("a"))
	e.Expect(e.reply(c.Conn().Do(q)), is(nfs4.OK))
	r := client.NewCompound(c.Conn().Cred(), 0, "", client.PutFH(dir), client.Mkdir("b"))
	r.SetXID(q.XID())
	e.Expect(e.reply(c.Conn().Do(r)), is(nfs4.OK))
	if names := e.Names(c, dir); len(names) != 2 {
		e.Errorf("%v", names)
	}
}

func onceDrop(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for range 10 {
		name := client.UniqueName("d")
		sl := e.Slot(c.Session, 0)
		req := sl.Request(true, client.PutFH(dir), client.Mkdir(name), client.GetFH())
		req.SetXID(c.Conn().NextXID())
		e.Must(c.Conn().Send(req))
		c.Conn().Drop()
		e.Must(c.Reconnect(e.ctx))
		p := e.Expect(e.resend(sl, c.Conn(), req), is(nfs4.OK))
		e.sameReply(p, e.reply(c.Conn().Do(req)))
		c.Session.Release(sl)
	}
	if names := e.Names(c, dir); len(names) != 10 {
		e.Errorf("%d directories", len(names))
	}
}

func onceUncached(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sl := e.Slot(c.Session, 0)
	p, q := e.twice(sl, c.Conn(), e.Conn(), false, client.PutFH(dir), client.Mkdir("d"))
	e.Expect(p, is(nfs4.OK))
	e.sameReply(p, q)
}

func onceKeepsState(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	c.Conn().Drop()
	e.Must(c.Reconnect(e.ctx))
	e.OK(c, client.PutFH(f.FH), client.Write(l.Stateid, 0, nfs4.FileSync, []byte("x")))
	other := e.NewClient(nil)
	p := e.Do(other, client.PutFH(f.FH), client.LockT(nfs4.ReadLT, 0, 10, client.Owner{ClientID: other.ClientID, Name: "o"}))
	e.Expect(p, is(nfs4.ErrDenied))
	e.Must(l.Unlock(0, 10))
	e.Must(f.Close())
}

func leaseTests() []Test {
	return []Test{
		{Code: "LEASE1", minors: all, RFC: "RFC 8881 §8.3", Flags: slow, Says: "a client that renews keeps its state beyond the lease time", run: leaseRenewed},
		{Code: "LEASE2", minors: all, RFC: "RFC 8881 §8.3", Flags: slow, Says: "the state of a client whose lease ran out is no obstacle to another client", run: leaseConflict},
		{Code: "LEASE3", minors: all, RFC: "RFC 8881 §8.4.2.4", Flags: slow + " " + extra, Says: "a client that is late and in nobody's way keeps its state", run: leaseCourtesy},
	}
}

// pass waits until a number of lease times has passed, calling renew, if not
// nil, five times in each.
func (e *Env) pass(leases float64, renew func()) {
	lease := time.Duration(e.Attrs(e.Client(), e.Work(), nfs4.AttrLeaseTime).Num(nfs4.AttrLeaseTime)) * time.Second
	tick := time.NewTicker(lease / 5)
	defer tick.Stop()
	end := time.NewTimer(time.Duration(float64(lease) * leases))
	defer end.Stop()
	for {
		select {
		case <-tick.C:
			if renew != nil {
				renew()
			}
		case <-end.C:
			return
		}
	}
}

// renewal keeps a client's lease.
func (e *Env) renewal(c *client.Client) func() {
	return func() {
		if c.Session != nil {
			e.OK(c)
		} else {
			e.OK(c, client.Renew(c.ClientID))
		}
	}
}

func leaseRenewed(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.pass(1.7, e.renewal(c))
	e.OK(c, client.PutFH(f.FH), client.Write(l.Stateid, 0, nfs4.FileSync, []byte("x")))
	e.Must(l.Unlock(0, 10))
}

// late opens a file as a client that then falls silent.
func (e *Env) late() (silent *client.Client, dir client.FH, f *client.OpenFile, l *client.Locks) {
	silent = e.NewClient(nil)
	dir = e.Dir()
	e.Closed(e.Client(), dir, "f", "contents")
	f, err := silent.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: 2, Name: "f"})
	if err != nil {
		f, err = silent.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Name: "f"})
	}
	e.Must(err)
	l = f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	return silent, dir, f, l
}

func leaseConflict(e *Env) {
	silent, dir, old, _ := e.late()
	e.setattr(e.Client(), old.FH, is(nfs4.OK), new(client.Attrs).SetMode(0o666))
	c := e.Client()
	e.pass(2.2, e.renewal(c))
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Name: "f"})
	for range 10 { // a server may take its time to be sure of it, and to take the state away
		if s, ok := client.Status(err); !ok || s != nfs4.ErrShareDenied && s != nfs4.ErrDelay {
			break
		}
		e.pass(0.3, e.renewal(c))
		f, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Name: "f"})
	}
	e.Must(err)
	e.Must(f.Locks(client.NewOwner()).Lock(nfs4.WriteLT, 0, 10))
	p := e.Do(silent, client.PutFH(old.FH), client.Write(old.Stateid, 0, nfs4.FileSync, []byte("late")))
	e.invalid = ""
	if p.Status == nfs4.OK {
		e.Errorf("the late client still writes: %v", p)
	}
}

func leaseCourtesy(e *Env) {
	silent, _, f, l := e.late()
	e.pass(2.2, e.renewal(e.Client()))
	e.OK(silent, client.PutFH(f.FH), client.Write(l.Stateid, 0, nfs4.FileSync, []byte("late")))
	e.Must(l.Unlock(0, 10))
	e.Must(f.Close())
}

func permissionTests() []Test {
	return []Test{
		{Code: "PERM1", minors: all, RFC: "RFC 8881 §5.9, §6", Says: "reading and writing without an open is checked against the file's mode", run: permAnonymous},
		{Code: "PERM2", minors: all, RFC: "RFC 8881 §18.13", Says: "a directory without search permission cannot be looked into", run: permSearch},
		{Code: "PERM3", minors: all, RFC: "RFC 5531 §8.2", Says: "supplementary groups of the credential count", run: permGroups},
		{Code: "PERM4", minors: all, RFC: "RFC 8881 §18.22.4", Says: "what was open stays open when the mode changes", run: permOpenStays},
		{Code: "PERM5", minors: all, RFC: "RFC 8881 §18.22", Says: "execute permission is enough to read for a file's execution, or reading is refused", run: permExecute},
		{Code: "PERM6", minors: all, RFC: "RFC 8881 §6.2.4", Says: "writing by another user takes set-uid away", run: permSetUID},
		{Code: "PERM7", minors: all, RFC: "RFC 5531 §8.2", Says: "sixteen groups are heard; AUTH_NONE is refused or an unprivileged user", run: permAuthNone},
	}
}

func permAnonymous(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "secret")
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o600))
	u := e.User(4711, 4711)
	e.Want(u, is(nfs4.ErrAccess), client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 10))
	e.Want(u, is(nfs4.ErrAccess), client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o604))
	e.OK(u, client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 10))
	e.Want(u, is(nfs4.ErrAccess), client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
}

func permSearch(e *Env) {
	c := e.Client()
	sub := e.Mkdir(c, e.Dir(), "d")
	e.Closed(c, sub, "f", "")
	e.setattr(c, sub, is(nfs4.OK), new(client.Attrs).SetMode(0o744))
	u := e.User(4711, 4711)
	e.Want(u, is(nfs4.ErrAccess), client.PutFH(sub), client.Lookup("f"))
	_, err := u.Open(client.NewOwner(), sub, client.OpenArgs{Access: 1, Name: "f"})
	e.Err(err, nfs4.ErrAccess)
	e.setattr(c, sub, is(nfs4.OK), new(client.Attrs).SetMode(0o711))
	e.OK(u, client.PutFH(sub), client.Lookup("f"))
}

func permGroups(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "for the group")
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o640).SetGroup("3003"))
	e.Want(e.User(4711, 4711), is(nfs4.ErrAccess), client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 10))
	e.OK(e.User(4711, 4711, 1, 2, 3003), client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 10))
}

func permOpenStays(e *Env) {
	dir := e.Dir()
	u := e.User(4711, 4711)
	f, err := u.CreateFile(dir, "f")
	e.Must(err)
	e.OK(u, client.PutFH(f.FH), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetMode(0)))
	_, err = f.Write(0, nfs4.FileSync, []byte("still mine"))
	e.Must(err)
	r, err := f.Read(0, 100)
	e.Must(err)
	if string(r.Data) != "still mine" {
		e.Errorf("%v", r)
	}
}

func permExecute(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "#!program")
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o711))
	u := e.User(4711, 4711)
	p := e.Do(u, client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 100))
	e.Expect(p, is(nfs4.OK, nfs4.ErrAccess))
	e.Want(u, is(nfs4.ErrAccess), client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
}

func permSetUID(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "program")
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o4777))
	e.OK(e.User(4711, 4711), client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
	if got := e.Attrs(c, fh, nfs4.AttrMode).Mode(); got&0o4000 != 0 {
		e.Errorf("mode %o", got)
	}
}

func permAuthNone(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "secret")
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o600).SetGroup("9016"))
	groups := make([]uint32, 0, 16)
	for g := range uint32(16) {
		groups = append(groups, 9001+g)
	}
	e.Want(e.User(4711, 4711, groups...), is(nfs4.ErrAccess), client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 10))
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o640))
	e.OK(e.User(4711, 4711, groups...), client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 10))
	if e.Minor > 0 {
		return // AUTH_NONE cannot use root's session
	}
	p, err := c.Conn().Do(client.NewCompound(oncrpc.Auth{}, 0, "", client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 10)))
	if err != nil {
		if !strings.HasPrefix(err.Error(), "rpc: denied") {
			e.Fatalf("%v", err)
		}
		return
	}
	e.Expect(p, is(nfs4.ErrAccess, nfs4.ErrWrongSec))
}
