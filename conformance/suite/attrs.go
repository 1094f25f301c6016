package suite

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func attrTests() []Test {
	return []Test{
		{Code: "ATTR1", minors: all, RFC: "RFC 8881 §5.8.1", Says: "every REQUIRED attribute is supported and returned", run: attrRequired},
		{Code: "ATTR2", minors: all, RFC: "RFC 8881 §18.7.3", Says: "every supported readable attribute is returned and decodes, for every type of object", run: attrAll},
		{Code: "ATTR3", minors: all, RFC: "RFC 8881 §18.7.3", Says: "an attribute that is not supported is left out", run: attrUnsupported},
		{Code: "ATTR4", minors: all, RFC: "RFC 8881 §18.7.3", Says: "asking for a write-only attribute is NFS4ERR_INVAL", run: attrWriteOnly},
		{Code: "ATTR5", minors: all, RFC: "RFC 8881 §18.7.3", Says: "asking for nothing gives nothing", run: attrNone},
		{Code: "ATTR6", minors: all, RFC: "RFC 8881 §5.8.1.2", Says: "type tells each type of object", run: attrTypes},
		{Code: "ATTR7", minors: all, RFC: "RFC 8881 §5.8.1.9, §5.8.2.13", Says: "fsid and fileid together tell objects apart", run: attrFileID},
		{Code: "ATTR8", minors: all, RFC: "RFC 8881 §5.8.1.4", Says: "change is another value once data, metadata or a directory's entries are", run: attrChange},
		{Code: "ATTR9", minors: all, RFC: "RFC 8881 §5.8.2.28", Says: "numlinks counts a file's names", run: attrNumLinks},
		{Code: "ATTR10", minors: all, RFC: "RFC 8881 §5.8.1.11", Says: "lease_time is some time, at most a day", run: attrLease},
		{Code: "ATTR11", minors: all, RFC: "RFC 8881 §5.8.2", Says: "maxread, maxwrite, maxname, maxfilesize and maxlink are usable", run: attrLimits},
		{Code: "ATTR12", minors: all, RFC: "RFC 8881 §5.8.2", Says: "free space is not above total space, available not above free; files alike", run: attrSpace},
		{Code: "ATTR13", minors: all, RFC: "RFC 8881 §5.8.2.40", Says: "space_used of a sparse file is far below its size", run: attrSparse},
		{Code: "ATTR14", minors: all, RFC: "RFC 8881 §5.8.1.13", Says: "filehandle as an attribute is what GETFH gives", run: attrFilehandle},
		{Code: "ATTR15", minors: v12, RFC: "RFC 8881 §5.8.1.14", Says: "suppattr_exclcreat is within the attributes that can be set", run: attrExclCreat},
		{Code: "ATTR16", minors: all, RFC: "RFC 8881 §5.8.2.23", Says: "mounted_on_fileid is fileid where nothing is mounted", run: attrMountedOn},
		{Code: "ATTR17", minors: v2, RFC: "RFC 7862 §12.2.3", Says: "change_attr_type tells truly of a rising change", run: attrChangeType},
		{Code: "ATTR18", minors: all, RFC: "RFC 8881 §5.8.2.33", Says: "rawdev tells a device's numbers", run: attrRawDev},
		{Code: "ATTR19", minors: all, RFC: "RFC 8881 §5.8.2.37", Says: "time_modify follows writing, time_metadata every change", run: attrTimes},
		{Code: "ATTR20", minors: all, RFC: "RFC 8881 §3.3.7", Says: "an attribute number far beyond the known is ignored", run: attrFarBits},
		{Code: "ACC1", minors: all, RFC: "RFC 8881 §18.1", Says: "root may do everything a file or directory allows; supported is what was asked", run: accRoot},
		{Code: "ACC2", minors: all, RFC: "RFC 8881 §18.1.3", Says: "bits not defined are not said to be supported", run: accUndefined},
		{Code: "ACC3", minors: all, RFC: "RFC 8881 §18.1.3", Says: "the rights of owner, group and others are told apart", run: accUsers},
		{Code: "ACC4", minors: all, RFC: "RFC 8881 §18.1.3", Says: "ACCESS of a symbolic link, fifo or device succeeds", run: accSpecial},
	}
}

var required = []nfs4.Attr{
	nfs4.AttrSupported, nfs4.AttrType, nfs4.AttrFHExpireType, nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrLinkSupport,
	nfs4.AttrSymlinkSupport, nfs4.AttrNamedAttr, nfs4.AttrFSID, nfs4.AttrUniqueHandles, nfs4.AttrLeaseTime, nfs4.AttrRDAttrError, nfs4.AttrFilehandle,
}

// objects makes one object of each type and returns their filehandles.
func (e *Env) objects(c *client.Client, dir client.FH) map[nfs4.FileType]client.FH {
	m := map[nfs4.FileType]client.FH{
		nfs4.TypeReg:  e.Closed(c, dir, "reg", "contents"),
		nfs4.TypeDir:  e.Mkdir(c, dir, "dir"),
		nfs4.TypeLnk:  e.symlink(c, dir, "lnk", "reg"),
		nfs4.TypeFIFO: e.fifo(c, dir, "fifo"),
		nfs4.TypeSock: e.Make(c, dir, client.CreateArgs{Type: nfs4.TypeSock, Name: "sock"}),
	}
	for _, t := range []nfs4.FileType{nfs4.TypeBlk, nfs4.TypeChr} {
		m[t] = e.Make(c, dir, client.CreateArgs{Type: t, Name: t.String(), Major: 7, Minor: 11})
	}
	return m
}

func attrRequired(e *Env) {
	want := required
	if e.Minor > 0 {
		want = append(want[:len(want):len(want)], nfs4.AttrSuppAttrExclCreat)
	}
	a := e.Attrs(e.Client(), e.Dir(), want...)
	for _, n := range want {
		if !a.Has(n) && n != nfs4.AttrRDAttrError {
			e.Errorf("%v is missing", n)
		}
		if !a.Supported.Has(n) {
			e.Errorf("%v is not in supported_attrs", n)
		}
	}
}

// readable drops write-only attributes.
func readable(b nfs4.Bitmap) nfs4.Bitmap {
	for _, n := range []nfs4.Attr{nfs4.AttrTimeAccessSet, nfs4.AttrTimeModifySet, nfs4.AttrModeUmask, nfs4.AttrModeSetMasked,
		nfs4.AttrRetentionSet, nfs4.AttrRetentEvtSet, nfs4.AttrLayoutHint} {
		b.Clear(n)
	}
	return b
}

func attrAll(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		ask := readable(e.Attrs(c, fh, nfs4.AttrSupported).Supported)
		var list []nfs4.Attr
		for n, ok := ask.Next(0); ok; n, ok = ask.Next(n + 1) {
			list = append(list, n)
		}
		a := e.Attrs(c, fh, list...)
		missing := ask.AndNot(a.Mask)
		missing.Clear(nfs4.AttrRDAttrError)
		missing.Clear(nfs4.AttrFSLocations) // may be absent where there is no other location
		missing.Clear(nfs4.AttrACL)         // not of every type
		if !missing.Empty() {
			e.Errorf("%v lacks %v", typ, missing)
		}
		if extra := a.Mask.AndNot(ask); !extra.Empty() {
			e.Errorf("%v has %v, not asked for", typ, extra)
		}
	}
}

func attrUnsupported(e *Env) {
	dir := e.Dir()
	s := e.Attrs(e.Client(), dir, nfs4.AttrSupported).Supported
	var ask []nfs4.Attr
	for n := nfs4.Attr(0); n <= nfs4.AttrMountedOnFileID; n++ {
		if !s.Has(n) && n != nfs4.AttrTimeAccessSet && n != nfs4.AttrTimeModifySet {
			ask = append(ask, n)
		}
	}
	a := e.Attrs(e.Client(), dir, append(ask, nfs4.AttrType)...)
	if got := a.Mask; got != nfs4.BitmapOf(nfs4.AttrType) {
		e.Errorf("asked for %v, none supported, got %v", ask, got)
	}
}

func attrWriteOnly(e *Env) {
	dir := e.Dir()
	for _, n := range []nfs4.Attr{nfs4.AttrTimeAccessSet, nfs4.AttrTimeModifySet} {
		e.Want(e.Client(), is(nfs4.ErrInval), client.PutFH(dir), client.GetAttr(n, nfs4.AttrType))
	}
}

func attrNone(e *Env) {
	if a := e.Attrs(e.Client(), e.Dir()); !a.Mask.Empty() {
		e.Errorf("%v", a)
	}
}

func attrTypes(e *Env) {
	for typ, fh := range e.objects(e.Client(), e.Dir()) {
		if got := e.Attrs(e.Client(), fh, nfs4.AttrType).Type; got != typ {
			e.Errorf("%v is said to be %v", typ, got)
		}
	}
}

func attrFileID(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrFileID)
	seen := make(map[string]nfs4.FileType)
	for typ, fh := range e.objects(c, dir) {
		a := e.Attrs(c, fh, nfs4.AttrFSID, nfs4.AttrFileID)
		key := fmt.Sprint(a.FSID, a.Num(nfs4.AttrFileID))
		if other, ok := seen[key]; ok {
			e.Errorf("%v and %v are both %s", typ, other, key)
		}
		seen[key] = typ
	}
}

func attrChange(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f := e.File(c, dir, "f", "x")
	last := e.Attrs(c, f.FH, nfs4.AttrChange).Change()
	differs := func(what string) {
		now := e.Attrs(c, f.FH, nfs4.AttrChange).Change()
		if now == last {
			e.Errorf("after %s change is %d as before", what, now)
		}
		last = now
	}
	for i := range 20 {
		_, err := f.Write(uint64(i), nfs4.FileSync, []byte("y"))
		e.Must(err)
		differs("WRITE")
	}
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetMode(0o600)))
	differs("SETATTR of mode")
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(3)))
	differs("SETATTR of size")
	e.OK(c, client.PutFH(f.FH), client.SaveFH(), client.PutFH(dir), client.Link("g"))
	differs("LINK")

	lastDir := e.Attrs(c, dir, nfs4.AttrChange).Change()
	for i, ops := range [][]client.Op{
		{client.PutFH(dir), client.Mkdir("d")},
		{client.PutFH(dir), client.Remove("d")},
		{client.PutFH(dir), client.SaveFH(), client.Rename("g", "h")},
	} {
		e.OK(c, ops...)
		now := e.Attrs(c, dir, nfs4.AttrChange).Change()
		if now <= lastDir {
			e.Errorf("directory, step %d: change is %d, was %d", i, now, lastDir)
		}
		lastDir = now
	}
}

func attrNumLinks(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrNumLinks)
	fh := e.Closed(c, dir, "a", "")
	count := func(want uint64) {
		if got := e.Attrs(c, fh, nfs4.AttrNumLinks).Num(nfs4.AttrNumLinks); got != want {
			e.Errorf("numlinks %d, want %d", got, want)
		}
	}
	count(1)
	e.OK(c, client.PutFH(fh), client.SaveFH(), client.PutFH(dir), client.Link("b"))
	count(2)
	e.OK(c, client.PutFH(dir), client.Remove("a"))
	count(1)
}

func attrLease(e *Env) {
	if n := e.Attrs(e.Client(), e.Work(), nfs4.AttrLeaseTime).Num(nfs4.AttrLeaseTime); n == 0 || n > 86400 {
		e.Errorf("lease_time %d", n)
	}
}

func attrLimits(e *Env) {
	a := e.Attrs(e.Client(), e.Work(), nfs4.AttrMaxRead, nfs4.AttrMaxWrite, nfs4.AttrMaxName, nfs4.AttrMaxFileSize, nfs4.AttrMaxLink)
	for n, least := range map[nfs4.Attr]uint64{
		nfs4.AttrMaxRead: 4096, nfs4.AttrMaxWrite: 4096, nfs4.AttrMaxName: 14, nfs4.AttrMaxFileSize: 1 << 31, nfs4.AttrMaxLink: 1,
	} {
		if a.Has(n) && a.Num(n) < least {
			e.Errorf("%v is %d", n, a.Num(n))
		}
	}
}

func attrSpace(e *Env) {
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrSpaceAvail, nfs4.AttrSpaceFree, nfs4.AttrSpaceTotal)
	a := e.Attrs(e.Client(), dir, nfs4.AttrSpaceAvail, nfs4.AttrSpaceFree, nfs4.AttrSpaceTotal, nfs4.AttrFilesAvail, nfs4.AttrFilesFree, nfs4.AttrFilesTotal)
	if a.Num(nfs4.AttrSpaceAvail) > a.Num(nfs4.AttrSpaceFree) || a.Num(nfs4.AttrSpaceFree) > a.Num(nfs4.AttrSpaceTotal) ||
		a.Num(nfs4.AttrFilesAvail) > a.Num(nfs4.AttrFilesFree) || a.Num(nfs4.AttrFilesFree) > a.Num(nfs4.AttrFilesTotal) {
		e.Errorf("%v", a)
	}
}

func attrSparse(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	e.NeedAttr(f.FH, nfs4.AttrSpaceUsed)
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(1<<30)))
	a := e.Attrs(c, f.FH, nfs4.AttrSize, nfs4.AttrSpaceUsed)
	if a.Size() != 1<<30 || a.Num(nfs4.AttrSpaceUsed) > 1<<24 {
		e.Errorf("%v", a)
	}
}

func attrFilehandle(e *Env) {
	dir := e.Dir()
	if a := e.Attrs(e.Client(), dir, nfs4.AttrFilehandle); string(a.FH) != string(dir) {
		e.Errorf("%v, want %v", a.FH, dir)
	}
}

func attrExclCreat(e *Env) {
	a := e.Attrs(e.Client(), e.Dir(), nfs4.AttrSupported, nfs4.AttrSuppAttrExclCreat)
	if extra := a.ExclCreat.AndNot(a.Supported); !extra.Empty() {
		e.Errorf("not supported at all: %v", extra)
	}
	for _, n := range []nfs4.Attr{nfs4.AttrType, nfs4.AttrChange, nfs4.AttrFSID, nfs4.AttrFileID, nfs4.AttrLeaseTime} {
		if a.ExclCreat.Has(n) {
			e.Errorf("%v cannot be set", n)
		}
	}
}

func attrMountedOn(e *Env) {
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrMountedOnFileID, nfs4.AttrFileID)
	a := e.Attrs(e.Client(), dir, nfs4.AttrMountedOnFileID, nfs4.AttrFileID)
	if a.Num(nfs4.AttrMountedOnFileID) != a.Num(nfs4.AttrFileID) {
		e.Errorf("%v", a)
	}
}

func attrChangeType(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	e.NeedAttr(f.FH, nfs4.AttrChangeAttrType)
	a := e.Attrs(c, f.FH, nfs4.AttrChangeAttrType, nfs4.AttrChange)
	typ := a.Num(nfs4.AttrChangeAttrType)
	if typ > nfs4.ChangeIsUndefined {
		e.Errorf("change_attr_type %d", typ)
	}
	_, err := f.Write(0, nfs4.FileSync, []byte("y"))
	e.Must(err)
	b := e.Attrs(c, f.FH, nfs4.AttrChange)
	if typ == nfs4.ChangeIsVersionCounter && b.Change() != a.Change()+1 {
		e.Errorf("a version counter goes from %d to %d", a.Change(), b.Change())
	}
}

func attrRawDev(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrRawDev)
	for _, typ := range []nfs4.FileType{nfs4.TypeBlk, nfs4.TypeChr} {
		fh := e.Make(c, dir, client.CreateArgs{Type: typ, Name: typ.String(), Major: 3, Minor: 300})
		if a := e.Attrs(c, fh, nfs4.AttrRawDev); a.RawDev != [2]uint32{3, 300} {
			e.Errorf("%v: %v", typ, a)
		}
	}
}

// later says whether b is after a.
func later(a, b nfs4.Time) bool { return b.Sec > a.Sec || b.Sec == a.Sec && b.Nsec > a.Nsec }

func attrTimes(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	e.NeedAttr(f.FH, nfs4.AttrTimeModify, nfs4.AttrTimeMetadata)
	// Set the past, so that the server's granularity does not matter.
	past := nfs4.Time{Sec: 1_000_000_000}
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetModifyTime(&past)))
	a := e.Attrs(c, f.FH, nfs4.AttrTimeModify, nfs4.AttrTimeMetadata)
	if a.Time(nfs4.AttrTimeModify) != past || !later(past, a.Time(nfs4.AttrTimeMetadata)) {
		e.Errorf("after setting time_modify: %v", a)
	}
	_, err := f.Write(0, nfs4.FileSync, []byte("y"))
	e.Must(err)
	if b := e.Attrs(c, f.FH, nfs4.AttrTimeModify); !later(past, b.Time(nfs4.AttrTimeModify)) {
		e.Errorf("after WRITE: %v", b)
	}
}

func attrFarBits(e *Env) {
	dir := e.Dir()
	ask := client.Op{Num: nfs4.OpGetAttr, Args: []byte{0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}}
	a := get[client.GetAttrRes](e, e.OK(e.Client(), client.PutFH(dir), ask))
	if a.Mask != nfs4.BitmapOf(nfs4.AttrType) {
		e.Errorf("%v", a)
	}
}

const (
	accFile = nfs4.AccessRead | nfs4.AccessModify | nfs4.AccessExtend | nfs4.AccessExecute
	accDir  = nfs4.AccessRead | nfs4.AccessLookup | nfs4.AccessModify | nfs4.AccessExtend | nfs4.AccessDelete
)

func (e *Env) access(c *client.Client, fh client.FH, bits uint32) *client.AccessRes {
	r := get[client.AccessRes](e, e.OK(c, client.PutFH(fh), client.Access(bits)))
	if r.Supported&^bits != 0 || r.Access&^r.Supported != 0 {
		e.Errorf("asked %#x: supported %#x, access %#x", bits, r.Supported, r.Access)
	}
	return r
}

func accRoot(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "")
	e.OK(c, client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetMode(0o755)))
	if r := e.access(c, fh, accFile); r.Access != accFile {
		e.Errorf("file: %+v", r)
	}
	if r := e.access(c, dir, accDir); r.Access != accDir {
		e.Errorf("directory: %+v", r)
	}
	for bit := uint32(1); bit <= nfs4.AccessExecute; bit <<= 1 {
		e.access(c, fh, bit)
		e.access(c, dir, bit)
	}
}

func accUndefined(e *Env) {
	dir := e.Dir()
	p := e.Do(e.Client(), client.PutFH(dir), client.Access(0x80000001))
	e.Expect(p, is(nfs4.OK, nfs4.ErrInval))
	if r := client.Get[client.AccessRes](p); r != nil && (r.Supported|r.Access)&0x80000000 != 0 {
		e.Errorf("%+v", r)
	}
}

func accUsers(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	e.OK(c, client.PutFH(fh), client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetMode(0o641).SetOwner("1001").SetGroup("2002")))
	for _, u := range []struct {
		who    string
		c      *client.Client
		access uint32
	}{
		{"owner", e.User(1001, 9), nfs4.AccessRead | nfs4.AccessModify | nfs4.AccessExtend},
		{"group", e.User(1005, 2002), nfs4.AccessRead},
		{"supplementary group", e.User(1005, 9, 7, 2002), nfs4.AccessRead},
		{"others", e.User(1005, 9), nfs4.AccessExecute},
	} {
		if r := e.access(u.c, fh, accFile); r.Access != u.access {
			e.Errorf("%s: %#x, want %#x", u.who, r.Access, u.access)
		}
	}
}

func accSpecial(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		if r := e.access(c, fh, 0x3f); r.Access&nfs4.AccessRead == 0 {
			e.Errorf("%v: %+v", typ, r)
		}
	}
}
