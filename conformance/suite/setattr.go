package suite

import (
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func setattrTests() []Test {
	return []Test{
		{Code: "SATT1", minors: all, RFC: "RFC 8881 §18.30", Says: "mode is set, and attrsset says so", run: sattMode},
		{Code: "SATT2", minors: all, RFC: "RFC 8881 §18.30.3", Says: "size cuts a file, and extends it with zeros", run: sattSize},
		{Code: "SATT3", minors: all, RFC: "RFC 8881 §18.30", Says: "owner and group are set", run: sattOwner},
		{Code: "SATT4", minors: all, RFC: "RFC 8881 §5.8.2.38, §5.8.2.44", Says: "times are set to the client's value or to the server's now", run: sattTimes},
		{Code: "SATT5", minors: all, RFC: "RFC 8881 §18.30.3", Says: "setting a read-only attribute is NFS4ERR_INVAL", run: sattReadOnly},
		{Code: "SATT6", minors: all, RFC: "RFC 8881 §18.30.3", Says: "setting an attribute that is not supported is NFS4ERR_ATTRNOTSUPP", run: sattUnsupported},
		{Code: "SATT7", minors: all, RFC: "RFC 8881 §18.30.3", Says: "setting the size of anything but a file fails", run: sattSizeOther},
		{Code: "SATT8", minors: all, RFC: "RFC 8881 §3.3.1", Says: "a time with a billion nanoseconds is NFS4ERR_INVAL", run: sattNsec},
		{Code: "SATT9", minors: all, RFC: "RFC 8881 §18.30.3", Says: "SETATTR of size with a stateid that the server never gave is refused and cuts nothing", run: sattBadStateid},
		{Code: "SATT10", minors: all, RFC: "RFC 8881 §18.30.3", Says: "SETATTR of size with the stateid of an open for reading is NFS4ERR_OPENMODE", run: sattReadOpen},
		{Code: "SATT11", minors: all, RFC: "RFC 8881 §18.30", Says: "another user may not change what is not his", run: sattOtherUser},
		{Code: "SATT12", minors: all, RFC: "RFC 8881 §5.9", Says: "an owner that no mapping knows is NFS4ERR_BADOWNER, or comes back as it was set", run: sattBadOwner},
		{Code: "SATT13", minors: all, RFC: "RFC 8881 §18.30", Says: "attributes of directories, fifos and devices are set too", run: sattSpecial},
		{Code: "SATT14", minors: all, RFC: "RFC 8881 §6.2.4", Says: "set-uid, set-gid and sticky bits are kept", run: sattBits},
		{Code: "SATT15", minors: all, RFC: "RFC 8881 §18.30", Says: "several attributes are set at once", run: sattSeveral},
		{Code: "SATT16", minors: all, RFC: "RFC 8881 §18.30", Says: "setting nothing succeeds and sets nothing", run: sattNothing},
		{Code: "SATT17", minors: v12, RFC: "RFC 8881 §5.8.1", Says: "mode_set_masked, where supported, changes the bits of its mask only", run: sattMasked},
		{Code: "ACL1", minors: all, RFC: "RFC 8881 §6.2.1", Says: "where ACLs are supported, a file's ACL can be read and set, and comes back", run: aclRoundTrip},
		{Code: "ACL2", minors: all, RFC: "RFC 8881 §6.4.1", Says: "setting mode is seen in the ACL, setting the ACL in mode", run: aclMode},
	}
}

func (e *Env) setattr(c *client.Client, fh client.FH, want []nfs4.Status, a *client.Attrs) *client.SetAttrRes {
	p := e.Want(c, want, client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, a))
	return get[client.SetAttrRes](e, p)
}

func sattMode(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	for _, m := range []uint32{0, 0o777, 0o640, 0o400} {
		r := e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(m))
		if r.Set != nfs4.BitmapOf(nfs4.AttrMode) {
			e.Errorf("attrsset %v", r.Set)
		}
		if got := e.Attrs(c, fh, nfs4.AttrMode).Mode(); got != m {
			e.Errorf("mode %o, want %o", got, m)
		}
	}
}

func sattSize(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(4)))
	if got := e.Contents(c, f.FH); got != "0123" {
		e.Errorf("cut to 4: %q", got)
	}
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(8)))
	if got := e.Contents(c, f.FH); got != "0123\x00\x00\x00\x00" {
		e.Errorf("extended to 8: %q", got)
	}
	e.OK(c, client.PutFH(f.FH), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetSize(0)))
	if got := e.Attrs(c, f.FH, nfs4.AttrSize).Size(); got != 0 {
		e.Errorf("cut to 0 without an open: %d", got)
	}
}

func sattOwner(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	e.NeedAttr(fh, nfs4.AttrOwner, nfs4.AttrOwnerGroup)
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetOwner("1234").SetGroup("4321"))
	a := e.Attrs(c, fh, nfs4.AttrOwner, nfs4.AttrOwnerGroup)
	if !strings.HasPrefix(a.Owner, "1234") || !strings.HasPrefix(a.Group, "4321") {
		e.Errorf("%v", a)
	}
}

func sattTimes(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	at, mt := nfs4.Time{Sec: 1_111_111_111, Nsec: 111_000_000}, nfs4.Time{Sec: 999_999_999, Nsec: 999_000_000}
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetAccessTime(&at).SetModifyTime(&mt))
	a := e.Attrs(c, fh, nfs4.AttrTimeAccess, nfs4.AttrTimeModify)
	if a.Time(nfs4.AttrTimeAccess) != at || a.Time(nfs4.AttrTimeModify) != mt {
		e.Errorf("%v", a)
	}
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetAccessTime(nil).SetModifyTime(nil))
	b := e.Attrs(c, fh, nfs4.AttrTimeAccess, nfs4.AttrTimeModify)
	if !later(at, b.Time(nfs4.AttrTimeAccess)) || !later(mt, b.Time(nfs4.AttrTimeModify)) {
		e.Errorf("%v", b)
	}
}

func sattReadOnly(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	for _, n := range []nfs4.Attr{nfs4.AttrType, nfs4.AttrChange, nfs4.AttrLinkSupport, nfs4.AttrLeaseTime, nfs4.AttrFileID, nfs4.AttrNumLinks, nfs4.AttrSpaceUsed} {
		r := e.setattr(c, fh, is(nfs4.ErrInval), new(client.Attrs).SetNum(n, 1))
		if !r.Set.Empty() {
			e.Errorf("%v: attrsset %v", n, r.Set)
		}
	}
}

func sattUnsupported(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	tried := 0
	for _, n := range []nfs4.Attr{nfs4.AttrArchive, nfs4.AttrHidden, nfs4.AttrSystem} {
		if e.Supported(fh, n) {
			continue
		}
		tried++
		e.setattr(c, fh, is(nfs4.ErrAttrNotSupp), new(client.Attrs).SetNum(n, 1))
	}
	if tried == 0 {
		e.Skipf("the server supports archive, hidden and system")
	}
}

func sattSizeOther(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		if typ == nfs4.TypeReg {
			continue
		}
		e.setattr(c, fh, is(nfs4.ErrIsDir, nfs4.ErrInval, nfs4.ErrSymlink, nfs4.ErrWrongType, nfs4.ErrBadStateid), new(client.Attrs).SetSize(0))
	}
}

func sattNsec(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	e.setattr(c, fh, is(nfs4.ErrInval), new(client.Attrs).SetModifyTime(&nfs4.Time{Sec: 1, Nsec: 1_000_000_000}))
	e.setattr(c, fh, is(nfs4.ErrInval), new(client.Attrs).SetAccessTime(&nfs4.Time{Sec: 1, Nsec: 0xffffffff}))
}

func sattBadStateid(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "xyz")
	bad := f.Stateid
	bad.Other[5] ^= 0xff
	e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrStaleStateid, nfs4.ErrExpired), client.PutFH(f.FH), client.SetAttr(bad, new(client.Attrs).SetSize(0)))
	if got := e.Attrs(c, f.FH, nfs4.AttrSize).Size(); got != 3 {
		e.Errorf("size %d", got)
	}
}

func sattReadOpen(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "xyz")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})
	e.Must(err)
	e.Want(c, is(nfs4.ErrOpenMode), client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(0)))
}

func sattOtherUser(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "xyz")
	u := e.User(4711, 4711)
	e.setattr(u, fh, is(nfs4.ErrPerm, nfs4.ErrAccess), new(client.Attrs).SetMode(0o777))
	e.setattr(u, fh, is(nfs4.ErrPerm, nfs4.ErrAccess), new(client.Attrs).SetOwner("4711"))
	e.setattr(u, fh, is(nfs4.ErrPerm, nfs4.ErrAccess), new(client.Attrs).SetSize(0))
	e.setattr(u, fh, is(nfs4.ErrPerm, nfs4.ErrAccess), new(client.Attrs).SetModifyTime(&nfs4.Time{Sec: 1}))
	if a := e.Attrs(c, fh, nfs4.AttrMode, nfs4.AttrSize); a.Mode() != 0o644 || a.Size() != 3 {
		e.Errorf("%v", a)
	}
}

func sattBadOwner(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	const nobody = "no-such-user@no.such.domain.example"
	p := e.Do(c, client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetOwner(nobody)))
	if p.Status != nfs4.OK {
		e.Expect(p, is(nfs4.ErrBadOwner))
	} else if got := e.Attrs(c, fh, nfs4.AttrOwner).Owner; got != nobody {
		// To accept it "is promising to return that same string".
		e.Errorf("owner %q was accepted, and is %q", nobody, got)
	}
	e.setattr(c, fh, is(nfs4.ErrBadOwner, nfs4.ErrInval), new(client.Attrs).SetGroup(""))
}

func sattSpecial(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		if typ == nfs4.TypeLnk {
			continue // the mode of a symbolic link means nothing
		}
		e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o610))
		if got := e.Attrs(c, fh, nfs4.AttrMode).Mode(); got != 0o610 {
			e.Errorf("%v: mode %o", typ, got)
		}
	}
}

func sattBits(e *Env) {
	c := e.Client()
	dir := e.Mkdir(c, e.Dir(), "d")
	for _, m := range []uint32{0o4755, 0o2755, 0o1777, 0o7777} {
		e.setattr(c, dir, is(nfs4.OK), new(client.Attrs).SetMode(m))
		if got := e.Attrs(c, dir, nfs4.AttrMode).Mode(); got != m {
			e.Errorf("mode %o, want %o", got, m)
		}
	}
}

func sattSeveral(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "0123456789")
	mt := nfs4.Time{Sec: 7}
	r := e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o604).SetSize(5).SetOwner("77").SetModifyTime(&mt))
	if r.Set.Count() != 4 {
		e.Errorf("attrsset %v", r.Set)
	}
	a := e.Attrs(c, fh, nfs4.AttrMode, nfs4.AttrSize, nfs4.AttrOwner, nfs4.AttrTimeModify)
	if a.Mode() != 0o604 || a.Size() != 5 || !strings.HasPrefix(a.Owner, "77") || a.Time(nfs4.AttrTimeModify) != mt {
		e.Errorf("%v", a)
	}
}

func sattNothing(e *Env) {
	r := e.setattr(e.Client(), e.Closed(e.Client(), e.Dir(), "f", ""), is(nfs4.OK), new(client.Attrs))
	if !r.Set.Empty() {
		e.Errorf("attrsset %v", r.Set)
	}
}

func sattMasked(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	e.NeedAttr(fh, nfs4.AttrModeSetMasked)
	a := new(client.Attrs).SetNum(nfs4.AttrModeSetMasked, 0o111)
	a.Mask2 = 0o711
	e.setattr(c, fh, is(nfs4.OK), a)
	if got := e.Attrs(c, fh, nfs4.AttrMode).Mode(); got != 0o155 {
		e.Errorf("mode %o, want 155", got)
	}
}

func aclRoundTrip(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	e.NeedAttr(fh, nfs4.AttrACL, nfs4.AttrACLSupport)
	first := e.Attrs(c, fh, nfs4.AttrACL, nfs4.AttrACLSupport)
	if len(first.ACL) == 0 || first.Num(nfs4.AttrACLSupport)&nfs4.ACLSupportAllow == 0 {
		e.Errorf("%v", first)
	}
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetACL(first.ACL))
	if second := e.Attrs(c, fh, nfs4.AttrACL); second.String() != new(client.Attrs).SetACL(first.ACL).String() {
		e.Errorf("%+v came back as %+v", first.ACL, second.ACL)
	}
}

func aclMode(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	e.NeedAttr(fh, nfs4.AttrACL, nfs4.AttrMode)
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o600))
	tight := e.Attrs(c, fh, nfs4.AttrACL)
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o666))
	if wide := e.Attrs(c, fh, nfs4.AttrACL); wide.String() == tight.String() {
		e.Errorf("the ACL of mode 0600 and of 0666 is %v", wide)
	}
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetACL(tight.ACL))
	if got := e.Attrs(c, fh, nfs4.AttrMode).Mode(); got != 0o600 {
		e.Errorf("mode %o after the ACL of 0600", got)
	}
}

func verifyTests() []Test {
	return []Test{
		{Code: "VFY1", minors: all, RFC: "RFC 8881 §18.31", Says: "VERIFY of equal attributes goes on, of others is NFS4ERR_NOT_SAME", run: vfySame},
		{Code: "VFY2", minors: all, RFC: "RFC 8881 §18.15", Says: "NVERIFY of equal attributes is NFS4ERR_SAME, of others goes on", run: vfyNot},
		{Code: "VFY3", minors: all, RFC: "RFC 8881 §18.31.3", Says: "rdattr_error and write-only attributes are NFS4ERR_INVAL", run: vfyInval},
		{Code: "VFY4", minors: all, RFC: "RFC 8881 §18.31.3", Says: "an attribute that is not supported is NFS4ERR_ATTRNOTSUPP", run: vfyUnsupported},
		{Code: "VFY5", minors: all, RFC: "RFC 8881 §18.31.3", Says: "all attributes that GETATTR gave verify", run: vfyAll},
	}
}

func vfySame(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "12345")
	e.OK(c, client.PutFH(fh), client.Verify(new(client.Attrs).SetSize(5)), client.GetFH())
	e.Want(c, is(nfs4.ErrNotSame), client.PutFH(fh), client.Verify(new(client.Attrs).SetSize(6)))
}

func vfyNot(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "12345")
	e.Want(c, is(nfs4.ErrSame), client.PutFH(fh), client.NVerify(new(client.Attrs).SetSize(5)))
	e.OK(c, client.PutFH(fh), client.NVerify(new(client.Attrs).SetSize(6)), client.GetFH())
}

func vfyInval(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	for _, a := range []*client.Attrs{new(client.Attrs).SetNum(nfs4.AttrRDAttrError, 0), new(client.Attrs).SetModifyTime(nil)} {
		e.Want(c, is(nfs4.ErrInval), client.PutFH(fh), client.Verify(a))
		e.Want(c, is(nfs4.ErrInval), client.PutFH(fh), client.NVerify(a))
	}
}

func vfyUnsupported(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	if e.Supported(fh, nfs4.AttrArchive) {
		e.Skipf("the server supports archive")
	}
	a := new(client.Attrs).SetNum(nfs4.AttrArchive, 0)
	e.Want(c, is(nfs4.ErrAttrNotSupp), client.PutFH(fh), client.Verify(a))
	e.Want(c, is(nfs4.ErrAttrNotSupp), client.PutFH(fh), client.NVerify(a))
}

func vfyAll(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "12345")
	a := e.Attrs(c, fh, nfs4.AttrType, nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrFSID, nfs4.AttrFileID, nfs4.AttrMode, nfs4.AttrNumLinks,
		nfs4.AttrOwner, nfs4.AttrOwnerGroup, nfs4.AttrTimeModify, nfs4.AttrTimeMetadata, nfs4.AttrLeaseTime)
	e.OK(c, client.PutFH(fh), client.Verify(a))
	e.Want(c, is(nfs4.ErrSame), client.PutFH(fh), client.NVerify(a))
}
