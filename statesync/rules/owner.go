package rules

import (
	"bytes"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// OwnerKind tells NFSv4.0's open owners from its lock owners.
type OwnerKind byte

// The kinds, as they stand in keys.
const (
	OpenOwner OwnerKind = 'o'
	LockOwner OwnerKind = 'l'
)

// An Owner is the record of an NFSv4.0 open or lock owner (RFC 7530 §9.1.7): in
// group owner/<client><kind><owner>, part "":
//
//	u32 format · u32 sequence · u32 confirmed · u32 operation
//	opaque reply · opaque filehandle
//
// Beside it stands, for each file on which the owner has a stateid, a part
// "f<file>" with the stateid's other. The operation is that of the last
// request that changed something, the reply its result after the opnum.
type Owner struct {
	Sequence  uint32
	Confirmed bool
	Op        nfs4.Op
	Reply     []byte
	FH        []byte // the current filehandle that OPEN left
}

const ownerFormat = 1

// Encode returns the record.
func (o *Owner) Encode() []byte {
	w := xdr.NewWriter(make([]byte, 0, 64+len(o.Reply)+len(o.FH)))
	w.Uint32(ownerFormat)
	w.Uint32(o.Sequence)
	w.Bool(o.Confirmed)
	w.Uint32(uint32(o.Op))
	w.Opaque(o.Reply)
	w.Opaque(o.FH)
	return w.Bytes()
}

// DecodeOwner reads a record that Encode wrote. The error is ErrServerFault.
func DecodeOwner(b []byte) (*Owner, error) {
	r := xdr.NewReader(b)
	if err := checkFormat(&r, "owner", ownerFormat); err != nil {
		return nil, err
	}
	o := &Owner{Sequence: r.Uint32(), Confirmed: r.Bool(), Op: nfs4.Op(r.Uint32())}
	o.Reply = bytes.Clone(r.Opaque(maxReply))
	o.FH = handle(&r)
	if err := checkEnd(&r, "owner"); err != nil {
		return nil, err
	}
	return o, nil
}
