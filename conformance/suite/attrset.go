package suite

import (
	"fmt"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A settable is an attribute that a client may set. value is what is set, got
// says whether the attributes read afterwards tell so.
type settable struct {
	n     nfs4.Attr
	value func() *client.Attrs
	read  nfs4.Attr // the attribute that shows it
	got   func(a *client.Attrs) bool
}

// settableOn says whether the attribute can be set on an object. That the
// time of creation can be read does not mean that the file system lets anybody
// set it: a server that refuses is asked no more.
func (s settable) settableOn(e *Env, fh client.FH) bool {
	if !e.Supported(fh, s.n) {
		return false
	}
	if s.n != nfs4.AttrTimeCreate {
		return true
	}
	if !e.Attrs(e.Client(), fh, s.n).Has(s.n) {
		e.Skipf("the file has no %v", s.n)
	}
	p := e.Do(e.Client(), client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, s.value()))
	return p.Status != nfs4.ErrAttrNotSupp
}

func settables() []settable {
	num := func(n nfs4.Attr, v uint64) settable {
		return settable{n, func() *client.Attrs { return new(client.Attrs).SetNum(n, v) }, n, func(a *client.Attrs) bool { return a.Num(n) == v }}
	}
	when := nfs4.Time{Sec: 1_234_567_890, Nsec: 123_456_000}
	timed := func(n nfs4.Attr) settable {
		return settable{n, func() *client.Attrs { return new(client.Attrs).SetTime(n, when) }, n,
			func(a *client.Attrs) bool { return a.Time(n) == when }}
	}
	return []settable{
		num(nfs4.AttrSize, 7), num(nfs4.AttrArchive, 1), num(nfs4.AttrHidden, 1), num(nfs4.AttrMode, 0o751), num(nfs4.AttrSystem, 1),
		timed(nfs4.AttrTimeBackup), timed(nfs4.AttrTimeCreate),
		{nfs4.AttrOwner, func() *client.Attrs { return new(client.Attrs).SetOwner("1234") }, nfs4.AttrOwner, func(a *client.Attrs) bool {
			return a.Owner == "1234" || strings.HasPrefix(a.Owner, "1234@")
		}},
		{nfs4.AttrOwnerGroup, func() *client.Attrs { return new(client.Attrs).SetGroup("4321") }, nfs4.AttrOwnerGroup, func(a *client.Attrs) bool {
			return a.Group == "4321" || strings.HasPrefix(a.Group, "4321@")
		}},
		{nfs4.AttrTimeAccessSet, func() *client.Attrs { return new(client.Attrs).SetAccessTime(&when) }, nfs4.AttrTimeAccess, func(a *client.Attrs) bool {
			return a.Time(nfs4.AttrTimeAccess) == when
		}},
		{nfs4.AttrTimeModifySet, func() *client.Attrs { return new(client.Attrs).SetModifyTime(&when) }, nfs4.AttrTimeModify, func(a *client.Attrs) bool {
			return a.Time(nfs4.AttrTimeModify) == when
		}},
		{nfs4.AttrACL, func() *client.Attrs { return new(client.Attrs).SetACL(plainACL) }, nfs4.AttrACL, func(a *client.Attrs) bool { return len(a.ACL) > 0 }},
	}
}

// plainACL lets the owner read and write and the group read: less than the
// file's mode does, so that setting it changes something.
var plainACL = []client.ACE{
	{Type: nfs4.ACEAllowed, Mask: nfs4.ACEGenericRead | nfs4.ACEGenericWrite, Who: nfs4.WhoOwner},
	{Type: nfs4.ACEAllowed, Mask: nfs4.ACEGenericRead, Who: nfs4.WhoGroup},
}

// attrSetTests have three tests for each attribute that may be set, numbered as
// the attributes are.
func attrSetTests() []Test {
	var tests []Test
	add := func(s settable, family, rfc, says string, run func(e *Env, s settable)) {
		tests = append(tests, Test{
			Code: fmt.Sprintf("%s%d", family, s.n), minors: all, RFC: rfc, Says: fmt.Sprintf("%v: %s", s.n, says), run: func(e *Env) { run(e, s) },
		})
	}
	for _, s := range settables() {
		add(s, "WATT", "RFC 7530 §16.32, RFC 8881 §18.30", "SETATTR sets it, attrsset has its bit and no other, and change is another; where it cannot be set, NFS4ERR_ATTRNOTSUPP", setOne)
	}
	for _, s := range settables() {
		add(s, "PATT", "RFC 7530 §16.32.4, RFC 8881 §18.30.3", "a user who neither owns the file nor may write it cannot set it: NFS4ERR_PERM or NFS4ERR_ACCESS", setDenied)
	}
	for _, s := range settables() {
		if s.n != nfs4.AttrSize && s.n != nfs4.AttrACL {
			add(s, "CATT", "RFC 7530 §16.4.4, RFC 8881 §18.4.3", "CREATE of a directory sets it, and attrset has its bit", setAtCreate)
		}
	}
	return append(tests, attrSetMore()...)
}

func setOne(e *Env, s settable) {
	sc := e.attrScene()
	a := s.value()
	if !s.settableOn(e, sc.fh) {
		r := e.setattr(sc.c, sc.fh, is(nfs4.ErrAttrNotSupp), a)
		sc.want(r.Set.Empty(), "attrsset %v", r.Set)
		return
	}
	before := e.Attrs(sc.c, sc.fh, nfs4.AttrChange).Change()
	r := e.setattr(sc.c, sc.fh, is(nfs4.OK), a)
	sc.want(r.Set == nfs4.BitmapOf(s.n), "attrsset %v", r.Set)
	after := e.Attrs(sc.c, sc.fh, s.read, nfs4.AttrChange)
	sc.want(s.got(after), "set %v, got %v", a, after)
	sc.want(after.Change() != before, "change is %d as before", before)
}

func setDenied(e *Env, s settable) {
	sc := e.attrScene()
	if !s.settableOn(e, sc.fh) {
		e.Skipf("the server does not let the attribute %v be set", s.n)
	}
	before := e.Attrs(sc.c, sc.fh, s.read, nfs4.AttrChange).String()
	e.setattr(e.User(4711, 4711), sc.fh, is(nfs4.ErrPerm, nfs4.ErrAccess), s.value())
	sc.want(e.Attrs(sc.c, sc.fh, s.read, nfs4.AttrChange).String() == before, "it was %s", before)
}

func setAtCreate(e *Env, s settable) {
	sc := e.attrScene()
	a := s.value()
	op := client.Create(client.CreateArgs{Type: nfs4.TypeDir, Name: "d", Attrs: a})
	if !s.settableOn(e, sc.dir) {
		e.Want(sc.c, is(nfs4.ErrAttrNotSupp), client.PutFH(sc.dir), op)
		return
	}
	p := e.OK(sc.c, client.PutFH(sc.dir), op, client.GetAttr(s.read))
	sc.want(get[client.CreateRes](e, p).Set.Has(s.n), "attrset %v", get[client.CreateRes](e, p).Set)
	sc.want(s.got(get[client.GetAttrRes](e, p).Attrs), "set %v, got %v", a, get[client.GetAttrRes](e, p).Attrs)
}

func attrSetMore() []Test {
	const set = "RFC 7530 §16.32.4, RFC 8881 §18.30.3"
	return []Test{
		{Code: "SETW1", minors: all, RFC: "RFC 7530 §5.5, RFC 8881 §5.5", Says: "VERIFY and NVERIFY of time_access_set and time_modify_set are NFS4ERR_INVAL", run: setWriteOnlyVerify},
		{Code: "SETW2", minors: all, RFC: "RFC 7530 §5.5, RFC 8881 §5.5", Says: "READDIR of time_access_set or time_modify_set is NFS4ERR_INVAL", run: setWriteOnlyReadDir},
		{Code: "SETW3", minors: all, RFC: "RFC 7530 §6.2.2, RFC 8881 §6.2.4", Says: "mode bits beyond the twelve defined are NFS4ERR_INVAL, or not taken", run: setModeBits},
		{Code: "SETW4", minors: all, RFC: set, Says: "when a later attribute of the request fails, attrsset tells which earlier ones were set, and truly", run: setPartly},
		{Code: "SETW5", minors: all, RFC: set, Says: "setting the size to what it is changes no data", run: setSameSize},
		{Code: "SETW6", minors: all, RFC: set, Says: "cutting a file and growing it again leaves zeros, not the old data", run: setCutAndGrow},
		{Code: "SETW7", minors: all, RFC: "RFC 7530 §5.8.2.33, RFC 8881 §5.8.2.37", Says: "setting one time leaves the other one", run: setOneTime},
		{Code: "SETW8", minors: all, RFC: "RFC 7530 §2.1, RFC 8881 §3.3.1", Says: "a time before 1970 is kept or refused, and not taken for another", run: setOldTime},
		{Code: "SETW9", minors: all, RFC: "RFC 7530 §5.9, RFC 8881 §5.9", Says: "an owner without @ that is no number is NFS4ERR_BADOWNER", run: setBareOwner},
		{Code: "SETW10", minors: all, RFC: set, Says: "the anonymous stateid sets attributes other than size of a file that others deny", run: setDespiteDeny},
		{Code: "SETW11", minors: all, RFC: "RFC 7530 §6.2.2, RFC 8881 §6.2.4", Says: "the owner may set the mode of his file, whatever the mode is", run: setByOwner},
		{Code: "SETW12", minors: all, RFC: set, Says: "a user who may write a file may set its times to now, and to no other time", run: setTimesByWriter},
		{Code: "SETW13", minors: all, RFC: set, Says: "who may write a file but is not its owner may set its size", run: setSizeByWriter},
	}
}

func setWriteOnlyVerify(e *Env) {
	s := e.attrScene()
	for _, a := range []*client.Attrs{new(client.Attrs).SetAccessTime(nil), new(client.Attrs).SetModifyTime(&nfs4.Time{Sec: 1})} {
		e.Want(s.c, is(nfs4.ErrInval), client.PutFH(s.fh), client.Verify(a))
		e.Want(s.c, is(nfs4.ErrInval), client.PutFH(s.fh), client.NVerify(a))
	}
}

func setWriteOnlyReadDir(e *Env) {
	s := e.attrScene()
	for _, n := range []nfs4.Attr{nfs4.AttrTimeAccessSet, nfs4.AttrTimeModifySet} {
		e.Want(s.c, is(nfs4.ErrInval), client.PutFH(s.dir), client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096, Attrs: nfs4.BitmapOf(nfs4.AttrType, n)}))
	}
}

func setModeBits(e *Env) {
	s := e.attrScene()
	e.setattr(s.c, s.fh, is(nfs4.ErrInval, nfs4.OK), new(client.Attrs).SetMode(0o100600))
	got := e.Attrs(s.c, s.fh, nfs4.AttrMode).Mode()
	s.want(got == 0o644 || got == 0o600, "mode %o", got)
}

// setPartly sets a good size, and an owner that does not exist.
func setPartly(e *Env) {
	s := e.attrScene()
	r := e.setattr(s.c, s.fh, is(nfs4.ErrBadOwner, nfs4.OK), new(client.Attrs).SetSize(3).SetMode(0o600).SetOwner("nobody-knows@no.such.domain.example"))
	a := e.Attrs(s.c, s.fh, nfs4.AttrSize, nfs4.AttrMode)
	s.want(r.Set.Has(nfs4.AttrSize) == (a.Size() == 3), "attrsset %v, now %v", r.Set, a)
	s.want(r.Set.Has(nfs4.AttrMode) == (a.Mode() == 0o600), "attrsset %v, now %v", r.Set, a)
	if r.Set.Has(nfs4.AttrOwner) {
		e.Skipf("the server takes an owner that does not exist, so that nothing fails")
	}
}

func setSameSize(e *Env) {
	s := e.attrScene()
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetSize(10))
	s.want(e.Contents(s.c, s.fh) == "0123456789", "%q", e.Contents(s.c, s.fh))
}

func setCutAndGrow(e *Env) {
	s := e.attrScene()
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetSize(2))
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetSize(6))
	s.want(e.Contents(s.c, s.fh) == "01\x00\x00\x00\x00", "%q", e.Contents(s.c, s.fh))
}

func setOneTime(e *Env) {
	s := e.attrScene()
	at, mt := nfs4.Time{Sec: 1_000_000_000}, nfs4.Time{Sec: 1_100_000_000}
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetAccessTime(&at))
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetModifyTime(&mt))
	a := e.Attrs(s.c, s.fh, nfs4.AttrTimeAccess, nfs4.AttrTimeModify)
	s.want(a.Time(nfs4.AttrTimeAccess) == at && a.Time(nfs4.AttrTimeModify) == mt, "%v", a)
}

func setOldTime(e *Env) {
	s := e.attrScene()
	old := nfs4.Time{Sec: -86400, Nsec: 500_000_000}
	r := e.setattr(s.c, s.fh, is(nfs4.OK, nfs4.ErrInval), new(client.Attrs).SetModifyTime(&old))
	a := e.Attrs(s.c, s.fh, nfs4.AttrTimeModify)
	s.want(r.Set.Empty() || a.Time(nfs4.AttrTimeModify) == old, "%v", a)
}

func setBareOwner(e *Env) {
	s := e.attrScene()
	e.setattr(s.c, s.fh, is(nfs4.ErrBadOwner), new(client.Attrs).SetOwner("no-such-user-at-all"))
	e.setattr(s.c, s.fh, is(nfs4.ErrBadOwner), new(client.Attrs).SetGroup("no-such-group-at-all"))
}

func setDespiteDeny(e *Env) {
	s := e.attrScene()
	f, err := s.c.Open(client.NewOwner(), s.dir, client.OpenArgs{Access: 3, Deny: 3, Name: "f"})
	e.Must(err)
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetMode(0o600).SetModifyTime(nil))
	e.Must(f.Close())
}

func setByOwner(e *Env) {
	s := e.attrScene()
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetOwner("1001").SetMode(0))
	u := e.User(1001, 1001)
	e.setattr(u, s.fh, is(nfs4.OK), new(client.Attrs).SetMode(0o640))
	s.want(e.Attrs(s.c, s.fh, nfs4.AttrMode).Mode() == 0o640, "the mode was not set")
}

func setTimesByWriter(e *Env) {
	s := e.attrScene()
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetMode(0o666))
	u := e.User(1001, 1001)
	e.setattr(u, s.fh, is(nfs4.OK), new(client.Attrs).SetAccessTime(nil).SetModifyTime(nil))
	e.setattr(u, s.fh, is(nfs4.ErrPerm, nfs4.ErrAccess), new(client.Attrs).SetModifyTime(&nfs4.Time{Sec: 1}))
}

func setSizeByWriter(e *Env) {
	s := e.attrScene()
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetMode(0o622))
	e.setattr(e.User(1001, 1001), s.fh, is(nfs4.OK), new(client.Attrs).SetSize(4))
	s.want(e.Contents(s.c, s.fh) == "0123", "%q", e.Contents(s.c, s.fh))
}
