package nfsops_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"holdfast/conformance/client"
	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/nfsops"
)

// usual is what Linux asks for after most operations.
var usual = []nfs4.Attr{
	nfs4.AttrType, nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrFSID, nfs4.AttrFileID, nfs4.AttrMode, nfs4.AttrNumLinks,
	nfs4.AttrOwner, nfs4.AttrOwnerGroup, nfs4.AttrRawDev, nfs4.AttrSpaceUsed, nfs4.AttrTimeAccess, nfs4.AttrTimeMetadata,
	nfs4.AttrTimeModify, nfs4.AttrMountedOnFileID,
}

// A direct call of NFSv4.0, without a network.
type direct struct {
	srv  *nfsops.Server
	call nfsops.Call
	w    xdr.Writer
}

func newDirect(h *house, ops ...client.Op) *direct {
	q := client.NewCompound(*client.SysAuth(0, 0), 0, "", ops...)
	body := q.Bytes()[q.ArgsAt(0)-4-12:] // back over the opnum to tag, minor version, count
	return &direct{srv: h.srv, call: nfsops.Call{
		Flavor: nfsops.AuthSys, Creds: export.Creds{}, Conn: testConn{}, Remote: netip.IPv6Loopback(), Body: body,
	}}
}

func (d *direct) run(t testing.TB) {
	d.w.Reset()
	if err := d.srv.Compound(context.Background(), &d.call, &d.w); err != nil {
		t.Fatal(err)
	}
	r := xdr.NewReader(d.w.Bytes())
	if s := nfs4.Status(r.Uint32()); s != nfs4.OK {
		t.Fatal(s)
	}
}

// G7: GETATTR and ACCESS are hot paths. Their COMPOUND takes no memory of its own;
// what the file system takes is not counted here.
func TestHotPathsTakeNoMemory(t *testing.T) {
	h := newHouse(t)
	for name, ops := range map[string][]client.Op{
		"GETATTR": {client.PutRootFH(), client.GetAttr(usual...)},
		"ACCESS":  {client.PutRootFH(), client.Access(nfs4.AccessRead | nfs4.AccessLookup)},
		"NVERIFY": {client.PutRootFH(), client.NVerify(new(client.Attrs).SetSize(1))},
		"LOOKUPP": {client.PutRootFH(), client.Lookup("dir"), client.LookupP()},
	} {
		d := newDirect(h, ops...)
		allowed := 0.0
		if name == "LOOKUPP" {
			allowed = 1 // the name of LOOKUP
		}
		if n := testing.AllocsPerRun(200, func() { d.run(t) }); n > allowed {
			t.Errorf("%s takes memory %v times", name, n)
		}
	}
}

func benchmark(b *testing.B, ops func(h *house, c *client.Client) []client.Op) {
	h := newHouse(b)
	h.file("f", "12345", 0o644)
	d := newDirect(h, ops(h, h.client(0, 0))...)
	b.ReportAllocs()
	for b.Loop() {
		d.run(b)
	}
}

func BenchmarkGetAttr(b *testing.B) {
	for name, path := range map[string]string{"pseudo": "dir", "posix": "a/f"} {
		b.Run(name, func(b *testing.B) {
			benchmark(b, func(h *house, c *client.Client) []client.Op {
				return []client.Op{client.PutFH(walk(b, c, path)), client.GetAttr(usual...)}
			})
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	benchmark(b, func(h *house, c *client.Client) []client.Op {
		return []client.Op{client.PutFH(walk(b, c, "a")), client.Lookup("f"), client.GetFH(), client.GetAttr(usual...)}
	})
}

func BenchmarkAccess(b *testing.B) {
	benchmark(b, func(h *house, c *client.Client) []client.Op {
		return []client.Op{client.PutFH(walk(b, c, "a/f")), client.Access(nfs4.AccessRead | nfs4.AccessModify), client.GetAttr(usual...)}
	})
}

// A page of a hundred entries with what Linux asks for.
func BenchmarkReadDir(b *testing.B) {
	benchmark(b, func(h *house, c *client.Client) []client.Op {
		h.mkdir("d", 0o755)
		for i := range 100 {
			h.file(fmt.Sprintf("d/file-%d", i), "", 0o644)
		}
		attrs := nfs4.BitmapOf(usual...).Or(nfs4.BitmapOf(nfs4.AttrFilehandle, nfs4.AttrRDAttrError))
		return []client.Op{client.PutFH(walk(b, c, "a/d")), client.ReadDir(client.ReadDirArgs{MaxCount: 1 << 16, Attrs: attrs})}
	})
}
