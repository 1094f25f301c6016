package suite

import (
	"fmt"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A relation is one of the thirteen ways in which two ranges can lie to each
// other. The first range is always bytes 10 to 19.
type relation struct {
	n        int
	what     string // of the second range to the first
	from, to uint64 // the second range, to is behind its last byte
}

var relations = []relation{
	{1, "ends before it with a gap", 2, 8},
	{2, "ends right before it", 4, 10},
	{3, "overlaps its beginning", 5, 13},
	{4, "begins before it and ends with it", 5, 20},
	{5, "covers it and more on both sides", 5, 25},
	{6, "is its first part", 10, 14},
	{7, "is the same", 10, 20},
	{8, "begins with it and ends behind it", 10, 24},
	{9, "is a part inside of it", 13, 17},
	{10, "is its last part", 16, 20},
	{11, "overlaps its end", 17, 24},
	{12, "begins right behind it", 20, 26},
	{13, "begins behind it with a gap", 22, 28},
}

const (
	firstFrom, firstTo = 10, 20
	lineLen            = 30
)

func (r relation) overlaps() bool { return r.from < firstTo && r.to > firstFrom }

// overlapTests have for each relation of two ranges what a second owner gets,
// what unlocking leaves, and what another lock of the same owner makes.
func overlapTests() []Test {
	const lock = "RFC 7530 §16.10, RFC 8881 §18.10"
	var tests []Test
	add := func(r relation, family, rfc, says string, run func(e *Env, r relation)) {
		tests = append(tests, Test{
			Code: fmt.Sprintf("%s%d", family, r.n), minors: all, RFC: rfc, Says: fmt.Sprintf(says, r.what), run: func(e *Env) { run(e, r) },
		})
	}
	for _, r := range relations {
		if r.overlaps() {
			add(r, "OVER", lock, "of another owner's lock, a range that %s is NFS4ERR_DENIED to LOCK and LOCKT unless both are read locks", overlapOther)
		} else {
			add(r, "OVER", lock, "of another owner's lock, a range that %s can be locked whatever the types", overlapOther)
		}
	}
	for _, r := range relations {
		add(r, "UNLK", "RFC 7530 §16.12, RFC 8881 §18.12", "of a lock, unlocking a range that %s leaves locked exactly the bytes outside the range", overlapUnlock)
	}
	for _, r := range relations {
		add(r, "RELOCK", lock, "of an owner's own lock, a lock of the other type on a range that %s decides the type of its bytes and of no others", overlapOwn)
	}
	return append(tests, edgeTests()...)
}

func overlapOther(e *Env, r relation) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	for _, first := range []uint32{nfs4.ReadLT, nfs4.WriteLT} {
		e.Must(a.Lock(first, firstFrom, firstTo-firstFrom))
		for _, second := range []uint32{nfs4.ReadLT, nfs4.WriteLT} {
			want := nfs4.OK
			if r.overlaps() && (first == nfs4.WriteLT || second == nfs4.WriteLT) {
				want = nfs4.ErrDenied
			}
			d, err := b.Test(second, r.from, r.to-r.from)
			e.Must(err)
			if (d != nil) != (want == nfs4.ErrDenied) {
				e.Errorf("held type %d, asked type %d: LOCKT says %+v, want %v", first, second, d, want)
			}
			if d != nil && (d.Offset != firstFrom || d.Length != firstTo-firstFrom || d.Type != first) {
				e.Errorf("held type %d: LOCKT tells of %+v", first, d)
			}
			e.Err(b.Lock(second, r.from, r.to-r.from), want)
			if want == nfs4.OK {
				e.Must(b.Unlock(r.from, r.to-r.from))
			}
		}
	}
}

// line draws the locks of one owner on the first bytes of a file, for wantHeld.
type line [lineLen]byte

func newLine() (l line) {
	copy(l[:], strings.Repeat(".", lineLen))
	return l
}

func (l *line) set(from, to uint64, kind byte) {
	for i := from; i < to; i++ {
		l[i] = kind
	}
}

func overlapUnlock(e *Env, r relation) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, firstFrom, firstTo-firstFrom))
	e.Must(l.Unlock(r.from, r.to-r.from))
	want := newLine()
	want.set(firstFrom, firstTo, 'w')
	want.set(r.from, r.to, '.')
	e.wantHeld(f, string(want[:]))
}

func overlapOwn(e *Env, r relation) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	kinds := map[uint32]byte{nfs4.ReadLT: 'r', nfs4.WriteLT: 'w'}
	for _, first := range []uint32{nfs4.ReadLT, nfs4.WriteLT} {
		second := nfs4.ReadLT + nfs4.WriteLT - first
		e.Must(l.Lock(first, firstFrom, firstTo-firstFrom))
		e.Must(l.Lock(second, r.from, r.to-r.from))
		want := newLine()
		want.set(firstFrom, firstTo, kinds[first])
		want.set(r.from, r.to, kinds[second])
		e.wantHeld(f, string(want[:]))
		e.Must(l.Unlock(0, lineLen))
	}
}

func edgeTests() []Test {
	const lock = "RFC 7530 §16.10.4, RFC 8881 §18.10.3"
	return []Test{
		{Code: "EDGE1", minors: all, RFC: lock, Says: "a length of all ones locks from the offset to the last byte a file can have", run: edgeToEnd},
		{Code: "EDGE2", minors: all, RFC: lock, Says: "a lock that ends with the last possible byte by its length is the same as one to the end", run: edgeExactEnd},
		{Code: "EDGE3", minors: all, RFC: lock, Says: "the last possible byte can be locked alone", run: edgeLastByte},
		{Code: "EDGE4", minors: all, RFC: lock, Says: "LOCK, LOCKT and LOCKU of no bytes are NFS4ERR_INVAL", run: edgeEmpty},
		{Code: "EDGE5", minors: all, RFC: lock, Says: "LOCK, LOCKT and LOCKU of a range beyond the last possible byte are NFS4ERR_INVAL", run: edgeBeyond},
		{Code: "EDGE6", minors: all, RFC: "RFC 7530 §16.12, RFC 8881 §18.12", Says: "unlocking to the end frees a lock to the end from there, and leaves what is before", run: edgeUnlockTail},
		{Code: "EDGE7", minors: all, RFC: "RFC 7530 §16.12, RFC 8881 §18.12", Says: "one LOCKU frees all locks of the owner in its range, and no other owner's", run: edgeUnlockMany},
		{Code: "EDGE8", minors: all, RFC: lock, Says: "a lock beyond the end of the file holds, and keeps its place when the file grows", run: edgeBeyondFile},
		{Code: "EDGE9", minors: all, RFC: lock, Says: "cutting the file below a lock does not free it", run: edgeTruncated},
		{Code: "EDGE10", minors: all, RFC: "RFC 7530 §9.5, RFC 8881 §9.4", Says: "a write lock becomes a read lock at once for others, a read lock a write lock once alone", run: edgeConvert},
		{Code: "EDGE11", minors: all, RFC: lock, Says: "of several locks in the way NFS4ERR_DENIED tells one that is", run: edgeWhichDenied},
		{Code: "EDGE12", minors: all, RFC: lock, Says: "read locks of many owners on one range all have to go before it can be locked for writing", run: edgeManyReaders},
	}
}

func edgeToEnd(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.WriteLT, 100, nfs4.Uint64Max))
	for _, at := range []uint64{100, 1 << 40, 1 << 63, nfs4.Uint64Max - 1} {
		e.Err(b.Lock(nfs4.ReadLT, at, 1), nfs4.ErrDenied)
	}
	e.Must(b.Lock(nfs4.WriteLT, 0, 100))
}

func edgeExactEnd(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a := f.Locks(client.NewOwner())
	// The last byte has the offset 2^64-2 or 2^64-1: both ends must be served.
	e.Must(a.Lock(nfs4.WriteLT, 100, nfs4.Uint64Max-100))
	d, err := f.Locks(client.NewOwner()).Test(nfs4.ReadLT, nfs4.Uint64Max-1, 1)
	e.Must(err)
	if d == nil || d.Offset != 100 {
		e.Errorf("LOCKT tells of %+v", d)
	}
	e.Must(a.Unlock(100, nfs4.Uint64Max))
	if d, err := f.Locks(client.NewOwner()).Test(nfs4.ReadLT, 0, nfs4.Uint64Max); err != nil || d != nil {
		e.Errorf("after unlocking to the end: %+v, %v", d, err)
	}
}

func edgeLastByte(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.WriteLT, nfs4.Uint64Max-1, 1))
	e.Err(b.Lock(nfs4.ReadLT, nfs4.Uint64Max-1, 1), nfs4.ErrDenied)
	e.Err(b.Lock(nfs4.ReadLT, 0, nfs4.Uint64Max), nfs4.ErrDenied)
	e.Must(b.Lock(nfs4.WriteLT, 0, nfs4.Uint64Max-1))
}

// refusedRange requires NFS4ERR_INVAL of all three operations, which do nothing.
func (e *Env) refusedRange(offset, length uint64) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	_, err := l.Test(nfs4.WriteLT, offset, length)
	e.Err(err, nfs4.ErrInval)
	e.Err(l.Lock(nfs4.WriteLT, offset, length), nfs4.ErrInval)
	e.Err(l.Unlock(offset, length), nfs4.ErrInval)
	e.wantHeld(f, "wwwwwwwwww.")
}

func edgeEmpty(e *Env) {
	e.refusedRange(5, 0)
	e.refusedRange(0, 0)
}

func edgeBeyond(e *Env) {
	e.refusedRange(nfs4.Uint64Max-10, 12)
	e.refusedRange(2, nfs4.Uint64Max-1)
}

func edgeUnlockTail(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 2, nfs4.Uint64Max))
	e.Must(l.Unlock(5, nfs4.Uint64Max))
	e.wantHeld(f, "..www...")
	if any, _ := e.held(f, 8, nfs4.Uint64Max); any {
		e.Errorf("bytes behind the unlocked offset are still locked")
	}
}

func edgeUnlockMany(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	for _, at := range []uint64{0, 4, 8} {
		e.Must(a.Lock(nfs4.WriteLT, at, 2))
		e.Must(b.Lock(nfs4.WriteLT, at+2, 1))
	}
	e.Must(a.Unlock(1, 8))
	e.wantHeld(f, "w.w...w..ww")
}

func edgeBeyondFile(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "ab")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 5, 2))
	e.wantHeld(f, ".....ww.")
	_, err := f.Write(0, nfs4.FileSync, []byte("0123456789"))
	e.Must(err)
	e.wantHeld(f, ".....ww.")
}

func edgeTruncated(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 5, 2))
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(0)))
	e.wantHeld(f, ".....ww.")
}

func edgeConvert(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b := f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.WriteLT, 0, 10))
	e.Err(b.Lock(nfs4.ReadLT, 0, 10), nfs4.ErrDenied)
	e.Must(a.Lock(nfs4.ReadLT, 0, 10))
	e.Must(b.Lock(nfs4.ReadLT, 0, 10))
	e.Err(a.Lock(nfs4.WriteLT, 0, 10), nfs4.ErrDenied)
	e.Must(b.Unlock(0, 10))
	e.Must(a.Lock(nfs4.WriteLT, 0, 10))
	e.wantHeld(f, "wwwwwwwwww.")
}

func edgeWhichDenied(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	a, b, c := f.Locks(client.NewOwner()), f.Locks(client.NewOwner()), f.Locks(client.NewOwner())
	e.Must(a.Lock(nfs4.ReadLT, 0, 10))
	e.Must(b.Lock(nfs4.WriteLT, 20, 10))
	d, err := c.Test(nfs4.ReadLT, 0, 100) // a's lock is not in its way
	e.Must(err)
	if d == nil || d.Offset != 20 || d.Length != 10 || d.Type != nfs4.WriteLT || string(d.Owner) != b.Owner.Name {
		e.Errorf("for a read lock of 0 to 99: %+v", d)
	}
	d, err = c.Test(nfs4.WriteLT, 0, 15)
	e.Must(err)
	if d == nil || d.Offset != 0 || d.Type != nfs4.ReadLT || string(d.Owner) != a.Owner.Name {
		e.Errorf("for a write lock of 0 to 14: %+v", d)
	}
}

func edgeManyReaders(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	writer := f.Locks(client.NewOwner())
	var readers []*client.Locks
	for range 5 {
		r := f.Locks(client.NewOwner())
		e.Must(r.Lock(nfs4.ReadLT, 0, 10))
		readers = append(readers, r)
	}
	for _, r := range readers {
		e.Err(writer.Lock(nfs4.WriteLT, 9, 5), nfs4.ErrDenied)
		e.Must(r.Unlock(0, 10))
	}
	e.Must(writer.Lock(nfs4.WriteLT, 9, 5))
}
