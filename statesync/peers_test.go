package statesync

import (
	"context"
	"net"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
	nats "holdfast/statesync/peer"
	"holdfast/statesync/rules"
)

// natsServer starts a nats-server on a free port. stop ends it, again starts it
// anew.
func natsServer(t *testing.T) (url string, stop, again func()) {
	t.Helper()
	path, err := exec.LookPath("nats-server")
	if err != nil {
		t.Skip("nats-server is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	host, port, _ := net.SplitHostPort(addr)
	var cmd *exec.Cmd
	stop = func() {
		if cmd != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			cmd = nil
		}
	}
	again = func() {
		cmd = exec.Command(path, "-a", host, "-p", port)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nats-server answers", func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	again()
	t.Cleanup(stop)
	return "nats://" + addr, stop, again
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// lossy drops every k-th message of a channel, in both directions and for good.
type lossy struct {
	Peers
	every, n uint64
}

func (l *lossy) drop() bool {
	return l.every > 0 && atomic.AddUint64(&l.n, 1)%l.every == 0
}

func (l *lossy) Publish(msg []byte) {
	if !l.drop() {
		l.Peers.Publish(msg)
	}
}

func (l *lossy) Subscribe(fn func(string, []byte)) error {
	return l.Peers.Subscribe(func(from string, msg []byte) {
		if !l.drop() {
			fn(from, msg)
		}
	})
}

// readOnly is a way to the store over which nothing can be written once it is
// shut.
type readOnly struct {
	durable.Store
	shut atomic.Bool
}

func (r *readOnly) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if r.shut.Load() {
		return nil, durable.ErrUnavailable
	}
	return r.Store.Commit(ctx, b)
}

// gatewaysWithPeers are nodes on one store and one channel. The gateway lease is
// so long that no beat comes by itself during a test.
func gatewaysWithPeers(t *testing.T, url string, lose uint64, names ...string) (ws []*world, chs []*nats.Channel) {
	t.Helper()
	first := &world{store: memory.New(), clock: &fakeClock{}, fs: newFakeFS()}
	for _, name := range names {
		w, ch := first.withPeers(t, url, lose, name)
		first.seed = w.seed
		ws, chs = append(ws, w), append(chs, ch)
	}
	for range 2 {
		for _, w := range ws {
			w.beat()
		}
	}
	return ws, chs
}

// withPeers adds a gateway on the store of another one, and on a channel.
func (w *world) withPeers(t *testing.T, url string, lose uint64, name string) (*world, *nats.Channel) {
	t.Helper()
	store := w.store
	if r, ok := store.(*readOnly); ok {
		store = r.Store
	}
	v := &world{t: t, store: &readOnly{Store: store}, clock: w.clock, fs: w.fs, seed: w.seed + 100, cfg: func(c *Config) {
		c.Shared, c.Name, c.GatewayLease, c.Lease = true, name, time.Minute, 4*time.Minute
	}}
	v.join()
	ch, err := nats.Connect(nats.Options{URL: url, Name: name, Domain: "test", Beat: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ch.Close() })
	t.Cleanup(func() { _ = v.n.Close(context.Background()) })
	if err := v.n.UsePeers(&lossy{Peers: ch, every: lose}); err != nil {
		t.Fatal(err)
	}
	return v, ch
}

// hearEachOther waits until every gateway heard of every other one.
func hearEachOther(t *testing.T, ws []*world) {
	t.Helper()
	eventually(t, "the gateways hear of each other", func() bool {
		for _, w := range ws {
			w.n.publish(encodeMessage(msgAlive, w.n.instance))
			w.n.channel.mu.Lock()
			heard := len(w.n.channel.heard)
			w.n.channel.mu.Unlock()
			if heard < len(ws)-1 {
				return false
			}
		}
		return true
	})
}

// open opens a file at a gateway and returns the stateid.
func (c *client41) opens(t *testing.T, file FileKey, owner string, access, deny uint32) (nfs4.Stateid, error) {
	t.Helper()
	req, fc := c.begin(0)
	fc.next()
	fc.start(nfs4.OpOpen)
	var sid nfs4.Stateid
	err := c.w.n.Open(context.Background(), req, nil, &OpenArgs{Client: c.id, Owner: []byte(owner), File: file, Access: access, Deny: deny},
		func(r *OpenResult) { sid = r.Stateid; fc.conclude(nfs4.OK) })
	if err == nil {
		req.Finish(fc.reply)
	} else {
		req.Abort()
	}
	return sid, err
}

// takeOver has the first gateway give away what a client that went silent had
// opened through the last one, and returns how long it took. If shut, the others
// can tell that they carried something out over the channel only.
func takeOver(t *testing.T, ws []*world, late *client41, sid nfs4.Stateid, c *client41, shut bool) time.Duration {
	t.Helper()
	b := ws[len(ws)-1]
	silence(t, ws...)
	for _, w := range ws {
		w.n.observeNow(t)
	}
	for _, w := range ws {
		if err := w.n.renewLease(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range ws[1:] {
		w.store.(*readOnly).shut.Store(shut)
	}
	began := time.Now()
	if _, err := c.opens(t, "f", "o", 3, 0); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if _, err := b.n.CheckIO(context.Background(), late.id, "f", sid, 1, 0); err == nil {
		t.Error("granted while another gateway still lets the late client read")
	}
	return took
}

// TestBarrierByPeers: what ended is carried out by every gateway at once, and
// its word is enough, with no beat and no write to the store; without NATS their
// next beat does it. Never is anything granted before (G1).
func TestBarrierByPeers(t *testing.T) {
	for _, with := range []bool{true, false} {
		url, stop, _ := natsServer(t)
		ws, _ := gatewaysWithPeers(t, url, 0, "a", "b", "c")
		hearEachOther(t, ws)
		b := ws[2]
		late := b.client41("late")
		sid, err := late.opens(t, "f", "o", 3, nfs4.ShareDenyBoth)
		if err != nil {
			t.Fatal(err)
		}
		c := ws[0].client41("c")
		ws[0].mustClient(late.id) // known there for so long that it counts as late
		done := make(chan struct{})
		if !with {
			stop()
			go func() { // the beats, which the test has made seldom
				for {
					select {
					case <-done:
						return
					case <-time.After(time.Second):
					}
					for _, w := range ws[1:] {
						_ = w.n.beat(context.Background())
					}
				}
			}()
		}
		took := takeOver(t, ws, late, sid, c, with)
		close(done)
		t.Logf("NATS there %v: granted after %v", with, took)
	}
}

// TestWarm: what one gateway commits is in the other's memory without a look at
// the store.
func TestWarm(t *testing.T) {
	url, _, _ := natsServer(t)
	ws, _ := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	a, b := ws[0], ws[1]
	c := a.client41("c")
	there := b.client41("there")
	if _, err := there.opens(t, "f", "x", 1, 0); err != nil {
		t.Fatal(err) // b has the file in memory
	}
	b.n.clients.put(c.id, b.mustClient(c.id))
	sid, err := c.opens(t, "f", "o", 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the open is known elsewhere", func() bool { return b.n.known("f", sid) })
	loads := b.n.Stats().Loads
	if _, err := b.n.CheckIO(context.Background(), c.id, "f", sid, 3, 0); err != nil {
		t.Fatal(err)
	}
	if more := b.n.Stats().Loads - loads; more != 0 {
		t.Errorf("%d loads for a stateid that was sent warm", more)
	}
	b.sameAsStored("f")
}

func (w *world) mustClient(id ClientID) *client {
	w.t.Helper()
	c, err := w.n.client(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// sameAsStored checks that a file in memory, if its version is the store's, is
// what the store holds.
func (w *world) sameAsStored(key FileKey) {
	w.t.Helper()
	g, err := w.n.load(context.Background(), fileKey(key))
	if err != nil {
		w.t.Fatal(err)
	}
	f := w.n.file(key)
	if err := f.turn.take(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	defer f.turn.give()
	if f.state == nil || f.version != g.Version {
		return
	}
	parts := f.state.Parts()
	if len(parts) != len(g.Parts) {
		w.t.Fatalf("%d parts in memory, %d in the store", len(parts), len(g.Parts))
	}
	for i, p := range parts {
		if p.Name != g.Parts[i].Name || string(p.Value) != string(g.Parts[i].Value) {
			w.t.Fatalf("part %q is %x in memory and %x in the store", p.Name, p.Value, g.Parts[i].Value)
		}
	}
}

// TestLossIsHarmless: whichever messages are lost, all gateways agree on every
// file, and a takeover is right.
func TestLossIsHarmless(t *testing.T) {
	for _, lose := range []uint64{0, 2, 3, 5} {
		url, _, _ := natsServer(t)
		ws, _ := gatewaysWithPeers(t, url, lose, "a", "b", "c")
		var cs []*client41
		for i, w := range ws {
			cs = append(cs, w.client41(string(rune('0'+i))))
		}
		files := []FileKey{"f0", "f1", "f2"}
		ctx := context.Background()
		for round := range 40 {
			c, key := cs[round%len(cs)], files[round%2]
			sid, err := c.opens(t, key, string(rune('A'+round)), 1+uint32(round%3), 0)
			if err != nil {
				t.Fatalf("losing every %d-th, round %d: %v", lose, round, err)
			}
			w := ws[(round+1)%len(ws)]
			if _, err := w.n.CheckIO(ctx, c.id, key, sid, 1+uint32(round%3), 0); err != nil {
				t.Fatalf("losing every %d-th, round %d, through another gateway: %v", lose, round, err)
			}
			for _, w := range ws {
				w.sameAsStored(key)
			}
		}
		s := ws[0].n.Stats()
		t.Logf("losing every %d-th: %d received, %d warmed, %d cooled, %d conflicts", lose, s.Received, s.Warmed, s.Cooled, s.Conflicts)
	}
}

// TestNATSStopsAndComesBack: without NATS everything goes on, and with it again
// hints flow again.
func TestNATSStopsAndComesBack(t *testing.T) {
	url, stop, again := natsServer(t)
	ws, chs := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	a, b := ws[0], ws[1]
	c := a.client41("c")
	stop()
	eventually(t, "the loss is noticed", func() bool { return !chs[0].Stats().Connected && !chs[1].Stats().Connected })
	sid, err := c.opens(t, "f", "o", 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.n.CheckIO(context.Background(), c.id, "f", sid, 3, 0); err != nil {
		t.Fatal(err)
	}
	again()
	eventually(t, "connected again", func() bool { return chs[0].Stats().Connected && chs[1].Stats().Connected })
	sid2, err := c.opens(t, "f", "second", 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second open is known elsewhere, or the file dropped to be loaded", func() bool {
		f := b.n.files.get("f")
		return b.n.known("f", sid2) || f != nil && !f.read(func(*rules.File) {})
	})
	if _, err := b.n.CheckIO(context.Background(), c.id, "f", sid2, 3, 0); err != nil {
		t.Fatal(err)
	}
}

// TestRenewedByPeers: a client that is active at one gateway is heard of at the
// others long before the store tells them.
func TestRenewedByPeers(t *testing.T) {
	url, _, _ := natsServer(t)
	ws, _ := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	a, b := ws[0], ws[1]
	c := a.client41("c")
	known := b.mustClient(c.id)
	// Long enough to be told again, too short to be declared dead for.
	a.clock.advance(40 * time.Second)
	req, fc := c.begin(0)
	req.Finish(fc.reply)
	eventually(t, "heard of elsewhere", func() bool { return known.renewed.Load() == b.n.clock() })
	if known.heard.Load() == b.n.clock() {
		t.Error("what another gateway heard counts as heard here: it would be told in circles")
	}
}
