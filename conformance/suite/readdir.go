package suite

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func readdirTests() []Test {
	return []Test{
		{Code: "RD1", minors: all, RFC: "RFC 8881 §18.23", Says: "an empty directory has no entries and is at its end; . and .. are not listed", run: rdEmpty},
		{Code: "RD2", minors: all, RFC: "RFC 8881 §18.23", Says: "every entry is listed once, however small the replies", run: rdAll},
		{Code: "RD3", minors: all, RFC: "RFC 8881 §18.23.3", Says: "the attributes asked for come with each entry", run: rdAttrs},
		{Code: "RD4", minors: all, RFC: "RFC 8881 §18.23.3", Says: "maxcount in which no entry fits is NFS4ERR_TOOSMALL", run: rdTooSmall},
		{Code: "RD5", minors: all, RFC: "RFC 8881 §18.23.3", Says: "a reply is not larger than maxcount", run: rdMaxCount},
		{Code: "RD6", minors: all, RFC: "RFC 8881 §18.23.3", Says: "READDIR of anything but a directory is NFS4ERR_NOTDIR", run: rdNotDir},
		{Code: "RD7", minors: all, RFC: "RFC 8881 §18.23.4", Says: "cookies are above 2 and unique; 1 and 2 as arguments are NFS4ERR_BAD_COOKIE", run: rdCookies},
		{Code: "RD8", minors: all, RFC: "RFC 8881 §18.23.3", Says: "a write-only attribute is NFS4ERR_INVAL", run: rdWriteOnly},
		{Code: "RD9", minors: all, RFC: "RFC 8881 §18.23.3", Says: "entries that stay are listed once while others come and go", run: rdWhileChanging},
		{Code: "RD10", minors: all, RFC: "RFC 8881 §18.23", Says: "without read permission READDIR is NFS4ERR_ACCESS", run: rdAccess},
		{Code: "RD11", minors: all, RFC: "RFC 8881 §18.23.3", Says: "rdattr_error may be asked for and is NFS4_OK where nothing failed", run: rdAttrError},
		{Code: "RD12", minors: all, RFC: "RFC 8881 §18.23", Says: "names of 255 bytes are listed whole", run: rdLongNames},
		{Code: "RD13", minors: all, RFC: "RFC 8881 §18.23.3", Says: "continuing after the last entry gives the end", run: rdAfterEnd},
		{Code: "RD14", minors: all, RFC: "RFC 8881 §18.23.3", Says: "the filehandle listed for an entry is the one LOOKUP gives", run: rdFilehandle},
	}
}

func rdEmpty(e *Env) {
	p := e.OK(e.Client(), client.PutFH(e.Dir()), client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096}))
	if d := get[client.ReadDirRes](e, p); len(d.Entries) != 0 || !d.EOF {
		e.Errorf("%+v", d)
	}
}

// fill makes n directories with numbered names, sorted.
func (e *Env) fill(c *client.Client, dir client.FH, n int) []string {
	var names []string
	for i := range n {
		name := fmt.Sprintf("entry-%05d", i)
		e.OK(c, client.PutFH(dir), client.Mkdir(name))
		names = append(names, name)
	}
	return names
}

func rdAll(e *Env) {
	c := e.Client()
	dir := e.Dir()
	names := e.fill(c, dir, 150)
	for _, max := range []uint32{512, 4096, 60000} {
		entries, err := c.List(dir, max, nfs4.AttrFileID)
		e.Must(err)
		var got []string
		for _, en := range entries {
			got = append(got, en.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, names) {
			e.Errorf("maxcount %d: %d entries, want %d", max, len(got), len(names))
		}
	}
}

func rdAttrs(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.objects(c, dir)
	entries, err := c.List(dir, 32<<10, nfs4.AttrType, nfs4.AttrFileID, nfs4.AttrMode, nfs4.AttrChange)
	e.Must(err)
	for _, en := range entries {
		fh, err := c.LookupFH(dir, en.Name)
		e.Must(err)
		if a := e.Attrs(c, fh, nfs4.AttrType, nfs4.AttrFileID, nfs4.AttrMode, nfs4.AttrChange); a.String() != en.Attrs.String() {
			e.Errorf("%s is listed as %v, GETATTR gives %v", en.Name, en.Attrs, a)
		}
	}
}

func rdTooSmall(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 3)
	for _, max := range []uint32{0, 1, 20} {
		e.Want(c, is(nfs4.ErrTooSmall), client.PutFH(dir), client.ReadDir(client.ReadDirArgs{DirCount: max, MaxCount: max, Attrs: nfs4.BitmapOf(nfs4.AttrType)}))
	}
}

func rdMaxCount(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 60)
	for _, max := range []uint32{300, 1000, 2500} {
		p := e.OK(c, client.PutFH(dir), client.ReadDir(client.ReadDirArgs{DirCount: max, MaxCount: max, Attrs: nfs4.BitmapOf(nfs4.AttrType, nfs4.AttrFileID)}))
		// cookieverf, per entry: follows, cookie, name, fattr4; the end.
		size := 16
		for _, en := range get[client.ReadDirRes](e, p).Entries {
			size += 4 + 8 + 4 + (len(en.Name)+3)&^3 + 4 + 4 + 4 + 4 + 8
		}
		if size > int(max) {
			e.Errorf("maxcount %d, result of %d bytes", max, size)
		}
	}
}

func rdNotDir(e *Env) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		want := is(nfs4.ErrNotDir)
		if typ == nfs4.TypeLnk {
			want = append(want, nfs4.ErrSymlink) // RFC 8881 §15.1.2.8: the more exact of two errors that say so
		}
		if typ != nfs4.TypeDir {
			e.Want(c, want, client.PutFH(fh), client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096}))
		}
	}
}

func rdCookies(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 20)
	entries, err := c.List(dir, 512)
	e.Must(err)
	seen := make(map[uint64]string)
	for _, en := range entries {
		if en.Cookie <= 2 {
			e.Errorf("%s has the cookie %d", en.Name, en.Cookie)
		}
		if other, ok := seen[en.Cookie]; ok {
			e.Errorf("%s and %s have the cookie %d", other, en.Name, en.Cookie)
		}
		seen[en.Cookie] = en.Name
	}
	for _, cookie := range []uint64{1, 2} {
		e.Want(c, is(nfs4.ErrBadCookie), client.PutFH(dir), client.ReadDir(client.ReadDirArgs{Cookie: cookie, DirCount: 4096, MaxCount: 4096}))
	}
}

func rdWriteOnly(e *Env) {
	e.Want(e.Client(), is(nfs4.ErrInval), client.PutFH(e.Dir()), client.ReadDir(client.ReadDirArgs{
		DirCount: 4096, MaxCount: 4096, Attrs: nfs4.BitmapOf(nfs4.AttrTimeModifySet),
	}))
}

func rdWhileChanging(e *Env) {
	c := e.Client()
	dir := e.Dir()
	names := e.fill(c, dir, 120)
	seen := make(map[string]int)
	a := client.ReadDirArgs{DirCount: 600, MaxCount: 600}
	for step := 0; ; step++ {
		d := get[client.ReadDirRes](e, e.OK(c, client.PutFH(dir), client.ReadDir(a)))
		for _, en := range d.Entries {
			seen[en.Name]++
		}
		if d.EOF {
			break
		}
		if len(d.Entries) == 0 || step > 500 {
			e.Fatalf("step %d: %+v", step, d)
		}
		last := d.Entries[len(d.Entries)-1]
		a.Cookie, a.Verifier = last.Cookie, d.Verifier
		// What the client stands on goes away, and another name comes.
		if strings.HasPrefix(last.Name, "entry-") {
			e.OK(c, client.PutFH(dir), client.Remove(last.Name))
			names = slices.DeleteFunc(names, func(n string) bool { return n == last.Name })
			e.OK(c, client.PutFH(dir), client.Mkdir(fmt.Sprintf("new-%05d", step)))
		}
	}
	for _, n := range names {
		if seen[n] != 1 {
			e.Errorf("%s, there all the time, is listed %d times", n, seen[n])
		}
	}
	for n, count := range seen {
		if count > 1 {
			e.Errorf("%s is listed %d times", n, count)
		}
	}
}

func rdAccess(e *Env) {
	c := e.Client()
	sub := e.Mkdir(c, e.Dir(), "closed")
	e.setattr(c, sub, is(nfs4.OK), new(client.Attrs).SetMode(0o711))
	e.Want(e.User(4711, 4711), is(nfs4.ErrAccess), client.PutFH(sub), client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096}))
}

func rdAttrError(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 3)
	entries, err := c.List(dir, 4096, nfs4.AttrRDAttrError, nfs4.AttrType)
	e.Must(err)
	for _, en := range entries {
		if !en.Attrs.Has(nfs4.AttrType) || en.Attrs.RDAttrError != nfs4.OK {
			e.Errorf("%s: %v", en.Name, en.Attrs)
		}
	}
}

func rdLongNames(e *Env) {
	c := e.Client()
	dir := e.Dir()
	var want []string
	for i := range 10 {
		name := string(rune('a'+i)) + strings.Repeat("n", 254)
		e.OK(c, client.PutFH(dir), client.Mkdir(name))
		want = append(want, name)
	}
	if got := e.Names(c, dir); !slices.Equal(got, want) {
		e.Errorf("%d names: %v", len(got), got)
	}
}

func rdAfterEnd(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.fill(c, dir, 5)
	a := client.ReadDirArgs{DirCount: 8192, MaxCount: 8192}
	d := get[client.ReadDirRes](e, e.OK(c, client.PutFH(dir), client.ReadDir(a)))
	if !d.EOF || len(d.Entries) != 5 {
		e.Fatalf("%+v", d)
	}
	a.Cookie, a.Verifier = d.Entries[4].Cookie, d.Verifier
	d = get[client.ReadDirRes](e, e.OK(c, client.PutFH(dir), client.ReadDir(a)))
	if !d.EOF || len(d.Entries) != 0 {
		e.Errorf("%+v", d)
	}
}

func rdFilehandle(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.objects(c, dir)
	entries, err := c.List(dir, 32<<10, nfs4.AttrFilehandle)
	e.Must(err)
	for _, en := range entries {
		fh, err := c.LookupFH(dir, en.Name)
		e.Must(err)
		if string(en.Attrs.FH) != string(fh) {
			e.Errorf("%s: %v and %v", en.Name, en.Attrs.FH, fh)
		}
	}
}
