package nfs4

import (
	"errors"
	"testing"

	"holdfast/internal/xdr"
)

// RFC 8881 §17, RFC 7862 §14: what each minor version defines and forbids.
func TestOpMinorVersions(t *testing.T) {
	for _, c := range []struct {
		op        Op
		minor     uint32
		known, in bool
	}{
		{OpSetClientID, 0, true, true},
		{OpSetClientID, 1, true, false},
		{OpReleaseLockOwner, 2, true, false},
		{OpSequence, 0, false, false},
		{OpSequence, 1, true, true},
		{OpAllocate, 1, false, false},
		{OpAllocate, 2, true, true},
		{OpRemoveXattr, 2, true, true},
		{OpGetAttr, 0, true, true},
		{2, 1, false, false},
		{0, 0, false, false},
		{76, 2, false, false},
		{OpIllegal, 2, false, false},
		{0xffffffff, 2, false, false},
		{OpGetAttr, 3, false, false},
	} {
		if got := c.op.Known(c.minor); got != c.known {
			t.Errorf("%v.Known(%d) = %v", c.op, c.minor, got)
		}
		if got := c.op.In(c.minor); got != c.in {
			t.Errorf("%v.In(%d) = %v", c.op, c.minor, got)
		}
	}
	if OpRenew.MinorMin() != 0 || OpRenew.MinorMax() != 0 || OpSeek.MinorMin() != 2 || OpIllegal.MinorMin() != -1 {
		t.Error("MinorMin or MinorMax is wrong")
	}
}

func TestEveryNumberHasAName(t *testing.T) {
	for op := OpFirst; op <= OpLast; op++ {
		if opTable[op].name == "" {
			t.Errorf("operation %d has no name", op)
		}
	}
	for a := Attr(0); a <= AttrLast; a++ {
		if attrNames[a] == "" {
			t.Errorf("attribute %d has no name", a)
		}
	}
	for c := CBGetAttr; c <= CBOffload; c++ {
		if cbNames[c] == "" {
			t.Errorf("callback %d has no name", c)
		}
	}
	for s := ErrBadIOMode; s <= ErrXattr2Big; s++ {
		if _, ok := statusNames[s]; !ok && s != 10073 { // 10073 is unused
			t.Errorf("status %d has no name", s)
		}
	}
	if ErrNoEnt.String() != "NFS4ERR_NOENT" || OK.String() != "NFS4_OK" || Status(9).String() != "NFS4ERR_9" {
		t.Error("Status.String is wrong")
	}
}

func TestBitmap(t *testing.T) {
	b := BitmapOf(AttrType, AttrMode, AttrXattrSupport, 200)
	if !b.Has(AttrMode) || b.Has(AttrSize) || b.Has(200) || b.Count() != 3 {
		t.Fatalf("bitmap %v", b)
	}
	var got []Attr
	for a, ok := b.Next(0); ok; a, ok = b.Next(a + 1) {
		got = append(got, a)
	}
	if len(got) != 3 || got[0] != AttrType || got[1] != AttrMode || got[2] != AttrXattrSupport {
		t.Fatalf("Next visits %v", got)
	}
	if _, ok := b.Next(83); ok {
		t.Error("Next goes on after the last")
	}
	b.Clear(AttrXattrSupport)
	var w xdr.Writer
	b.Encode(&w)
	if w.Len() != 12 { // count and two words
		t.Errorf("encoded in %d bytes", w.Len())
	}
	r := xdr.NewReader(w.Bytes())
	if back := DecodeBitmap(&r); back != b || r.Err() != nil {
		t.Errorf("came back as %v, %v", back, r.Err())
	}
	if n := testing.AllocsPerRun(100, func() {
		r := xdr.NewReader(w.Bytes())
		if DecodeBitmap(&r).Empty() {
			t.Error("empty")
		}
	}); n != 0 {
		t.Errorf("decoding allocates %v times", n)
	}
}

func TestBitmapBounds(t *testing.T) {
	var w xdr.Writer
	w.Uint32(5)
	for i := range uint32(5) {
		w.Uint32(i)
	}
	r := xdr.NewReader(w.Bytes())
	b, high := DecodeBitmapHigh(&r)
	if b != (Bitmap{0, 1, 2}) || !high || r.Err() != nil || r.Remaining() != 0 {
		t.Errorf("%v high=%v err=%v", b, high, r.Err())
	}
	r = xdr.NewReader([]byte{255, 255, 255, 255, 0, 0, 0, 0})
	DecodeBitmap(&r)
	if !errors.Is(r.Err(), xdr.ErrBound) {
		t.Errorf("a hostile count gives %v", r.Err())
	}
}

func TestStateids(t *testing.T) {
	for _, s := range []Stateid{AnonymousStateid, BypassStateid, CurrentStateid, InvalidStateid} {
		if !s.IsSpecial() {
			t.Errorf("%v is not special", s)
		}
	}
	s := Stateid{Seqid: 7, Other: [OtherSize]byte{1, 2, 3}}
	if s.IsSpecial() {
		t.Error("an ordinary stateid is special")
	}
	var w xdr.Writer
	s.Encode(&w)
	r := xdr.NewReader(w.Bytes())
	if back := DecodeStateid(&r); back != s || w.Len() != 16 {
		t.Errorf("came back as %v from %d bytes", back, w.Len())
	}
}
