package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

type listenAddress struct{ network, address string }

// listenPlan decides between one dual-stack socket and one per family: the
// wildcards of both families on one port need a socket each.
func listenPlan(addresses []string) []listenAddress {
	wild4 := map[string]bool{}
	for _, a := range addresses {
		if host, port, err := net.SplitHostPort(a); err == nil && host == "0.0.0.0" {
			wild4[port] = true
		}
	}
	plan := make([]listenAddress, 0, len(addresses))
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		ip, _ := netip.ParseAddr(host)
		switch {
		case err == nil && host == "0.0.0.0":
			plan = append(plan, listenAddress{"tcp4", a})
		case err == nil && wild4[port] && ip.Is6() && ip.IsUnspecified() && port != "0":
			plan = append(plan, listenAddress{"tcp6", a})
		default:
			plan = append(plan, listenAddress{"tcp", a})
		}
	}
	return plan
}

func listen(ctx context.Context, l listenAddress) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // see admit
	return lc.Listen(ctx, l.network, l.address)
}

// keepAlive notices after about a minute and a half that a client's machine
// has vanished; its state is its lease's business.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 6}

// addressKey counts connections of one client address. In IPv6 that is a /64:
// any host can use as many addresses as it likes there.
type addressKey struct{ netip.Prefix }

func keyOf(a netip.Addr) addressKey {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return addressKey{p}
}

// accept takes connections until the listener is closed.
func (s *Server) accept(l net.Listener) {
	var backoff time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			backoff = 0
			if tcp, ok := nc.(*net.TCPConn); ok {
				era := s.thisEra()
				if from := remoteOf(tcp); s.proxied(from) {
					go s.greet(tcp, from, era)
				} else {
					s.admit(tcp, from, era)
				}
			} else {
				s.log.Error("not a TCP connection", "address", l.Addr())
				nc.Close()
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) || s.draining.Load() {
			return
		}
		backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
		s.log.Warn("accept failed", "address", l.Addr(), "error", err, "retry", backoff)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			s.evictStranger()
		}
		select {
		case <-time.After(backoff):
		case <-s.stop:
			return
		}
	}
}

func remoteOf(nc *net.TCPConn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// admit starts to serve a client's connection, accepted in an era, if the limits allow
// it.
func (s *Server) admit(nc *net.TCPConn, remote netip.Addr, era uint64) {
	c := newConn(s, nc, remote)
	c.era = era
	if !c.Current() || s.outlived(nc) {
		s.log.Debug("connection from before a standstill refused", "remote", c.remote)
		reset(nc)
		return
	}
	key := keyOf(c.remote)
	s.mu.Lock()
	full := len(s.conns) >= s.limits.Connections
	s.mu.Unlock()
	if full {
		full = !s.evictStranger()
	}
	s.mu.Lock()
	if s.draining.Load() || full || (s.limits.PerAddress > 0 && s.byAddress[key] >= s.limits.PerAddress) {
		s.mu.Unlock()
		s.stats.refused.Add(1)
		s.log.Debug("connection refused", "remote", c.remote)
		reset(nc)
		return
	}
	s.conns[c] = struct{}{}
	s.byAddress[key]++
	s.mu.Unlock()
	s.stats.accepted.Add(1)
	if err := nc.SetKeepAliveConfig(keepAlive); err != nil {
		s.log.Debug("no keep-alive", "remote", c.remote, "error", err)
	}
	go c.serve()
}

// forget is called once for each connection that was admitted.
func (s *Server) forget(c *conn) {
	key := keyOf(c.remote)
	s.mu.Lock()
	delete(s.conns, c)
	if s.byAddress[key]--; s.byAddress[key] == 0 {
		delete(s.byAddress, key)
	}
	close(s.gone)
	s.gone = make(chan struct{})
	s.mu.Unlock()
}

// evictStranger closes the oldest connection that has not sent a call, to make
// room for another. It says whether there was one.
func (s *Server) evictStranger() bool {
	var oldest *conn
	s.mu.Lock()
	for c := range s.conns {
		if c.state.Load() == stranger && (oldest == nil || c.since.Before(oldest.since)) {
			oldest = c
		}
	}
	s.mu.Unlock()
	if oldest == nil {
		return false
	}
	oldest.kill(errFull)
	return true
}

// reset closes a connection with RST, not FIN, so that the peer knows at once
// that it is of no use any more.
func reset(nc *net.TCPConn) {
	nc.SetLinger(0)
	nc.Close()
}
