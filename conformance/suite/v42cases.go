package suite

import (
	"bytes"
	"fmt"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func v42CaseTests() []Test {
	const seek, rp, alloc, dealloc, cp, cl = "RFC 7862 §15.11.3", "RFC 7862 §15.10.3", "RFC 7862 §15.1.3", "RFC 7862 §15.4.3", "RFC 7862 §15.2.3", "RFC 7862 §15.13.3"
	tests := []Test{
		{Code: "SEEKC1", minors: v2, RFC: seek, Says: "SEEK for a hole in a file without any gives the end of the file", run: seekWholeFile},
		{Code: "SEEKC2", minors: v2, RFC: seek, Says: "SEEK for data behind the last data is eof", run: seekNoMoreData},
		{Code: "SEEKC3", minors: v2, RFC: seek, Says: "SEEK from within data gives that offset for data, from within a hole that offset for a hole", run: seekWithin},
		{Code: "SEEKC4", minors: v2, RFC: seek, Says: "SEEK in an empty file from offset zero is eof or NFS4ERR_NXIO", run: seekEmpty},
		{Code: "SEEKC5", minors: v2, RFC: seek, Says: "SEEK from the largest offset is NFS4ERR_NXIO", run: seekLargest},
		{Code: "RPLUSC1", minors: v2, RFC: rp, Says: "READ_PLUS of no bytes gives none", run: rplusZero},
		{Code: "RPLUSC2", minors: v2, RFC: rp, Says: "READ_PLUS with eof tells the end exactly: not before the last byte, and with it", run: rplusEOF},
		{Code: "RPLUSC3", minors: v2, RFC: rp, Says: "READ_PLUS gives no more data than was asked", run: rplusCount},
		{Code: "RPLUSC4", minors: v2, RFC: rp, Says: "READ_PLUS of an all-hole file gives zeros or a hole of that size", run: rplusAllHole},
		{Code: "ALLOCC1", minors: v2, RFC: alloc, Says: "ALLOCATE within the file changes neither size nor data", run: allocWithin},
		{Code: "ALLOCC2", minors: v2, RFC: alloc, Says: "ALLOCATE beyond the end sets the size to offset and length, and reads as zeros", run: allocBeyond},
		{Code: "ALLOCC3", minors: v2, RFC: "RFC 8881 §18.32.3", Says: "ALLOCATE with the anonymous stateid against a deny of writing is NFS4ERR_LOCKED", run: allocDenied},
		{Code: "DEALLC1", minors: v2, RFC: dealloc, Says: "DEALLOCATE of a whole file leaves its size and zeros", run: deallocAll},
		{Code: "DEALLC2", minors: v2, RFC: dealloc, Says: "DEALLOCATE beyond the end changes nothing", run: deallocBeyond},
		{Code: "DEALLC3", minors: v2, RFC: dealloc, Says: "DEALLOCATE of a single byte makes a zero of that byte", run: deallocByte},
		{Code: "COPYC1", minors: v2, RFC: cp, Says: "COPY between files of which one is no regular file is NFS4ERR_WRONG_TYPE, or NFS4ERR_ISDIR of a directory", run: copyTypes},
		{Code: "COPYC2", minors: v2, RFC: cp, Says: "COPY from behind the end of the source is NFS4ERR_INVAL", run: copyFromBehind},
		{Code: "COPYC3", minors: v2, RFC: cp, Says: "COPY to behind the end of the destination leaves zeros between", run: copyToBehind},
		{Code: "COPYC4", minors: v2, RFC: cp, Says: "COPY leaves the source as it is, and the rest of the destination", run: copyLeaves},
		{Code: "COPYC5", minors: v2, RFC: cp, Says: "COPY with a source open for writing only, or a destination open for reading only, is NFS4ERR_OPENMODE", run: copyModes},
		{Code: "COPYC6", minors: v2, RFC: cp, Says: "COPY asked to be synchronous gives no callback id", run: copySynchronous},
		{Code: "COPYC7", minors: v2, RFC: "RFC 7862 §15.2.3, §4.8", Says: "COPY to a stable destination tells a stability and a verifier that COMMIT gives too", run: copyCommit},
		{Code: "CLONEC1", minors: v2, RFC: cl, Says: "CLONE from behind the end of the source is NFS4ERR_INVAL", run: cloneBehind},
		{Code: "CLONEC2", minors: v2, RFC: cl, Says: "CLONE of overlapping ranges of one file is NFS4ERR_INVAL", run: cloneOverlap},
		{Code: "CLONEC3", minors: v2, RFC: cl, Says: "CLONE of what is no regular file is NFS4ERR_WRONG_TYPE, or NFS4ERR_ISDIR of a directory", run: cloneTypes},
		{Code: "ADVC1", minors: v2, RFC: "RFC 7862 §15.5.3", Says: "IO_ADVISE with hints that are not defined does not say that they were heeded", run: adviseUnknown},
	}
	for _, r := range rangeOps42() {
		tests = append(tests, Test{
			Code: fmt.Sprintf("RTYPE%d", r.num), minors: v2, RFC: opSection(r.num, v2), run: func(e *Env) { rangeType(e, r) },
			Says: fmt.Sprintf("%v of a directory, link, fifo, socket or device is NFS4ERR_WRONG_TYPE, NFS4ERR_ISDIR or NFS4ERR_SYMLINK as it fits", r.num),
		})
		tests = append(tests, Test{
			Code: fmt.Sprintf("RWRAP%d", r.num), minors: v2, RFC: opSection(r.num, v2), run: func(e *Env) { rangeWraps(e, r) },
			Says: fmt.Sprintf("%v of a range that goes beyond the largest offset is refused or ends there", r.num),
		})
	}
	return tests
}

// A rangeOp is an operation on a range of a file.
type rangeOp struct {
	num nfs4.Op
	op  func(s nfs4.Stateid, offset, length uint64) client.Op
}

func rangeOps42() []rangeOp {
	return []rangeOp{
		{nfs4.OpAllocate, client.Allocate},
		{nfs4.OpDeallocate, client.Deallocate},
		{nfs4.OpReadPlus, func(s nfs4.Stateid, offset, length uint64) client.Op {
			return client.ReadPlus(s, offset, uint32(length))
		}},
		{nfs4.OpSeek, func(s nfs4.Stateid, offset, _ uint64) client.Op { return client.Seek(s, offset, nfs4.ContentData) }},
		{nfs4.OpIOAdvise, func(s nfs4.Stateid, offset, length uint64) client.Op {
			return client.IOAdvise(s, offset, length, nfs4.Bitmap{2})
		}},
	}
}

func rangeType(e *Env, r rangeOp) {
	c := e.Client()
	for typ, fh := range e.objects(c, e.Dir()) {
		want := is(nfs4.ErrWrongType, nfs4.ErrNotSupp, nfs4.ErrBadStateid)
		switch typ {
		case nfs4.TypeReg:
			continue
		case nfs4.TypeDir:
			want = append(want, nfs4.ErrIsDir)
		case nfs4.TypeLnk:
			want = append(want, nfs4.ErrSymlink)
		}
		if r.num == nfs4.OpIOAdvise { // advice has no effect that a type could forbid
			want = append(want, nfs4.OK)
		}
		e.Want(c, want, client.PutFH(fh), r.op(nfs4.AnonymousStateid, 0, 10))
	}
}

func rangeWraps(e *Env, r rangeOp) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	want := is(nfs4.ErrInval, nfs4.ErrFBig, nfs4.ErrNXIO, nfs4.ErrNotSupp)
	switch r.num {
	case nfs4.OpReadPlus, nfs4.OpDeallocate, nfs4.OpIOAdvise:
		want = append(want, nfs4.OK)
	}
	e.Want(c, want, client.PutFH(f.FH), r.op(f.Stateid, nfs4.Uint64Max-5, 100))
	if got := e.Contents(c, f.FH); got != "0123456789" {
		e.Errorf("it reads %q", got)
	}
}

func (e *Env) seek(c *client.Client, f *client.OpenFile, offset uint64, what uint32) *client.SeekRes {
	p := e.optional(e.Do(c, client.PutFH(f.FH), client.Seek(f.Stateid, offset, what)))
	return get[client.SeekRes](e, e.Expect(p, is(nfs4.OK)))
}

func seekWholeFile(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	if r := e.seek(c, f, 0, nfs4.ContentHole); r.Offset != 10 {
		e.Errorf("%+v", r)
	}
}

func seekNoMoreData(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(8<<20)))
	// A server that does not see holes says that there is data.
	p := e.optional(e.Do(c, client.PutFH(f.FH), client.Seek(f.Stateid, 4<<20, nfs4.ContentData)))
	if r := get[client.SeekRes](e, e.Expect(p, is(nfs4.OK))); !r.EOF && r.Offset != 4<<20 {
		e.Errorf("%+v", r)
	}
}

func seekWithin(e *Env) {
	c := e.Client()
	f := e.sparse(c)
	if r := e.seek(c, f, 100, nfs4.ContentData); r.Offset != 100 {
		e.Errorf("data from within data: %+v", r)
	}
	hole := e.seek(c, f, 100, nfs4.ContentHole)
	if hole.Offset >= 1<<20 {
		return // the file system keeps no hole
	}
	if r := e.seek(c, f, hole.Offset+10, nfs4.ContentHole); r.Offset != hole.Offset+10 {
		e.Errorf("a hole from within the hole at %d: %+v", hole.Offset, r)
	}
}

func seekEmpty(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	for _, what := range []uint32{nfs4.ContentData, nfs4.ContentHole} {
		p := e.optional(e.Do(c, client.PutFH(f.FH), client.Seek(f.Stateid, 0, what)))
		e.Expect(p, is(nfs4.OK, nfs4.ErrNXIO))
		if r := client.Get[client.SeekRes](p); r != nil && !r.EOF && r.Offset != 0 {
			e.Errorf("%+v", r)
		}
	}
}

func seekLargest(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	for _, off := range []uint64{1 << 63, nfs4.Uint64Max} {
		e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Seek(f.Stateid, off, nfs4.ContentData))), is(nfs4.ErrNXIO, nfs4.ErrInval))
	}
}

func (e *Env) readPlus(c *client.Client, f *client.OpenFile, offset uint64, count uint32) *client.ReadPlusRes {
	p := e.optional(e.Do(c, client.PutFH(f.FH), client.ReadPlus(f.Stateid, offset, count)))
	return get[client.ReadPlusRes](e, e.Expect(p, is(nfs4.OK)))
}

func rplusZero(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	if r := e.readPlus(c, f, 3, 0); len(e.flatten(r, 3)) != 0 || r.EOF {
		e.Errorf("%+v", r)
	}
}

func rplusEOF(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	if r := e.readPlus(c, f, 0, 9); r.EOF || string(e.flatten(r, 0)) != "012345678" {
		e.Errorf("nine of ten bytes: %+v", r)
	}
	if r := e.readPlus(c, f, 0, 100); !r.EOF || string(e.flatten(r, 0)) != "0123456789" {
		e.Errorf("more than there is: %+v", r)
	}
}

func rplusCount(e *Env) {
	c := e.Client()
	f := e.sparse(c)
	for _, count := range []uint32{1, 100, 4097, 70000} {
		data := 0
		for _, piece := range e.readPlus(c, f, 60000, count).Contents {
			data += len(piece.Data)
		}
		if data > int(count) {
			e.Errorf("asked for %d bytes, got %d", count, data)
		}
	}
}

func rplusAllHole(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	e.OK(c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(100_000)))
	got := e.flatten(e.readPlus(c, f, 0, 100_000), 0)
	if len(got) == 0 || len(got) > 100_000 || len(bytes.Trim(got, "\x00")) != 0 {
		e.Errorf("%d bytes, not all zero or not as many as there are", len(got))
	}
}

func allocWithin(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Allocate(f.Stateid, 2, 5))), is(nfs4.OK))
	if got := e.Contents(c, f.FH); got != "0123456789" {
		e.Errorf("it reads %q", got)
	}
}

func allocBeyond(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Allocate(f.Stateid, 8, 12))), is(nfs4.OK))
	if got := e.Contents(c, f.FH); got != "0123456789"+strings.Repeat("\x00", 10) {
		e.Errorf("it reads %q", got)
	}
}

func allocDenied(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "0123456789")
	_, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: 1, Deny: nfs4.ShareDenyWrite, Name: "f"})
	e.Must(err)
	p := e.Do(c, client.PutFH(fh), client.Allocate(nfs4.AnonymousStateid, 0, 100))
	e.Expect(e.optional(p), is(nfs4.ErrLocked, nfs4.ErrShareDenied))
	e.invalid = ""
}

func deallocAll(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", strings.Repeat("x", 9000))
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Deallocate(f.Stateid, 0, 9000))), is(nfs4.OK))
	if got := e.Contents(c, f.FH); got != strings.Repeat("\x00", 9000) {
		e.Errorf("%d bytes, not all zero", len(got))
	}
}

func deallocBeyond(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Deallocate(f.Stateid, 10, 1000))), is(nfs4.OK))
	if got := e.Contents(c, f.FH); got != "0123456789" {
		e.Errorf("it reads %q", got)
	}
}

func deallocByte(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	e.Expect(e.optional(e.Do(c, client.PutFH(f.FH), client.Deallocate(f.Stateid, 4, 1))), is(nfs4.OK))
	if got := e.Contents(c, f.FH); got != "0123\x0056789" {
		e.Errorf("it reads %q", got)
	}
}
