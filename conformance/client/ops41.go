package client

import (
	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// encodeSecParms appends one AUTH_NONE and one AUTH_SYS callback_sec_parms4.
func encodeSecParms(w *xdr.Writer) {
	w.Uint32(2)
	w.Uint32(oncrpc.AuthNone)
	w.Uint32(oncrpc.AuthSys)
	w.Uint32(0)               // stamp
	w.String("conformance")   // machinename
	for range [3]struct{}{} { // uid, gid, no groups
		w.Uint32(0)
	}
}

// BackchannelCtl builds BACKCHANNEL_CTL.
func BackchannelCtl(cbProgram uint32) Op {
	return op(nfs4.OpBackchannelCtl, func(w *xdr.Writer) { w.Uint32(cbProgram); encodeSecParms(w) })
}

// BindConnToSession builds BIND_CONN_TO_SESSION.
func BindConnToSession(id nfs4.SessionID, dir uint32) Op {
	return op(nfs4.OpBindConnToSession, func(w *xdr.Writer) {
		id.Encode(w)
		w.Uint32(dir)
		w.Bool(false)
	})
}

// ExchangeIDArgs are EXCHANGE_ID's arguments. MustEnforce and MustAllow count
// for nfs4.SP4MachCred. NoImpl leaves the implementation id out.
type ExchangeIDArgs struct {
	Verifier               nfs4.Verifier
	Owner                  string
	Flags                  uint32
	Protect                uint32
	MustEnforce, MustAllow nfs4.Bitmap
	NoImpl                 bool
}

// ExchangeID builds EXCHANGE_ID.
func ExchangeID(a ExchangeIDArgs) Op {
	return op(nfs4.OpExchangeID, func(w *xdr.Writer) {
		a.Verifier.Encode(w)
		w.String(a.Owner)
		w.Uint32(a.Flags)
		w.Uint32(a.Protect)
		switch a.Protect {
		case nfs4.SP4MachCred:
			a.MustEnforce.Encode(w)
			a.MustAllow.Encode(w)
		case nfs4.SP4SSV:
			a.MustEnforce.Encode(w)
			a.MustAllow.Encode(w)
			w.Uint32(0) // hash algorithms
			w.Uint32(0) // encryption algorithms
			w.Uint32(1) // window
			w.Uint32(1) // handles
		}
		if a.NoImpl {
			w.Uint32(0)
			return
		}
		w.Uint32(1)
		w.String("holdfast.test")
		w.String("conformance client")
		nfs4.Time{}.Encode(w)
	})
}

// ChannelAttrs are a session channel's attributes (channel_attrs4).
type ChannelAttrs struct {
	HeaderPad         uint32
	MaxRequest        uint32
	MaxResponse       uint32
	MaxResponseCached uint32
	MaxOps            uint32
	MaxRequests       uint32
}

// DefaultFore and DefaultBack are the channel attributes that the Linux client
// asks for, more or less.
var (
	DefaultFore = ChannelAttrs{MaxRequest: 1<<20 + 4096, MaxResponse: 1<<20 + 4096, MaxResponseCached: 8192, MaxOps: 16, MaxRequests: 64}
	DefaultBack = ChannelAttrs{MaxRequest: 4096, MaxResponse: 4096, MaxResponseCached: 0, MaxOps: 4, MaxRequests: 16}
)

func (c ChannelAttrs) encode(w *xdr.Writer) {
	w.Uint32(c.HeaderPad)
	w.Uint32(c.MaxRequest)
	w.Uint32(c.MaxResponse)
	w.Uint32(c.MaxResponseCached)
	w.Uint32(c.MaxOps)
	w.Uint32(c.MaxRequests)
	w.Uint32(0) // no RDMA
}

// CreateSessionArgs are CREATE_SESSION's arguments.
type CreateSessionArgs struct {
	ClientID   uint64
	Seq        uint32
	Flags      uint32
	Fore, Back ChannelAttrs
	CBProgram  uint32
}

// CreateSession builds CREATE_SESSION.
func CreateSession(a CreateSessionArgs) Op {
	return op(nfs4.OpCreateSession, func(w *xdr.Writer) {
		w.Uint64(a.ClientID)
		w.Uint32(a.Seq)
		w.Uint32(a.Flags)
		a.Fore.encode(w)
		a.Back.encode(w)
		w.Uint32(a.CBProgram)
		encodeSecParms(w)
	})
}

// DestroySession builds DESTROY_SESSION.
func DestroySession(id nfs4.SessionID) Op { return op(nfs4.OpDestroySession, id.Encode) }

// DestroyClientID builds DESTROY_CLIENTID.
func DestroyClientID(id uint64) Op {
	return op(nfs4.OpDestroyClientID, func(w *xdr.Writer) { w.Uint64(id) })
}

// FreeStateid builds FREE_STATEID.
func FreeStateid(sid nfs4.Stateid) Op { return op(nfs4.OpFreeStateid, sid.Encode) }

// GetDirDelegation builds GET_DIR_DELEGATION.
func GetDirDelegation(notify nfs4.Bitmap) Op {
	return op(nfs4.OpGetDirDelegation, func(w *xdr.Writer) {
		w.Bool(false)
		notify.Encode(w)
		nfs4.Time{}.Encode(w)
		nfs4.Time{}.Encode(w)
		nfs4.Bitmap{}.Encode(w)
		nfs4.Bitmap{}.Encode(w)
	})
}

// A DeviceID is a deviceid4.
type DeviceID [nfs4.DeviceIDSize]byte

// GetDeviceInfo builds GETDEVICEINFO.
func GetDeviceInfo(id DeviceID, layoutType, maxCount uint32) Op {
	return op(nfs4.OpGetDeviceInfo, func(w *xdr.Writer) {
		w.Raw(id[:])
		w.Uint32(layoutType)
		w.Uint32(maxCount)
		nfs4.Bitmap{}.Encode(w)
	})
}

// GetDeviceList builds GETDEVICELIST.
func GetDeviceList(layoutType, maxDevices uint32) Op {
	return op(nfs4.OpGetDeviceList, func(w *xdr.Writer) {
		w.Uint32(layoutType)
		w.Uint32(maxDevices)
		w.Uint64(0)
		nfs4.Verifier{}.Encode(w)
	})
}

// LayoutCommitArgs are LAYOUTCOMMIT's arguments; LastWrite nil means no new
// offset.
type LayoutCommitArgs struct {
	Offset, Length uint64
	Reclaim        bool
	Stateid        nfs4.Stateid
	LastWrite      *uint64
	Type           uint32
	Body           []byte
}

// LayoutCommit builds LAYOUTCOMMIT.
func LayoutCommit(a LayoutCommitArgs) Op {
	return op(nfs4.OpLayoutCommit, func(w *xdr.Writer) {
		w.Uint64(a.Offset)
		w.Uint64(a.Length)
		w.Bool(a.Reclaim)
		a.Stateid.Encode(w)
		w.Bool(a.LastWrite != nil)
		if a.LastWrite != nil {
			w.Uint64(*a.LastWrite)
		}
		w.Bool(false) // time_modify
		w.Uint32(a.Type)
		w.Opaque(a.Body)
	})
}

// LayoutGetArgs are LAYOUTGET's arguments.
type LayoutGetArgs struct {
	Type, IOMode              uint32
	Offset, Length, MinLength uint64
	Stateid                   nfs4.Stateid
	MaxCount                  uint32
}

// LayoutGet builds LAYOUTGET.
func LayoutGet(a LayoutGetArgs) Op {
	return op(nfs4.OpLayoutGet, func(w *xdr.Writer) {
		w.Bool(false)
		w.Uint32(a.Type)
		w.Uint32(a.IOMode)
		w.Uint64(a.Offset)
		w.Uint64(a.Length)
		w.Uint64(a.MinLength)
		a.Stateid.Encode(w)
		w.Uint32(a.MaxCount)
	})
}

// LayoutReturnArgs are LAYOUTRETURN's arguments; the range, stateid and body
// count for nfs4.LayoutReturnFile.
type LayoutReturnArgs struct {
	Reclaim        bool
	Type, IOMode   uint32
	Return         uint32
	Offset, Length uint64
	Stateid        nfs4.Stateid
	Body           []byte
}

// LayoutReturn builds LAYOUTRETURN.
func LayoutReturn(a LayoutReturnArgs) Op {
	return op(nfs4.OpLayoutReturn, func(w *xdr.Writer) {
		w.Bool(a.Reclaim)
		w.Uint32(a.Type)
		w.Uint32(a.IOMode)
		w.Uint32(a.Return)
		if a.Return == nfs4.LayoutReturnFile {
			w.Uint64(a.Offset)
			w.Uint64(a.Length)
			a.Stateid.Encode(w)
			w.Opaque(a.Body)
		}
	})
}

// SecInfoNoName builds SECINFO_NO_NAME.
func SecInfoNoName(style uint32) Op {
	return op(nfs4.OpSecInfoNoName, func(w *xdr.Writer) { w.Uint32(style) })
}

// Sequence builds SEQUENCE.
func Sequence(id nfs4.SessionID, seq, slot, highest uint32, cacheThis bool) Op {
	return op(nfs4.OpSequence, func(w *xdr.Writer) {
		id.Encode(w)
		w.Uint32(seq)
		w.Uint32(slot)
		w.Uint32(highest)
		w.Bool(cacheThis)
	})
}

// SetSSV builds SET_SSV.
func SetSSV(ssv, digest []byte) Op {
	return op(nfs4.OpSetSSV, func(w *xdr.Writer) { w.Opaque(ssv); w.Opaque(digest) })
}

// TestStateid builds TEST_STATEID.
func TestStateid(sids ...nfs4.Stateid) Op {
	return op(nfs4.OpTestStateid, func(w *xdr.Writer) {
		w.Uint32(uint32(len(sids)))
		for _, s := range sids {
			s.Encode(w)
		}
	})
}

// WantDelegation builds WANT_DELEGATION with CLAIM_FH.
func WantDelegation(want uint32) Op {
	return op(nfs4.OpWantDelegation, func(w *xdr.Writer) { w.Uint32(want); w.Uint32(nfs4.ClaimFH) })
}

// ReclaimComplete builds RECLAIM_COMPLETE.
func ReclaimComplete(oneFS bool) Op {
	return op(nfs4.OpReclaimComplete, func(w *xdr.Writer) { w.Bool(oneFS) })
}
