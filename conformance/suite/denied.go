package suite

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A denial is an operation that a user without the permission it needs may not
// do. setup makes a scene as root; op is what the user tries.
type denial struct {
	num    nfs4.Op
	minors uint8
	what   string
	dir    uint32 // the mode of the directory
	file   uint32 // the mode of the file f in it, "contents"
	want   []nfs4.Status
	ops    func(s *attrScene, u *client.Client) []client.Op
}

func denials() []denial {
	no := is(nfs4.ErrAccess)
	noOrPerm := is(nfs4.ErrAccess, nfs4.ErrPerm)
	in := func(op client.Op) func(*attrScene, *client.Client) []client.Op {
		return func(s *attrScene, _ *client.Client) []client.Op { return []client.Op{client.PutFH(s.dir), op} }
	}
	of := func(op client.Op) func(*attrScene, *client.Client) []client.Op {
		return func(s *attrScene, _ *client.Client) []client.Op { return []client.Op{client.PutFH(s.fh), op} }
	}
	open := func(access uint32) func(*attrScene, *client.Client) []client.Op {
		return func(s *attrScene, u *client.Client) []client.Op {
			return []client.Op{client.PutFH(s.dir), client.Open(client.OpenArgs{Access: access, Owner: someOwner(u), Name: "f"})}
		}
	}
	return []denial{
		{nfs4.OpLookup, all, "search permission on the directory", 0o766, 0o666, no, in(client.Lookup("f"))},
		{nfs4.OpReadDir, all, "read permission on the directory", 0o733, 0o666, no, in(client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096}))},
		{nfs4.OpCreate, all, "write permission on the directory", 0o755, 0o666, no, in(client.Mkdir("d"))},
		{nfs4.OpRemove, all, "write permission on the directory", 0o755, 0o666, no, in(client.Remove("f"))},
		{nfs4.OpRename, all, "write permission on the directory", 0o755, 0o666, no, func(s *attrScene, _ *client.Client) []client.Op {
			return []client.Op{client.PutFH(s.dir), client.SaveFH(), client.Rename("f", "g")}
		}},
		{nfs4.OpLink, all, "write permission on the directory", 0o755, 0o666, noOrPerm, func(s *attrScene, _ *client.Client) []client.Op {
			return []client.Op{client.PutFH(s.fh), client.SaveFH(), client.PutFH(s.dir), client.Link("g")}
		}},
		{nfs4.OpSecInfo, all, "search permission on the directory", 0o766, 0o666, no, in(client.SecInfo("f"))},
		{nfs4.OpRead, all, "read permission on the file", 0o777, 0o622, no, of(client.Read(nfs4.AnonymousStateid, 0, 4))},
		{nfs4.OpWrite, all, "write permission on the file", 0o777, 0o644, no, of(client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))},
		{nfs4.OpSetAttr, all, "write permission on the file, setting the size,", 0o777, 0o644, noOrPerm, of(client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetSize(0)))},
		{nfs4.OpOpen, all, "write permission on the file, opening it for writing,", 0o777, 0o644, no, open(2)},
		{nfs4.OpReadPlus, v2, "read permission on the file", 0o777, 0o622, is(nfs4.ErrAccess, nfs4.ErrNotSupp), of(client.ReadPlus(nfs4.AnonymousStateid, 0, 4))},
		{nfs4.OpAllocate, v2, "write permission on the file", 0o777, 0o644, is(nfs4.ErrAccess, nfs4.ErrNotSupp), of(client.Allocate(nfs4.AnonymousStateid, 0, 4))},
		{nfs4.OpDeallocate, v2, "write permission on the file", 0o777, 0o644, is(nfs4.ErrAccess, nfs4.ErrNotSupp), of(client.Deallocate(nfs4.AnonymousStateid, 0, 4))},
		{nfs4.OpGetXattr, v2, "read permission on the file", 0o777, 0o622, is(nfs4.ErrAccess, nfs4.ErrPerm, nfs4.ErrNotSupp), of(client.GetXattr("kept"))},
		{nfs4.OpSetXattr, v2, "write permission on the file", 0o777, 0o644, is(nfs4.ErrAccess, nfs4.ErrPerm, nfs4.ErrNotSupp), of(client.SetXattr(nfs4.SetXattrEither, "x", []byte("v")))},
		{nfs4.OpRemoveXattr, v2, "write permission on the file", 0o777, 0o644, is(nfs4.ErrAccess, nfs4.ErrPerm, nfs4.ErrNotSupp), of(client.RemoveXattr("kept"))},
	}
}

// deniedTests are numbered by the operation.
func deniedTests() []Test {
	var tests []Test
	for _, d := range denials() {
		tests = append(tests, Test{
			Code: fmt.Sprintf("DENY%d", d.num), minors: d.minors, RFC: opSection(d.num, d.minors) + ", RFC 8881 §6.2.1.3.1", run: func(e *Env) { denied(e, d) },
			Says: fmt.Sprintf("%v without %s is %v and has no effect", d.num, d.what, d.want[0]),
		})
	}
	return tests
}

func denied(e *Env, d denial) {
	s := e.attrScene()
	sub := e.Mkdir(s.c, s.dir, "sub")
	s.dir, s.fh = sub, e.Closed(s.c, sub, "f", "contents")
	if d.num >= nfs4.OpGetXattr {
		e.optional(e.Do(s.c, client.PutFH(s.fh), client.SetXattr(nfs4.SetXattrEither, "kept", []byte("v"))))
	}
	e.setattr(s.c, s.fh, is(nfs4.OK), new(client.Attrs).SetMode(d.file))
	e.setattr(s.c, s.dir, is(nfs4.OK), new(client.Attrs).SetMode(d.dir))
	before := e.Attrs(s.c, s.dir, nfs4.AttrChange).String() + e.Attrs(s.c, s.fh, nfs4.AttrChange).String()
	u := e.User(1001, 1001)
	e.Want(u, d.want, d.ops(s, u)...)
	after := e.Attrs(s.c, s.dir, nfs4.AttrChange).String() + e.Attrs(s.c, s.fh, nfs4.AttrChange).String()
	s.want(before == after, "%s, then %s", before, after)
}
