// Package lifeline proves that the process of another gateway has ended, at once
// and without a clock.
//
// A gateway listens on a TCP address, and every other one holds a connection to
// it over which, after a greeting, nothing is ever sent:
//
//	gateway                                          peer
//	   │ ◀──────────────── connects ─────────────────  │ Watch
//	   │  greeting: its name and instance,             │
//	   │  both addresses as it sees them  ───────────▶ │ compares them with its own view
//	   │                    silence                    │
//	   ╳ killed: its last thread leaves the kernel     │
//	     ──────────────────── FIN ───────────────────▶ │ Watch returns nil
//
// # Why a FIN is proof
//
// A gateway that is alive never sends one. What it closes itself it resets
// (SO_LINGER with time 0). So a FIN is sent by the kernel that cleans up after
// the process, and the kernel closes the files of a process only when the last
// thread that shares them has gone through its exit: not before that thread has
// left the system call in which it was, however long that takes and even if it
// cannot be killed in it. Then nothing can be done in the name of that instance
// any more, neither to files nor to sockets. The same holds when the program
// replaces itself: exec(2) first ends all other threads, then closes what is
// marked close-on-exec, which this connection is. That mark also keeps it out
// of the programs that a gateway starts.
//
// # What is no proof
//
// A reset, a time-out, a refusal, an unreachable host: a firewall, a lost cable
// and a paused machine look alike. The kernel, too, resets the connections of a
// dead process if there is something that the process had not read; that is why
// a peer never sends a byte. Linux reports a reset once, and the end of the
// stream afterwards, so Watch also asks whether the connection is in the state
// that only a FIN leads to (CLOSE_WAIT).
//
// Nor does anything count that a middleman says for the gateway: a proxy or NAT
// shows itself by changing one of the four ends of the connection, and the
// greeting tells how they look from the other side. What copies all four of them
// and still answers on its own is out of reach for this check; it must not stand
// between gateways.
//
// # What stays open
//
// The proof is about the process. A file system whose client goes on with the
// request of a process that was killed (some network file systems do) can still
// carry it out later; there a fencing hook has to cut the machine off. A machine
// that loses power sends no FIN: its lease has to run out.
package lifeline

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"holdfast/internal/xdr"
)

// The greeting:
//
//	u32 length of what follows · u32 format · opaque name · u64 instance
//	· opaque the gateway's end, opaque the peer's end    ADDRESS:PORT as text
const (
	format      = 1
	maxGreeting = 512
	maxName     = 64
	maxAddress  = 64
)

// greetTime bounds how long a connection may take to be of use.
const greetTime = 2 * time.Second

// keepAlive finds connections of which the other side is gone without a word.
// Its probes carry no data.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 4}

var (
	// ErrNoProof says that a lifeline ended, or never was, in a way that proves
	// nothing.
	ErrNoProof = errors.New("lifeline: nothing is proven")

	// ErrBetween says that something between the gateways ends the connection
	// in the other's place, such as a proxy or NAT.
	ErrBetween = errors.New("lifeline: something stands between the gateways")

	// ErrOther says that another gateway, or another instance, answers.
	ErrOther = errors.New("lifeline: another instance answers")
)

// A greeting is what a gateway says of itself and the connection.
type greeting struct {
	name       string
	instance   uint64
	here, peer netip.AddrPort // the ends, as the gateway sees them
}

func (g *greeting) encode() []byte {
	w := xdr.NewWriter(nil)
	at := w.Reserve(4)
	w.Uint32(format)
	w.String(g.name)
	w.Uint64(g.instance)
	w.String(g.here.String())
	w.String(g.peer.String())
	w.PutUint32(at, uint32(w.Len()-4))
	return w.Bytes()
}

// decodeGreeting takes the greeting without its length.
func decodeGreeting(b []byte) (g greeting, err error) {
	r := xdr.NewReader(b)
	if f := r.Uint32(); r.Err() == nil && f != format {
		return g, fmt.Errorf("%w: the greeting has format %d", ErrNoProof, f)
	}
	g.name = string(r.Opaque(maxName))
	g.instance = r.Uint64()
	here, peer := string(r.Opaque(maxAddress)), string(r.Opaque(maxAddress))
	if r.Err() != nil || r.Remaining() > 0 {
		return g, fmt.Errorf("%w: the greeting cannot be read", ErrNoProof)
	}
	var err1, err2 error
	g.here, err1 = netip.ParseAddrPort(here)
	g.peer, err2 = netip.ParseAddrPort(peer)
	if err1 != nil || err2 != nil {
		return g, fmt.Errorf("%w: the greeting names no addresses", ErrNoProof)
	}
	return g, nil
}

// end is an address in the form in which two sides can compare it.
func end(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}
