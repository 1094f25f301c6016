package suite

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// An opCase is an operation with arguments that decode. What it is done to is
// up to the test: a directory, an object that is gone, no filehandle at all.
type opCase struct {
	num    nfs4.Op
	make   func(c *client.Client) client.Op
	needFH bool // it acts on the current filehandle
}

// minors are the minor versions that have the operation, as those that made it
// mandatory not to implement do not.
func (o opCase) minors() (m uint8) {
	for v := range uint32(3) {
		obsolete := v > 0 && (o.num == nfs4.OpOpenConfirm || o.num == nfs4.OpRenew || o.num == nfs4.OpSetClientID ||
			o.num == nfs4.OpSetClientIDConfirm || o.num == nfs4.OpReleaseLockOwner)
		if o.num.In(v) && !obsolete {
			m |= 1 << v
		}
	}
	return m
}

// rfc is where the operation is described, for every version that has it.
func (o opCase) rfc() string { return opSection(o.num, o.minors()) }

func opSection(num nfs4.Op, minors uint8) string {
	n := int(num)
	var in41 int // the subsection of RFC 8881 §18
	switch {
	case num >= nfs4.OpGetXattr:
		return fmt.Sprintf("RFC 8276 §8.4.%d", n-int(nfs4.OpGetXattr)+1)
	case num >= nfs4.OpAllocate:
		return fmt.Sprintf("RFC 7862 §15.%d", n-int(nfs4.OpAllocate)+1)
	case num >= nfs4.OpBackchannelCtl:
		in41 = n - int(nfs4.OpBackchannelCtl) + 33
	case num >= nfs4.OpVerify:
		in41 = n - int(nfs4.OpVerify) + 31
	case num >= nfs4.OpRestoreFH:
		in41 = n - int(nfs4.OpRestoreFH) + 27
	case num >= nfs4.OpOpenDowngrade:
		in41 = n - int(nfs4.OpOpenDowngrade) + 18
	default:
		in41 = n - int(nfs4.OpAccess) + 1
	}
	in40 := n - int(nfs4.OpAccess) + 1
	switch {
	case minors&v12 == 0:
		return fmt.Sprintf("RFC 7530 §16.%d", in40)
	case minors&v0 == 0:
		return fmt.Sprintf("RFC 8881 §18.%d", in41)
	}
	return fmt.Sprintf("RFC 7530 §16.%d, RFC 8881 §18.%d", in40, in41)
}

// code names a test of a family that has one for each operation, by the
// operation's number in the protocol.
func (o opCase) code(family string) string { return fmt.Sprintf("%s%d", family, o.num) }

// optionalOp says whether a server need not have an operation, so that it may
// answer NFS4ERR_NOTSUPP to anything (RFC 8881 §17; before NFSv4.1 RFC 7530 §16
// allows it). All that NFSv4.2 adds is optional (RFC 7862 §13, RFC 8276 §8.4).
func optionalOp(num nfs4.Op) bool {
	switch num {
	case nfs4.OpDelegPurge, nfs4.OpDelegReturn, nfs4.OpLink, nfs4.OpOpenAttr, nfs4.OpReadLink, nfs4.OpGetDirDelegation,
		nfs4.OpGetDeviceInfo, nfs4.OpGetDeviceList, nfs4.OpLayoutCommit, nfs4.OpLayoutGet, nfs4.OpLayoutReturn,
		nfs4.OpSecInfoNoName, nfs4.OpWantDelegation:
		return true
	}
	return num >= nfs4.OpAllocate && num <= nfs4.OpLast
}

// orNotSupp adds NFS4ERR_NOTSUPP for what is optional.
func (o opCase) orNotSupp(s ...nfs4.Status) []nfs4.Status {
	if optionalOp(o.num) {
		s = append(s, nfs4.ErrNotSupp)
	}
	return s
}

// opCases has every operation that takes arguments or needs a filehandle.
func opCases() []opCase {
	var cases []opCase
	for _, list := range [][]opCase{opCases40(), opCasesState(), opCases41(), opCases42()} {
		cases = append(cases, list...)
	}
	return cases
}

// plain is an operation whose arguments do not depend on the client.
func plain(op client.Op) opCase {
	return opCase{num: op.Num, make: func(*client.Client) client.Op { return op }, needFH: true}
}

// noFH is an operation that needs no current filehandle.
func noFH(num nfs4.Op, make func(c *client.Client) client.Op) opCase {
	return opCase{num: num, make: make}
}

func opCases40() []opCase {
	size := new(client.Attrs).SetSize(1)
	return []opCase{
		plain(client.Access(1)), plain(client.Commit(0, 0)), plain(client.Create(client.CreateArgs{Type: nfs4.TypeDir, Name: "x"})),
		plain(client.GetAttr(nfs4.AttrType)), plain(client.GetFH()), plain(client.Link("x")), plain(client.Lookup("x")), plain(client.LookupP()),
		plain(client.NVerify(size)), plain(client.OpenAttr(false)), plain(client.Read(nfs4.AnonymousStateid, 0, 1)),
		plain(client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096})), plain(client.ReadLink()), plain(client.Remove("x")),
		plain(client.Rename("x", "y")), plain(client.SaveFH()), plain(client.SecInfo("x")),
		plain(client.SetAttr(nfs4.AnonymousStateid, new(client.Attrs).SetMode(0o600))), plain(client.Verify(size)),
		plain(client.Write(nfs4.AnonymousStateid, 0, nfs4.FileSync, []byte("x"))),
		noFH(nfs4.OpPutFH, func(*client.Client) client.Op { return client.PutFH(client.FH("no handle")) }),
		noFH(nfs4.OpRenew, func(c *client.Client) client.Op { return client.Renew(c.ClientID) }),
		noFH(nfs4.OpSetClientID, func(*client.Client) client.Op {
			return client.SetClientID(client.SetClientIDArgs{ID: client.UniqueName("cut short "), NetID: "tcp", UAddr: "0.0.0.0.0.0"})
		}),
		noFH(nfs4.OpSetClientIDConfirm, func(*client.Client) client.Op { return client.SetClientIDConfirm(1, nfs4.Verifier{}) }),
		noFH(nfs4.OpReleaseLockOwner, func(c *client.Client) client.Op { return client.ReleaseLockOwner(someOwner(c)) }),
		noFH(nfs4.OpDelegPurge, func(c *client.Client) client.Op { return client.DelegPurge(c.ClientID) }),
	}
}

// someOwner is an owner that holds nothing.
func someOwner(c *client.Client) client.Owner {
	return client.Owner{ClientID: c.ClientID, Name: "somebody"}
}

// opCasesState are the operations on opens, locks and delegations.
func opCasesState() []opCase {
	none := nfs4.Stateid{Seqid: 1, Other: [nfs4.OtherSize]byte{1, 2, 3}}
	return []opCase{
		plain(client.Close(0, none)), plain(client.DelegReturn(none)), plain(client.OpenConfirm(none, 1)), plain(client.OpenDowngrade(none, 0, 1, 0)),
		plain(client.Lock(client.LockArgs{Type: nfs4.ReadLT, Length: 1, LockStateid: none})), plain(client.LockU(nfs4.ReadLT, 0, none, 0, 1)),
		{num: nfs4.OpLockT, needFH: true, make: func(c *client.Client) client.Op { return client.LockT(nfs4.ReadLT, 0, 1, someOwner(c)) }},
		{num: nfs4.OpOpen, needFH: true, make: func(c *client.Client) client.Op {
			return client.Open(client.OpenArgs{Access: 1, Owner: someOwner(c), Name: "x"})
		}},
	}
}

func opCases41() []opCase {
	none := nfs4.Stateid{Seqid: 1, Other: [nfs4.OtherSize]byte{1, 2, 3}}
	return []opCase{
		noFH(nfs4.OpBackchannelCtl, func(*client.Client) client.Op { return client.BackchannelCtl(nfs4.CBProgram) }),
		noFH(nfs4.OpBindConnToSession, func(c *client.Client) client.Op { return client.BindConnToSession(c.Session.ID, nfs4.CDFCFore) }),
		noFH(nfs4.OpExchangeID, func(*client.Client) client.Op {
			return client.ExchangeID(client.ExchangeIDArgs{Owner: client.UniqueName("cut short ")})
		}),
		noFH(nfs4.OpCreateSession, func(c *client.Client) client.Op {
			return client.CreateSession(client.CreateSessionArgs{ClientID: c.ClientID, Seq: 99, Fore: client.DefaultFore, Back: client.DefaultBack})
		}),
		noFH(nfs4.OpDestroySession, func(c *client.Client) client.Op { return client.DestroySession(c.Session.ID) }),
		noFH(nfs4.OpFreeStateid, func(*client.Client) client.Op { return client.FreeStateid(none) }),
		plain(client.GetDirDelegation(nfs4.Bitmap{1})),
		noFH(nfs4.OpGetDeviceInfo, func(*client.Client) client.Op {
			return client.GetDeviceInfo(client.DeviceID{}, nfs4.LayoutNFSv41Files, 4096)
		}),
		plain(client.GetDeviceList(nfs4.LayoutNFSv41Files, 10)), plain(client.LayoutCommit(client.LayoutCommitArgs{Stateid: none, Type: nfs4.LayoutNFSv41Files})),
		plain(client.LayoutGet(client.LayoutGetArgs{Type: nfs4.LayoutNFSv41Files, IOMode: nfs4.LayoutIOModeRead, Length: 1, MinLength: 1, Stateid: none, MaxCount: 4096})),
		plain(client.LayoutReturn(client.LayoutReturnArgs{Type: nfs4.LayoutNFSv41Files, IOMode: nfs4.LayoutIOModeRead, Return: nfs4.LayoutReturnFile, Length: 1, Stateid: none})),
		plain(client.SecInfoNoName(nfs4.SecInfoCurrentFH)), plain(client.WantDelegation(nfs4.WantReadDeleg)),
		noFH(nfs4.OpSequence, func(c *client.Client) client.Op { return client.Sequence(c.Session.ID, 1, 1, 1, false) }),
		noFH(nfs4.OpSetSSV, func(*client.Client) client.Op { return client.SetSSV([]byte("key"), []byte("digest")) }),
		noFH(nfs4.OpTestStateid, func(*client.Client) client.Op { return client.TestStateid(none) }),
		noFH(nfs4.OpDestroyClientID, func(c *client.Client) client.Op { return client.DestroyClientID(c.ClientID) }),
		{num: nfs4.OpReclaimComplete, needFH: true, make: func(*client.Client) client.Op { return client.ReclaimComplete(true) }},
	}
}

func opCases42() []opCase {
	none := nfs4.Stateid{Seqid: 1, Other: [nfs4.OtherSize]byte{1, 2, 3}}
	return []opCase{
		plain(client.Allocate(none, 0, 1)), plain(client.Copy(client.CopyArgs{Src: none, Dst: none, Count: 1, Consecutive: true, Synchronous: true})),
		plain(client.CopyNotify(none, client.SomeServer)), plain(client.Deallocate(none, 0, 1)), plain(client.IOAdvise(none, 0, 1, nfs4.Bitmap{2})),
		plain(client.LayoutError(0, 1, none, client.DeviceID{}, nfs4.ErrIO, nfs4.OpRead)),
		plain(client.LayoutStats(client.LayoutStatsArgs{Length: 1, Stateid: none, Type: nfs4.LayoutNFSv41Files})),
		noFH(nfs4.OpOffloadCancel, func(*client.Client) client.Op { return client.OffloadCancel(none) }),
		noFH(nfs4.OpOffloadStatus, func(*client.Client) client.Op { return client.OffloadStatus(none) }),
		plain(client.ReadPlus(nfs4.AnonymousStateid, 0, 1)), plain(client.Seek(nfs4.AnonymousStateid, 0, nfs4.ContentData)),
		plain(client.WriteSame(none, nfs4.FileSync, 0, 1, 1, []byte("x"))), plain(client.Clone(none, none, 0, 0, 1)),
		plain(client.GetXattr("x")), plain(client.SetXattr(nfs4.SetXattrEither, "x", []byte("v"))), plain(client.ListXattrs(0, 4096)), plain(client.RemoveXattr("x")),
	}
}
