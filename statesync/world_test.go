package statesync

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
)

// fakeClock is a clock that a test moves.
type fakeClock struct{ ns atomic.Int64 }

func (c *fakeClock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *fakeClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// seeded returns a Config.Random that is the same in every run.
func seeded(seed uint64) func([]byte) {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 1))
	return func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		for i := range p {
			p[i] = byte(r.Uint32())
		}
	}
}

// A world is a node over a store, a file system that is a set of names, and a
// clock.
type world struct {
	t     testing.TB
	store durable.Store
	clock *fakeClock
	n     *Node
	fs    *fakeFS
	seed  uint64
	cfg   func(*Config)
}

func newWorld(t testing.TB, cfg func(*Config)) *world {
	w := &world{t: t, store: memory.New(), clock: &fakeClock{}, fs: newFakeFS(), cfg: cfg}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(context.Background()) })
	return w
}

func (w *world) config(name string) Config {
	w.seed++
	cfg := Config{Store: w.store, Name: name, Lease: 10 * time.Second, Now: w.clock.now, Random: seeded(w.seed)}
	if w.cfg != nil {
		w.cfg(&cfg)
	}
	return cfg
}

func (w *world) join() {
	w.t.Helper()
	n, err := Join(context.Background(), w.config("g"))
	if err != nil {
		w.t.Fatal(err)
	}
	n.SetResolver(w.fs.resolve)
	w.n = n
}

// restart is a crash of the gateway and its start over what was durable.
func (w *world) restart() {
	w.t.Helper()
	_ = w.n.Close(context.Background())
	w.store = w.store.(*memory.Store).Crash(w.seed)
	w.join()
}

// fakeFS is a directory: names, and how often each was made.
type fakeFS struct {
	mu    sync.Mutex
	names map[string]bool
	made  map[string]int
}

func newFakeFS() *fakeFS { return &fakeFS{names: map[string]bool{}, made: map[string]int{}} }

func (f *fakeFS) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names[name]
}

func (f *fakeFS) make(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names[name] {
		return false
	}
	f.names[name] = true
	f.made[name]++
	return true
}

func (f *fakeFS) remove(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	had := f.names[name]
	delete(f.names, name)
	return had
}

func (f *fakeFS) resolve(_ context.Context, in *Intent) (Outcome, error) {
	there := f.has(in.Names[0].Name)
	if there == (in.Op == nfs4.OpCreate) {
		return OutcomeDone, nil
	}
	return OutcomeNotDone, nil
}

// A fakeCompound is a COMPOUND whose reply is made of results of 12 bytes or
// more: operation, status, body.
type fakeCompound struct {
	reply   []byte
	index   uint32
	op      nfs4.Op
	opStart int
	done    bool
	status  nfs4.Status
	cur     []byte
}

func (c *fakeCompound) start(op nfs4.Op) {
	c.op, c.done, c.status = op, false, nfs4.OK
	c.opStart = len(c.reply)
	c.reply = binary.BigEndian.AppendUint32(c.reply, uint32(op))
	c.reply = binary.BigEndian.AppendUint32(c.reply, 0)
}

func (c *fakeCompound) conclude(status nfs4.Status, body ...byte) {
	c.reply = c.reply[:c.opStart+8]
	binary.BigEndian.PutUint32(c.reply[c.opStart+4:], uint32(status))
	c.reply = append(c.reply, body...)
	c.status, c.done = status, true
}

func (c *fakeCompound) next() { c.index++ }

func (c *fakeCompound) Progress(p *Progress) {
	*p = Progress{Op: c.index, Offset: c.index, OpStart: uint32(c.opStart), Reply: c.reply[:c.opStart], Current: c.cur}
	if c.done {
		p.Op++
		p.Offset++
		p.Reply = c.reply
		p.Status = c.status
	}
}

func (c *fakeCompound) Mark() int { return len(c.reply) }

func (c *fakeCompound) Rewind(mark int) {
	c.reply = c.reply[:mark]
	c.done, c.status = false, nfs4.OK
}

func (c *fakeCompound) resume(p *Progress) {
	c.reply = append([]byte(nil), p.Reply...)
	c.index = p.Op
	c.status = p.Status
	c.cur = p.Current
}

// client41 is an NFSv4.1 client with one session.
type client41 struct {
	w       *world
	id      ClientID
	session nfs4.SessionID
	seq     [8]uint32
}

func (w *world) client41(owner string) *client41 {
	w.t.Helper()
	ctx := context.Background()
	x, err := w.n.ExchangeID(ctx, &ExchangeIDArgs{Owner: []byte(owner), Verifier: nfs4.Verifier{1}, Principal: "p", Minor: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	c := &client41{w: w, id: x.Client}
	c.session = c.newSession(x.Sequence)
	req, fc := c.begin(0)
	if err := w.n.ReclaimComplete(ctx, req, false); err != nil {
		w.t.Fatal(err)
	}
	req.Finish(fc.reply)
	return c
}

var anyChannel = ChannelAttrs{MaxRequest: 1 << 20, MaxReply: 1 << 20, MaxCached: 4096, MaxOps: 16, MaxSlots: 8}

func (c *client41) newSession(seq uint32) nfs4.SessionID {
	c.w.t.Helper()
	s, err := c.w.n.CreateSession(context.Background(), &CreateSessionArgs{
		Client: c.id, Sequence: seq, Flags: nfs4.CreateSessionPersist, Fore: anyChannel, Back: anyChannel, Principal: "p",
	})
	if err != nil {
		c.w.t.Fatal(err)
	}
	return s.Session
}

// begin sends the next request of a slot.
func (c *client41) begin(slot uint32) (*Request, *fakeCompound) {
	c.w.t.Helper()
	c.seq[slot]++
	return c.again(slot)
}

// again sends the last request of a slot again.
func (c *client41) again(slot uint32) (*Request, *fakeCompound) {
	c.w.t.Helper()
	fc := &fakeCompound{}
	r, err := c.send(context.Background(), slot, fc)
	if err != nil {
		c.w.t.Fatalf("slot %d sequence %d: %v", slot, c.seq[slot], err)
	}
	return r, fc
}

func (c *client41) send(ctx context.Context, slot uint32, fc *fakeCompound) (*Request, error) {
	r, err := c.w.n.Sequence(ctx, &SequenceArgs{
		Session: c.session, Slot: slot, Sequence: c.seq[slot], Highest: 7, Checksum: uint64(slot)<<32 | uint64(c.seq[slot]),
	}, fc)
	if err == nil && r.Resume != nil {
		fc.resume(r.Resume)
	}
	return r, err
}

// create makes a name as a COMPOUND of CREATE does, and returns the status.
func (w *world) create(r *Request, fc *fakeCompound, name string) (nfs4.Status, error) {
	if r.Resume != nil && fc.index > 0 {
		r.Finish(fc.reply)
		return fc.status, nil
	}
	fc.start(nfs4.OpCreate)
	status := nfs4.OK
	in := r.Begun()
	run := true
	if in != nil && in.Settled && in.Outcome == OutcomeDone {
		run = false
	} else {
		err := r.Begin(context.Background(), nfs4.OpCreate, []Name{{Dir: "d", Name: name}}, func() ([]byte, error) {
			if w.fs.has(name) {
				return nil, errExists
			}
			return []byte{}, nil
		})
		switch {
		case err == errExists:
			status, run = nfs4.ErrExist, false
			fc.conclude(status)
			r.Finish(fc.reply)
			return status, nil
		case err != nil:
			r.Abort()
			return 0, err
		}
		if in != nil && !in.Settled {
			out, _ := w.fs.resolve(context.Background(), in)
			run = out != OutcomeDone
		}
	}
	if run && !w.fs.make(name) {
		status = nfs4.ErrExist
	}
	if err := r.Done(context.Background(), func() { fc.conclude(status) }); err != nil {
		r.Abort()
		return 0, err
	}
	r.Finish(fc.reply)
	return status, nil
}

var errExists = fmt.Errorf("exists")
