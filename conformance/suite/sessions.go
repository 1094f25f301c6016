package suite

import (
	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func sessionTests() []Test {
	return []Test{
		{Code: "DSESS1", minors: v12, RFC: "RFC 8881 §18.37.3", Says: "a destroyed session is NFS4ERR_BADSESSION", run: dsess},
		{Code: "DSESS2", minors: v12, RFC: "RFC 8881 §18.37.3", Says: "DESTROY_SESSION of the SEQUENCE's own session must be last", run: dsessNotLast},
		{Code: "DSESS3", minors: v12, RFC: "RFC 8881 §18.37.3", Says: "locks are the client ID's: they outlive the session", run: dsessKeepsState},
		{Code: "DSESS4", minors: v12, RFC: "RFC 8881 §18.37.3", Says: "a session may be destroyed from within another session", run: dsessFromOther},
		{Code: "BIND1", minors: v12, RFC: "RFC 8881 §18.34.3", Says: "the fore channel can be bound to a second connection", run: bindFore},
		{Code: "BIND2", minors: v12, RFC: "RFC 8881 §18.34.3", Says: "FORE_OR_BOTH is answered with fore or both, BACK_OR_BOTH with back or both", run: bindBoth},
		{Code: "BIND3", minors: v12, RFC: "RFC 8881 §18.34.3", Says: "binding to a session that does not exist is NFS4ERR_BADSESSION", run: bindBadSession},
		{Code: "DCID1", minors: v12, RFC: "RFC 8881 §18.50.3", Says: "a client ID without sessions is destroyed; then it is NFS4ERR_STALE_CLIENTID", run: dcid},
		{Code: "DCID2", minors: v12, RFC: "RFC 8881 §18.50.3", Says: "a client ID with sessions is NFS4ERR_CLIENTID_BUSY", run: dcidBusy},
		{Code: "DCID3", minors: v12, RFC: "RFC 8881 §18.50.3", Says: "a client ID that is not known is NFS4ERR_STALE_CLIENTID", run: dcidStale},
		{Code: "DCID4", minors: v12, RFC: "RFC 8881 §18.50.3", Says: "DESTROY_CLIENTID in a session of another client is allowed", run: dcidFromOther},
		{Code: "RECC1", minors: v12, RFC: "RFC 8881 §18.51.3", Says: "the second global RECLAIM_COMPLETE is NFS4ERR_COMPLETE_ALREADY", run: reccTwice},
		{Code: "RECC2", minors: v12, RFC: "RFC 8881 §18.51.3", Says: "RECLAIM_COMPLETE for one file system needs a current filehandle", run: reccOneFS},
		{Code: "RECC3", minors: v12, RFC: "RFC 8881 §18.51.3", Says: "a non-reclaim OPEN before RECLAIM_COMPLETE is NFS4ERR_GRACE", run: reccBefore},
		{Code: "RECC4", minors: v12, RFC: "RFC 8881 §18.51.3", Says: "a reclaim after RECLAIM_COMPLETE is NFS4ERR_NO_GRACE", run: reccAfter},
		{Code: "BCTL1", minors: v12, RFC: "RFC 8881 §18.33.3", Says: "BACKCHANNEL_CTL changes the callback program", run: bctl},
		{Code: "BACK1", minors: v12, RFC: "RFC 8881 §18.36.3, §18.46.3", Says: "with a backchannel bound, SEQUENCE does not say that the callback path is down", run: backUp},
		{Code: "SSV1", minors: v12, RFC: "RFC 8881 §18.47.3", Flags: extra, Says: "SET_SSV for a client without SSV protection is NFS4ERR_INVAL", run: ssvInval},
		{Code: "SECNN1", minors: v12, RFC: "RFC 8881 §18.45.3", Says: "SECINFO_NO_NAME gives the flavors of the current filehandle and consumes it", run: secInfoNoName},
		{Code: "SECNN2", minors: v12, RFC: "RFC 8881 §18.45.3", Says: "SECINFO_NO_NAME of the root's parent is NFS4ERR_NOENT", run: secInfoRootParent},
		{Code: "SECNN3", minors: v12, RFC: "RFC 8881 §18.45.3", Says: "SECINFO_NO_NAME of a style that is not defined is NFS4ERR_INVAL, or a decoding error", run: secInfoUndefined},
	}
}

func dsess(e *Env) {
	c := e.Conn()
	s := e.confirm(c, e.exchange(c, owner()))
	e.WantRaw(c, is(nfs4.OK), client.DestroySession(s.ID))
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.ErrBadSession))
	e.WantRaw(c, is(nfs4.ErrBadSession), client.DestroySession(s.ID))
}

func dsessNotLast(e *Env) {
	c := e.Client()
	p := e.Do(c, client.DestroySession(c.Session.ID), client.PutRootFH())
	if p.Status == nfs4.OK {
		e.Fatalf("%v", p)
	}
	e.OK(c, client.PutRootFH())
	e.OK(c, client.PutRootFH(), client.DestroySession(c.Session.ID))
	e.WantRaw(c.Conn(), is(nfs4.ErrBadSession), client.Sequence(c.Session.ID, 1, 0, 0, false))
}

func dsessKeepsState(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	old := c.Session
	s, err := c.NewSession(c.Exchange.Seq + 1)
	e.Must(err)
	e.WantRaw(c.Conn(), is(nfs4.OK), client.DestroySession(old.ID))
	e.Expect(e.reply(s.Compound(client.PutFH(f.FH), client.Write(f.Stateid, 0, 0, []byte("y")))), is(nfs4.OK))
	c.Session = s
	e.Must(f.Close())
}

func dsessFromOther(e *Env) {
	c := e.Client()
	s, err := c.NewSession(c.Exchange.Seq + 1)
	e.Must(err)
	e.OK(c, client.DestroySession(s.ID), client.PutRootFH())
	e.Expect(e.reply(s.Compound()), is(nfs4.ErrBadSession))
}

func bindFore(e *Env) {
	c := e.Client()
	other := e.Conn()
	r := get[client.BindConnRes](e, e.WantRaw(other, is(nfs4.OK), client.BindConnToSession(c.Session.ID, nfs4.CDFCFore)))
	if r.Dir != nfs4.CDFSFore || r.Session != c.Session.ID {
		e.Errorf("%+v", r)
	}
	c.Session.SetConn(other)
	e.OK(c, client.PutRootFH())
}

func bindBoth(e *Env) {
	c := e.Client()
	r := get[client.BindConnRes](e, e.WantRaw(e.Conn(), is(nfs4.OK), client.BindConnToSession(c.Session.ID, nfs4.CDFCForeOrBoth)))
	if r.Dir != nfs4.CDFSFore && r.Dir != nfs4.CDFSBoth {
		e.Errorf("FORE_OR_BOTH: %+v", r)
	}
	r = get[client.BindConnRes](e, e.WantRaw(e.Conn(), is(nfs4.OK), client.BindConnToSession(c.Session.ID, nfs4.CDFCBackOrBoth)))
	if r.Dir != nfs4.CDFSBack && r.Dir != nfs4.CDFSBoth {
		e.Errorf("BACK_OR_BOTH: %+v", r)
	}
}

func bindBadSession(e *Env) {
	e.WantRaw(e.Conn(), is(nfs4.ErrBadSession), client.BindConnToSession(nfs4.SessionID{1, 2, 3}, nfs4.CDFCFore))
}

func dcid(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	s := e.confirm(c, r)
	e.WantRaw(c, is(nfs4.OK), client.DestroySession(s.ID))
	e.WantRaw(c, is(nfs4.OK), client.DestroyClientID(r.ClientID))
	e.WantRaw(c, is(nfs4.ErrStaleClientID), client.DestroyClientID(r.ClientID))
}

func dcidBusy(e *Env) {
	c := e.Client()
	e.WantRaw(c.Conn(), is(nfs4.ErrClientIDBusy), client.DestroyClientID(c.ClientID))
	e.OK(c, client.PutRootFH())
}

func dcidStale(e *Env) {
	e.WantRaw(e.Conn(), is(nfs4.ErrStaleClientID), client.DestroyClientID(0x1234567887654321))
}

func dcidFromOther(e *Env) {
	bare := e.Conn()
	r := e.exchange(bare, owner())
	e.OK(e.Client(), client.DestroyClientID(r.ClientID))
	e.WantRaw(bare, is(nfs4.ErrStaleClientID), client.CreateSession(sessionArgs(r)))
}

func reccTwice(e *Env) {
	c := e.NewClient(func(cfg *client.Config) { cfg.NoReclaimComplete = true })
	e.OK(c, client.ReclaimComplete(false))
	e.Want(c, is(nfs4.ErrCompleteAlready), client.ReclaimComplete(false))
}

func reccOneFS(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrNoFileHandle), client.ReclaimComplete(true))
}

func reccBefore(e *Env) {
	dir := e.Dir()
	c := e.NewClient(func(cfg *client.Config) { cfg.NoReclaimComplete = true })
	_, err := c.CreateFile(dir, "f")
	e.Err(err, nfs4.ErrGrace)
	e.OK(c, client.ReclaimComplete(false))
	_, err = c.CreateFile(dir, "f")
	e.Must(err)
}

func reccAfter(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	_, err := c.Open(client.NewOwner(), fh, client.OpenArgs{Access: 3, Claim: nfs4.ClaimPrevious})
	e.Err(err, nfs4.ErrNoGrace)
}

func bctl(e *Env) {
	c := e.NewClient(func(cfg *client.Config) { cfg.Options.Callbacks = &client.Callbacks{} })
	e.OK(c, client.BackchannelCtl(nfs4.CBProgram+1))
}

func backUp(e *Env) {
	c := e.NewClient(func(cfg *client.Config) { cfg.Options.Callbacks = &client.Callbacks{} })
	if c.Session.Granted.Flags&nfs4.CreateSessionConnBackChan == 0 {
		e.Unsupportedf("the server has no use for a backchannel")
	}
	p := e.OK(c, client.PutRootFH())
	if f := get[client.SequenceRes](e, p).Flags; f&(nfs4.SeqCBPathDown|nfs4.SeqCBPathDownSession) != 0 {
		e.Errorf("flags %#x", f)
	}
}

func ssvInval(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrInval), client.SetSSV([]byte("0123456789abcdef"), []byte("digest")))
}

// hasSys requires AUTH_SYS among the flavors.
func (e *Env) hasSys(r *client.SecInfoRes) {
	for _, s := range r.Secs {
		if s.Flavor == 1 {
			return
		}
	}
	e.Errorf("no AUTH_SYS among %+v", r.Secs)
}

func secInfoNoName(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.hasSys(get[client.SecInfoRes](e, e.OK(c, client.PutFH(dir), client.SecInfoNoName(nfs4.SecInfoCurrentFH))))
	e.hasSys(get[client.SecInfoRes](e, e.OK(c, client.PutFH(dir), client.SecInfoNoName(nfs4.SecInfoParent))))
	e.Want(c, is(nfs4.ErrNoFileHandle), client.PutFH(dir), client.SecInfoNoName(nfs4.SecInfoCurrentFH), client.GetFH())
}

func secInfoUndefined(e *Env) {
	dir := e.Dir()
	e.Want(e.Client(), is(nfs4.ErrInval, nfs4.ErrBadXDR), client.PutFH(dir), client.SecInfoNoName(7))
}

func secInfoRootParent(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrNoEnt), client.PutRootFH(), client.SecInfoNoName(nfs4.SecInfoParent))
}
