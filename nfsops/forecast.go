package nfsops

import (
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// Bounds of what a forecast calls quick, in bytes: what the page cache moves in
// a few microseconds.
const (
	quickRead  = 64 << 10
	quickWrite = 64 << 10
)

// Forecast looks at the first operations of a COMPOUND and tells whether they
// will probably neither wait nor take long, and how many bytes the results may
// take. It is wrong at times: a file may have to come from the disk.
func (s *Server) Forecast(body []byte) (quick bool, reply int) {
	r := xdr.NewReader(body)
	r.Opaque(len(body))
	r.Uint32() // minor version
	n := r.Uint32()
	if r.Err() != nil || n > 16 {
		return false, 0
	}
	const small = 256
	reply = small
	for range n {
		switch nfs4.Op(r.Uint32()) {
		case nfs4.OpSequence:
			r.Fixed(nfs4.SessionSize + 4*4)
		case nfs4.OpPutFH:
			r.Opaque(nfs4.FHSize)
		case nfs4.OpPutRootFH, nfs4.OpPutPubFH, nfs4.OpGetFH, nfs4.OpSaveFH, nfs4.OpRestoreFH, nfs4.OpLookupP:
			reply += nfs4.FHSize
		case nfs4.OpLookup:
			r.Opaque(quickName)
		case nfs4.OpAccess:
			r.Uint32()
		case nfs4.OpGetAttr:
			nfs4.DecodeBitmap(&r)
			reply += small
		case nfs4.OpRead:
			r.Fixed(16 + 8)
			count := int(r.Uint32())
			reply += min(count, s.cfg.MaxIO)
			if count > quickRead {
				return false, reply
			}
		case nfs4.OpWrite:
			r.Fixed(16 + 8)
			if stable := r.Uint32(); stable != nfs4.Unstable {
				return false, reply
			}
			if len(r.Opaque(quickWrite)) == 0 {
				return false, reply
			}
		case nfs4.OpReadDir:
			return false, 32 << 10
		default:
			return false, reply
		}
		if r.Err() != nil {
			return false, reply
		}
	}
	return true, reply
}

// quickName is the longest name of a LOOKUP that may be found, in bytes.
const quickName = 255
