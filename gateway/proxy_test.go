package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// proxyHeader is what a balancer sends first.
func proxyHeader(command, family byte, body []byte) []byte {
	b := append([]byte(proxySignature), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}

func TestProxiedClientIsSeenAtItsOwnAddress(t *testing.T) {
	six := append(netip.MustParseAddr("2001:db8::7").AsSlice(), make([]byte, 20)...)
	for _, c := range []struct {
		name string
		head []byte
		want string
	}{
		{"IPv4", proxyHeader(proxyProxy, proxyTCP4, []byte{192, 0, 2, 7, 10, 0, 0, 1, 0x03, 0xe8, 8, 1}), "192.0.2.7"},
		{"IPv6", proxyHeader(proxyProxy, proxyTCP6, six), "2001:db8::7"},
		{"with TLVs", proxyHeader(proxyProxy, proxyTCP4, append([]byte{192, 0, 2, 8, 10, 0, 0, 1, 0, 1, 8, 1}, 4, 0, 3, 1, 2, 3)), "192.0.2.8"},
		{"the balancer itself", proxyHeader(proxyLocal, 0, nil), "127.0.0.1"},
		{"a client without an IP address", proxyHeader(proxyProxy, 0x31, make([]byte, 216)), "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newTestHandler()
			d := dial(t, start(t, Config{Handler: h, Proxies: loopback}))
			d.send(c.head)
			d.echo(1)
			if got := h.last.Load().Remote; got != netip.MustParseAddr(c.want) {
				t.Errorf("the client is %v, want %s", got, c.want)
			}
		})
	}
}

// A header that may be missing could be forged by whoever connects: from a
// balancer it must come, and from others it is not believed.
func TestProxyHeaderIsDemandedFromBalancersOnly(t *testing.T) {
	s := start(t, Config{Handler: newTestHandler(), Proxies: loopback})
	for name, first := range map[string][]byte{
		"a call":             record(header(1), doEcho),
		"version 1":          []byte("PROXY TCP4 192.0.2.7 10.0.0.1 1000 2049\r\n"),
		"another command":    proxyHeader(0x22, proxyTCP4, make([]byte, 12)),
		"addresses cut":      proxyHeader(proxyProxy, proxyTCP4, make([]byte, 11)),
		"too many addresses": proxyHeader(proxyProxy, proxyTCP4, make([]byte, proxyMax+1)),
	} {
		d := dial(t, s)
		d.send(first)
		if err := d.closed(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the connection ends with %v, want a reset", name, err)
		}
	}

	h := newTestHandler()
	d := dial(t, start(t, Config{Handler: h, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}))
	d.send(proxyHeader(proxyProxy, proxyTCP4, []byte{192, 0, 2, 7, 10, 0, 0, 1, 0, 1, 8, 1}))
	d.closed()
	if h.last.Load() != nil {
		t.Error("a header from anybody was taken")
	}
}

func TestDisconnectResetsAndServesOn(t *testing.T) {
	s := start(t, Config{Handler: newTestHandler()})
	c := dial(t, s)
	c.echo(1)
	s.Disconnect(errors.New("asked for"))
	if err := c.closed(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v, want a reset", err)
	}
	dial(t, s).echo(2)
}

func FuzzProxyHeader(f *testing.F) {
	f.Add(proxyHeader(proxyProxy, proxyTCP4, make([]byte, 12)))
	f.Add(proxyHeader(proxyLocal, 0, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		addr, err := readProxy(r)
		if err == nil && addr.IsValid() && len(b) < proxyHead+12 {
			t.Errorf("an address out of %d bytes", len(b))
		}
	})
}
