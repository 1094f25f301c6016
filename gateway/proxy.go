package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// The PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt): what a
// balancer says of a connection before it passes on the client's bytes.
//
//	12 bytes signature · version and command · family · u16 length · addresses, TLVs
//
// It is read here and not by a wrapper around the connection, because the
// gateway works on the TCP socket itself (resets, bytes not acknowledged).
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyHead      = len(proxySignature) + 4
	proxyMax       = 4096 // of addresses and TLVs; balancers send some hundred bytes at most
	proxyLocal     = 0x20
	proxyProxy     = 0x21
	proxyTCP4      = 0x11
	proxyTCP6      = 0x21
)

// maxGreeting bounds the proxied connections whose header has not come yet.
const maxGreeting = 4096

// proxied says whether a connection from addr must begin with a header of the
// PROXY protocol.
func (s *Server) proxied(addr netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// greet reads the header of a proxied connection and then admits it under the
// address that the header tells. It was accepted in an era.
func (s *Server) greet(nc *net.TCPConn, from netip.Addr, era uint64) {
	defer s.greeting.Add(-1)
	if s.greeting.Add(1) > maxGreeting {
		reset(nc)
		return
	}
	nc.SetReadDeadline(time.Now().Add(s.limits.FirstCall))
	// Only a gateway that closes by force does not wait for it.
	stop := context.AfterFunc(s.ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })
	remote, err := readProxy(nc)
	if !stop() || err != nil {
		s.stats.refused.Add(1)
		s.log.Warn("connection from a balancer refused: no header of the PROXY protocol", "remote", from, "error", err)
		reset(nc)
		return
	}
	nc.SetReadDeadline(time.Time{})
	if !remote.IsValid() {
		remote = from
	}
	s.admit(nc, remote, era)
}

var errNotProxy = errors.New("not the PROXY protocol, version 2")

// readProxy reads a header and not a byte more. The address is invalid if the
// balancer speaks for itself, or of a client that has no IP address.
func readProxy(r io.Reader) (netip.Addr, error) {
	var head [proxyHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return netip.Addr{}, err
	}
	if string(head[:len(proxySignature)]) != proxySignature {
		return netip.Addr{}, errNotProxy
	}
	command, family := head[len(proxySignature)], head[len(proxySignature)+1]
	length := int(binary.BigEndian.Uint16(head[len(proxySignature)+2:]))
	if length > proxyMax {
		return netip.Addr{}, fmt.Errorf("%w: %d bytes of addresses", errNotProxy, length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.Addr{}, err
	}
	switch command {
	case proxyLocal:
		return netip.Addr{}, nil
	case proxyProxy:
	default:
		return netip.Addr{}, fmt.Errorf("%w: version and command %#x", errNotProxy, command)
	}
	switch {
	case family == proxyTCP4 && length >= 12:
		return netip.AddrFrom4([4]byte(body)), nil
	case family == proxyTCP6 && length >= 36:
		return netip.AddrFrom16([16]byte(body)).Unmap(), nil
	case family == proxyTCP4, family == proxyTCP6:
		return netip.Addr{}, fmt.Errorf("%w: addresses cut short", errNotProxy)
	}
	return netip.Addr{}, nil
}
