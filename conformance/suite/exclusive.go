package suite

import (
	"bytes"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func exclusiveTests() []Test {
	const rfc = "RFC 7530 §16.16.5, §16.16.6, RFC 8881 §18.16.3"
	const rfc41 = "RFC 8881 §18.16.3"
	return []Test{
		{Code: "EXCL1", minors: all, RFC: rfc, Says: "an exclusive create sent again with its verifier opens the same file and makes no other", run: exclSameFile},
		{Code: "EXCL2", minors: all, RFC: rfc, Says: "an exclusive create sent again after the first open was closed opens the same file", run: exclAfterClose},
		{Code: "EXCL3", minors: all, RFC: rfc, Says: "an exclusive create over a file that was made otherwise is NFS4ERR_EXIST, also with a verifier of zeros", run: exclOverOther},
		{Code: "EXCL4", minors: all, RFC: rfc, Says: "after the file was removed the same verifier creates a new one", run: exclAfterRemove},
		{Code: "EXCL5", minors: all, RFC: rfc, Says: "each bit of the verifier counts", run: exclEachBit},
		{Code: "EXCL6", minors: all, RFC: rfc, Says: "what was made exclusively can be opened without create, and GUARDED over it is NFS4ERR_EXIST", run: exclThenOthers},
		{Code: "EXCL7", minors: all, RFC: rfc, Says: "an exclusive create over a directory or symbolic link is NFS4ERR_EXIST", run: exclOverTypes},
		{Code: "EXCL8", minors: all, RFC: rfc, Says: "the attributes that attrset tells beside those asked for can be set afterwards by SETATTR", run: exclAttrSet},
		{Code: "EXCL9", minors: v12, RFC: rfc41, Says: "EXCLUSIVE4 on a persistent session is NFS4ERR_INVAL", run: exclPersistent},
		{Code: "EXCL10", minors: v12, RFC: rfc41, Says: "EXCLUSIVE4_1 with an attribute outside suppattr_exclcreat is NFS4ERR_INVAL and makes nothing", run: exclOutside},
		{Code: "EXCL11", minors: all, RFC: rfc, Says: "two names made with one verifier are two files", run: exclTwoNames},
		{Code: "EXCL12", minors: all, RFC: rfc, Flags: extra, Says: "an exclusive create sent again after SETATTR set other attributes still opens, or is NFS4ERR_EXIST, and changes nothing", run: exclAfterSetAttr},
	}
}

// exclusive is the exclusive create of the minor version: EXCLUSIVE4, or
// EXCLUSIVE4_1 with a mode.
func (e *Env) exclusive(name string, v nfs4.Verifier) client.OpenArgs {
	if e.Minor == 0 {
		return client.OpenArgs{Name: name, Mode: nfs4.CreateExclusive, Verifier: v}
	}
	return client.OpenArgs{Name: name, Mode: nfs4.CreateExclusive41, Verifier: v, Attrs: new(client.Attrs).SetMode(0o600)}
}

func exclSameFile(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := e.exclusive("f", client.NewVerifier())
	f, err := e.create(c, dir, a)
	e.Must(err)
	g, err := e.create(c, dir, a)
	e.Must(err)
	if !bytes.Equal(f.FH, g.FH) {
		e.Errorf("%v, then %v", f.FH, g.FH)
	}
	if names := e.Names(c, dir); len(names) != 1 {
		e.Errorf("the directory holds %v", names)
	}
}

func exclAfterClose(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := e.exclusive("f", client.NewVerifier())
	f, err := e.create(c, dir, a)
	e.Must(err)
	e.Must(f.Close())
	g, err := e.create(c, dir, a)
	e.Must(err)
	if !bytes.Equal(f.FH, g.FH) {
		e.Errorf("%v, then %v", f.FH, g.FH)
	}
}

func exclOverOther(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "contents")
	for _, v := range []nfs4.Verifier{{}, client.NewVerifier(), {255, 255, 255, 255, 255, 255, 255, 255}} {
		_, err := e.create(c, dir, e.exclusive("f", v))
		e.Err(err, nfs4.ErrExist)
	}
	if got := e.Contents(c, fh); got != "contents" {
		e.Errorf("it reads %q", got)
	}
}

func exclAfterRemove(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := e.exclusive("f", client.NewVerifier())
	f, err := e.create(c, dir, a)
	e.Must(err)
	e.Must(f.Close())
	e.OK(c, client.PutFH(dir), client.Remove("f"))
	g, err := e.create(c, dir, a)
	e.Must(err)
	if bytes.Equal(f.FH, g.FH) {
		e.Errorf("the new file has the filehandle of the removed one")
	}
}

func exclEachBit(e *Env) {
	c := e.Client()
	dir := e.Dir()
	v := client.NewVerifier()
	_, err := e.create(c, dir, e.exclusive("f", v))
	e.Must(err)
	for i := range v {
		for _, bit := range []byte{0x01, 0x80} {
			w := v
			w[i] ^= bit
			_, err := e.create(c, dir, e.exclusive("f", w))
			e.Err(err, nfs4.ErrExist)
		}
	}
}

func exclThenOthers(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f, err := e.create(c, dir, e.exclusive("f", client.NewVerifier()))
	e.Must(err)
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetMode(0o644).SetAccessTime(nil).SetModifyTime(nil)))
	_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Must(err)
	_, err = e.create(c, dir, client.OpenArgs{Name: "f", Mode: nfs4.CreateGuarded})
	e.Err(err, nfs4.ErrExist)
}

func exclOverTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Mkdir(c, dir, "d")
	e.symlink(c, dir, "s", "nowhere")
	for _, name := range []string{"d", "s"} {
		_, err := e.create(c, dir, e.exclusive(name, client.NewVerifier()))
		e.Err(err, nfs4.ErrExist, nfs4.ErrIsDir, nfs4.ErrSymlink)
	}
	e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup("nowhere"))
}

func exclAttrSet(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := e.exclusive("f", client.NewVerifier())
	f, err := e.create(c, dir, a)
	e.Must(err)
	set := f.Res.Set
	if e.Minor > 0 && !set.Has(nfs4.AttrMode) {
		e.Errorf("mode was given, attrset is %v", set)
	}
	fix := new(client.Attrs)
	if set.Has(nfs4.AttrTimeAccess) || set.Has(nfs4.AttrTimeAccessSet) {
		fix.SetAccessTime(nil)
	}
	if set.Has(nfs4.AttrTimeModify) || set.Has(nfs4.AttrTimeModifySet) {
		fix.SetModifyTime(nil)
	}
	fix.SetMode(0o640).SetSize(0)
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, fix))
	if got := e.Attrs(c, f.FH, nfs4.AttrMode, nfs4.AttrSize); got.Mode() != 0o640 || got.Size() != 0 {
		e.Errorf("%v", got)
	}
}

func exclPersistent(e *Env) {
	c := e.NewClient(func(cfg *client.Config) { cfg.SessionFlags = nfs4.CreateSessionPersist })
	if c.Session.Granted.Flags&nfs4.CreateSessionPersist == 0 {
		e.Skipf("the server grants no persistent session")
	}
	dir := e.Dir()
	_, err := e.create(c, dir, client.OpenArgs{Name: "f", Mode: nfs4.CreateExclusive, Verifier: client.NewVerifier()})
	e.Err(err, nfs4.ErrInval)
	e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup("f"))
}

func exclOutside(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := e.Attrs(c, dir, nfs4.AttrSupported, nfs4.AttrSuppAttrExclCreat)
	if !a.Supported.Has(nfs4.AttrTimeAccessSet) || a.ExclCreat.Has(nfs4.AttrTimeAccessSet) {
		e.Skipf("time_access_set is not supported, or may be set with EXCLUSIVE4_1")
	}
	_, err := e.create(c, dir, client.OpenArgs{
		Name: "f", Mode: nfs4.CreateExclusive41, Verifier: client.NewVerifier(), Attrs: new(client.Attrs).SetMode(0o600).SetAccessTime(&nfs4.Time{Sec: 5}),
	})
	e.Err(err, nfs4.ErrInval)
	e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup("f"))
}

func exclTwoNames(e *Env) {
	c := e.Client()
	dir := e.Dir()
	v := client.NewVerifier()
	f, err := e.create(c, dir, e.exclusive("f", v))
	e.Must(err)
	g, err := e.create(c, dir, e.exclusive("g", v))
	e.Must(err)
	if bytes.Equal(f.FH, g.FH) {
		e.Errorf("both are %v", f.FH)
	}
}

func exclAfterSetAttr(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := e.exclusive("f", client.NewVerifier())
	f, err := e.create(c, dir, a)
	e.Must(err)
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetMode(0o640)), client.Write(f.Stateid, 0, nfs4.FileSync, []byte("data")))
	before := e.Attrs(c, f.FH, nfs4.AttrMode, nfs4.AttrSize, nfs4.AttrFileID).String()
	_, err = e.create(c, dir, a)
	e.Err(err, nfs4.OK, nfs4.ErrExist)
	if after := e.Attrs(c, f.FH, nfs4.AttrMode, nfs4.AttrSize, nfs4.AttrFileID).String(); after != before {
		e.Errorf("%s became %s", before, after)
	}
}
