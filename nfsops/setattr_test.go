package nfsops_test

import (
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/export"
	"holdfast/internal/nfs4"
)

var anonymous = nfs4.Stateid{}

// setattr runs SETATTR and returns its status and attrsset.
func setattr(t *testing.T, c *client.Client, fh client.FH, sid nfs4.Stateid, a *client.Attrs) (nfs4.Status, nfs4.Bitmap) {
	t.Helper()
	p, err := c.Compound(client.PutFH(fh), client.SetAttr(sid, a))
	if err != nil {
		t.Fatal(err)
	}
	res := client.Get[client.SetAttrRes](p)
	if res == nil {
		t.Fatalf("%v", p)
	}
	return p.Status, res.Set
}

// RFC 8881 §18.30.4: "A mask of the attributes actually set is returned by
// SETATTR in all cases."
func TestSetAttr(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		path := h.file("f", "12345", 0o644)
		fh := walk(t, c, "a/f")
		when := nfs4.Time{Sec: 1_000_000_000, Nsec: 123456789}
		before := time.Now().Add(-time.Second)
		a := new(client.Attrs).SetMode(0o4751).SetOwner("12").SetGroup("34").SetModifyTime(&when).SetAccessTime(nil)
		if s, set := setattr(t, c, fh, anonymous, a); s != nfs4.OK || set != a.Mask {
			t.Fatalf("%v, set %v", s, set)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&0o7777 != 0o4751 || st.Uid != 12 || st.Gid != 34 || st.Mtim.Sec != when.Sec || st.Mtim.Nsec != int64(when.Nsec) {
			t.Errorf("%+v", st)
		}
		if atime := time.Unix(st.Atim.Unix()); atime.Before(before) {
			t.Errorf("the server's time is %v", atime)
		}
		a = new(client.Attrs).SetSize(2)
		if s, set := setattr(t, c, fh, anonymous, a); s != nfs4.OK || set != a.Mask {
			t.Errorf("%v, set %v", s, set)
		}
		if got, _ := os.ReadFile(path); string(got) != "12" {
			t.Errorf("content %q", got)
		}
		if s, set := setattr(t, c, fh, anonymous, new(client.Attrs)); s != nfs4.OK || !set.Empty() {
			t.Errorf("nothing: %v, set %v", s, set)
		}
	})
}

func TestSetAttrErrors(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		h.file("f", "", 0o644)
		h.mkdir("d", 0o755)
		symlink(t, "d", h.a+"/link")
		if err := syscall.Mkfifo(h.a+"/fifo", 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.ro+"/f", nil, 0o666); err != nil {
			t.Fatal(err)
		}
		attrs := func() *client.Attrs { return new(client.Attrs) }
		raw := func(a *client.Attrs, b ...byte) *client.Attrs { a.Raw = b; return a }
		unknown := attrs()
		unknown.Mask.Set(95)
		for name, test := range map[string]struct {
			path string
			a    *client.Attrs
			want nfs4.Status
		}{
			"mode out of range":     {"a/f", attrs().SetMode(0o10000), nfs4.ErrInval},
			"nanoseconds":           {"a/f", attrs().SetModifyTime(&nfs4.Time{Nsec: 1e9}), nfs4.ErrInval},
			"unsupported":           {"a/f", attrs().SetNum(nfs4.AttrHidden, 1), nfs4.ErrAttrNotSupp},
			"no such attribute":     {"a/f", raw(unknown, 0, 0, 0, 0), nfs4.ErrAttrNotSupp},
			"get-only":              {"a/f", attrs().SetNum(nfs4.AttrFileID, 1), nfs4.ErrInval},
			"unknown owner":         {"a/f", attrs().SetOwner("somebody@example.org"), nfs4.ErrBadOwner},
			"unknown group":         {"a/f", attrs().SetGroup("+1"), nfs4.ErrBadOwner},
			"owner not UTF-8":       {"a/f", attrs().SetOwner("\xff"), nfs4.ErrInval},
			"value too short":       {"a/f", raw(attrs().SetMode(0), 0, 0), nfs4.ErrBadXDR},
			"bytes left":            {"a/f", raw(attrs().SetMode(0), 0, 0, 0, 0, 0, 0, 0, 0), nfs4.ErrBadXDR},
			"settime4 of neither":   {"a/f", raw(attrs().SetModifyTime(nil), 0, 0, 0, 2), nfs4.ErrBadXDR},
			"size of a directory":   {"a/d", attrs().SetSize(0), nfs4.ErrIsDir},
			"size of a FIFO":        {"a/fifo", attrs().SetSize(0), nfs4.ErrInval},
			"size of a link":        {"a/link", attrs().SetSize(0), nfs4.ErrInval},
			"size above the limits": {"a/f", attrs().SetSize(1 << 63), nfs4.ErrFBig},
			"mode of a link":        {"a/link", attrs().SetMode(0o600), nfs4.ErrAttrNotSupp},
			"read-only export":      {"dir/readonly/f", attrs().SetMode(0o600), nfs4.ErrROFS},
			"pseudo file system":    {"dir", attrs().SetMode(0o700), nfs4.ErrROFS},
		} {
			if s, set := setattr(t, c, walk(t, c, test.path), anonymous, test.a); s != test.want || !set.Empty() {
				t.Errorf("%s: %v, set %v; want %v", name, s, set, test.want)
			}
		}
		p, err := c.Compound(client.SetAttr(anonymous, attrs().SetMode(0)))
		if err != nil || p.Status != nfs4.ErrNoFileHandle || client.Get[client.SetAttrRes](p) == nil {
			t.Errorf("without a filehandle: %v, %v", p, err)
		}
	})
}

// The caller's rights decide, not the gateway's.
func TestSetAttrNeedsRights(t *testing.T) {
	h := newHouse(t)
	h.file("f", "12345", 0o644)
	mine := h.file("mine", "", 0o600)
	if err := os.Chown(mine, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	c := h.client(1, 1000)
	for _, test := range []struct {
		path string
		a    *client.Attrs
		want nfs4.Status
	}{
		{"a/f", new(client.Attrs).SetMode(0o666), nfs4.ErrPerm},
		{"a/f", new(client.Attrs).SetOwner("1000"), nfs4.ErrPerm},
		{"a/f", new(client.Attrs).SetSize(0), nfs4.ErrAccess},
		{"a/f", new(client.Attrs).SetModifyTime(nil).SetAccessTime(nil), nfs4.ErrAccess},
		{"a/f", new(client.Attrs).SetModifyTime(&nfs4.Time{}), nfs4.ErrPerm},
		{"a/mine", new(client.Attrs).SetOwner("0"), nfs4.ErrPerm},
		// "The server SHOULD allow the operation to succeed if the current owner of
		// the object matches the value specified."
		{"a/mine", new(client.Attrs).SetOwner("1000").SetMode(0o640), nfs4.OK},
	} {
		if s, _ := setattr(t, c, walk(t, c, test.path), anonymous, test.a); s != test.want {
			t.Errorf("%s %v: %v, want %v", test.path, test.a, s, test.want)
		}
	}
}

// A file that is open for writing can be truncated by who opened it, whatever
// becomes of its mode; with a stateid without write access it cannot.
func TestTruncatingAnOpenFile(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, root *client.Client) {
		c := h.client(root.Config.Minor, 1000)
		path := h.file("f", "12345", 0o666)
		owner := client.NewOwner()
		open := func(access uint32) *client.OpenFile {
			f, err := c.Open(owner, walk(t, c, "a"), client.OpenArgs{Name: "f", Access: access})
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		read := open(nfs4.ShareAccessRead)
		if s, _ := setattr(t, c, read.FH, read.Stateid, new(client.Attrs).SetSize(1)); s != nfs4.ErrOpenMode {
			t.Errorf("opened for reading: %v", s)
		}
		write := open(nfs4.ShareAccessBoth)
		if err := os.Chmod(path, 0o400); err != nil {
			t.Fatal(err)
		}
		if s, _ := setattr(t, c, write.FH, write.Stateid, new(client.Attrs).SetSize(1)); s != nfs4.OK {
			t.Errorf("opened for writing: %v", s)
		}
		if got, _ := os.ReadFile(path); string(got) != "1" {
			t.Errorf("content %q", got)
		}
		if s, _ := setattr(t, c, write.FH, anonymous, new(client.Attrs).SetSize(0)); s != nfs4.ErrAccess {
			t.Errorf("without the open: %v", s)
		}
	})
}

// An ACL set over NFS is the POSIX one of the file, and comes back.
func TestSettingAnACL(t *testing.T) {
	h := newHouse(t)
	h.file("f", "", 0o640)
	h.mkdir("d", 0o750)
	fs := h.exports.Export(1).FS.(export.ACLs)
	if err := fs.SetACL(&export.Creds{}, h.exports.Export(1).FS.Root(), true, nil); err != nil {
		t.Skipf("the file system of the test has no ACLs: %v", err)
	}
	const r = nfs4.ACEReadData
	const w = nfs4.ACEWriteData | nfs4.ACEAppendData
	const inherit = nfs4.ACEFileInherit | nfs4.ACEDirectoryInherit
	acl := []client.ACE{
		{Mask: r | w, Who: "OWNER@"}, {Mask: r, Who: "1000"}, {Mask: 0, Who: "GROUP@", Flag: nfs4.ACEIdentifierGroup},
		{Mask: 0, Who: "EVERYONE@"},
	}
	c := h.client(2, 0)
	file, dir := walk(t, c, "a/f"), walk(t, c, "a/d")
	if s, set := setattr(t, c, file, anonymous, new(client.Attrs).SetACL(acl)); s != nfs4.OK || !set.Has(nfs4.AttrACL) {
		t.Fatalf("%v, set %v", s, set)
	}
	got, err := c.Attrs(file, nfs4.AttrACL, nfs4.AttrMode, nfs4.AttrDACL)
	if err != nil {
		t.Fatal(err)
	}
	if got.Mode() != 0o640 || !slices.Equal(got.ACL, got.DACL) {
		t.Errorf("%v", got)
	}
	// Setting what was read changes nothing.
	if s, _ := setattr(t, c, file, anonymous, new(client.Attrs).SetACL(got.ACL)); s != nfs4.OK {
		t.Errorf("%v", s)
	}
	if again, err := c.Attrs(file, nfs4.AttrACL); err != nil || !slices.Equal(again.ACL, got.ACL) {
		t.Errorf("%v became %v, %v", got.ACL, again.ACL, err)
	}
	reader := h.client(2, 1000)
	p := must(t, reader, client.PutFH(file), client.Access(nfs4.AccessRead|nfs4.AccessModify))
	if a := client.Get[client.AccessRes](p); a.Access != nfs4.AccessRead {
		t.Errorf("uid 1000 has %#x", a.Access)
	}
	// Inheritable entries are the default list of a directory.
	if s, _ := setattr(t, c, dir, anonymous, new(client.Attrs).SetACL(append(acl, client.ACE{Flag: inherit, Mask: r, Who: "2000"}))); s != nfs4.OK {
		t.Fatalf("%v", s)
	}
	got, err = c.Attrs(dir, nfs4.AttrACL)
	if err != nil || !slices.ContainsFunc(got.ACL, func(e client.ACE) bool {
		return e.Who == "2000" && e.Flag == inherit|nfs4.ACEInheritOnly && e.Mask&r != 0
	}) {
		t.Errorf("%v, %v", got.ACL, err)
	}
	// What cannot be set leaves everything as it was.
	bad := new(client.Attrs).SetMode(0o777).SetACL([]client.ACE{{Type: nfs4.ACEAudit, Mask: r, Who: "EVERYONE@"}})
	if s, set := setattr(t, c, file, anonymous, bad); s != nfs4.ErrAttrNotSupp || !set.Empty() {
		t.Errorf("%v, set %v", s, set)
	}
	if a, err := c.Attrs(file, nfs4.AttrMode); err != nil || a.Mode() != 0o640 {
		t.Errorf("%v, %v", a, err)
	}
}

// RFC 8275 §5.
func TestModeUmask(t *testing.T) {
	h := newHouse(t)
	c := h.client(2, 0)
	dir := walk(t, c, "a")
	mkdir := func(name string, a *client.Attrs) nfs4.Status {
		return status(t, c, client.PutFH(dir), client.Create(client.CreateArgs{Type: nfs4.TypeDir, Name: name, Attrs: a}))
	}
	if s := mkdir("d", new(client.Attrs).SetModeUmask(0o777, 0o027)); s != nfs4.OK {
		t.Fatalf("%v", s)
	}
	if st, err := os.Stat(h.a + "/d"); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", st, err)
	}
	for name, a := range map[string]*client.Attrs{
		"with mode":      new(client.Attrs).SetModeUmask(0o777, 0).SetMode(0o777),
		"umask too wide": new(client.Attrs).SetModeUmask(0o777, 0o1000),
		"mode too wide":  new(client.Attrs).SetModeUmask(0o10000, 0),
	} {
		if s := mkdir("e", a); s != nfs4.ErrInval {
			t.Errorf("%s: %v", name, s)
		}
	}
	if s, _ := setattr(t, c, walk(t, c, "a/d"), anonymous, new(client.Attrs).SetModeUmask(0o777, 0)); s != nfs4.ErrInval {
		t.Errorf("SETATTR of mode_umask: %v", s)
	}
	old := h.client(1, 0)
	if s := status(t, old, client.PutFH(dir), client.Create(client.CreateArgs{
		Type: nfs4.TypeDir, Name: "e", Attrs: new(client.Attrs).SetModeUmask(0o777, 0),
	})); s != nfs4.ErrAttrNotSupp {
		t.Errorf("in NFSv4.1: %v", s)
	}
}

// change rises with each SETATTR.
func TestChangeRises(t *testing.T) {
	h := newHouse(t)
	h.file("f", "", 0o644)
	c := h.client(1, 0)
	fh := walk(t, c, "a/f")
	var last uint64
	for i := range 20 {
		p := must(t, c, client.PutFH(fh), client.SetAttr(anonymous, new(client.Attrs).SetMode(uint32(0o600+i%8))), client.GetAttr(nfs4.AttrChange))
		if now := client.Get[client.GetAttrRes](p).Change(); now <= last {
			t.Fatalf("change went from %d to %d", last, now)
		} else {
			last = now
		}
	}
}
