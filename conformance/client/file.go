package client

import (
	"holdfast/internal/nfs4"
)

// A StateOwner is an open owner or a lock owner. In NFSv4.0 it carries the
// sequence of its next request; later versions ignore it. One goroutine at a
// time may use it.
type StateOwner struct {
	Name  string
	Seqid uint32
}

// NewOwner returns an owner of a unique name.
func NewOwner() *StateOwner { return &StateOwner{Name: UniqueName("owner/")} }

// advance counts a request of NFSv4.0 that the server counted too: every one
// but those that failed in the ways that RFC 7530 §9.1.7 lists.
func (o *StateOwner) advance(status nfs4.Status) {
	switch status {
	case nfs4.ErrStaleClientID, nfs4.ErrStaleStateid, nfs4.ErrBadStateid, nfs4.ErrBadSeqid,
		nfs4.ErrBadXDR, nfs4.ErrResource, nfs4.ErrNoFileHandle, nfs4.ErrMoved:
	default:
		o.Seqid++
	}
}

// statusOf returns the status of the operation num in the reply, and whether
// it was reached.
func statusOf(p *Reply, num nfs4.Op) (nfs4.Status, bool) {
	if p == nil {
		return 0, false
	}
	for _, r := range p.Results {
		if r.Op == num {
			return r.Status, true
		}
	}
	return 0, false
}

// counted advances the owner if the operation was reached.
func (o *StateOwner) counted(p *Reply, num nfs4.Op) {
	if s, ok := statusOf(p, num); ok {
		o.advance(s)
	}
}

// An OpenFile is an open file of an owner.
type OpenFile struct {
	FH      FH
	Stateid nfs4.Stateid
	Owner   *StateOwner
	Res     OpenRes
	c       *Client
}

// OpenReply opens a file in dir as owner and returns the server's whole reply
// beside it. ClientID, owner and owner's sequence are filled in. In NFSv4.0
// the open is confirmed if the server asks for it. For claims by filehandle
// dir is the file's.
func (c *Client) OpenReply(owner *StateOwner, dir FH, a OpenArgs) (*OpenFile, *Reply, error) {
	a.Owner = Owner{c.ClientID, owner.Name}
	a.Seqid = owner.Seqid
	p, err := c.Compound(PutFH(dir), Open(a), GetFH())
	owner.counted(p, nfs4.OpOpen)
	if p, err = Check(p, err); err != nil {
		return nil, p, err
	}
	f := &OpenFile{FH: Get[GetFHRes](p).FH, Owner: owner, Res: *Get[OpenRes](p), c: c}
	f.Stateid = f.Res.Stateid
	if f.Res.Flags&nfs4.OpenResultConfirm != 0 {
		q, err := c.Compound(PutFH(f.FH), OpenConfirm(f.Stateid, owner.Seqid))
		owner.counted(q, nfs4.OpOpenConfirm)
		if q, err = Check(q, err); err != nil {
			return f, p, err
		}
		f.Stateid = Get[OpenConfirmRes](q).Stateid
	}
	return f, p, nil
}

// Open is OpenReply without the reply.
func (c *Client) Open(owner *StateOwner, dir FH, a OpenArgs) (*OpenFile, error) {
	f, _, err := c.OpenReply(owner, dir, a)
	return f, err
}

// CreateFile creates or opens a file for reading and writing, UNCHECKED with
// mode 0644, as a new owner.
func (c *Client) CreateFile(dir FH, name string) (*OpenFile, error) {
	return c.Open(NewOwner(), dir, OpenArgs{
		Access: nfs4.ShareAccessBoth, How: nfs4.OpenCreate, Mode: nfs4.CreateUnchecked,
		Attrs: new(Attrs).SetMode(0o644), Name: name,
	})
}

// CloseReply closes the file.
func (f *OpenFile) CloseReply() (*Reply, error) {
	p, err := f.c.Compound(PutFH(f.FH), Close(f.Owner.Seqid, f.Stateid))
	f.Owner.counted(p, nfs4.OpClose)
	return p, err
}

// Close closes the file.
func (f *OpenFile) Close() error {
	_, err := Check(f.CloseReply())
	return err
}

// DowngradeReply reduces access and deny.
func (f *OpenFile) DowngradeReply(access, deny uint32) (*Reply, error) {
	p, err := f.c.Compound(PutFH(f.FH), OpenDowngrade(f.Stateid, f.Owner.Seqid, access, deny))
	f.Owner.counted(p, nfs4.OpOpenDowngrade)
	if r := Get[OpenDowngradeRes](p); r != nil {
		f.Stateid = r.Stateid
	}
	return p, err
}

// Downgrade reduces access and deny.
func (f *OpenFile) Downgrade(access, deny uint32) error {
	_, err := Check(f.DowngradeReply(access, deny))
	return err
}

// Read reads up to count bytes.
func (f *OpenFile) Read(offset uint64, count uint32) (*ReadRes, error) {
	p, err := Check(f.c.Compound(PutFH(f.FH), Read(f.Stateid, offset, count)))
	if err != nil {
		return nil, err
	}
	return Get[ReadRes](p), nil
}

// Write writes data with the given stability.
func (f *OpenFile) Write(offset uint64, stable uint32, data []byte) (*WriteRes, error) {
	p, err := Check(f.c.Compound(PutFH(f.FH), Write(f.Stateid, offset, stable, data)))
	if err != nil {
		return nil, err
	}
	return Get[WriteRes](p), nil
}

// Locks are the byte-range locks of one lock owner on an open file.
type Locks struct {
	Owner   *StateOwner
	Stateid nfs4.Stateid
	file    *OpenFile
	known   bool // the server has given Stateid
}

// Locks returns an owner's locks on the file, none yet.
func (f *OpenFile) Locks(owner *StateOwner) *Locks { return &Locks{Owner: owner, file: f} }

// LockReply locks a range.
func (l *Locks) LockReply(typ uint32, offset, length uint64) (*Reply, error) {
	f := l.file
	a := LockArgs{Type: typ, Offset: offset, Length: length, LockSeqid: l.Owner.Seqid}
	if l.known {
		a.LockStateid = l.Stateid
	} else {
		a.New = true
		a.OpenStateid, a.OpenSeqid = f.Stateid, f.Owner.Seqid
		a.Owner = Owner{f.c.ClientID, l.Owner.Name}
	}
	p, err := f.c.Compound(PutFH(f.FH), Lock(a))
	l.Owner.counted(p, nfs4.OpLock)
	if a.New {
		f.Owner.counted(p, nfs4.OpLock)
	}
	if r := Get[LockRes](p); r != nil {
		l.Stateid, l.known = r.Stateid, true
	}
	return p, err
}

// Lock locks a range.
func (l *Locks) Lock(typ uint32, offset, length uint64) error {
	_, err := Check(l.LockReply(typ, offset, length))
	return err
}

// UnlockReply unlocks a range.
func (l *Locks) UnlockReply(offset, length uint64) (*Reply, error) {
	p, err := l.file.c.Compound(PutFH(l.file.FH), LockU(nfs4.WriteLT, l.Owner.Seqid, l.Stateid, offset, length))
	l.Owner.counted(p, nfs4.OpLockU)
	if r := Get[LockURes](p); r != nil {
		l.Stateid = r.Stateid
	}
	return p, err
}

// Unlock unlocks a range.
func (l *Locks) Unlock(offset, length uint64) error {
	_, err := Check(l.UnlockReply(offset, length))
	return err
}

// TestReply asks whether a range could be locked.
func (l *Locks) TestReply(typ uint32, offset, length uint64) (*Reply, error) {
	return l.file.c.Compound(PutFH(l.file.FH), LockT(typ, offset, length, Owner{l.file.c.ClientID, l.Owner.Name}))
}

// Test asks whether a range could be locked; the conflicting lock is nil if so.
func (l *Locks) Test(typ uint32, offset, length uint64) (*DeniedRes, error) {
	p, err := Check(l.TestReply(typ, offset, length))
	if err != nil && Get[DeniedRes](p) == nil {
		return nil, err
	}
	return Get[DeniedRes](p), nil
}
