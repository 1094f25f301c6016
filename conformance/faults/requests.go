package faults

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// A Scene is what the COMPOUNDs of Requests are about: a directory of its own
// with a file "f" that is open and locked, a file "g", a symbolic link "l" and
// a directory "sub".
type Scene struct {
	Minor      uint32
	ClientID   uint64
	Session    nfs4.SessionID // of 4.1 and later
	Dir        client.FH
	File, Link client.FH
	Open       nfs4.Stateid // of File, for reading and writing
	Lock       nfs4.Stateid // its first ten bytes, for writing
	OpenOwner  string
	LockOwner  string
	OpenSeqid  uint32 // the next of the owners, in 4.0
	LockSeqid  uint32
}

// NewScene makes a scene in the directory root, under a name.
func NewScene(c *client.Client, root client.FH, name string) (*Scene, error) {
	wrap := func(err error) error { return fmt.Errorf("scene %s: %w", name, err) }
	dir, err := c.MkdirFH(root, name)
	if err != nil {
		return nil, wrap(err)
	}
	f, err := c.CreateFile(dir, "f")
	if err != nil {
		return nil, wrap(err)
	}
	if _, err := f.Write(0, nfs4.Unstable, make([]byte, 100)); err != nil {
		return nil, wrap(err)
	}
	l := f.Locks(client.NewOwner())
	if err := l.Lock(nfs4.WriteLT, 0, 10); err != nil {
		return nil, wrap(err)
	}
	g, err := c.CreateFile(dir, "g")
	if err != nil {
		return nil, wrap(err)
	}
	if err := g.Close(); err != nil {
		return nil, wrap(err)
	}
	if _, err := client.Check(c.Compound(client.PutFH(dir), client.Mkdir("sub"))); err != nil {
		return nil, wrap(err)
	}
	if _, err := client.Check(c.Compound(client.PutFH(dir), client.Symlink("l", "f"))); err != nil {
		return nil, wrap(err)
	}
	link, err := c.LookupFH(dir, "l")
	if err != nil {
		return nil, wrap(err)
	}
	s := &Scene{
		Minor: c.Config.Minor, ClientID: c.ClientID, Dir: dir, File: f.FH, Link: link, Open: f.Stateid, Lock: l.Stateid,
		OpenOwner: f.Owner.Name, LockOwner: l.Owner.Name, OpenSeqid: f.Owner.Seqid, LockSeqid: l.Owner.Seqid,
	}
	if c.Session != nil {
		s.Session = c.Session.ID
	}
	return s, nil
}

// A Request is a valid COMPOUND for the sake of one operation, its last. It
// comes behind a SEQUENCE unless it is Bare; in 4.0 all are.
type Request struct {
	Op   nfs4.Op
	Ops  []client.Op
	Bare bool
}

// Requests returns at least one COMPOUND for each operation of the scene's
// minor version, those included that this server does not support. Each is as it
// should be; some name things that do not exist.
func (s *Scene) Requests() []Request {
	var all []Request
	for _, list := range [][]client.Op{s.names(), s.attributes(), s.data(), s.state()} {
		for _, op := range list {
			all = append(all, s.on(op))
		}
	}
	for _, op := range s.identity() {
		all = append(all, Request{op.Num, []client.Op{op}, true})
	}
	kept := all[:0]
	for _, r := range all {
		if r.Op.In(s.Minor) {
			kept = append(kept, r)
		}
	}
	return kept
}

// on gives an operation the filehandles it wants.
func (s *Scene) on(op client.Op) Request {
	ops := []client.Op{client.PutFH(s.Dir), client.SaveFH()}
	switch op.Num {
	case nfs4.OpReadLink:
		ops = []client.Op{client.PutFH(s.Link)}
	case nfs4.OpLink, nfs4.OpCopy, nfs4.OpClone, nfs4.OpRestoreFH:
		ops = []client.Op{client.PutFH(s.File), client.SaveFH()}
		if op.Num == nfs4.OpLink {
			ops = append(ops, client.PutFH(s.Dir))
		}
	case nfs4.OpAccess, nfs4.OpCreate, nfs4.OpGetFH, nfs4.OpLookup, nfs4.OpLookupP, nfs4.OpOpen, nfs4.OpOpenAttr, nfs4.OpPutFH,
		nfs4.OpPutPubFH, nfs4.OpPutRootFH, nfs4.OpReadDir, nfs4.OpRemove, nfs4.OpRename, nfs4.OpSaveFH, nfs4.OpSecInfo,
		nfs4.OpSecInfoNoName, nfs4.OpGetDirDelegation, nfs4.OpWantDelegation, nfs4.OpReclaimComplete:
	default:
		ops = []client.Op{client.PutFH(s.File)}
	}
	return Request{Op: op.Num, Ops: append(ops, op)}
}

// names are the operations on directories and filehandles.
func (s *Scene) names() []client.Op {
	return []client.Op{
		client.PutFH(s.File), client.PutPubFH(), client.PutRootFH(), client.GetFH(), client.SaveFH(), client.RestoreFH(),
		client.Lookup("sub"), client.LookupP(), client.SecInfo("f"), client.SecInfoNoName(0), client.OpenAttr(true),
		client.ReadDir(client.ReadDirArgs{DirCount: 1024, MaxCount: 4096, Attrs: readable()}),
		client.Create(client.CreateArgs{Type: nfs4.TypeDir, Name: "dir", Attrs: new(client.Attrs).SetMode(0o700)}),
		client.Create(client.CreateArgs{Type: nfs4.TypeLnk, Name: "link", Link: "some/where"}),
		client.Create(client.CreateArgs{Type: nfs4.TypeChr, Major: 1, Minor: 3, Name: "null", Attrs: new(client.Attrs).SetMode(0o600)}),
		client.ReadLink(), client.Link("hard"), client.Rename("hard", "harder"), client.Remove("harder"),
		client.GetDirDelegation(nfs4.Bitmap{}), client.WantDelegation(nfs4.WantReadDeleg),
	}
}

// readable are all attributes that can be asked for.
func readable() nfs4.Bitmap {
	b := nfs4.Bitmap{^uint32(0), ^uint32(0), ^uint32(0)}
	b.Clear(nfs4.AttrTimeAccessSet)
	b.Clear(nfs4.AttrTimeModifySet)
	return b
}

// attributes are the operations on attributes.
func (s *Scene) attributes() []client.Op {
	get := client.Op{Num: nfs4.OpGetAttr, Args: encoded(readable().Encode)}
	acl := []client.ACE{
		{Mask: nfs4.ACEReadData | nfs4.ACEWriteData, Who: "OWNER@"}, {Mask: nfs4.ACEReadData, Who: "7"},
		{Flag: nfs4.ACEIdentifierGroup, Mask: nfs4.ACEReadData, Who: "GROUP@"}, {Mask: nfs4.ACEReadData, Who: "EVERYONE@"},
	}
	set := new(client.Attrs).SetSize(90).SetMode(0o640).SetOwner("5").SetGroup("6").SetAccessTime(&nfs4.Time{Sec: 1e9}).SetModifyTime(nil)
	return []client.Op{
		get, client.Access(0x3f), client.SetAttr(s.Open, set),
		client.SetAttr(nfs4.Stateid{}, new(client.Attrs).SetACL(acl)),
		client.SetAttr(nfs4.Stateid{}, new(client.Attrs).SetNum(nfs4.AttrModeSetMasked, 0o600)),
		client.Verify(new(client.Attrs).SetSize(90).SetOwner("5")), client.NVerify(new(client.Attrs).SetSize(1)),
		client.SetXattr(nfs4.SetXattrEither, "colour", []byte("green")), client.GetXattr("colour"),
		client.ListXattrs(0, 4096), client.RemoveXattr("colour"),
	}
}

func encoded(encode func(*xdr.Writer)) []byte {
	var w xdr.Writer
	encode(&w)
	return w.Bytes()
}

// data are the operations on files' data.
func (s *Scene) data() []client.Op {
	var device client.DeviceID
	last := uint64(10)
	return []client.Op{
		client.Read(s.Open, 0, 4096), client.Write(s.Open, 3, nfs4.FileSync, []byte("some data of a file")), client.Commit(0, 0),
		client.ReadPlus(s.Open, 0, 4096), client.Seek(s.Open, 0, nfs4.ContentHole), client.Allocate(s.Open, 0, 1<<16),
		client.Deallocate(s.Open, 0, 50), client.IOAdvise(s.Open, 0, 50, nfs4.BitmapOf(1)),
		client.Copy(client.CopyArgs{Src: s.Open, Dst: s.Open, DstOffset: 1 << 12, Count: 40, Consecutive: true, Synchronous: true}),
		client.Copy(client.CopyArgs{Src: s.Open, Dst: s.Open, DstOffset: 1 << 12, Count: 40, Servers: []string{"127.0.0.1"}}),
		client.CopyNotify(s.Open, client.SomeServer), client.Clone(s.Open, s.Open, 0, 1<<12, 1<<12),
		client.OffloadStatus(s.Open), client.OffloadCancel(s.Open),
		client.WriteSame(s.Open, nfs4.FileSync, 0, 512, 2, []byte("pattern")),
		client.GetDeviceInfo(device, nfs4.LayoutNFSv41Files, 4096), client.GetDeviceList(nfs4.LayoutNFSv41Files, 8),
		client.LayoutGet(client.LayoutGetArgs{Type: nfs4.LayoutNFSv41Files, IOMode: 1, Length: 1 << 20, Stateid: s.Open, MaxCount: 4096}),
		client.LayoutCommit(client.LayoutCommitArgs{Length: 10, Stateid: s.Open, LastWrite: &last, Type: nfs4.LayoutNFSv41Files, Body: []byte("body")}),
		client.LayoutReturn(client.LayoutReturnArgs{Type: nfs4.LayoutNFSv41Files, IOMode: 3, Return: nfs4.LayoutReturnFile, Length: 10, Stateid: s.Open, Body: []byte("x")}),
		client.LayoutError(0, 10, s.Open, device, nfs4.ErrIO, nfs4.OpRead),
		client.LayoutStats(client.LayoutStatsArgs{Length: 10, Stateid: s.Open, Reads: 1, ReadBytes: 10, Device: device, Type: nfs4.LayoutNFSv41Files, Body: []byte("x")}),
	}
}

// state are the operations on opens and locks. The last ones end the scene's.
func (s *Scene) state() []client.Op {
	lockOwner := client.Owner{ClientID: s.ClientID, Name: s.LockOwner}
	open := func(n int, a client.OpenArgs) client.Op {
		a.Owner = client.Owner{ClientID: s.ClientID, Name: fmt.Sprintf("%s/%d", s.OpenOwner, n)}
		if a.Access == 0 {
			a.Access = nfs4.ShareAccessBoth
		}
		return client.Open(a)
	}
	mode := new(client.Attrs).SetMode(0o644).SetSize(0)
	ops := []client.Op{
		open(1, client.OpenArgs{Name: "g", Deny: nfs4.ShareDenyNone, Access: nfs4.ShareAccessRead}),
		open(2, client.OpenArgs{How: nfs4.OpenCreate, Mode: nfs4.CreateUnchecked, Attrs: mode, Name: "unchecked"}),
		open(3, client.OpenArgs{How: nfs4.OpenCreate, Mode: nfs4.CreateGuarded, Attrs: mode, Name: "guarded"}),
		open(4, client.OpenArgs{How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive, Verifier: nfs4.Verifier{1, 2, 3}, Name: "exclusive"}),
		open(5, client.OpenArgs{Claim: nfs4.ClaimPrevious}),
		open(6, client.OpenArgs{Claim: nfs4.ClaimDelegateCur, Name: "f"}),
		open(7, client.OpenArgs{Claim: nfs4.ClaimDelegatePrev, Name: "f"}),
		client.OpenConfirm(s.Open, s.OpenSeqid),
		client.Lock(client.LockArgs{Type: nfs4.WriteLT, Offset: 20, Length: 5, LockStateid: s.Lock, LockSeqid: s.LockSeqid}),
		client.Lock(client.LockArgs{Type: nfs4.ReadLT, Offset: 40, Length: 5, New: true, OpenStateid: s.Open, OpenSeqid: s.OpenSeqid, Owner: client.Owner{ClientID: s.ClientID, Name: s.LockOwner + "/2"}}),
		client.LockT(nfs4.WriteLT, 0, 100, client.Owner{ClientID: s.ClientID, Name: "other"}),
		client.LockU(nfs4.WriteLT, s.LockSeqid, s.Lock, 0, 5),
		client.DelegReturn(s.Open), client.DelegPurge(s.ClientID), client.TestStateid(s.Open, s.Lock, nfs4.Stateid{}),
		client.FreeStateid(s.Open), client.OpenDowngrade(s.Open, s.OpenSeqid, nfs4.ShareAccessBoth, 0),
		client.ReclaimComplete(true), client.ReleaseLockOwner(lockOwner), client.Renew(s.ClientID),
		client.BackchannelCtl(nfs4.CBProgram), client.SetSSV([]byte("ssv"), []byte("digest")),
		client.Close(s.OpenSeqid, s.Open),
	}
	if s.Minor > 0 {
		ops = append(ops,
			open(8, client.OpenArgs{How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive41, Verifier: nfs4.Verifier{4, 5}, Attrs: new(client.Attrs).SetMode(0o600), Name: "exclusive41"}),
			open(9, client.OpenArgs{Claim: nfs4.ClaimDelegCurFH}),
			open(10, client.OpenArgs{Claim: nfs4.ClaimDelegPrevFH}))
	}
	return ops
}

// identity are the operations that make clients and sessions, and end others'
// than the scene's.
func (s *Scene) identity() []client.Op {
	mask := nfs4.BitmapOf(nfs4.Attr(nfs4.OpExchangeID), nfs4.Attr(nfs4.OpCreateSession))
	stranger := s.ClientID ^ 0x5555
	id := s.Session
	id[0] ^= 0xff
	return []client.Op{
		client.SetClientID(client.SetClientIDArgs{ID: "a client of its own", CBProgram: nfs4.CBProgram, NetID: "tcp", UAddr: "127.0.0.1.1.1"}),
		client.SetClientIDConfirm(stranger, nfs4.Verifier{9}),
		client.ExchangeID(client.ExchangeIDArgs{Owner: "a client of its own"}),
		client.ExchangeID(client.ExchangeIDArgs{Owner: "another", Protect: nfs4.SP4MachCred, MustEnforce: mask, MustAllow: mask}),
		client.ExchangeID(client.ExchangeIDArgs{Owner: "yet another", Protect: nfs4.SP4SSV, MustEnforce: mask, MustAllow: mask}),
		client.CreateSession(client.CreateSessionArgs{ClientID: stranger, Seq: 1, Fore: client.DefaultFore, Back: client.DefaultBack, CBProgram: nfs4.CBProgram}),
		client.DestroySession(id), client.DestroyClientID(stranger), client.BindConnToSession(id, nfs4.CDFCForeOrBoth),
		client.Sequence(id, 1, 0, 0, false),
	}
}
