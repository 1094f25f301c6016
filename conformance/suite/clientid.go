package suite

import (
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func clientIDTests() []Test {
	const rfc = "RFC 7530 §16.33.5"
	return []Test{
		{Code: "CID1", minors: v0, RFC: rfc, Says: "a new client gets a client ID, valid once confirmed", run: cidNew},
		{Code: "CID2", minors: v0, RFC: rfc, Says: "the same verifier, confirmed: the same client ID and another confirm verifier", run: cidUpdate},
		{Code: "CID3", minors: v0, RFC: rfc, Says: "another verifier, confirmed: a new client ID; the old goes on until it is confirmed", run: cidRestart},
		{Code: "CID4", minors: v0, RFC: rfc, Says: "a newer unconfirmed record replaces an older one", run: cidReplaceUnconfirmed},
		{Code: "CID5", minors: v0, RFC: rfc, Says: "another principal with a confirmed owner that holds state is NFS4ERR_CLID_INUSE", run: cidPrincipal},
		{Code: "CID6", minors: v0, RFC: "RFC 7530 §16.34.5", Says: "a confirmation may be sent again", run: cidConfirmTwice},
		{Code: "CID7", minors: v0, RFC: "RFC 7530 §16.34.5", Says: "a confirmation with a wrong verifier or client ID is NFS4ERR_STALE_CLIENTID", run: cidConfirmWrong},
		{Code: "CID8", minors: v0, RFC: "RFC 7530 §16.34.5", Says: "another principal cannot confirm: NFS4ERR_CLID_INUSE", run: cidConfirmPrincipal},
		{Code: "CID9", minors: v0, RFC: "RFC 7530 §16.33.3", Says: "a client ID that is not confirmed is NFS4ERR_STALE_CLIENTID", run: cidUnconfirmedUse},
		{Code: "CID10", minors: v0, RFC: "RFC 7530 §16.33.2", Says: "an id of 1024 bytes is served", run: cidLong},
		{Code: "CID11", minors: v0, RFC: "RFC 7530 §9.1.2", Says: "confirming a restarted client releases its old opens at once", run: cidRestartReleases},
		{Code: "CID12", minors: v0, RFC: rfc, Says: "a callback update does not touch opens and locks", run: cidUpdateKeepsState},
		{Code: "CID13", minors: v0, RFC: "RFC 7530 §16.33.2, §13.1.1.1", Says: "an id of more than 1024 bytes is a decoding error", run: cidTooLong},
		{Code: "RENEW1", minors: v0, RFC: "RFC 7530 §16.28.4", Says: "RENEW of a confirmed client succeeds", run: renewOK},
		{Code: "RENEW2", minors: v0, RFC: "RFC 7530 §16.28.4", Says: "RENEW of an unknown client is NFS4ERR_STALE_CLIENTID", run: renewStale},
	}
}

// setid returns arguments of SETCLIENTID for a new client.
func setid() client.SetClientIDArgs {
	return client.SetClientIDArgs{
		Verifier: client.NewVerifier(), ID: client.UniqueName("cid-"), CBProgram: nfs4.CBProgram, NetID: "tcp", UAddr: "127.0.0.1.0.9",
	}
}

func (e *Env) setClientID(c *client.Conn, a client.SetClientIDArgs) *client.SetClientIDRes {
	return get[client.SetClientIDRes](e, e.WantRaw(c, is(nfs4.OK), client.SetClientID(a)))
}

func (e *Env) confirmID(c *client.Conn, r *client.SetClientIDRes, want ...nfs4.Status) {
	if len(want) == 0 {
		want = is(nfs4.OK)
	}
	e.WantRaw(c, want, client.SetClientIDConfirm(r.ClientID, r.Confirm))
}

func cidNew(e *Env) {
	c := e.Conn()
	r := e.setClientID(c, setid())
	e.confirmID(c, r)
	e.WantRaw(c, is(nfs4.OK), client.Renew(r.ClientID))
	s := e.setClientID(c, setid())
	if s.ClientID == r.ClientID {
		e.Errorf("two clients have the client ID %x", r.ClientID)
	}
}

func cidUpdate(e *Env) {
	c := e.Conn()
	a := setid()
	r := e.setClientID(c, a)
	e.confirmID(c, r)
	a.UAddr = "127.0.0.1.0.10"
	s := e.setClientID(c, a)
	if s.ClientID != r.ClientID || s.Confirm == r.Confirm {
		e.Errorf("first %+v, updated %+v", r, s)
	}
	e.confirmID(c, s)
	e.WantRaw(c, is(nfs4.OK), client.Renew(s.ClientID))
}

func cidRestart(e *Env) {
	c := e.Conn()
	a := setid()
	r := e.setClientID(c, a)
	e.confirmID(c, r)
	a.Verifier = client.NewVerifier()
	s := e.setClientID(c, a)
	if s.ClientID == r.ClientID || s.Confirm == r.Confirm {
		e.Errorf("first %+v, restarted %+v", r, s)
	}
	e.WantRaw(c, is(nfs4.OK), client.Renew(r.ClientID))
	e.confirmID(c, s)
	e.WantRaw(c, unknown40(), client.Renew(r.ClientID))
	e.WantRaw(c, is(nfs4.OK), client.Renew(s.ClientID))
}

func cidReplaceUnconfirmed(e *Env) {
	c := e.Conn()
	a := setid()
	r := e.setClientID(c, a)
	a.Verifier = client.NewVerifier()
	s := e.setClientID(c, a)
	if s.ClientID == r.ClientID || s.Confirm == r.Confirm {
		e.Errorf("first %+v, replaced by %+v", r, s)
	}
	e.confirmID(c, r, nfs4.ErrStaleClientID)
	e.confirmID(c, s)
}

// open40 opens a new file as a client known by its id.
func (e *Env) open40(c *client.Conn, clientID uint64) (client.FH, nfs4.Stateid) {
	dir := e.Dir()
	p := e.WantRaw(c, is(nfs4.OK), client.PutFH(dir), client.Open(client.OpenArgs{
		Access: 3, Deny: 3, Owner: client.Owner{ClientID: clientID, Name: "o"}, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o666), Name: "f",
	}), client.GetFH())
	fh, r := get[client.GetFHRes](e, p).FH, get[client.OpenRes](e, p)
	if r.Flags&nfs4.OpenResultConfirm == 0 {
		return fh, r.Stateid
	}
	p = e.WantRaw(c, is(nfs4.OK), client.PutFH(fh), client.OpenConfirm(r.Stateid, 1))
	return fh, get[client.OpenConfirmRes](e, p).Stateid
}

func cidPrincipal(e *Env) {
	c := e.Conn()
	a := setid()
	r := e.setClientID(c, a)
	e.confirmID(c, r)
	e.open40(c, r.ClientID)
	a.Verifier = client.NewVerifier()
	e.WantRaw(e.asUser(4711), is(nfs4.ErrClIDInUse), client.SetClientID(a))
	e.WantRaw(c, is(nfs4.OK), client.Renew(r.ClientID))
}

func cidConfirmTwice(e *Env) {
	c := e.Conn()
	r := e.setClientID(c, setid())
	e.confirmID(c, r)
	e.confirmID(c, r)
}

func cidConfirmWrong(e *Env) {
	c := e.Conn()
	r := e.setClientID(c, setid())
	wrong := *r
	wrong.Confirm[0] ^= 0xff
	e.confirmID(c, &wrong, nfs4.ErrStaleClientID)
	wrong = *r
	wrong.ClientID ^= 0x7777
	e.confirmID(c, &wrong, nfs4.ErrStaleClientID)
	e.confirmID(c, r)
}

func cidConfirmPrincipal(e *Env) {
	r := e.setClientID(e.Conn(), setid())
	e.confirmID(e.asUser(4711), r, nfs4.ErrClIDInUse)
}

func cidUnconfirmedUse(e *Env) {
	c := e.Conn()
	r := e.setClientID(c, setid())
	e.WantRaw(c, unknown40(), client.Renew(r.ClientID))
	dir := e.Dir()
	e.WantRaw(c, unknown40(), client.PutFH(dir), client.Open(client.OpenArgs{
		Access: 1, Owner: client.Owner{ClientID: r.ClientID, Name: "o"}, How: nfs4.OpenCreate, Name: "f",
	}))
}

func cidLong(e *Env) {
	c := e.Conn()
	a := setid()
	a.ID += strings.Repeat("i", 1024-len(a.ID))
	e.confirmID(c, e.setClientID(c, a))
}

func cidTooLong(e *Env) {
	a := setid()
	a.ID += strings.Repeat("i", 1025-len(a.ID))
	e.badXDR(e.Conn().Compound(0, client.SetClientID(a)))
}

func cidRestartReleases(e *Env) {
	c := e.Conn()
	a := setid()
	r := e.setClientID(c, a)
	e.confirmID(c, r)
	fh, sid := e.open40(c, r.ClientID)
	a.Verifier = client.NewVerifier()
	e.confirmID(c, e.setClientID(c, a))
	e.WantRaw(c, is(nfs4.ErrBadStateid, nfs4.ErrStaleStateid, nfs4.ErrExpired, nfs4.ErrStaleClientID), client.PutFH(fh), client.Read(sid, 0, 1))
	d := e.setClientID(c, setid())
	e.confirmID(c, d)
	e.OK(e.Client(), client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("free")))
}

func cidUpdateKeepsState(e *Env) {
	c := e.Conn()
	a := setid()
	r := e.setClientID(c, a)
	e.confirmID(c, r)
	fh, sid := e.open40(c, r.ClientID)
	a.UAddr = "127.0.0.1.0.10"
	e.confirmID(c, e.setClientID(c, a))
	e.WantRaw(c, is(nfs4.OK), client.PutFH(fh), client.Write(sid, 0, nfs4.FileSync, []byte("x")))
}

func renewOK(e *Env) { e.OK(e.Client(), client.Renew(e.Client().ClientID)) }

func renewStale(e *Env) {
	e.Want(e.Client(), unknown40(), client.Renew(e.Client().ClientID^0x1111))
}
