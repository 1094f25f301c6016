package suite

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// attrFamilies are families of tests with one for each attribute, numbered as
// the attributes are.
func attrFamilies() []Test {
	var tests []Test
	add := func(f attrFact, family, says string, run func(e *Env, f attrFact)) {
		tests = append(tests, Test{
			Code: fmt.Sprintf("%s%d", family, f.n), minors: f.minors(), RFC: f.rfc(), Says: fmt.Sprintf("%v: %s", f.n, says), run: func(e *Env) { run(e, f) },
		})
	}
	for _, f := range attrFacts() {
		add(f, "GATT", f.says, attrRead)
	}
	for _, f := range attrFacts() {
		add(f, "VATT", "VERIFY of its value goes on and NVERIFY is NFS4ERR_SAME; where it is not supported both are NFS4ERR_ATTRNOTSUPP", attrVerify)
	}
	for _, f := range attrFacts() {
		add(f, "DATT", "READDIR gives for an entry what GETATTR gives for the object", attrListed)
	}
	for _, f := range attrFacts() {
		if !writable(f.n) {
			add(f, "ROATT", "it cannot be set: NFS4ERR_INVAL, or NFS4ERR_ATTRNOTSUPP where it is not supported", attrReadOnly)
		}
	}
	return append(tests, unknownBitTests()...)
}

// writable says whether SETATTR may set an attribute that GETATTR gives.
func writable(n nfs4.Attr) bool {
	switch n {
	case nfs4.AttrSize, nfs4.AttrACL, nfs4.AttrArchive, nfs4.AttrHidden, nfs4.AttrMIMEType, nfs4.AttrMode, nfs4.AttrOwner, nfs4.AttrOwnerGroup,
		nfs4.AttrSystem, nfs4.AttrTimeBackup, nfs4.AttrTimeCreate, nfs4.AttrDACL, nfs4.AttrSACL, nfs4.AttrSecLabel:
		return true
	}
	return false
}

// restless says whether an attribute may change although nobody touches the
// object: what the whole file system has left.
func restless(n nfs4.Attr) bool {
	switch n {
	case nfs4.AttrFilesAvail, nfs4.AttrFilesFree, nfs4.AttrSpaceAvail, nfs4.AttrSpaceFree, nfs4.AttrQuotaAvailHard, nfs4.AttrQuotaAvailSoft, nfs4.AttrQuotaUsed, nfs4.AttrSpaceUsed:
		return true
	}
	return false
}

// read gets one attribute alone. It ends the test as one that does not apply
// if the server does not support it, having seen that it is left out.
func (s *attrScene) read(n nfs4.Attr) *client.Attrs {
	a := s.e.Attrs(s.c, s.fh, n)
	if !s.e.Supported(s.fh, n) {
		s.want(a.Mask.Empty(), "%v is given, but is not in supported_attrs", a)
		s.e.Skipf("the server does not support the attribute %v", n)
	}
	// ATTR2 is the test of a server that says of time_create that it supports it and does not give it.
	if !a.Has(n) && (n == nfs4.AttrACL || n == nfs4.AttrFSLocations || n == nfs4.AttrTimeCreate) {
		s.e.Skipf("the file has no %v", n)
	}
	s.want(a.Mask == nfs4.BitmapOf(n), "asked for %v, got %v", n, a)
	return a
}

func attrRead(e *Env, f attrFact) {
	s := e.attrScene()
	f.check(s, s.read(f.n))
}

func attrVerify(e *Env, f attrFact) {
	s := e.attrScene()
	if !e.Supported(s.fh, f.n) {
		no := new(client.Attrs)
		no.Mask.Set(f.n)
		no.Raw = make([]byte, 8)
		e.Want(s.c, is(nfs4.ErrAttrNotSupp), client.PutFH(s.fh), client.Verify(no))
		e.Want(s.c, is(nfs4.ErrAttrNotSupp), client.PutFH(s.fh), client.NVerify(no))
		return
	}
	a := s.read(f.n)
	for range 20 { // until the file system stands still
		if !restless(f.n) || e.Do(s.c, client.PutFH(s.fh), client.Verify(a)).Status == nfs4.OK {
			break
		}
		a = s.read(f.n)
	}
	if restless(f.n) { // it may change between any two requests
		p := e.Do(s.c, client.PutFH(s.fh), client.NVerify(a))
		e.Expect(p, is(nfs4.ErrSame, nfs4.OK))
		return
	}
	e.Want(s.c, is(nfs4.OK), client.PutFH(s.fh), client.Verify(a))
	e.Want(s.c, is(nfs4.ErrSame), client.PutFH(s.fh), client.NVerify(a))
}

func attrListed(e *Env, f attrFact) {
	s := e.attrScene()
	a := s.read(f.n)
	entries, err := s.c.List(s.dir, 8192, f.n)
	e.Must(err)
	if len(entries) != 1 || !entries[0].Attrs.Has(f.n) {
		e.Fatalf("READDIR gives %v", entries)
	}
	if got := entries[0].Attrs.String(); !restless(f.n) && got != a.String() {
		e.Errorf("GETATTR gives %v, READDIR %v", a, got)
	}
}

func attrReadOnly(e *Env, f attrFact) {
	s := e.attrScene()
	if !e.Supported(s.fh, f.n) {
		a := new(client.Attrs)
		a.Mask.Set(f.n)
		a.Raw = make([]byte, 8)
		r := e.setattr(s.c, s.fh, is(nfs4.ErrAttrNotSupp, nfs4.ErrInval), a)
		s.want(r.Set.Empty(), "attrsset %v", r.Set)
		return
	}
	r := e.setattr(s.c, s.fh, is(nfs4.ErrInval), s.read(f.n))
	s.want(r.Set.Empty(), "attrsset %v", r.Set)
}

func unknownBitTests() []Test {
	const bits = "RFC 7530 §2.2, RFC 8881 §3.3.7"
	return []Test{
		{Code: "UNKN1", minors: all, RFC: bits, Says: "GETATTR leaves out an attribute number that is not defined", run: unknGetAttr},
		{Code: "UNKN2", minors: all, RFC: "RFC 7530 §16.24.4, RFC 8881 §18.23.3", Says: "READDIR leaves out an attribute number that is not defined", run: unknReadDir},
		{Code: "UNKN3", minors: all, RFC: "RFC 7530 §16.32.4, RFC 8881 §18.30.3", Says: "SETATTR of an attribute number that is not defined is NFS4ERR_ATTRNOTSUPP and sets nothing", run: unknSetAttr},
		{Code: "UNKN4", minors: all, RFC: "RFC 7530 §16.35.4, RFC 8881 §18.31.3", Says: "VERIFY and NVERIFY of an attribute number that is not defined are NFS4ERR_ATTRNOTSUPP", run: unknVerify},
		{Code: "UNKN5", minors: all, RFC: "RFC 7530 §16.4.4, RFC 8881 §18.4.3", Says: "CREATE with an attribute number that is not defined is NFS4ERR_ATTRNOTSUPP and makes nothing", run: unknCreate},
		{Code: "UNKN6", minors: all, RFC: "RFC 7530 §16.16.5, RFC 8881 §18.16.3", Says: "OPEN with an attribute number that is not defined is NFS4ERR_ATTRNOTSUPP and makes nothing", run: unknOpen},
		{Code: "UNKN7", minors: v0 | v1, RFC: "RFC 8881 §18.7.3, RFC 8178 §4.4", Says: "GETATTR leaves out an attribute that only a later minor version defines", run: unknLater},
		{Code: "UNKN8", minors: all, RFC: "RFC 4506 §4, RFC 8881 §3.3.7", Says: "a bitmap with words of zero at its end means the same as without", run: unknZeroWords},
	}
}

// unknown is mode, and an attribute that no version defines.
func unknown() *client.Attrs {
	a := new(client.Attrs).SetMode(0o600)
	a.Mask.Set(95)
	a.Raw = []byte{0, 0, 1, 0x80, 0, 0, 0, 1}
	return a
}

func unknGetAttr(e *Env) {
	a := e.Attrs(e.Client(), e.Dir(), nfs4.AttrType, 95, 88)
	if a.Mask != nfs4.BitmapOf(nfs4.AttrType) {
		e.Errorf("%v", a)
	}
}

func unknReadDir(e *Env) {
	s := e.attrScene()
	entries, err := s.c.List(s.dir, 8192, nfs4.AttrType, 95, 88)
	e.Must(err)
	if len(entries) != 1 || entries[0].Attrs.Mask != nfs4.BitmapOf(nfs4.AttrType) {
		e.Errorf("%v", entries)
	}
}

func unknSetAttr(e *Env) {
	s := e.attrScene()
	r := e.setattr(s.c, s.fh, is(nfs4.ErrAttrNotSupp), unknown())
	s.want(r.Set.Empty(), "attrsset %v", r.Set)
	s.want(e.Attrs(s.c, s.fh, nfs4.AttrMode).Mode() == 0o644, "the mode was set")
}

func unknVerify(e *Env) {
	s := e.attrScene()
	e.Want(s.c, is(nfs4.ErrAttrNotSupp), client.PutFH(s.fh), client.Verify(unknown()))
	e.Want(s.c, is(nfs4.ErrAttrNotSupp), client.PutFH(s.fh), client.NVerify(unknown()))
}

func unknCreate(e *Env) {
	s := e.attrScene()
	e.Want(s.c, is(nfs4.ErrAttrNotSupp), client.PutFH(s.dir), client.Create(client.CreateArgs{Type: nfs4.TypeDir, Name: "d", Attrs: unknown()}))
	e.Want(s.c, is(nfs4.ErrNoEnt), client.PutFH(s.dir), client.Lookup("d"))
}

func unknOpen(e *Env) {
	s := e.attrScene()
	_, err := s.c.Open(client.NewOwner(), s.dir, client.OpenArgs{Access: 3, How: nfs4.OpenCreate, Attrs: unknown(), Name: "g"})
	e.Err(err, nfs4.ErrAttrNotSupp)
	e.Want(s.c, is(nfs4.ErrNoEnt), client.PutFH(s.dir), client.Lookup("g"))
}

func unknLater(e *Env) {
	later := []nfs4.Attr{nfs4.AttrType, nfs4.AttrChangeAttrType, nfs4.AttrXattrSupport, nfs4.AttrCloneBlkSize}
	if e.Minor == 0 {
		later = append(later, nfs4.AttrSuppAttrExclCreat, nfs4.AttrFSCharsetCap)
	}
	a := e.Attrs(e.Client(), e.Dir(), later...)
	if a.Mask != nfs4.BitmapOf(nfs4.AttrType) {
		e.Errorf("%v", a)
	}
}

func unknZeroWords(e *Env) {
	ask := client.Op{Num: nfs4.OpGetAttr, Args: []byte{0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}
	a := get[client.GetAttrRes](e, e.OK(e.Client(), client.PutFH(e.Dir()), ask))
	if a.Mask != nfs4.BitmapOf(nfs4.AttrType) {
		e.Errorf("%v", a)
	}
}
