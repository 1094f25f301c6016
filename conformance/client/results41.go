package client

import (
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// Results of the operations of NFSv4.1 and 4.2.
type (
	// BindConnRes is BIND_CONN_TO_SESSION's result.
	BindConnRes struct {
		Session nfs4.SessionID
		Dir     uint32
		RDMA    bool
	}
	// ExchangeIDRes is EXCHANGE_ID's.
	ExchangeIDRes struct {
		ClientID               uint64
		Seq                    uint32
		Flags                  uint32
		Protect                uint32
		MustEnforce, MustAllow nfs4.Bitmap
		ServerMinor            uint64
		ServerMajor            Data
		Scope                  Data
		Impl                   string
	}
	// CreateSessionRes is CREATE_SESSION's.
	CreateSessionRes struct {
		Session    nfs4.SessionID
		Seq, Flags uint32
		Fore, Back ChannelAttrs
	}
	// DirDelegRes is GET_DIR_DELEGATION's.
	DirDelegRes struct {
		Status  uint32
		Signal  bool // when unavailable
		Stateid nfs4.Stateid
	}
	// DeviceInfoRes is GETDEVICEINFO's.
	DeviceInfoRes struct {
		Type     uint32
		Body     Data
		Notify   nfs4.Bitmap
		MinCount uint32 // of NFS4ERR_TOOSMALL
	}
	// DeviceListRes is GETDEVICELIST's.
	DeviceListRes struct {
		Cookie   uint64
		Verifier nfs4.Verifier
		IDs      []DeviceID
		EOF      bool
	}
	// LayoutCommitRes is LAYOUTCOMMIT's.
	LayoutCommitRes struct {
		Changed bool
		Size    uint64
	}
	// Layout is a layout4.
	Layout struct {
		Offset, Length uint64
		IOMode, Type   uint32
		Body           Data
	}
	// LayoutGetRes is LAYOUTGET's.
	LayoutGetRes struct {
		ReturnOnClose bool
		Stateid       nfs4.Stateid
		Layouts       []Layout
	}
	// LayoutTryLaterRes is LAYOUTGET's on NFS4ERR_LAYOUTTRYLATER.
	LayoutTryLaterRes struct{ WillSignal bool }
	// LayoutReturnRes is LAYOUTRETURN's.
	LayoutReturnRes struct {
		Present bool
		Stateid nfs4.Stateid
	}
	// SequenceRes is SEQUENCE's.
	SequenceRes struct {
		Session                     nfs4.SessionID
		Seq, Slot, High, TargetHigh uint32
		Flags                       uint32
	}
	// TestStateidRes is TEST_STATEID's.
	TestStateidRes struct{ Statuses []nfs4.Status }
	// WantDelegRes is WANT_DELEGATION's.
	WantDelegRes struct{ OpenRes }

	// WriteResponse is a write_response4. CallbackID is set for an
	// asynchronous copy.
	WriteResponse struct {
		CallbackID *nfs4.Stateid
		Count      uint64
		Committed  uint32
		Verifier   nfs4.Verifier
	}
	// CopyRes is COPY's; on NFS4ERR_OFFLOAD_NO_REQS only the last two count.
	CopyRes struct {
		WriteResponse
		Consecutive, Synchronous bool
	}
	// CopyNotifyRes is COPY_NOTIFY's.
	CopyNotifyRes struct {
		Lease   nfs4.Time
		Stateid nfs4.Stateid
	}
	// OffloadStatusRes is OFFLOAD_STATUS's. Complete is nil while it runs.
	OffloadStatusRes struct {
		Count    uint64
		Complete *nfs4.Status
	}
	// IOAdviseRes is IO_ADVISE's.
	IOAdviseRes struct{ Hints nfs4.Bitmap }
	// Content is a piece of READ_PLUS: data, or a hole of Length bytes.
	Content struct {
		Hole   bool
		Offset uint64
		Length uint64
		Data   Data
	}
	// ReadPlusRes is READ_PLUS's.
	ReadPlusRes struct {
		EOF      bool
		Contents []Content
	}
	// SeekRes is SEEK's.
	SeekRes struct {
		EOF    bool
		Offset uint64
	}
	// WriteSameRes is WRITE_SAME's.
	WriteSameRes struct{ WriteResponse }
	// GetXattrRes is GETXATTR's.
	GetXattrRes struct{ Value Data }
	// SetXattrRes is SETXATTR's.
	SetXattrRes struct{ Change ChangeInfo }
	// ListXattrsRes is LISTXATTRS's.
	ListXattrsRes struct {
		Cookie uint64
		Names  []string
		EOF    bool
	}
	// RemoveXattrRes is REMOVEXATTR's.
	RemoveXattrRes struct{ Change ChangeInfo }
)

// decodeFailed41 reads what a failed operation brings with it.
func decodeFailed41(op nfs4.Op, status nfs4.Status, r *xdr.Reader) any {
	switch {
	case op == nfs4.OpGetDeviceInfo && status == nfs4.ErrTooSmall:
		return &DeviceInfoRes{MinCount: r.Uint32()}
	case op == nfs4.OpLayoutGet && status == nfs4.ErrLayoutTryLater:
		return &LayoutTryLaterRes{r.Bool()}
	case op == nfs4.OpCopy && status == nfs4.ErrOffloadNoReqs:
		return &CopyRes{Consecutive: r.Bool(), Synchronous: r.Bool()}
	}
	return nil
}

func decode41(op nfs4.Op, r *xdr.Reader) any {
	switch op {
	case nfs4.OpBindConnToSession:
		return &BindConnRes{nfs4.DecodeSessionID(r), r.Uint32(), r.Bool()}
	case nfs4.OpExchangeID:
		return decodeExchangeID(r)
	case nfs4.OpCreateSession:
		return &CreateSessionRes{nfs4.DecodeSessionID(r), r.Uint32(), r.Uint32(), decodeChannel(r), decodeChannel(r)}
	case nfs4.OpGetDirDelegation:
		d := &DirDelegRes{Status: r.Uint32()}
		if d.Status == nfs4.GetDirDelegUnavail {
			d.Signal = r.Bool()
			return d
		}
		nfs4.DecodeVerifier(r)
		d.Stateid = nfs4.DecodeStateid(r)
		for range 3 {
			nfs4.DecodeBitmap(r)
		}
		return d
	case nfs4.OpGetDeviceInfo:
		return &DeviceInfoRes{Type: r.Uint32(), Body: clone(r.Opaque(1 << 20)), Notify: nfs4.DecodeBitmap(r)}
	case nfs4.OpGetDeviceList:
		d := &DeviceListRes{Cookie: r.Uint64(), Verifier: nfs4.DecodeVerifier(r)}
		for range r.Count(1<<16, nfs4.DeviceIDSize) {
			d.IDs = append(d.IDs, DeviceID(r.Fixed(nfs4.DeviceIDSize)))
		}
		d.EOF = r.Bool()
		return d
	case nfs4.OpLayoutCommit:
		c := &LayoutCommitRes{Changed: r.Bool()}
		if c.Changed {
			c.Size = r.Uint64()
		}
		return c
	case nfs4.OpLayoutGet:
		g := &LayoutGetRes{ReturnOnClose: r.Bool(), Stateid: nfs4.DecodeStateid(r)}
		for range r.Count(1024, 28) {
			g.Layouts = append(g.Layouts, Layout{r.Uint64(), r.Uint64(), r.Uint32(), r.Uint32(), clone(r.Opaque(1 << 20))})
		}
		return g
	case nfs4.OpLayoutReturn:
		l := &LayoutReturnRes{Present: r.Bool()}
		if l.Present {
			l.Stateid = nfs4.DecodeStateid(r)
		}
		return l
	case nfs4.OpSecInfoNoName:
		return decodeSecInfo(r)
	case nfs4.OpSequence:
		return &SequenceRes{nfs4.DecodeSessionID(r), r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}
	case nfs4.OpSetSSV:
		r.Opaque(1024)
	case nfs4.OpTestStateid:
		t := &TestStateidRes{}
		for range r.Count(1<<16, 4) {
			t.Statuses = append(t.Statuses, nfs4.Status(r.Uint32()))
		}
		return t
	case nfs4.OpWantDelegation:
		d := &WantDelegRes{OpenRes{Delegation: r.Uint32()}}
		decodeDelegation(&d.OpenRes, r)
		return d
	}
	return nil
}

func decodeExchangeID(r *xdr.Reader) any {
	e := &ExchangeIDRes{ClientID: r.Uint64(), Seq: r.Uint32(), Flags: r.Uint32(), Protect: r.Uint32()}
	switch e.Protect {
	case nfs4.SP4None:
	case nfs4.SP4MachCred:
		e.MustEnforce, e.MustAllow = nfs4.DecodeBitmap(r), nfs4.DecodeBitmap(r)
	case nfs4.SP4SSV:
		e.MustEnforce, e.MustAllow = nfs4.DecodeBitmap(r), nfs4.DecodeBitmap(r)
		for range 4 {
			r.Uint32()
		}
		for range r.Count(64, 4) {
			r.Opaque(1024)
		}
	default:
		r.Fail(xdr.ErrValue)
	}
	e.ServerMinor = r.Uint64()
	e.ServerMajor = clone(r.Opaque(nfs4.OpaqueLimit))
	e.Scope = clone(r.Opaque(nfs4.OpaqueLimit))
	if r.Count(1, 20) == 1 {
		domain, name := r.Opaque(1024), r.Opaque(1024)
		e.Impl = string(domain) + " " + string(name)
		nfs4.DecodeTime(r)
	}
	return e
}

func decodeChannel(r *xdr.Reader) ChannelAttrs {
	c := ChannelAttrs{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}
	if r.Count(1, 4) == 1 {
		r.Uint32()
	}
	return c
}

func decodeWriteResponse(r *xdr.Reader) (wr WriteResponse) {
	if r.Count(1, 16) == 1 {
		s := nfs4.DecodeStateid(r)
		wr.CallbackID = &s
	}
	wr.Count, wr.Committed, wr.Verifier = r.Uint64(), r.Uint32(), nfs4.DecodeVerifier(r)
	return wr
}

func decode42(op nfs4.Op, r *xdr.Reader) any {
	switch op {
	case nfs4.OpCopy:
		return &CopyRes{decodeWriteResponse(r), r.Bool(), r.Bool()}
	case nfs4.OpCopyNotify:
		c := &CopyNotifyRes{Lease: nfs4.DecodeTime(r), Stateid: nfs4.DecodeStateid(r)}
		for range r.Count(64, 8) {
			if r.Uint32() == nfs4.NetlocNetaddr {
				r.Opaque(64)
			}
			r.Opaque(1024)
		}
		return c
	case nfs4.OpIOAdvise:
		return &IOAdviseRes{nfs4.DecodeBitmap(r)}
	case nfs4.OpOffloadStatus:
		o := &OffloadStatusRes{Count: r.Uint64()}
		if r.Count(1, 4) == 1 {
			s := nfs4.Status(r.Uint32())
			o.Complete = &s
		}
		return o
	case nfs4.OpReadPlus:
		return decodeReadPlus(r)
	case nfs4.OpSeek:
		return &SeekRes{r.Bool(), r.Uint64()}
	case nfs4.OpWriteSame:
		return &WriteSameRes{decodeWriteResponse(r)}
	case nfs4.OpGetXattr:
		return &GetXattrRes{clone(r.Opaque(1 << 20))}
	case nfs4.OpSetXattr:
		return &SetXattrRes{decodeChange(r)}
	case nfs4.OpListXattrs:
		l := &ListXattrsRes{Cookie: r.Uint64()}
		for range r.Count(1<<16, 4) {
			l.Names = append(l.Names, string(r.Opaque(1<<16)))
		}
		l.EOF = r.Bool()
		return l
	case nfs4.OpRemoveXattr:
		return &RemoveXattrRes{decodeChange(r)}
	}
	return nil
}

func decodeReadPlus(r *xdr.Reader) any {
	p := &ReadPlusRes{EOF: r.Bool()}
	for range r.Count(1<<20, 16) {
		switch r.Uint32() {
		case nfs4.ContentData:
			c := Content{Offset: r.Uint64(), Data: clone(r.Opaque(1 << 26))}
			c.Length = uint64(len(c.Data))
			p.Contents = append(p.Contents, c)
		case nfs4.ContentHole:
			p.Contents = append(p.Contents, Content{Hole: true, Offset: r.Uint64(), Length: r.Uint64()})
		default:
			r.Fail(xdr.ErrValue)
			return p
		}
	}
	return p
}
