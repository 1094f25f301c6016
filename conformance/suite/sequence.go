package suite

import (
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func sequenceTests() []Test {
	return []Test{
		{Code: "SEQ1", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "the result repeats session, sequence and slot", run: seqBasic},
		{Code: "SEQ2", minors: v12, RFC: "RFC 8881 §2.10.6.1.3", Says: "a retry of a cached request gets the same reply and has no second effect", run: seqReplay},
		{Code: "SEQ3", minors: v12, RFC: "RFC 8881 §2.10.6.2", Says: "a retry over another connection gets the same reply", run: seqReplayOther},
		{Code: "SEQ4", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "a sequence two above the slot's is NFS4ERR_SEQ_MISORDERED", run: seqAhead},
		{Code: "SEQ5", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "a sequence below the slot's is NFS4ERR_SEQ_MISORDERED", run: seqBehind},
		{Code: "SEQ6", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "a slot beyond the table is NFS4ERR_BADSLOT", run: seqBadSlot},
		{Code: "SEQ7", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "a session that does not exist is NFS4ERR_BADSESSION", run: seqBadSession},
		{Code: "SEQ8", minors: v12, RFC: "RFC 8881 §2.10.6.1, §15.1.11.3", Flags: extra, Says: "a highest slot beyond the table is NFS4ERR_BAD_HIGH_SLOT", run: seqBadHigh},
		{Code: "SEQ9", minors: v12, RFC: "RFC 8881 §2.10.6.1.3", Says: "a retry of a request not cached gets its reply or NFS4ERR_RETRY_UNCACHED_REP from the second operation, and no second effect", run: seqUncached},
		{Code: "SEQ10", minors: v12, RFC: "RFC 8881 §2.10.6.1.3.1", Says: "another request under a used sequence is not carried out", run: seqFalseRetry},
		{Code: "SEQ11", minors: v12, RFC: "RFC 8881 §2.10.6.4", Says: "a request above ca_maxrequestsize is NFS4ERR_REQ_TOO_BIG", run: seqReqTooBig},
		{Code: "SEQ12", minors: v12, RFC: "RFC 8881 §2.10.6.4", Says: "a reply above ca_maxresponsesize is NFS4ERR_REP_TOO_BIG", run: seqRepTooBig},
		{Code: "SEQ13", minors: v12, RFC: "RFC 8881 §2.10.6.4", Says: "a reply above ca_maxresponsesize_cached, to be cached, is NFS4ERR_REP_TOO_BIG_TO_CACHE", run: seqRepTooBigToCache},
		{Code: "SEQ14", minors: v12, RFC: "RFC 8881 §2.10.6.1", Says: "each slot has a sequence of its own", run: seqSlots},
		{Code: "SEQ15", minors: v12, RFC: "RFC 8881 §2.10.6.1.3", Says: "a compound that failed is replayed with its failure", run: seqReplayFailure},
		{Code: "SEQ16", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "a bare SEQUENCE is replayed", run: seqReplayBare},
		{Code: "SEQ17", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "a failed SEQUENCE leaves the slot as it was", run: seqErrorKeepsSlot},
		{Code: "SEQ18", minors: v12, RFC: "RFC 8881 §2.10.6.1", Says: "all slots may be used at once", run: seqAllSlots},
		{Code: "SEQ19", minors: v12, RFC: "RFC 8881 §2.10.6.1.3.1", Says: "a retry by another user does not get the reply: NFS4ERR_SEQ_FALSE_RETRY", run: seqOtherUser},
		{Code: "SEQ20", minors: v12, RFC: "RFC 8881 §2.10.6.2", Says: "a retry sent before the first reply came gets the same reply or NFS4ERR_DELAY, and has no second effect", run: seqInProgress},
		{Code: "SEQ21", minors: v12, RFC: "RFC 8881 §2.10.6.1", Says: "replies of one slot do not disturb another slot's cached reply", run: seqOtherSlotReplay},
		{Code: "SEQ22", minors: v12, RFC: "RFC 8881 §2.10.6.1.3", Says: "every kind of change is replayed from the cache: CREATE, LINK, RENAME, REMOVE, SETATTR, OPEN, WRITE, CLOSE", run: seqReplayAll},
		{Code: "SEQ23", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "the status flags of a healthy client tell of no lost state", run: seqFlags},
		{Code: "SEQ24", minors: v12, RFC: "RFC 8881 §2.10.6.4", Says: "a reply that ca_maxresponsesize has room for is given, whatever the longest of its kind would need", run: seqRepFits},
		{Code: "SEQ25", minors: v12, RFC: "RFC 8881 §2.10.6.4, §15.1.3.6", Says: "a READ that ends with the file is answered if the reply fits, whatever as many bytes as it asks for would need", run: seqReadFits},
	}
}

func seqBasic(e *Env) {
	s := e.Client().Session
	sl := e.Slot(s, 0)
	defer s.Release(sl)
	for range 3 {
		seq := sl.Seq
		r := get[client.SequenceRes](e, e.Expect(e.reply(sl.Do(false)), is(nfs4.OK)))
		if r.Session != s.ID || r.Seq != seq || r.Slot != sl.N {
			e.Errorf("slot %d, sequence %d: %+v", sl.N, seq, r)
		}
		if r.High < sl.N || r.TargetHigh > 1<<16 {
			e.Errorf("highest slots %+v", r)
		}
	}
}

// twice sends a request and then exactly the same again.
func (e *Env) twice(sl *client.Slot, a, b *client.Conn, cacheThis bool, ops ...client.Op) (p, q *client.Reply) {
	req := sl.Request(cacheThis, ops...)
	p = e.reply(sl.Send(a, req))
	q = e.reply(b.Do(req))
	return p, q
}

func seqReplay(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sl := e.Slot(c.Session, 0)
	p, q := e.twice(sl, c.Conn(), c.Conn(), true, client.PutFH(dir), client.Mkdir("d"), client.GetFH())
	e.Expect(p, is(nfs4.OK))
	e.sameReply(p, q)
	e.Expect(e.reply(sl.Do(true, client.PutFH(dir), client.Mkdir("d"))), is(nfs4.ErrExist))
}

func seqReplayOther(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sl := e.Slot(c.Session, 0)
	p, q := e.twice(sl, c.Conn(), e.Conn(), true, client.PutFH(dir), client.Mkdir("d"), client.GetFH())
	e.Expect(p, is(nfs4.OK))
	e.sameReply(p, q)
}

func seqAhead(e *Env) {
	s := e.Client().Session
	sl := e.Slot(s, 0)
	sl.Seq++
	e.Expect(e.reply(sl.Do(false, client.PutRootFH())), is(nfs4.ErrSeqMisordered))
	sl.Seq += 1000
	e.Expect(e.reply(sl.Do(false, client.PutRootFH())), is(nfs4.ErrSeqMisordered))
}

func seqBehind(e *Env) {
	s := e.Client().Session
	sl := e.Slot(s, 0)
	for range 5 {
		e.Expect(e.reply(sl.Do(false)), is(nfs4.OK))
	}
	sl.Seq -= 3
	e.Expect(e.reply(sl.Do(false)), is(nfs4.ErrSeqMisordered))
}

func seqBadSlot(e *Env) {
	c := e.Client()
	n := c.Session.Granted.Fore.MaxRequests
	for _, slot := range []uint32{n, n + 1, 0xffffffff} {
		e.WantRaw(c.Conn(), is(nfs4.ErrBadSlot), client.Sequence(c.Session.ID, 1, slot, 0, false))
	}
}

func seqBadSession(e *Env) {
	id := e.Client().Session.ID
	id[3] ^= 0xff
	e.WantRaw(e.Conn(), is(nfs4.ErrBadSession), client.Sequence(id, 1, 0, 0, false))
	e.WantRaw(e.Conn(), is(nfs4.ErrBadSession), client.Sequence(nfs4.SessionID{}, 1, 0, 0, false))
}

func seqBadHigh(e *Env) {
	c := e.Client()
	sl := e.Slot(c.Session, 0)
	high := c.Session.Granted.Fore.MaxRequests + 100
	e.WantRaw(c.Conn(), is(nfs4.ErrBadHighSlot), client.Sequence(c.Session.ID, sl.Seq, sl.N, high, false))
}

func seqUncached(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sl := e.Slot(c.Session, 1)
	p, q := e.twice(sl, c.Conn(), c.Conn(), false, client.PutFH(dir), client.Mkdir("d"))
	e.Expect(p, is(nfs4.OK))
	e.Expect(q, is(nfs4.OK, nfs4.ErrRetryUncachedRep))
	if q.Status == nfs4.OK {
		e.sameReply(p, q)
	} else if q.Results[0].Op != nfs4.OpSequence || q.Results[0].Status != nfs4.OK {
		e.Errorf("RETRY_UNCACHED_REP comes from SEQUENCE: %v", q)
	}
	if names := e.Names(c, dir); len(names) != 1 {
		e.Errorf("the directory holds %v", names)
	}
}

func seqFalseRetry(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sl := e.Slot(c.Session, 1)
	p := e.Expect(e.reply(sl.Do(true, client.PutFH(dir), client.Mkdir("first"))), is(nfs4.OK))
	sl.Seq--
	q := e.reply(sl.Do(true, client.PutFH(dir), client.Mkdir("other"), client.GetFH()))
	if q.Status == nfs4.OK {
		e.sameReply(p, q)
	} else {
		e.Expect(q, is(nfs4.ErrSeqFalseRetry, nfs4.ErrRetryUncachedRep))
	}
	if names := e.Names(c, dir); len(names) != 1 || names[0] != "first" {
		e.Errorf("the directory holds %v", names)
	}
}

// small establishes a client whose session has small limits.
func (e *Env) small(maxRequest, maxResponse, cached uint32) *client.Client {
	return e.NewClient(func(cfg *client.Config) {
		cfg.Fore = client.DefaultFore
		cfg.Fore.MaxRequest, cfg.Fore.MaxResponse, cfg.Fore.MaxResponseCached = maxRequest, maxResponse, cached
	})
}

func seqReqTooBig(e *Env) {
	dir := e.Dir()
	c := e.small(2048, 8192, 1024)
	big := strings.Repeat("x", int(c.Session.Granted.Fore.MaxRequest))
	e.Expect(e.Do(c, client.PutFH(dir), client.Write(nfs4.AnonymousStateid, 0, 0, []byte(big))), is(nfs4.ErrReqTooBig))
	e.OK(c, client.PutFH(dir))
}

func seqRepTooBig(e *Env) {
	// READLINK cannot be shortened as READ can.
	fh := e.symlink(e.Client(), e.Dir(), "s", strings.Repeat("x/", 2000))
	c := e.small(8192, 2048, 1024)
	e.Expect(e.Do(c, client.PutFH(fh), client.ReadLink()), is(nfs4.ErrRepTooBig))
	e.OK(c, client.PutFH(fh), client.GetAttr(nfs4.AttrSize))
}

func seqRepFits(e *Env) {
	const text = "to/there"
	fh := e.symlink(e.Client(), e.Dir(), "s", text)
	c := e.small(8192, 2048, 1024)
	p := e.OK(c, client.PutFH(fh), client.ReadLink())
	if got := get[client.ReadLinkRes](e, p).Text; got != text {
		e.Errorf("the link reads %q", got)
	}
}

func seqReadFits(e *Env) {
	fh := e.Closed(e.Client(), e.Dir(), "f", "0123456789")
	c := e.small(8192, 2048, 1024)
	if got := e.Contents(c, fh); got != "0123456789" {
		e.Errorf("the file holds %q", got)
	}
}

func seqRepTooBigToCache(e *Env) {
	fh := e.symlink(e.Client(), e.Dir(), "s", strings.Repeat("x/", 2000))
	c := e.small(8192, 65536, 1024)
	sl := e.Slot(c.Session, 0)
	e.Expect(e.reply(sl.Do(true, client.PutFH(fh), client.ReadLink())), is(nfs4.ErrRepTooBigToCache))
	e.Expect(e.reply(sl.Do(false, client.PutFH(fh), client.ReadLink())), is(nfs4.OK))
}

func seqSlots(e *Env) {
	s := e.Client().Session
	a, b := e.Slot(s, 1), e.Slot(s, 0)
	for range 5 {
		e.Expect(e.reply(b.Do(false)), is(nfs4.OK))
	}
	e.Expect(e.reply(a.Do(false)), is(nfs4.OK))
	e.Expect(e.reply(b.Do(false)), is(nfs4.OK))
}

func seqReplayFailure(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sl := e.Slot(c.Session, 1)
	req := sl.Request(true, client.PutFH(dir), client.Lookup("late"))
	p := e.Expect(e.reply(sl.Send(c.Conn(), req)), is(nfs4.ErrNoEnt))
	e.Mkdir(c, dir, "late")
	e.sameReply(p, e.reply(c.Conn().Do(req)))
}

func seqReplayBare(e *Env) {
	s := e.Client().Session
	sl := e.Slot(s, 0)
	for range 2 {
		p, q := e.twice(sl, s.Conn(), s.Conn(), false)
		e.Expect(p, is(nfs4.OK))
		e.Expect(q, is(nfs4.OK))
		if a, b := get[client.SequenceRes](e, p), get[client.SequenceRes](e, q); a.Seq != b.Seq || a.Slot != b.Slot {
			e.Errorf("%+v, then %+v", a, b)
		}
	}
}

func seqErrorKeepsSlot(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sl := e.Slot(c.Session, 0)
	req := sl.Request(true, client.PutFH(dir), client.Mkdir("d"))
	p := e.Expect(e.reply(sl.Send(c.Conn(), req)), is(nfs4.OK))
	sl.Seq += 5
	e.Expect(e.reply(sl.Do(true, client.PutFH(dir), client.Mkdir("e"))), is(nfs4.ErrSeqMisordered))
	sl.Seq -= 5
	e.sameReply(p, e.reply(c.Conn().Do(req)))
	e.Expect(e.reply(sl.Do(true, client.PutFH(dir), client.Mkdir("e"))), is(nfs4.OK))
}

func seqAllSlots(e *Env) {
	s := e.Client().Session
	var waits []func() (*client.Reply, error)
	for range s.Granted.Fore.MaxRequests {
		sl := e.Slot(s, 0)
		q := sl.Request(false, client.PutRootFH(), client.GetAttr(nfs4.AttrChange))
		wait, err := s.Conn().Start(q)
		e.Must(err)
		waits = append(waits, wait)
	}
	for _, wait := range waits {
		e.Expect(e.reply(wait()), is(nfs4.OK))
	}
}

func seqOtherUser(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sl := e.Slot(c.Session, 0)
	ops := []client.Op{client.PutFH(dir), client.GetAttr(nfs4.AttrOwner)}
	e.Expect(e.reply(sl.Do(true, ops...)), is(nfs4.OK))
	cred := client.SysAuth(4711, 4711)
	again := append([]client.Op{client.Sequence(c.Session.ID, sl.Seq-1, sl.N, 0, true)}, ops...)
	e.Expect(e.reply(c.Conn().Do(client.NewCompound(*cred, e.Minor, "", again...))), is(nfs4.ErrSeqFalseRetry))
}

func seqInProgress(e *Env) {
	c := e.Client()
	dir := e.Dir()
	other := e.Conn()
	for range 20 {
		sl := e.Slot(c.Session, 0)
		name := client.UniqueName("d")
		req := sl.Request(true, client.PutFH(dir), client.Mkdir(name), client.GetFH())
		first, err := c.Conn().Start(req)
		e.Must(err)
		second, err := other.Start(req)
		e.Must(err)
		p, q := e.reply(first()), e.reply(second())
		sl.Seq++
		switch {
		case p.Status == nfs4.ErrDelay && q.Status == nfs4.OK, q.Status == nfs4.ErrDelay && p.Status == nfs4.OK:
		default:
			e.Expect(p, is(nfs4.OK))
			e.sameReply(p, q)
		}
		c.Session.Release(sl)
	}
}

func seqOtherSlotReplay(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a, b := e.Slot(c.Session, 1), e.Slot(c.Session, 0)
	req := a.Request(true, client.PutFH(dir), client.Mkdir("a"))
	p := e.Expect(e.reply(a.Send(c.Conn(), req)), is(nfs4.OK))
	for range 10 {
		e.Expect(e.reply(b.Do(true, client.PutFH(dir), client.GetAttr(nfs4.AttrChange))), is(nfs4.OK))
	}
	e.sameReply(p, e.reply(c.Conn().Do(req)))
}

func seqReplayAll(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "file", "contents")
	sl := e.Slot(c.Session, 0)
	other := e.Conn()
	o := client.Owner{ClientID: c.ClientID, Name: "replay"}
	var sid nfs4.Stateid
	for _, step := range [][]client.Op{
		{client.PutFH(dir), client.Create(client.CreateArgs{Type: nfs4.TypeFIFO, Name: "fifo"})},
		{client.PutFH(fh), client.SaveFH(), client.PutFH(dir), client.Link("link")},
		{client.PutFH(dir), client.SaveFH(), client.Rename("link", "renamed")},
		{client.PutFH(dir), client.Remove("renamed")},
		{client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetMode(0o600)), client.GetAttr(nfs4.AttrChange)},
		{client.PutFH(dir), client.Open(client.OpenArgs{Access: 1, Owner: o, How: nfs4.OpenCreate, Mode: nfs4.CreateGuarded, Name: "new"}), client.GetFH()},
		{client.PutFH(dir), client.Open(client.OpenArgs{Access: 3, Owner: o, Name: "new"}), client.GetFH()},
	} {
		p, q := e.twice(sl, c.Conn(), other, true, step...)
		e.Expect(p, is(nfs4.OK))
		e.sameReply(p, q)
		if r := client.Get[client.OpenRes](p); r != nil {
			sid, fh = r.Stateid, get[client.GetFHRes](e, p).FH
		}
	}
	lock := client.Lock(client.LockArgs{Type: nfs4.WriteLT, Length: 5, New: true, OpenStateid: sid, Owner: client.Owner{ClientID: c.ClientID, Name: "l"}})
	p, q := e.twice(sl, c.Conn(), other, true, client.PutFH(fh), lock)
	e.Expect(p, is(nfs4.OK))
	e.sameReply(p, q)
	locked := get[client.LockRes](e, p).Stateid
	for _, step := range [][]client.Op{
		{client.PutFH(fh), client.Write(sid, 0, nfs4.FileSync, []byte("data")), client.GetAttr(nfs4.AttrChange)},
		{client.PutFH(fh), client.LockU(nfs4.WriteLT, 0, locked, 0, 5)},
		{client.PutFH(fh), client.OpenDowngrade(sid, 0, 1, 0)},
	} {
		p, q := e.twice(sl, c.Conn(), other, true, step...)
		e.Expect(p, is(nfs4.OK))
		e.sameReply(p, q)
		if r := client.Get[client.OpenDowngradeRes](p); r != nil {
			sid = r.Stateid
		}
	}
	p, q = e.twice(sl, c.Conn(), other, true, client.PutFH(fh), client.Close(0, sid))
	e.Expect(p, is(nfs4.OK))
	e.sameReply(p, q)
}

func seqFlags(e *Env) {
	p := e.OK(e.Client(), client.PutRootFH())
	lost := uint32(nfs4.SeqExpiredAllStateRevoked | nfs4.SeqExpiredSomeRevoked | nfs4.SeqAdminStateRevoked |
		nfs4.SeqRecallableStateRevoked | nfs4.SeqLeaseMoved | nfs4.SeqRestartReclaimNeeded | nfs4.SeqBackchannelFault)
	if f := get[client.SequenceRes](e, p).Flags; f&lost != 0 {
		e.Errorf("flags %#x", f)
	}
}
