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
