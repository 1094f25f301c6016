package nfsops_test

import (
	"os"
	"strings"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// RFC 8881 §18.13.
func TestLookup(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		h.mkdir("d", 0o755)
		h.file("d/f", "", 0o644)
		h.file("latin-\xe9", "", 0o644)
		symlink(t, "d", h.a+"/link")
		for _, test := range []struct {
			dir, name string
			want      nfs4.Status
		}{
			{"a/d", "f", nfs4.OK},
			{"a/d", "g", nfs4.ErrNoEnt},
			{"a", "latin-\xe9", nfs4.OK},
			{"a/d", "", nfs4.ErrInval},
			{"a/d", ".", nfs4.ErrBadName},
			{"a/d", "..", nfs4.ErrBadName},
			{"a", "d/f", nfs4.ErrBadChar},
			{"a/d", "f\x00", nfs4.ErrBadChar},
			{"a/d", strings.Repeat("x", 255), nfs4.ErrNoEnt},
			{"a/d", strings.Repeat("x", 256), nfs4.ErrNameTooLong},
			// "If the current filehandle supplied is not a directory but a symbolic
			// link, the error NFS4ERR_SYMLINK is returned as the error. For all other
			// non-directory file types, the error NFS4ERR_NOTDIR is returned."
			{"a/link", "f", nfs4.ErrSymlink},
			{"a/d/f", "f", nfs4.ErrNotDir},
		} {
			if s := status(t, c, client.PutFH(walk(t, c, test.dir)), client.Lookup(test.name)); s != test.want {
				t.Errorf("%s of %s: %v, want %v", test.name, test.dir, s, test.want)
			}
		}
		if s := status(t, c, client.Lookup("a")); s != nfs4.ErrNoFileHandle {
			t.Errorf("without a filehandle: %v", s)
		}
	})
}

func TestLookupNeedsPermission(t *testing.T) {
	h := newHouse(t)
	h.mkdir("d", 0o700)
	h.file("d/f", "", 0o644)
	c := h.client(1, 1000)
	if s := status(t, c, client.PutFH(walk(t, c, "a/d")), client.Lookup("f")); s != nfs4.ErrAccess {
		t.Errorf("LOOKUP: %v", s)
	}
	// RFC 8881 §18.29.3: SECINFO MUST behave the same way.
	if s := status(t, c, client.PutFH(walk(t, c, "a/d")), client.SecInfo("f")); s != nfs4.ErrAccess {
		t.Errorf("SECINFO: %v", s)
	}
}

// RFC 8881 §18.14: the way up is the way down, across the roots of exports,
// and ends at the root of all.
func TestLookupP(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		h.mkdir("d", 0o755)
		h.mkdir("d/e", 0o755)
		h.file("f", "", 0o644)
		symlink(t, "d", h.a+"/link")
		for child, parent := range map[string]string{"a/d/e": "a/d", "a/d": "a", "a": "", "dir/readonly": "dir", "dir": ""} {
			p := must(t, c, client.PutFH(walk(t, c, child)), client.LookupP(), client.GetFH())
			if got := client.Get[client.GetFHRes](p).FH; string(got) != string(walk(t, c, parent)) {
				t.Errorf("parent of %q is not %q", child, parent)
			}
		}
		for path, want := range map[string]nfs4.Status{"": nfs4.ErrNoEnt, "a/f": nfs4.ErrNotDir, "a/link": nfs4.ErrNotDir} {
			if s := status(t, c, client.PutFH(walk(t, c, path)), client.LookupP()); s != want {
				t.Errorf("%q: %v, want %v", path, s, want)
			}
		}
	})
}

// RFC 8881 §18.24: NFS4ERR_WRONG_TYPE for what is no symbolic link, in RFC 7530
// §16.25 NFS4ERR_INVAL.
func TestReadLink(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		target := "../" + strings.Repeat("y", 1001)
		symlink(t, target, h.a+"/link")
		h.file("f", "", 0o644)
		p := must(t, c, client.PutFH(walk(t, c, "a/link")), client.ReadLink())
		if got := client.Get[client.ReadLinkRes](p).Text; got != target {
			t.Errorf("target is %q", got)
		}
		want := nfs4.ErrWrongType
		if c.Config.Minor == 0 {
			want = nfs4.ErrInval
		}
		for _, path := range []string{"a", "a/f"} {
			if s := status(t, c, client.PutFH(walk(t, c, path)), client.ReadLink()); s != want {
				t.Errorf("%s: %v", path, s)
			}
		}
	})
}

// RFC 8881 §18.1, RFC 8276 §8.5.
func TestAccess(t *testing.T) {
	h := newHouse(t)
	h.file("f", "", 0o644)
	h.file("x", "", 0o711)
	h.mkdir("d", 0o755)
	h.mkdir("mine", 0o755)
	if err := os.Chown(h.a+"/mine", 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.ro+"/f", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.ro+"/f", 0o666); err != nil {
		t.Fatal(err)
	}
	const (
		r, l, m, e, d, x = nfs4.AccessRead, nfs4.AccessLookup, nfs4.AccessModify, nfs4.AccessExtend, nfs4.AccessDelete, nfs4.AccessExecute
		xr, xw, xl       = nfs4.AccessXARead, nfs4.AccessXAWrite, nfs4.AccessXAList
		all              = r | l | m | e | d | x
		xall             = xr | xw | xl
	)
	for _, test := range []struct {
		uid, minor              uint32
		path                    string
		ask, supported, granted uint32
	}{
		{1000, 1, "a/f", all, r | m | e | x, r},
		{0, 1, "a/f", all, r | m | e | x, r | m | e}, // no execute bit: not even for root
		{0, 1, "a/x", x, x, x},
		{1000, 1, "a/x", all, r | m | e | x, x},
		{1000, 1, "a/d", all, r | l | m | e | d, r | l},
		{1000, 0, "a/mine", all, r | l | m | e | d, r | l | m | e | d},
		{1000, 0, "a/f", r | m, r | m, r},
		{1000, 0, "a/f", 0, 0, 0},
		{1000, 2, "a/f", all | xall, r | m | e | x | xall, r | xr | xl},
		{0, 2, "a/f", xall, xall, xall},
		{0, 2, "dir/readonly/f", all | xall, r | m | e | x | xall, r | xr | xl},
		{1000, 2, "dir", all, r | l | m | e | d, r | l},
		{1000, 2, "dir", all | xall, r | l | m | e | d, r | l}, // the pseudo file system has no extended attributes
	} {
		c := h.client(test.minor, test.uid)
		p := must(t, c, client.PutFH(walk(t, c, test.path)), client.Access(test.ask))
		if got := client.Get[client.AccessRes](p); got.Supported != test.supported || got.Access != test.granted {
			t.Errorf("uid %d, 4.%d, %s: supported %#x, granted %#x; want %#x, %#x", test.uid, test.minor, test.path,
				got.Supported, got.Access, test.supported, test.granted)
		}
	}
	for minor, bits := range []uint32{xr, xr, 0x200} {
		c := h.client(uint32(minor), 0)
		if s := status(t, c, client.PutRootFH(), client.Access(bits)); s != nfs4.ErrInval {
			t.Errorf("4.%d: bit %#x: %v", minor, bits, s)
		}
	}
}

// RFC 8881 §18.29 and §18.45: "On success, the current filehandle is consumed";
// RFC 7530 §16.31 leaves it.
func TestSecInfo(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		h.mkdir("d", 0o755)
		h.file("f", "", 0o644)
		check := func(p *client.Reply) {
			t.Helper()
			got := client.Get[client.SecInfoRes](p)
			if got == nil || len(got.Secs) != 2 || got.Secs[0].Flavor != 1 || got.Secs[1].Flavor != 0 {
				t.Errorf("%v", p)
			}
		}
		check(must(t, c, client.PutFH(walk(t, c, "a")), client.SecInfo("f")))
		after := nfs4.ErrNoFileHandle
		if c.Config.Minor == 0 {
			after = nfs4.OK
		}
		if s := status(t, c, client.PutFH(walk(t, c, "a")), client.SecInfo("f"), client.GetFH()); s != after {
			t.Errorf("GETFH after SECINFO: %v", s)
		}
		if s := status(t, c, client.PutFH(walk(t, c, "a/f")), client.SecInfo("x")); s != nfs4.ErrNotDir {
			t.Errorf("SECINFO in a file: %v", s)
		}
		if c.Config.Minor == 0 {
			return
		}
		const current, parent = nfs4.SecInfoCurrentFH, nfs4.SecInfoParent
		check(must(t, c, client.PutFH(walk(t, c, "a/f")), client.SecInfoNoName(current)))
		check(must(t, c, client.PutFH(walk(t, c, "a")), client.SecInfoNoName(parent)))
		for _, test := range []struct {
			path  string
			style uint32
			want  nfs4.Status
		}{
			{"", parent, nfs4.ErrNoEnt}, // "if there is no parent directory, SECINFO_NO_NAME MUST return NFS4ERR_NOENT"
			{"a/f", parent, nfs4.ErrNotDir},
			{"a/f", 7, nfs4.ErrBadXDR},
		} {
			if s := status(t, c, client.PutFH(walk(t, c, test.path)), client.SecInfoNoName(test.style)); s != test.want {
				t.Errorf("%+v: %v", test, s)
			}
		}
		if s := status(t, c, client.PutFH(walk(t, c, "a/f")), client.SecInfoNoName(current), client.GetFH()); s != nfs4.ErrNoFileHandle {
			t.Errorf("GETFH after SECINFO_NO_NAME: %v", s)
		}
	})
}

// RFC 8881 §18.17.4: "If the server does not support named attributes for the
// current filehandle, an error of NFS4ERR_NOTSUPP will be returned".
func TestOpenAttr(t *testing.T) {
	h := newHouse(t)
	c := h.client(1, 0)
	if s := status(t, c, client.PutRootFH(), client.OpenAttr(true)); s != nfs4.ErrNotSupp {
		t.Errorf("%v", s)
	}
}
