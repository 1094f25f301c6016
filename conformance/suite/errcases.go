package suite

import (
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// errorCases provoke errors of single operations that no other test has a reason
// to: the table of operations and errors (errorpage.go) tells what lacks.
func errorCases() []Test {
	return []Test{
		{Code: "ERR1", minors: all, RFC: "RFC 7530 §16.3.4, RFC 8881 §18.3.3", Says: "COMMIT of what is no regular file is refused", run: errCommitTypes},
		{Code: "ERR2", minors: all, RFC: "RFC 7530 §5.9, RFC 8881 §5.9", Says: "CREATE and OPEN with an owner that cannot be translated are NFS4ERR_BADOWNER and make nothing", run: errBadOwner},
		{Code: "ERR3", minors: all, RFC: "RFC 7530 §16.14, RFC 8881 §18.14", Says: "LOOKUPP of a symbolic link is NFS4ERR_SYMLINK or NFS4ERR_NOTDIR", run: errLookupParentOfLink},
		{Code: "ERR4", minors: all, Flags: extra, RFC: "RFC 7530 §16.14, RFC 8881 §18.14", Says: "LOOKUPP by a user who may not search the directory is NFS4ERR_ACCESS", run: errLookupParentDenied},
		{Code: "ERR5", minors: all, RFC: "RFC 7530 §16.16, RFC 8881 §18.16", Says: "OPEN that makes a file for another owner is NFS4ERR_PERM for a user who is not root, or tells truly whether it set the owner", run: errOpenPerm},
		{Code: "ERR6", minors: all, RFC: "RFC 7530 §16.16, RFC 8881 §18.16", Says: "OPEN that makes a file larger than any may be is NFS4ERR_FBIG", run: errOpenTooLarge},
		{Code: "ERR7", minors: v0, RFC: "RFC 7530 §9.1.7, §16.19", Says: "OPEN_DOWNGRADE with a seqid that is not the next is NFS4ERR_BAD_SEQID", run: errDowngradeSeqid},
		{Code: "ERR8", minors: v12, RFC: "RFC 8881 §2.10.2.1, §15.1.3.5", Says: "PUTROOTFH, PUTPUBFH and RESTOREFH without SEQUENCE are NFS4ERR_OP_NOT_IN_SESSION", run: errNoSession},
		{Code: "ERR9", minors: v12, RFC: "RFC 8881 §18.36.3, §18.33.3", Says: "CREATE_SESSION and BACKCHANNEL_CTL with a callback credential of a GSS handle that the server never gave are NFS4ERR_NOENT", run: errNoHandle},
		{Code: "ERR10", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "CREATE_SESSION with a flag that is not defined is NFS4ERR_INVAL", run: errSessionFlags},
		{Code: "ERR11", minors: v12, RFC: "RFC 8881 §18.45.3", Says: "SECINFO_NO_NAME for the parent of a file is NFS4ERR_NOTDIR", run: errParentOfFile},
		{Code: "ERR12", minors: all, RFC: "RFC 7530 §16.26, RFC 8881 §18.26", Says: "RENAME from or to a directory that was removed is NFS4ERR_STALE", Flags: extra, run: errRenameGone},
		{Code: "ERR13", minors: all, RFC: "RFC 7530 §16.11, RFC 8881 §18.11", Says: "LOCKT of a symbolic link is refused as no file that can be locked", run: errLockTestLink},
		{Code: "ERR14", minors: v12, RFC: "RFC 8881 §18.30.3", Says: "SETATTR of the size of a symbolic link is refused", run: errSizeOfLink},
		{Code: "ERR15", minors: all, RFC: "RFC 7530 §16.9, RFC 8881 §18.9", Says: "LINK into a symbolic link is NFS4ERR_SYMLINK or NFS4ERR_NOTDIR", run: errLinkIntoLink},
		{Code: "ERR16", minors: v2, RFC: "RFC 7862 §15.11.3, §15.10.3", Says: "SEEK and READ_PLUS with the anonymous stateid are NFS4ERR_LOCKED where another open denies reading", run: errSeekLocked},
		{Code: "ERR17", minors: v2, RFC: "RFC 7862 §15.2.3", Says: "COPY with the anonymous stateid of the source is NFS4ERR_LOCKED where another open denies reading, unless COPY takes no special stateid", run: errCopyLocked},
		{Code: "ERR18", minors: v2, RFC: "RFC 7862 §15.11.3", Says: "SEEK for a content type that is not defined is NFS4ERR_UNION_NOTSUPP", run: errSeekUnknown},
		{Code: "ERR19", minors: v2, RFC: "RFC 8276 §8.4.4, §8.4.1", Says: "REMOVEXATTR and GETXATTR of a name that is too long or empty are refused", run: errXattrNames},
		{Code: "ERR20", minors: v2, RFC: "RFC 7862 §15.1.3, §15.4.3", Says: "ALLOCATE of a range that ends beyond the largest file is NFS4ERR_FBIG", run: errAllocateTooFar},
		{Code: "ERR21", minors: v2, RFC: "RFC 7862 §15.2.3", Says: "COPY to beyond the largest file is NFS4ERR_FBIG", run: errCopyTooFar},
		{Code: "ERR22", minors: v2, RFC: "RFC 7862 §11.2", Flags: extra, Says: "SEEK with the anonymous stateid by a user who may not read the file is NFS4ERR_ACCESS", run: errSeekDenied},
		{Code: "ERR23", minors: v0, RFC: "RFC 7530 §16.18", Says: "OPEN_CONFIRM of an open that is confirmed is NFS4ERR_BAD_STATEID, and with an older seqid NFS4ERR_OLD_STATEID or that", run: errConfirmOld},
	}
}

func errCommitTypes(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		want := is(nfs4.ErrInval, nfs4.ErrWrongType)
		switch typ {
		case nfs4.TypeReg:
			continue
		case nfs4.TypeDir:
			want = append(want, nfs4.ErrIsDir)
		case nfs4.TypeLnk:
			want = append(want, nfs4.ErrSymlink)
		}
		e.Want(c, want, client.PutFH(fh), client.Commit(0, 0))
		e.invalid = ""
	}
}

func errBadOwner(e *Env) {
	c := e.Client()
	dir := e.Dir()
	nobody := new(client.Attrs).SetMode(0o644).SetOwner("no-such-user-at-all")
	e.Want(c, is(nfs4.ErrBadOwner), client.PutFH(dir), client.Create(client.CreateArgs{Type: nfs4.TypeDir, Name: "d", Attrs: nobody}))
	_, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, How: nfs4.OpenCreate, Name: "f", Attrs: nobody})
	e.Err(err, nfs4.ErrBadOwner)
	if names := e.Names(c, dir); len(names) != 0 {
		e.Errorf("made %v", names)
	}
}

func errLookupParentOfLink(e *Env) {
	link := e.symlink(e.Client(), e.Dir(), "link", "text")
	e.Want(e.Client(), is(nfs4.ErrSymlink, nfs4.ErrNotDir), client.PutFH(link), client.LookupP())
}

func errLookupParentDenied(e *Env) {
	c := e.Client()
	sub := e.Mkdir(c, e.Dir(), "sub")
	e.setattr(c, sub, is(nfs4.OK), new(client.Attrs).SetMode(0))
	e.Want(e.User(1001, 1001), is(nfs4.ErrAccess), client.PutFH(sub), client.LookupP())
}

func errOpenPerm(e *Env) {
	dir := e.Dir()
	u := e.User(1001, 1001)
	f, err := u.Open(client.NewOwner(), dir, client.OpenArgs{
		Access: 3, How: nfs4.OpenCreate, Name: "f", Attrs: new(client.Attrs).SetMode(0o644).SetOwner("1002"),
	})
	if err == nil {
		// NFS4ERR_PERM is what it "may" be told; what is done then has to be told truly.
		owner := e.Attrs(e.Client(), f.FH, nfs4.AttrOwner).Owner
		if f.Res.Set.Has(nfs4.AttrOwner) != strings.HasPrefix(owner, "1002") {
			e.Errorf("the file is %q's, and the attributes set are said to be %v", owner, f.Res.Set)
		}
		return
	}
	e.Err(err, nfs4.ErrPerm)
	if names := e.Names(e.Client(), dir); len(names) != 0 {
		e.Errorf("made %v", names)
	}
}

func errOpenTooLarge(e *Env) {
	_, err := e.Client().Open(client.NewOwner(), e.Dir(), client.OpenArgs{
		Access: 3, How: nfs4.OpenCreate, Name: "f", Attrs: new(client.Attrs).SetMode(0o644).SetSize(nfs4.Uint64Max),
	})
	e.Err(err, nfs4.ErrFBig, nfs4.ErrInval)
}

func errDowngradeSeqid(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	e.Want(e.Client(), is(nfs4.ErrBadSeqid), client.PutFH(f.FH), client.OpenDowngrade(f.Stateid, f.Owner.Seqid+5, 1, 0))
	e.Must(f.Close())
}

func errNoSession(e *Env) {
	for _, op := range []client.Op{client.PutRootFH(), client.PutPubFH(), client.RestoreFH()} {
		e.WantRaw(e.Conn(), is(nfs4.ErrOpNotInSession), op)
	}
}

// gssParms ask for callbacks with a GSS handle (callback_sec_parms4).
func gssParms(w *xdr.Writer) {
	w.Uint32(1)
	w.Uint32(6)                     // RPCSEC_GSS
	w.Uint32(1)                     // rpc_gss_svc_none
	w.Opaque([]byte("no handle"))   // from server
	w.Opaque([]byte("none either")) // from client
}

func errNoHandle(e *Env) {
	c := e.Client()
	want := is(nfs4.ErrNoEnt, nfs4.ErrInval)
	var w xdr.Writer
	w.Uint32(nfs4.CBProgram)
	gssParms(&w)
	e.Want(c, want, client.Op{Num: nfs4.OpBackchannelCtl, Args: w.Bytes()})
	create := client.CreateSession(client.CreateSessionArgs{
		ClientID: c.ClientID, Seq: c.Exchange.Seq + 1, Flags: nfs4.CreateSessionConnBackChan,
		Fore: client.DefaultFore, Back: client.DefaultBack, CBProgram: nfs4.CBProgram,
	})
	var parms xdr.Writer
	gssParms(&parms)
	create.Args = append(create.Args[:len(create.Args)-44], parms.Bytes()...)
	e.WantRaw(c.Conn(), want, create)
}

func errSessionFlags(e *Env) {
	c := e.Client()
	e.WantRaw(c.Conn(), is(nfs4.ErrInval), client.CreateSession(client.CreateSessionArgs{
		ClientID: c.ClientID, Seq: c.Exchange.Seq + 1, Flags: 0x100, Fore: client.DefaultFore, Back: client.DefaultBack, CBProgram: nfs4.CBProgram,
	}))
}

func errParentOfFile(e *Env) {
	fh := e.Closed(e.Client(), e.Dir(), "f", "")
	p := e.optional(e.Do(e.Client(), client.PutFH(fh), client.SecInfoNoName(nfs4.SecInfoParent)))
	e.Expect(p, is(nfs4.ErrNotDir))
}

func errRenameGone(e *Env) {
	c := e.Client()
	dir := e.Dir()
	gone := e.Mkdir(c, dir, "gone")
	e.Closed(c, dir, "f", "")
	e.OK(c, client.PutFH(dir), client.Remove("gone"))
	stale := is(nfs4.ErrStale, nfs4.ErrFHExpired)
	e.Expect(e.Do(c, client.PutFH(gone), client.SaveFH(), client.PutFH(dir), client.Rename("x", "y")), stale)
	e.Expect(e.Do(c, client.PutFH(dir), client.SaveFH(), client.PutFH(gone), client.Rename("f", "y")), stale)
	if names := e.Names(c, dir); len(names) != 1 {
		e.Errorf("the directory holds %v", names)
	}
}

func errLockTestLink(e *Env) {
	c := e.Client()
	link := e.symlink(c, e.Dir(), "link", "text")
	e.Want(c, is(nfs4.ErrInval, nfs4.ErrSymlink, nfs4.ErrWrongType), client.PutFH(link), client.LockT(nfs4.ReadLT, 0, 1, someOwner(c)))
	e.invalid = ""
}

func errSizeOfLink(e *Env) {
	link := e.symlink(e.Client(), e.Dir(), "link", "text")
	e.setattr(e.Client(), link, is(nfs4.ErrInval, nfs4.ErrWrongType), new(client.Attrs).SetSize(1))
}

func errLinkIntoLink(e *Env) {
	c := e.Client()
	dir := e.Dir()
	link := e.symlink(c, dir, "link", "text")
	fh := e.Closed(c, dir, "f", "")
	p := e.optional(e.Do(c, client.PutFH(fh), client.SaveFH(), client.PutFH(link), client.Link("new")))
	e.Expect(p, is(nfs4.ErrSymlink, nfs4.ErrNotDir, nfs4.ErrWrongType))
}

// deniesReading opens a file of which nobody else may read.
func (e *Env) deniesReading() *client.OpenFile {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "0123456789")
	f, err := e.NewClient(nil).Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: 1, Name: "f"})
	e.Must(err)
	return f
}

func errSeekLocked(e *Env) {
	f := e.deniesReading()
	for _, op := range []client.Op{client.Seek(nfs4.AnonymousStateid, 0, nfs4.ContentData), client.ReadPlus(nfs4.AnonymousStateid, 0, 5)} {
		e.Expect(e.optional(e.Do(e.Client(), client.PutFH(f.FH), op)), is(nfs4.ErrLocked))
	}
}

func errCopyLocked(e *Env) {
	f := e.deniesReading()
	to := e.File(e.Client(), e.Dir(), "to", "")
	p := e.optional(e.copyOnce(e.Client(), f.FH, to.FH, nfs4.AnonymousStateid, to.Stateid, 0, 0, 5))
	e.Expect(p, is(nfs4.ErrLocked, nfs4.ErrBadStateid))
}

func errSeekUnknown(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "0123456789")
	p := e.Do(e.Client(), client.PutFH(f.FH), client.Seek(f.Stateid, 0, 77))
	if p.Status == nfs4.ErrNotSupp {
		e.optional(p)
	}
	e.Expect(p, is(nfs4.ErrUnionNotSupp))
}

func errXattrNames(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	long := strings.Repeat("x", 1024)
	for name, want := range map[string][]nfs4.Status{long: is(nfs4.ErrNameTooLong), "": is(nfs4.ErrInval)} {
		e.Expect(e.optional(e.Do(c, client.PutFH(fh), client.RemoveXattr(name))), want)
		e.Expect(e.optional(e.Do(c, client.PutFH(fh), client.GetXattr(name))), want)
	}
}

// tooFar is an offset that has bytes behind it, and none that a file can have.
const tooFar = nfs4.Uint64Max - 1<<20

func errAllocateTooFar(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	p := e.optional(e.Do(e.Client(), client.PutFH(f.FH), client.Allocate(f.Stateid, tooFar, 10)))
	e.Expect(p, is(nfs4.ErrFBig, nfs4.ErrInval))
}

func errCopyTooFar(e *Env) {
	c, src, dst := e.pair()
	p := e.optional(e.copyOnce(c, src.FH, dst.FH, src.Stateid, dst.Stateid, 0, tooFar, 5))
	e.Expect(p, is(nfs4.ErrFBig, nfs4.ErrInval))
}

// errSeekDenied is about a permission that the RFC lists an error for, and does
// not name.
func errSeekDenied(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "0123456789")
	e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0o600))
	p := e.optional(e.Do(e.User(1001, 1001), client.PutFH(fh), client.Seek(nfs4.AnonymousStateid, 0, nfs4.ContentData)))
	e.Expect(p, is(nfs4.ErrAccess))
}

func errConfirmOld(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	e.Want(e.Client(), is(nfs4.ErrBadStateid), client.PutFH(f.FH), client.OpenConfirm(f.Stateid, f.Owner.Seqid))
}
