package xdr

import (
	"bytes"
	"errors"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	var w Writer
	w.Uint32(1)
	w.Int32(-2)
	w.Uint64(3 << 40)
	w.Int64(-4)
	w.Bool(true)
	w.Bool(false)
	w.Fixed([]byte("abcde"))
	w.Opaque([]byte("xyz"))
	w.String("four")
	at := w.Reserve(4)
	w.Raw([]byte{1, 2, 3, 4})
	w.PutUint32(at, 99)
	if w.Len()%4 != 0 {
		t.Errorf("%d bytes are not a multiple of four", w.Len())
	}
	r := NewReader(w.Bytes())
	if r.Uint32() != 1 || r.Int32() != -2 || r.Uint64() != 3<<40 || r.Int64() != -4 || !r.Bool() || r.Bool() ||
		string(r.Fixed(5)) != "abcde" || string(r.Opaque(3)) != "xyz" || string(r.Opaque(10)) != "four" || r.Uint32() != 99 {
		t.Errorf("something came back differently, at %d, %v", r.Offset(), r.Err())
	}
	if !bytes.Equal(r.Rest(), []byte{1, 2, 3, 4}) || r.Remaining() != 4 || r.Err() != nil {
		t.Errorf("rest %x, %v", r.Rest(), r.Err())
	}
}

// RFC 4506 §4.9: opaque data is padded with zero bytes to a multiple of four.
func TestPadding(t *testing.T) {
	for n := range 9 {
		var w Writer
		w.Opaque(bytes.Repeat([]byte{0xff}, n))
		if want := 4 + (n+3)/4*4; w.Len() != want {
			t.Errorf("opaque of %d bytes takes %d, want %d", n, w.Len(), want)
		}
		if bytes.ContainsFunc(w.Bytes()[4+n:], func(r rune) bool { return r != 0 }) {
			t.Errorf("padding of %x", w.Bytes())
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		read func(r *Reader)
		want error
	}{
		{"short uint32", []byte{0, 0, 0}, func(r *Reader) { r.Uint32() }, ErrShort},
		{"short uint64", make([]byte, 7), func(r *Reader) { r.Uint64() }, ErrShort},
		{"bool of 2", []byte{0, 0, 0, 2}, func(r *Reader) { r.Bool() }, ErrValue},
		{"no padding", []byte{0, 0, 0, 1, 7}, func(r *Reader) { r.Opaque(4) }, ErrShort},
		{"opaque above its bound", []byte{0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0}, func(r *Reader) { r.Opaque(4) }, ErrBound},
		{"opaque of 4 GiB", []byte{255, 255, 255, 255}, func(r *Reader) { r.Opaque(1 << 30) }, ErrBound},
		{"negative size", nil, func(r *Reader) { r.Fixed(-1) }, ErrShort},
		{"array longer than its bytes", []byte{0, 0, 0, 3, 0, 0, 0, 1}, func(r *Reader) { r.Count(10, 4) }, ErrShort},
		{"array above its bound", []byte{0, 0, 0, 11}, func(r *Reader) { r.Count(10, 0) }, ErrBound},
		{"seek beyond", []byte{1}, func(r *Reader) { r.Seek(2) }, ErrShort},
	} {
		r := NewReader(c.in)
		c.read(&r)
		if !errors.Is(r.Err(), c.want) {
			t.Errorf("%s: %v, want %v", c.name, r.Err(), c.want)
		}
		if r.Uint32() != 0 || r.Uint64() != 0 || r.Bool() || r.Opaque(9) != nil || r.Count(9, 1) != 0 || !errors.Is(r.Err(), c.want) {
			t.Errorf("%s: the error does not stick", c.name)
		}
	}
}

func TestReserveKeepsAndGrows(t *testing.T) {
	w := NewWriter(append(make([]byte, 0, 8), 1, 2, 3, 4))
	at := w.Reserve(100)
	if at != 4 || w.Len() != 104 || !bytes.Equal(w.Bytes()[:4], []byte{1, 2, 3, 4}) {
		t.Errorf("at %d, length %d", at, w.Len())
	}
	w.Truncate(4)
	copy(w.Bytes()[:4], "dirt")
	w.Truncate(0)
	if w.Reserve(4); !bytes.Equal(w.Bytes(), make([]byte, 4)) {
		t.Errorf("reserved memory holds %x", w.Bytes())
	}
}

// FuzzReader: whatever the input and the order of reads, no panic, and no read
// beyond the input.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, []byte{0, 0, 0, 2, 'a', 'b', 0, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, plan, in []byte) {
		r := NewReader(in)
		for _, p := range plan {
			before := r.Offset()
			switch p % 8 {
			case 0:
				r.Uint32()
			case 1:
				r.Uint64()
			case 2:
				r.Bool()
			case 3:
				if b := r.Opaque(int(p)); len(b) > int(p) {
					t.Fatalf("opaque of %d bytes with bound %d", len(b), p)
				}
			case 4:
				r.Fixed(int(p))
			case 5:
				if n := r.Count(1000, 4); n*4 > r.Remaining() {
					t.Fatalf("count %d with %d bytes left", n, r.Remaining())
				}
			case 6:
				r.Rest()
			case 7:
				r.Int64()
			}
			if r.Offset() < before || r.Offset() > len(in) {
				t.Fatalf("cursor at %d of %d", r.Offset(), len(in))
			}
		}
	})
}
