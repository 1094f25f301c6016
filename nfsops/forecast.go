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
	minor := r.Uint32()
	n := r.Uint32()
	if r.Err() != nil || n > 16 {
		return false, 0
	}
	const small = 256
	reply = small
	// Who changes state waits for storage only after it ran. In NFSv4.0 it waits
	// for the turn of its owner.
	prompt := minor > 0 && s.node.Prompt()
	for range n {
		switch op := nfs4.Op(r.Uint32()); op {
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
		case nfs4.OpOpen, nfs4.OpClose, nfs4.OpLock, nfs4.OpLockU:
			if !prompt || !quickState(&r, op) {
				return false, reply
			}
			reply += small
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

// quickState reads the arguments of an operation that changes state. It returns
// false if files may change, too.
func quickState(r *xdr.Reader, op nfs4.Op) bool {
	const stateid = 16
	switch op {
	case nfs4.OpClose:
		r.Fixed(4 + stateid)
	case nfs4.OpLockU:
		r.Fixed(4 + 4 + stateid + 8 + 8)
	case nfs4.OpLock:
		r.Fixed(4 + 4 + 8 + 8) // type, reclaim, offset, length
		if r.Uint32() == 0 {
			r.Fixed(stateid + 4)
			return true
		}
		r.Fixed(4 + stateid + 4 + 8) // open_to_lock_owner4
		r.Opaque(nfs4.OpaqueLimit)
	case nfs4.OpOpen:
		r.Fixed(4 + 4 + 4 + 8) // seqid, access, deny, client
		r.Opaque(nfs4.OpaqueLimit)
		if r.Uint32() != nfs4.OpenNoCreate {
			return false
		}
		switch r.Uint32() {
		case nfs4.ClaimNull:
			r.Opaque(quickName)
		case nfs4.ClaimFH:
		default:
			return false
		}
	}
	return true
}

// quickName is the longest name of a LOOKUP that may be found, in bytes.
const quickName = 255
