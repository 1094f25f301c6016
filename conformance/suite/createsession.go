package suite

import (
	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func createSessionTests() []Test {
	return []Test{
		{Code: "CSESS1", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "channel attributes are not above what was asked, and csr_sequence is csa_sequence", run: csessAttrs},
		{Code: "CSESS2", minors: v12, RFC: "RFC 8881 §18.36.4", Says: "a retry with the same sequence gets the same session", run: csessReplay},
		{Code: "CSESS3", minors: v12, RFC: "RFC 8881 §18.36.4", Says: "a retry over another connection gets the same session", run: csessReplayOther},
		{Code: "CSESS4", minors: v12, RFC: "RFC 8881 §18.36.4", Says: "a sequence that is too high is NFS4ERR_SEQ_MISORDERED and changes nothing", run: csessMisordered},
		{Code: "CSESS5", minors: v12, RFC: "RFC 8881 §18.36.4", Says: "the sequence before the first is NFS4ERR_SEQ_MISORDERED", run: csessBeforeFirst},
		{Code: "CSESS6", minors: v12, RFC: "RFC 8881 §18.36.4", Says: "a client ID that is not known is NFS4ERR_STALE_CLIENTID", run: csessStale},
		{Code: "CSESS7", minors: v12, RFC: "RFC 8881 §18.36.4", Says: "a client may have several sessions, created in the client ID's sequence", run: csessSeveral},
		{Code: "CSESS8", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "sizes in which no reply fits are NFS4ERR_TOOSMALL", run: csessTooSmall},
		{Code: "CSESS9", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "flags that are not defined are refused, or at least not granted", run: csessFlags},
		{Code: "CSESS10", minors: v12, RFC: "RFC 8881 §18.36.4", Says: "another principal cannot confirm a client ID: NFS4ERR_CLID_INUSE", run: csessPrincipal},
		{Code: "CSESS11", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "CONN_BACK_CHAN and CONN_RDMA are not set unless asked for", run: csessNoBackChan},
		{Code: "CSESS12", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "of the backchannel, operations and requests are not changed", run: csessBack},
		{Code: "CSESS13", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "the first SEQUENCE of every slot has sequence 1", run: csessFirstSeq},
		{Code: "CSESS14", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "CREATE_SESSION may follow SEQUENCE", run: csessInSession},
		{Code: "CSESS15", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "the session can be used on the connection that created it, and with SP4_NONE on any other", run: csessAnyConn},
		{Code: "CSESS16", minors: v12, RFC: "RFC 8881 §18.36.4", Says: "a failed CREATE_SESSION is replayed with its failure and confirms nothing", run: csessFailedReplay},
		{Code: "CSESS17", minors: v12, RFC: "RFC 8881 §18.36.3", Flags: extra, Says: "PERSIST is granted when asked for, and not otherwise", run: csessPersist},
	}
}

func csessAttrs(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	a := sessionArgs(r)
	p := e.WantRaw(c, is(nfs4.OK), client.CreateSession(a))
	got := get[client.CreateSessionRes](e, p)
	if got.Seq != a.Seq {
		e.Errorf("csr_sequence %d for %d", got.Seq, a.Seq)
	}
	for _, ch := range []struct {
		name       string
		asked, got client.ChannelAttrs
	}{{"fore", a.Fore, got.Fore}, {"back", a.Back, got.Back}} {
		if ch.got.HeaderPad > ch.asked.HeaderPad || ch.got.MaxRequest > ch.asked.MaxRequest || ch.got.MaxResponse > ch.asked.MaxResponse ||
			ch.got.MaxResponseCached > ch.asked.MaxResponseCached {
			e.Errorf("%s channel: asked %+v, got %+v", ch.name, ch.asked, ch.got)
		}
		if ch.got.MaxOps == 0 || ch.got.MaxRequests == 0 {
			e.Errorf("%s channel: %+v", ch.name, ch.got)
		}
	}
}

func csessReplay(e *Env) {
	c := e.Conn()
	a := sessionArgs(e.exchange(c, owner()))
	p := e.WantRaw(c, is(nfs4.OK), client.CreateSession(a))
	q := e.WantRaw(c, is(nfs4.OK), client.CreateSession(a))
	if *get[client.CreateSessionRes](e, p) != *get[client.CreateSessionRes](e, q) {
		e.Errorf("%v, then %v", p, q)
	}
}

func csessReplayOther(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	req := client.NewCompound(c.Cred(), e.Minor, "", client.CreateSession(sessionArgs(r)))
	p := e.Expect(e.reply(c.Do(req)), is(nfs4.OK))
	q := e.Expect(e.reply(e.Conn().Do(req)), is(nfs4.OK))
	if get[client.CreateSessionRes](e, p).Session != get[client.CreateSessionRes](e, q).Session {
		e.Errorf("%v, then %v", p, q)
	}
}

func csessMisordered(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	a := sessionArgs(r)
	a.Seq = r.Seq + 1
	e.WantRaw(c, is(nfs4.ErrSeqMisordered), client.CreateSession(a))
	a.Seq = r.Seq
	e.WantRaw(c, is(nfs4.OK), client.CreateSession(a))
	a.Seq = r.Seq + 2
	e.WantRaw(c, is(nfs4.ErrSeqMisordered), client.CreateSession(a))
}

func csessBeforeFirst(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	a := sessionArgs(r)
	a.Seq = r.Seq - 1
	e.WantRaw(c, is(nfs4.ErrSeqMisordered), client.CreateSession(a))
}

func csessStale(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	a := sessionArgs(r)
	a.ClientID ^= 0x5a5a5a5a5a5a5a5a
	e.WantRaw(c, is(nfs4.ErrStaleClientID), client.CreateSession(a))
}

func csessSeveral(e *Env) {
	c := e.Conn()
	r := e.exchange(c, owner())
	a := sessionArgs(r)
	var all []*client.Session
	for range 4 {
		p := e.WantRaw(c, is(nfs4.OK), client.CreateSession(a))
		all = append(all, client.NewSession(c, e.Minor, r.ClientID, get[client.CreateSessionRes](e, p)))
		a.Seq++
	}
	for i, s := range all {
		e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
		for _, o := range all[:i] {
			if o.ID == s.ID {
				e.Errorf("two sessions have the id %v", s.ID)
			}
		}
	}
}

func csessTooSmall(e *Env) {
	c := e.Conn()
	a := sessionArgs(e.exchange(c, owner()))
	a.Fore.MaxRequest, a.Fore.MaxResponse, a.Fore.MaxResponseCached = 20, 20, 0
	e.WantRaw(c, is(nfs4.ErrTooSmall), client.CreateSession(a))
}

func csessFlags(e *Env) {
	c := e.Conn()
	a := sessionArgs(e.exchange(c, owner()))
	a.Flags = 0x40000000
	p := e.WantRaw(c, is(nfs4.OK, nfs4.ErrInval), client.CreateSession(a))
	if r := client.Get[client.CreateSessionRes](p); r != nil && r.Flags != 0 {
		e.Errorf("flags %#x", r.Flags)
	}
}

func csessPrincipal(e *Env) {
	r := e.exchange(e.Conn(), owner())
	e.WantRaw(e.asUser(4711), is(nfs4.ErrClIDInUse), client.CreateSession(sessionArgs(r)))
}

func csessNoBackChan(e *Env) {
	c := e.Conn()
	s := e.confirm(c, e.exchange(c, owner()))
	if s.Granted.Flags&(nfs4.CreateSessionConnBackChan|nfs4.CreateSessionConnRDMA|nfs4.CreateSessionPersist) != 0 {
		e.Errorf("flags %#x", s.Granted.Flags)
	}
}

func csessBack(e *Env) {
	c := e.Conn()
	a := sessionArgs(e.exchange(c, owner()))
	a.Flags = nfs4.CreateSessionConnBackChan
	got := get[client.CreateSessionRes](e, e.WantRaw(c, is(nfs4.OK), client.CreateSession(a)))
	if got.Back.MaxOps != a.Back.MaxOps || got.Back.MaxRequests != a.Back.MaxRequests {
		e.Errorf("asked %+v, got %+v", a.Back, got.Back)
	}
}

func csessFirstSeq(e *Env) {
	c := e.Conn()
	s := e.confirm(c, e.exchange(c, owner()))
	high := s.Granted.Fore.MaxRequests - 1
	for slot := range min(4, high+1) {
		for _, seq := range []uint32{0, 2, 0xffffffff} {
			e.WantRaw(c, is(nfs4.ErrSeqMisordered), client.Sequence(s.ID, seq, slot, slot, false))
		}
		e.WantRaw(c, is(nfs4.OK), client.Sequence(s.ID, 1, slot, slot, false))
	}
}

func csessInSession(e *Env) {
	c := e.Client()
	a := sessionArgs(c.Exchange)
	a.Seq = c.Exchange.Seq + 1
	p := e.OK(c, client.CreateSession(a))
	s := client.NewSession(c.Conn(), e.Minor, c.ClientID, get[client.CreateSessionRes](e, p))
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
}

func csessAnyConn(e *Env) {
	s := e.Client().Session
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
	other := e.Conn()
	s.SetConn(other)
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
	s.SetConn(e.Client().Conn())
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
}

func csessFailedReplay(e *Env) {
	c := e.Conn()
	a := sessionArgs(e.exchange(c, owner()))
	bad := a
	bad.Fore.MaxRequest, bad.Fore.MaxResponse = 20, 20
	e.WantRaw(c, is(nfs4.ErrTooSmall), client.CreateSession(bad))
	e.WantRaw(c, is(nfs4.ErrTooSmall), client.CreateSession(bad))
	// Whether the failure used up the sequence is not said; one of the two
	// must work.
	p := e.Raw(c, client.CreateSession(a))
	if p.Status == nfs4.ErrTooSmall {
		a.Seq++
		p = e.Raw(c, client.CreateSession(a))
	}
	e.Expect(p, is(nfs4.OK))
}

func csessPersist(e *Env) {
	c := e.Conn()
	a := sessionArgs(e.exchange(c, owner()))
	a.Flags = nfs4.CreateSessionPersist
	got := get[client.CreateSessionRes](e, e.WantRaw(c, is(nfs4.OK), client.CreateSession(a)))
	if got.Flags&nfs4.CreateSessionPersist == 0 {
		e.Errorf("flags %#x", got.Flags)
	}
}
