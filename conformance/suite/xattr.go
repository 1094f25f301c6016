package suite

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func xattrTests() []Test {
	return []Test{
		{Code: "XATTR1", minors: v2, RFC: "RFC 8276 §8.4", Says: "an extended attribute is set, read, listed and removed", run: xattrRoundTrip},
		{Code: "XATTR2", minors: v2, RFC: "RFC 8276 §8.4.2", Says: "CREATE of one that exists is NFS4ERR_EXIST, REPLACE of one that does not NFS4ERR_NOXATTR", run: xattrOptions},
		{Code: "XATTR3", minors: v2, RFC: "RFC 8276 §8.4", Says: "one that does not exist is NFS4ERR_NOXATTR", run: xattrMissing},
		{Code: "XATTR4", minors: v2, RFC: "RFC 8276 §8.4.3", Says: "all are listed once, however small the replies", run: xattrListAll},
		{Code: "XATTR5", minors: v2, RFC: "RFC 8276 §8.4.3", Says: "maxcount in which no name fits is NFS4ERR_TOOSMALL", run: xattrTooSmall},
		{Code: "XATTR6", minors: v2, RFC: "RFC 8276 §8.4", Says: "empty names are refused, long ones too", run: xattrNames},
		{Code: "XATTR7", minors: v2, RFC: "RFC 8276 §8.4", Says: "setting and removing raise change, and change_info says so", run: xattrChange},
		{Code: "XATTR8", minors: v2, RFC: "RFC 8276 §8.4", Says: "directories have extended attributes too", run: xattrDir},
		{Code: "XATTR9", minors: v2, RFC: "RFC 8276 §8.4", Says: "values may be empty and binary; one too large is refused", run: xattrValues},
		{Code: "XATTR10", minors: v2, RFC: "RFC 8276 §8.5", Says: "without write permission setting is NFS4ERR_ACCESS or NFS4ERR_PERM", run: xattrAccess},
		{Code: "XATTR11", minors: v2, RFC: "RFC 8276 §8.2", Says: "ACCESS tells of extended attributes", run: xattrAccessBits},
		{Code: "XATTR12", minors: v2, RFC: "RFC 8276 §8.4.2", Says: "SETXATTR with an option that is not defined is NFS4ERR_INVAL, or a decoding error", run: xattrUndefined},
	}
}

// xattrFile makes a file on which extended attributes are supported.
func (e *Env) xattrFile() (c *client.Client, fh client.FH) {
	c = e.Client()
	fh = e.Closed(c, e.Dir(), "f", "")
	e.NeedAttr(fh, nfs4.AttrXattrSupport)
	if e.Attrs(c, fh, nfs4.AttrXattrSupport).Num(nfs4.AttrXattrSupport) == 0 {
		e.Unsupportedf("xattr_support is false here")
	}
	return c, fh
}

func (e *Env) setXattr(c *client.Client, fh client.FH, name, value string) {
	e.OK(c, client.PutFH(fh), client.SetXattr(nfs4.SetXattrEither, name, []byte(value)))
}

func xattrRoundTrip(e *Env) {
	c, fh := e.xattrFile()
	e.setXattr(c, fh, "comment", "value")
	e.setXattr(c, fh, "comment", "other value")
	p := e.OK(c, client.PutFH(fh), client.GetXattr("comment"))
	if got := get[client.GetXattrRes](e, p).Value; string(got) != "other value" {
		e.Errorf("%v", got)
	}
	p = e.OK(c, client.PutFH(fh), client.ListXattrs(0, 4096))
	if l := get[client.ListXattrsRes](e, p); !slices.Contains(l.Names, "comment") || !l.EOF {
		e.Errorf("%+v", l)
	}
	e.OK(c, client.PutFH(fh), client.RemoveXattr("comment"))
	e.Want(c, is(nfs4.ErrNoXattr), client.PutFH(fh), client.GetXattr("comment"))
}

func xattrOptions(e *Env) {
	c, fh := e.xattrFile()
	e.Want(c, is(nfs4.ErrNoXattr), client.PutFH(fh), client.SetXattr(nfs4.SetXattrReplace, "x", []byte("1")))
	e.OK(c, client.PutFH(fh), client.SetXattr(nfs4.SetXattrCreate, "x", []byte("2")))
	e.Want(c, is(nfs4.ErrExist), client.PutFH(fh), client.SetXattr(nfs4.SetXattrCreate, "x", []byte("3")))
	e.OK(c, client.PutFH(fh), client.SetXattr(nfs4.SetXattrReplace, "x", []byte("4")))
	p := e.OK(c, client.PutFH(fh), client.GetXattr("x"))
	if got := get[client.GetXattrRes](e, p).Value; string(got) != "4" {
		e.Errorf("%v", got)
	}
}

func xattrUndefined(e *Env) {
	c, fh := e.xattrFile()
	q, err := c.Compound(client.PutFH(fh), client.SetXattr(9, "x", []byte("5")))
	if err != nil || q.Status != nfs4.ErrInval {
		e.badXDR(q, err)
	}
}

func xattrMissing(e *Env) {
	c, fh := e.xattrFile()
	e.Want(c, is(nfs4.ErrNoXattr), client.PutFH(fh), client.GetXattr("missing"))
	e.Want(c, is(nfs4.ErrNoXattr), client.PutFH(fh), client.RemoveXattr("missing"))
}

func xattrListAll(e *Env) {
	c, fh := e.xattrFile()
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("attribute-%02d", i)
		e.setXattr(c, fh, name, "v")
		want = append(want, name)
	}
	var got []string
	cookie := uint64(0)
	for range 100 {
		l := get[client.ListXattrsRes](e, e.OK(c, client.PutFH(fh), client.ListXattrs(cookie, 120)))
		got = append(got, l.Names...)
		if l.EOF {
			break
		}
		if len(l.Names) == 0 {
			e.Fatalf("no name and no end: %+v", l)
		}
		cookie = l.Cookie
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		e.Errorf("%v", got)
	}
}

func xattrTooSmall(e *Env) {
	c, fh := e.xattrFile()
	e.setXattr(c, fh, strings.Repeat("long", 20), "v")
	e.Want(c, is(nfs4.ErrTooSmall), client.PutFH(fh), client.ListXattrs(0, 20))
}

func xattrNames(e *Env) {
	c, fh := e.xattrFile()
	e.Want(c, is(nfs4.ErrInval), client.PutFH(fh), client.SetXattr(0, "", []byte("x")))
	e.Want(c, is(nfs4.ErrNameTooLong, nfs4.ErrInval), client.PutFH(fh), client.SetXattr(0, strings.Repeat("n", 1000), []byte("x")))
	e.Want(c, is(nfs4.ErrNameTooLong, nfs4.ErrNoXattr, nfs4.ErrInval), client.PutFH(fh), client.GetXattr(strings.Repeat("n", 1000)))
}

func xattrChange(e *Env) {
	c, fh := e.xattrFile()
	before := e.Attrs(c, fh, nfs4.AttrChange).Change()
	p := e.OK(c, client.PutFH(fh), client.SetXattr(0, "x", []byte("1")))
	now := e.Attrs(c, fh, nfs4.AttrChange).Change()
	e.rose("SETXATTR", get[client.SetXattrRes](e, p).Change, before, now)
	p = e.OK(c, client.PutFH(fh), client.RemoveXattr("x"))
	e.rose("REMOVEXATTR", get[client.RemoveXattrRes](e, p).Change, now, e.Attrs(c, fh, nfs4.AttrChange).Change())
}

func xattrDir(e *Env) {
	c, _ := e.xattrFile()
	dir := e.Mkdir(c, e.Dir(), "d")
	e.setXattr(c, dir, "x", "of a directory")
	p := e.OK(c, client.PutFH(dir), client.GetXattr("x"))
	if got := get[client.GetXattrRes](e, p).Value; string(got) != "of a directory" {
		e.Errorf("%v", got)
	}
}

func xattrValues(e *Env) {
	c, fh := e.xattrFile()
	for _, v := range []string{"", "\x00\xff\x00", strings.Repeat("v", 1000)} {
		e.setXattr(c, fh, "x", v)
		p := e.OK(c, client.PutFH(fh), client.GetXattr("x"))
		if got := get[client.GetXattrRes](e, p).Value; string(got) != v {
			e.Errorf("%q comes back as %v", v, got)
		}
	}
	e.Want(c, is(nfs4.ErrXattr2Big, nfs4.ErrNoSpc, nfs4.ErrInval, nfs4.ErrDQuot), client.PutFH(fh), client.SetXattr(0, "x", make([]byte, 200_000)))
}

func xattrAccess(e *Env) {
	c, fh := e.xattrFile()
	e.setXattr(c, fh, "x", "v")
	u := e.User(4711, 4711)
	e.Want(u, is(nfs4.ErrAccess, nfs4.ErrPerm), client.PutFH(fh), client.SetXattr(0, "x", []byte("w")))
	e.Want(u, is(nfs4.ErrAccess, nfs4.ErrPerm), client.PutFH(fh), client.RemoveXattr("x"))
	e.OK(u, client.PutFH(fh), client.GetXattr("x"))
}

func xattrAccessBits(e *Env) {
	c, fh := e.xattrFile()
	const bits = nfs4.AccessXARead | nfs4.AccessXAWrite | nfs4.AccessXAList
	if r := e.access(c, fh, bits); r.Supported != bits || r.Access != bits {
		e.Errorf("root: %+v", r)
	}
	if r := e.access(e.User(4711, 4711), fh, bits); r.Access&nfs4.AccessXAWrite != 0 {
		e.Errorf("another user: %+v", r)
	}
}

func pnfsTests() []Test {
	return []Test{
		{Code: "PNFS1", minors: v12, RFC: "RFC 8881 §18.43", Says: "LAYOUTGET of a type not known is refused", run: pnfsLayoutGet},
		{Code: "PNFS2", minors: v12, RFC: "RFC 8881 §18.40", Says: "GETDEVICEINFO of a device that does not exist is refused", run: pnfsDeviceInfo},
		{Code: "PNFS3", minors: v12, RFC: "RFC 8881 §18.44", Says: "LAYOUTRETURN of all is harmless, or not supported", run: pnfsReturnAll},
		{Code: "DELEG1", minors: all, RFC: "RFC 8881 §18.6", Says: "DELEGRETURN of a stateid that is no delegation is refused", run: delegReturnBad},
		{Code: "DELEG2", minors: v12, RFC: "RFC 8881 §18.39", Says: "GET_DIR_DELEGATION grants, says unavailable, or is not supported", run: delegDir},
		{Code: "DELEG3", minors: v12, RFC: "RFC 8881 §18.49", Says: "WANT_DELEGATION is answered or not supported", run: delegWant},
		{Code: "DELEG4", minors: all, RFC: "RFC 8881 §18.5", Says: "DELEGPURGE is answered or not supported", run: delegPurge},
	}
}

func pnfsLayoutGet(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	e.Want(c, is(nfs4.ErrNotSupp, nfs4.ErrUnknownLayoutType, nfs4.ErrLayoutUnavailable, nfs4.ErrInval), client.PutFH(f.FH), client.LayoutGet(client.LayoutGetArgs{
		Type: 4711, IOMode: nfs4.LayoutIOModeRead, Length: nfs4.Uint64Max, MinLength: 1, Stateid: f.Stateid, MaxCount: 4096,
	}))
}

func pnfsDeviceInfo(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrNotSupp, nfs4.ErrNoEnt, nfs4.ErrInval, nfs4.ErrUnknownLayoutType), client.GetDeviceInfo(client.DeviceID{9, 9, 9}, nfs4.LayoutNFSv41Files, 4096))
}

func pnfsReturnAll(e *Env) {
	e.Want(e.Client(), is(nfs4.OK, nfs4.ErrNotSupp, nfs4.ErrUnknownLayoutType, nfs4.ErrLayoutUnavailable, nfs4.ErrNoFileHandle, nfs4.ErrInval), client.PutFH(e.Dir()), client.LayoutReturn(client.LayoutReturnArgs{
		Type: nfs4.LayoutNFSv41Files, IOMode: nfs4.LayoutIOModeAny, Return: nfs4.LayoutReturnAll,
	}))
}

func delegReturnBad(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	want := is(nfs4.ErrBadStateid, nfs4.ErrStaleStateid, nfs4.ErrNotSupp)
	if e.Minor == 0 { // which may not know it from one whose lease was over
		want = append(want, nfs4.ErrExpired)
	}
	e.Want(c, want, client.PutFH(f.FH), client.DelegReturn(neverGiven(f.Stateid)))
	e.Must(f.Close())
}

func delegDir(e *Env) {
	e.Want(e.Client(), is(nfs4.OK, nfs4.ErrDirDelegUnavail, nfs4.ErrNotSupp), client.PutFH(e.Dir()), client.GetDirDelegation(nfs4.Bitmap{}))
}

func delegWant(e *Env) {
	fh := e.Closed(e.Client(), e.Dir(), "f", "")
	e.Want(e.Client(), is(nfs4.OK, nfs4.ErrNotSupp), client.PutFH(fh), client.WantDelegation(nfs4.WantReadDeleg))
}

func delegPurge(e *Env) {
	c := e.Client()
	e.Want(c, is(nfs4.OK, nfs4.ErrNotSupp), client.DelegPurge(c.ClientID))
}
