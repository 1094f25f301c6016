package suite

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A wrongKind is an operation presented with a stateid that is valid and of
// another kind than it takes.
type wrongKind struct {
	code, what string
	num        nfs4.Op
	op         func(h *holding) client.Op
}

func stateidKindTests() []Test {
	kinds := []wrongKind{
		{"SKIND1", "CLOSE with a lock stateid", nfs4.OpClose, func(h *holding) client.Op { return client.Close(h.f.Owner.Seqid, h.l.Stateid) }},
		{"SKIND2", "OPEN_DOWNGRADE with a lock stateid", nfs4.OpOpenDowngrade, func(h *holding) client.Op {
			return client.OpenDowngrade(h.l.Stateid, h.f.Owner.Seqid, 1, 0)
		}},
		{"SKIND3", "OPEN_CONFIRM with a lock stateid", nfs4.OpOpenConfirm, func(h *holding) client.Op {
			return client.OpenConfirm(h.l.Stateid, h.f.Owner.Seqid)
		}},
		{"SKIND4", "LOCKU with an open stateid", nfs4.OpLockU, func(h *holding) client.Op {
			return client.LockU(nfs4.WriteLT, h.l.Owner.Seqid, h.f.Stateid, 0, 10)
		}},
		{"SKIND5", "LOCK that goes on with an open stateid as if it were a lock's", nfs4.OpLock, func(h *holding) client.Op {
			return client.Lock(client.LockArgs{Type: nfs4.ReadLT, Length: 1, LockStateid: h.f.Stateid, LockSeqid: h.l.Owner.Seqid})
		}},
		{"SKIND6", "LOCK of a new lock owner with a lock stateid as if it were an open's", nfs4.OpLock, func(h *holding) client.Op {
			return client.Lock(client.LockArgs{
				Type: nfs4.ReadLT, Offset: 50, Length: 1, New: true, OpenSeqid: h.f.Owner.Seqid, OpenStateid: h.l.Stateid,
				Owner: client.Owner{ClientID: h.c.ClientID, Name: "another"},
			})
		}},
		{"SKIND7", "DELEGRETURN with an open stateid", nfs4.OpDelegReturn, func(h *holding) client.Op { return client.DelegReturn(h.f.Stateid) }},
		{"SKIND8", "DELEGRETURN with a lock stateid", nfs4.OpDelegReturn, func(h *holding) client.Op { return client.DelegReturn(h.l.Stateid) }},
	}
	const rfc = "RFC 7530 §9.1.4.4, RFC 8881 §8.2.4"
	var tests []Test
	for _, k := range kinds {
		tests = append(tests, Test{
			Code: k.code, minors: opCase{num: k.num}.minors(), RFC: rfc, Says: k.what + " is NFS4ERR_BAD_STATEID",
			run: func(e *Env) {
				h := e.holding(e.Client())
				e.Want(h.c, opCase{num: k.num}.orNotSupp(nfs4.ErrBadStateid), client.PutFH(h.f.FH), k.op(h))
			},
		})
	}
	for _, special := range []struct {
		family, name string
		s            nfs4.Stateid
		minors       uint8
	}{
		{"SANON", "the anonymous stateid", nfs4.AnonymousStateid, all},
		{"SBYP", "the READ bypass stateid", nfs4.BypassStateid, all},
		{"SINV", "the invalid special stateid", nfs4.InvalidStateid, v12},
	} {
		for _, u := range stateidUses() {
			if takesSpecial(u.num) && special.family != "SINV" {
				continue
			}
			if m := u.minors() & special.minors; m != 0 {
				tests = append(tests, Test{
					Code: fmt.Sprintf("%s%d", special.family, u.num), minors: m, RFC: "RFC 7530 §9.1.4.3, RFC 8881 §8.2.3",
					Says: fmt.Sprintf("%v with %s is NFS4ERR_BAD_STATEID", u.num, special.name),
					run: func(e *Env) {
						h := e.holding(e.Client())
						e.wantUse(h, u, special.s, special.s, nfs4.ErrBadStateid)
					},
				})
			}
		}
	}
	return append(tests, stateidLifeTests()...)
}

// takesSpecial says whether an operation makes sense without an open, so that
// the special stateids stand for I/O without state.
func takesSpecial(num nfs4.Op) bool {
	switch num {
	case nfs4.OpClose, nfs4.OpOpenDowngrade, nfs4.OpLock, nfs4.OpLockU:
		return false
	}
	return true
}

func stateidLifeTests() []Test {
	const life = "RFC 7530 §9.1.4.2, RFC 8881 §8.2.2"
	return []Test{
		{Code: "SLIFE1", minors: all, RFC: life, Says: "the first open of a file by an owner gives a seqid of one, or of two after its confirmation", run: lifeFirst},
		{Code: "SLIFE2", minors: all, RFC: life, Says: "open, upgrade and downgrade each raise the seqid by one and keep the rest of the stateid", run: lifeRises},
		{Code: "SLIFE3", minors: all, RFC: life, Says: "a refused upgrade leaves the stateid as it is", run: lifeRefused},
		{Code: "SLIFE4", minors: all, RFC: life, Says: "reading and writing leave the stateid as it is", run: lifeIO},
		{Code: "SLIFE5", minors: all, RFC: "RFC 7530 §9.1.4.4, RFC 8881 §8.2.4", Says: "an open after CLOSE gives a stateid that the closed one is not taken for", run: lifeReopen},
		{Code: "SLIFE6", minors: all, RFC: "RFC 7530 §9.1.4.2, RFC 8881 §8.2.4", Says: "a lock stateid stays valid when LOCKU has freed the last lock", run: lifeUnlocked},
		{Code: "SLIFE7", minors: all, RFC: "RFC 7530 §9.1.4.1, RFC 8881 §8.2.1", Says: "each lock owner has a stateid of its own on a file, and on each file another", run: lifeDistinct},
		{Code: "SLIFE8", minors: v12, RFC: "RFC 8881 §18.48", Says: "TEST_STATEID says NFS4ERR_OLD_STATEID of an earlier seqid and NFS4ERR_BAD_STATEID of a later one", run: lifeTestAges},
		{Code: "SLIFE9", minors: v12, RFC: "RFC 8881 §18.48", Says: "TEST_STATEID says NFS4ERR_BAD_STATEID of special stateids and of another client's", run: lifeTestForeign},
		{Code: "SLIFE10", minors: v12, RFC: "RFC 8881 §18.38", Says: "FREE_STATEID with an earlier seqid is NFS4ERR_OLD_STATEID and frees nothing", run: lifeFreeOld},
		{Code: "SLIFE11", minors: v12, RFC: "RFC 8881 §16.2.3.1.2", Says: "after CLOSE the current stateid is not valid", run: lifeCurrentClosed},
	}
}

func lifeFirst(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	want := uint32(1)
	if f.Res.Flags&nfs4.OpenResultConfirm != 0 {
		want = 2
	}
	if f.Res.Stateid.Seqid != 1 || f.Stateid.Seqid != want {
		e.Errorf("OPEN gave %v, now it is %v", f.Res.Stateid, f.Stateid)
	}
}

func lifeRises(e *Env) {
	f, old := e.upgraded(e.Client())
	before := f.Stateid
	e.Must(f.Downgrade(1, 0))
	if f.Stateid.Other != old.Other || f.Stateid.Seqid != before.Seqid+1 {
		e.Errorf("opened %v, upgraded %v, downgraded %v", old, before, f.Stateid)
	}
}

func lifeRefused(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	o := client.NewOwner()
	f, err := c.Open(o, dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	g, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: 2, Name: "f"})
	e.Must(err)
	_, err = c.Open(o, dir, client.OpenArgs{Access: 2, Name: "f"})
	e.Err(err, nfs4.ErrShareDenied)
	e.Must(g.Close())
	again, err := c.Open(o, dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	if again.Stateid.Seqid != f.Stateid.Seqid+1 {
		e.Errorf("%v, then after a refused open %v", f.Stateid, again.Stateid)
	}
}

func lifeIO(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "contents")
	for i := range uint64(5) {
		_, err := f.Write(i, nfs4.Unstable, []byte("x"))
		e.Must(err)
		_, err = f.Read(0, 10)
		e.Must(err)
	}
	e.Must(f.Close())
}

func lifeReopen(e *Env) {
	c := e.Client()
	dir := e.Dir()
	o := client.NewOwner()
	create := client.OpenArgs{Access: 3, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "f"}
	f, err := c.Open(o, dir, create)
	e.Must(err)
	closed := f.Stateid
	e.Must(f.Close())
	g, err := c.Open(o, dir, create)
	e.Must(err)
	// A server that keeps the rest of a stateid must continue its seqid.
	e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrOldStateid), client.PutFH(g.FH), client.Write(closed, 0, nfs4.FileSync, []byte("x")))
}

func lifeUnlocked(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.Must(l.Unlock(0, 10))
	before := l.Stateid
	e.Must(l.Lock(nfs4.WriteLT, 5, 10))
	if l.Stateid.Other != before.Other || l.Stateid.Seqid != before.Seqid+1 {
		e.Errorf("%v, then %v", before, l.Stateid)
	}
}

func lifeDistinct(e *Env) {
	c := e.Client()
	dir := e.Dir()
	seen := make(map[[nfs4.OtherSize]byte]string)
	for _, name := range []string{"f", "g"} {
		f := e.File(c, dir, name, "")
		for _, who := range []string{"a", "b"} {
			l := f.Locks(&client.StateOwner{Name: who + name})
			e.Must(l.Lock(nfs4.ReadLT, 0, 10))
			if other, ok := seen[l.Stateid.Other]; ok {
				e.Errorf("owner %s on %s has the stateid of %s", who, name, other)
			}
			seen[l.Stateid.Other] = who + " on " + name
		}
	}
}

func lifeTestAges(e *Env) {
	h := e.holding(e.Client())
	newer := h.f.Stateid
	newer.Seqid++
	got := get[client.TestStateidRes](e, e.OK(h.c, client.TestStateid(h.f.Stateid, h.l.Stateid, h.oldOpen, h.oldLock, newer))).Statuses
	want := is(nfs4.OK, nfs4.OK, nfs4.ErrOldStateid, nfs4.ErrOldStateid, nfs4.ErrBadStateid)
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			e.Fatalf("open, lock, older open, older lock, newer open: %v, want %v", got, want)
		}
	}
}

func lifeTestForeign(e *Env) {
	h := e.holding(e.Client())
	other := e.NewClient(nil)
	got := get[client.TestStateidRes](e, e.OK(other, client.TestStateid(h.f.Stateid, nfs4.AnonymousStateid, nfs4.BypassStateid, nfs4.InvalidStateid))).Statuses
	if len(got) != 4 {
		e.Fatalf("%d statuses for four stateids", len(got))
	}
	for i, what := range []string{"another client's", "anonymous", "bypass", "invalid"} {
		if got[i] != nfs4.ErrBadStateid {
			e.Errorf("%s: %v", what, got[i])
		}
	}
}

func lifeFreeOld(e *Env) {
	h := e.holding(e.Client())
	e.Must(h.l.Unlock(0, nfs4.Uint64Max))
	e.Want(h.c, is(nfs4.ErrOldStateid), client.FreeStateid(h.oldLock))
	e.OK(h.c, client.FreeStateid(h.l.Stateid))
}

func lifeCurrentClosed(e *Env) {
	h := e.holding(e.Client())
	e.Must(h.l.Unlock(0, nfs4.Uint64Max))
	e.Want(h.c, is(nfs4.ErrBadStateid), client.PutFH(h.f.FH), client.Close(0, h.f.Stateid), client.Read(nfs4.CurrentStateid, 0, 1))
}
