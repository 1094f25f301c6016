package suite

import (
	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// What one step adds to what an earlier one left, and must neither lose nor
// forget.
func unitedTests() []Test {
	return []Test{
		{Code: "UNITE1", minors: all, RFC: "RFC 8881 §9.10, §18.16.3", Says: "a second OPEN of an owner unites deny as well as access", run: uniteDeny},
		{Code: "UNITE2", minors: v12, RFC: "RFC 8881 §18.50.3", Says: "a client ID without a session that has a file open is NFS4ERR_CLIENTID_BUSY", run: uniteBusy},
		{Code: "UNITE3", minors: v12, RFC: "RFC 8881 §18.35.3", Flags: extra, Says: "the reply to an update says that the client ID is confirmed", run: uniteUpdate},
		{Code: "UNITE4", minors: all, RFC: "RFC 7530 §9.5, RFC 8881 §8.3", Flags: slow, Says: "a client that renews its lease keeps its lock from others beyond the lease time", run: uniteRenewal},
	}
}

func uniteDeny(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	owner := client.NewOwner()
	_, err := c.Open(owner, dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})
	e.Must(err)
	f, err := c.Open(owner, dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Deny: nfs4.ShareDenyWrite, Name: "f"})
	e.Must(err)
	_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessWrite, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	e.Must(f.Close())
}

func uniteBusy(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	s := e.confirm(c, r)
	e.state(s)
	e.WantRaw(c, is(nfs4.OK), client.DestroySession(s.ID))
	e.WantRaw(c, is(nfs4.ErrClientIDBusy), client.DestroyClientID(r.ClientID))
}

func uniteUpdate(e *Env) {
	c := e.Conn()
	a := owner()
	e.confirm(c, e.exchange(c, a))
	a.Flags = nfs4.ExchgUpdConfirmedRecA
	if u := e.exchange(c, a); u.Flags&nfs4.ExchgConfirmedR == 0 {
		e.Errorf("%+v", u)
	}
}

// uniteRenewal is about a client that does nothing but bare SEQUENCEs, or
// RENEWs: whoever wants its lock learns whether that was enough.
func uniteRenewal(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.pass(2.2, e.renewal(c))
	other := e.NewClient(nil)
	p := e.Do(other, client.PutFH(f.FH), client.LockT(nfs4.WriteLT, 0, 10, client.Owner{ClientID: other.ClientID, Name: "o"}))
	e.Expect(p, is(nfs4.ErrDenied))
	e.Must(l.Unlock(0, 10))
	e.Must(f.Close())
}
