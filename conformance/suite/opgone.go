package suite

import (
	"fmt"
	"slices"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// goneTests say of each operation what it makes of an object that is gone. The
// last reference to an object is a matter of the server's, and the client "should
// not rely" on the end of its name being the end of its filehandle (RFC 8881
// §18.25.4): so these tests are optional, and FH9 is what every server must do.
func goneTests() []Test {
	var tests []Test
	for _, o := range opCases() {
		if _, ok := goneType[o.num]; ok {
			tests = append(tests, Test{
				Code: o.code("GONE"), minors: o.minors(), Flags: extra, RFC: o.rfc(), run: func(e *Env) { opGone(e, o) },
				Says: fmt.Sprintf("%v of an object whose last name was removed is NFS4ERR_STALE", o.num),
			})
		}
	}
	return tests
}

// goneType are the operations that make sense on a filehandle alone, with the
// type of object for which they would not be refused anyway.
var goneType = map[nfs4.Op]nfs4.FileType{
	nfs4.OpAccess: nfs4.TypeReg, nfs4.OpCommit: nfs4.TypeReg, nfs4.OpGetAttr: nfs4.TypeReg, nfs4.OpRead: nfs4.TypeReg, nfs4.OpSetAttr: nfs4.TypeReg,
	nfs4.OpWrite: nfs4.TypeReg, nfs4.OpVerify: nfs4.TypeReg, nfs4.OpNVerify: nfs4.TypeReg, nfs4.OpOpenAttr: nfs4.TypeReg, nfs4.OpLockT: nfs4.TypeReg,
	nfs4.OpLink: nfs4.TypeReg, nfs4.OpSeek: nfs4.TypeReg, nfs4.OpReadPlus: nfs4.TypeReg, nfs4.OpGetXattr: nfs4.TypeReg, nfs4.OpSetXattr: nfs4.TypeReg,
	nfs4.OpListXattrs: nfs4.TypeReg, nfs4.OpRemoveXattr: nfs4.TypeReg,
	nfs4.OpLookup: nfs4.TypeDir, nfs4.OpLookupP: nfs4.TypeDir, nfs4.OpReadDir: nfs4.TypeDir, nfs4.OpCreate: nfs4.TypeDir, nfs4.OpRemove: nfs4.TypeDir,
	nfs4.OpOpen: nfs4.TypeDir, nfs4.OpSecInfo: nfs4.TypeDir, nfs4.OpReadLink: nfs4.TypeLnk,
}

// opGone removes the object between two requests.
func opGone(e *Env, o opCase) {
	c := e.Client()
	dir := e.Dir()
	var fh client.FH
	switch goneType[o.num] {
	case nfs4.TypeReg:
		fh = e.Closed(c, dir, "gone", "contents")
	case nfs4.TypeLnk:
		fh = e.symlink(c, dir, "gone", "text")
	default:
		fh = e.Mkdir(c, dir, "gone")
	}
	e.OK(c, client.PutFH(dir), client.Remove("gone"))
	ops := []client.Op{client.PutFH(fh), o.make(c)}
	if o.num == nfs4.OpLink { // the object is the saved filehandle
		ops = []client.Op{client.PutFH(fh), client.SaveFH(), client.PutFH(dir), o.make(c)}
	}
	want := o.orNotSupp(nfs4.ErrStale, nfs4.ErrFHExpired)
	var p *client.Reply
	attempt := func() bool {
		if p = e.Do(c, ops...); slices.Contains(want, p.Status) {
			return true
		}
		e.lacking(p.Last().Op, p.Status)
		return false
	}
	if goneType[o.num] == nfs4.TypeReg {
		// Its CLOSE was a moment ago: where the server is several machines, one of them may
		// not have heard of it yet.
		e.eventually(fmt.Sprintf("%v of what is gone is refused", o.num), attempt)
	} else {
		attempt()
	}
	e.Expect(p, want)
}
