package lifeline

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen starts a Listener in this process.
func listen(t *testing.T) *Listener {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	l.Serve("gw", 7)
	return l
}

// watch holds a lifeline in the background. at is called as soon as it has ended.
func watch(t *testing.T, addr string, at func()) <-chan error {
	t.Helper()
	held, ended := make(chan bool), make(chan error, 1)
	go func() {
		err := Watch(t.Context(), addr, "gw", 7, func() { close(held) })
		if at != nil {
			at()
		}
		ended <- err
	}()
	select {
	case <-held:
	case <-time.After(30 * time.Second):
		t.Fatal("the lifeline is never held")
	}
	return ended
}

func (l *Listener) holds(n int) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.held) == n
	}
}

// TestReset: what a living gateway lets go of proves nothing.
func TestReset(t *testing.T) {
	l := listen(t)
	ended := watch(t, l.Addr().String(), nil)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ends(t, ended); !errors.Is(err, ErrNoProof) {
		t.Errorf("reset: %v", err)
	}
	if err := Watch(t.Context(), l.Addr().String(), "gw", 7, func() {}); !errors.Is(err, ErrNoProof) {
		t.Errorf("refused: %v", err)
	}
}

// stream is a listener of which each connection is the test's.
func stream(t *testing.T, serve func(c *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// TestResetThatWasReported: the end of the stream that follows a reset is none.
func TestResetThatWasReported(t *testing.T) {
	connected := make(chan bool)
	addr := stream(t, func(c *net.TCPConn) { <-connected; reset(c) })
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	close(connected)
	c := nc.(*net.TCPConn)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	until(t, "somebody else is told of the reset", func() bool {
		var code int
		_ = raw.Control(func(fd uintptr) { code, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR) })
		return unix.Errno(code) == unix.ECONNRESET
	})
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read after a reset that was reported: %v", err)
	}
	if err := finished(c); !errors.Is(err, ErrNoProof) {
		t.Errorf("an end of the stream without a FIN: %v", err)
	}
}

// TestUnfinishedGreeting: an end before the greeting was heard proves nothing, and
// nor does one of which it cannot be told who greets.
func TestUnfinishedGreeting(t *testing.T) {
	whole := func(c *net.TCPConn) []byte {
		return (&greeting{name: "gw", instance: 7, here: end(c.LocalAddr()), peer: end(c.RemoteAddr())}).encode()
	}
	addr := stream(t, func(c *net.TCPConn) { _, _ = c.Write(whole(c)); c.Close() })
	if err := Watch(t.Context(), addr, "gw", 7, func() {}); err != nil {
		t.Fatalf("a greeting and a FIN: %v", err)
	}
	size := greetingSize(t, addr)
	for n := range size {
		addr := stream(t, func(c *net.TCPConn) { _, _ = c.Write(whole(c)[:n]); c.Close() })
		if err := Watch(t.Context(), addr, "gw", 7, func() {}); !errors.Is(err, ErrNoProof) {
			t.Errorf("%d bytes of %d and a FIN: %v", n, size, err)
		}
	}
	for at := range size {
		addr := stream(t, func(c *net.TCPConn) {
			b := whole(c)
			b[at] ^= 0x40
			g, err := decodeGreeting(b[4:])
			if here := end(c.LocalAddr()); err == nil && at >= 4 && g.name == "gw" && g.instance == 7 && g.here == here && g.peer == end(c.RemoteAddr()) {
				b = nil // it was padding
			}
			_, _ = c.Write(b)
			c.Close()
		})
		if err := Watch(t.Context(), addr, "gw", 7, func() {}); err == nil {
			t.Errorf("byte %d is another one: taken as proof", at)
		}
	}
	addr = stream(t, func(c *net.TCPConn) { _, _ = c.Write(append(whole(c), 'x')); c.Close() })
	if err := Watch(t.Context(), addr, "gw", 7, func() {}); !errors.Is(err, ErrNoProof) {
		t.Errorf("more than a greeting: %v", err)
	}
}

// greetingSize is that of a greeting on a connection like the one to addr: as long
// as both ends have ports of five digits.
func greetingSize(t *testing.T, addr string) int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return len(b)
}

func TestOther(t *testing.T) {
	l := listen(t)
	for _, g := range []greeting{{name: "gw", instance: 8}, {name: "gx", instance: 7}} {
		if err := Watch(t.Context(), l.Addr().String(), g.name, g.instance, func() {}); !errors.Is(err, ErrOther) {
			t.Errorf("looking for %q, %d: %v", g.name, g.instance, err)
		}
	}
}

// TestBetween: a proxy is found out, before its end can be taken for the
// gateway's.
func TestBetween(t *testing.T) {
	l := listen(t)
	addr := stream(t, func(c *net.TCPConn) {
		defer c.Close()
		up, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		b := make([]byte, maxGreeting)
		n, _ := up.Read(b)
		_, _ = c.Write(b[:n]) // and then a FIN, while the gateway lives
	})
	if err := Watch(t.Context(), addr, "gw", 7, func() {}); !errors.Is(err, ErrBetween) {
		t.Errorf("through a proxy: %v", err)
	}
}

// TestTalkers: who says something to a gateway, or leaves, is let go of; the others
// are not.
func TestTalkers(t *testing.T) {
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Watch(ctx, l.Addr().String(), "gw", 7, func() {}) }()
	until(t, "the lifeline is held", l.holds(1))
	for _, text := range []string{"", "GET / HTTP/1.1\r\n\r\n"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		until(t, "both are held", l.holds(2))
		_, _ = c.Write([]byte(text))
		if text == "" {
			c.Close()
		}
		until(t, "one is let go of", l.holds(1))
		c.Close()
	}
	cancel()
	if err := ends(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("left: %v", err)
	}
	until(t, "nobody is held", l.holds(0))
}

func TestEnds(t *testing.T) {
	for _, tc := range []struct {
		in   net.TCPAddr
		want string
	}{
		{net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 9}, "192.0.2.1:9"},
		{net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 9}, "192.0.2.1:9"},
		{net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 9}, "[fe80::1]:9"},
	} {
		if got := end(&tc.in); got != netip.MustParseAddrPort(tc.want) {
			t.Errorf("%v: %v", tc.in, got)
		}
	}
}
