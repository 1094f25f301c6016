package suite

import (
	"fmt"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A naming is an operation that takes a name in the current directory. use
// builds the compound in dir, where "exists" is a file and "d" a directory.
type naming struct {
	num     nfs4.Op
	creates bool // the name need not exist
	use     func(c *client.Client, dir client.FH, name string) []client.Op
}

func namings() []naming {
	in := func(op func(name string) client.Op) func(*client.Client, client.FH, string) []client.Op {
		return func(_ *client.Client, dir client.FH, name string) []client.Op {
			return []client.Op{client.PutFH(dir), op(name)}
		}
	}
	return []naming{
		{num: nfs4.OpLookup, use: in(client.Lookup)},
		{num: nfs4.OpRemove, use: in(client.Remove)},
		{num: nfs4.OpSecInfo, use: in(client.SecInfo)},
		{num: nfs4.OpCreate, creates: true, use: in(client.Mkdir)},
		{num: nfs4.OpLink, creates: true, use: func(_ *client.Client, dir client.FH, name string) []client.Op {
			return []client.Op{client.PutFH(dir), client.Lookup("exists"), client.SaveFH(), client.PutFH(dir), client.Link(name)}
		}},
		{num: nfs4.OpOpen, creates: true, use: func(c *client.Client, dir client.FH, name string) []client.Op {
			owner := client.Owner{ClientID: c.ClientID, Name: client.UniqueName("opener ")}
			return []client.Op{client.PutFH(dir), client.Open(client.OpenArgs{
				Access: 3, Owner: owner, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: name,
			})}
		}},
		{num: nfs4.OpRename, use: func(_ *client.Client, dir client.FH, name string) []client.Op {
			return []client.Op{client.PutFH(dir), client.SaveFH(), client.Rename(name, "new")}
		}},
	}
}

// renameTo is RENAME with the name as the target, which has tests of its own
// beside those with the name as the source.
var renameTo = naming{num: nfs4.OpRename, creates: true, use: func(_ *client.Client, dir client.FH, name string) []client.Op {
	return []client.Op{client.PutFH(dir), client.SaveFH(), client.Rename("exists", name)}
}}

// A badName is a name that no operation may take.
type badName struct {
	family, rfc, what string
	names             []string
	want              []nfs4.Status
}

func badNames() []badName {
	// With which status is what the server "should" do: NAME9.
	refused := is(nfs4.ErrBadChar, nfs4.ErrBadName, nfs4.ErrInval, nfs4.ErrAccess)
	const chars = "RFC 7530 §12.7, RFC 8881 §14.5"
	return []badName{
		{"NEMPTY", "RFC 7530 §13.1.1.4, RFC 8881 §15.1.1.4", "an empty name is NFS4ERR_INVAL", []string{""}, is(nfs4.ErrInval)},
		{"NLONG", "RFC 7530 §13.1.7.3, RFC 8881 §15.1.7.3", "a name longer than any file system's is NFS4ERR_NAMETOOLONG",
			[]string{strings.Repeat("n", 1024)}, is(nfs4.ErrNameTooLong)},
		{"NSLASH", chars, "a name with a slash in it is refused, and is not taken for a path",
			[]string{"d/inner", "/", "d/", "/exists", "d/../exists"}, refused},
		{"NNUL", chars, "a name with a zero byte in it is refused, and is not cut there",
			[]string{"exists\x00", "exists\x00x", "\x00"}, refused},
	}
}

// nameCaseTests are numbered by the operation; RENAME's target by 129.
func nameCaseTests() []Test {
	var tests []Test
	add := func(n naming, number int, family, rfc, says string, run func(e *Env, n naming)) {
		which := n.num.String()
		if n.num == nfs4.OpRename {
			which = map[bool]string{false: "RENAME from", true: "RENAME to"}[n.creates]
		}
		tests = append(tests, Test{Code: fmt.Sprintf("%s%d", family, number), minors: all, RFC: rfc, Says: which + ": " + says, run: func(e *Env) { run(e, n) }})
	}
	each := func(family, rfc, says string, run func(e *Env, n naming)) {
		for _, n := range namings() {
			add(n, int(n.num), family, rfc, says, run)
		}
		add(renameTo, 100+int(nfs4.OpRename), family, rfc, says, run)
	}
	for _, b := range badNames() {
		each(b.family, b.rfc, b.what, func(e *Env, n naming) { nameRefused(e, n, b) })
	}
	each("NDOT", "RFC 7530 §12.7, RFC 8881 §14.5", "the names . and .. do not stand for the directory and its parent", nameDot)
	each("NUTF", "RFC 7530 §12.7, §12.8, RFC 8881 §14.5", "a name that is not UTF-8 is NFS4ERR_INVAL, or is a name like any other", nameUTF)
	each("NEXACT", "RFC 7530 §12.4, RFC 8881 §14.4", "names that differ in one byte are different names", nameExact)
	return tests
}

// nameDir makes the directory that namings expect, and returns what it lists.
func (e *Env) nameDir(c *client.Client) (dir client.FH, before []string) {
	dir = e.Dir()
	e.Closed(c, dir, "exists", "contents")
	e.Closed(c, e.Mkdir(c, dir, "d"), "inner", "")
	return dir, []string{"d", "exists"}
}

func nameRefused(e *Env, n naming, b badName) {
	c := e.Client()
	dir, before := e.nameDir(c)
	for _, name := range b.names {
		e.Expect(e.Do(c, n.use(c, dir, name)...), b.want)
	}
	if got := e.Names(c, dir); fmt.Sprint(got) != fmt.Sprint(before) {
		e.Errorf("the directory holds %q, it held %q", got, before)
	}
}

func nameDot(e *Env, n naming) {
	c := e.Client()
	dir, before := e.nameDir(c)
	want := is(nfs4.ErrBadName, nfs4.ErrInval)
	if !n.creates { // a server may let them be names of files, of which there are none
		want = append(want, nfs4.ErrNoEnt)
	}
	for _, name := range []string{".", ".."} {
		p := e.Do(c, n.use(c, dir, name)...)
		e.Expect(p, want)
	}
	if got := e.Names(c, dir); fmt.Sprint(got) != fmt.Sprint(before) {
		e.Errorf("the directory holds %q, it held %q", got, before)
	}
}

// nameUTF uses overlong forms, a surrogate, a lone continuation byte and one
// that is cut short.
func nameUTF(e *Env, n naming) {
	c := e.Client()
	dir, _ := e.nameDir(c)
	for _, name := range []string{"\xff", "a\x80", "\xc0\xafx", "\xed\xa0\x80", "\xe2\x82"} {
		good := nfs4.ErrNoEnt
		if n.creates {
			good = nfs4.OK
		}
		p := e.Expect(e.Do(c, n.use(c, dir, name)...), is(nfs4.ErrInval, nfs4.ErrBadChar, nfs4.ErrBadName, good))
		if p.Status != nfs4.OK {
			continue
		}
		if names := e.Names(c, dir); !contains(names, name) {
			e.Errorf("%q was taken, and the directory holds %q", name, names)
		}
		if n.num == nfs4.OpRename {
			e.OK(c, client.PutFH(dir), client.SaveFH(), client.Rename(name, "exists"))
		}
	}
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func nameExact(e *Env, n naming) {
	c := e.Client()
	dir, before := e.nameDir(c)
	if a := e.Attrs(c, dir, nfs4.AttrCaseInsensitive); a.Num(nfs4.AttrCaseInsensitive) == 1 {
		e.Skipf("the file system does not tell upper case from lower case")
	}
	for _, name := range []string{"Exists", "exist", "exists ", " exists", "exists."} {
		p := e.Do(c, n.use(c, dir, name)...)
		if !n.creates {
			e.Expect(p, is(nfs4.ErrNoEnt))
			continue
		}
		e.Expect(p, is(nfs4.OK))
		if n.num == nfs4.OpRename {
			e.OK(c, client.PutFH(dir), client.SaveFH(), client.Rename(name, "exists"))
		} else {
			e.OK(c, client.PutFH(dir), client.Remove(name))
		}
	}
	if got := e.Names(c, dir); fmt.Sprint(got) != fmt.Sprint(before) {
		e.Errorf("the directory holds %q, it held %q", got, before)
	}
}
