package suite

import (
	"bytes"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func v42Tests() []Test {
	return []Test{
		{Code: "SEEK1", minors: v2, RFC: "RFC 7862 §15.11", Says: "SEEK finds data and holes; the end of the file is a hole", run: seekBasic},
		{Code: "SEEK2", minors: v2, RFC: "RFC 7862 §15.11.3", Says: "SEEK from beyond the end is NFS4ERR_NXIO", run: seekBeyond},
		{Code: "SEEK3", minors: v2, RFC: "RFC 7862 §15.11.3", Says: "SEEK for a content type that is not defined is refused", run: seekWhat},
		{Code: "ALLOC1", minors: v2, RFC: "RFC 7862 §15.1", Says: "ALLOCATE makes the file as large as its range and leaves what is written", run: allocate},
		{Code: "ALLOC2", minors: v2, RFC: "RFC 7862 §15.1", Says: "ALLOCATE needs an open for writing, a file, and a range that exists", run: allocateErrors},
		{Code: "DEALL1", minors: v2, RFC: "RFC 7862 §15.4", Says: "DEALLOCATE makes zeros of its range and keeps the size", run: deallocate},
		{Code: "RPLUS1", minors: v2, RFC: "RFC 7862 §15.10", Says: "READ_PLUS gives what READ gives, holes told or filled", run: readPlus},
		{Code: "RPLUS2", minors: v2, RFC: "RFC 7862 §15.10", Says: "READ_PLUS beyond the end gives nothing and eof", run: readPlusEOF},
		{Code: "ADV1", minors: v2, RFC: "RFC 7862 §15.5", Says: "IO_ADVISE answers with hints that were asked", run: ioAdvise},
		{Code: "WSAME1", minors: v2, RFC: "RFC 7862 §15.12", Says: "WRITE_SAME writes its pattern as often as it says, or is NFS4ERR_NOTSUPP", run: writeSame},
		{Code: "CNOTE1", minors: v2, RFC: "RFC 7862 §15.3", Says: "COPY_NOTIFY is answered or not supported, and needs a valid stateid", run: copyNotify},
		{Code: "CNOTE2", minors: v2, RFC: "RFC 7862 §4.7, §15.3.3", Says: "COPY_NOTIFY is given the destination by name or URL as well as by address", run: copyNotifyNames},
		{Code: "V42A", minors: v2, RFC: "RFC 7862 §15", Says: "ALLOCATE, DEALLOCATE, SEEK and READ_PLUS with a stateid of another file are NFS4ERR_BAD_STATEID", run: v42BadStateid},
	}
}

// optional ends the test if the server does not support the operation.
func (e *Env) optional(p *client.Reply) *client.Reply {
	if s := p.Last().Status; s == nfs4.ErrNotSupp || s == nfs4.ErrUnionNotSupp {
		e.Unsupportedf("%v: %v", p.Last().Op, s)
	}
	return p
}

// sparse makes a file of data, a hole of a mebibyte, and data.
func (e *Env) sparse(c *client.Client) *client.OpenFile {
	f := e.File(c, e.Dir(), "f", strings.Repeat("a", 65536))
	_, err := f.Write(1<<20, nfs4.FileSync, bytes.Repeat([]byte("b"), 65536))
	e.Must(err)
	return f
}

func seekBasic(e *Env) {
	c := e.Client()
	f := e.sparse(c)
	size := uint64(1<<20 + 65536)
	for _, s := range []struct {
		off     uint64
		what    uint32
		lo, hi  uint64 // file systems differ in how finely they know holes
		wantEOF bool
	}{
		{0, nfs4.ContentData, 0, 0, false},
		{100, nfs4.ContentData, 100, 100, false},
		{0, nfs4.ContentHole, 65536, size, false},
		{200 << 10, nfs4.ContentData, 200 << 10, 1 << 20, false},
		{1 << 20, nfs4.ContentHole, size, size, true},
	} {
		p := e.optional(e.Do(c, client.PutFH(f.FH), client.Seek(f.Stateid, s.off, s.what)))
		e.Expect(p, is(nfs4.OK))
		r := get[client.SeekRes](e, p)
		if r.Offset < s.lo || r.Offset > s.hi {
			e.Errorf("from %d for %d: %+v, want %d to %d", s.off, s.what, r, s.lo, s.hi)
		}
	}
}

func seekBeyond(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	for _, off := range []uint64{10, 100, 1 << 40} {
		for _, what := range []uint32{nfs4.ContentData, nfs4.ContentHole} {
			e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Seek(f.Stateid, off, what))), is(nfs4.ErrNXIO))
		}
	}
}

func seekWhat(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	p, err := c.Compound(client.PutFH(f.FH), client.Seek(f.Stateid, 0, 9))
	if err == nil && (p.Status == nfs4.ErrUnionNotSupp || p.Status == nfs4.ErrNotSupp || p.Status == nfs4.ErrInval) {
		return
	}
	e.badXDR(p, err)
}

func allocate(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Allocate(f.Stateid, 0, 8192))), is(nfs4.OK))
	a := e.Attrs(c, f.FH, nfs4.AttrSize, nfs4.AttrSpaceUsed)
	if a.Size() != 8192 || (a.Has(nfs4.AttrSpaceUsed) && a.Num(nfs4.AttrSpaceUsed) < 8192) {
		e.Errorf("%v", a)
	}
	if got := e.Contents(c, f.FH); got[:10] != "0123456789" || strings.Trim(got[10:], "\x00") != "" {
		e.Errorf("contents changed")
	}
	e.OK(c, client.PutFH(f.FH), client.Allocate(f.Stateid, 0, 100))
	if got := e.Attrs(c, f.FH, nfs4.AttrSize).Size(); got != 8192 {
		e.Errorf("a smaller range sets the size to %d", got)
	}
}

func allocateErrors(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f := e.File(c, dir, "f", "x")
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Allocate(f.Stateid, nfs4.Uint64Max-10, 100))), is(nfs4.ErrInval, nfs4.ErrFBig))
	r, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	e.Want(c, is(nfs4.ErrOpenMode), client.PutFH(f.FH), client.Allocate(r.Stateid, 0, 100))
	e.Want(c, is(nfs4.ErrOpenMode), client.PutFH(f.FH), client.Deallocate(r.Stateid, 0, 100))
	e.Want(c, is(nfs4.ErrIsDir, nfs4.ErrWrongType), client.PutFH(dir), client.Allocate(nfs4.AnonymousStateid, 0, 100))
}

func deallocate(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", strings.Repeat("x", 16384))
	before := e.Attrs(c, f.FH, nfs4.AttrChange).Change()
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Deallocate(f.Stateid, 1000, 9000))), is(nfs4.OK))
	want := strings.Repeat("x", 1000) + strings.Repeat("\x00", 9000) + strings.Repeat("x", 6384)
	if got := e.Contents(c, f.FH); got != want {
		e.Errorf("%d bytes, differ", len(got))
	}
	if now := e.Attrs(c, f.FH, nfs4.AttrChange).Change(); now <= before {
		e.Errorf("change goes from %d to %d", before, now)
	}
	e.OK(c, client.PutFH(f.FH), client.Deallocate(f.Stateid, 16000, 1<<30))
	if got := e.Attrs(c, f.FH, nfs4.AttrSize).Size(); got != 16384 {
		e.Errorf("size %d", got)
	}
}

// flatten turns READ_PLUS's pieces into bytes.
func (e *Env) flatten(r *client.ReadPlusRes, from uint64) []byte {
	var out []byte
	for _, p := range r.Contents {
		if p.Offset != from+uint64(len(out)) {
			e.Errorf("a piece at %d, %d expected: %+v", p.Offset, from+uint64(len(out)), r)
			return out
		}
		if p.Hole {
			out = append(out, make([]byte, p.Length)...)
		} else {
			out = append(out, p.Data...)
		}
	}
	return out
}

func readPlus(e *Env) {
	c := e.Client()
	f := e.sparse(c)
	size := uint64(1<<20 + 65536)
	var got []byte
	for uint64(len(got)) < size {
		p := e.optional(e.Do(c, client.PutFH(f.FH), client.ReadPlus(f.Stateid, uint64(len(got)), 100_000)))
		e.Expect(p, is(nfs4.OK))
		r := get[client.ReadPlusRes](e, p)
		piece := e.flatten(r, uint64(len(got)))
		got = append(got, piece...)
		if len(piece) == 0 || r.EOF {
			break
		}
	}
	if uint64(len(got)) > size { // a hole may be told beyond what was asked, not beyond the end
		e.Errorf("%d bytes of %d", len(got), size)
	}
	want := append(bytes.Repeat([]byte("a"), 65536), make([]byte, 1<<20-65536)...)
	want = append(want, bytes.Repeat([]byte("b"), 65536)...)
	if !bytes.Equal(got, want) {
		e.Errorf("%d bytes, differ", len(got))
	}
}

func readPlusEOF(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	for _, off := range []uint64{10, 1000} {
		p := e.optional(e.Do(c, client.PutFH(f.FH), client.ReadPlus(f.Stateid, off, 100)))
		e.Expect(p, is(nfs4.OK))
		if r := get[client.ReadPlusRes](e, p); !r.EOF || len(e.flatten(r, off)) != 0 {
			e.Errorf("at %d: %+v", off, r)
		}
	}
}

func ioAdvise(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	asked := nfs4.Bitmap{1<<nfs4.AdviseSequential | 1<<nfs4.AdviseWillneed}
	p := e.optional(e.Do(c, client.PutFH(f.FH), client.IOAdvise(f.Stateid, 0, 0, asked)))
	e.Expect(p, is(nfs4.OK))
	if h := get[client.IOAdviseRes](e, p).Hints; !h.AndNot(asked).Empty() {
		e.Errorf("%v", h)
	}
}

func writeSame(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	p := e.optional(e.Do(c, client.PutFH(f.FH), client.WriteSame(f.Stateid, nfs4.FileSync, 0, 512, 4, []byte("pattern!"))))
	e.Expect(p, is(nfs4.OK))
	if got := e.Contents(c, f.FH); len(got) != 2048 || !strings.HasPrefix(got, "pattern!") {
		e.Errorf("%d bytes", len(got))
	}
}

func copyNotify(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.CopyNotify(f.Stateid, client.SomeServer))), is(nfs4.OK, nfs4.ErrInval))
	bad := f.Stateid
	bad.Other[1] ^= 0x99
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(f.FH), client.CopyNotify(bad, client.SomeServer))
}

func copyNotifyNames(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.CopyNotify(f.Stateid, client.SomeServer))), is(nfs4.OK, nfs4.ErrInval))
	for _, to := range []client.Netloc{
		{Kind: nfs4.NetlocName, Text: []string{"destination.example"}}, {Kind: nfs4.NetlocURL, Text: []string{"nfs://destination.example/"}},
	} {
		e.Expect(e.Do(c, client.PutFH(f.FH), client.CopyNotify(f.Stateid, to)), is(nfs4.OK, nfs4.ErrInval))
	}
}

func v42BadStateid(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f, g := e.File(c, dir, "f", "0123456789"), e.File(c, dir, "g", "0123456789")
	for _, op := range []client.Op{
		client.Allocate(g.Stateid, 0, 10), client.Deallocate(g.Stateid, 0, 10), client.Seek(g.Stateid, 0, 0), client.ReadPlus(g.Stateid, 0, 10),
	} {
		p := e.Do(c, client.PutFH(f.FH), op)
		e.Expect(p, is(nfs4.ErrBadStateid, nfs4.ErrNotSupp))
	}
}

func copyTests() []Test {
	return []Test{
		{Code: "COPY1", minors: v2, RFC: "RFC 7862 §15.2", Says: "COPY copies a range within the server", run: copyRange},
		{Code: "COPY2", minors: v2, RFC: "RFC 7862 §15.2.3", Says: "a count of zero copies to the end of the source", run: copyToEnd},
		{Code: "COPY3", minors: v2, RFC: "RFC 7862 §15.2.3", Says: "COPY of overlapping ranges of one file is NFS4ERR_INVAL and changes nothing", run: copyOverlap},
		{Code: "COPY4", minors: v2, RFC: "RFC 7862 §15.2.3", Says: "COPY needs a source open for reading, a destination open for writing, and a saved filehandle", run: copyErrors},
		{Code: "COPY5", minors: v2, RFC: "RFC 7862 §15.2.3", Says: "a source range that ends behind the source's end MUST be NFS4ERR_INVAL, and copies nothing", run: copyBeyond},
		{Code: "COPY6", minors: v2, RFC: "RFC 7862 §15.2.3", Says: "COPY within one file MUST be NFS4ERR_INVAL, and changes nothing", run: copySameFile},
		{Code: "CLONE1", minors: v2, RFC: "RFC 7862 §15.13", Says: "CLONE makes the ranges equal, or is not supported", run: cloneFile},
		{Code: "OFFL1", minors: v2, RFC: "RFC 7862 §15.8, §15.9", Says: "OFFLOAD_STATUS and OFFLOAD_CANCEL of an unknown copy are NFS4ERR_BAD_STATEID", run: offloadUnknown},
	}
}

// copied runs a synchronous COPY as often as short results need, and requires
// it to succeed.
func (e *Env) copied(c *client.Client, src, dst *client.OpenFile, from, to, count uint64) {
	end := from + count
	if count == 0 {
		end = e.Attrs(c, src.FH, nfs4.AttrSize).Size()
	}
	for range 1000 {
		ask := end - from
		if count == 0 {
			ask = 0
		}
		p := e.optional(e.Do(c, client.PutFH(src.FH), client.SaveFH(), client.PutFH(dst.FH), client.Copy(client.CopyArgs{
			Src: src.Stateid, Dst: dst.Stateid, SrcOffset: from, DstOffset: to, Count: ask, Consecutive: true, Synchronous: true,
		})))
		e.Expect(p, is(nfs4.OK))
		r := get[client.CopyRes](e, p)
		if r.CallbackID != nil {
			e.Fatalf("a synchronous copy goes on asynchronously: %v", p)
		}
		from, to = from+r.Count, to+r.Count
		if from >= end {
			return
		}
		if r.Count == 0 {
			e.Fatalf("nothing copied, %d bytes missing: %v", end-from, p)
		}
	}
	e.Fatalf("the copy does not come to its end")
}

func copyRange(e *Env) {
	c := e.Client()
	dir := e.Dir()
	src, dst := e.File(c, dir, "src", "0123456789"), e.File(c, dir, "dst", "..........")
	e.copied(c, src, dst, 2, 4, 3)
	if got := e.Contents(c, dst.FH); got != "....234..." {
		e.Errorf("%q", got)
	}
	before := e.Attrs(c, dst.FH, nfs4.AttrChange).Change()
	e.copied(c, src, dst, 0, 100, 10)
	a := e.Attrs(c, dst.FH, nfs4.AttrSize, nfs4.AttrChange)
	if a.Size() != 110 || a.Change() <= before {
		e.Errorf("%v", a)
	}
}

func copyToEnd(e *Env) {
	c := e.Client()
	dir := e.Dir()
	text := strings.Repeat("0123456789", 5000)
	src, dst := e.File(c, dir, "src", text), e.File(c, dir, "dst", "")
	e.copied(c, src, dst, 100, 0, 0)
	if got := e.Contents(c, dst.FH); got != text[100:] {
		e.Errorf("%d bytes, want %d", len(got), len(text)-100)
	}
}

func copyOverlap(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	p := e.Do(c, client.PutFH(f.FH), client.SaveFH(), client.Copy(client.CopyArgs{
		Src: f.Stateid, Dst: f.Stateid, SrcOffset: 0, DstOffset: 3, Count: 5, Consecutive: true, Synchronous: true,
	}))
	e.Expect(e.optional(p), is(nfs4.ErrInval))
	if got := e.Contents(c, f.FH); got != "0123456789" {
		e.Errorf("%q", got)
	}
}

func copySameFile(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	p := e.optional(e.Do(c, client.PutFH(f.FH), client.SaveFH(), client.Copy(client.CopyArgs{
		Src: f.Stateid, Dst: f.Stateid, DstOffset: 5, Count: 5, Consecutive: true, Synchronous: true,
	})))
	e.Expect(p, is(nfs4.ErrInval))
	if got := e.Contents(c, f.FH); got != "0123456789" {
		e.Errorf("%q", got)
	}
}

func copyErrors(e *Env) {
	c := e.Client()
	dir := e.Dir()
	src, dst := e.File(c, dir, "src", "0123456789"), e.File(c, dir, "dst", "")
	ro, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Name: "dst"})
	e.Must(err)
	cp := func(want []nfs4.Status, from, to client.FH, a, b nfs4.Stateid) {
		p := e.Do(c, client.PutFH(from), client.SaveFH(), client.PutFH(to), client.Copy(client.CopyArgs{Src: a, Dst: b, Count: 5, Consecutive: true, Synchronous: true}))
		e.Expect(e.optional(p), want)
	}
	cp(is(nfs4.ErrOpenMode), src.FH, dst.FH, src.Stateid, ro.Stateid)
	cp(is(nfs4.ErrBadStateid), src.FH, dst.FH, dst.Stateid, dst.Stateid)
	cp(is(nfs4.ErrBadStateid), src.FH, dst.FH, src.Stateid, src.Stateid)
	cp(is(nfs4.ErrIsDir, nfs4.ErrWrongType, nfs4.ErrBadStateid), src.FH, dir, src.Stateid, nfs4.AnonymousStateid)
	e.Want(c, is(nfs4.ErrNoFileHandle), client.PutFH(dst.FH), client.Copy(client.CopyArgs{Src: src.Stateid, Dst: dst.Stateid, Count: 5, Consecutive: true, Synchronous: true}))
}

func copyBeyond(e *Env) {
	c := e.Client()
	dir := e.Dir()
	src, dst := e.File(c, dir, "src", "0123456789"), e.File(c, dir, "dst", "")
	p := e.optional(e.Do(c, client.PutFH(src.FH), client.SaveFH(), client.PutFH(dst.FH), client.Copy(client.CopyArgs{
		Src: src.Stateid, Dst: dst.Stateid, SrcOffset: 5, Count: 100, Consecutive: true, Synchronous: true,
	})))
	e.Expect(p, is(nfs4.ErrInval))
	if got := e.Contents(c, dst.FH); got != "" {
		e.Errorf("copied %q", got)
	}
}

func cloneFile(e *Env) {
	c := e.Client()
	dir := e.Dir()
	text := strings.Repeat("0123456789abcdef", 1024)
	src, dst := e.File(c, dir, "src", text), e.File(c, dir, "dst", "")
	p := e.optional(e.Do(c, client.PutFH(src.FH), client.SaveFH(), client.PutFH(dst.FH), client.Clone(src.Stateid, dst.Stateid, 0, 0, 0)))
	e.Expect(p, is(nfs4.OK))
	if got := e.Contents(c, dst.FH); got != text {
		e.Errorf("%d bytes", len(got))
	}
}

func offloadUnknown(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	bogus := f.Stateid
	bogus.Other[6] ^= 0x42
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.OffloadStatus(bogus))), is(nfs4.ErrBadStateid))
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.OffloadCancel(bogus))), is(nfs4.ErrBadStateid))
}
