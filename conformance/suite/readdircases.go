package suite

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func readdirCaseTests() []Test {
	const rfc = "RFC 7530 §16.24.4, RFC 8881 §18.23.3"
	return []Test{
		{Code: "RDC1", minors: all, RFC: rfc, Says: "a cookie that was never given is refused, or is taken as a place in the directory; no entry comes twice", run: rdcForeign},
		{Code: "RDC2", minors: all, RFC: rfc, Says: "with the cookie of each entry READDIR goes on behind just that entry", run: rdcEachCookie},
		{Code: "RDC3", minors: all, RFC: rfc, Says: "a cookie stays good when its own entry was removed, or is NFS4ERR_BAD_COOKIE or NFS4ERR_NOT_SAME", run: rdcRemovedEntry},
		{Code: "RDC4", minors: all, RFC: rfc, Says: "an entry removed before READDIR comes to it is not listed", run: rdcRemovedAhead},
		{Code: "RDC5", minors: all, RFC: rfc, Says: "a renamed entry is listed under one of its names at least once, and its neighbours exactly once", run: rdcRenamed},
		{Code: "RDC6", minors: all, RFC: rfc, Flags: extra, Says: "cookies and verifier of one client serve another one", run: rdcOtherClient},
		{Code: "RDC7", minors: all, RFC: rfc, Says: "the cookies of one listing are good after a hundred entries were added", run: rdcAdded},
		{Code: "RDC8", minors: all, RFC: rfc, Says: "dircount is a hint: of zero it does not keep entries back, nor of all ones exceed maxcount", run: rdcDirCount},
		{Code: "RDC9", minors: all, RFC: rfc, Says: "a maxcount of all ones is served", run: rdcHugeMaxCount},
		{Code: "RDC10", minors: all, RFC: rfc, Says: "a reply never has more bytes than maxcount, for each maxcount from small to large", run: rdcEachMaxCount},
		{Code: "RDC11", minors: all, RFC: rfc, Says: "one entry at a time, the whole directory is listed", run: rdcOneByOne},
		{Code: "RDC12", minors: all, RFC: rfc, Says: "READDIR with no attributes gives names and cookies with empty bitmaps", run: rdcNoAttrs},
		{Code: "RDC13", minors: all, RFC: rfc, Says: "READDIR keeps the current filehandle", run: rdcKeepsFH},
		{Code: "RDC14", minors: all, RFC: rfc, Says: "READDIR does not change the directory's change and time_modify", run: rdcNoChange},
		{Code: "RDC15", minors: all, RFC: "RFC 7530 §5.8.1.12, RFC 8881 §5.8.1.12", Says: "with rdattr_error asked for, an entry whose attributes fail does not fail the others", run: rdcRDAttrError},
		{Code: "RDC16", minors: all, RFC: rfc, Says: "a cookie of zero begins anew, also with the verifier of an earlier listing", run: rdcZeroWithVerifier},
	}
}

// listing reads the whole directory with small replies and returns the entries
// with the verifier of the last reply.
func (e *Env) listing(c *client.Client, dir client.FH, max uint32) (entries []client.Entry, v nfs4.Verifier) {
	a := client.ReadDirArgs{DirCount: max, MaxCount: max}
	for range 1000 {
		d := get[client.ReadDirRes](e, e.OK(c, client.PutFH(dir), client.ReadDir(a)))
		entries = append(entries, d.Entries...)
		if d.EOF {
			return entries, d.Verifier
		}
		if len(d.Entries) == 0 {
			e.Fatalf("no entry and no end after %d", len(entries))
		}
		a.Cookie, a.Verifier = d.Entries[len(d.Entries)-1].Cookie, d.Verifier
	}
	e.Fatalf("no end after %d entries", len(entries))
	return nil, v
}

func entryNames(entries []client.Entry) []string {
	var names []string
	for _, en := range entries {
		names = append(names, en.Name)
	}
	return names
}

// after continues behind a cookie until the end.
func (e *Env) after(c *client.Client, dir client.FH, cookie uint64, v nfs4.Verifier, may ...nfs4.Status) []string {
	var names []string
	seen := make(map[uint64]bool)
	for {
		if seen[cookie] {
			e.Fatalf("READDIR goes in circles: it comes to cookie %d again", cookie)
		}
		seen[cookie] = true
		p := e.Expect(e.Do(c, client.PutFH(dir), client.ReadDir(client.ReadDirArgs{Cookie: cookie, Verifier: v, DirCount: 4096, MaxCount: 4096})), append(may, nfs4.OK))
		if p.Status != nfs4.OK {
			return nil
		}
		d := get[client.ReadDirRes](e, p)
		names = append(names, entryNames(d.Entries)...)
		if d.EOF || len(d.Entries) == 0 {
			return names
		}
		cookie, v = d.Entries[len(d.Entries)-1].Cookie, d.Verifier
	}
}

var badCookie = is(nfs4.ErrBadCookie, nfs4.ErrNotSame)

func rdcForeign(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 10)
	entries, v := e.listing(c, dir, 4096)
	may := append(slices.Clone(badCookie), nfs4.ErrInval) // an argument that is not valid "for some reason": §15.1.1.4
	for _, cookie := range []uint64{entries[4].Cookie + 1, 12345678, 1 << 62, nfs4.Uint64Max - 1} {
		names := e.after(c, dir, cookie, v, may...)
		slices.Sort(names)
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			e.Errorf("behind cookie %d: %v", cookie, names)
		}
	}
}

func rdcEachCookie(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 12)
	entries, v := e.listing(c, dir, 4096)
	names := entryNames(entries)
	for i, en := range entries {
		if got := e.after(c, dir, en.Cookie, v); !slices.Equal(got, names[i+1:]) {
			e.Errorf("behind %s: %v, want %v", en.Name, got, names[i+1:])
		}
	}
}

func rdcRemovedEntry(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 12)
	entries, v := e.listing(c, dir, 4096)
	names := entryNames(entries)
	e.OK(c, client.PutFH(dir), client.Remove(names[5]))
	if got := e.after(c, dir, entries[5].Cookie, v, badCookie...); got != nil && !slices.Equal(got, names[6:]) {
		e.Errorf("behind the removed %s: %v, want %v", names[5], got, names[6:])
	}
}

func rdcRemovedAhead(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 12)
	entries, v := e.listing(c, dir, 4096)
	names := entryNames(entries)
	e.OK(c, client.PutFH(dir), client.Remove(names[8]))
	want := slices.Concat(names[4:8], names[9:])
	if got := e.after(c, dir, entries[3].Cookie, v, badCookie...); got != nil && !slices.Equal(got, want) {
		e.Errorf("%v, want %v", got, want)
	}
}

func rdcRenamed(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 12)
	entries, v := e.listing(c, dir, 4096)
	names := entryNames(entries)
	e.OK(c, client.PutFH(dir), client.SaveFH(), client.Rename(names[2], "renamed"))
	rest := e.after(c, dir, entries[5].Cookie, v, badCookie...)
	if rest == nil {
		return
	}
	rest = slices.DeleteFunc(rest, func(n string) bool { return n == "renamed" })
	if !slices.Equal(rest, names[6:]) {
		e.Errorf("%v, want %v", rest, names[6:])
	}
}

func rdcOtherClient(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 8)
	entries, v := e.listing(c, dir, 4096)
	if got, want := e.after(e.NewClient(nil), dir, entries[3].Cookie, v), entryNames(entries[4:]); !slices.Equal(got, want) {
		e.Errorf("%v, want %v", got, want)
	}
}

func rdcAdded(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 12)
	entries, v := e.listing(c, dir, 4096)
	names := entryNames(entries)
	for i := range 100 {
		e.OK(c, client.PutFH(dir), client.Mkdir(fmt.Sprintf("later-%d", i)))
	}
	got := e.after(c, dir, entries[5].Cookie, v, badCookie...)
	if got == nil {
		return
	}
	got = slices.DeleteFunc(got, func(n string) bool { return strings.HasPrefix(n, "later-") })
	if !slices.Equal(got, names[6:]) {
		e.Errorf("%v, want %v", got, names[6:])
	}
}

func rdcDirCount(e *Env) {
	c := e.Client()
	dir := e.Dir()
	names := e.fill(c, dir, 10)
	for _, count := range []uint32{0, 0xffffffff} {
		d := get[client.ReadDirRes](e, e.OK(c, client.PutFH(dir), client.ReadDir(client.ReadDirArgs{DirCount: count, MaxCount: 4096})))
		if len(d.Entries) == 0 || len(d.Entries) > len(names) {
			e.Errorf("dircount %d: %d entries", count, len(d.Entries))
		}
	}
}

func rdcHugeMaxCount(e *Env) {
	c := e.Client()
	dir := e.Dir()
	names := e.fill(c, dir, 10)
	d := get[client.ReadDirRes](e, e.OK(c, client.PutFH(dir), client.ReadDir(client.ReadDirArgs{DirCount: 0xffffffff, MaxCount: 0xffffffff})))
	if len(d.Entries) != len(names) || !d.EOF {
		e.Errorf("%d entries of %d, eof %v", len(d.Entries), len(names), d.EOF)
	}
}

// rdcEachMaxCount counts a READDIR4resok: verifier, entries with cookie, name
// and an empty fattr4, and the two booleans at the end.
func rdcEachMaxCount(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 20)
	for max := uint32(60); max < 1000; max += 52 {
		p := e.Expect(e.Do(c, client.PutFH(dir), client.ReadDir(client.ReadDirArgs{DirCount: max, MaxCount: max})), is(nfs4.OK, nfs4.ErrTooSmall))
		if p.Status != nfs4.OK {
			continue
		}
		size := 8 + 4 + 4
		for _, en := range get[client.ReadDirRes](e, p).Entries {
			size += 4 + 8 + 4 + (len(en.Name)+3)&^3 + 4 + 4
		}
		if size > int(max) {
			e.Errorf("maxcount %d, result of %d bytes", max, size)
		}
	}
}

func rdcOneByOne(e *Env) {
	c := e.Client()
	dir := e.Dir()
	names := e.fill(c, dir, 12)
	entries, _ := e.listing(c, dir, 64) // room for one name of eleven bytes
	got := entryNames(entries)
	slices.Sort(got)
	if !slices.Equal(got, names) {
		e.Errorf("%v, want %v", got, names)
	}
}

func rdcNoAttrs(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 3)
	entries, _ := e.listing(c, dir, 4096)
	for _, en := range entries {
		if !en.Attrs.Mask.Empty() {
			e.Errorf("%s: %v", en.Name, en.Attrs)
		}
	}
}

func rdcKeepsFH(e *Env) {
	dir := e.Dir()
	p := e.OK(e.Client(), client.PutFH(dir), client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096}), client.GetFH())
	if got := get[client.GetFHRes](e, p).FH; string(got) != string(dir) {
		e.Errorf("%v, was %v", got, dir)
	}
}

func rdcNoChange(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 3)
	before := e.Attrs(c, dir, nfs4.AttrChange, nfs4.AttrTimeModify).String()
	e.listing(c, dir, 4096)
	if after := e.Attrs(c, dir, nfs4.AttrChange, nfs4.AttrTimeModify).String(); after != before {
		e.Errorf("%s, then %s", before, after)
	}
}

// rdcRDAttrError lists as a user who may read the directory but not the files.
func rdcRDAttrError(e *Env) {
	c := e.Client()
	dir := e.Dir()
	for _, name := range []string{"a", "b", "c"} {
		fh := e.Closed(c, dir, name, "")
		e.setattr(c, fh, is(nfs4.OK), new(client.Attrs).SetMode(0))
	}
	entries, err := e.User(1001, 1001).List(dir, 8192, nfs4.AttrRDAttrError, nfs4.AttrType, nfs4.AttrSize, nfs4.AttrACL)
	e.Must(err)
	if len(entries) != 3 {
		e.Errorf("%d entries of 3", len(entries))
	}
}

func rdcZeroWithVerifier(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 5)
	entries, v := e.listing(c, dir, 4096)
	if v == (nfs4.Verifier{}) {
		v[0] = 1 // a cookie of zero comes with a verifier of zeros; another may be told wrong
	}
	p := e.Expect(e.Do(c, client.PutFH(dir), client.ReadDir(client.ReadDirArgs{Verifier: v, DirCount: 4096, MaxCount: 4096})), append(badCookie, nfs4.OK))
	if p.Status == nfs4.OK && len(get[client.ReadDirRes](e, p).Entries) != len(entries) {
		e.Errorf("%v", p)
	}
}
