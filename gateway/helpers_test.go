package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
	"holdfast/nfsops"
)

// What the test handler does is the first word of the arguments.
const (
	doEcho     = iota // the result is the arguments
	doBlock           // wait for the gate, then echo
	doPanic           // panic
	doGarbage         // fail to decode
	doFail            // another error
	doGone            // must not be answered
	doBig             // a result of as many bytes as the second word says
	doOwe             // the reply must wait until the gate is closed
	doOweGone         // as doOwe, but then it must not be sent
	doOwePanic        // as doOwe, but then there is a panic
)

// testHandler is a Handler whose calls say what they want.
type testHandler struct {
	gate    chan struct{} // doBlock waits until it is closed
	blocked atomic.Int32  // how many wait
	quick   bool          // what Forecast says
	last    atomic.Pointer[nfsops.Call]
}

func newTestHandler() *testHandler { return &testHandler{gate: make(chan struct{})} }

func (h *testHandler) Forecast([]byte) (bool, int) { return h.quick, 0 }

func (h *testHandler) Compound(ctx context.Context, call *nfsops.Call, w *xdr.Writer) error {
	r := xdr.NewReader(call.Body)
	seen := *call
	seen.Body = nil
	h.last.Store(&seen)
	switch r.Uint32() {
	case doBlock:
		h.blocked.Add(1)
		defer h.blocked.Add(-1)
		select {
		case <-h.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	case doPanic:
		w.Uint32(7)
		panic("asked for")
	case doGarbage:
		w.Uint32(7)
		return nfsops.ErrGarbage
	case doGone:
		return nfsops.ErrGone
	case doFail:
		return errors.New("asked for")
	case doBig:
		w.Fixed(make([]byte, r.Uint32()))
		return r.Err()
	case doOwe:
		w.Raw(call.Body)
		return call.Owe(func() error { return h.settle(nil) })
	case doOweGone:
		return call.Owe(func() error { return h.settle(nfsops.ErrGone) })
	case doOwePanic:
		return call.Owe(func() error { _ = h.settle(nil); panic("asked for") })
	}
	w.Raw(call.Body)
	return nil
}

// settle waits for the gate.
func (h *testHandler) settle(err error) error {
	h.blocked.Add(1)
	defer h.blocked.Add(-1)
	<-h.gate
	return err
}

// start runs a Server for the test's duration.
func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Listen == nil {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve()
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return s
}

// client speaks RPC over one connection.
type client struct {
	t  testing.TB
	c  net.Conn
	rd *oncrpc.Reader
	p  oncrpc.Pool
}

func dial(t testing.TB, s *Server) *client {
	t.Helper()
	return dialAddr(t, s.Addrs()[0].String())
}

func dialAddr(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	// Nothing in these tests takes long: what does would hang for ever.
	c.SetDeadline(time.Now().Add(time.Minute))
	return &client{t: t, c: c, rd: oncrpc.NewReader(c, 8<<20)}
}

// header is that of a COMPOUND call with AUTH_NONE.
func header(xid uint32) oncrpc.Call {
	return oncrpc.Call{XID: xid, Prog: ProgramNFS, Vers: 4, Proc: 1}
}

// record encodes a call as one record.
func record(h oncrpc.Call, body ...uint32) []byte {
	w := xdr.NewWriter(make([]byte, 4, 128))
	h.Encode(&w)
	for _, v := range body {
		w.Uint32(v)
	}
	b := w.Bytes()
	binary.BigEndian.PutUint32(b, uint32(len(b)-4)|oncrpc.LastFragment)
	return b
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// recv reads a reply: its header and its results.
func (c *client) recv() (oncrpc.Reply, []byte) {
	c.t.Helper()
	buf, err := c.rd.Next(&c.p)
	if err != nil {
		c.t.Fatalf("no reply: %v", err)
	}
	r := xdr.NewReader(buf.B)
	var rep oncrpc.Reply
	if err := rep.Decode(&r); err != nil {
		c.t.Fatal(err)
	}
	return rep, r.Rest()
}

func (c *client) call(h oncrpc.Call, body ...uint32) (oncrpc.Reply, []byte) {
	c.t.Helper()
	c.send(record(h, body...))
	rep, rest := c.recv()
	if rep.XID != h.XID {
		c.t.Fatalf("reply to %d, want %d", rep.XID, h.XID)
	}
	return rep, rest
}

// echo makes sure that the connection is served.
func (c *client) echo(xid uint32) {
	c.t.Helper()
	rep, rest := c.call(header(xid), doEcho, xid)
	if !rep.OK() || len(rest) != 8 || binary.BigEndian.Uint32(rest[4:]) != xid {
		c.t.Fatalf("echo: %v, %x", &rep, rest)
	}
}

// closed waits for the server to end the connection and says how.
func (c *client) closed() error {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		c.t.Fatal("the connection was not closed")
	}
	return err
}

// refused connects and sees that the connection is reset, which may be noticed
// while it is still being made.
func refused(t testing.TB, s *Server) {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v, want a reset", err)
	}
}

// until polls a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}
