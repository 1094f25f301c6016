package suite

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A slotReplay is a request that changes something, and a way to see how often
// it did.
type slotReplay struct {
	num    nfs4.Op
	minors uint8
	ops    func(h *holding) []client.Op
	// seen tells what the request changes; after the retry it must tell the same
	// as after the first run.
	seen func(e *Env, h *holding) string
}

// names tells what is in the directory.
func seenNames(e *Env, h *holding) string { return fmt.Sprint(e.Names(h.c, h.dir)) }

// seenFile tells of the file whatever a second run would change. It is short, and
// the session may be: no more is read than any reply has room for.
func seenFile(e *Env, h *holding) string {
	a := e.Attrs(h.c, h.f.FH, nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrMode, nfs4.AttrNumLinks)
	p := e.OK(h.c, client.PutFH(h.f.FH), client.Read(nfs4.AnonymousStateid, 0, 64))
	return a.String() + fmt.Sprintf("%q", get[client.ReadRes](e, p).Data)
}

// seenLocks tells which bytes are locked.
func seenLocks(e *Env, h *holding) string {
	s := ""
	for i := range uint64(12) {
		any, excl := e.held(h.f, 5*i, 1)
		s += fmt.Sprint(any, excl, " ")
	}
	return s
}

func slotReplays() []slotReplay {
	file := func(h *holding, ops ...client.Op) []client.Op {
		return append([]client.Op{client.PutFH(h.f.FH)}, ops...)
	}
	dir := func(h *holding, ops ...client.Op) []client.Op {
		return append([]client.Op{client.PutFH(h.dir)}, ops...)
	}
	return []slotReplay{
		{nfs4.OpCreate, v12, func(h *holding) []client.Op { return dir(h, client.Mkdir("new")) }, seenNames},
		{nfs4.OpLink, v12, func(h *holding) []client.Op {
			return file(h, client.SaveFH(), client.PutFH(h.dir), client.Link("link"))
		}, seenFile},
		{nfs4.OpRemove, v12, func(h *holding) []client.Op { return dir(h, client.Remove("other")) }, seenNames},
		{nfs4.OpRename, v12, func(h *holding) []client.Op { return dir(h, client.SaveFH(), client.Rename("other", "moved")) }, seenNames},
		{nfs4.OpSetAttr, v12, func(h *holding) []client.Op {
			return file(h, client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetMode(0o604)))
		}, seenFile},
		{nfs4.OpWrite, v12, func(h *holding) []client.Op {
			return file(h, client.Write(h.f.Stateid, 3, nfs4.FileSync, []byte("written")))
		}, seenFile},
		{nfs4.OpOpen, v12, func(h *holding) []client.Op {
			return dir(h, client.Open(client.OpenArgs{Access: 3, Owner: client.Owner{Name: "opener"}, How: nfs4.OpenCreate, Mode: nfs4.CreateGuarded, Name: "new"}), client.GetFH())
		}, seenNames},
		{nfs4.OpLock, v12, func(h *holding) []client.Op {
			return file(h, client.Lock(client.LockArgs{Type: nfs4.WriteLT, Offset: 40, Length: 5, LockStateid: h.l.Stateid}))
		}, seenLocks},
		{nfs4.OpLockU, v12, func(h *holding) []client.Op { return file(h, client.LockU(nfs4.WriteLT, 0, h.l.Stateid, 0, 5)) }, seenLocks},
		{nfs4.OpOpenDowngrade, v12, func(h *holding) []client.Op { return file(h, client.OpenDowngrade(h.f.Stateid, 0, 3, 0)) }, seenFile},
		{nfs4.OpClose, v12, func(h *holding) []client.Op { return dir(h, client.Lookup("other"), client.Close(0, h.oldOpen)) }, seenNames},
		{nfs4.OpAllocate, v2, func(h *holding) []client.Op { return file(h, client.Allocate(h.f.Stateid, 0, 50)) }, seenFile},
		{nfs4.OpDeallocate, v2, func(h *holding) []client.Op { return file(h, client.Deallocate(h.f.Stateid, 2, 4)) }, seenFile},
		{nfs4.OpCopy, v2, func(h *holding) []client.Op {
			peer := h.peer()
			return []client.Op{client.PutFH(peer.FH), client.SaveFH(), client.PutFH(h.f.FH), client.Copy(client.CopyArgs{
				Src: peer.Stateid, Dst: h.f.Stateid, Count: 5, Consecutive: true, Synchronous: true,
			})}
		}, seenFile},
		{nfs4.OpSetXattr, v2, func(h *holding) []client.Op {
			return file(h, client.SetXattr(nfs4.SetXattrCreate, "comment", []byte("v")))
		}, seenFile},
		{nfs4.OpRemoveXattr, v2, func(h *holding) []client.Op { return file(h, client.RemoveXattr("kept")) }, seenFile},
	}
}

// slotReplayTests are numbered by the operation.
func slotReplayTests() []Test {
	var tests []Test
	for _, r := range slotReplays() {
		tests = append(tests, Test{
			Code: fmt.Sprintf("AGAIN%d", r.num), minors: r.minors, RFC: "RFC 8881 §2.10.6.1.3", run: func(e *Env) { replayed(e, r) },
			Says: fmt.Sprintf("a request with %v that was to be cached, sent again over another connection, gets the first reply and has no second effect", r.num),
		})
	}
	return tests
}

func replayed(e *Env, r slotReplay) {
	h := e.holding(e.Client())
	e.Closed(h.c, h.dir, "other", "")
	if r.num == nfs4.OpRemoveXattr {
		e.optional(e.Do(h.c, client.PutFH(h.f.FH), client.SetXattr(nfs4.SetXattrEither, "kept", []byte("v"))))
	}
	sl := e.Slot(h.c.Session, 1)
	req := sl.Request(true, r.ops(h)...)
	p := e.reply(sl.Send(h.c.Conn(), req))
	e.invalid = ""
	if optionalOp(r.num) {
		e.optional(p)
	}
	if r.num == nfs4.OpClose { // of another file's stateid, an older one: failures are kept as well
		e.Expect(p, is(nfs4.ErrBadStateid, nfs4.ErrOldStateid))
	} else {
		e.Expect(p, is(nfs4.OK))
	}
	before := r.seen(e, h)
	other := e.Conn()
	for range 2 {
		e.sameReply(p, e.reply(other.Do(req)))
		e.invalid = ""
	}
	if after := r.seen(e, h); after != before {
		e.Errorf("after the first run %s, after the retries %s", before, after)
	}
}
