package lifeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Watch holds the lifeline of an instance of a gateway, at addr, until it ends or
// ctx does; held is called as soon as its end would be proof. It returns nil if it is proven that the instance can do nothing any
// more, neither now nor later. The error is ctx's, or ErrBetween, ErrOther or
// ErrNoProof, possibly wrapped; whoever is patient calls again.
func Watch(ctx context.Context, addr, name string, instance uint64, held func()) error {
	d := net.Dialer{Timeout: greetTime, KeepAliveConfig: keepAlive}
	d.SetMultipathTCP(false)
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return noProof(ctx, err)
	}
	c := nc.(*net.TCPConn)
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now()) })
	defer stop()
	if err := meet(c, name, instance); err != nil {
		return noProof(ctx, err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return noProof(ctx, err)
	}
	if err := ctx.Err(); err != nil {
		return err // the deadline of its end may just have been taken back
	}
	held()
	var b [1]byte
	n, err := c.Read(b[:])
	switch {
	case n > 0:
		return fmt.Errorf("%w: the gateway says more than it should", ErrNoProof)
	case !errors.Is(err, io.EOF):
		return noProof(ctx, err)
	}
	return finished(c)
}

// noProof is the error for a connection that failed.
func noProof(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrBetween), errors.Is(err, ErrOther), errors.Is(err, ErrNoProof):
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoProof, err)
}

// meet reads the greeting and looks whether it is that of the instance, and comes
// from the other end of this very connection.
func meet(c *net.TCPConn, name string, instance uint64) error {
	if err := c.SetReadDeadline(time.Now().Add(greetTime)); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxGreeting {
		return fmt.Errorf("%w: a greeting of %d bytes", ErrNoProof, size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	g, err := decodeGreeting(b)
	if err != nil {
		return err
	}
	if g.name != name || g.instance != instance {
		return fmt.Errorf("%w: instance %d of %q", ErrOther, g.instance, g.name)
	}
	here, there := end(c.LocalAddr()), end(c.RemoteAddr())
	if g.peer != here || g.here != there {
		return fmt.Errorf("%w: the connection from %s to %s is one from %s to %s over there", ErrBetween, here, there, g.peer, g.here)
	}
	return nil
}

// finished looks whether the stream ended by a FIN, and not by a reset that was
// reported before.
func finished(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	var info *unix.TCPInfo
	var infoErr error
	err = raw.Control(func(fd uintptr) {
		info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err = errors.Join(err, infoErr); err != nil {
		return fmt.Errorf("%w: %w", ErrNoProof, err)
	}
	if info.State != unix.BPF_TCP_CLOSE_WAIT {
		return fmt.Errorf("%w: the connection ended in TCP state %d", ErrNoProof, info.State)
	}
	return nil
}
