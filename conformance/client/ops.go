package client

import (
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// An Owner names an open or lock owner.
type Owner struct {
	ClientID uint64
	Name     string
}

func (o Owner) encode(w *xdr.Writer) {
	w.Uint64(o.ClientID)
	w.String(o.Name)
}

// Access builds ACCESS.
func Access(bits uint32) Op {
	return op(nfs4.OpAccess, func(w *xdr.Writer) { w.Uint32(bits) })
}

// Close builds CLOSE. Before NFSv4.1 seqid is the open owner's.
func Close(seqid uint32, sid nfs4.Stateid) Op {
	return op(nfs4.OpClose, func(w *xdr.Writer) { w.Uint32(seqid); sid.Encode(w) })
}

// Commit builds COMMIT.
func Commit(offset uint64, count uint32) Op {
	return op(nfs4.OpCommit, func(w *xdr.Writer) { w.Uint64(offset); w.Uint32(count) })
}

// CreateArgs are CREATE's arguments. Link is a symbolic link's text, Major and
// Minor a device's numbers.
type CreateArgs struct {
	Type         nfs4.FileType
	Link         string
	Major, Minor uint32
	Name         string
	Attrs        *Attrs
}

// Create builds CREATE.
func Create(a CreateArgs) Op {
	return op(nfs4.OpCreate, func(w *xdr.Writer) {
		w.Uint32(uint32(a.Type))
		switch a.Type {
		case nfs4.TypeLnk:
			w.String(a.Link)
		case nfs4.TypeBlk, nfs4.TypeChr:
			w.Uint32(a.Major)
			w.Uint32(a.Minor)
		}
		w.String(a.Name)
		a.Attrs.Encode(w)
	})
}

// Mkdir builds CREATE of a directory with mode 0755.
func Mkdir(name string) Op {
	return Create(CreateArgs{Type: nfs4.TypeDir, Name: name, Attrs: new(Attrs).SetMode(0o755)})
}

// Symlink builds CREATE of a symbolic link.
func Symlink(name, text string) Op {
	return Create(CreateArgs{Type: nfs4.TypeLnk, Name: name, Link: text})
}

// DelegPurge builds DELEGPURGE.
func DelegPurge(clientID uint64) Op {
	return op(nfs4.OpDelegPurge, func(w *xdr.Writer) { w.Uint64(clientID) })
}

// DelegReturn builds DELEGRETURN.
func DelegReturn(sid nfs4.Stateid) Op { return op(nfs4.OpDelegReturn, sid.Encode) }

// GetAttr builds GETATTR.
func GetAttr(attrs ...nfs4.Attr) Op { return op(nfs4.OpGetAttr, nfs4.BitmapOf(attrs...).Encode) }

// GetFH builds GETFH.
func GetFH() Op { return op(nfs4.OpGetFH, nil) }

// Link builds LINK.
func Link(name string) Op { return op(nfs4.OpLink, func(w *xdr.Writer) { w.String(name) }) }

// LockArgs are LOCK's arguments. With New set the lock owner is new to the
// server: OpenSeqid, OpenStateid, LockSeqid and Owner count; otherwise
// LockStateid and LockSeqid.
type LockArgs struct {
	Type           uint32
	Reclaim        bool
	Offset, Length uint64
	New            bool
	OpenSeqid      uint32
	OpenStateid    nfs4.Stateid
	LockSeqid      uint32
	Owner          Owner
	LockStateid    nfs4.Stateid
}

// Lock builds LOCK.
func Lock(a LockArgs) Op {
	return op(nfs4.OpLock, func(w *xdr.Writer) {
		w.Uint32(a.Type)
		w.Bool(a.Reclaim)
		w.Uint64(a.Offset)
		w.Uint64(a.Length)
		w.Bool(a.New)
		if a.New {
			w.Uint32(a.OpenSeqid)
			a.OpenStateid.Encode(w)
			w.Uint32(a.LockSeqid)
			a.Owner.encode(w)
		} else {
			a.LockStateid.Encode(w)
			w.Uint32(a.LockSeqid)
		}
	})
}

// LockT builds LOCKT.
func LockT(typ uint32, offset, length uint64, o Owner) Op {
	return op(nfs4.OpLockT, func(w *xdr.Writer) {
		w.Uint32(typ)
		w.Uint64(offset)
		w.Uint64(length)
		o.encode(w)
	})
}

// LockU builds LOCKU.
func LockU(typ, seqid uint32, sid nfs4.Stateid, offset, length uint64) Op {
	return op(nfs4.OpLockU, func(w *xdr.Writer) {
		w.Uint32(typ)
		w.Uint32(seqid)
		sid.Encode(w)
		w.Uint64(offset)
		w.Uint64(length)
	})
}

// Lookup builds LOOKUP.
func Lookup(name string) Op { return op(nfs4.OpLookup, func(w *xdr.Writer) { w.String(name) }) }

// LookupP builds LOOKUPP.
func LookupP() Op { return op(nfs4.OpLookupP, nil) }

// NVerify builds NVERIFY.
func NVerify(a *Attrs) Op { return op(nfs4.OpNVerify, a.Encode) }

// OpenArgs are OPEN's arguments. Which of the last ones count depends on How,
// Mode and Claim.
type OpenArgs struct {
	Seqid        uint32 // before NFSv4.1
	Access, Deny uint32
	Owner        Owner
	How          uint32 // nfs4.OpenNoCreate or nfs4.OpenCreate
	Mode         uint32 // nfs4.CreateUnchecked …
	Attrs        *Attrs
	Verifier     nfs4.Verifier
	Claim        uint32 // nfs4.ClaimNull …
	Name         string
	DelegType    uint32
	DelegStateid nfs4.Stateid
}

// Open builds OPEN.
func Open(a OpenArgs) Op {
	return op(nfs4.OpOpen, func(w *xdr.Writer) {
		w.Uint32(a.Seqid)
		w.Uint32(a.Access)
		w.Uint32(a.Deny)
		a.Owner.encode(w)
		w.Uint32(a.How)
		if a.How == nfs4.OpenCreate {
			w.Uint32(a.Mode)
			switch a.Mode {
			case nfs4.CreateUnchecked, nfs4.CreateGuarded:
				a.Attrs.Encode(w)
			case nfs4.CreateExclusive:
				a.Verifier.Encode(w)
			case nfs4.CreateExclusive41:
				a.Verifier.Encode(w)
				a.Attrs.Encode(w)
			}
		}
		w.Uint32(a.Claim)
		switch a.Claim {
		case nfs4.ClaimNull, nfs4.ClaimDelegatePrev:
			w.String(a.Name)
		case nfs4.ClaimPrevious:
			w.Uint32(a.DelegType)
		case nfs4.ClaimDelegateCur:
			a.DelegStateid.Encode(w)
			w.String(a.Name)
		case nfs4.ClaimDelegCurFH:
			a.DelegStateid.Encode(w)
		}
	})
}

// OpenAttr builds OPENATTR.
func OpenAttr(create bool) Op {
	return op(nfs4.OpOpenAttr, func(w *xdr.Writer) { w.Bool(create) })
}

// OpenConfirm builds OPEN_CONFIRM, of NFSv4.0 only.
func OpenConfirm(sid nfs4.Stateid, seqid uint32) Op {
	return op(nfs4.OpOpenConfirm, func(w *xdr.Writer) { sid.Encode(w); w.Uint32(seqid) })
}

// OpenDowngrade builds OPEN_DOWNGRADE.
func OpenDowngrade(sid nfs4.Stateid, seqid, access, deny uint32) Op {
	return op(nfs4.OpOpenDowngrade, func(w *xdr.Writer) {
		sid.Encode(w)
		w.Uint32(seqid)
		w.Uint32(access)
		w.Uint32(deny)
	})
}

// PutFH builds PUTFH.
func PutFH(fh FH) Op { return op(nfs4.OpPutFH, func(w *xdr.Writer) { w.Opaque(fh) }) }

// PutPubFH builds PUTPUBFH.
func PutPubFH() Op { return op(nfs4.OpPutPubFH, nil) }

// PutRootFH builds PUTROOTFH.
func PutRootFH() Op { return op(nfs4.OpPutRootFH, nil) }

// Read builds READ.
func Read(sid nfs4.Stateid, offset uint64, count uint32) Op {
	return op(nfs4.OpRead, func(w *xdr.Writer) { sid.Encode(w); w.Uint64(offset); w.Uint32(count) })
}

// ReadDirArgs are READDIR's arguments.
type ReadDirArgs struct {
	Cookie   uint64
	Verifier nfs4.Verifier
	DirCount uint32
	MaxCount uint32
	Attrs    nfs4.Bitmap
}

// ReadDir builds READDIR.
func ReadDir(a ReadDirArgs) Op {
	return op(nfs4.OpReadDir, func(w *xdr.Writer) {
		w.Uint64(a.Cookie)
		a.Verifier.Encode(w)
		w.Uint32(a.DirCount)
		w.Uint32(a.MaxCount)
		a.Attrs.Encode(w)
	})
}

// ReadLink builds READLINK.
func ReadLink() Op { return op(nfs4.OpReadLink, nil) }

// Remove builds REMOVE.
func Remove(name string) Op { return op(nfs4.OpRemove, func(w *xdr.Writer) { w.String(name) }) }

// Rename builds RENAME.
func Rename(from, to string) Op {
	return op(nfs4.OpRename, func(w *xdr.Writer) { w.String(from); w.String(to) })
}

// Renew builds RENEW, of NFSv4.0 only.
func Renew(clientID uint64) Op {
	return op(nfs4.OpRenew, func(w *xdr.Writer) { w.Uint64(clientID) })
}

// RestoreFH builds RESTOREFH.
func RestoreFH() Op { return op(nfs4.OpRestoreFH, nil) }

// SaveFH builds SAVEFH.
func SaveFH() Op { return op(nfs4.OpSaveFH, nil) }

// SecInfo builds SECINFO.
func SecInfo(name string) Op { return op(nfs4.OpSecInfo, func(w *xdr.Writer) { w.String(name) }) }

// SetAttr builds SETATTR.
func SetAttr(sid nfs4.Stateid, a *Attrs) Op {
	return op(nfs4.OpSetAttr, func(w *xdr.Writer) { sid.Encode(w); a.Encode(w) })
}

// SetClientIDArgs are SETCLIENTID's arguments.
type SetClientIDArgs struct {
	Verifier     nfs4.Verifier
	ID           string
	CBProgram    uint32
	NetID, UAddr string
	CBIdent      uint32
}

// SetClientID builds SETCLIENTID, of NFSv4.0 only.
func SetClientID(a SetClientIDArgs) Op {
	return op(nfs4.OpSetClientID, func(w *xdr.Writer) {
		a.Verifier.Encode(w)
		w.String(a.ID)
		w.Uint32(a.CBProgram)
		w.String(a.NetID)
		w.String(a.UAddr)
		w.Uint32(a.CBIdent)
	})
}

// SetClientIDConfirm builds SETCLIENTID_CONFIRM, of NFSv4.0 only.
func SetClientIDConfirm(clientID uint64, confirm nfs4.Verifier) Op {
	return op(nfs4.OpSetClientIDConfirm, func(w *xdr.Writer) { w.Uint64(clientID); confirm.Encode(w) })
}

// Verify builds VERIFY.
func Verify(a *Attrs) Op { return op(nfs4.OpVerify, a.Encode) }

// Write builds WRITE.
func Write(sid nfs4.Stateid, offset uint64, stable uint32, data []byte) Op {
	return op(nfs4.OpWrite, func(w *xdr.Writer) {
		sid.Encode(w)
		w.Uint64(offset)
		w.Uint32(stable)
		w.Opaque(data)
	})
}

// ReleaseLockOwner builds RELEASE_LOCKOWNER, of NFSv4.0 only.
func ReleaseLockOwner(o Owner) Op { return op(nfs4.OpReleaseLockOwner, o.encode) }

// Illegal builds an operation of any number without arguments.
func Illegal(num uint32) Op { return Op{Num: nfs4.Op(num)} }
