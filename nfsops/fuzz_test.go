package nfsops_test

import (
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// Whatever arguments come, an operation on names and attributes answers, in
// XDR that a client can read, and within the reply's size.
func FuzzNamesAndAttributes(f *testing.F) {
	ops := []nfs4.Op{
		nfs4.OpGetAttr, nfs4.OpSetAttr, nfs4.OpVerify, nfs4.OpNVerify, nfs4.OpLookup, nfs4.OpReadDir, nfs4.OpAccess,
		nfs4.OpSecInfo, nfs4.OpOpenAttr, nfs4.OpCreate,
	}
	seed := func(op int, ops ...client.Op) {
		for _, o := range ops {
			f.Add(byte(op), o.Args)
		}
	}
	seed(0, client.GetAttr(usual...), client.GetAttr(nfs4.AttrACL, nfs4.AttrSpaceFree, nfs4.AttrXattrSupport))
	acl := []client.ACE{{Mask: nfs4.ACEReadData, Who: "EVERYONE@"}, {Type: 1, Mask: nfs4.ACEWriteData, Who: "7"}}
	seed(1, client.SetAttr(nfs4.Stateid{}, new(client.Attrs).SetMode(0o644).SetOwner("1").SetModifyTime(nil).SetACL(acl)))
	seed(2, client.Verify(new(client.Attrs).SetSize(5).SetOwner("0")))
	seed(4, client.Lookup("f"))
	seed(5, client.ReadDir(client.ReadDirArgs{MaxCount: 300, Attrs: nfs4.BitmapOf(usual...)}))
	seed(6, client.Access(0x1f))
	seed(9, client.Mkdir("d"))
	h := newHouse(f)
	h.file("f", "12345", 0o644)
	c := h.client(0, 0)
	dir := walk(f, c, "a")
	f.Fuzz(func(t *testing.T, which byte, args []byte) {
		op := client.Op{Num: ops[int(which)%len(ops)], Args: args}
		d := newDirect(h, client.PutFH(dir), op)
		d.w.Reset()
		if err := d.srv.Compound(t.Context(), &d.call, &d.w); err != nil {
			t.Fatal(err)
		}
		var rpc xdr.Writer // an accepted reply, as far as a client looks at it
		for range 6 {
			rpc.Uint32(0)
		}
		rpc.PutUint32(4, 1)
		rpc.Raw(d.w.Bytes())
		if p, err := client.DecodeReply(rpc.Bytes()); err != nil {
			t.Fatalf("%v %x: %v, %v", op.Num, args, p, err)
		}
		if d.w.Len() > 2<<20 {
			t.Fatalf("reply of %d bytes", d.w.Len())
		}
	})
}
