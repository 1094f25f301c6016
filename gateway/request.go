package gateway

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"holdfast/internal/moment"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
	"holdfast/nfsops"
)

// requestCost is what a running request is taken to hold besides its record
// and its reply: stack and the operations' own memory.
const requestCost = 16 << 10

// A request is one COMPOUND call on its way. It is reused.
type request struct {
	c     *conn
	in    *oncrpc.Buf
	out   *oncrpc.Buf
	w     xdr.Writer
	call  nfsops.Call
	cost  int64
	start time.Time
}

// A callOrder watches over the xids of a connection's calls. A client counts them
// up; one that also talks to other gateways leaves gaps.
type callOrder struct {
	xid   uint32
	since uint64 // moment of the last gap
}

func (o *callOrder) note(xid uint32) {
	if o.since == 0 || xid != o.xid+1 {
		o.since = moment.Next()
	}
	o.xid = xid
}

// dispatch answers a record, runs it, or hands it to a worker. It returns
// more = false if the role of the reader was taken away meanwhile. The error
// says that the record is not RPC.
func (c *conn) dispatch(in *oncrpc.Buf) (more bool, err error) {
	var h oncrpc.Call
	r := xdr.NewReader(in.B)
	err = h.Decode(&r)
	if errors.Is(err, oncrpc.ErrNotCall) {
		// The answer to a callback that nobody waits for any more.
		c.s.stats.strays.Add(1)
		in.Free()
		return true, nil
	}
	c.order.note(h.XID)
	v, cred := c.judge(&h, err)
	switch {
	case v == notRPC:
		in.Free()
		return false, fmt.Errorf("not an RPC call: %w", err)
	case v == accepted && h.Proc != 0:
		c.met()
		return c.compound(&h, cred, in, r.Rest()), nil
	case v == accepted:
		c.s.stats.nulls.Add(1)
	default:
		c.s.stats.refusals.Add(1)
		c.s.log.Debug("call refused", "remote", c.remote, "conn", c.id, "why", v.String())
	}
	c.met()
	in.Free()
	out := c.s.pool.Get(64)
	w := xdr.NewWriter(out.B)
	w.Uint32(0) // the record mark
	v.append(&w, &h, c.s.lowestVersion())
	c.push(reply{w.Bytes(), out})
	return true, nil
}

// met notes that the client sent a call.
func (c *conn) met() {
	c.calls.Add(1)
	if c.state.Load() == stranger {
		c.state.Store(known)
	}
}

// compound runs a COMPOUND call here or in a worker. It takes over in.
func (c *conn) compound(h *oncrpc.Call, cred *credential, in *oncrpc.Buf, body []byte) (more bool) {
	s := c.s
	quick, size := s.forecast(body)
	req := s.requests.Get().(*request)
	*req = request{c: c, in: in, start: time.Now(), cost: int64(cap(in.B)) + requestCost}
	req.call = nfsops.Call{
		XID:     h.XID,
		Flavor:  cred.flavor,
		Creds:   cred.creds,
		Machine: cred.machine,
		Remote:  c.remote,
		Conn:    c,
		Since:   c.order.since,
		Body:    body,
		MayOwe:  true,
	}
	s.memory.charge(req.cost)
	s.stats.running.Add(1)
	req.out = s.pool.Get(max(size, 0) + oncrpc.MarkSize + oncrpc.AcceptedSize)

	if !quick {
		c.mu.Lock()
		c.flight++
		c.mu.Unlock()
		s.workers.run(req)
		return true
	}
	turn := c.turn.Load() + 1
	c.turn.Store(turn)
	s.watch.note(c)
	owed := req.handle(req.carryOut)
	mine := c.turn.CompareAndSwap(turn, turn+1)
	switch {
	case owed:
		c.owe(req, mine)
	case mine:
		c.push(req.take())
	default:
		c.finish(req.take())
	}
	return mine
}

// work runs the request and sends its reply.
func (req *request) work() {
	c := req.c
	if req.handle(req.carryOut) {
		c.owe(req, false)
	} else {
		c.finish(req.take())
	}
}

// take ends the request and frees everything but the reply.
func (req *request) take() reply {
	c, s := req.c, req.c.s
	data, buf := req.w.Bytes(), req.out
	took := time.Since(req.start)
	s.stats.observe(took)
	c.observeFirst(req.start.Sub(c.since), took)
	s.stats.running.Add(-1)
	s.memory.release(req.cost)
	req.in.Free()
	*req = request{}
	s.requests.Put(req)
	if len(data) == 0 {
		c.kill(nfsops.ErrGone)
	} else if &data[0] != &buf.B[:1][0] {
		// The reply outgrew its buffer.
		buf.Free()
		buf = nil
	}
	return reply{data, buf}
}

// carryOut runs the call.
func (req *request) carryOut() error {
	req.begin(oncrpc.Success)
	return req.c.s.cfg.Handler.Compound(req.c.s.ctx, &req.call, &req.w)
}

// handle leaves a complete reply in req.w, whatever happens in do, or nothing if
// there must not be one. It returns true if the reply must wait for settle.
func (req *request) handle(do func() error) (owed bool) {
	defer func() {
		if p := recover(); p != nil {
			req.c.s.stats.panics.Add(1)
			req.c.s.log.Error("panic in a request", "remote", req.call.Remote, "xid", req.call.XID,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			req.begin(oncrpc.SystemErr)
		}
	}()
	err := do()
	switch {
	case err == nil:
	case err == nfsops.ErrOwed:
		return true
	case errors.Is(err, nfsops.ErrGone):
		req.w.Reset()
	case errors.Is(err, nfsops.ErrGarbage):
		req.c.s.stats.garbage.Add(1)
		req.begin(oncrpc.GarbageArgs)
	default:
		req.c.s.stats.failed.Add(1)
		req.c.s.log.Error("request failed", "remote", req.call.Remote, "xid", req.call.XID, "error", err)
		req.begin(oncrpc.SystemErr)
	}
	return false
}

// begin starts the reply over.
func (req *request) begin(stat oncrpc.AcceptStat) {
	req.w = xdr.NewWriter(req.out.B[:0])
	req.w.Uint32(0) // the record mark
	oncrpc.AppendAccepted(&req.w, req.call.XID, stat)
}

// observeFirst counts a request if it came before the connection's first reply: as a client brings them that was at another gateway.
func (c *conn) observeFirst(came, took time.Duration) {
	first := c.answered.Load()
	if first == 0 {
		if c.answered.CompareAndSwap(0, int64(came+took)) {
			c.s.stats.first.Observe((came + took).Seconds())
		}
		first = c.answered.Load()
	}
	if int64(came) < first {
		c.s.stats.brought.Observe(took.Seconds())
	}
}
