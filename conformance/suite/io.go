package suite

import (
	"bytes"
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func ioTests() []Test {
	return []Test{
		{Code: "IO1", minors: all, RFC: "RFC 8881 §18.22, §18.32", Says: "what is written is read, at any offset", run: ioRoundTrip},
		{Code: "IO2", minors: all, RFC: "RFC 8881 §18.22.3", Says: "eof is told at the end and only there; reading beyond gives nothing and eof", run: ioEOF},
		{Code: "IO3", minors: all, RFC: "RFC 8881 §18.22.3", Says: "reading no bytes succeeds and gives none", run: ioReadZero},
		{Code: "IO4", minors: all, RFC: "RFC 8881 §18.32.3", Says: "writing no bytes succeeds and changes nothing", run: ioWriteZero},
		{Code: "IO5", minors: all, RFC: "RFC 8881 §18.32.3", Says: "data is committed at least as stably as asked", run: ioStable},
		{Code: "IO6", minors: all, RFC: "RFC 8881 §18.3", Says: "COMMIT's verifier is that of the unstable WRITEs before", run: ioCommit},
		{Code: "IO7", minors: all, RFC: "RFC 8881 §18.32", Says: "writing beyond the end leaves zeros between", run: ioSparse},
		{Code: "IO8", minors: all, RFC: "RFC 8881 §18.32.3", Says: "WRITE with an open for reading is NFS4ERR_OPENMODE", run: ioReadOnlyOpen},
		{Code: "IO9", minors: all, RFC: "RFC 8881 §18.22.3", Says: "READ with an open for writing only works or is NFS4ERR_OPENMODE", run: ioWriteOnlyOpen},
		{Code: "IO10", minors: all, RFC: "RFC 8881 §8.2.3", Says: "the anonymous stateid reads and writes", run: ioAnonymous},
		{Code: "IO11", minors: all, RFC: "RFC 8881 §8.2.3", Says: "the READ bypass stateid reads", run: ioBypass},
		{Code: "IO12", minors: all, RFC: "RFC 8881 §18.22.3, §18.32.3", Says: "READ, WRITE and COMMIT of a directory are NFS4ERR_ISDIR", run: ioDir},
		{Code: "IO13", minors: all, RFC: "RFC 8881 §18.22.3", Says: "READ and WRITE of what holds no data fail", run: ioSpecial},
		{Code: "IO14", minors: all, RFC: "RFC 8881 §18.32.3", Says: "a write beyond the largest file is refused", run: ioTooFar},
		{Code: "IO15", minors: all, RFC: "RFC 8881 §18.22.3", Says: "reading at the largest offset gives nothing, or NFS4ERR_INVAL", run: ioReadFar},
		{Code: "IO16", minors: all, RFC: "RFC 8881 §5.8.2.20, §5.8.2.21", Says: "maxread and maxwrite bytes move in one operation", run: ioLargest},
		{Code: "IO17", minors: all, RFC: "RFC 8881 §18.32.3", Says: "a stability not defined is a decoding error or NFS4ERR_INVAL", run: ioBadStable},
		{Code: "IO18", minors: all, RFC: "RFC 8881 §18.32", Says: "one byte at any place changes only that byte", run: ioBytes},
		{Code: "IO19", minors: all, RFC: "RFC 8881 §18.32", Says: "two clients see each other's writes at once", run: ioShared},
		{Code: "IO20", minors: all, RFC: "RFC 8881 §18.3", Says: "COMMIT of a range, of all, and beyond the end succeeds", run: ioCommitRanges},
		{Code: "IO21", minors: all, RFC: "RFC 8881 §18.32", Says: "a file larger than 4 GiB works", run: ioLargeFile},
	}
}

func ioRoundTrip(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	data := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	w, err := f.Write(0, nfs4.FileSync, data)
	e.Must(err)
	data = data[:w.Count]
	for _, r := range [][2]int{{0, 10}, {1, 1}, {4095, 2}, {0, len(data)}, {len(data) - 5, 5}, {100, 5000}} {
		got, err := f.Read(uint64(r[0]), uint32(r[1]))
		e.Must(err)
		if !bytes.Equal(got.Data, data[r[0]:r[0]+r[1]]) {
			e.Errorf("%d bytes at %d differ: %d bytes", r[1], r[0], len(got.Data))
		}
	}
}

func ioEOF(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "0123456789")
	for _, r := range []struct {
		off   uint64
		count uint32
		want  string
		eof   bool
	}{{0, 10, "0123456789", true}, {0, 100, "0123456789", true}, {0, 9, "012345678", false}, {5, 5, "56789", true}, {10, 5, "", true}, {1000, 5, "", true}} {
		got, err := f.Read(r.off, r.count)
		e.Must(err)
		if string(got.Data) != r.want || got.EOF != r.eof {
			e.Errorf("%d bytes at %d: %+v, want %q eof %v", r.count, r.off, got, r.want, r.eof)
		}
	}
}

func ioReadZero(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "0123456789")
	r, err := f.Read(3, 0)
	e.Must(err)
	if len(r.Data) != 0 {
		e.Errorf("%+v", r)
	}
}

func ioWriteZero(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	before := e.Attrs(c, f.FH, nfs4.AttrChange, nfs4.AttrSize)
	w, err := f.Write(100, nfs4.FileSync, nil)
	e.Must(err)
	after := e.Attrs(c, f.FH, nfs4.AttrChange, nfs4.AttrSize)
	if w.Count != 0 || after.Size() != before.Size() {
		e.Errorf("%+v; before %v, after %v", w, before, after)
	}
}

func ioStable(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "")
	for _, how := range []uint32{nfs4.Unstable, nfs4.DataSync, nfs4.FileSync} {
		w, err := f.Write(0, how, []byte("data"))
		e.Must(err)
		if w.Committed < how || w.Committed > nfs4.FileSync || w.Count != 4 {
			e.Errorf("asked %d, got %+v", how, w)
		}
	}
}

func ioCommit(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	var v nfs4.Verifier
	for i := range 5 {
		w, err := f.Write(uint64(i*4), nfs4.Unstable, []byte("data"))
		e.Must(err)
		if i > 0 && w.Verifier != v {
			e.Errorf("the verifier goes from %v to %v", v, w.Verifier)
		}
		v = w.Verifier
	}
	p := e.OK(c, client.PutFH(f.FH), client.Commit(0, 0))
	if got := get[client.CommitRes](e, p).Verifier; got != v {
		e.Errorf("WRITE's verifier %v, COMMIT's %v", v, got)
	}
}

func ioSparse(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "ab")
	_, err := f.Write(10, nfs4.FileSync, []byte("cd"))
	e.Must(err)
	if got := e.Contents(c, f.FH); got != "ab\x00\x00\x00\x00\x00\x00\x00\x00cd" {
		e.Errorf("%q", got)
	}
}

func ioReadOnlyOpen(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "x")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})
	e.Must(err)
	_, err = f.Write(0, nfs4.FileSync, []byte("y"))
	e.Err(err, nfs4.ErrOpenMode)
	if got := e.Contents(c, f.FH); got != "x" {
		e.Errorf("%q", got)
	}
}

func ioWriteOnlyOpen(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "x")
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessWrite, Name: "f"})
	e.Must(err)
	_, err = f.Read(0, 1)
	e.Err(err, nfs4.OK, nfs4.ErrOpenMode)
}

func ioAnonymous(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	e.OK(c, client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("anonymous")))
	if got := e.Contents(c, fh); got != "anonymous" {
		e.Errorf("%q", got)
	}
}

func ioBypass(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "data")
	p := e.OK(c, client.PutFH(fh), client.Read(nfs4.BypassStateid, 0, 10))
	if got := get[client.ReadRes](e, p).Data; string(got) != "data" {
		e.Errorf("%v", got)
	}
}

func ioDir(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Want(c, is(nfs4.ErrIsDir), client.PutFH(dir), client.Read(nfs4.AnonymousStateid, 0, 1))
	e.Want(c, is(nfs4.ErrIsDir), client.PutFH(dir), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
	e.Want(c, is(nfs4.ErrIsDir), client.PutFH(dir), client.Commit(0, 0))
}

func ioSpecial(e *Env) {
	c := e.Client()
	want := is(nfs4.ErrInval, nfs4.ErrSymlink, nfs4.ErrWrongType)
	for typ, fh := range e.objects(c, e.Dir()) {
		if typ != nfs4.TypeReg && typ != nfs4.TypeDir {
			e.Want(c, want, client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 1))
			e.Want(c, want, client.PutFH(fh), client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x")))
		}
	}
}

func ioTooFar(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	for _, off := range []uint64{nfs4.Uint64Max - 2, 1<<63 - 1} {
		e.Want(c, is(nfs4.ErrFBig, nfs4.ErrInval), client.PutFH(f.FH), client.Write(f.Stateid, off, nfs4.FileSync, []byte("data")))
	}
	if got := e.Attrs(c, f.FH, nfs4.AttrSize).Size(); got != 1 {
		e.Errorf("size %d", got)
	}
}

func ioReadFar(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	for _, off := range []uint64{nfs4.Uint64Max, nfs4.Uint64Max - 2, 1<<63 - 1} {
		p := e.Do(c, client.PutFH(f.FH), client.Read(f.Stateid, off, 100))
		e.Expect(p, is(nfs4.OK, nfs4.ErrInval))
		if r := client.Get[client.ReadRes](p); r != nil && (len(r.Data) != 0 || !r.EOF) {
			e.Errorf("offset %#x: %+v", off, r)
		}
	}
}

func ioLargest(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	a := e.Attrs(c, f.FH, nfs4.AttrMaxRead, nfs4.AttrMaxWrite)
	n := min(a.Num(nfs4.AttrMaxRead), a.Num(nfs4.AttrMaxWrite), 4<<20)
	if c.Session != nil {
		g := c.Session.Granted.Fore
		n = min(n, uint64(min(g.MaxRequest, g.MaxResponse))-1024)
	}
	data := bytes.Repeat([]byte("largest!"), int(n)/8)
	w, err := f.Write(0, nfs4.Unstable, data)
	e.Must(err)
	if int(w.Count) != len(data) {
		e.Errorf("WRITE of %d wrote %d", len(data), w.Count)
	}
	r, err := f.Read(0, uint32(len(data)))
	e.Must(err)
	if !bytes.Equal(r.Data, data[:w.Count]) {
		e.Errorf("READ of %d gives %d bytes", len(data), len(r.Data))
	}
}

func ioBadStable(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	p, err := c.Compound(client.PutFH(f.FH), client.Write(f.Stateid, 0, 9, []byte("x")))
	if err == nil && p.Status == nfs4.ErrInval {
		return
	}
	e.badXDR(p, err)
}

func ioBytes(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", strings.Repeat(".", 9000))
	want := []byte(strings.Repeat(".", 9000))
	for _, at := range []int{0, 1, 4095, 4096, 4097, 8191, 8192, 8999} {
		_, err := f.Write(uint64(at), nfs4.Unstable, []byte("X"))
		e.Must(err)
		want[at] = 'X'
	}
	if got := e.Contents(c, f.FH); got != string(want) {
		e.Errorf("contents differ")
	}
}

func ioShared(e *Env) {
	a, b := e.Client(), e.NewClient(nil)
	dir := e.Dir()
	f := e.File(a, dir, "f", "")
	g, err := b.Open(client.NewOwner(), dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Must(err)
	for i, msg := range []string{"one", "two!", "three"} {
		w, r := f, g
		if i%2 == 1 {
			w, r = g, f
		}
		_, err := w.Write(0, nfs4.Unstable, []byte(msg))
		e.Must(err)
		got, err := r.Read(0, 100)
		e.Must(err)
		if !strings.HasPrefix(string(got.Data), msg) {
			e.Errorf("%q reads as %q", msg, []byte(got.Data))
		}
	}
}

func ioCommitRanges(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "0123456789")
	for _, r := range []struct {
		off   uint64
		count uint32
	}{{0, 0}, {0, 5}, {5, 0}, {100, 100}, {0, 0xffffffff}} {
		e.OK(c, client.PutFH(f.FH), client.Commit(r.off, r.count))
	}
}

func ioLargeFile(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	const far = 5<<30 + 3
	_, err := f.Write(far, nfs4.FileSync, []byte("far"))
	e.Must(err)
	if got := e.Attrs(c, f.FH, nfs4.AttrSize).Size(); got != far+3 {
		e.Errorf("size %d", got)
	}
	r, err := f.Read(far-1, 10)
	e.Must(err)
	if string(r.Data) != "\x00far" || !r.EOF {
		e.Errorf("%+v", r)
	}
}

func stateidTests() []Test {
	return []Test{
		{Code: "SID1", minors: all, RFC: "RFC 8881 §8.2.4", Says: "a stateid of another file is NFS4ERR_BAD_STATEID", run: sidOtherFile},
		{Code: "SID2", minors: all, RFC: "RFC 8881 §8.2.4", Says: "a stateid of a closed open is NFS4ERR_BAD_STATEID; NFSv4.0 may not know it from one that expired", run: sidClosed},
		{Code: "SID3", minors: all, RFC: "RFC 8881 §8.2.2", Says: "an older seqid is NFS4ERR_OLD_STATEID", run: sidOld},
		{Code: "SID4", minors: all, RFC: "RFC 8881 §8.2.2", Says: "a newer seqid than was given is NFS4ERR_BAD_STATEID", run: sidNewer},
		{Code: "SID5", minors: v12, RFC: "RFC 8881 §8.2.2", Says: "a seqid of zero stands for the newest", run: sidZero},
		{Code: "SID6", minors: all, RFC: "RFC 8881 §8.2.4", Says: "a stateid that was never given is refused", run: sidForged},
		{Code: "SID7", minors: v12, RFC: "RFC 8881 §16.2.3.1.2", Says: "the current stateid is that of the OPEN or LOCK before", run: sidCurrent},
		{Code: "SID8", minors: v12, RFC: "RFC 8881 §16.2.3.1.2", Says: "without one the current stateid is NFS4ERR_BAD_STATEID; PUTFH takes it away", run: sidNoCurrent},
		{Code: "SID9", minors: v12, RFC: "RFC 8881 §18.48", Says: "TEST_STATEID tells of each stateid whether it is valid", run: sidTest},
		{Code: "SID10", minors: v12, RFC: "RFC 8881 §18.38", Says: "FREE_STATEID frees a lock stateid without locks; with locks it is NFS4ERR_LOCKS_HELD", run: sidFree},
		{Code: "SID11", minors: v12, RFC: "RFC 8881 §18.38.3", Says: "FREE_STATEID of an open is NFS4ERR_LOCKS_HELD, of an unknown one NFS4ERR_BAD_STATEID", run: sidFreeOpen},
		{Code: "SID12", minors: v12, RFC: "RFC 8881 §8.2.3", Says: "special stateids other than the four are NFS4ERR_BAD_STATEID", run: sidSpecial},
		{Code: "SID13", minors: v12, RFC: "RFC 8881 §8.2.4", Says: "a stateid of another client is NFS4ERR_BAD_STATEID", run: sidOtherClient},
		{Code: "SID14", minors: v12, RFC: "RFC 8881 §16.2.3.1.2", Says: "SAVEFH and RESTOREFH carry the current stateid", run: sidSaved},
		{Code: "SID15", minors: all, RFC: "RFC 8881 §18.2", Says: "special stateids are no opens: CLOSE, LOCK and OPEN_DOWNGRADE refuse them", run: sidSpecialClose},
	}
}

func sidOtherFile(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f, g := e.File(c, dir, "f", "x"), e.File(c, dir, "g", "y")
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(g.FH), client.Write(f.Stateid, 0, nfs4.FileSync, []byte("z")))
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(g.FH), client.Read(f.Stateid, 0, 1))
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(g.FH), client.Close(f.Owner.Seqid, f.Stateid))
}

func sidClosed(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	e.Must(f.Close())
	want := is(nfs4.ErrBadStateid)
	if e.Minor == 0 { // a stateid does not tell whether its client's lease is over
		want = append(want, nfs4.ErrExpired)
	}
	e.Want(c, want, client.PutFH(f.FH), client.Read(f.Stateid, 0, 1))
	e.Want(c, want, client.PutFH(f.FH), client.Write(f.Stateid, 0, nfs4.FileSync, []byte("z")))
}

// upgraded opens a file twice with one owner, so that its stateid has a seqid
// of two at least, and returns the older stateid too.
func (e *Env) upgraded(c *client.Client) (f *client.OpenFile, old nfs4.Stateid) {
	dir := e.Dir()
	o := client.NewOwner()
	first, err := c.Open(o, dir, client.OpenArgs{Access: 1, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "f"})
	e.Must(err)
	f, err = c.Open(o, dir, client.OpenArgs{Access: 3, Name: "f"})
	e.Must(err)
	if f.Stateid.Other != first.Stateid.Other || f.Stateid.Seqid != first.Stateid.Seqid+1 {
		e.Fatalf("the second open by the same owner turns %v into %v", first.Stateid, f.Stateid)
	}
	return f, first.Stateid
}

func sidOld(e *Env) {
	c := e.Client()
	f, old := e.upgraded(c)
	e.Want(c, is(nfs4.ErrOldStateid), client.PutFH(f.FH), client.Read(old, 0, 1))
	e.Want(c, is(nfs4.ErrOldStateid), client.PutFH(f.FH), client.Write(old, 0, nfs4.FileSync, []byte("x")))
	e.Must(f.Close())
}

func sidNewer(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	newer := f.Stateid
	newer.Seqid += 5
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(f.FH), client.Read(newer, 0, 1))
}

func sidZero(e *Env) {
	c := e.Client()
	f, _ := e.upgraded(c)
	zero := f.Stateid
	zero.Seqid = 0
	e.OK(c, client.PutFH(f.FH), client.Write(zero, 0, nfs4.FileSync, []byte("x")))
	e.OK(c, client.PutFH(f.FH), client.Close(0, zero))
}

func sidForged(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "x")
	for i := range f.Stateid.Other {
		bad := f.Stateid
		bad.Other[i] ^= 0xa5
		e.Want(c, is(nfs4.ErrBadStateid, nfs4.ErrStaleStateid, nfs4.ErrExpired), client.PutFH(f.FH), client.Write(bad, 0, nfs4.FileSync, []byte("y")))
	}
}

func sidCurrent(e *Env) {
	c := e.Client()
	dir := e.Dir()
	o := client.Owner{ClientID: c.ClientID, Name: "o"}
	open := client.Open(client.OpenArgs{Access: 3, Owner: o, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "f"})
	e.OK(c, client.PutFH(dir), open, client.Write(nfs4.CurrentStateid, 0, nfs4.FileSync, []byte("current")),
		client.Read(nfs4.CurrentStateid, 0, 10), client.Close(0, nfs4.CurrentStateid))
	p := e.OK(c, client.PutFH(dir), open, client.GetFH(), client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Length: 5, New: true, OpenStateid: nfs4.CurrentStateid, Owner: o,
	}), client.LockU(nfs4.WriteLT, 0, nfs4.CurrentStateid, 0, 5))
	fh, sid := get[client.GetFHRes](e, p).FH, get[client.OpenRes](e, p).Stateid
	e.OK(c, client.PutFH(fh), client.Close(0, sid))
}

func sidNoCurrent(e *Env) {
	c := e.Client()
	dir := e.Dir()
	fh := e.Closed(c, dir, "f", "x")
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(fh), client.Read(nfs4.CurrentStateid, 0, 1))
	o := client.Owner{ClientID: c.ClientID, Name: "o"}
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(dir), client.Open(client.OpenArgs{Access: 3, Owner: o, Name: "f"}),
		client.PutFH(fh), client.Read(nfs4.CurrentStateid, 0, 1))
}

func sidTest(e *Env) {
	c := e.Client()
	dir := e.Dir()
	f, g := e.File(c, dir, "f", ""), e.File(c, dir, "g", "")
	e.Must(g.Close())
	bogus := neverGiven(f.Stateid)
	newer := f.Stateid
	newer.Seqid += 7
	p := e.OK(c, client.TestStateid(f.Stateid, g.Stateid, bogus, newer))
	got := get[client.TestStateidRes](e, p).Statuses
	if len(got) != 4 || got[0] != nfs4.OK || got[1] != nfs4.ErrBadStateid || got[2] == nfs4.OK || got[3] == nfs4.OK {
		e.Errorf("open, closed, bogus, newer: %v", got)
	}
	if n := len(get[client.TestStateidRes](e, e.OK(c, client.TestStateid())).Statuses); n != 0 {
		e.Errorf("%d statuses for no stateid", n)
	}
}

func sidFree(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	e.Want(c, is(nfs4.ErrLocksHeld), client.FreeStateid(l.Stateid))
	e.Must(l.Unlock(0, 10))
	e.OK(c, client.FreeStateid(l.Stateid))
	e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(f.FH), client.LockU(nfs4.WriteLT, 0, l.Stateid, 0, 10))
}

func sidFreeOpen(e *Env) {
	c := e.Client()
	f := e.File(c, e.Dir(), "f", "")
	e.Want(c, is(nfs4.ErrLocksHeld), client.FreeStateid(f.Stateid))
	bogus := neverGiven(f.Stateid)
	e.Want(c, is(nfs4.ErrBadStateid), client.FreeStateid(bogus))
	e.Must(f.Close())
}

func sidSpecial(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "x")
	ones := nfs4.BypassStateid.Other
	for _, s := range []nfs4.Stateid{{Seqid: 2}, {Seqid: 0xfffffffe}, {Seqid: 0, Other: ones}, {Seqid: 1, Other: ones}, nfs4.InvalidStateid} {
		e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(fh), client.Read(s, 0, 1))
	}
}

func sidOtherClient(e *Env) {
	f := e.File(e.Client(), e.Dir(), "f", "x")
	b := e.NewClient(nil)
	e.Want(b, is(nfs4.ErrBadStateid), client.PutFH(f.FH), client.Write(f.Stateid, 0, nfs4.FileSync, []byte("y")))
	e.Want(b, is(nfs4.ErrBadStateid), client.PutFH(f.FH), client.Close(0, f.Stateid))
	e.Must(f.Close())
}

func sidSaved(e *Env) {
	c := e.Client()
	dir := e.Dir()
	e.Closed(c, dir, "f", "x")
	o := client.Owner{ClientID: c.ClientID, Name: "o"}
	e.OK(c, client.PutFH(dir), client.Open(client.OpenArgs{Access: 3, Owner: o, Name: "f"}), client.SaveFH(),
		client.PutFH(dir), client.RestoreFH(), client.Write(nfs4.CurrentStateid, 0, nfs4.FileSync, []byte("y")), client.Close(0, nfs4.CurrentStateid))
}

func sidSpecialClose(e *Env) {
	c := e.Client()
	fh := e.Closed(c, e.Dir(), "f", "")
	for _, s := range []nfs4.Stateid{nfs4.AnonymousStateid, nfs4.BypassStateid} {
		e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(fh), client.Close(1, s))
		e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(fh), client.OpenDowngrade(s, 1, 1, 0))
		e.Want(c, is(nfs4.ErrBadStateid), client.PutFH(fh), client.Lock(client.LockArgs{
			Type: nfs4.ReadLT, Length: 1, New: true, OpenStateid: s, Owner: client.Owner{ClientID: c.ClientID, Name: "l"},
		}))
	}
}
