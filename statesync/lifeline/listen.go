package lifeline

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxPeers bounds the connections that are held; those beyond it are reset.
const maxPeers = 1024

// A Listener holds the lifelines of this process. It lives as long as the process
// does: a living gateway that let go of them by a FIN would prove its own death.
// Its methods may be called from any number of goroutines.
type Listener struct {
	l     *net.TCPListener
	hello greeting

	mu     sync.Mutex
	held   map[*net.TCPConn]bool // keeps them from the collector, which would close them
	closed bool
	done   sync.WaitGroup
}

// Listen listens on a TCP address, ADDRESS:PORT. Who connects waits until Serve.
func Listen(addr string) (*Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // its end of a stream is another one
	lc.KeepAliveConfig = keepAlive
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("lifeline: %w", err)
	}
	return &Listener{l: l.(*net.TCPListener), held: make(map[*net.TCPConn]bool)}, nil
}

// Addr is where the Listener listens; the address may be unspecified.
func (l *Listener) Addr() netip.AddrPort { return end(l.l.Addr()) }

// Serve greets all who connect, and who did so before, in the name of an instance
// of a gateway. It returns at once, and is called once.
func (l *Listener) Serve(name string, instance uint64) {
	l.hello = greeting{name: name, instance: instance}
	l.done.Add(1)
	go func() {
		defer l.done.Done()
		for pause := time.Millisecond; ; {
			c, err := l.l.AcceptTCP()
			if err == nil {
				l.hold(c)
				pause = time.Millisecond
				continue
			}
			if l.isClosed() {
				return
			}
			time.Sleep(pause) // out of descriptors, for example
			pause = min(2*pause, time.Second)
		}
	}()
}

func (l *Listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// hold greets a peer and keeps its connection until the peer is gone.
func (l *Listener) hold(c *net.TCPConn) {
	l.mu.Lock()
	if l.closed || len(l.held) >= maxPeers {
		l.mu.Unlock()
		reset(c)
		return
	}
	l.held[c] = true
	l.done.Add(1)
	l.mu.Unlock()
	go func() {
		defer l.done.Done()
		l.greet(c)
		// Nothing is expected. Whoever says something is no peer, and a peer that
		// is gone needs no connection.
		var b [1]byte
		_, _ = c.Read(b[:])
		l.mu.Lock()
		delete(l.held, c)
		l.mu.Unlock()
		reset(c)
	}()
}

// greet sends the greeting. If that fails the next Read fails, too.
func (l *Listener) greet(c *net.TCPConn) {
	hello := l.hello
	hello.here, hello.peer = end(c.LocalAddr()), end(c.RemoteAddr())
	_ = c.SetWriteDeadline(time.Now().Add(greetTime))
	if _, err := c.Write(hello.encode()); err != nil {
		_ = c.SetReadDeadline(time.Now())
	}
}

// reset ends a connection in a way that proves nothing.
func reset(c *net.TCPConn) {
	if c.SetLinger(0) == nil {
		_ = c.Close()
	}
}

// Close resets all connections: to the peers it proves nothing.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.closed = true
	for c := range l.held {
		_ = c.SetReadDeadline(time.Now())
	}
	l.mu.Unlock()
	err := l.l.Close()
	l.done.Wait()
	return err
}
