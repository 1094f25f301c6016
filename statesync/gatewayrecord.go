package statesync

import (
	"fmt"
	"time"

	"holdfast/durable"
	"holdfast/internal/xdr"
)

// A gateway's records (membership.go says what they are for):
//
//	gateway/<name>   u32 format · u64 instance · u32 state (1 serves, 2 dead, 3 to be fenced)
//	lease/<name>     u32 format · u64 instance · u64 version of "ended" carried out
//	                 · opaque address · opaque lifeline · u64 lease, u64 store-outage in ns
//	                 · u32 n · n × (opaque name · u64 instance)   the other gateways that it knows
const (
	prefixLease  = "lease/"
	gatewayAlive = 1
	gatewayDead  = 2
	gatewayOut   = 3
	leaseFormat  = 2

	maxAddress = 256
	maxName    = 64
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

	// How long it may serve without a renewal, by its own and by others' word, and
	// whose word it needs (vouch.go).
	lease, outage time.Duration
	view          []member
}

func (l *leaseRecord) encode() []byte {
	w := xdr.NewWriter(nil)
	w.Uint32(leaseFormat)
	w.Uint64(l.instance)
	w.Uint64(l.acked)
	w.String(l.address)
	w.String(l.lifeline)
	w.Uint64(uint64(l.lease))
	w.Uint64(uint64(l.outage))
	w.Uint32(uint32(len(l.view)))
	for _, x := range l.view {
		w.String(x.name)
		w.Uint64(x.instance)
	}
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
	l.lease, l.outage = time.Duration(r.Uint64()), time.Duration(r.Uint64())
	for range r.Count(maxMembers, 12) {
		l.view = append(l.view, member{string(r.Opaque(maxName)), r.Uint64()})
	}
	if r.Err() != nil || r.Remaining() > 0 || !plausible(l.lease) || !plausible(l.outage) {
		return l, fmt.Errorf("%w: lease of gateway %q", durable.ErrDamaged, name)
	}
	return l, nil
}

// plausible says that a time in a record can be multiplied.
func plausible(d time.Duration) bool { return d >= 0 && d <= 24*time.Hour }
