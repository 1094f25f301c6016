// Package xdr reads and writes XDR (RFC 4506) over byte slices, item by item.
//
// Reader and Writer are cursors, not codecs: an operation is decoded straight
// from the request and encoded straight into the reply buffer, so that a
// request costs no intermediate objects. A Reader never takes memory for a
// length it has not checked against both the caller's bound and the bytes that
// are really there.
//
// Neither type may be used by two goroutines at once.
package xdr

import (
	"encoding/binary"
	"errors"
)

// ErrShort says that the input ends before the item does.
var ErrShort = errors.New("xdr: input too short")

// ErrBound says that a decoded length exceeds the bound the caller gave.
var ErrBound = errors.New("xdr: length above its bound")

// ErrValue says that an item has a value its type does not allow, such as a
// boolean of 2 or non-zero padding.
var ErrValue = errors.New("xdr: value not allowed")

// A Reader is a cursor over one XDR-encoded message. The first error sticks:
// after it every read returns a zero value, so a decoder checks Err once.
// Slices that it returns alias the input.
type Reader struct {
	buf []byte
	off int
	err error
}

// NewReader returns a Reader over buf.
func NewReader(buf []byte) Reader { return Reader{buf: buf} }

// Err returns the first error met.
func (r *Reader) Err() error { return r.err }

// Fail makes err the Reader's error, if it has none yet.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Offset returns how many bytes have been read.
func (r *Reader) Offset() int { return r.off }

// Seek moves the cursor to byte off of the message, 0 ≤ off ≤ length. It does
// not clear an error.
func (r *Reader) Seek(off int) {
	if off < 0 || off > len(r.buf) {
		r.Fail(ErrShort)
		return
	}
	r.off = off
}

// Remaining returns how many bytes are left.
func (r *Reader) Remaining() int { return len(r.buf) - r.off }

// Bytes returns the whole message, read or not.
func (r *Reader) Bytes() []byte { return r.buf }

// Rest returns the bytes not yet read.
func (r *Reader) Rest() []byte { return r.buf[r.off:] }

// Uint32 reads an unsigned int.
func (r *Reader) Uint32() uint32 {
	if r.err != nil {
		return 0
	}
	if len(r.buf)-r.off < 4 {
		r.err = ErrShort
		return 0
	}
	v := binary.BigEndian.Uint32(r.buf[r.off:])
	r.off += 4
	return v
}

// Int32 reads an int.
func (r *Reader) Int32() int32 { return int32(r.Uint32()) }

// Uint64 reads an unsigned hyper.
func (r *Reader) Uint64() uint64 {
	if r.err != nil {
		return 0
	}
	if len(r.buf)-r.off < 8 {
		r.err = ErrShort
		return 0
	}
	v := binary.BigEndian.Uint64(r.buf[r.off:])
	r.off += 8
	return v
}

// Int64 reads a hyper.
func (r *Reader) Int64() int64 { return int64(r.Uint64()) }

// Bool reads a bool; any value but 0 and 1 is ErrValue.
func (r *Reader) Bool() bool {
	v := r.Uint32()
	if v > 1 {
		r.Fail(ErrValue)
	}
	return v == 1
}

// Fixed reads opaque data of fixed length n and its padding.
func (r *Reader) Fixed(n int) []byte {
	if r.err != nil {
		return nil
	}
	padded := (n + 3) &^ 3
	if n < 0 || padded < n || len(r.buf)-r.off < padded {
		r.err = ErrShort
		return nil
	}
	b := r.buf[r.off : r.off+n : r.off+n]
	r.off += padded
	return b
}

// Opaque reads variable-length opaque data (or a string) of at most max bytes.
func (r *Reader) Opaque(max int) []byte {
	n := r.Uint32()
	if r.err != nil {
		return nil
	}
	if uint64(n) > uint64(max) {
		r.err = ErrBound
		return nil
	}
	return r.Fixed(int(n))
}

// Count reads the length of an array of at most max elements of which each
// takes at least elem bytes, so that memory for them may safely be taken.
func (r *Reader) Count(max, elem int) int {
	n := r.Uint32()
	if r.err != nil {
		return 0
	}
	if uint64(n) > uint64(max) {
		r.err = ErrBound
		return 0
	}
	if elem > 0 && uint64(n)*uint64(elem) > uint64(r.Remaining()) {
		r.err = ErrShort
		return 0
	}
	return int(n)
}

// A Writer appends XDR items to a buffer. The zero Writer is ready for use.
type Writer struct {
	buf []byte
}

// NewWriter returns a Writer that appends to buf.
func NewWriter(buf []byte) Writer { return Writer{buf: buf} }

// Bytes returns all that was written.
func (w *Writer) Bytes() []byte { return w.buf }

// Len returns the number of bytes written.
func (w *Writer) Len() int { return len(w.buf) }

// Reset empties the Writer and keeps its memory.
func (w *Writer) Reset() { w.buf = w.buf[:0] }

// Truncate drops everything after the first n bytes.
func (w *Writer) Truncate(n int) { w.buf = w.buf[:n] }

// Uint32 appends an unsigned int.
func (w *Writer) Uint32(v uint32) { w.buf = binary.BigEndian.AppendUint32(w.buf, v) }

// Int32 appends an int.
func (w *Writer) Int32(v int32) { w.Uint32(uint32(v)) }

// Uint64 appends an unsigned hyper.
func (w *Writer) Uint64(v uint64) { w.buf = binary.BigEndian.AppendUint64(w.buf, v) }

// Int64 appends a hyper.
func (w *Writer) Int64(v int64) { w.Uint64(uint64(v)) }

// Bool appends a bool.
func (w *Writer) Bool(v bool) {
	if v {
		w.Uint32(1)
	} else {
		w.Uint32(0)
	}
}

// Fixed appends opaque data of fixed length, padded to four bytes.
func (w *Writer) Fixed(b []byte) {
	w.buf = append(w.buf, b...)
	w.pad(len(b))
}

// Opaque appends variable-length opaque data, padded to four bytes.
func (w *Writer) Opaque(b []byte) {
	w.Uint32(uint32(len(b)))
	w.Fixed(b)
}

// String appends a string, padded to four bytes.
func (w *Writer) String(s string) {
	w.Uint32(uint32(len(s)))
	w.buf = append(w.buf, s...)
	w.pad(len(s))
}

// Raw appends b as it is.
func (w *Writer) Raw(b []byte) { w.buf = append(w.buf, b...) }

// Reserve appends n zero bytes and returns where they begin, for a value that
// is known only later (PutUint32) or for data read straight into the reply.
func (w *Writer) Reserve(n int) int {
	at := len(w.buf)
	if cap(w.buf)-at < n {
		grown := make([]byte, at, 2*cap(w.buf)+n)
		copy(grown, w.buf)
		w.buf = grown
	}
	w.buf = w.buf[:at+n]
	clear(w.buf[at:])
	return at
}

// PutUint32 overwrites the four bytes at at.
func (w *Writer) PutUint32(at int, v uint32) { binary.BigEndian.PutUint32(w.buf[at:], v) }

// PutUint64 overwrites the eight bytes at at.
func (w *Writer) PutUint64(at int, v uint64) { binary.BigEndian.PutUint64(w.buf[at:], v) }

// Pad appends the padding that follows opaque data of n bytes.
func (w *Writer) Pad(n int) { w.pad(n) }

func (w *Writer) pad(n int) {
	switch n & 3 {
	case 1:
		w.buf = append(w.buf, 0, 0, 0)
	case 2:
		w.buf = append(w.buf, 0, 0)
	case 3:
		w.buf = append(w.buf, 0)
	}
}

// Spare returns n bytes of memory that follow what was written and are not part
// of the message yet; their content is not defined. Advance makes the first
// of them part of it. So data can be read straight into the reply.
func (w *Writer) Spare(n int) []byte {
	at := len(w.buf)
	if cap(w.buf)-at < n {
		grown := make([]byte, at, 2*cap(w.buf)+n)
		copy(grown, w.buf)
		w.buf = grown
	}
	return w.buf[at : at+n : at+n]
}

// Advance appends the first n bytes of the memory that Spare returned.
func (w *Writer) Advance(n int) { w.buf = w.buf[:len(w.buf)+n] }
