package nfsops_test

import (
	"os"
	"syscall"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/nfsops"
)

// required is RFC 8881 §5.6, Table 4, without suppattr_exclcreat.
var required = nfs4.BitmapOf(
	nfs4.AttrSupported, nfs4.AttrType, nfs4.AttrFHExpireType, nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrLinkSupport,
	nfs4.AttrSymlinkSupport, nfs4.AttrNamedAttr, nfs4.AttrFSID, nfs4.AttrUniqueHandles, nfs4.AttrLeaseTime,
	nfs4.AttrRDAttrError, nfs4.AttrFilehandle)

func list(b nfs4.Bitmap) (all []nfs4.Attr) {
	for a, ok := b.Next(0); ok; a, ok = b.Next(a + 1) {
		all = append(all, a)
	}
	return all
}

var writeOnly = nfs4.BitmapOf(nfs4.AttrTimeAccessSet, nfs4.AttrTimeModifySet, nfs4.AttrModeUmask)

// RFC 8881 §18.7.3: "The server MUST return a value for each attribute that the
// client requests if the attribute is supported by the server for the target
// file system."
func TestEverySupportedAttributeHasAValue(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		h.file("f", "hello", 0o640)
		for _, path := range []string{"", "dir", "a", "a/f", "dir/readonly"} {
			fh := walk(t, c, path)
			got, err := c.Attrs(fh, nfs4.AttrSupported)
			if err != nil {
				t.Fatalf("%q: %v", path, err)
			}
			supported := got.Supported
			if missing := required.AndNot(supported); !missing.Empty() {
				t.Errorf("%q lacks REQUIRED %v", path, missing)
			}
			for _, a := range list(supported) {
				if !a.Known(c.Config.Minor) {
					t.Errorf("%q: %v is not of NFSv4.%d", path, a, c.Config.Minor)
				}
			}
			want := supported.AndNot(writeOnly)
			all, err := c.Attrs(fh, list(want)...)
			if err != nil {
				t.Fatalf("%q: %v", path, err)
			}
			if all.Mask != want {
				t.Errorf("%q: asked for %v, got %v", path, want, all.Mask)
			}
			// "If the server does not support a particular attribute on the target
			// file system, then it MUST NOT return the attribute value".
			all, err = c.Attrs(fh, nfs4.AttrHidden, nfs4.AttrType, nfs4.AttrSACL, nfs4.AttrQuotaUsed)
			if err != nil || all.Mask != nfs4.BitmapOf(nfs4.AttrType) {
				t.Errorf("%q: %v, %v", path, all, err)
			}
		}
	})
}

func TestAttributesAreThoseOfTheFile(t *testing.T) {
	h := newHouse(t)
	path := h.file("f", "hello", 0o640)
	if err := os.Chown(path, 12, 34); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	c := h.client(2, 0)
	fh := walk(t, c, "a/f")
	a, err := c.Attrs(fh, nfs4.AttrType, nfs4.AttrSize, nfs4.AttrFSID, nfs4.AttrFilehandle, nfs4.AttrFileID, nfs4.AttrMode,
		nfs4.AttrNumLinks, nfs4.AttrOwner, nfs4.AttrOwnerGroup, nfs4.AttrSpaceUsed, nfs4.AttrTimeModify, nfs4.AttrTimeMetadata,
		nfs4.AttrTimeAccess, nfs4.AttrMountedOnFileID, nfs4.AttrLeaseTime, nfs4.AttrFHExpireType, nfs4.AttrACLSupport,
		nfs4.AttrXattrSupport, nfs4.AttrMaxRead, nfs4.AttrMaxName, nfs4.AttrSpaceTotal, nfs4.AttrSuppAttrExclCreat)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		attr nfs4.Attr
		want uint64
	}{
		{nfs4.AttrType, uint64(nfs4.TypeReg)}, {nfs4.AttrSize, 5}, {nfs4.AttrFileID, st.Ino}, {nfs4.AttrMode, 0o640},
		{nfs4.AttrNumLinks, 2}, {nfs4.AttrSpaceUsed, uint64(st.Blocks) * 512}, {nfs4.AttrMountedOnFileID, st.Ino},
		{nfs4.AttrLeaseTime, 60}, {nfs4.AttrFHExpireType, nfs4.FHPersistent}, {nfs4.AttrXattrSupport, 1},
		{nfs4.AttrACLSupport, nfs4.ACLSupportAllow | nfs4.ACLSupportDeny}, {nfs4.AttrMaxRead, 1 << 20}, {nfs4.AttrMaxName, 255},
	} {
		if a.Num(v.attr) != v.want {
			t.Errorf("%v is %d, want %d", v.attr, a.Num(v.attr), v.want)
		}
	}
	if a.Owner != "12" || a.Group != "34" || a.FSID.Major != 1 || string(a.FH) != string(fh) || a.Num(nfs4.AttrSpaceTotal) == 0 {
		t.Errorf("%v", a)
	}
	for attr, want := range map[nfs4.Attr]syscall.Timespec{
		nfs4.AttrTimeAccess: st.Atim, nfs4.AttrTimeModify: st.Mtim, nfs4.AttrTimeMetadata: st.Ctim,
	} {
		if got := a.Time(attr); got.Sec != want.Sec || int64(got.Nsec) != want.Nsec {
			t.Errorf("%v is %v, want %v", attr, got, want)
		}
	}
	// RFC 8881 §5.8.1.14: only what may come with an exclusive create.
	if a.ExclCreat.Has(nfs4.AttrTimeModifySet) || !a.ExclCreat.Has(nfs4.AttrMode) || a.ExclCreat.Has(nfs4.AttrChange) {
		t.Errorf("suppattr_exclcreat %v", a.ExclCreat)
	}
}

// RFC 8881 §5.8.2.23: mounted_on_fileid at the root of a file system is the
// fileid of the directory on which it is mounted; fsid tells the two apart.
func TestMountPoints(t *testing.T) {
	h := newHouse(t)
	c := h.client(1, 0)
	var st syscall.Stat_t
	if err := syscall.Stat(h.a, &st); err != nil {
		t.Fatal(err)
	}
	entries, err := c.List(walk(t, c, ""), 4096, nfs4.AttrFileID, nfs4.AttrMountedOnFileID, nfs4.AttrFSID, nfs4.AttrFilehandle)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	root, err := c.Attrs(walk(t, c, ""), nfs4.AttrFSID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Attrs(walk(t, c, "a"), nfs4.AttrFileID, nfs4.AttrMountedOnFileID, nfs4.AttrFSID, nfs4.AttrFilehandle)
	if err != nil {
		t.Fatal(err)
	}
	if got.Num(nfs4.AttrFileID) != st.Ino || got.Num(nfs4.AttrMountedOnFileID) == st.Ino || got.FSID == root.FSID {
		t.Errorf("root of the export: %v", got)
	}
	if e := entries[0]; e.Name != "a" || e.Attrs.String() != got.String() || string(e.Attrs.FH) != string(got.FH) {
		t.Errorf("READDIR says %v, GETATTR %v", e.Attrs, got)
	}
	inside, err := c.Attrs(walk(t, c, "dir"), nfs4.AttrFileID, nfs4.AttrMountedOnFileID)
	if err != nil || inside.Num(nfs4.AttrFileID) != inside.Num(nfs4.AttrMountedOnFileID) {
		t.Errorf("%v, %v", inside, err)
	}
}

// RFC 8881 §5.5: "If a client attempts to set a get-only attribute or get a
// set-only attributes, the server MUST return NFS4ERR_INVAL."
func TestSetOnlyAndGetOnly(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		h.file("f", "", 0o644)
		fh := walk(t, c, "a/f")
		if s := status(t, c, client.PutFH(fh), client.GetAttr(nfs4.AttrTimeModifySet)); s != nfs4.ErrInval {
			t.Errorf("getting time_modify_set: %v", s)
		}
		dir := client.ReadDirArgs{MaxCount: 4096, Attrs: nfs4.BitmapOf(nfs4.AttrTimeAccessSet)}
		if s := status(t, c, client.PutRootFH(), client.ReadDir(dir)); s != nfs4.ErrInval {
			t.Errorf("listing time_access_set: %v", s)
		}
		set := new(client.Attrs).SetNum(nfs4.AttrChange, 1)
		if s := status(t, c, client.PutFH(fh), client.SetAttr(nfs4.Stateid{}, set)); s != nfs4.ErrInval {
			t.Errorf("setting change: %v", s)
		}
		// mode_umask is known from 4.2 on and ignored before.
		want := nfs4.OK
		if c.Config.Minor == 2 {
			want = nfs4.ErrInval
		}
		if s := status(t, c, client.PutFH(fh), client.GetAttr(nfs4.AttrModeUmask)); s != want {
			t.Errorf("getting mode_umask: %v", s)
		}
	})
}

// RFC 8881 §18.31 and §18.15.
func TestVerify(t *testing.T) {
	eachMinor(t, func(t *testing.T, h *house, c *client.Client) {
		h.file("f", "12345", 0o640)
		fh := walk(t, c, "a/f")
		both := func(a *client.Attrs, verify, nverify nfs4.Status) {
			t.Helper()
			p, err := c.Compound(client.PutFH(fh), client.Verify(a))
			if err != nil || p.Status != verify {
				t.Errorf("VERIFY of %v: %v, %v", a.Mask, p, err)
			}
			if s := status(t, c, client.PutFH(fh), client.NVerify(a)); s != nverify {
				t.Errorf("NVERIFY of %v: %v", a.Mask, s)
			}
		}
		same := new(client.Attrs).SetSize(5).SetMode(0o640).SetOwner("0")
		both(same, nfs4.OK, nfs4.ErrSame)
		both(new(client.Attrs).SetSize(5).SetMode(0o641), nfs4.ErrNotSame, nfs4.OK)
		both(new(client.Attrs), nfs4.OK, nfs4.ErrSame)
		both(new(client.Attrs).SetNum(nfs4.AttrRDAttrError, 0), nfs4.ErrInval, nfs4.ErrInval)
		both(new(client.Attrs).SetModifyTime(nil), nfs4.ErrInval, nfs4.ErrInval)
		both(new(client.Attrs).SetNum(nfs4.AttrHidden, 0), nfs4.ErrAttrNotSupp, nfs4.ErrAttrNotSupp)
		if s := status(t, c, client.Verify(same)); s != nfs4.ErrNoFileHandle {
			t.Errorf("without a filehandle: %v", s)
		}
		// What it leaves in the reply is its status.
		p := must(t, c, client.PutFH(fh), client.Verify(same), client.GetAttr(nfs4.AttrSize))
		if client.Get[client.GetAttrRes](p).Size() != 5 {
			t.Errorf("%v", p)
		}
	})
}

func TestNames(t *testing.T) {
	h := newHouse(t, func(cfg *nfsops.Config) { cfg.Names, cfg.Domain = true, "example.org" })
	h.file("f", "", 0o644)
	c := h.client(1, 0)
	a, err := c.Attrs(walk(t, c, "a/f"), nfs4.AttrOwner, nfs4.AttrOwnerGroup)
	if err != nil || a.Owner != "root@example.org" || a.Group != "root@example.org" {
		t.Errorf("%v, %v", a, err)
	}
}
