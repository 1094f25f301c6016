package nfsops

import (
	"testing"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// TestCouldChange: a COMPOUND that fails leaves a record for other gateways if
// something in it would have changed something, and no other does: a LOOKUP of
// what is not there costs nothing (G7).
func TestCouldChange(t *testing.T) {
	args := map[nfs4.Op]func(*xdr.Writer){
		nfs4.OpPutFH:   func(w *xdr.Writer) { w.Opaque([]byte("handle")) },
		nfs4.OpLookup:  func(w *xdr.Writer) { w.String("name") },
		nfs4.OpRemove:  func(w *xdr.Writer) { w.String("name") },
		nfs4.OpGetAttr: func(w *xdr.Writer) { nfs4.BitmapOf(nfs4.AttrSize, nfs4.AttrMode).Encode(w) },
		nfs4.OpAccess:  func(w *xdr.Writer) { w.Uint32(31) },
		nfs4.OpRead:    func(w *xdr.Writer) { w.Raw(make([]byte, 16+8+4)) },
		nfs4.OpReadDir: func(w *xdr.Writer) { w.Raw(make([]byte, 8+8+4+4)); nfs4.BitmapOf(nfs4.AttrType).Encode(w) },
	}
	for _, x := range []struct {
		ops  []nfs4.Op
		at   int // the one that fails
		want bool
	}{
		{[]nfs4.Op{nfs4.OpPutFH, nfs4.OpLookup, nfs4.OpGetFH, nfs4.OpGetAttr}, 1, false},
		{[]nfs4.Op{nfs4.OpPutFH, nfs4.OpRead, nfs4.OpAccess, nfs4.OpReadDir}, 0, false},
		{[]nfs4.Op{nfs4.OpPutFH, nfs4.OpRemove, nfs4.OpGetAttr}, 1, true},
		{[]nfs4.Op{nfs4.OpPutFH, nfs4.OpRemove, nfs4.OpGetAttr}, 2, false},
		{[]nfs4.Op{nfs4.OpPutFH, nfs4.OpLookup, nfs4.OpReadDir, nfs4.OpRemove}, 0, true},
		{[]nfs4.Op{nfs4.OpPutFH, nfs4.OpExchangeID}, 0, true}, // not known to be harmless
	} {
		var w xdr.Writer
		var offsets []int
		for _, op := range x.ops {
			offsets = append(offsets, w.Len())
			w.Uint32(uint32(op))
			if fn := args[op]; fn != nil {
				fn(&w)
			}
		}
		c := &compound{call: &Call{Body: w.Bytes()}, nops: len(x.ops), index: x.at, opOffset: offsets[x.at]}
		if got := c.couldChange(); got != x.want {
			t.Errorf("%v, failed at %d: %v", x.ops, x.at, got)
		}
	}
}
