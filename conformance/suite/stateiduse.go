package suite

import (
	"fmt"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A holding is a file of ten bytes that one owner has opened twice and another
// has locked twice, so that there are stateids of all ages.
type holding struct {
	e                *Env
	c                *client.Client
	dir              client.FH
	f                *client.OpenFile
	l                *client.Locks
	oldOpen, oldLock nfs4.Stateid
}

func (e *Env) holding(c *client.Client) *holding {
	h := &holding{e: e, c: c, dir: e.Dir()}
	owner := client.NewOwner()
	first, err := c.Open(owner, h.dir, client.OpenArgs{Access: 3, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "f"})
	e.Must(err)
	h.oldOpen = first.Stateid
	h.f, err = c.Open(owner, h.dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Must(err)
	_, err = h.f.Write(0, nfs4.FileSync, []byte("0123456789"))
	e.Must(err)
	// In NFSv4.0 both owners are to use the same seqid next: whichever of them a
	// server finds by a stateid, it is not the seqid that is wrong.
	locker := client.NewOwner()
	locker.Seqid = owner.Seqid - 1
	h.l = h.f.Locks(locker)
	e.Must(h.l.Lock(nfs4.WriteLT, 0, 10))
	h.oldLock = h.l.Stateid
	e.Must(h.l.Lock(nfs4.WriteLT, 20, 10))
	return h
}

// peer opens another file, as what is copied from or to.
func (h *holding) peer() *client.OpenFile {
	return h.e.File(h.c, h.dir, "peer", strings.Repeat("p", 4096))
}

// A stateidUse is an operation that takes a stateid. open and lock build the
// compounds that present one as an open's, or as a byte-range lock's; nil if
// the operation takes no such stateid.
type stateidUse struct {
	num        nfs4.Op
	open, lock func(h *holding, s nfs4.Stateid) []client.Op
}

func (u stateidUse) minors() uint8 { return opCase{num: u.num}.minors() }

// ioUse is an operation on data, which takes the stateid of an open or a lock.
func ioUse(num nfs4.Op, op func(s nfs4.Stateid) client.Op) stateidUse {
	use := func(h *holding, s nfs4.Stateid) []client.Op { return []client.Op{client.PutFH(h.f.FH), op(s)} }
	return stateidUse{num: num, open: use, lock: use}
}

func stateidUses() []stateidUse {
	uses := []stateidUse{
		ioUse(nfs4.OpRead, func(s nfs4.Stateid) client.Op { return client.Read(s, 0, 4) }),
		ioUse(nfs4.OpWrite, func(s nfs4.Stateid) client.Op { return client.Write(s, 0, nfs4.FileSync, []byte("x")) }),
		ioUse(nfs4.OpSetAttr, func(s nfs4.Stateid) client.Op { return client.SetAttr(s, new(client.Attrs).SetSize(10)) }),
		{num: nfs4.OpClose, open: func(h *holding, s nfs4.Stateid) []client.Op {
			return []client.Op{client.PutFH(h.f.FH), client.Close(h.f.Owner.Seqid, s)}
		}},
		{num: nfs4.OpOpenDowngrade, open: func(h *holding, s nfs4.Stateid) []client.Op {
			return []client.Op{client.PutFH(h.f.FH), client.OpenDowngrade(s, h.f.Owner.Seqid, 3, 0)}
		}},
		{num: nfs4.OpLock, open: func(h *holding, s nfs4.Stateid) []client.Op {
			return []client.Op{client.PutFH(h.f.FH), client.Lock(client.LockArgs{
				Type: nfs4.ReadLT, Offset: 50, Length: 1, New: true, OpenSeqid: h.f.Owner.Seqid, OpenStateid: s,
				Owner: client.Owner{ClientID: h.c.ClientID, Name: client.UniqueName("new lock owner ")},
			})}
		}, lock: func(h *holding, s nfs4.Stateid) []client.Op {
			return []client.Op{client.PutFH(h.f.FH), client.Lock(client.LockArgs{
				Type: nfs4.ReadLT, Offset: 60, Length: 1, LockStateid: s, LockSeqid: h.l.Owner.Seqid,
			})}
		}},
		{num: nfs4.OpLockU, lock: func(h *holding, s nfs4.Stateid) []client.Op {
			return []client.Op{client.PutFH(h.f.FH), client.LockU(nfs4.WriteLT, h.l.Owner.Seqid, s, 20, 10)}
		}},
	}
	return append(uses, stateidUses42()...)
}

// stateidUses42 has COPY and CLONE twice, with the stateid as the source's and
// as the destination's.
func stateidUses42() []stateidUse {
	// between copies from one file to another; op gets the peer's stateid.
	between := func(h *holding, toPeer bool, op func(peer nfs4.Stateid) client.Op) []client.Op {
		peer := h.peer()
		from, to := peer.FH, h.f.FH
		if toPeer {
			from, to = to, from
		}
		return []client.Op{client.PutFH(from), client.SaveFH(), client.PutFH(to), op(peer.Stateid)}
	}
	return []stateidUse{
		ioUse(nfs4.OpAllocate, func(s nfs4.Stateid) client.Op { return client.Allocate(s, 0, 10) }),
		ioUse(nfs4.OpDeallocate, func(s nfs4.Stateid) client.Op { return client.Deallocate(s, 0, 10) }),
		ioUse(nfs4.OpIOAdvise, func(s nfs4.Stateid) client.Op {
			return client.IOAdvise(s, 0, 10, nfs4.BitmapOf(nfs4.AdviseSequential))
		}),
		ioUse(nfs4.OpReadPlus, func(s nfs4.Stateid) client.Op { return client.ReadPlus(s, 0, 4) }),
		ioUse(nfs4.OpSeek, func(s nfs4.Stateid) client.Op { return client.Seek(s, 0, nfs4.ContentData) }),
		ioUse(nfs4.OpWriteSame, func(s nfs4.Stateid) client.Op {
			return client.WriteSame(s, nfs4.FileSync, 0, 1, 1, []byte("x"))
		}),
		ioUse(nfs4.OpCopyNotify, func(s nfs4.Stateid) client.Op { return client.CopyNotify(s, client.SomeServer) }),
		{num: nfs4.OpCopy, open: func(h *holding, s nfs4.Stateid) []client.Op {
			return between(h, false, func(peer nfs4.Stateid) client.Op {
				return client.Copy(client.CopyArgs{Src: peer, Dst: s, Count: 10, Consecutive: true, Synchronous: true})
			})
		}, lock: func(h *holding, s nfs4.Stateid) []client.Op {
			return between(h, true, func(peer nfs4.Stateid) client.Op {
				return client.Copy(client.CopyArgs{Src: s, Dst: peer, Count: 10, Consecutive: true, Synchronous: true})
			})
		}},
		{num: nfs4.OpClone, open: func(h *holding, s nfs4.Stateid) []client.Op {
			return between(h, false, func(peer nfs4.Stateid) client.Op { return client.Clone(peer, s, 0, 0, 0) })
		}, lock: func(h *holding, s nfs4.Stateid) []client.Op {
			return between(h, true, func(peer nfs4.Stateid) client.Op { return client.Clone(s, peer, 0, 0, 0) })
		}},
	}
}

// stateidUseTests say of each operation what it makes of stateids that are not
// as they should be.
func stateidUseTests() []Test {
	var tests []Test
	add := func(u stateidUse, family, sections, says string, minors uint8, run func(e *Env, u stateidUse)) {
		if minors &= u.minors(); minors != 0 {
			tests = append(tests, Test{
				Code: fmt.Sprintf("%s%d", family, u.num), minors: minors, RFC: sections, Says: fmt.Sprintf(says, u.num), run: func(e *Env) { run(e, u) },
			})
		}
	}
	const valid = "RFC 7530 §9.1.4.4, RFC 8881 §8.2.4"
	for _, u := range stateidUses() {
		add(u, "SOLD", valid, "%v with an earlier seqid than the stateid's latest is NFS4ERR_OLD_STATEID", all, useOld)
	}
	for _, u := range stateidUses() {
		add(u, "SNEW", valid, "%v with a later seqid than the server ever gave is NFS4ERR_BAD_STATEID", all, useNewer)
	}
	for _, u := range stateidUses() {
		add(u, "SNONE", valid, "%v with a stateid that the server never gave is NFS4ERR_BAD_STATEID", all, useUnknown)
	}
	for _, u := range stateidUses() {
		add(u, "SFILE", valid, "%v with a stateid of another file than the current filehandle's is NFS4ERR_BAD_STATEID", all, useOtherFile)
	}
	for _, u := range stateidUses() {
		add(u, "SGONE", valid, "%v with a stateid whose open was closed is NFS4ERR_BAD_STATEID", all, useClosed)
	}
	for _, u := range stateidUses() {
		if u.lock != nil {
			add(u, "SFREE", "RFC 7530 §16.37, RFC 8881 §18.38", "%v with a lock stateid that was freed is NFS4ERR_BAD_STATEID", all, useFreed)
		}
	}
	for _, u := range stateidUses() {
		add(u, "SOTHER", "RFC 8881 §8.2.4", "%v with a stateid of another client is NFS4ERR_BAD_STATEID", v12, useOtherClient)
	}
	for _, u := range stateidUses() {
		add(u, "SZERO", "RFC 8881 §8.2.2", "%v with a seqid of zero takes the stateid as it is now", v12, useZero)
	}
	for _, u := range stateidUses() {
		add(u, "SCUR", "RFC 8881 §16.2.3.1.2", "%v after an operation that gave a stateid may say current stateid for it", v12, useCurrent)
	}
	return append(tests, stateidKindTests()...)
}

// wantUse requires the status of the operation, presented with a stateid made
// of the open's and with one made of the lock's.
func (e *Env) wantUse(h *holding, u stateidUse, open, lock nfs4.Stateid, want ...nfs4.Status) {
	want = opCase{num: u.num}.orNotSupp(want...)
	if u.open != nil {
		e.Want(h.c, want, u.open(h, open)...)
	}
	if u.lock != nil {
		e.Want(h.c, want, u.lock(h, lock)...)
	}
}

func useOld(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	e.wantUse(h, u, h.oldOpen, h.oldLock, nfs4.ErrOldStateid)
}

func useNewer(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	open, lock := h.f.Stateid, h.l.Stateid
	open.Seqid++
	lock.Seqid += 1000
	e.wantUse(h, u, open, lock, nfs4.ErrBadStateid)
}

func useUnknown(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	open, lock := h.f.Stateid, h.l.Stateid
	for i := range open.Other {
		open.Other[i] ^= 0x5a
		lock.Other[i] ^= 0x5a
	}
	if e.Minor == 0 { // it may be of an earlier instance of the server, or of a client that is forgotten
		e.wantUse(h, u, open, lock, nfs4.ErrBadStateid, nfs4.ErrStaleStateid, nfs4.ErrExpired)
		return
	}
	e.wantUse(h, u, open, lock, nfs4.ErrBadStateid)
}

func useOtherFile(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	open, lock := h.f.Stateid, h.l.Stateid
	// The operation is done to another file that the same owners hold.
	g, err := h.c.Open(h.f.Owner, h.dir, client.OpenArgs{Access: 3, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "g"})
	e.Must(err)
	// As in holding: the seqid is right for whichever lock owner a server finds.
	locker := client.NewOwner()
	locker.Seqid = h.l.Owner.Seqid - 1
	h.f, h.l = g, g.Locks(locker)
	e.Must(h.l.Lock(nfs4.WriteLT, 0, 10))
	e.wantUse(h, u, open, lock, nfs4.ErrBadStateid)
}

func useClosed(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	e.Must(h.l.Unlock(0, nfs4.Uint64Max))
	e.Must(h.f.Close())
	e.wantUse(h, u, h.f.Stateid, h.l.Stateid, nfs4.ErrBadStateid)
}

func useFreed(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	e.Must(h.l.Unlock(0, nfs4.Uint64Max))
	if e.Minor == 0 {
		e.OK(h.c, client.ReleaseLockOwner(client.Owner{ClientID: h.c.ClientID, Name: h.l.Owner.Name}))
	} else {
		e.OK(h.c, client.FreeStateid(h.l.Stateid))
	}
	e.Want(h.c, opCase{num: u.num}.orNotSupp(nfs4.ErrBadStateid), u.lock(h, h.l.Stateid)...)
}

func useOtherClient(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	h.c = e.NewClient(nil)
	e.wantUse(h, u, h.f.Stateid, h.l.Stateid, nfs4.ErrBadStateid)
}

func useZero(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	if u.num == nfs4.OpClose { // a server may refuse to close what is locked
		e.Must(h.l.Unlock(0, nfs4.Uint64Max))
	}
	open, lock := h.f.Stateid, h.l.Stateid
	open.Seqid, lock.Seqid = 0, 0
	e.wantUse(h, u, open, lock, nfs4.OK)
}

// useCurrent makes an open within the same request, right before the operation,
// since PUTFH takes the current stateid away.
func useCurrent(e *Env, u stateidUse) {
	h := e.holding(e.Client())
	e.Must(h.l.Unlock(0, nfs4.Uint64Max))
	var before []client.Op
	use := u.open
	if use == nil { // LOCKU takes a lock's: LOCK gives it
		use = u.lock
		before = []client.Op{client.PutFH(h.f.FH), client.Lock(client.LockArgs{Type: nfs4.WriteLT, Offset: 20, Length: 10, LockStateid: h.l.Stateid})}
	} else {
		owner := client.Owner{ClientID: h.c.ClientID, Name: h.f.Owner.Name}
		before = []client.Op{client.PutFH(h.dir), client.Open(client.OpenArgs{Access: 3, Owner: owner, Name: "f"})}
	}
	ops := use(h, nfs4.CurrentStateid)
	if u.num == nfs4.OpCopy || u.num == nfs4.OpClone { // the source is the saved filehandle
		before = append(ops[:2:2], before...)
	}
	e.Want(h.c, opCase{num: u.num}.orNotSupp(nfs4.OK), append(before, ops[len(ops)-1])...)
}
