package client

import (
	"fmt"
	"strings"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// FSID is an fsid4.
type FSID struct{ Major, Minor uint64 }

// An ACE is an nfsace4.
type ACE struct {
	Type, Flag, Mask uint32
	Who              string
}

// A SetTime is a settime4; nil time means the server's.
type SetTime struct{ Client *nfs4.Time }

// Attrs are file attributes: those whose bits are set in Mask. The Set methods
// set a bit and its value. A nil *Attrs is empty.
//
// Raw, if not nil, is sent as the attribute values instead of the fields, for
// requests that are malformed.
type Attrs struct {
	Mask nfs4.Bitmap
	Raw  []byte

	Supported, ExclCreat nfs4.Bitmap
	Type                 nfs4.FileType
	FSID                 FSID
	FH                   FH
	ACL                  []ACE
	ACLFlag              [2]uint32 // of dacl and sacl
	DACL, SACL           []ACE
	Owner, Group         string
	RDAttrError          nfs4.Status
	RawDev               [2]uint32
	SetAtime, SetMtime   SetTime
	Umask                uint32 // with mode_umask, whose mode is num[mode_umask]
	Mask2                uint32 // mode_set_masked's mask bits
	Text                 string // mimetype
	Locations            []string
	Layouts              []uint32
	Opaque               map[nfs4.Attr]Data // attributes of which only the bytes are kept

	num  [nfs4.AttrLast + 1]uint64 // every attribute that is one number or bool
	time [nfs4.AttrLast + 1]nfs4.Time
}

// kind says how an attribute is encoded.
type kind uint8

const (
	kOther kind = iota
	kU32
	kU64
	kBool
	kTime
	kBitmap
)

var kinds = [nfs4.AttrLast + 1]kind{
	nfs4.AttrSupported: kBitmap, nfs4.AttrSuppAttrExclCreat: kBitmap,
	nfs4.AttrType: kU32, nfs4.AttrFHExpireType: kU32, nfs4.AttrChange: kU64, nfs4.AttrSize: kU64,
	nfs4.AttrLinkSupport: kBool, nfs4.AttrSymlinkSupport: kBool, nfs4.AttrNamedAttr: kBool,
	nfs4.AttrUniqueHandles: kBool, nfs4.AttrLeaseTime: kU32, nfs4.AttrRDAttrError: kU32,
	nfs4.AttrACLSupport: kU32, nfs4.AttrArchive: kBool, nfs4.AttrCanSetTime: kBool,
	nfs4.AttrCaseInsensitive: kBool, nfs4.AttrCasePreserving: kBool, nfs4.AttrChownRestricted: kBool,
	nfs4.AttrFileID: kU64, nfs4.AttrFilesAvail: kU64, nfs4.AttrFilesFree: kU64, nfs4.AttrFilesTotal: kU64,
	nfs4.AttrHidden: kBool, nfs4.AttrHomogeneous: kBool, nfs4.AttrMaxFileSize: kU64, nfs4.AttrMaxLink: kU32,
	nfs4.AttrMaxName: kU32, nfs4.AttrMaxRead: kU64, nfs4.AttrMaxWrite: kU64, nfs4.AttrMode: kU32,
	nfs4.AttrNoTrunc: kBool, nfs4.AttrNumLinks: kU32,
	nfs4.AttrQuotaAvailHard: kU64, nfs4.AttrQuotaAvailSoft: kU64, nfs4.AttrQuotaUsed: kU64,
	nfs4.AttrSpaceAvail: kU64, nfs4.AttrSpaceFree: kU64, nfs4.AttrSpaceTotal: kU64, nfs4.AttrSpaceUsed: kU64,
	nfs4.AttrSystem: kBool, nfs4.AttrTimeAccess: kTime, nfs4.AttrTimeBackup: kTime, nfs4.AttrTimeCreate: kTime,
	nfs4.AttrTimeDelta: kTime, nfs4.AttrTimeMetadata: kTime, nfs4.AttrTimeModify: kTime,
	nfs4.AttrMountedOnFileID: kU64, nfs4.AttrDirNotifDelay: kTime, nfs4.AttrDirentNotifDelay: kTime,
	nfs4.AttrLayoutBlkSize: kU32, nfs4.AttrLayoutAlignment: kU32, nfs4.AttrRetentionHold: kU64,
	nfs4.AttrFSCharsetCap: kU32, nfs4.AttrCloneBlkSize: kU32, nfs4.AttrSpaceFreed: kU64,
	nfs4.AttrChangeAttrType: kU32, nfs4.AttrXattrSupport: kBool, nfs4.AttrOffline: kBool,
	nfs4.AttrTimeDelegAccess: kTime, nfs4.AttrTimeDelegModify: kTime,
}

// Has says whether the attribute is present.
func (a *Attrs) Has(n nfs4.Attr) bool { return a != nil && a.Mask.Has(n) }

// Num returns an attribute that is one number, such as size, or 1 for a true
// one; 0 if it is absent.
func (a *Attrs) Num(n nfs4.Attr) uint64 { return a.num[n] }

// Time returns an attribute that is a time.
func (a *Attrs) Time(n nfs4.Attr) nfs4.Time { return a.time[n] }

// Size returns the size attribute.
func (a *Attrs) Size() uint64 { return a.num[nfs4.AttrSize] }

// Change returns the change attribute.
func (a *Attrs) Change() uint64 { return a.num[nfs4.AttrChange] }

// Mode returns the mode attribute.
func (a *Attrs) Mode() uint32 { return uint32(a.num[nfs4.AttrMode]) }

// SetNum sets an attribute that is one number or bool.
func (a *Attrs) SetNum(n nfs4.Attr, v uint64) *Attrs {
	a.Mask.Set(n)
	a.num[n] = v
	return a
}

// SetTime sets an attribute that is a time.
func (a *Attrs) SetTime(n nfs4.Attr, t nfs4.Time) *Attrs {
	a.Mask.Set(n)
	a.time[n] = t
	return a
}

// SetMode sets the mode.
func (a *Attrs) SetMode(m uint32) *Attrs { return a.SetNum(nfs4.AttrMode, uint64(m)) }

// SetSize sets the size.
func (a *Attrs) SetSize(n uint64) *Attrs { return a.SetNum(nfs4.AttrSize, n) }

// SetOwner sets the owner.
func (a *Attrs) SetOwner(s string) *Attrs {
	a.Mask.Set(nfs4.AttrOwner)
	a.Owner = s
	return a
}

// SetGroup sets the owning group.
func (a *Attrs) SetGroup(s string) *Attrs {
	a.Mask.Set(nfs4.AttrOwnerGroup)
	a.Group = s
	return a
}

// SetACL sets the ACL.
func (a *Attrs) SetACL(acl []ACE) *Attrs {
	a.Mask.Set(nfs4.AttrACL)
	a.ACL = acl
	return a
}

// SetModeUmask sets mode_umask (RFC 8275).
func (a *Attrs) SetModeUmask(mode, umask uint32) *Attrs {
	a.Umask = umask
	return a.SetNum(nfs4.AttrModeUmask, uint64(mode))
}

// SetAccessTime sets time_access_set; nil is the server's time.
func (a *Attrs) SetAccessTime(t *nfs4.Time) *Attrs {
	a.Mask.Set(nfs4.AttrTimeAccessSet)
	a.SetAtime.Client = t
	return a
}

// SetModifyTime sets time_modify_set; nil is the server's time.
func (a *Attrs) SetModifyTime(t *nfs4.Time) *Attrs {
	a.Mask.Set(nfs4.AttrTimeModifySet)
	a.SetMtime.Client = t
	return a
}

// Encode appends a fattr4.
func (a *Attrs) Encode(w *xdr.Writer) {
	if a == nil {
		a = &Attrs{}
	}
	a.Mask.Encode(w)
	at := w.Reserve(4)
	if a.Raw != nil {
		w.Raw(a.Raw)
	} else {
		for n, ok := a.Mask.Next(0); ok; n, ok = a.Mask.Next(n + 1) {
			a.encodeOne(w, n)
		}
	}
	size := w.Len() - at - 4
	w.PutUint32(at, uint32(size))
	w.Pad(size)
}

func (a *Attrs) encodeOne(w *xdr.Writer, n nfs4.Attr) {
	if n > nfs4.AttrLast {
		return
	}
	switch kinds[n] {
	case kU32:
		w.Uint32(uint32(a.num[n]))
	case kU64:
		w.Uint64(a.num[n])
	case kBool:
		w.Uint32(uint32(a.num[n]))
	case kTime:
		a.time[n].Encode(w)
	case kBitmap:
		if n == nfs4.AttrSupported {
			a.Supported.Encode(w)
		} else {
			a.ExclCreat.Encode(w)
		}
	default:
		a.encodeOther(w, n)
	}
}

func (a *Attrs) encodeOther(w *xdr.Writer, n nfs4.Attr) {
	switch n {
	case nfs4.AttrFSID:
		w.Uint64(a.FSID.Major)
		w.Uint64(a.FSID.Minor)
	case nfs4.AttrFilehandle:
		w.Opaque(a.FH)
	case nfs4.AttrACL:
		encodeACL(w, a.ACL)
	case nfs4.AttrDACL:
		w.Uint32(a.ACLFlag[0])
		encodeACL(w, a.DACL)
	case nfs4.AttrSACL:
		w.Uint32(a.ACLFlag[1])
		encodeACL(w, a.SACL)
	case nfs4.AttrOwner:
		w.String(a.Owner)
	case nfs4.AttrOwnerGroup:
		w.String(a.Group)
	case nfs4.AttrMIMEType:
		w.String(a.Text)
	case nfs4.AttrRawDev:
		w.Uint32(a.RawDev[0])
		w.Uint32(a.RawDev[1])
	case nfs4.AttrTimeAccessSet:
		a.SetAtime.encode(w)
	case nfs4.AttrTimeModifySet:
		a.SetMtime.encode(w)
	case nfs4.AttrModeSetMasked:
		w.Uint32(uint32(a.num[n]))
		w.Uint32(a.Mask2)
	case nfs4.AttrModeUmask:
		w.Uint32(uint32(a.num[n]))
		w.Uint32(a.Umask)
	default:
		w.Raw(a.Opaque[n])
	}
}

func (s SetTime) encode(w *xdr.Writer) {
	if s.Client == nil {
		w.Uint32(nfs4.SetToServerTime)
		return
	}
	w.Uint32(nfs4.SetToClientTime)
	s.Client.Encode(w)
}

func encodeACL(w *xdr.Writer, acl []ACE) {
	w.Uint32(uint32(len(acl)))
	for _, e := range acl {
		w.Uint32(e.Type)
		w.Uint32(e.Flag)
		w.Uint32(e.Mask)
		w.String(e.Who)
	}
}

func decodeACL(r *xdr.Reader) []ACE {
	n := r.Count(1024, 16)
	acl := make([]ACE, 0, n)
	for range n {
		acl = append(acl, ACE{Type: r.Uint32(), Flag: r.Uint32(), Mask: r.Uint32(), Who: string(r.Opaque(1024))})
	}
	return acl
}

// decodeAttrs reads a fattr4. Values that run over or fall short of the
// attrlist4's length are an error.
func decodeAttrs(r *xdr.Reader) *Attrs {
	a := &Attrs{Mask: nfs4.DecodeBitmap(r)}
	vals := r.Opaque(1 << 20)
	if r.Err() != nil {
		return a
	}
	v := xdr.NewReader(vals)
	for n, ok := a.Mask.Next(0); ok; n, ok = a.Mask.Next(n + 1) {
		a.decodeOne(&v, n)
		if v.Err() != nil {
			r.Fail(fmt.Errorf("attribute %v: %w", n, v.Err()))
			return a
		}
	}
	if v.Remaining() != 0 {
		r.Fail(fmt.Errorf("attributes %v: %d bytes too many: %w", a.Mask, v.Remaining(), xdr.ErrValue))
	}
	return a
}

func (a *Attrs) decodeOne(v *xdr.Reader, n nfs4.Attr) {
	if n > nfs4.AttrLast {
		v.Fail(xdr.ErrValue)
		return
	}
	switch kinds[n] {
	case kU32:
		a.num[n] = uint64(v.Uint32())
		if n == nfs4.AttrType {
			a.Type = nfs4.FileType(a.num[n])
		}
		if n == nfs4.AttrRDAttrError {
			a.RDAttrError = nfs4.Status(a.num[n])
		}
	case kU64:
		a.num[n] = v.Uint64()
	case kBool:
		if v.Bool() {
			a.num[n] = 1
		}
	case kTime:
		a.time[n] = nfs4.DecodeTime(v)
	case kBitmap:
		b := nfs4.DecodeBitmap(v)
		if n == nfs4.AttrSupported {
			a.Supported = b
		} else {
			a.ExclCreat = b
		}
	default:
		a.decodeOther(v, n)
	}
}

func (a *Attrs) decodeOther(v *xdr.Reader, n nfs4.Attr) {
	switch n {
	case nfs4.AttrFSID:
		a.FSID = FSID{v.Uint64(), v.Uint64()}
	case nfs4.AttrFilehandle:
		a.FH = decodeFH(v)
	case nfs4.AttrACL:
		a.ACL = decodeACL(v)
	case nfs4.AttrDACL:
		a.ACLFlag[0] = v.Uint32()
		a.DACL = decodeACL(v)
	case nfs4.AttrSACL:
		a.ACLFlag[1] = v.Uint32()
		a.SACL = decodeACL(v)
	case nfs4.AttrOwner:
		a.Owner = string(v.Opaque(1024))
	case nfs4.AttrOwnerGroup:
		a.Group = string(v.Opaque(1024))
	case nfs4.AttrMIMEType:
		a.Text = string(v.Opaque(1024))
	case nfs4.AttrRawDev:
		a.RawDev = [2]uint32{v.Uint32(), v.Uint32()}
	case nfs4.AttrModeUmask:
		a.num[n], a.Umask = uint64(v.Uint32()), v.Uint32()
	case nfs4.AttrFSLocations:
		at := v.Offset()
		a.decodeLocations(v)
		a.keep(n, v.Bytes()[at:v.Offset()])
	case nfs4.AttrFSLayoutTypes, nfs4.AttrLayoutTypes:
		at := v.Offset()
		a.Layouts = nil
		for range v.Count(64, 4) {
			a.Layouts = append(a.Layouts, v.Uint32())
		}
		a.keep(n, v.Bytes()[at:v.Offset()])
	case nfs4.AttrSecLabel:
		lfs, pi := v.Uint32(), v.Uint32()
		a.keep(n, fmt.Appendf(nil, "%d/%d:%s", lfs, pi, v.Opaque(1<<16)))
	case nfs4.AttrFSStatus:
		at := v.Offset()
		v.Bool()
		v.Uint32()
		v.Opaque(1024)
		v.Opaque(1024)
		v.Int32()
		nfs4.DecodeTime(v)
		a.keep(n, v.Bytes()[at:v.Offset()])
	case nfs4.AttrChangePolicy:
		a.keep(n, v.Fixed(16))
	case nfs4.AttrOpenArguments:
		at := v.Offset()
		for range 5 {
			nfs4.DecodeBitmap(v)
		}
		a.keep(n, v.Bytes()[at:v.Offset()])
	default:
		v.Fail(fmt.Errorf("the client cannot decode it: %w", xdr.ErrValue))
	}
}

func (a *Attrs) keep(n nfs4.Attr, b []byte) {
	if a.Opaque == nil {
		a.Opaque = make(map[nfs4.Attr]Data)
	}
	a.Opaque[n] = clone(b)
}

// decodeLocations keeps fs_locations as strings "server:/path".
func (a *Attrs) decodeLocations(v *xdr.Reader) {
	path := func() string {
		var parts []string
		for range v.Count(256, 4) {
			parts = append(parts, string(v.Opaque(1024)))
		}
		return "/" + strings.Join(parts, "/")
	}
	a.Locations = []string{path()}
	for range v.Count(64, 8) {
		var servers []string
		for range v.Count(64, 4) {
			servers = append(servers, string(v.Opaque(1024)))
		}
		a.Locations = append(a.Locations, strings.Join(servers, ",")+":"+path())
	}
}

// String lists the attributes present.
func (a *Attrs) String() string {
	if a == nil {
		return "{}"
	}
	var out []string
	for n, ok := a.Mask.Next(0); ok && n <= nfs4.AttrLast; n, ok = a.Mask.Next(n + 1) {
		out = append(out, n.String()+"="+a.valueString(n))
	}
	return "{" + strings.Join(out, " ") + "}"
}

func (a *Attrs) valueString(n nfs4.Attr) string {
	switch {
	case n == nfs4.AttrType:
		return a.Type.String()
	case n == nfs4.AttrMode:
		return fmt.Sprintf("%#o", a.num[n])
	case n == nfs4.AttrRDAttrError:
		return a.RDAttrError.String()
	case n == nfs4.AttrSupported:
		return a.Supported.String()
	case n == nfs4.AttrSuppAttrExclCreat:
		return a.ExclCreat.String()
	case kinds[n] == kTime:
		return fmt.Sprintf("%d.%09d", a.time[n].Sec, a.time[n].Nsec)
	case kinds[n] != kOther:
		return fmt.Sprint(a.num[n])
	}
	switch n {
	case nfs4.AttrFSID:
		return fmt.Sprintf("%d/%d", a.FSID.Major, a.FSID.Minor)
	case nfs4.AttrFilehandle:
		return a.FH.String()
	case nfs4.AttrACL:
		return fmt.Sprintf("%+v", a.ACL)
	case nfs4.AttrOwner:
		return a.Owner
	case nfs4.AttrOwnerGroup:
		return a.Group
	case nfs4.AttrRawDev:
		return fmt.Sprintf("%d:%d", a.RawDev[0], a.RawDev[1])
	case nfs4.AttrFSLocations:
		return fmt.Sprint(a.Locations)
	case nfs4.AttrLayoutTypes, nfs4.AttrFSLayoutTypes:
		return fmt.Sprint(a.Layouts)
	}
	return a.Opaque[n].String()
}
