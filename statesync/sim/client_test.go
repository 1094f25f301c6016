package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"holdfast/internal/nfs4"
	"holdfast/statesync"
)

// A client has one session with one slot, and does one thing after the other.
type client struct {
	w       *world
	index   int
	task    string
	rng     *rand.Rand
	id      statesync.ClientID
	session nfs4.SessionID
	seq     uint32
	at      int // the gateway that it is connected to

	open  map[statesync.FileKey]*opened
	names []string // that it made and did not remove
	over  bool     // guarded by w.mu
}

// opened is what a client knows of a file that it has open.
type opened struct {
	access, deny uint32
	stateid      nfs4.Stateid
	lock         nfs4.Stateid
	ranges       []held
}

// A request is one COMPOUND: SEQUENCE and one operation.
type request struct {
	c            *client
	seq          uint32
	op           nfs4.Op
	file         statesync.FileKey
	access, deny uint32
	write, fresh bool
	from, to     uint64
	stateid      nfs4.Stateid
	name, target string
}

type answer struct {
	status  nfs4.Status
	stateid nfs4.Stateid
	unheard bool // SEQUENCE itself failed with DELAY: the request is to be sent again as it is
}

func decode(b []byte) answer {
	var a answer
	if len(b) == 0 {
		return answer{status: nfs4.ErrDelay, unheard: true}
	}
	if len(b) != 20 {
		return answer{status: nfs4.ErrServerFault}
	}
	a.status = nfs4.Status(binary.BigEndian.Uint32(b))
	a.stateid.Seqid = binary.BigEndian.Uint32(b[4:])
	copy(a.stateid.Other[:], b[8:])
	return a
}

func (w *world) newClient(i int) *client {
	return &client{
		w: w, index: i, task: fmt.Sprintf("c%d", i), rng: rand.New(rand.NewPCG(w.seed, uint64(100+i))),
		open: map[statesync.FileKey]*opened{},
	}
}

// introduce makes the client known, before anything goes wrong.
func (c *client) introduce(n *statesync.Node) {
	defer c.ends()
	ctx := as(context.Background(), c.task)
	x, err := n.ExchangeID(ctx, &statesync.ExchangeIDArgs{Owner: []byte(c.task), Verifier: nfs4.Verifier{1}, Principal: "p", Minor: 1})
	if err != nil {
		c.w.violated(c.task, "EXCHANGE_ID: %v", err)
		return
	}
	c.id = x.Client
	ch := statesync.ChannelAttrs{MaxRequest: 1 << 20, MaxReply: 1 << 20, MaxCached: 4096, MaxOps: 16, MaxSlots: 1}
	s, err := n.CreateSession(ctx, &statesync.CreateSessionArgs{
		Client: c.id, Sequence: x.Sequence, Flags: nfs4.CreateSessionPersist, Fore: ch, Back: ch, Principal: "p",
	})
	if err != nil {
		c.w.violated(c.task, "CREATE_SESSION: %v", err)
	}
	c.session = s.Session
}

// ends says that the client has done all that it had to do.
func (c *client) ends() {
	c.w.mu.Lock()
	c.over = true
	c.w.mu.Unlock()
}

// work does all that a client does.
func (c *client) work() {
	defer c.ends()
	if _, ok := c.call(&request{op: nfs4.OpReclaimComplete}); !ok {
		return
	}
	for range c.w.plan.ops {
		if !c.once() {
			return
		}
	}
}

func (c *client) finished() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.over
}

// once does one thing; false if the run is over.
func (c *client) once() bool {
	f := statesync.FileKey([]string{"f", "g"}[c.rng.IntN(2)])
	o := c.open[f]
	if c.rng.IntN(5) < c.w.plan.names {
		return c.onNames()
	}
	if o == nil {
		return c.doOpen(f)
	}
	switch c.rng.IntN(6) {
	case 0:
		return c.doClose(f, o)
	case 1, 2:
		if len(o.ranges) > 0 {
			return c.doUnlock(f, o)
		}
	}
	return c.doLock(f, o)
}

func (c *client) doOpen(f statesync.FileKey) bool {
	m := &request{op: nfs4.OpOpen, file: f, access: 3}
	if c.rng.IntN(4) == 0 {
		m.deny = uint32(1 + c.rng.IntN(3))
	}
	a, ok := c.call(m)
	if ok && a.status == nfs4.OK {
		c.open[f] = &opened{access: m.access, deny: m.deny, stateid: a.stateid}
		c.w.oracle.opened(c, f, m.access, m.deny)
	}
	return ok && c.expect(m, a, nfs4.OK, nfs4.ErrShareDenied)
}

func (c *client) doClose(f statesync.FileKey, o *opened) bool {
	delete(c.open, f)
	c.w.oracle.closed(c, f)
	m := &request{op: nfs4.OpClose, file: f, stateid: o.stateid}
	a, ok := c.call(m)
	return ok && c.expect(m, a, nfs4.OK)
}

func (c *client) doLock(f statesync.FileKey, o *opened) bool {
	from := uint64(c.rng.IntN(3))
	h := held{from: from, to: from + 1 + uint64(c.rng.IntN(2)), write: c.rng.IntN(4) > 0}
	for _, x := range o.ranges {
		if x.overlaps(h) {
			return true
		}
	}
	m := &request{op: nfs4.OpLock, file: f, write: h.write, from: h.from, to: h.to, stateid: o.lock}
	if o.lock == (nfs4.Stateid{}) {
		m.fresh, m.stateid = true, o.stateid
	}
	a, ok := c.call(m)
	if ok && a.status == nfs4.OK {
		o.lock = a.stateid
		o.ranges = append(o.ranges, h)
		c.w.oracle.locked(c, f, h)
	}
	return ok && c.expect(m, a, nfs4.OK, nfs4.ErrDenied)
}

func (c *client) doUnlock(f statesync.FileKey, o *opened) bool {
	i := c.rng.IntN(len(o.ranges))
	h := o.ranges[i]
	o.ranges = slices.Delete(o.ranges, i, i+1)
	c.w.oracle.unlocked(c, f, h)
	m := &request{op: nfs4.OpLockU, file: f, write: h.write, from: h.from, to: h.to, stateid: o.lock}
	a, ok := c.call(m)
	if ok && a.status == nfs4.OK {
		o.lock = a.stateid
	}
	return ok && c.expect(m, a, nfs4.OK)
}

// onNames makes a name, which is a mutex, removes it or renames it.
func (c *client) onNames() bool {
	pick := func() string { return []string{"m", "n"}[c.rng.IntN(2)] }
	if len(c.names) == 0 || c.rng.IntN(3) == 0 {
		m := &request{op: nfs4.OpCreate, name: pick()}
		a, ok := c.call(m)
		if ok && a.status == nfs4.OK {
			c.names = append(c.names, m.name)
			c.w.oracle.made(c, m.name)
		}
		return ok && c.expect(m, a, nfs4.OK, nfs4.ErrExist)
	}
	i := c.rng.IntN(len(c.names))
	m := &request{op: nfs4.OpRemove, name: c.names[i]}
	if c.rng.IntN(3) == 0 {
		m.op, m.target = nfs4.OpRename, pick()
		if m.target == m.name {
			return true
		}
		c.w.oracle.removed(c, m.name)
		a, ok := c.call(m)
		if ok && a.status == nfs4.OK {
			c.names[i] = m.target
		}
		if ok {
			c.w.oracle.made(c, c.names[i])
		}
		return ok && c.expect(m, a, nfs4.OK, nfs4.ErrExist)
	}
	c.names = slices.Delete(c.names, i, i+1)
	c.w.oracle.removed(c, m.name)
	a, ok := c.call(m)
	return ok && c.expect(m, a, nfs4.OK)
}

// expect says that a request was answered with one of some statuses.
func (c *client) expect(m *request, a answer, allowed ...nfs4.Status) bool {
	if !slices.Contains(allowed, a.status) {
		c.w.violated(c.task, "G4: %s was answered %v", m, a.status)
		return false
	}
	return true
}

// call sends a request until it is answered with something else than DELAY;
// false if the run is over.
func (c *client) call(m *request) (answer, bool) {
	m.c = c
	for {
		c.seq++
		next := *m
		next.seq = c.seq
		a, ok := c.send(&next)
		if !ok {
			return a, false
		}
		c.w.note(c.task, "is answered %v: %s", a.status, &next)
		m.seq = next.seq
		c.answered(&next, a)
		if a.status != nfs4.ErrDelay {
			return a, true
		}
		if c.w.pause(c.task, nil, 100*time.Millisecond) == dead {
			return a, false
		}
	}
}

// answered checks that the answer is that of what was done.
func (c *client) answered(m *request, a answer) {
	switch m.op {
	case nfs4.OpCreate, nfs4.OpRemove, nfs4.OpRename:
		n := c.w.fs.effects(m, a.status)
		if (n == 1) != (a.status == nfs4.OK) {
			c.w.violated(c.task, "G3: %s took effect %d times and was answered %v", m, n, a.status)
		}
	}
}

// send sends one request, again and again to any gateway, until the connection
// used last brings an answer.
func (c *client) send(m *request) (answer, bool) {
	w := c.w
	var connections []context.CancelFunc
	defer func() {
		for _, end := range connections {
			end()
		}
	}()
	for attempt := 1; ; attempt++ {
		if attempt > 1 {
			c.at = c.rng.IntN(w.plan.gateways)
		}
		task := fmt.Sprintf("%s.%d.%d", c.task, m.seq, attempt)
		ctx, end := context.WithCancel(as(context.Background(), task))
		if !w.plan.late {
			for _, old := range connections {
				old()
			}
		}
		connections = append(connections, end)
		replies := make(chan []byte, 2)
		w.spawn(func() { w.deliver(ctx, task, c.at, m, replies) })
		if w.plan.late && c.rng.IntN(8) == 0 {
			// Through a balancer that gives up a gateway too early, and the client
			// does not hear of it.
			at, copied := c.rng.IntN(w.plan.gateways), task+"bis"
			w.spawn(func() { w.deliver(as(ctx, copied), copied, at, m, make(chan []byte, 1)) })
		}
		t := time.NewTimer(time.Duration(50+c.rng.IntN(1200)) * time.Millisecond)
		select {
		case b := <-replies:
			t.Stop()
			a := decode(b)
			if a.unheard {
				if w.pause(c.task, nil, 100*time.Millisecond) == dead {
					return a, false
				}
				continue
			}
			return a, w.take(c.task, nil, local, "goes on") != dead
		case <-t.C:
		}
		if w.take(c.task, nil, local, "tries another gateway") == dead {
			return answer{}, false
		}
	}
}

// deliver brings a message to a gateway, and the answer back.
func (w *world) deliver(ctx context.Context, task string, gateway int, m *request, replies chan<- []byte) {
	if w.take(task, nil, message, w.line("%s sent to g%d", m, gateway)) != proceed {
		return
	}
	if w.plan.late {
		ctx = context.WithoutCancel(ctx) // what a client gave up waiting for still comes
	}
	w.mu.Lock()
	g := w.gateways[gateway]
	w.mu.Unlock()
	if w.take(task, g, local, w.line("arrives at %s", g.process)) != proceed {
		return
	}
	if ctx.Err() != nil {
		return // the connection was closed
	}
	b, err := g.serve(ctx, m)
	if err != nil {
		return
	}
	b = slices.Clone(b)
	if w.take(task, g, message, "answer") != proceed {
		return
	}
	select {
	case replies <- b:
	default:
	}
}
