package suite

import (
	"bytes"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func exchangeTests() []Test {
	const rfc = "RFC 8881 §18.35.4"
	return []Test{
		{Code: "EID1", minors: v12, RFC: rfc + " case 1", Says: "a new owner gets a new, unconfirmed client ID", run: eidNew},
		{Code: "EID2", minors: v12, RFC: rfc + " case 2", Says: "the same owner and verifier, confirmed, gets the same client ID with CONFIRMED_R", run: eidAgain},
		{Code: "EID3", minors: v12, RFC: rfc + " case 3", Says: "another principal with a confirmed owner that holds state is NFS4ERR_CLID_INUSE", run: eidCollision},
		{Code: "EID4", minors: v12, RFC: rfc + " case 4", Says: "an unconfirmed record is replaced and its client ID is gone", run: eidReplace},
		{Code: "EID5", minors: v12, RFC: rfc + " case 5", Says: "a restarted client gets a new client ID; CREATE_SESSION on it ends the old one's sessions and locks", run: eidRestart},
		{Code: "EID6", minors: v12, RFC: rfc + " case 5", Says: "the old client goes on until the restarted one confirms", run: eidRestartUnconfirmed},
		{Code: "EID7", minors: v12, RFC: rfc + " case 6", Says: "an update of a confirmed client keeps its client ID", run: eidUpdate},
		{Code: "EID8", minors: v12, RFC: rfc + " case 7", Says: "an update without a confirmed record is NFS4ERR_NOENT", run: eidUpdateNoEnt},
		{Code: "EID9", minors: v12, RFC: rfc + " case 8", Says: "an update with another verifier is NFS4ERR_NOT_SAME", run: eidUpdateVerifier},
		{Code: "EID10", minors: v12, RFC: rfc + " case 9", Says: "an update by another principal is NFS4ERR_PERM", run: eidUpdatePrincipal},
		{Code: "EID11", minors: v12, RFC: "RFC 8881 §18.35.3", Says: "flags that are not defined, and CONFIRMED_R, are NFS4ERR_INVAL", run: eidFlags},
		{Code: "EID12", minors: v12, RFC: "RFC 8881 §18.35.3", Says: "the reply tells one use of pNFS at least, and flags it knows", run: eidPNFS},
		{Code: "EID13", minors: v12, RFC: "RFC 8881 §2.10.4, §18.35.3", Says: "server owner and scope are the same for every client", run: eidOwnerScope},
		{Code: "EID14", minors: v12, RFC: "RFC 8881 §18.35.1", Says: "an owner of 1024 bytes is served", run: eidLongOwner},
		{Code: "EID15", minors: v12, RFC: "RFC 8881 §18.35.3", Says: "state protection by machine credential needs RPCSEC_GSS: not granted over AUTH_SYS", run: eidMachCred},
		{Code: "EID16", minors: v12, RFC: "RFC 8881 §18.35.3", Says: "state protection by SSV without any algorithm is refused", run: eidSSV},
		{Code: "EID17", minors: v12, RFC: "RFC 8881 §18.35.3", Says: "the client's implementation id may be left out", run: eidNoImpl},
		{Code: "EID18", minors: v12, RFC: "RFC 8881 §18.35.3", Says: "EXCHANGE_ID may follow SEQUENCE", run: eidInSession},
		{Code: "EID19", minors: v12, RFC: rfc + " case 3", Says: "another principal may take an owner that holds no state", run: eidCollisionNoState},
		{Code: "EID20", minors: v12, RFC: "RFC 8881 §2.4", Says: "the client's address is no part of its identity: another connection gets the same client ID", run: eidOtherConnection},
		{Code: "EID21", minors: v12, RFC: "RFC 8881 §18.35.1, §15.1.1.1", Says: "an owner of more than 1024 bytes is a decoding error", run: eidTooLongOwner},
	}
}

// exchange sends EXCHANGE_ID on a bare connection and returns its result.
func (e *Env) exchange(c *client.Conn, a client.ExchangeIDArgs) *client.ExchangeIDRes {
	return get[client.ExchangeIDRes](e, e.WantRaw(c, is(nfs4.OK), client.ExchangeID(a)))
}

// owner returns arguments of EXCHANGE_ID with a new owner.
func owner() client.ExchangeIDArgs {
	return client.ExchangeIDArgs{Owner: client.UniqueName("eid-"), Verifier: client.NewVerifier()}
}

// confirm creates a session for an EXCHANGE_ID result.
func (e *Env) confirm(c *client.Conn, r *client.ExchangeIDRes) *client.Session {
	p := e.WantRaw(c, is(nfs4.OK), client.CreateSession(sessionArgs(r)))
	return client.NewSession(c, e.Minor, r.ClientID, get[client.CreateSessionRes](e, p))
}

func sessionArgs(r *client.ExchangeIDRes) client.CreateSessionArgs {
	return client.CreateSessionArgs{
		ClientID: r.ClientID, Seq: r.Seq, Fore: client.DefaultFore, Back: client.DefaultBack, CBProgram: nfs4.CBProgram,
	}
}

// asUser returns a bare connection of another principal.
func (e *Env) asUser(uid uint32) *client.Conn {
	nc, err := e.Dial(e.ctx)
	if err != nil {
		e.Fatalf("%v", err)
	}
	opt := e.options()
	opt.Cred = client.SysAuth(uid, uid)
	c := client.NewConn(nc, opt)
	e.conns = append(e.conns, c)
	return c
}

func eidNew(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	if r.Flags&nfs4.ExchgConfirmedR != 0 {
		e.Errorf("a new client is said to be confirmed: %+v", r)
	}
	s := e.exchange(c, owner())
	if r.ClientID == s.ClientID {
		e.Errorf("two owners have the client ID %x", r.ClientID)
	}
}

func eidAgain(e *Env) {
	c := e.Conn()
	a := owner()
	r := e.exchange(c, a)
	e.confirm(c, r)
	s := e.exchange(c, a)
	if s.ClientID != r.ClientID || s.Flags&nfs4.ExchgConfirmedR == 0 {
		e.Errorf("first %+v, then %+v", r, s)
	}
}

// state opens a file as a client known by its session, and so gives it state.
func (e *Env) state(s *client.Session) client.FH {
	name := client.UniqueName("state-")
	dir := e.Dir()
	p := e.reply(s.Compound(client.ReclaimComplete(false), client.PutFH(dir), client.Open(client.OpenArgs{
		Access: nfs4.ShareAccessBoth, Owner: client.Owner{ClientID: s.ClientID, Name: "o"},
		How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o666), Name: name, Deny: nfs4.ShareDenyBoth,
	}), client.GetFH()))
	e.Expect(p, is(nfs4.OK))
	return get[client.GetFHRes](e, p).FH
}

func eidCollision(e *Env) {
	c := e.Conn()
	a := owner()
	r := e.exchange(c, a)
	s := e.confirm(c, r)
	e.state(s)
	b := a
	b.Verifier = client.NewVerifier()
	e.WantRaw(e.asUser(4711), is(nfs4.ErrClIDInUse), client.ExchangeID(b))
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
}

func eidCollisionNoState(e *Env) {
	c := e.Conn()
	a := owner()
	r := e.exchange(c, a)
	s := e.confirm(c, r)
	e.WantRaw(c, is(nfs4.OK), client.DestroySession(s.ID)) // a session may count as state
	other := e.exchange(e.asUser(4711), a)
	if other.ClientID == r.ClientID {
		e.Errorf("another principal gets the same client ID %x", r.ClientID)
	}
}

func eidReplace(e *Env) {
	c := e.Conn()
	a := owner()
	r := e.exchange(c, a)
	s := e.exchange(c, a)
	if r.ClientID == s.ClientID {
		e.Errorf("the unconfirmed client ID %x is given again", r.ClientID)
	}
	e.WantRaw(c, is(nfs4.ErrStaleClientID), client.CreateSession(sessionArgs(r)))
	e.confirm(c, s)
}

func eidRestart(e *Env) {
	c := e.Conn()
	a := owner()
	r := e.exchange(c, a)
	old := e.confirm(c, r)
	fh := e.state(old)

	a.Verifier = client.NewVerifier()
	n := e.exchange(c, a)
	if n.ClientID == r.ClientID || n.Flags&nfs4.ExchgConfirmedR != 0 {
		e.Errorf("the restarted client gets %+v after %+v", n, r)
	}
	e.confirm(c, n)
	e.Expect(e.reply(old.Compound(client.PutRootFH())), is(nfs4.ErrBadSession, nfs4.ErrDeadSession))
	e.WantRaw(c, is(nfs4.ErrStaleClientID), client.CreateSession(client.CreateSessionArgs{
		ClientID: r.ClientID, Seq: r.Seq + 1, Fore: client.DefaultFore, Back: client.DefaultBack,
	}))
	// The share reservation of the old incarnation is gone at once.
	f, err := e.Client().Open(client.NewOwner(), fh, client.OpenArgs{Access: nfs4.ShareAccessBoth, Claim: nfs4.ClaimFH})
	e.Must(err)
	e.Must(f.Close())
}

func eidRestartUnconfirmed(e *Env) {
	c := e.Conn()
	a := owner()
	r := e.exchange(c, a)
	old := e.confirm(c, r)
	fh := e.state(old)
	a.Verifier = client.NewVerifier()
	e.exchange(c, a)
	e.Expect(e.reply(old.Compound(client.PutRootFH())), is(nfs4.OK))
	_, err := e.Client().Open(client.NewOwner(), fh, client.OpenArgs{Access: nfs4.ShareAccessBoth, Claim: nfs4.ClaimFH})
	e.Err(err, nfs4.ErrShareDenied)
}

func eidUpdate(e *Env) {
	c := e.Conn()
	a := owner()
	r := e.exchange(c, a)
	s := e.confirm(c, r)
	a.Flags = nfs4.ExchgUpdConfirmedRecA
	u := e.exchange(c, a)
	if u.ClientID != r.ClientID {
		e.Errorf("first %+v, updated %+v", r, u)
	}
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
}

func eidUpdateNoEnt(e *Env) {
	c := e.Conn()
	a := owner()
	a.Flags = nfs4.ExchgUpdConfirmedRecA
	e.WantRaw(c, is(nfs4.ErrNoEnt), client.ExchangeID(a))
	// An unconfirmed record is no better, and stays.
	a.Flags = 0
	r := e.exchange(c, a)
	a.Flags = nfs4.ExchgUpdConfirmedRecA
	e.WantRaw(c, is(nfs4.ErrNoEnt), client.ExchangeID(a))
	e.confirm(c, r)
}

func eidUpdateVerifier(e *Env) {
	c := e.Conn()
	a := owner()
	s := e.confirm(c, e.exchange(c, a))
	a.Flags = nfs4.ExchgUpdConfirmedRecA
	a.Verifier = client.NewVerifier()
	e.WantRaw(c, is(nfs4.ErrNotSame), client.ExchangeID(a))
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
}

func eidUpdatePrincipal(e *Env) {
	c := e.Conn()
	a := owner()
	s := e.confirm(c, e.exchange(c, a))
	a.Flags = nfs4.ExchgUpdConfirmedRecA
	e.WantRaw(e.asUser(4711), is(nfs4.ErrPerm), client.ExchangeID(a))
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
}

func eidFlags(e *Env) {
	c := e.Conn()
	for _, flags := range []uint32{0x8, 0x200, 0x00080000, 0x20000000, nfs4.ExchgConfirmedR} {
		a := owner()
		a.Flags = flags
		e.WantRaw(c, is(nfs4.ErrInval), client.ExchangeID(a))
	}
}

func eidPNFS(e *Env) {
	c := e.Conn()
	for _, flags := range []uint32{0, nfs4.ExchgUseNonPNFS, nfs4.ExchgMaskPNFS, nfs4.ExchgSuppMovedRefer | nfs4.ExchgSuppMovedMigr, nfs4.ExchgBindPrincStateid} {
		a := owner()
		a.Flags = flags
		r := e.exchange(c, a)
		if r.Flags&nfs4.ExchgMaskPNFS == 0 {
			e.Errorf("asked with %#x, the reply's flags %#x name no use of pNFS", flags, r.Flags)
		}
		known := uint32(nfs4.ExchgMaskArg&^nfs4.ExchgUpdConfirmedRecA | nfs4.ExchgConfirmedR)
		if r.Flags&^known != 0 {
			e.Errorf("the reply has the flags %#x", r.Flags&^known)
		}
		if flags&nfs4.ExchgBindPrincStateid == 0 && r.Flags&nfs4.ExchgBindPrincStateid != 0 {
			e.Errorf("BIND_PRINC_STATEID is set without having been asked for")
		}
	}
}

func eidOwnerScope(e *Env) {
	a, b := e.exchange(e.Conn(), owner()), e.exchange(e.Conn(), owner())
	if !bytes.Equal(a.ServerMajor, b.ServerMajor) || a.ServerMinor != b.ServerMinor || !bytes.Equal(a.Scope, b.Scope) {
		e.Errorf("%+v and %+v", a, b)
	}
	if len(a.ServerMajor) == 0 || len(a.Scope) == 0 {
		e.Errorf("empty server owner or scope: %+v", a)
	}
}

func eidLongOwner(e *Env) {
	c := e.Conn()
	a := owner()
	a.Owner += strings.Repeat("o", 1024-len(a.Owner))
	e.exchange(c, a)
}

func eidTooLongOwner(e *Env) {
	a := owner()
	a.Owner += strings.Repeat("o", 1025-len(a.Owner))
	e.badXDR(e.Conn().Compound(e.Minor, client.ExchangeID(a)))
}

func eidMachCred(e *Env) {
	a := owner()
	a.Protect = nfs4.SP4MachCred
	p := e.Raw(e.Conn(), client.ExchangeID(a))
	e.Expect(p, is(nfs4.ErrInval))
}

func eidSSV(e *Env) {
	a := owner()
	a.Protect = nfs4.SP4SSV
	// No offered algorithm is supported where none is offered, so that this
	// rule holds as well as that of empty lists.
	e.WantRaw(e.Conn(), is(nfs4.ErrInval, nfs4.ErrHashAlgUnsupp, nfs4.ErrEncrAlgUnsupp), client.ExchangeID(a))
}

func eidNoImpl(e *Env) {
	a := owner()
	a.NoImpl = true
	e.exchange(e.Conn(), a)
}

func eidInSession(e *Env) {
	e.OK(e.Client(), client.ExchangeID(owner()))
}

func eidOtherConnection(e *Env) {
	c := e.Conn()
	a := owner()
	r := e.exchange(c, a)
	s := e.confirm(c, r)
	other := e.Conn()
	if again := e.exchange(other, a); again.ClientID != r.ClientID {
		e.Errorf("client ID %x here and %x there", r.ClientID, again.ClientID)
	}
	s.SetConn(other)
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
}
