package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// ErrClosed says that the connection was closed, by either side.
var ErrClosed = errors.New("client: connection closed")

// ErrTimeout says that no reply came in time.
var ErrTimeout = errors.New("client: no reply in time")

// An RPCError is an RPC reply that carries no results.
type RPCError struct{ Reply oncrpc.Reply }

// Error says what the reply said.
func (e *RPCError) Error() string { return "rpc: " + e.Reply.String() }

// Options of a Conn. The zero Options are good for most tests.
type Options struct {
	// Cred is the credential of calls built by the Conn; nil is AUTH_SYS as
	// uid 0, gid 0.
	Cred *oncrpc.Auth
	// Timeout is how long Do waits for a reply; 0 is 20 s.
	Timeout time.Duration
	// MaxRecord bounds a received record in bytes; 0 is 8 MiB.
	MaxRecord int
	// Callbacks answers calls of the server on this connection; nil refuses
	// them with PROG_UNAVAIL.
	Callbacks *Callbacks
	// Observe, if not nil, is called with each request that was answered, or
	// not. It may be called by several goroutines at once and must not keep the
	// request, which may be patched and sent again.
	Observe func(q *Request, p *Reply, err error)
}

// A Conn is one RPC connection. All methods may be called by several
// goroutines at once.
type Conn struct {
	nc   net.Conn
	w    *oncrpc.Writer
	pool oncrpc.Pool
	opt  Options
	cred oncrpc.Auth
	xid  atomic.Uint32

	waiters sync.Pool // of *waiter
	closed  chan struct{}

	mu      sync.Mutex // guards what follows
	pending map[uint32]*waiter
	err     error
}

type waiter struct {
	ch chan *oncrpc.Buf // capacity 1; nil is sent when the connection ends
}

// SysAuth returns an AUTH_SYS credential.
func SysAuth(uid, gid uint32, groups ...uint32) *oncrpc.Auth {
	s := oncrpc.SysCred{Machine: []byte("conformance"), UID: uid, GID: gid}
	s.SetGroups(groups)
	a := s.Auth()
	return &a
}

// Dial connects to a TCP address.
func Dial(ctx context.Context, addr string, opt Options) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return NewConn(nc, opt), nil
}

// NewConn makes a Conn of a stream and takes it over.
func NewConn(nc net.Conn, opt Options) *Conn {
	if opt.Cred == nil {
		opt.Cred = SysAuth(0, 0)
	}
	if opt.Timeout == 0 {
		opt.Timeout = 20 * time.Second
	}
	if opt.MaxRecord == 0 {
		opt.MaxRecord = 8 << 20
	}
	c := &Conn{
		nc: nc, w: oncrpc.NewWriter(nc), opt: opt, cred: *opt.Cred,
		closed: make(chan struct{}), pending: make(map[uint32]*waiter),
	}
	c.waiters.New = func() any { return &waiter{ch: make(chan *oncrpc.Buf, 1)} }
	c.xid.Store(rand.Uint32())
	go c.read()
	return c
}

// Cred returns the credential of calls built for this connection.
func (c *Conn) Cred() oncrpc.Auth { return c.cred }

// NextXID returns an xid that this connection has not used yet.
func (c *Conn) NextXID() uint32 { return c.xid.Add(1) }

// LocalAddr and RemoteAddr are those of the stream.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the server's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Close ends the connection. Calls waiting for a reply fail with ErrClosed.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	return nil
}

// Drop ends the connection with a reset, so that the server sees it fail at
// once and loses what it had not sent.
func (c *Conn) Drop() {
	if tc, ok := c.nc.(interface{ SetLinger(sec int) error }); ok {
		_ = tc.SetLinger(0)
	}
	c.fail(ErrClosed)
}

// Closed is closed when the connection has ended.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// fail ends the connection with err, unless it has ended already.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	_ = c.nc.Close()
	close(c.closed)
	for xid, w := range c.pending {
		delete(c.pending, xid)
		w.ch <- nil
	}
}

// read hands replies to their callers until the stream ends.
func (c *Conn) read() {
	r := oncrpc.NewReader(c.nc, c.opt.MaxRecord)
	for {
		buf, err := r.Next(&c.pool)
		if err != nil {
			c.fail(fmt.Errorf("%w: %w", ErrClosed, err))
			return
		}
		xid, mtype, ok := oncrpc.PeekType(buf.B)
		switch {
		case !ok:
			c.fail(fmt.Errorf("%w: a record of %d bytes", ErrClosed, len(buf.B)))
			return
		case mtype == oncrpc.MsgCall:
			go c.callback(buf)
		default:
			c.mu.Lock()
			w := c.pending[xid]
			delete(c.pending, xid)
			c.mu.Unlock()
			if w == nil { // nobody waits any more
				buf.Free()
				continue
			}
			w.ch <- buf
		}
	}
}

func (c *Conn) callback(buf *oncrpc.Buf) {
	defer buf.Free()
	var w xdr.Writer
	w.Reserve(oncrpc.MarkSize)
	c.opt.Callbacks.answer(buf.B, &w)
	if w.Len() > oncrpc.MarkSize {
		_ = c.w.WriteRecord(w.Bytes()) // a failure ends the connection, which read notices
	}
}

// expect registers a waiter for xid.
func (c *Conn) expect(xid uint32) (*waiter, error) {
	w := c.waiters.Get().(*waiter)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if _, ok := c.pending[xid]; ok {
		return nil, fmt.Errorf("client: xid %#x is already waited for", xid)
	}
	c.pending[xid] = w
	return w, nil
}

// forget gives up waiting for xid. It returns false if the reply is being, or
// has been, delivered to the waiter.
func (c *Conn) forget(xid uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.pending[xid]
	delete(c.pending, xid)
	return ok
}

// RoundTrip sends the request as it stands and returns the whole reply record,
// which the caller frees. It waits as long as the connection lives.
func (c *Conn) RoundTrip(q *Request) (*oncrpc.Buf, error) {
	w, err := c.expect(q.XID())
	if err != nil {
		return nil, err
	}
	if err := c.w.WriteRecord(q.msg); err != nil {
		c.fail(fmt.Errorf("%w: %w", ErrClosed, err))
	}
	buf := <-w.ch
	c.waiters.Put(w)
	if buf == nil {
		return nil, c.Err()
	}
	return buf, nil
}

// Err returns why the connection ended, or nil.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Send sends the request as it stands and does not wait: a reply is dropped.
func (c *Conn) Send(q *Request) error { return c.w.WriteRecord(q.msg) }

// WriteRaw puts bytes on the stream, which need not be a record.
func (c *Conn) WriteRaw(b []byte) error {
	_, err := c.nc.Write(b)
	return err
}

// Start sends the request and returns a function that waits for its reply, up
// to the Conn's timeout.
func (c *Conn) Start(q *Request) (wait func() (*Reply, error), err error) {
	if q.XID() == 0 {
		q.SetXID(c.NextXID())
	}
	xid := q.XID()
	w, err := c.expect(xid)
	if err != nil {
		return nil, err
	}
	// A server that reads no more must not hold up the writer for ever.
	stuck := time.AfterFunc(c.opt.Timeout, func() { c.fail(fmt.Errorf("%w (%v): the server does not take the request", ErrTimeout, c.opt.Timeout)) })
	err = c.w.WriteRecord(q.msg)
	stuck.Stop()
	if err != nil {
		c.fail(fmt.Errorf("%w: %w", ErrClosed, err))
	}
	timeout := time.NewTimer(c.opt.Timeout)
	return func() (p *Reply, err error) {
		defer timeout.Stop()
		if c.opt.Observe != nil {
			defer func() { c.opt.Observe(q, p, err) }()
		}
		var buf *oncrpc.Buf
		select {
		case buf = <-w.ch:
		case <-timeout.C:
			if c.forget(xid) {
				return nil, fmt.Errorf("%w (%v)", ErrTimeout, c.opt.Timeout)
			}
			buf = <-w.ch
		}
		if buf == nil {
			return nil, c.Err()
		}
		defer buf.Free()
		return DecodeReply(buf.B)
	}, nil
}

// Do sends the request as it stands, giving it an xid if it has none, and
// decodes the reply. The error is an *RPCError for an RPC reply without
// results, and wraps ErrClosed or ErrTimeout when there is no reply.
func (c *Conn) Do(q *Request) (*Reply, error) {
	wait, err := c.Start(q)
	if err != nil {
		return nil, err
	}
	return wait()
}

// Compound builds a COMPOUND, sends it and decodes the reply.
func (c *Conn) Compound(minor uint32, ops ...Op) (*Reply, error) {
	return c.Do(NewCompound(c.cred, minor, "", ops...))
}

// Null calls the NULL procedure.
func (c *Conn) Null() error {
	_, err := c.Do(NewCall(c.cred, 0, nil))
	return err
}
