package suite

import (
	"bytes"
	"slices"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func createTests() []Test {
	return []Test{
		{Code: "CR1", minors: all, RFC: "RFC 8881 §18.4", Says: "every type but a regular file can be created; the current filehandle becomes the new object", run: crTypes},
		{Code: "CR2", minors: all, RFC: "RFC 8881 §18.4.3", Says: "a name that exists is NFS4ERR_EXIST", run: crExist},
		{Code: "CR3", minors: all, RFC: "RFC 8881 §18.4.3", Says: "a regular file and types not defined are NFS4ERR_BADTYPE", run: crBadType},
		{Code: "CR4", minors: all, RFC: "RFC 8881 §18.4.3", Says: "creating in anything but a directory is NFS4ERR_NOTDIR", run: crNotDir},
		{Code: "CR5", minors: all, RFC: "RFC 8881 §18.4.3", Says: "an empty name is NFS4ERR_INVAL, one too long NFS4ERR_NAMETOOLONG, . and .. are refused", run: crNames},
		{Code: "CR6", minors: all, RFC: "RFC 8881 §18.4.3", Says: "the attributes given are set, and attrset says so", run: crAttrs},
		{Code: "CR7", minors: all, RFC: "RFC 8881 §18.4.3", Says: "a read-only attribute is NFS4ERR_INVAL, one not supported NFS4ERR_ATTRNOTSUPP, and nothing is created", run: crBadAttrs},
		{Code: "CR8", minors: all, RFC: "RFC 8881 §18.4.2", Says: "change_info is the directory's change before and after", run: crChangeInfo},
		{Code: "CR9", minors: all, RFC: "RFC 8881 §18.4", Says: "a directory without write permission is NFS4ERR_ACCESS", run: crAccess},
		{Code: "CR10", minors: all, RFC: "RFC 8881 §18.4", Says: "what a user creates is his", run: crOwner},
		{Code: "CR11", minors: all, RFC: "RFC 8881 §18.4", Says: "a device may be created by root, and not by other users", run: crDevice},
		{Code: "CR12", minors: v2, RFC: "RFC 8275 §5", Says: "mode_umask creates with the mode less the umask", run: crModeUmask},
		{Code: "CR13", minors: v2, RFC: "RFC 8275 §5", Says: "mode_umask, which has a meaning for CREATE and OPEN only, is NFS4ERR_INVAL in SETATTR", run: crModeUmaskElsewhere},
		{Code: "RDLNK1", minors: all, RFC: "RFC 8881 §18.24", Says: "READLINK gives the text as it was given", run: rdlnk},
		{Code: "RDLNK2", minors: all, RFC: "RFC 8881 §18.24.3", Says: "READLINK of anything else is NFS4ERR_INVAL, or NFS4ERR_WRONG_TYPE from NFSv4.1 on", run: rdlnkOther},
	}
}

func crTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for typ, fh := range e.objects(c, dir) {
		if got := e.Attrs(c, fh, nfs4.AttrType).Type; got != typ {
			e.Errorf("%v became %v", typ, got)
		}
	}
	p := e.OK(c, client.PutFH(dir), client.Mkdir("again"), client.GetFH())
	fh, err := c.LookupFH(dir, "again")
	e.Must(err)
	if got := get[client.GetFHRes](e, p).FH; !bytes.Equal(got, fh) {
		e.Errorf("created as %v, found as %v", got, fh)
	}
}

func crExist(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.objects(c, dir)
	for _, name := range e.Names(c, dir) {
		e.Want(c, is(nfs4.ErrExist), client.PutFH(dir), client.Mkdir(name))
		e.Want(c, is(nfs4.ErrExist), client.PutFH(dir), client.Symlink(name, "x"))
	}
}

func crBadType(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for _, typ := range []nfs4.FileType{nfs4.TypeReg, nfs4.TypeAttrDir, nfs4.TypeNamedAttr} {
		e.Want(c, is(nfs4.ErrBadType), client.PutFH(dir), client.Create(client.CreateArgs{Type: typ, Name: "x"}))
	}
	p, err := c.Compound(client.PutFH(dir), client.Create(client.CreateArgs{Type: 200, Name: "x"}))
	if err != nil || p.Status != nfs4.ErrBadType {
		e.badXDR(p, err)
	}
	if names := e.Names(c, dir); len(names) != 0 {
		e.Errorf("created %v", names)
	}
}

func crNotDir(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		if typ != nfs4.TypeDir {
			e.Want(c, is(nfs4.ErrNotDir, nfs4.ErrSymlink), client.PutFH(fh), client.Mkdir("x"))
		}
	}
}

func crNames(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Want(c, is(nfs4.ErrInval), client.PutFH(dir), client.Mkdir(""))
	e.Want(c, is(nfs4.ErrNameTooLong), client.PutFH(dir), client.Mkdir(strings.Repeat("n", 1000)))
	for _, name := range []string{".", ".."} {
		e.Want(c, is(nfs4.ErrBadName, nfs4.ErrInval, nfs4.ErrExist), client.PutFH(dir), client.Mkdir(name))
	}
}

func crAttrs(e *Env) {
	c := e.Client()
	dir := e.Dir()
	a := new(client.Attrs).SetMode(0o750).SetOwner("55").SetModifyTime(&nfs4.Time{Sec: 5})
	p := e.OK(c, client.PutFH(dir), client.Create(client.CreateArgs{Type: nfs4.TypeDir, Name: "d", Attrs: a}),
		client.GetAttr(nfs4.AttrMode, nfs4.AttrOwner, nfs4.AttrTimeModify))
	if set := get[client.CreateRes](e, p).Set; set != a.Mask {
		e.Errorf("attrset %v, want %v", set, a.Mask)
	}
	if got := get[client.GetAttrRes](e, p); got.Mode() != 0o750 || !strings.HasPrefix(got.Owner, "55") || got.Time(nfs4.AttrTimeModify).Sec != 5 {
		e.Errorf("%v", got)
	}
}

func crBadAttrs(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Want(c, is(nfs4.ErrInval), client.PutFH(dir), client.Create(client.CreateArgs{
		Type: nfs4.TypeDir, Name: "d", Attrs: new(client.Attrs).SetNum(nfs4.AttrFileID, 1),
	}))
	if !e.Supported(dir, nfs4.AttrArchive) {
		e.Want(c, is(nfs4.ErrAttrNotSupp), client.PutFH(dir), client.Create(client.CreateArgs{
			Type: nfs4.TypeDir, Name: "d", Attrs: new(client.Attrs).SetNum(nfs4.AttrArchive, 1),
		}))
	}
	if names := e.Names(c, dir); len(names) != 0 {
		e.Errorf("created %v", names)
	}
}

// rose requires of a change_info that it fits the directory's change before
// and now. A server that was killed in between and finds the work done knows
// change as it was no more; it may then say it twice as it is, and not that this
// is atomic.
func (e *Env) rose(what string, ci client.ChangeInfo, before, now uint64) {
	risen := ci.After > ci.Before || e.run.chaos != nil && !ci.Atomic && ci.After == ci.Before
	if !risen || ci.After > now || ci.Before < before {
		e.Errorf("%s: change was %d, change_info %+v, change is %d", what, before, ci, now)
	}
	if ci.Atomic && (ci.Before != before || ci.After != now) {
		e.Errorf("%s: said to be atomic: change was %d, change_info %+v, change is %d", what, before, ci, now)
	}
}

func crChangeInfo(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for _, name := range []string{"a", "b", "c"} {
		before := e.Attrs(c, dir, nfs4.AttrChange).Change()
		p := e.OK(c, client.PutFH(dir), client.Mkdir(name))
		e.rose("CREATE", get[client.CreateRes](e, p).Change, before, e.Attrs(c, dir, nfs4.AttrChange).Change())
	}
}

func crAccess(e *Env) {
	sub := e.Mkdir(e.Client(), e.Dir(), "closed")
	e.Want(e.User(4711, 4711), is(nfs4.ErrAccess), client.PutFH(sub), client.Mkdir("x"))
}

func crOwner(e *Env) {
	u := e.User(4711, 4712)
	p := e.OK(u, client.PutFH(e.Dir()), client.Mkdir("mine"), client.GetAttr(nfs4.AttrOwner, nfs4.AttrOwnerGroup))
	if a := get[client.GetAttrRes](e, p); !strings.HasPrefix(a.Owner, "4711") || !strings.HasPrefix(a.Group, "4712") {
		e.Errorf("%v", a)
	}
}

func crDevice(e *Env) {
	e.Want(e.User(4711, 4711), is(nfs4.ErrPerm, nfs4.ErrAccess), client.PutFH(e.Dir()),
		client.Create(client.CreateArgs{Type: nfs4.TypeChr, Name: "null", Major: 1, Minor: 3}))
}

func crModeUmask(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrModeUmask)
	p := e.OK(c, client.PutFH(dir), client.Create(client.CreateArgs{
		Type: nfs4.TypeDir, Name: "d", Attrs: new(client.Attrs).SetModeUmask(0o777, 0o027),
	}), client.GetAttr(nfs4.AttrMode))
	if got := get[client.GetAttrRes](e, p).Mode(); got != 0o750 {
		e.Errorf("mode %o, want 750", got)
	}
}

func crModeUmaskElsewhere(e *Env) {
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrModeUmask)
	e.setattr(e.Client(), dir, is(nfs4.ErrInval), new(client.Attrs).SetModeUmask(0o777, 0o027))
}

func rdlnk(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for i, text := range []string{"x", "../../a/./b//c", "/absolute", strings.Repeat("long/", 200), "mit ü"} {
		fh := e.symlink(c, dir, string(rune('a'+i)), text)
		p := e.OK(c, client.PutFH(fh), client.ReadLink())
		if got := get[client.ReadLinkRes](e, p).Text; got != text {
			e.Errorf("%q reads as %q", text, got)
		}
	}
}

func rdlnkOther(e *Env) {
	want := is(nfs4.ErrInval, nfs4.ErrWrongType)
	if e.Minor == 0 {
		want = is(nfs4.ErrInval, nfs4.ErrIsDir)
	}
	for typ, fh := range e.objects(e.Client(), e.Dir()) {
		if typ != nfs4.TypeLnk {
			e.Want(e.Client(), want, client.PutFH(fh), client.ReadLink())
		}
	}
}

func linkTests() []Test {
	return []Test{
		{Code: "LINK1", minors: all, RFC: "RFC 8881 §18.9", Says: "LINK gives a file another name", run: linkOK},
		{Code: "LINK2", minors: all, RFC: "RFC 8881 §18.9.3", Says: "a name that exists is NFS4ERR_EXIST", run: linkExist},
		{Code: "LINK3", minors: all, RFC: "RFC 8881 §18.9.3", Says: "a directory cannot be linked", run: linkDir},
		{Code: "LINK4", minors: all, RFC: "RFC 8881 §18.9.3", Says: "linking into anything but a directory is NFS4ERR_NOTDIR", run: linkNotDir},
		{Code: "LINK5", minors: all, RFC: "RFC 8881 §18.9.3", Says: "without a saved filehandle LINK fails", run: linkNoSaved},
		{Code: "LINK6", minors: all, RFC: "RFC 8881 §18.9.3", Says: "names empty or too long, . and .. are refused", run: linkNames},
		{Code: "LINK7", minors: all, RFC: "RFC 8881 §18.9.2", Says: "change_info is the target directory's", run: linkChange},
		{Code: "LINK8", minors: all, RFC: "RFC 8881 §18.9.3", Says: "symbolic links, fifos and devices can be linked", run: linkSpecial},
	}
}

func (e *Env) link(c *client.Client, want []nfs4.Status, fh, dir client.FH, name string) *client.Reply {
	return e.Want(c, want, client.PutFH(fh), client.SaveFH(), client.PutFH(dir), client.Link(name))
}

func linkOK(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "contents")
	sub := e.Mkdir(c, dir, "sub")
	e.link(c, is(nfs4.OK), fh, sub, "b")
	other, err := c.LookupFH(sub, "b")
	e.Must(err)
	if got := e.Contents(c, other); got != "contents" {
		e.Errorf("reads %q", got)
	}
	e.OK(c, client.PutFH(dir), client.Remove("a"))
	if got := e.Contents(c, other); got != "contents" {
		e.Errorf("after the first name is removed: %q", got)
	}
}

func linkExist(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "")
	e.Mkdir(c, dir, "d")
	e.link(c, is(nfs4.ErrExist), fh, dir, "a")
	e.link(c, is(nfs4.ErrExist), fh, dir, "d")
}

func linkDir(e *Env) {
	c := e.Client()
	dir := e.Dir()
	want := is(nfs4.ErrIsDir, nfs4.ErrWrongType)
	if e.Minor == 0 {
		want = is(nfs4.ErrIsDir)
	}
	e.link(c, want, e.Mkdir(c, dir, "d"), dir, "e")
}

func linkNotDir(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "")
	e.link(c, is(nfs4.ErrNotDir), fh, e.Closed(c, dir, "b", ""), "c")
}

func linkNoSaved(e *Env) {
	want := is(nfs4.ErrNoFileHandle)
	e.Want(e.Client(), want, client.PutFH(e.Dir()), client.Link("x"))
}

func linkNames(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "")
	e.link(c, is(nfs4.ErrInval), fh, dir, "")
	e.link(c, is(nfs4.ErrNameTooLong), fh, dir, strings.Repeat("n", 1000))
	for _, name := range []string{".", ".."} {
		e.link(c, is(nfs4.ErrBadName, nfs4.ErrInval, nfs4.ErrExist), fh, dir, name)
	}
}

func linkChange(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "")
	before := e.Attrs(c, dir, nfs4.AttrChange).Change()
	p := e.link(c, is(nfs4.OK), fh, dir, "b")
	e.rose("LINK", get[client.LinkRes](e, p).Change, before, e.Attrs(c, dir, nfs4.AttrChange).Change())
}

func linkSpecial(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for typ, fh := range e.objects(c, dir) {
		if typ != nfs4.TypeDir {
			e.link(c, is(nfs4.OK), fh, dir, typ.String()+"-2")
		}
	}
}

func removeTests() []Test {
	return []Test{
		{Code: "RM1", minors: all, RFC: "RFC 8881 §18.25", Says: "REMOVE takes away objects of every type", run: rmTypes},
		{Code: "RM2", minors: all, RFC: "RFC 8881 §18.25.3", Says: "a directory that is not empty is NFS4ERR_NOTEMPTY", run: rmNotEmpty},
		{Code: "RM3", minors: all, RFC: "RFC 8881 §18.25.3", Says: "a name that does not exist is NFS4ERR_NOENT", run: rmNoEnt},
		{Code: "RM4", minors: all, RFC: "RFC 8881 §18.25.3", Says: "removing from anything but a directory is NFS4ERR_NOTDIR", run: rmNotDir},
		{Code: "RM5", minors: all, RFC: "RFC 8881 §18.25.3", Says: "names empty or too long, . and .. are refused", run: rmNames},
		{Code: "RM6", minors: all, RFC: "RFC 8881 §18.25.4", Says: "a file that is open may be removed; then it is read on or NFS4ERR_FILE_OPEN", run: rmOpen},
		{Code: "RM7", minors: all, RFC: "RFC 8881 §18.25.2", Says: "change_info is the directory's", run: rmChange},
		{Code: "RM8", minors: all, RFC: "RFC 8881 §18.25", Says: "without write permission on the directory REMOVE is NFS4ERR_ACCESS; the sticky bit counts", run: rmAccess},
		{Code: "RM9", minors: all, RFC: "RFC 8881 §18.25.3", Says: "the current filehandle stays the directory", run: rmKeepsFH},
	}
}

func rmTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.objects(c, dir)
	for _, name := range e.Names(c, dir) {
		e.OK(c, client.PutFH(dir), client.Remove(name))
		e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup(name))
	}
}

func rmNotEmpty(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sub := e.Mkdir(c, dir, "d")
	e.Mkdir(c, sub, "x")
	e.Want(c, is(nfs4.ErrNotEmpty), client.PutFH(dir), client.Remove("d"))
}

func rmNoEnt(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrNoEnt), client.PutFH(e.Dir()), client.Remove("missing"))
}

func rmNotDir(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		if typ != nfs4.TypeDir {
			e.Want(c, is(nfs4.ErrNotDir, nfs4.ErrSymlink), client.PutFH(fh), client.Remove("x"))
		}
	}
}

func rmNames(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Want(c, is(nfs4.ErrInval), client.PutFH(dir), client.Remove(""))
	e.Want(c, is(nfs4.ErrNameTooLong, nfs4.ErrNoEnt), client.PutFH(dir), client.Remove(strings.Repeat("n", 1000)))
	for _, name := range []string{".", ".."} {
		e.Want(c, is(nfs4.ErrBadName, nfs4.ErrInval, nfs4.ErrNoEnt), client.PutFH(dir), client.Remove(name))
	}
}

func rmOpen(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f := e.File(c, dir, "f", "contents")
	p := e.Do(c, client.PutFH(dir), client.Remove("f"))
	e.Expect(p, is(nfs4.OK, nfs4.ErrFileOpen))
	if p.Status == nfs4.OK && f.Res.Flags&nfs4.OpenResultPreserveUnlinked != 0 {
		r, err := f.Read(0, 100)
		e.Must(err)
		if string(r.Data) != "contents" {
			e.Errorf("PRESERVE_UNLINKED, but the removed file reads %q", []byte(r.Data))
		}
	}
	q, err := f.CloseReply()
	e.Must(err)
	e.Expect(q, is(nfs4.OK, nfs4.ErrStale))
}

func rmChange(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Mkdir(c, dir, "d")
	before := e.Attrs(c, dir, nfs4.AttrChange).Change()
	p := e.OK(c, client.PutFH(dir), client.Remove("d"))
	e.rose("REMOVE", get[client.RemoveRes](e, p).Change, before, e.Attrs(c, dir, nfs4.AttrChange).Change())
}

func rmAccess(e *Env) {
	c := e.Client()
	dir := e.Dir()
	closed := e.Mkdir(c, dir, "closed")
	e.Mkdir(c, closed, "x")
	u := e.User(4711, 4711)
	e.Want(u, is(nfs4.ErrAccess), client.PutFH(closed), client.Remove("x"))
	sticky := e.Mkdir(c, dir, "sticky")
	e.setattr(c, sticky, is(nfs4.OK), new(client.Attrs).SetMode(0o1777))
	e.Mkdir(c, sticky, "x")
	e.Want(u, is(nfs4.ErrAccess, nfs4.ErrPerm), client.PutFH(sticky), client.Remove("x"))
	e.OK(u, client.PutFH(sticky), client.Mkdir("mine"))
	e.OK(u, client.PutFH(sticky), client.Remove("mine"))
}

func rmKeepsFH(e *Env) {
	dir := e.Dir()
	e.Mkdir(e.Client(), dir, "d")
	p := e.OK(e.Client(), client.PutFH(dir), client.Remove("d"), client.GetFH())
	if got := get[client.GetFHRes](e, p).FH; !bytes.Equal(got, dir) {
		e.Errorf("%v", got)
	}
}

func renameTests() []Test {
	return []Test{
		{Code: "RN1", minors: all, RFC: "RFC 8881 §18.26", Says: "objects of every type are renamed, within and across directories", run: rnTypes},
		{Code: "RN2", minors: all, RFC: "RFC 8881 §18.26.3", Says: "a file takes the place of a file, atomically", run: rnOver},
		{Code: "RN3", minors: all, RFC: "RFC 8881 §18.26.3", Says: "a directory takes the place of an empty directory, not of another", run: rnOverDir},
		{Code: "RN4", minors: all, RFC: "RFC 8881 §18.26.3", Says: "a file and a directory do not take each other's place", run: rnMixed},
		{Code: "RN5", minors: all, RFC: "RFC 8881 §18.26.3", Says: "two names of one file: nothing changes", run: rnSame},
		{Code: "RN6", minors: all, RFC: "RFC 8881 §18.26.3", Says: "a source that does not exist is NFS4ERR_NOENT", run: rnNoEnt},
		{Code: "RN7", minors: all, RFC: "RFC 8881 §18.26.3", Says: "renaming a directory into itself is NFS4ERR_INVAL", run: rnIntoSelf},
		{Code: "RN8", minors: all, RFC: "RFC 8881 §18.26.3", Says: "source and target must be directories: NFS4ERR_NOTDIR", run: rnNotDir},
		{Code: "RN9", minors: all, RFC: "RFC 8881 §18.26.3", Says: "names empty or too long, . and .. are refused", run: rnNames},
		{Code: "RN10", minors: all, RFC: "RFC 8881 §18.26.2", Says: "change_info is that of both directories", run: rnChange},
		{Code: "RN11", minors: all, RFC: "RFC 8881 §18.26.3", Says: "without a saved filehandle RENAME fails", run: rnNoSaved},
		{Code: "RN12", minors: all, RFC: "RFC 8881 §18.26.4", Says: "an open file is renamed, and its open goes on", run: rnOpen},
	}
}

func (e *Env) rename(c *client.Client, want []nfs4.Status, from client.FH, old string, to client.FH, name string) *client.Reply {
	return e.Want(c, want, client.PutFH(from), client.SaveFH(), client.PutFH(to), client.Rename(old, name))
}

func rnTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sub := e.Mkdir(c, dir, "sub")
	e.objects(c, sub)
	for _, name := range e.Names(c, sub) {
		e.rename(c, is(nfs4.OK), sub, name, sub, name+"-2")
		e.rename(c, is(nfs4.OK), sub, name+"-2", dir, name+"-3")
		e.Want(c, is(nfs4.ErrNoEnt), client.PutFH(sub), client.Lookup(name))
		e.OK(c, client.PutFH(dir), client.Lookup(name+"-3"))
	}
	if names := e.Names(c, sub); len(names) != 0 {
		e.Errorf("left behind: %v", names)
	}
}

func rnOver(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "a", "new")
	old := e.Closed(c, dir, "b", "old")
	e.rename(c, is(nfs4.OK), dir, "a", dir, "b")
	fh, err := c.LookupFH(dir, "b")
	e.Must(err)
	if got := e.Contents(c, fh); got != "new" {
		e.Errorf("reads %q", got)
	}
	if names := e.Names(c, dir); !slices.Equal(names, []string{"b"}) {
		e.Errorf("names %v", names)
	}
	// What was replaced may be kept for as long as the server likes (§18.25.4), and is never taken for what took its place.
	p := e.Expect(e.Do(c, client.PutFH(old), client.Read(nfs4.AnonymousStateid, 0, 10)), is(nfs4.OK, nfs4.ErrStale, nfs4.ErrFHExpired))
	if p.Status == nfs4.OK && string(get[client.ReadRes](e, p).Data) != "old" {
		e.Errorf("the filehandle of what was replaced reads another file: %v", p)
	}
}

func rnOverDir(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Mkdir(c, dir, "a")
	e.Mkdir(c, dir, "empty")
	e.Mkdir(c, e.Mkdir(c, dir, "full"), "x")
	e.rename(c, is(nfs4.ErrExist, nfs4.ErrNotEmpty), dir, "a", dir, "full")
	e.rename(c, is(nfs4.OK), dir, "a", dir, "empty")
}

func rnMixed(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	e.Mkdir(c, dir, "d")
	e.rename(c, is(nfs4.ErrExist), dir, "f", dir, "d")
	e.rename(c, is(nfs4.ErrExist), dir, "d", dir, "f")
}

func rnSame(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "a", "")
	e.link(c, is(nfs4.OK), fh, dir, "b")
	e.rename(c, is(nfs4.OK), dir, "a", dir, "b")
	e.rename(c, is(nfs4.OK), dir, "a", dir, "a")
	if names := e.Names(c, dir); !slices.Equal(names, []string{"a", "b"}) {
		e.Errorf("names %v", names)
	}
}

func rnNoEnt(e *Env) {
	dir := e.Dir()
	e.rename(e.Client(), is(nfs4.ErrNoEnt), dir, "missing", dir, "x")
}

func rnIntoSelf(e *Env) {
	c := e.Client()
	dir := e.Dir()
	sub := e.Mkdir(c, dir, "d")
	e.rename(c, is(nfs4.ErrInval), dir, "d", sub, "x")
	e.rename(c, is(nfs4.ErrInval), dir, "d", e.Mkdir(c, sub, "deep"), "x")
}

func rnNotDir(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "")
	e.rename(c, is(nfs4.ErrNotDir), fh, "x", dir, "y")
	e.rename(c, is(nfs4.ErrNotDir), dir, "f", fh, "y")
}

func rnNames(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "")
	e.rename(c, is(nfs4.ErrInval), dir, "", dir, "x")
	e.rename(c, is(nfs4.ErrInval), dir, "f", dir, "")
	e.rename(c, is(nfs4.ErrNameTooLong), dir, "f", dir, strings.Repeat("n", 1000))
	for _, name := range []string{".", ".."} {
		e.rename(c, is(nfs4.ErrBadName, nfs4.ErrInval, nfs4.ErrNoEnt), dir, name, dir, "x")
		e.rename(c, is(nfs4.ErrBadName, nfs4.ErrInval, nfs4.ErrExist), dir, "f", dir, name)
	}
}

func rnChange(e *Env) {
	c := e.Client()
	dir := e.Dir()
	from, to := e.Mkdir(c, dir, "from"), e.Mkdir(c, dir, "to")
	e.Closed(c, from, "f", "")
	b1, b2 := e.Attrs(c, from, nfs4.AttrChange).Change(), e.Attrs(c, to, nfs4.AttrChange).Change()
	r := get[client.RenameRes](e, e.rename(c, is(nfs4.OK), from, "f", to, "g"))
	e.rose("source", r.Source, b1, e.Attrs(c, from, nfs4.AttrChange).Change())
	e.rose("target", r.Target, b2, e.Attrs(c, to, nfs4.AttrChange).Change())
}

func rnNoSaved(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrNoFileHandle), client.PutFH(e.Dir()), client.Rename("a", "b"))
}

func rnOpen(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f := e.File(c, dir, "a", "contents")
	p := e.Do(c, client.PutFH(dir), client.SaveFH(), client.Rename("a", "b"))
	e.Expect(p, is(nfs4.OK, nfs4.ErrFileOpen))
	_, err := f.Write(0, nfs4.FileSync, []byte("C"))
	e.Must(err)
	e.Must(f.Close())
}
