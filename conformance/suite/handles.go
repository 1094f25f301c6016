package suite

import (
	"bytes"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

func handleTests() []Test {
	return []Test{
		{Code: "FH1", minors: all, RFC: "RFC 8881 §18.21, §18.8", Says: "PUTROOTFH and GETFH give the same filehandle each time", run: fhRoot},
		{Code: "FH2", minors: all, RFC: "RFC 8881 §18.20", Says: "PUTPUBFH sets a filehandle, normally the root's", run: fhPub},
		{Code: "FH3", minors: all, RFC: "RFC 8881 §18.19", Says: "a filehandle that the server did not make is NFS4ERR_BADHANDLE or NFS4ERR_STALE", run: fhBad},
		{Code: "FH4", minors: all, RFC: "RFC 8881 §18.19", Says: "a filehandle with any bit changed is refused, or no other file's", run: fhForged},
		{Code: "FH5", minors: all, RFC: "RFC 8881 §3.3.4", Says: "a filehandle above 128 bytes is a decoding error", run: fhLong},
		{Code: "FH6", minors: all, RFC: "RFC 8881 §18.27, §18.28", Says: "SAVEFH and RESTOREFH keep a filehandle", run: fhSave},
		{Code: "FH7", minors: all, RFC: "RFC 8881 §18.27", Says: "RESTOREFH without a saved filehandle fails", run: fhRestoreNone},
		{Code: "FH8", minors: all, RFC: "RFC 8881 §4.2.2", Says: "a persistent filehandle survives a rename of its file", run: fhRename},
		{Code: "FH9", minors: all, RFC: "RFC 7530 §4.2.2, RFC 8881 §4.2.2, §18.25.4", Says: "the filehandle of a removed file is NFS4ERR_STALE or still that file's, and never that of a new file of the same name", run: fhStale},
		{Code: "FH10", minors: all, RFC: "RFC 8881 §4.2", Says: "two filehandles that are equal name the same file: hard links share fileid", run: fhLinks},
		{Code: "FH11", minors: all, RFC: "RFC 8881 §18.19", Says: "the saved filehandle is gone with the compound", run: fhSavedGone},
		{Code: "FH12", minors: all, RFC: "RFC 8881 §4", Says: "a filehandle got by one client is good for another", run: fhShared},
	}
}

func fhRoot(e *Env) {
	p := e.OK(e.Client(), client.PutRootFH(), client.GetFH())
	q := e.OK(e.Client(), client.PutRootFH(), client.GetFH())
	a, b := get[client.GetFHRes](e, p).FH, get[client.GetFHRes](e, q).FH
	if !bytes.Equal(a, b) || len(a) == 0 || len(a) > nfs4.FHSize {
		e.Errorf("%v and %v", a, b)
	}
}

func fhPub(e *Env) {
	e.OK(e.Client(), client.PutPubFH(), client.GetFH(), client.GetAttr(nfs4.AttrType))
}

func fhBad(e *Env) {
	for _, fh := range []client.FH{{}, {1}, client.FH("not a filehandle"), bytes.Repeat([]byte{0xff}, nfs4.FHSize), make(client.FH, 64)} {
		want := is(nfs4.ErrBadHandle, nfs4.ErrStale)
		if len(fh) == 0 {
			want = append(want, nfs4.ErrNoFileHandle) // none is set by it
		}
		e.Expect(e.Do(e.Client(), client.PutFH(fh), client.GetAttr(nfs4.AttrType)), want)
	}
}

func fhForged(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	id := e.Attrs(c, fh, nfs4.AttrFileID).Num(nfs4.AttrFileID)
	for i := range fh {
		forged := bytes.Clone(fh)
		forged[i] ^= 0x10
		p := e.Do(c, client.PutFH(forged), client.GetAttr(nfs4.AttrFileID))
		e.Expect(p, is(nfs4.OK, nfs4.ErrBadHandle, nfs4.ErrStale))
		if p.Status == nfs4.OK && get[client.GetAttrRes](e, p).Num(nfs4.AttrFileID) != id {
			e.Errorf("byte %d changed: the filehandle names another file", i)
		}
	}
	for _, n := range []int{len(fh) - 1, len(fh) / 2, 1} {
		e.Expect(e.Do(c, client.PutFH(fh[:n]), client.GetAttr(nfs4.AttrFileID)), is(nfs4.ErrBadHandle, nfs4.ErrStale))
	}
}

func fhLong(e *Env) {
	e.badXDR(e.Client().Compound(client.PutFH(make(client.FH, nfs4.FHSize+1))))
}

func fhSave(e *Env) {
	c := e.Client()
	dir := e.Dir()
	p := e.OK(c, client.PutFH(dir), client.SaveFH(), client.PutRootFH(), client.RestoreFH(), client.GetFH())
	if got := get[client.GetFHRes](e, p).FH; !bytes.Equal(got, dir) {
		e.Errorf("%v restored as %v", dir, got)
	}
	// What is saved stays saved.
	e.OK(c, client.PutFH(dir), client.SaveFH(), client.PutRootFH(), client.RestoreFH(), client.RestoreFH(), client.GetFH())
}

func fhRestoreNone(e *Env) {
	want := is(nfs4.ErrNoFileHandle, nfs4.ErrRestoreFH)
	if e.Minor == 0 {
		want = is(nfs4.ErrRestoreFH)
	}
	e.Want(e.Client(), want, client.PutRootFH(), client.RestoreFH())
}

func fhSavedGone(e *Env) {
	e.OK(e.Client(), client.PutRootFH(), client.SaveFH())
	e.Want(e.Client(), is(nfs4.ErrNoFileHandle, nfs4.ErrRestoreFH), client.PutRootFH(), client.RestoreFH())
}

func fhRename(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "contents")
	sub := e.Mkdir(c, dir, "sub")
	e.OK(c, client.PutFH(dir), client.SaveFH(), client.PutFH(sub), client.Rename("a", "b"))
	if got := e.Contents(c, fh); got != "contents" {
		e.Errorf("reads %q", got)
	}
	again, err := c.LookupFH(sub, "b")
	e.Must(err)
	if !bytes.Equal(again, fh) {
		e.Errorf("%v became %v", fh, again)
	}
}

func fhStale(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "contents")
	sub := e.Mkdir(c, dir, "d")
	e.OK(c, client.PutFH(dir), client.Remove("a"), client.Remove("d"))
	e.Expect(e.Do(c, client.PutFH(sub), client.Lookup("x")), is(nfs4.ErrStale, nfs4.ErrFHExpired, nfs4.ErrNoEnt))
	for range 20 {
		e.Closed(c, dir, "a", "other")
		p := e.Expect(e.Do(c, client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 10)), is(nfs4.OK, nfs4.ErrStale, nfs4.ErrFHExpired))
		if p.Status == nfs4.OK && string(get[client.ReadRes](e, p).Data) != "contents" {
			e.Fatalf("the filehandle of the removed file reads another one: %v", p)
		}
		e.OK(c, client.PutFH(dir), client.Remove("a"))
	}
}

func fhLinks(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "")
	e.OK(c, client.PutFH(fh), client.SaveFH(), client.PutFH(dir), client.Link("b"))
	other, err := c.LookupFH(dir, "b")
	e.Must(err)
	a, b := e.Attrs(c, fh, nfs4.AttrFileID, nfs4.AttrFSID), e.Attrs(c, other, nfs4.AttrFileID, nfs4.AttrFSID)
	if a.Num(nfs4.AttrFileID) != b.Num(nfs4.AttrFileID) || a.FSID != b.FSID {
		e.Errorf("%v and %v", a, b)
	}
}

func fhShared(e *Env) {
	fh := e.Closed(e.Client(), e.Dir(), "a", "contents")
	if got := e.Contents(e.NewClient(nil), fh); got != "contents" {
		e.Errorf("another client reads %q", got)
	}
}

func lookupTests() []Test {
	return []Test{
		{Code: "LOOK1", minors: all, RFC: "RFC 8881 §18.13", Says: "a name that does not exist is NFS4ERR_NOENT", run: lookNoEnt},
		{Code: "LOOK2", minors: all, RFC: "RFC 8881 §18.13", Says: "LOOKUP in anything but a directory is NFS4ERR_NOTDIR, in a symbolic link NFS4ERR_SYMLINK", run: lookNotDir},
		{Code: "LOOK3", minors: all, RFC: "RFC 8881 §18.13", Says: "an empty name is NFS4ERR_INVAL", run: lookEmpty},
		{Code: "LOOK4", minors: all, RFC: "RFC 8881 §18.13", Says: "the names . and .. have no meaning", run: lookDots},
		{Code: "LOOK5", minors: all, RFC: "RFC 8881 §18.13", Says: "a name beyond maxname is NFS4ERR_NAMETOOLONG", run: lookLong},
		{Code: "LOOK6", minors: all, RFC: "RFC 8881 §18.13", Says: "after a LOOKUP that failed the operations behind it are not carried out", run: lookFailedKeeps},
		{Code: "LOOK7", minors: all, RFC: "RFC 8881 §18.13", Says: "a symbolic link is found, not followed", run: lookSymlink},
		{Code: "LOOKP1", minors: all, RFC: "RFC 8881 §18.14", Says: "LOOKUPP gives the parent directory", run: lookpParent},
		{Code: "LOOKP2", minors: all, RFC: "RFC 8881 §18.14", Says: "LOOKUPP of the root is NFS4ERR_NOENT", run: lookpRoot},
		{Code: "LOOKP3", minors: all, RFC: "RFC 8881 §18.14", Says: "LOOKUPP of anything but a directory is NFS4ERR_NOTDIR", run: lookpNotDir},
		{Code: "SEC1", minors: all, RFC: "RFC 8881 §18.29", Says: "SECINFO gives the flavors of a name", run: secInfo},
		{Code: "SEC2", minors: all, RFC: "RFC 8881 §18.29", Says: "SECINFO of a name that does not exist is NFS4ERR_NOENT, within a file NFS4ERR_NOTDIR", run: secInfoErrors},
		{Code: "SEC3", minors: v12, RFC: "RFC 8881 §18.29.3", Says: "SECINFO consumes the current filehandle", run: secInfoConsumes},
		{Code: "OATTR1", minors: all, RFC: "RFC 8881 §18.17", Says: "OPENATTR gives the named attribute directory, or NFS4ERR_NOTSUPP", run: openAttr},
	}
}

// symlink makes a symbolic link and returns its filehandle.
func (e *Env) symlink(c *client.Client, dir client.FH, name, text string) client.FH {
	return e.Make(c, dir, client.CreateArgs{Type: nfs4.TypeLnk, Name: name, Link: text})
}

// fifo makes a fifo and returns its filehandle.
func (e *Env) fifo(c *client.Client, dir client.FH, name string) client.FH {
	return e.Make(c, dir, client.CreateArgs{Type: nfs4.TypeFIFO, Name: name, Attrs: new(client.Attrs).SetMode(0o666)})
}

func lookNoEnt(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrNoEnt), client.PutFH(e.Dir()), client.Lookup("missing"))
}

func lookNotDir(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "")
	e.Want(c, is(nfs4.ErrNotDir), client.PutFH(fh), client.Lookup("x"))
	e.Want(c, is(nfs4.ErrNotDir), client.PutFH(e.fifo(c, dir, "p")), client.Lookup("x"))
	e.Want(c, is(nfs4.ErrSymlink), client.PutFH(e.symlink(c, dir, "s", "/")), client.Lookup("x"))
}

func lookEmpty(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrInval), client.PutFH(e.Dir()), client.Lookup(""))
}

func lookDots(e *Env) {
	dir := e.Dir()
	for _, name := range []string{".", ".."} {
		e.Want(e.Client(), is(nfs4.ErrNoEnt, nfs4.ErrBadName, nfs4.ErrInval), client.PutFH(dir), client.Lookup(name))
	}
}

func lookLong(e *Env) {
	dir := e.Dir()
	e.Want(e.Client(), is(nfs4.ErrNameTooLong), client.PutFH(dir), client.Lookup(strings.Repeat("n", 1000)))
}

func lookFailedKeeps(e *Env) {
	dir := e.Dir()
	e.Want(e.Client(), is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup("missing"))
	p := e.Do(e.Client(), client.PutFH(dir), client.Lookup("missing"), client.GetFH())
	if p.Last().Op != nfs4.OpLookup {
		e.Errorf("%v", p)
	}
}

func lookSymlink(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Mkdir(c, dir, "d")
	e.symlink(c, dir, "s", "d")
	p := e.OK(c, client.PutFH(dir), client.Lookup("s"), client.GetAttr(nfs4.AttrType))
	if typ := get[client.GetAttrRes](e, p).Type; typ != nfs4.TypeLnk {
		e.Errorf("type %v", typ)
	}
}

func lookpParent(e *Env) {
	dir := e.Dir()
	sub := e.Mkdir(e.Client(), dir, "sub")
	p := e.OK(e.Client(), client.PutFH(sub), client.LookupP(), client.GetFH())
	if got := get[client.GetFHRes](e, p).FH; !bytes.Equal(got, dir) {
		e.Errorf("%v, want %v", got, dir)
	}
}

func lookpRoot(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrNoEnt), client.PutRootFH(), client.LookupP())
}

func lookpNotDir(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Want(c, is(nfs4.ErrNotDir), client.PutFH(e.Closed(c, dir, "f", "")), client.LookupP())
	e.Want(c, is(nfs4.ErrNotDir, nfs4.ErrSymlink), client.PutFH(e.symlink(c, dir, "s", "/")), client.LookupP())
}

func secInfo(e *Env) {
	dir := e.Dir()
	e.Mkdir(e.Client(), dir, "d")
	e.hasSys(get[client.SecInfoRes](e, e.OK(e.Client(), client.PutFH(dir), client.SecInfo("d"))))
}

func secInfoErrors(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(dir), client.SecInfo("missing"))
	e.Want(c, is(nfs4.ErrInval), client.PutFH(dir), client.SecInfo(""))
	e.Want(c, is(nfs4.ErrNotDir), client.PutFH(e.Closed(c, dir, "f", "")), client.SecInfo("x"))
}

func secInfoConsumes(e *Env) {
	dir := e.Dir()
	e.Mkdir(e.Client(), dir, "d")
	e.Want(e.Client(), is(nfs4.ErrNoFileHandle), client.PutFH(dir), client.SecInfo("d"), client.GetFH())
}

func openAttr(e *Env) {
	e.Want(e.Client(), is(nfs4.OK, nfs4.ErrNoEnt, nfs4.ErrNotSupp), client.PutFH(e.Closed(e.Client(), e.Dir(), "f", "")), client.OpenAttr(false))
}

// badXDR requires that a request that does not decode is refused: by
// NFS4ERR_BADXDR of the operation or by GARBAGE_ARGS of the call.
func (e *Env) badXDR(p *client.Reply, err error) {
	if err == nil {
		e.settle()
		e.Expect(p, is(nfs4.ErrBadXDR))
		return
	}
	e.Refused(err, "GARBAGE_ARGS", garbage)
}

func xdrTests() []Test {
	return []Test{
		{Code: "XDR2", minors: all, RFC: "RFC 8881 §15.1.1.1", Says: "a length larger than the request is NFS4ERR_BADXDR", run: xdrLengths},
		{Code: "XDR3", minors: all, RFC: "RFC 8881 §15.1.1.1", Says: "a bitmap with a hostile number of words is NFS4ERR_BADXDR", run: xdrBitmap},
		{Code: "XDR4", minors: all, RFC: "RFC 8881 §15.1.1.1", Says: "attribute values that do not fit their bitmap are NFS4ERR_BADXDR", run: xdrAttrs},
		{Code: "XDR5", minors: all, RFC: "RFC 4506 §4.4", Says: "a boolean of 2 is NFS4ERR_BADXDR", run: xdrBool},
		{Code: "XDR6", minors: all, RFC: "RFC 8881 §15.1.1.1", Says: "an operation count above what is there is refused, and what decodes may be carried out", run: xdrCount},
		{Code: "XDR7", minors: all, RFC: "RFC 8881 §15.1.1.1", Says: "a union discriminant that is not defined is refused", run: xdrUnion},
		{Code: "XDR8", minors: all, RFC: "RFC 8881 §15.1.1.1", Says: "after any malformed request the connection and the session go on", run: xdrSurvives},
	}
}

func xdrLengths(e *Env) {
	c := e.Client()
	for _, n := range []uint32{100, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff} {
		var w xdr.Writer
		w.Uint32(n)
		w.Raw([]byte("abcd"))
		e.badXDR(c.Compound(client.PutRootFH(), client.Op{Num: nfs4.OpLookup, Args: w.Bytes()}))
		e.badXDR(c.Compound(client.Op{Num: nfs4.OpPutFH, Args: w.Bytes()}))
		var data xdr.Writer
		nfs4.Stateid{}.Encode(&data)
		data.Uint64(0)
		data.Uint32(0)
		data.Raw(w.Bytes())
		e.badXDR(c.Compound(client.PutRootFH(), client.Op{Num: nfs4.OpWrite, Args: data.Bytes()}))
	}
}

func xdrBitmap(e *Env) {
	for _, n := range []uint32{1 << 20, 0x40000000, 0xffffffff} {
		var w xdr.Writer
		w.Uint32(n)
		w.Uint32(1)
		e.badXDR(e.Client().Compound(client.PutRootFH(), client.Op{Num: nfs4.OpGetAttr, Args: w.Bytes()}))
	}
}

func xdrAttrs(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	for _, raw := range [][]byte{{}, {0, 0}, make([]byte, 8), make([]byte, 100)} {
		a := new(client.Attrs).SetMode(0o644)
		a.Raw = raw
		e.badXDR(c.Compound(client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, a)))
	}
}

func xdrBool(e *Env) {
	var w xdr.Writer
	w.Uint32(nfs4.ReadLT)
	w.Uint32(2) // reclaim
	w.Raw(make([]byte, 64))
	fh := e.Closed(e.Client(), e.Dir(), "f", "")
	e.badXDR(e.Client().Compound(client.PutFH(fh), client.Op{Num: nfs4.OpLock, Args: w.Bytes()}))
}

func xdrCount(e *Env) {
	c := e.Conn()
	q := client.NewCompound(c.Cred(), e.Minor, "", client.PutRootFH())
	b := q.Bytes()
	at := q.ArgsAt(0) - 8
	copy(b[at:], []byte{0, 0, 0, 3})
	p, err := c.Do(q)
	if err != nil {
		e.Refused(err, "GARBAGE_ARGS", garbage)
	} else {
		e.Expect(p, is(nfs4.ErrBadXDR, nfs4.ErrOpNotInSession, nfs4.ErrOpIllegal))
	}
	copy(b[at:], []byte{0xff, 0xff, 0xff, 0xff})
	q.SetXID(0)
	if p, err = c.Do(q); err != nil {
		e.Refused(err, "GARBAGE_ARGS", garbage)
	} else {
		e.Expect(p, is(nfs4.ErrBadXDR, nfs4.ErrResource, nfs4.ErrTooManyOps, nfs4.ErrOpNotInSession))
	}
	e.Must(c.Null())
}

func xdrUnion(e *Env) {
	c := e.Client()
	dir := e.Dir()
	o := client.Owner{ClientID: c.ClientID, Name: "o"}
	for _, a := range []client.OpenArgs{
		{Access: 1, Owner: o, How: 7, Name: "x"},
		{Access: 1, Owner: o, How: nfs4.OpenCreate, Mode: 9, Name: "x"},
		{Access: 1, Owner: o, Claim: 99, Name: "x"},
	} {
		p, err := c.Compound(client.PutFH(dir), client.Open(a))
		if err == nil && (p.Status == nfs4.ErrInval || p.Status == nfs4.ErrNotSupp) {
			continue
		}
		e.badXDR(p, err)
	}
}

func xdrSurvives(e *Env) {
	c := e.Client()
	dir := e.Dir()
	whole := client.Open(client.OpenArgs{
		Access: 1, Owner: client.Owner{ClientID: c.ClientID, Name: "o"}, How: nfs4.OpenCreate,
		Attrs: new(client.Attrs).SetMode(0o600).SetSize(0), Name: "never",
	})
	for n := 0; n < len(whole.Args); n += 4 {
		p, err := c.Compound(client.PutFH(dir), client.Op{Num: nfs4.OpOpen, Args: whole.Args[:n]})
		e.badXDR(p, err)
		e.OK(c, client.PutFH(dir))
	}
	if names := e.Names(c, dir); len(names) != 0 {
		e.Errorf("the directory holds %v", names)
	}
}
