package nfsops_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/statesync"
)

// A venue is where a request loses its gateway, and how it comes to an answer.
type venue struct {
	name  string
	seeds uint64 // how many ways there are in which that goes at one effect

	// open starts what there is: the gateway that gets the request, the way of another client
	// to a gateway, and what happens at an effect of the request, or, at -1, after the
	// first reply, with the answer that the client gets then.
	open func(t *testing.T) (first *world, other dialer, lose loss)
}

type dialer func(context.Context) (net.Conn, error)

type loss func(at int, seed uint64, s *stage) (*client.Reply, error)

var venues = []venue{
	{"started again", 3, func(t *testing.T) (*world, dialer, loss) {
		w := newWorld(t)
		return w, w.dial, func(at int, seed uint64, s *stage) (*client.Reply, error) {
			s.dieAt(at)
			w.restart(seed)
			s.moveTo(w.dial)
			s.must(s.other.Reconnect(context.Background()))
			return s.send()
		}
	}},
	// The client is at the other gateway before that knows that the first one is dead, and is held.
	inPair("another gateway, at once", func(p *pair, at int, s *stage) (*client.Reply, error) {
		s.dieAt(at)
		p.a.kill()
		s.moveTo(p.b.dial)
		held := p.held(s)
		p.expire()
		return held()
	}),
	inPair("another gateway, later", func(p *pair, at int, s *stage) (*client.Reply, error) {
		s.dieAt(at)
		p.a.kill()
		p.expire()
		s.moveTo(p.b.dial)
		return s.send()
	}),
	// The first one is back, as another instance, before anybody missed it.
	inPair("another gateway beside the one started again", func(p *pair, at int, s *stage) (*client.Reply, error) {
		s.dieAt(at)
		p.a.kill()
		p.a.revive()
		s.moveTo(p.b.dial)
		return s.send()
	}),
	// The first one hangs; it goes on when the other one has the request, too.
	inPair("another gateway beside one that goes on", func(p *pair, at int, s *stage) (*client.Reply, error) {
		s.hangAt(at)
		s.moveTo(p.b.dial)
		held := p.held(s)
		p.a.goOn()
		return held()
	}),
	// The first one hangs for longer than its lease. What it finds when it wakes up, it must leave alone. What it
	// was doing in that very moment nobody can stop but a fencing hook.
	inPair("another gateway after one that wakes up too late", func(p *pair, at int, s *stage) (*client.Reply, error) {
		p.a.noGap = true
		s.hangAt(at)
		p.expire()
		s.moveTo(p.b.dial)
		reply, err := s.send()
		p.a.goOn()
		return reply, err
	}),
	// A client that uses a session through several gateways sends the request to both of them.
	inPair("both gateways at the same moment", func(p *pair, at int, s *stage) (*client.Reply, error) {
		stream, err := p.b.dial(context.Background())
		s.must(err)
		there := client.NewConn(stream, client.Options{})
		defer there.Close()
		type answer struct {
			p   *client.Reply
			err error
		}
		got, q := make(chan answer, 1), s.request.Clone()
		go func() {
			p, err := there.Do(q)
			got <- answer{p, err}
		}()
		reply, err := s.send()
		a := <-got
		if err == nil && a.err == nil && !bytes.Equal(reply.Raw, a.p.Raw) && !rerun[s.name] {
			return nil, fmt.Errorf("one answers\n%v\nand the other one\n%v", reply, a.p)
		}
		return reply, errors.Join(err, a.err)
	}),
}

func inPair(name string, lose func(p *pair, at int, s *stage) (*client.Reply, error)) venue {
	return venue{name, 1, func(t *testing.T) (*world, dialer, loss) {
		p := newPair(t)
		return p.a, p.b.dial, func(at int, _ uint64, s *stage) (*client.Reply, error) { return lose(p, at, s) }
	}}
}

// dieAt sends the request to a gateway that dies at an effect of it.
func (s *stage) dieAt(at int) {
	s.t.Helper()
	if at < 0 {
		return
	}
	s.arm(at)
	if p, err := s.send(); err == nil {
		s.t.Fatalf("crash at effect %d: the dead gateway answered %v", at, p)
	}
}

// hangAt sends the request to a gateway that hangs at an effect of it until goOn.
func (s *stage) hangAt(at int) {
	s.t.Helper()
	if at < 0 {
		return
	}
	hangs := s.armHang(at)
	conn, q := s.Conn(), s.request.Clone()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		conn.Do(q) // the client is gone when an answer comes
	}()
	select {
	case <-hangs:
	case <-answered:
		s.t.Fatalf("the request has no effect %d", at)
	}
}

// held sends the request to b, and returns when it is there, with what waits for the answer.
func (p *pair) held(s *stage) func() (*client.Reply, error) {
	type answer struct {
		p   *client.Reply
		err error
	}
	before := p.b.node.Stats().Requests
	got := make(chan answer, 1)
	go func() {
		p, err := s.send()
		got <- answer{p, err}
	}()
	for p.b.node.Stats().Requests == before {
		select {
		case a := <-got: // one that the state is not asked for
			return func() (*client.Reply, error) { return a.p, a.err }
		case <-time.After(100 * time.Microsecond):
		}
	}
	return func() (*client.Reply, error) {
		a := <-got
		return a.p, a.err
	}
}

// moveTo makes the stage's client connect elsewhere, with nothing but a new
// connection.
func (s *stage) moveTo(dial dialer) {
	s.t.Helper()
	s.Config.Dial = dial
	s.must(s.Reconnect(context.Background()))
}

// A pair is two gateways on one store and one directory, with one clock, that
// only the test moves.
type pair struct {
	a, b  *world
	doors map[string]*doorway
	clock atomic.Int64
}

const pairLease = time.Minute // of gateways, by the pair's clock

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{doors: map[string]*doorway{}}
	store, dir := memory.New(), t.TempDir()
	begin := func(name string) *world {
		w := &world{t: t, dir: dir, store: store}
		w.join = func(cfg *statesync.Config) {
			p.doors[name] = &doorway{Store: store, w: w}
			cfg.Store = p.doors[name]
			cfg.Name, cfg.Shared, cfg.Manual = name, true, true
			cfg.Lease, cfg.GatewayLease = time.Hour, pairLease
			cfg.Now = func() time.Time { return time.Unix(0, p.clock.Load()) }
		}
		w.start()
		t.Cleanup(w.stop)
		return w
	}
	p.a, p.b = begin("a"), begin("b")
	for _, w := range []*world{p.a, p.b} { // each has seen the other
		if err := w.node.Beat(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// expire lets the lease of a gateway that does not renew it end, while b does.
func (p *pair) expire() {
	p.b.t.Helper()
	for range 5 {
		p.clock.Add(int64(pairLease / 4))
		if err := p.b.node.Beat(context.Background()); err != nil {
			p.b.t.Fatal(err)
		}
	}
}

// revive starts a killed gateway of a pair again. What it had asked the store
// for, the store has done.
func (w *world) revive() {
	w.mu.Lock()
	w.dead = false
	w.mu.Unlock()
	w.start()
}

// A doorway is one gateway's way to a store that others use, too: with its
// commits, and its waits for them, as effects.
type doorway struct {
	*memory.Store
	w    *world
	away atomic.Bool // the store cannot be reached
}

func (d *doorway) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	if d.away.Load() {
		return nil, durable.ErrUnavailable
	}
	return d.Store.Load(ctx, keys...)
}

func (d *doorway) LoadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	if d.away.Load() {
		return durable.Group{}, durable.ErrUnavailable
	}
	return d.Store.LoadParts(ctx, key, names...)
}

func (d *doorway) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if err := d.w.effect(); err != nil {
		return nil, err
	}
	if d.away.Load() {
		return nil, durable.ErrUnavailable
	}
	ack, err := d.Store.Commit(ctx, b)
	if err != nil {
		return nil, err
	}
	return &doorwayAck{ack, d.w}, nil
}

type doorwayAck struct {
	durable.Ack
	w *world
}

func (a *doorwayAck) Wait() error {
	if err := a.w.effect(); err != nil {
		return err
	}
	return a.Ack.Wait()
}
