package suite

import (
	"fmt"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// tooBigTests fill a reply so that no more fits than the status of one operation,
// whose result needs more than that. They are numbered by the operation. One with
// a result of a status alone has none: where it does not fit, no status does.
func tooBigTests() []Test {
	var tests []Test
	for _, x := range longResults() {
		add := func(family, says string, limit tooBig) {
			tests = append(tests, Test{
				Code: fmt.Sprintf("%s%d", family, x.num), minors: x.minors & v12, Flags: "session", RFC: "RFC 8881 §2.10.6.4",
				Says: fmt.Sprintf(says, x.num), run: func(e *Env) { e.doesNotFit(x, limit) },
			})
		}
		add("BIG", "%v whose result would make the reply larger than ca_maxresponsesize is NFS4ERR_REP_TOO_BIG",
			tooBig{response: 2048, cached: 2048, want: nfs4.ErrRepTooBig})
		add("BIGC", "%v whose result would make a reply that is to be cached larger than ca_maxresponsesize_cached is NFS4ERR_REP_TOO_BIG_TO_CACHE",
			tooBig{response: 65536, cached: 2048, cache: true, want: nfs4.ErrRepTooBigToCache})
	}
	return tests
}

// A tooBig is a limit of a session, in bytes, and what going beyond it is.
type tooBig struct {
	response, cached uint32
	cache            bool // the request's sa_cachethis
	want             nfs4.Status
}

// longResults are the operations whose result is longer than its status.
func longResults() []slotReplay {
	file := func(op func(h *holding) client.Op) func(h *holding) []client.Op {
		return func(h *holding) []client.Op { return []client.Op{client.PutFH(h.f.FH), op(h)} }
	}
	reads := func(minors uint8, op func(h *holding) client.Op) slotReplay {
		return slotReplay{op(&holding{f: new(client.OpenFile)}).Num, minors, file(op), seenFile}
	}
	var all []slotReplay
	for _, r := range slotReplays() {
		switch r.num {
		case nfs4.OpAllocate, nfs4.OpDeallocate, nfs4.OpClose: // CLOSE's request there fails
		default:
			all = append(all, r)
		}
	}
	return append(all,
		reads(v12, func(*holding) client.Op { return client.Access(1) }),
		reads(v12, func(*holding) client.Op { return client.Commit(0, 0) }),
		reads(v12, func(*holding) client.Op { return client.GetAttr(nfs4.AttrType) }),
		reads(v12, func(*holding) client.Op { return client.GetFH() }),
		reads(v12, func(h *holding) client.Op { return client.Read(h.f.Stateid, 0, 10) }),
		reads(v12, func(h *holding) client.Op { return client.TestStateid(h.f.Stateid) }),
		reads(v12, func(*holding) client.Op { return client.SecInfoNoName(nfs4.SecInfoCurrentFH) }),
		reads(v12, func(h *holding) client.Op { return client.Close(0, h.f.Stateid) }),
		reads(v2, func(h *holding) client.Op { return client.ReadPlus(h.f.Stateid, 0, 10) }),
		reads(v2, func(h *holding) client.Op { return client.Seek(h.f.Stateid, 0, nfs4.ContentData) }),
		reads(v2, func(h *holding) client.Op {
			return client.IOAdvise(h.f.Stateid, 0, 10, nfs4.BitmapOf(nfs4.AdviseSequential))
		}),
		reads(v2, func(*holding) client.Op { return client.ListXattrs(0, 4096) }),
		slotReplay{nfs4.OpReadDir, v12, func(h *holding) []client.Op {
			return []client.Op{client.PutFH(h.dir), client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096})}
		}, seenFile},
		slotReplay{nfs4.OpSecInfo, v12, func(h *holding) []client.Op { return []client.Op{client.PutFH(h.dir), client.SecInfo("f")} }, seenFile},
		reads(v2, func(*holding) client.Op { return client.GetXattr("kept") }),
		slotReplay{nfs4.OpCreateSession, v12, func(h *holding) []client.Op {
			return []client.Op{client.CreateSession(client.CreateSessionArgs{
				ClientID: h.c.ClientID, Seq: h.c.Exchange.Seq + 1, Fore: client.DefaultFore, Back: client.DefaultBack, CBProgram: nfs4.CBProgram,
			})}
		}, seenFile},
		slotReplay{nfs4.OpExchangeID, v12, func(h *holding) []client.Op {
			return []client.Op{client.ExchangeID(client.ExchangeIDArgs{Owner: client.UniqueName("too big ")})}
		}, seenFile},
	)
}

// fillerSize is how many bytes a test has to fill replies with: as many as one
// that asks for the smallest session can write with it.
const fillerSize = 4096

// doesNotFit sends an operation behind a READ whose data leaves room for 8
// bytes, by a session of its own of the client that holds what it needs.
func (e *Env) doesNotFit(x slotReplay, limit tooBig) {
	h := e.holding(e.NewClient(func(cfg *client.Config) {
		cfg.Fore = client.DefaultFore
		cfg.Fore.MaxResponse, cfg.Fore.MaxResponseCached = limit.response, limit.cached
	}))
	e.Closed(h.c, h.dir, "other", "")
	if x.num == nfs4.OpRemoveXattr || x.num == nfs4.OpGetXattr {
		e.optional(e.Do(h.c, client.PutFH(h.f.FH), client.SetXattr(nfs4.SetXattrEither, "kept", []byte("v"))))
	}
	most := h.c.Session.Granted.Fore.MaxResponse
	if limit.cache {
		most = h.c.Session.Granted.Fore.MaxResponseCached
	}
	ops := x.ops(h)
	before, last := ops[:len(ops)-1], ops[len(ops)-1]
	filler := e.Closed(h.c, h.dir, "filler", strings.Repeat("f", fillerSize))
	behind := func(fill int, more ...client.Op) *client.Reply {
		all := append([]client.Op{client.PutFH(filler), client.Read(nfs4.AnonymousStateid, 0, uint32(fill))}, before...)
		sl := e.Slot(h.c.Session, 0)
		defer h.c.Session.Release(sl)
		p := e.reply(sl.Do(limit.cache, append(all, more...)...))
		e.invalid = ""
		if r := client.Get[client.ReadRes](p); r != nil && len(r.Data) < fill {
			e.Skipf("the server answers a READ of %d bytes with %d, which does not fill the reply", fill, len(r.Data))
		}
		return p
	}
	short := e.Expect(behind(4), is(nfs4.OK))
	room := int(most) - 8 - len(short.Raw)
	if room < 0 || room > fillerSize-4 {
		e.Skipf("the server grants replies of %d bytes, which the test does not fill", most)
	}
	seen := x.seen(e, h)
	p := behind(room/4*4+4, last)
	if optionalOp(x.num) {
		e.optional(p)
	}
	e.Expect(p, is(limit.want))
	if after := x.seen(e, h); after != seen {
		e.Errorf("before the refusal %s, after it %s", seen, after)
	}
}
