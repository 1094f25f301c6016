package bench

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// Sizes in bytes. A worker reads and writes within its own file.
const (
	small    = 4 << 10
	large    = 1 << 20
	fileSize = 16 << 20
)

// A workload is one kind of work; run does it once.
type workload struct {
	name  string
	what  string
	bytes int // moved by one run
	run   func(*worker) error
}

var workloads = []workload{
	{"null", "NFSPROC4_NULL", 0, func(w *worker) error { return w.conn.Null() }},
	{"sequence", "SEQUENCE alone", 0, func(w *worker) error { return w.do("SEQUENCE", w.sequence) }},
	{"getattr", "GETATTR of a file, the attributes that Linux asks for", 0, func(w *worker) error { return w.do("GETATTR", w.getattr) }},
	{"lookup", "LOOKUP, GETFH, GETATTR", 0, func(w *worker) error { return w.do("LOOKUP", w.lookup) }},
	{"open+close", "OPEN of an existing file and CLOSE", 0, (*worker).openClose},
	{"lock+unlock", "LOCK and LOCKU of one byte", 0, (*worker).lockUnlock},
	{"create+remove", "OPEN that creates, WRITE of 4 KiB, CLOSE, REMOVE", 0, (*worker).createRemove},
	{"read4k", "READ of 4 KiB", small, func(w *worker) error { return w.data("READ", w.read4k, small) }},
	{"write4k", "WRITE of 4 KiB, unstable", small, func(w *worker) error { return w.data("WRITE", w.write4k, small) }},
	{"read1m", "READ of 1 MiB", large, func(w *worker) error { return w.data("READ", w.read1m, large) }},
	{"write1m", "WRITE of 1 MiB, unstable", large, func(w *worker) error { return w.data("WRITE", w.write1m, large) }},
}

// linuxAttrs are what the Linux client asks of GETATTR.
var linuxAttrs = []nfs4.Attr{
	nfs4.AttrType, nfs4.AttrChange, nfs4.AttrSize, nfs4.AttrFSID, nfs4.AttrFileID, nfs4.AttrMode, nfs4.AttrNumLinks,
	nfs4.AttrOwner, nfs4.AttrOwnerGroup, nfs4.AttrRawDev, nfs4.AttrSpaceUsed, nfs4.AttrTimeAccess, nfs4.AttrTimeMetadata,
	nfs4.AttrTimeModify, nfs4.AttrMountedOnFileID,
}

// A worker does one thing at a time, on its own connection, slot and files.
type worker struct {
	rig  *rig
	n    int
	conn *client.Conn
	slot *client.Slot
	name string
	file *client.OpenFile
	pos  uint64

	sequence, getattr, lookup        *client.Prepared
	open, close_, lock, unlock       *client.Prepared
	create, remove                   *client.Prepared
	read4k, write4k, read1m, write1m *client.Prepared
}

// prepare makes the worker's files and encodes its compounds.
func (w *worker) prepare() error {
	c := w.rig.client
	w.name = fmt.Sprintf("file-%d", w.n)
	var err error
	if w.file, err = c.CreateFile(w.rig.dir, w.name); err != nil {
		return fmt.Errorf("creating a file: %w", err)
	}
	block := make([]byte, large)
	for i := range block {
		block[i] = byte(i*7 + i>>8)
	}
	for off := uint64(0); off < fileSize; off += large {
		res, err := w.file.Write(off, nfs4.Unstable, block)
		if err != nil || res.Count != large {
			return fmt.Errorf("filling a file: %v %w", res, err)
		}
	}
	if _, err := client.Check(c.Compound(client.PutFH(w.file.FH), client.Commit(0, 0))); err != nil {
		return fmt.Errorf("committing a file: %w", err)
	}
	owner := client.Owner{ClientID: c.ClientID, Name: client.UniqueName("bench/")}
	locker := client.Owner{ClientID: c.ClientID, Name: client.UniqueName("bench/")}
	dir, fh, sid := client.PutFH(w.rig.dir), client.PutFH(w.file.FH), w.file.Stateid
	p := func(ops ...client.Op) *client.Prepared {
		q := c.Session.PrepareIn(w.slot, ops...)
		q.SetConn(w.conn)
		return q
	}
	temp := w.name + ".new"
	w.sequence = p()
	w.getattr = p(fh, client.GetAttr(linuxAttrs...))
	w.lookup = p(dir, client.Lookup(w.name), client.GetFH(), client.GetAttr(linuxAttrs...))
	w.open = p(dir, client.Open(client.OpenArgs{Access: nfs4.ShareAccessBoth, Owner: owner, Name: w.name}))
	w.close_ = p(fh, client.Close(0, nfs4.Stateid{}))
	w.lock = p(fh, client.Lock(client.LockArgs{Type: nfs4.WriteLT, Offset: 0, Length: 1, New: true, OpenStateid: sid, Owner: locker}))
	w.unlock = p(fh, client.LockU(nfs4.WriteLT, 0, nfs4.Stateid{}, 0, 1))
	w.create = p(dir, client.Open(client.OpenArgs{Access: nfs4.ShareAccessBoth, Owner: owner, How: nfs4.OpenCreate, Mode: nfs4.CreateGuarded,
		Attrs: new(client.Attrs).SetMode(0o644), Name: temp}),
		client.Write(nfs4.CurrentStateid, 0, nfs4.Unstable, block[:small]), client.Close(0, nfs4.CurrentStateid))
	w.remove = p(dir, client.Remove(temp))
	w.read4k = p(fh, client.Read(sid, 0, small))
	w.read1m = p(fh, client.Read(sid, 0, large))
	w.write4k = p(fh, client.Write(sid, 0, nfs4.Unstable, block[:small]))
	w.write1m = p(fh, client.Write(sid, 0, nfs4.Unstable, block))
	return nil
}

func (w *worker) close() {
	if w.file != nil {
		_ = w.file.Close()
		_, _ = w.rig.client.Compound(client.PutFH(w.rig.dir), client.Remove(w.name))
	}
}

// do sends a compound and checks its status.
func (w *worker) do(what string, p *client.Prepared) error {
	buf, status, err := p.Do()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	buf.Free()
	if status != nfs4.OK {
		return statusError(what, status)
	}
	return nil
}

// data sends READ or WRITE, the third operation, at the next place of the file.
func (w *worker) data(what string, p *client.Prepared, size uint64) error {
	const stateid = 16
	p.PutUint64(2, stateid, w.pos)
	w.pos += size
	if size == small {
		w.pos += 7 * small // not the order that read-ahead would guess
	}
	if w.pos+size > fileSize {
		w.pos = 0
	}
	return w.do(what, p)
}

// stateidOf sends a compound of SEQUENCE, PUTFH and an operation whose result
// begins with a stateid, and copies the stateid to dst.
func (w *worker) stateidOf(what string, p *client.Prepared, dst []byte) error {
	buf, status, err := p.Do()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer buf.Free()
	if status != nfs4.OK {
		return statusError(what, status)
	}
	r, _, err := client.ReplyResults(buf.B)
	if err != nil {
		return err
	}
	const sequence, putfh, head = 8 + nfs4.SessionSize + 5*4, 8, 8
	r.Seek(r.Offset() + sequence + putfh + head)
	copy(dst, r.Fixed(16))
	return r.Err()
}

// args is where the arguments of operation i of a compound are, in bytes at in.
func args(p *client.Prepared, i, at int) []byte { return p.Bytes()[p.ArgsAt(i)+at:] }

func (w *worker) openClose() error {
	if err := w.stateidOf("OPEN", w.open, args(w.close_, 2, 4)); err != nil {
		return err
	}
	return w.do("CLOSE", w.close_)
}

func (w *worker) lockUnlock() error {
	if err := w.stateidOf("LOCK", w.lock, args(w.unlock, 2, 8)); err != nil {
		return err
	}
	return w.do("LOCKU", w.unlock)
}

func (w *worker) createRemove() error {
	if err := w.do("OPEN, WRITE, CLOSE", w.create); err != nil {
		return err
	}
	return w.do("REMOVE", w.remove)
}
