package suite

import (
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// copyOnce sends one synchronous COPY.
func (e *Env) copyOnce(c *client.Client, from, to client.FH, src, dst nfs4.Stateid, srcOffset, dstOffset, count uint64) *client.Reply {
	return e.optional(e.Do(c, client.PutFH(from), client.SaveFH(), client.PutFH(to), client.Copy(client.CopyArgs{
		Src: src, Dst: dst, SrcOffset: srcOffset, DstOffset: dstOffset, Count: count, Consecutive: true, Synchronous: true,
	})))
}

// pair makes a source of ten digits and a destination of ten dots.
func (e *Env) pair() (c *client.Client, src, dst *client.OpenFile) {
	c = e.Client()
	dir := e.Dir()
	return c, e.File(c, dir, "src", "0123456789"), e.File(c, dir, "dst", "..........")
}

func copyTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	src := e.File(c, dir, "src", "0123456789")
	for typ, fh := range e.objects(c, dir) {
		want := is(nfs4.ErrWrongType, nfs4.ErrBadStateid)
		switch typ {
		case nfs4.TypeReg:
			continue
		case nfs4.TypeDir:
			want = append(want, nfs4.ErrIsDir)
		case nfs4.TypeLnk:
			want = append(want, nfs4.ErrSymlink)
		}
		e.Expect(e.copyOnce(c, src.FH, fh, src.Stateid, nfs4.AnonymousStateid, 0, 0, 5), want)
		e.Expect(e.copyOnce(c, fh, src.FH, nfs4.AnonymousStateid, src.Stateid, 0, 0, 5), want)
	}
	if got := e.Contents(c, src.FH); got != "0123456789" {
		e.Errorf("it reads %q", got)
	}
}

func copyFromBehind(e *Env) {
	c, src, dst := e.pair()
	e.Expect(e.copyOnce(c, src.FH, dst.FH, src.Stateid, dst.Stateid, 11, 0, 5), is(nfs4.ErrInval))
	if got := e.Contents(c, dst.FH); got != ".........." {
		e.Errorf("the destination reads %q", got)
	}
}

func copyToBehind(e *Env) {
	c, src, dst := e.pair()
	e.copied(c, src, dst, 0, 13, 3)
	if got := e.Contents(c, dst.FH); got != "..........\x00\x00\x00012" {
		e.Errorf("the destination reads %q", got)
	}
}

func copyLeaves(e *Env) {
	c, src, dst := e.pair()
	before := e.Attrs(c, src.FH, nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrTimeModify).String()
	e.copied(c, src, dst, 3, 5, 2)
	if got := e.Contents(c, dst.FH); got != ".....34..." {
		e.Errorf("the destination reads %q", got)
	}
	if after := e.Attrs(c, src.FH, nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrTimeModify).String(); after != before {
		e.Errorf("the source was %s, is %s", before, after)
	}
}

func copyModes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "src", "0123456789")
	e.Closed(c, dir, "dst", "..........")
	open := func(name string, access uint32) *client.OpenFile {
		f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: access, Name: name})
		e.Must(err)
		return f
	}
	src, dst := open("src", 1), open("dst", 2)
	wo, ro := open("src", 2), open("dst", 1)
	e.Expect(e.copyOnce(c, src.FH, dst.FH, src.Stateid, ro.Stateid, 0, 0, 5), is(nfs4.ErrOpenMode))
	// READ may be allowed with an open for writing (RFC 8881 §9.1.2), so COPY too.
	e.Expect(e.copyOnce(c, src.FH, dst.FH, wo.Stateid, dst.Stateid, 0, 0, 5), is(nfs4.ErrOpenMode, nfs4.OK))
	e.Expect(e.copyOnce(c, src.FH, dst.FH, src.Stateid, dst.Stateid, 0, 0, 5), is(nfs4.OK))
}

func copySynchronous(e *Env) {
	c, src, dst := e.pair()
	p := e.copyOnce(c, src.FH, dst.FH, src.Stateid, dst.Stateid, 0, 0, 10)
	r := get[client.CopyRes](e, e.Expect(p, is(nfs4.OK)))
	if r.CallbackID != nil || r.Count > 10 || r.Count == 0 {
		e.Errorf("%+v", r)
	}
}

func copyCommit(e *Env) {
	c, src, dst := e.pair()
	r := get[client.CopyRes](e, e.Expect(e.copyOnce(c, src.FH, dst.FH, src.Stateid, dst.Stateid, 0, 0, 10), is(nfs4.OK)))
	v := get[client.CommitRes](e, e.OK(c, client.PutFH(dst.FH), client.Commit(0, 0))).Verifier
	if r.Committed > nfs4.FileSync || r.Committed == nfs4.Unstable && r.Verifier != v {
		e.Errorf("%+v, and COMMIT's verifier %v", r, v)
	}
}

// cloneOnce sends one CLONE.
func (e *Env) cloneOnce(c *client.Client, from, to client.FH, src, dst nfs4.Stateid, srcOffset, dstOffset, count uint64) *client.Reply {
	return e.optional(e.Do(c, client.PutFH(from), client.SaveFH(), client.PutFH(to), client.Clone(src, dst, srcOffset, dstOffset, count)))
}

func cloneBehind(e *Env) {
	c, src, dst := e.pair()
	e.Expect(e.cloneOnce(c, src.FH, dst.FH, src.Stateid, dst.Stateid, 1<<20, 0, 4096), is(nfs4.ErrInval))
}

func cloneOverlap(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", strings.Repeat("x", 1<<16))
	e.Expect(e.cloneOnce(c, f.FH, f.FH, f.Stateid, f.Stateid, 0, 4096, 8192), is(nfs4.ErrInval))
}

func cloneTypes(e *Env) {
	c := e.Client()
	dir := e.Dir()
	src := e.File(c, dir, "src", "0123456789")
	e.Expect(e.cloneOnce(c, src.FH, dir, src.Stateid, nfs4.AnonymousStateid, 0, 0, 0), is(nfs4.ErrWrongType, nfs4.ErrIsDir, nfs4.ErrBadStateid))
	e.Expect(e.cloneOnce(c, e.fifo(c, dir, "p"), src.FH, nfs4.AnonymousStateid, src.Stateid, 0, 0, 0), is(nfs4.ErrWrongType, nfs4.ErrBadStateid))
}

func adviseUnknown(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	p := e.optional(e.Do(c, client.PutFH(f.FH), client.IOAdvise(f.Stateid, 0, 10, nfs4.Bitmap{1<<30 | 1<<nfs4.AdviseSequential})))
	e.Expect(p, is(nfs4.OK, nfs4.ErrInval))
	if r := client.Get[client.IOAdviseRes](p); r != nil && r.Hints[0]&(1<<30) != 0 {
		e.Errorf("%v", r.Hints)
	}
}
