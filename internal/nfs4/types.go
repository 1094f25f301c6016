package nfs4

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"

	"holdfast/internal/xdr"
)

// A Verifier is a verifier4: opaque, compared for equality only.
type Verifier [VerifierSize]byte

// DecodeVerifier reads a verifier4.
func DecodeVerifier(r *xdr.Reader) (v Verifier) {
	copy(v[:], r.Fixed(VerifierSize))
	return v
}

// Encode appends the verifier.
func (v Verifier) Encode(w *xdr.Writer) { w.Raw(v[:]) }

// String returns the verifier in hexadecimal.
func (v Verifier) String() string { return hex.EncodeToString(v[:]) }

// A SessionID is a sessionid4.
type SessionID [SessionSize]byte

// DecodeSessionID reads a sessionid4.
func DecodeSessionID(r *xdr.Reader) (s SessionID) {
	copy(s[:], r.Fixed(SessionSize))
	return s
}

// Encode appends the session id.
func (s SessionID) Encode(w *xdr.Writer) { w.Raw(s[:]) }

// String returns the session id in hexadecimal.
func (s SessionID) String() string { return hex.EncodeToString(s[:]) }

// A Stateid is a stateid4.
type Stateid struct {
	Seqid uint32
	Other [OtherSize]byte
}

// The special stateids (RFC 8881 §8.2.3; the first two also RFC 7530 §9.1.4.3).
var (
	// AnonymousStateid is all zeros: I/O without any state.
	AnonymousStateid = Stateid{}
	// BypassStateid is all ones: READ that bypasses locking checks.
	BypassStateid = Stateid{Seqid: 0xffffffff, Other: ones}
	// CurrentStateid stands for the compound's current stateid (NFSv4.1).
	CurrentStateid = Stateid{Seqid: 1}
	// InvalidStateid is never valid (NFSv4.1); the current stateid becomes it.
	InvalidStateid = Stateid{Seqid: 0xffffffff}
)

var ones = [OtherSize]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}

// DecodeStateid reads a stateid4.
func DecodeStateid(r *xdr.Reader) (s Stateid) {
	s.Seqid = r.Uint32()
	copy(s.Other[:], r.Fixed(OtherSize))
	return s
}

// Encode appends the stateid.
func (s Stateid) Encode(w *xdr.Writer) {
	w.Uint32(s.Seqid)
	w.Raw(s.Other[:])
}

// IsSpecial says whether Other is all zeros or all ones, which only special
// stateids may have. One that is special and none of the four above is
// NFS4ERR_BAD_STATEID.
func (s Stateid) IsSpecial() bool { return s.Other == [OtherSize]byte{} || s.Other == ones }

// String returns the stateid as seqid:other, or its name if it is special.
func (s Stateid) String() string {
	switch s {
	case AnonymousStateid:
		return "anonymous"
	case BypassStateid:
		return "bypass"
	case CurrentStateid:
		return "current"
	case InvalidStateid:
		return "invalid"
	}
	return fmt.Sprintf("%d:%x", s.Seqid, s.Other[:])
}

// A Time is an nfstime4. Nsec is 0 to 999,999,999 and counts forward also
// before 1970.
type Time struct {
	Sec  int64
	Nsec uint32
}

// DecodeTime reads an nfstime4. It does not check Nsec: a server answers
// NFS4ERR_INVAL to one out of range, which is not a fault of the XDR.
func DecodeTime(r *xdr.Reader) (t Time) {
	t.Sec = r.Int64()
	t.Nsec = r.Uint32()
	return t
}

// Encode appends the time.
func (t Time) Encode(w *xdr.Writer) {
	w.Int64(t.Sec)
	w.Uint32(t.Nsec)
}

// Valid says whether Nsec is in range.
func (t Time) Valid() bool { return t.Nsec < 1e9 }

// BitmapWords is how many words of a bitmap4 are kept.
const BitmapWords = 3

// bitmapMax is how many words a decoded bitmap4 may have. The protocol sets no
// bound; no attribute in use needs more than three.
const bitmapMax = 8

// A Bitmap is a bitmap4 of up to 96 bits. It lives without memory of its own.
type Bitmap [BitmapWords]uint32

// BitmapOf returns a bitmap of the given attributes, all below 96.
func BitmapOf(attrs ...Attr) (b Bitmap) {
	for _, a := range attrs {
		b.Set(a)
	}
	return b
}

// DecodeBitmap reads a bitmap4 of at most eight words. Words after the third
// are dropped: nothing known has its bit there. DecodeBitmapHigh tells of them.
func DecodeBitmap(r *xdr.Reader) Bitmap {
	b, _ := DecodeBitmapHigh(r)
	return b
}

// DecodeBitmapHigh is DecodeBitmap that also says whether a dropped word had a
// bit set, which in an attribute list to be set means NFS4ERR_ATTRNOTSUPP.
func DecodeBitmapHigh(r *xdr.Reader) (b Bitmap, high bool) {
	n := r.Count(bitmapMax, 4)
	for i := range n {
		word := r.Uint32()
		if i < BitmapWords {
			b[i] = word
		} else if word != 0 {
			high = true
		}
	}
	return b, high
}

// Encode appends the bitmap without trailing zero words.
func (b Bitmap) Encode(w *xdr.Writer) {
	n := BitmapWords
	for n > 0 && b[n-1] == 0 {
		n--
	}
	w.Uint32(uint32(n))
	for _, word := range b[:n] {
		w.Uint32(word)
	}
}

// Has says whether a's bit is set.
func (b Bitmap) Has(a Attr) bool { return a < 32*BitmapWords && b[a/32]&(1<<(a%32)) != 0 }

// Set sets a's bit. An a of 96 and above is ignored.
func (b *Bitmap) Set(a Attr) {
	if a < 32*BitmapWords {
		b[a/32] |= 1 << (a % 32)
	}
}

// Clear clears a's bit.
func (b *Bitmap) Clear(a Attr) {
	if a < 32*BitmapWords {
		b[a/32] &^= 1 << (a % 32)
	}
}

// And returns the bits set in both.
func (b Bitmap) And(c Bitmap) Bitmap { return Bitmap{b[0] & c[0], b[1] & c[1], b[2] & c[2]} }

// AndNot returns the bits set in b and not in c.
func (b Bitmap) AndNot(c Bitmap) Bitmap { return Bitmap{b[0] &^ c[0], b[1] &^ c[1], b[2] &^ c[2]} }

// Or returns the bits set in either.
func (b Bitmap) Or(c Bitmap) Bitmap { return Bitmap{b[0] | c[0], b[1] | c[1], b[2] | c[2]} }

// Empty says whether no bit is set.
func (b Bitmap) Empty() bool { return b == Bitmap{} }

// Count returns how many bits are set.
func (b Bitmap) Count() int {
	return bits.OnesCount32(b[0]) + bits.OnesCount32(b[1]) + bits.OnesCount32(b[2])
}

// Next returns the lowest attribute set that is a or above, in the order in
// which attribute values are encoded. It returns false when there is none.
//
//	for a, ok := b.Next(0); ok; a, ok = b.Next(a + 1) { … }
func (b Bitmap) Next(a Attr) (Attr, bool) {
	for i := int(a / 32); i < BitmapWords; i++ {
		word := b[i]
		if i == int(a/32) {
			word &= ^uint32(0) << (a % 32)
		}
		if word != 0 {
			return Attr(32*i + bits.TrailingZeros32(word)), true
		}
	}
	return 0, false
}

// String returns the attributes' names with commas between.
func (b Bitmap) String() string {
	var names []string
	for a, ok := b.Next(0); ok; a, ok = b.Next(a + 1) {
		names = append(names, a.String())
	}
	return "{" + strings.Join(names, ",") + "}"
}

// String returns the name the RFC uses, such as "NF4REG".
func (t FileType) String() string {
	names := [...]string{"", "NF4REG", "NF4DIR", "NF4BLK", "NF4CHR", "NF4LNK", "NF4SOCK", "NF4FIFO", "NF4ATTRDIR", "NF4NAMEDATTR"}
	if t > 0 && int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("ftype(%d)", uint32(t))
}
