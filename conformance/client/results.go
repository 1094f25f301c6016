package client

import (
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// ChangeInfo is a change_info4.
type ChangeInfo struct {
	Atomic        bool
	Before, After uint64
}

func decodeChange(r *xdr.Reader) ChangeInfo {
	return ChangeInfo{r.Bool(), r.Uint64(), r.Uint64()}
}

// Results of the operations of NFSv4.0.
type (
	// AccessRes is ACCESS's result.
	AccessRes struct{ Supported, Access uint32 }
	// CloseRes is CLOSE's.
	CloseRes struct{ Stateid nfs4.Stateid }
	// CommitRes is COMMIT's.
	CommitRes struct{ Verifier nfs4.Verifier }
	// CreateRes is CREATE's.
	CreateRes struct {
		Change ChangeInfo
		Set    nfs4.Bitmap
	}
	// GetAttrRes is GETATTR's.
	GetAttrRes struct{ *Attrs }
	// GetFHRes is GETFH's.
	GetFHRes struct{ FH FH }
	// LinkRes is LINK's.
	LinkRes struct{ Change ChangeInfo }
	// LockRes is LOCK's.
	LockRes struct{ Stateid nfs4.Stateid }
	// DeniedRes is LOCK's or LOCKT's on NFS4ERR_DENIED.
	DeniedRes struct {
		Offset, Length uint64
		Type           uint32
		ClientID       uint64
		Owner          Data
	}
	// LockURes is LOCKU's.
	LockURes struct{ Stateid nfs4.Stateid }
	// OpenRes is OPEN's. What belongs to a delegation is zero without one.
	OpenRes struct {
		Stateid      nfs4.Stateid
		Change       ChangeInfo
		Flags        uint32
		Set          nfs4.Bitmap
		Delegation   uint32
		DelegStateid nfs4.Stateid
		Recall       bool
		WhyNone      uint32
	}
	// OpenConfirmRes is OPEN_CONFIRM's.
	OpenConfirmRes struct{ Stateid nfs4.Stateid }
	// OpenDowngradeRes is OPEN_DOWNGRADE's.
	OpenDowngradeRes struct{ Stateid nfs4.Stateid }
	// ReadRes is READ's.
	ReadRes struct {
		EOF  bool
		Data Data
	}
	// Entry is an entry of READDIR.
	Entry struct {
		Cookie uint64
		Name   string
		Attrs  *Attrs
	}
	// ReadDirRes is READDIR's.
	ReadDirRes struct {
		Verifier nfs4.Verifier
		Entries  []Entry
		EOF      bool
	}
	// ReadLinkRes is READLINK's.
	ReadLinkRes struct{ Text string }
	// RemoveRes is REMOVE's.
	RemoveRes struct{ Change ChangeInfo }
	// RenameRes is RENAME's.
	RenameRes struct{ Source, Target ChangeInfo }
	// Sec is one secinfo4.
	Sec struct {
		Flavor  uint32
		OID     Data
		QOP     uint32
		Service uint32
	}
	// SecInfoRes is SECINFO's and SECINFO_NO_NAME's.
	SecInfoRes struct{ Secs []Sec }
	// SetAttrRes is SETATTR's, of every status.
	SetAttrRes struct{ Set nfs4.Bitmap }
	// SetClientIDRes is SETCLIENTID's.
	SetClientIDRes struct {
		ClientID uint64
		Confirm  nfs4.Verifier
	}
	// ClientInUseRes is SETCLIENTID's on NFS4ERR_CLID_INUSE.
	ClientInUseRes struct{ NetID, UAddr string }
	// WriteRes is WRITE's.
	WriteRes struct {
		Count     uint32
		Committed uint32
		Verifier  nfs4.Verifier
	}
)

// decodeResult reads what follows the status of an operation's result.
func decodeResult(op nfs4.Op, status nfs4.Status, r *xdr.Reader) any {
	switch {
	case op == nfs4.OpSetAttr:
		return &SetAttrRes{nfs4.DecodeBitmap(r)}
	case (op == nfs4.OpLock || op == nfs4.OpLockT) && status == nfs4.ErrDenied:
		return &DeniedRes{r.Uint64(), r.Uint64(), r.Uint32(), r.Uint64(), clone(r.Opaque(nfs4.OpaqueLimit))}
	case op == nfs4.OpSetClientID && status == nfs4.ErrClIDInUse:
		return &ClientInUseRes{string(r.Opaque(64)), string(r.Opaque(256))}
	case status != nfs4.OK:
		return decodeFailed41(op, status, r)
	case op >= nfs4.OpAllocate:
		return decode42(op, r)
	case op >= nfs4.OpBackchannelCtl:
		return decode41(op, r)
	}
	return decode40(op, r)
}

func decode40(op nfs4.Op, r *xdr.Reader) any {
	switch op {
	case nfs4.OpAccess:
		return &AccessRes{r.Uint32(), r.Uint32()}
	case nfs4.OpClose:
		return &CloseRes{nfs4.DecodeStateid(r)}
	case nfs4.OpCommit:
		return &CommitRes{nfs4.DecodeVerifier(r)}
	case nfs4.OpCreate:
		return &CreateRes{decodeChange(r), nfs4.DecodeBitmap(r)}
	case nfs4.OpGetAttr:
		return &GetAttrRes{decodeAttrs(r)}
	case nfs4.OpGetFH:
		return &GetFHRes{decodeFH(r)}
	case nfs4.OpLink:
		return &LinkRes{decodeChange(r)}
	case nfs4.OpLock:
		return &LockRes{nfs4.DecodeStateid(r)}
	case nfs4.OpLockU:
		return &LockURes{nfs4.DecodeStateid(r)}
	case nfs4.OpOpen:
		return decodeOpen(r)
	case nfs4.OpOpenConfirm:
		return &OpenConfirmRes{nfs4.DecodeStateid(r)}
	case nfs4.OpOpenDowngrade:
		return &OpenDowngradeRes{nfs4.DecodeStateid(r)}
	case nfs4.OpRead:
		return &ReadRes{r.Bool(), clone(r.Opaque(1 << 26))}
	case nfs4.OpReadDir:
		return decodeReadDir(r)
	case nfs4.OpReadLink:
		return &ReadLinkRes{string(r.Opaque(1 << 16))}
	case nfs4.OpRemove:
		return &RemoveRes{decodeChange(r)}
	case nfs4.OpRename:
		return &RenameRes{decodeChange(r), decodeChange(r)}
	case nfs4.OpSecInfo:
		return decodeSecInfo(r)
	case nfs4.OpSetClientID:
		return &SetClientIDRes{r.Uint64(), nfs4.DecodeVerifier(r)}
	case nfs4.OpWrite:
		return &WriteRes{r.Uint32(), r.Uint32(), nfs4.DecodeVerifier(r)}
	}
	return nil
}

func decodeOpen(r *xdr.Reader) any {
	o := &OpenRes{Stateid: nfs4.DecodeStateid(r), Change: decodeChange(r), Flags: r.Uint32(), Set: nfs4.DecodeBitmap(r), Delegation: r.Uint32()}
	decodeDelegation(o, r)
	return o
}

// decodeDelegation reads the arm of open_delegation4 that o.Delegation tells.
func decodeDelegation(o *OpenRes, r *xdr.Reader) {
	switch o.Delegation {
	case nfs4.OpenDelegateNone:
	case nfs4.OpenDelegateNoneExt:
		o.WhyNone = r.Uint32()
		if o.WhyNone == nfs4.WNDContention || o.WhyNone == nfs4.WNDResource {
			r.Bool()
		}
	case nfs4.OpenDelegateRead, nfs4.OpenDelegateWrite, nfs4.OpenDelegateReadAttrsDeleg, nfs4.OpenDelegateWriteAttrsDeleg:
		o.DelegStateid = nfs4.DecodeStateid(r)
		o.Recall = r.Bool()
		if o.Delegation == nfs4.OpenDelegateWrite || o.Delegation == nfs4.OpenDelegateWriteAttrsDeleg {
			if by := r.Uint32(); by != nfs4.LimitSize && by != nfs4.LimitBlocks {
				r.Fail(xdr.ErrValue)
			}
			r.Uint64() // filesize, or blocks and bytes per block
		}
		r.Uint32()
		r.Uint32()
		r.Uint32()
		r.Opaque(1024)
	default:
		r.Fail(xdr.ErrValue)
	}
}

func decodeReadDir(r *xdr.Reader) any {
	d := &ReadDirRes{Verifier: nfs4.DecodeVerifier(r)}
	for r.Bool() {
		d.Entries = append(d.Entries, Entry{r.Uint64(), string(r.Opaque(1 << 16)), decodeAttrs(r)})
		if r.Err() != nil {
			return d
		}
	}
	d.EOF = r.Bool()
	return d
}

func decodeSecInfo(r *xdr.Reader) any {
	s := &SecInfoRes{}
	for range r.Count(64, 4) {
		e := Sec{Flavor: r.Uint32()}
		if e.Flavor == 6 { // RPCSEC_GSS
			e.OID, e.QOP, e.Service = clone(r.Opaque(256)), r.Uint32(), r.Uint32()
		}
		s.Secs = append(s.Secs, e)
	}
	return s
}
