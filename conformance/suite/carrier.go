package suite

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"holdfast/internal/oncrpc"
)

// A Dial makes a connection to one address.
type Dial = func(ctx context.Context) (net.Conn, error)

const (
	// carrierRecord bounds a record that a carrier passes on, in bytes.
	carrierRecord = 16 << 20
	// carrierTries bounds how often a call is sent again.
	carrierTries = 20
	// carrierPatience bounds the search for an address that answers.
	carrierPatience = time.Minute
)

// A carrier is one stream to a server that has several addresses. It passes on
// whole records, and what is above it knows of one connection.
//
//	             ┌─ leg ── address 1
//	Conn ── carrier ─ leg ── address 2
//	             └─ leg ── address 3
//
// With several legs consecutive calls take different ones; an answer to a
// callback takes the leg that the callback came by. Requests of a session bind it
// to each connection they come by, by their SEQUENCE (RFC 8881 §2.10.3.1).
//
// A carrier that resends does what a client does whose connection breaks: it
// connects again, to the next address, and sends what was not answered once more,
// unchanged: the same xid, slot and sequence. Without resend the end of one leg
// is the end of the carrier.
//
// Lock order: leg.sending, mu.
type carrier struct {
	ctx    context.Context
	dials  []Dial
	resend bool
	legs   []*leg

	mu      sync.Mutex // guards what follows, and every leg's nc and at
	arrived sync.Cond  // in has grown, or err is set
	in      []byte     // records to be read, with their marks
	out     []byte     // the record that is being written
	err     error      // why the carrier ended
	next    int
	calls   uint64
	pending map[uint32]*call
	callers map[uint32]*leg // of callbacks, by xid
	resent  map[uint32]bool
}

// A call is one without an answer so far.
type call struct {
	record []byte // with its mark
	leg    *leg
	n      uint64 // in order of sending
	times  int
}

// A leg is one connection of a carrier.
type leg struct {
	c       *carrier
	sending sync.Mutex // one record at a time, and none while the leg is mended
	at      int
	nc      net.Conn // nil before it is first used
}

// newCarrier connects to the first of the addresses that dials stands for, and
// has legs to so many of them.
func newCarrier(ctx context.Context, dials []Dial, legs int, resend bool) (*carrier, error) {
	c := &carrier{
		ctx: ctx, dials: dials, resend: resend,
		pending: make(map[uint32]*call), callers: make(map[uint32]*leg), resent: make(map[uint32]bool),
	}
	c.arrived.L = &c.mu
	for i := range legs {
		c.legs = append(c.legs, &leg{c: c, at: i})
	}
	if err := c.legs[0].connect(); err != nil {
		return nil, err
	}
	return c, nil
}

// connect makes the leg's connection: to its address or, where calls are
// sent again, to the next one that answers. The caller holds sending, or has
// the leg alone.
func (l *leg) connect() error {
	c := l.c
	end := time.Now().Add(carrierPatience)
	for try := 0; ; try++ {
		at := (l.at + try) % len(c.dials)
		nc, err := c.dials[at](c.ctx)
		if err == nil {
			return l.use(nc, at)
		}
		if !c.resend || c.ended() != nil || c.ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		if at == len(c.dials)-1 {
			time.Sleep(20 * time.Millisecond) // nobody answers: a client does not spin either
		}
	}
}

// use makes nc the leg's connection and starts to read from it.
func (l *leg) use(nc net.Conn, at int) error {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		_ = nc.Close()
		return c.err
	}
	l.nc, l.at = nc, at
	go l.read(nc)
	return nil
}

// read hands on what comes by a connection until that ends.
func (l *leg) read(nc net.Conn) {
	var pool oncrpc.Pool
	r := oncrpc.NewReader(nc, carrierRecord)
	for {
		buf, err := r.Next(&pool)
		if err != nil {
			_ = nc.Close()
			l.lost(err)
			return
		}
		l.c.deliver(l, buf.B)
		buf.Free()
	}
}

// deliver lets a record be read.
func (c *carrier) deliver(l *leg, record []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch xid, mtype, ok := oncrpc.PeekType(record); {
	case !ok:
	case mtype == oncrpc.MsgCall:
		c.callers[xid] = l
	default:
		delete(c.pending, xid)
	}
	c.in = binary.BigEndian.AppendUint32(c.in, 1<<31|uint32(len(record)))
	c.in = append(c.in, record...)
	c.arrived.Broadcast()
}

// lost is called when the leg's connection has ended.
func (l *leg) lost(err error) {
	c := l.c
	if !c.resend || c.ended() != nil {
		c.end(err)
		return
	}
	l.sending.Lock()
	defer l.sending.Unlock()
	again, err := c.unanswered(l)
	if err == nil {
		l.at++
		err = l.connect()
	}
	if err != nil {
		c.end(err)
		return
	}
	for _, call := range again {
		if _, err := l.nc.Write(call.record); err != nil {
			_ = l.nc.Close() // its reader mends it
			return
		}
	}
}

// unanswered returns the calls that are to be sent again by a leg, in order.
func (c *carrier) unanswered(l *leg) ([]*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var again []*call
	for xid, call := range c.pending {
		if call.leg != l {
			continue
		}
		if call.times++; call.times > carrierTries {
			return nil, fmt.Errorf("sent %d times and never answered", call.times)
		}
		c.resent[xid] = true
		again = append(again, call)
	}
	slices.SortFunc(again, func(a, b *call) int { return cmp.Compare(a.n, b.n) })
	return again, nil
}

// wasResent says whether a call was sent more than once.
func (c *carrier) wasResent(xid uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resent[xid]
}

// Write takes bytes of records and sends each record once it is whole.
func (c *carrier) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.out = append(c.out, b...)
	c.mu.Unlock()
	for {
		record, l, err := c.route()
		if err != nil {
			return 0, err
		}
		if record == nil {
			return len(b), nil
		}
		if err := l.send(record); err != nil {
			return 0, err
		}
	}
}

// route takes the next whole record from what was written and chooses its leg.
func (c *carrier) route() ([]byte, *leg, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, nil, c.err
	}
	n := wholeRecord(c.out)
	if n == 0 {
		return nil, nil, nil
	}
	record := slices.Clone(c.out[:n])
	c.out = append(c.out[:0], c.out[n:]...)
	if xid, mtype, ok := oncrpc.PeekType(record[oncrpc.MarkSize:]); ok && mtype != oncrpc.MsgCall {
		if l := c.callers[xid]; l != nil {
			delete(c.callers, xid)
			return record, l, nil
		}
	}
	l := c.legs[c.next%len(c.legs)]
	c.next++
	return record, l, nil
}

// wholeRecord returns the length of the record at the beginning of b, with all
// its fragments, or 0 if it is not whole.
func wholeRecord(b []byte) int {
	at := 0
	for at+oncrpc.MarkSize <= len(b) {
		mark := binary.BigEndian.Uint32(b[at:])
		at += oncrpc.MarkSize + int(mark&^(1<<31))
		if at <= len(b) && mark>>31 != 0 {
			return at
		}
	}
	return 0
}

// send sends one record by the leg.
func (l *leg) send(record []byte) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	if l.nc == nil {
		if err := l.connect(); err != nil {
			l.c.end(err)
			return err
		}
	}
	l.c.expect(l, record)
	if _, err := l.nc.Write(record); err != nil {
		_ = l.nc.Close() // its reader mends it, or ends the carrier
	}
	return nil
}

// expect notes a call as one to be answered.
func (c *carrier) expect(l *leg, record []byte) {
	xid, mtype, ok := oncrpc.PeekType(record[oncrpc.MarkSize:])
	if !ok || mtype != oncrpc.MsgCall {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	c.pending[xid] = &call{record: record, leg: l, n: c.calls}
}

// Read returns bytes of records that came.
func (c *carrier) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.in) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.arrived.Wait()
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

// ended says why the carrier has ended, or nil.
func (c *carrier) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// end closes all connections.
func (c *carrier) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	for _, l := range c.legs {
		if l.nc != nil {
			_ = l.nc.Close()
		}
	}
	c.arrived.Broadcast()
}

// Close ends the carrier.
func (c *carrier) Close() error {
	c.end(net.ErrClosed)
	return nil
}

// SetLinger is that of TCP, for every connection.
func (c *carrier) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, l := range c.legs {
		if tc, ok := l.nc.(*net.TCPConn); ok {
			errs = append(errs, tc.SetLinger(sec))
		}
	}
	return errors.Join(errs...)
}

// conn returns the first leg's connection.
func (c *carrier) conn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.legs[0].nc
}

// LocalAddr is the first connection's.
func (c *carrier) LocalAddr() net.Addr { return c.conn().LocalAddr() }

// RemoteAddr is the first connection's.
func (c *carrier) RemoteAddr() net.Addr { return c.conn().RemoteAddr() }

// SetDeadline is not supported, nor are the other two.
func (c *carrier) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// SetReadDeadline is not supported.
func (c *carrier) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline is not supported.
func (c *carrier) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
