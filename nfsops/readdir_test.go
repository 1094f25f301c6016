package nfsops_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func names(entries []client.Entry) (all []string) {
	for _, e := range entries {
		all = append(all, e.Name)
	}
	slices.Sort(all)
	return all
}

// A directory read in pages of any size gives each name once, with the
// attributes that LOOKUP and GETATTR give.
func TestReadDirInPages(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		var want []string
		h.mkdir("d", 0o755)
		for i := range 300 {
			name := fmt.Sprintf("d/%d-%s", i, strings.Repeat("x", i%200))
			h.file(name, strings.Repeat("y", i), 0o644)
			want = append(want, name[2:])
		}
		slices.Sort(want)
		dir := walk(t, c, "a/d")
		for _, size := range []uint32{512, 4096, 1 << 20} {
			got, err := c.List(dir, size, nfs4.AttrSize, nfs4.AttrFilehandle, nfs4.AttrMode)
			if err != nil || !slices.Equal(names(got), want) {
				t.Fatalf("pages of %d bytes: %v, %d names of %d", size, err, len(got), len(want))
			}
			for _, e := range got[:10] {
				a, err := c.Attrs(walk(t, c, "a/d/"+e.Name), nfs4.AttrSize, nfs4.AttrFilehandle, nfs4.AttrMode)
				if err != nil || a.String() != e.Attrs.String() {
					t.Errorf("%s: READDIR %v, GETATTR %v, %v", e.Name, e.Attrs, a, err)
				}
			}
		}
		if got, err := c.List(dir, 4096); err != nil || !slices.Equal(names(got), want) {
			t.Errorf("without attributes: %v, %d names", err, len(got))
		}
	})
}

func TestReadDirArguments(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		h.mkdir("d", 0o755)
		h.mkdir("empty", 0o755)
		h.file("d/name-of-some-length", "", 0o644)
		h.file("f", "", 0o644)
		if err := os.Symlink("d", h.a+"/link"); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			path string
			args client.ReadDirArgs
			want nfs4.Status
		}{
			{"a/d", client.ReadDirArgs{MaxCount: 4096}, nfs4.OK},
			// RFC 8881 §18.23.3: "cookie values of one and two SHOULD NOT be used".
			{"a/d", client.ReadDirArgs{MaxCount: 4096, Cookie: 1}, nfs4.ErrBadCookie},
			{"a/d", client.ReadDirArgs{MaxCount: 4096, Cookie: 2}, nfs4.ErrBadCookie},
			{"a/d", client.ReadDirArgs{MaxCount: 4096, Cookie: 1 << 63}, nfs4.ErrBadCookie},
			// "the cookieverf field must match".
			{"a/d", client.ReadDirArgs{MaxCount: 4096, Cookie: 3, Verifier: nfs4.Verifier{1}}, nfs4.ErrNotSame},
			// "If the server is unable to return a single directory entry within the
			// maxcount limit, the error NFS4ERR_TOOSMALL MUST be returned".
			{"a/d", client.ReadDirArgs{MaxCount: 0}, nfs4.ErrTooSmall},
			{"a/d", client.ReadDirArgs{MaxCount: 16}, nfs4.ErrTooSmall},
			{"a/d", client.ReadDirArgs{MaxCount: 16 + 4 + 8 + 4 + 20 + 4 + 4 - 1}, nfs4.ErrTooSmall},
			{"a/d", client.ReadDirArgs{MaxCount: 16 + 4 + 8 + 4 + 20 + 4 + 4}, nfs4.OK},
			{"a/d", client.ReadDirArgs{MaxCount: 4096, DirCount: 1}, nfs4.OK},
			{"a/empty", client.ReadDirArgs{MaxCount: 16}, nfs4.OK},
			{"a/f", client.ReadDirArgs{MaxCount: 4096}, nfs4.ErrNotDir},
			{"a/link", client.ReadDirArgs{MaxCount: 4096}, nfs4.ErrNotDir},
		} {
			p, err := c.Compound(client.PutFH(walk(t, c, test.path)), client.ReadDir(test.args))
			if err != nil || p.Status != test.want {
				t.Errorf("%s %+v: %v, %v; want %v", test.path, test.args, p, err, test.want)
			}
		}
		if s := status(t, c, client.ReadDir(client.ReadDirArgs{MaxCount: 4096})); s != nfs4.ErrNoFileHandle {
			t.Errorf("without a filehandle: %v", s)
		}
	})
}

// The size of READDIR4resok never exceeds maxcount, nor names and cookies
// dircount.
func TestReadDirKeepsItsLimits(t *testing.T) {
	h := newHouse(t)
	h.mkdir("d", 0o755)
	for i := range 50 {
		h.file(fmt.Sprintf("d/%02d", i), "", 0o644)
	}
	c := h.client(1, 0)
	dir := walk(t, c, "a/d")
	const entry = 4 + 8 + (4 + 4) + (4 + 4) // without attributes
	for max := uint32(16 + entry); max < 500; max += 4 {
		p := must(t, c, client.PutFH(dir), client.ReadDir(client.ReadDirArgs{MaxCount: max}))
		if n := len(client.Get[client.ReadDirRes](p).Entries); n != int(max-16)/entry {
			t.Fatalf("maxcount %d: %d entries", max, n)
		}
	}
	p := must(t, c, client.PutFH(dir), client.ReadDir(client.ReadDirArgs{MaxCount: 8192, DirCount: 5 * 16}))
	if res := client.Get[client.ReadDirRes](p); len(res.Entries) != 5 || res.EOF {
		t.Errorf("dircount of five names: %d entries, eof %v", len(res.Entries), res.EOF)
	}
}

// Of a directory that may be read and not searched the names are told, and
// rdattr_error says why nothing else is (RFC 8881 §18.23.3).
func TestReadDirWithoutSearchPermission(t *testing.T) {
	h := newHouse(t)
	h.mkdir("d", 0o744)
	h.file("d/f", "", 0o644)
	c := h.client(2, 1000)
	dir := walk(t, c, "a/d")
	got, err := c.List(dir, 4096, nfs4.AttrRDAttrError, nfs4.AttrSize)
	if err != nil || len(got) != 1 || got[0].Name != "f" || got[0].Attrs.RDAttrError != nfs4.ErrAccess ||
		got[0].Attrs.Mask != nfs4.BitmapOf(nfs4.AttrRDAttrError) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.List(dir, 4096, nfs4.AttrSize); err == nil || !strings.Contains(err.Error(), "NFS4ERR_ACCESS") {
		t.Errorf("without rdattr_error: %v", err)
	}
	if got, err := c.List(dir, 4096); err != nil || len(got) != 1 {
		t.Errorf("without attributes: %v, %v", got, err)
	}
	if err := os.Chmod(h.a+"/d", 0o711); err != nil {
		t.Fatal(err)
	}
	if _, err := c.List(dir, 4096); err == nil || !strings.Contains(err.Error(), "NFS4ERR_ACCESS") {
		t.Errorf("without permission to read: %v", err)
	}
}

// The pseudo file system leads to exports and hides those that the caller's
// address may not use.
func TestPseudoFileSystem(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		for path, want := range map[string][]string{"": {"a", "dir"}, "dir": {"readonly"}} {
			for _, attrs := range [][]nfs4.Attr{nil, {nfs4.AttrType, nfs4.AttrFilehandle}} {
				got, err := c.List(walk(t, c, path), 4096, attrs...)
				if err != nil || !slices.Equal(names(got), want) {
					t.Errorf("%q: %v, %v", path, names(got), err)
				}
			}
		}
		if s := status(t, c, client.PutRootFH(), client.Lookup("dir"), client.Lookup("private")); s != nfs4.ErrNoEnt {
			t.Errorf("LOOKUP of another's export: %v", s)
		}
		if s := status(t, c, client.PutRootFH(), client.Lookup("dir"), client.SecInfo("private")); s != nfs4.ErrNoEnt {
			t.Errorf("SECINFO of another's export: %v", s)
		}
	})
}
