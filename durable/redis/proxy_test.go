package redis_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A proxy stands between a store and its server, and can cut, keep and hold
// what passes.
type proxy struct {
	t      testing.TB
	l      net.Listener
	target string

	mu    sync.Mutex
	conns map[*pair]bool
	// onRequest and onReply, if set, are given each piece that passes; if they
	// return false it is not passed on.
	onRequest, onReply atomic.Pointer[func(*pair, []byte) bool]
	accepted           atomic.Int64
	refusing           atomic.Bool
}

// A pair is one connection through the proxy.
type pair struct{ client, server net.Conn }

func (c *pair) cut() { c.client.Close(); c.server.Close() }

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, l: l, target: target, conns: make(map[*pair]bool)}
	t.Cleanup(func() { l.Close(); p.cutAll() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil || p.refusing.Load() {
				client.Close()
				continue
			}
			p.accepted.Add(1)
			c := &pair{client: client, server: server}
			p.mu.Lock()
			p.conns[c] = true
			p.mu.Unlock()
			go p.pass(c, client, server, &p.onRequest)
			go p.pass(c, server, client, &p.onReply)
		}
	}()
	return p
}

func (p *proxy) url() string { return "redis://" + p.l.Addr().String() }

func (p *proxy) pass(c *pair, from, to net.Conn, look *atomic.Pointer[func(*pair, []byte) bool]) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if f := look.Load(); f == nil || (*f)(c, buf[:n]) {
				if _, err := to.Write(buf[:n]); err != nil {
					break
				}
			}
		}
		if err != nil {
			break
		}
	}
	c.cut()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.cut()
	}
}
