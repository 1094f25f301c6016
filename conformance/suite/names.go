package suite

import (
	"slices"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func nameTests() []Test {
	return []Test{
		{Code: "NAME1", minors: all, RFC: "RFC 8881 §14", Says: "UTF-8 names of every script come back as they were given", run: nameUTF8},
		{Code: "NAME2", minors: all, RFC: "RFC 8881 §5.8.2.26", Says: "a name of maxname bytes works, one byte more is NFS4ERR_NAMETOOLONG", run: nameLength},
		{Code: "NAME3", minors: all, RFC: "RFC 8881 §14.5", Says: "a slash or a zero byte in a name is refused", run: nameBadChars},
		{Code: "NAME8", minors: all, RFC: "RFC 7530 §13.1.7.3, RFC 8881 §15.1.7.3", Says: "a name of 4097 bytes, which the XDR definition allows, is NFS4ERR_NAMETOOLONG", run: nameHuge},
		{Code: "NAME9", minors: all, Flags: extra, RFC: "RFC 7530 §12.7, RFC 8881 §14.5", Says: "a slash or a zero byte in a name should be NFS4ERR_BADCHAR or NFS4ERR_BADNAME", run: nameBadCharStatus},
		{Code: "NAME4", minors: all, RFC: "RFC 8881 §14.5", Says: "bytes that are not UTF-8 are refused, or come back as they were", run: nameNotUTF8},
		{Code: "NAME5", minors: all, RFC: "RFC 8881 §5.8.2.9, §5.8.2.10", Says: "case_insensitive and case_preserving tell the truth", run: nameCase},
		{Code: "NAME6", minors: all, RFC: "RFC 8881 §14", Says: "names that look odd to a shell are plain names", run: nameOdd},
		{Code: "NAME7", minors: all, RFC: "RFC 8881 §14.4", Says: "two normal forms of one text are two names, or one; never lost", run: nameForms},
	}
}

func nameUTF8(e *Env) {
	c := e.Client()
	dir := e.Dir()
	want := []string{"grüße", "日本語", "עברית", "русский", "🙂", "a\u0301", "mixed-ascii-ñ"}
	for _, name := range want {
		e.OK(c, client.PutFH(dir), client.Mkdir(name))
		e.OK(c, client.PutFH(dir), client.Lookup(name))
	}
	slices.Sort(want)
	if got := e.Names(c, dir); !slices.Equal(got, want) {
		e.Errorf("%q, want %q", got, want)
	}
}

func nameLength(e *Env) {
	c := e.Client()
	dir := e.Dir()
	max := 255
	if a := e.Attrs(c, dir, nfs4.AttrMaxName); a.Has(nfs4.AttrMaxName) {
		max = int(a.Num(nfs4.AttrMaxName))
	}
	name := strings.Repeat("n", max)
	e.OK(c, client.PutFH(dir), client.Mkdir(name))
	e.OK(c, client.PutFH(dir), client.Lookup(name))
	e.OK(c, client.PutFH(dir), client.Remove(name))
	long := name + "n"
	e.Want(c, is(nfs4.ErrNameTooLong), client.PutFH(dir), client.Mkdir(long))
	e.Want(c, is(nfs4.ErrNameTooLong), client.PutFH(dir), client.Lookup(long))
	_, err := c.CreateFile(dir, long)
	e.Err(err, nfs4.ErrNameTooLong)
}

func nameBadChars(e *Env) {
	c := e.Client()
	dir := e.Dir()
	// The status is what the server "should" return: NAME9.
	want := is(nfs4.ErrBadChar, nfs4.ErrBadName, nfs4.ErrInval, nfs4.ErrAccess)
	for _, name := range badCharNames {
		e.Want(c, want, client.PutFH(dir), client.Mkdir(name))
		e.Want(c, append(want, nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup(name))
		_, err := c.CreateFile(dir, name)
		e.Err(err, want...)
	}
	if got := e.Names(c, dir); len(got) != 0 {
		e.Errorf("created %q", got)
	}
}

// badCharNames have a character that no file system allows in a name.
var badCharNames = []string{"a/b", "/", "../x", "x/", "a\x00b", "\x00"}

func nameBadCharStatus(e *Env) {
	for _, name := range badCharNames {
		e.Want(e.Client(), is(nfs4.ErrBadChar, nfs4.ErrBadName, nfs4.ErrInval), client.PutFH(e.Dir()), client.Mkdir(name))
	}
}

func nameHuge(e *Env) {
	c := e.Client()
	dir := e.Dir()
	huge := strings.Repeat("n", 4097)
	e.Want(c, is(nfs4.ErrNameTooLong), client.PutFH(dir), client.Lookup(huge))
	e.Want(c, is(nfs4.ErrNameTooLong), client.PutFH(dir), client.Mkdir(huge))
	if got := e.Names(c, dir); len(got) != 0 {
		e.Errorf("created %q", got)
	}
}

func nameNotUTF8(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for _, name := range []string{"\xff\xfe", "a\xc3", "\xed\xa0\x80"} {
		p := e.Do(c, client.PutFH(dir), client.Mkdir(name))
		e.Expect(p, is(nfs4.OK, nfs4.ErrInval, nfs4.ErrBadChar, nfs4.ErrBadName))
		if p.Status == nfs4.OK && !slices.Contains(e.Names(c, dir), name) {
			e.Errorf("%q was created and is not listed", name)
		}
	}
}

func nameCase(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.NeedAttr(dir, nfs4.AttrCaseInsensitive, nfs4.AttrCasePreserving)
	a := e.Attrs(c, dir, nfs4.AttrCaseInsensitive, nfs4.AttrCasePreserving)
	e.OK(c, client.PutFH(dir), client.Mkdir("MixedCase"))
	p := e.Do(c, client.PutFH(dir), client.Lookup("mixedcase"))
	e.Expect(p, is(nfs4.OK, nfs4.ErrNoEnt))
	if (p.Status == nfs4.OK) != (a.Num(nfs4.AttrCaseInsensitive) == 1) {
		e.Errorf("%v, and LOOKUP in other case: %v", a, p.Status)
	}
	if got := e.Names(c, dir); (got[0] == "MixedCase") != (a.Num(nfs4.AttrCasePreserving) == 1) {
		e.Errorf("%v, and listed as %q", a, got)
	}
}

func nameOdd(e *Env) {
	c := e.Client()
	dir := e.Dir()
	want := []string{" ", "  x  ", "-rf", "*", "a\nb", "a\tb", "...", ".hidden", "\\", "con", "a:b", "~", "$HOME", "\x7f"}
	for _, name := range want {
		e.OK(c, client.PutFH(dir), client.Mkdir(name))
	}
	slices.Sort(want)
	if got := e.Names(c, dir); !slices.Equal(got, want) {
		e.Errorf("%q, want %q", got, want)
	}
}

func nameForms(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.OK(c, client.PutFH(dir), client.Mkdir("\u00e9"))
	p := e.Do(c, client.PutFH(dir), client.Mkdir("e\u0301"))
	e.Expect(p, is(nfs4.OK, nfs4.ErrExist))
	want := 2
	if p.Status == nfs4.ErrExist {
		want = 1
	}
	if got := e.Names(c, dir); len(got) != want {
		e.Errorf("%q", got)
	}
	e.OK(c, client.PutFH(dir), client.Lookup("\u00e9"))
	e.OK(c, client.PutFH(dir), client.Lookup("e\u0301"))
}
