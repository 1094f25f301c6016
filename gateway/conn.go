package gateway

import (
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/oncrpc"
)

// The states of a connection.
const (
	stranger int32 = iota // has not sent a complete call
	known
	foreign // handed to Config.NFSv3
)

// maxQueued is how many bytes of replies may wait for a client before no more
// of its requests are read.
const maxQueued = 4 << 20

// A conn is a client's connection.
//
// One goroutine at a time has the role of the reader; turn says which. The
// fields of the reader are touched by the holder of the role only.
type conn struct {
	s      *Server
	nc     *net.TCPConn
	id     uint64
	remote netip.Addr
	since  time.Time
	era    uint64 // in which it was accepted
	state  atomic.Int32
	calls  atomic.Uint64

	answered atomic.Int64 // when the first COMPOUND was, in nanoseconds since the connection was accepted; 0: none yet

	// Of the reader.
	rd    *oncrpc.Reader
	creds credCache
	fresh bool // the next Read begins a record
	order callOrder

	// turn is odd while the reader itself runs a request. Who moves it on from
	// there (the goroutine that ran it, or the watch) has the role.
	turn    atomic.Uint64
	watched atomic.Bool
	seen    watchNote // the watch's

	// What the sweep looks at.
	partialSince atomic.Int64 // clock when half a record was there, or 0
	writingSince atomic.Int64 // clock when a write began, or 0
	partial      atomic.Int64 // bytes charged for half a record
	cause        atomic.Pointer[error]

	sessions bindings

	// Of the goroutine that set writing.
	parts, eaten net.Buffers

	// mu guards what follows. It is taken alone and not held over system calls.
	mu        sync.Mutex
	changed   sync.Cond // flight or queued went down, or broken
	queue     []reply
	spare     []reply // memory of a queue that was written
	queued    int     // bytes of replies not yet written
	writing   bool
	gathering bool // somebody waits a moment for more replies and then flushes
	broken    bool // replies cannot be sent any more
	flight    int  // requests running outside the reader or owed, and 1 for the reader
	ended     bool
	owed      []*request // ran, and wait for stable storage
	spareOwed []*request // memory of an owed that was settled
	settling  bool       // a worker settles what is owed
}

func newConn(s *Server, nc *net.TCPConn, remote netip.Addr) *conn {
	c := &conn{s: s, nc: nc, id: s.nextID.Add(1), remote: remote, since: time.Now(), flight: 1}
	c.changed.L = &c.mu
	c.rd = oncrpc.NewReader(source{c}, s.limits.Record)
	c.fresh = true
	return c
}

// ID implements nfsops.Conn.
func (c *conn) ID() uint64 { return c.id }

// serve is the first reader of the connection.
func (c *conn) serve() {
	if c.s.cfg.NFSv3 != nil {
		prog, vers, _, ok, err := c.rd.PeekCall()
		if err != nil {
			c.leave(err)
			return
		}
		if ok && (prog == ProgramMount || prog == ProgramNFS && vers == version3) {
			c.serveForeign()
			return
		}
	}
	c.read()
}

// read is the role of the reader: it takes records until there are no more or
// until the role is taken away.
func (c *conn) read() {
	defer func() {
		if p := recover(); p != nil {
			c.s.stats.panics.Add(1)
			c.s.log.Error("panic in a connection", "remote", c.remote, "panic", p, "stack", string(debug.Stack()))
			c.kill(errPanic)
			c.leave(nil)
		}
	}()
	for {
		c.admit()
		if c.s.draining.Load() {
			c.leave(nil)
			return
		}
		in, err := c.next()
		if err != nil {
			c.leave(err)
			return
		}
		if more, err := c.dispatch(in); err != nil {
			c.leave(err)
			return
		} else if !more {
			return
		}
	}
}

// admit waits until the client may have another request.
func (c *conn) admit() {
	c.mu.Lock()
	for (c.flight > c.s.limits.InFlight || c.queued > maxQueued) && !c.broken {
		if len(c.queue) > 0 && !c.writing || len(c.owed) > 0 && !c.settling {
			c.mu.Unlock()
			c.flush()
			c.mu.Lock()
			continue
		}
		c.changed.Wait()
	}
	busy := c.flight > 1 || c.queued > 0
	c.mu.Unlock()
	// One request at a time is every client's right.
	if busy && c.s.memory.over() {
		c.flush()
		c.s.waitForMemory(c)
	}
}

// next reads a record.
func (c *conn) next() (*oncrpc.Buf, error) {
	c.fresh = true
	in, err := c.rd.Next(&c.s.pool)
	if c.partialSince.Load() != 0 {
		c.partialSince.Store(0)
		c.s.memory.release(c.partial.Swap(0))
	}
	return in, err
}

// source is the connection's stream as the record reader sees it. It is only
// asked for more when nothing complete is left: the moment to send the replies
// gathered so far.
type source struct{ c *conn }

// partialFree is how many bytes of a record come in even if memory is short.
const partialFree = 64 << 10

func (src source) Read(p []byte) (int, error) {
	c := src.c
	c.flush()
	if c.fresh {
		c.fresh = false
		if c.rd.Buffered() > 0 {
			c.partialSince.Store(c.s.clock())
		}
	} else if c.partialSince.Load() == 0 {
		c.partialSince.Store(c.s.clock())
	}
	if c.partial.Load() > partialFree && c.s.memory.over() {
		c.s.waitForMemory(c)
	}
	n, err := c.nc.Read(p)
	if c.partialSince.Load() != 0 {
		c.partial.Add(int64(n))
		c.s.memory.charge(int64(n))
	}
	c.s.stats.bytesIn.Add(uint64(n))
	return n, err
}

// leave ends the role of the reader for good.
func (c *conn) leave(err error) {
	switch {
	case err == nil, err == io.EOF, c.s.draining.Load():
	default:
		// What a client cannot have meant is answered by a reset: the stream
		// has no known position any more.
		c.fail(err)
		c.nc.SetLinger(0)
	}
	c.flush()
	c.release()
}

// fail notes why the connection ends; the first reason stays.
func (c *conn) fail(err error) {
	if c.cause.CompareAndSwap(nil, &err) {
		c.s.log.Debug("connection ends", "remote", c.remote, "conn", c.id, "error", err)
	}
}

// kill ends the connection whatever it does.
func (c *conn) kill(err error) {
	c.fail(err)
	c.mu.Lock()
	c.broken = true
	c.changed.Broadcast()
	c.mu.Unlock()
	c.s.memory.wake()
	reset(c.nc)
}

// release ends one running request, or the reader.
func (c *conn) release() {
	c.mu.Lock()
	c.flight--
	c.changed.Broadcast()
	last := c.settle()
	c.mu.Unlock()
	if last {
		c.end()
	}
}

// settle says that the connection is over: nothing runs and nothing is left to
// be written. It says so once. The caller holds mu.
func (c *conn) settle() bool {
	if c.flight > 0 || c.writing || c.gathering || len(c.queue) > 0 || c.ended {
		return false
	}
	c.ended = true
	return true
}

// end closes the connection.
func (c *conn) end() {
	if c.s.draining.Load() && c.cause.Load() == nil {
		go c.leaveAfterReply()
		return
	}
	c.nc.Close()
	c.s.forget(c)
}

// serveForeign lets Config.NFSv3 serve the connection.
func (c *conn) serveForeign() {
	c.met()
	c.state.Store(foreign)
	defer func() {
		if p := recover(); p != nil {
			c.s.stats.panics.Add(1)
			c.s.log.Error("panic in an NFSv3 connection", "remote", c.remote, "panic", p, "stack", string(debug.Stack()))
		}
		c.nc.Close()
		c.s.forget(c)
	}()
	c.s.cfg.NFSv3.ServeConn(c.rd.Conn(c.nc))
}
