package client

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// ErrNoSlot says that no slot of a session came free in time.
var ErrNoSlot = errors.New("client: no free slot")

// A Session is an NFSv4.1 or 4.2 session with its slot table. Its methods may
// be called by several goroutines at once.
type Session struct {
	ID       nfs4.SessionID
	ClientID uint64
	Minor    uint32
	// Granted is what CREATE_SESSION answered.
	Granted CreateSessionRes

	mu    sync.Mutex // guards what follows
	cond  sync.Cond
	conn  *Conn
	slots []*Slot
	free  []*Slot
	cache bool
}

// A Slot is one slot of a session. Seq is the sequence its next request
// carries; a test may change it. One goroutine at a time may use a Slot.
type Slot struct {
	N   uint32
	Seq uint32
	s   *Session
}

// NewSession makes a Session of a CREATE_SESSION result.
func NewSession(c *Conn, minor uint32, clientID uint64, res *CreateSessionRes) *Session {
	s := &Session{ID: res.Session, ClientID: clientID, Minor: minor, Granted: *res, conn: c}
	s.cond.L = &s.mu
	for n := range max(1, min(res.Fore.MaxRequests, 1024)) {
		sl := &Slot{N: n, Seq: 1, s: s}
		s.slots = append(s.slots, sl)
	}
	// Low slots are used first.
	for i := len(s.slots) - 1; i >= 0; i-- {
		s.free = append(s.free, s.slots[i])
	}
	return s
}

// Conn returns the connection that the session's requests take.
func (s *Session) Conn() *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// SetConn makes the session's requests take another connection.
func (s *Session) SetConn(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = c
}

// CacheThis sets what Compound asks for in sa_cachethis; it begins as false.
func (s *Session) CacheThis(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache = on
}

// Acquire waits for a free slot and takes it.
func (s *Session) Acquire() *Slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.free) == 0 {
		s.cond.Wait()
	}
	return s.take()
}

// acquireWithin is Acquire with a bound: who holds all slots of a session itself
// would wait for ever. The error wraps ErrNoSlot.
func (s *Session) acquireWithin(limit time.Duration) (*Slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) > 0 {
		return s.take(), nil
	}
	late := false
	alarm := time.AfterFunc(limit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.cond.Broadcast()
	})
	defer alarm.Stop()
	for len(s.free) == 0 {
		if late {
			return nil, fmt.Errorf("%w: all %d that the server grants were in use for %v", ErrNoSlot, len(s.slots), limit)
		}
		s.cond.Wait()
	}
	return s.take(), nil
}

// take takes a free slot, of which there is one; mu is held.
func (s *Session) take() *Slot {
	sl := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return sl
}

// Slots is how many slots the session has, of which so many are free.
func (s *Session) Slots() (all, free int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots), len(s.free)
}

// Release gives a slot back.
func (s *Session) Release(sl *Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, sl)
	s.cond.Signal()
}

// Compound sends SEQUENCE and the operations in a slot of its own. It waits for
// one as long as for a reply.
func (s *Session) Compound(ops ...Op) (*Reply, error) {
	sl, err := s.acquireWithin(s.Conn().opt.Timeout)
	if err != nil {
		return nil, err
	}
	defer s.Release(sl)
	s.mu.Lock()
	cache := s.cache
	s.mu.Unlock()
	return sl.Do(cache, ops...)
}

// Request encodes SEQUENCE for the slot as it is now, and the operations.
func (sl *Slot) Request(cacheThis bool, ops ...Op) *Request {
	s := sl.s
	all := append([]Op{Sequence(s.ID, sl.Seq, sl.N, uint32(len(s.slots)-1), cacheThis)}, ops...)
	return NewCompound(s.Conn().Cred(), s.Minor, "", all...)
}

// Do sends SEQUENCE and the operations in this slot, and advances Seq if the
// server accepted the sequence.
func (sl *Slot) Do(cacheThis bool, ops ...Op) (*Reply, error) {
	return sl.Send(sl.s.Conn(), sl.Request(cacheThis, ops...))
}

// Send sends a request made by Request on the given connection, and advances
// Seq if the server accepted the sequence.
func (sl *Slot) Send(c *Conn, q *Request) (*Reply, error) {
	p, err := c.Do(q)
	if p != nil && len(p.Results) > 0 && p.Results[0].Op == nfs4.OpSequence && p.Results[0].Status == nfs4.OK {
		sl.Seq++
	}
	return p, err
}

// A Prepared is a compound encoded once and sent many times in a slot of its
// own: the hot path of a load generator. One goroutine at a time may use it.
type Prepared struct {
	*Request
	slot *Slot
	conn *Conn
}

// Prepare encodes SEQUENCE and the operations and takes a slot, which Release
// of the Prepared gives back. Several Prepared may share a slot by PrepareIn.
func (s *Session) Prepare(ops ...Op) *Prepared { return s.PrepareIn(s.Acquire(), ops...) }

// PrepareIn is Prepare in a slot that the caller has acquired.
func (s *Session) PrepareIn(sl *Slot, ops ...Op) *Prepared {
	return &Prepared{Request: sl.Request(false, ops...), slot: sl, conn: s.Conn()}
}

// Release gives the slot back.
func (p *Prepared) Release() { p.slot.s.Release(p.slot) }

// SetConn makes the Prepared use another connection.
func (p *Prepared) SetConn(c *Conn) { p.conn = c }

// Do sends the compound under the slot's next sequence and returns the reply
// record, which the caller frees, and the compound's status. Operation i of
// those prepared has its arguments at ArgsAt(i+1), for patching before.
func (p *Prepared) Do() (*oncrpc.Buf, nfs4.Status, error) {
	p.SetXID(p.conn.NextXID())
	p.SetSequence(p.slot.N, p.slot.Seq)
	buf, err := p.conn.RoundTrip(p.Request)
	if err != nil {
		return nil, 0, err
	}
	status, err := ReplyStatus(buf.B)
	if err != nil {
		buf.Free()
		return nil, 0, err
	}
	p.slot.Seq++
	return buf, status, nil
}

// ReplyStatus returns the status of a COMPOUND reply record without decoding
// its results.
func ReplyStatus(rec []byte) (nfs4.Status, error) {
	r := xdr.NewReader(rec)
	var head oncrpc.Reply
	if err := head.Decode(&r); err != nil {
		return 0, err
	}
	if !head.OK() {
		return 0, &RPCError{head}
	}
	return nfs4.Status(r.Uint32()), r.Err()
}

// ReplyResults returns a cursor at the first result of a COMPOUND reply record,
// each of which begins with operation and status, and how many there are.
func ReplyResults(rec []byte) (xdr.Reader, int, error) {
	r := xdr.NewReader(rec)
	var head oncrpc.Reply
	if err := head.Decode(&r); err != nil {
		return r, 0, err
	}
	if !head.OK() {
		return r, 0, &RPCError{head}
	}
	r.Uint32()
	r.Opaque(nfs4.OpaqueLimit)
	n := r.Count(1<<16, 8)
	if r.Err() != nil {
		return r, 0, fmt.Errorf("reply: %w", r.Err())
	}
	return r, n, nil
}
