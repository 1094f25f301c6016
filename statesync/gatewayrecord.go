package statesync

import (
	"fmt"

	"holdfast/durable"
	"holdfast/internal/xdr"
)

// A gateway's records (membership.go says what they are for):
//
//	gateway/<name>   u32 format · u64 instance · u32 state (1 serves, 2 dead, 3 to be fenced)
//	lease/<name>     u32 format · u64 instance · u64 version of "ended" carried out
//	                 · opaque address · opaque lifeline
const (
	prefixLease  = "lease/"
	gatewayAlive = 1
	gatewayDead  = 2
	gatewayOut   = 3
	leaseFormat  = 2

	maxAddress = 256
)

func gatewayKey(name string) string { return prefixGateway + name }
func leaseKey(name string) string   { return prefixLease + name }

func encodeGateway(instance uint64, state uint32) []byte {
	w := xdr.NewWriter(nil)
	w.Uint32(gatewayFormat)
	w.Uint64(instance)
	w.Uint32(state)
	return w.Bytes()
}

func decodeGateway(name string, b []byte) (instance uint64, state uint32, err error) {
	r := xdr.NewReader(b)
	if format := r.Uint32(); r.Err() == nil && format != gatewayFormat {
		return 0, 0, fmt.Errorf("%w: record of gateway %q has format %d", durable.ErrFormat, name, format)
	}
	instance, state = r.Uint64(), r.Uint32()
	if r.Err() != nil || r.Remaining() > 0 {
		return 0, 0, fmt.Errorf("%w: record of gateway %q", durable.ErrDamaged, name)
	}
	return instance, state, nil
}

// A leaseRecord is what a gateway says of itself again and again.
type leaseRecord struct {
	instance uint64
	acked    uint64 // version of "ended" that it carried out
	address  string // its machine's, for people and fencing hooks
	lifeline string // where it holds lifelines; empty: nowhere
}

func (l *leaseRecord) encode() []byte {
	w := xdr.NewWriter(nil)
	w.Uint32(leaseFormat)
	w.Uint64(l.instance)
	w.Uint64(l.acked)
	w.String(l.address)
	w.String(l.lifeline)
	return w.Bytes()
}

func decodeLease(name string, b []byte) (l leaseRecord, err error) {
	r := xdr.NewReader(b)
	if format := r.Uint32(); r.Err() == nil && format != leaseFormat {
		return l, fmt.Errorf("%w: lease of gateway %q has format %d", durable.ErrFormat, name, format)
	}
	l.instance, l.acked = r.Uint64(), r.Uint64()
	l.address = string(r.Opaque(maxAddress))
	l.lifeline = string(r.Opaque(maxAddress))
	if r.Err() != nil || r.Remaining() > 0 {
		return l, fmt.Errorf("%w: lease of gateway %q", durable.ErrDamaged, name)
	}
	return l, nil
}
