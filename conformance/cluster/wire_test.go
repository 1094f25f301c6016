package cluster_test

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/cluster"
	"holdfast/conformance/kernel"
	"holdfast/internal/nfs4"
)

// TestWire shows on the wire that the gateways are one server. The cases share a cluster.
func TestWire(t *testing.T) {
	c := start(t, cluster.Config{GatewayLease: 2 * time.Second})
	t.Run("identity", func(t *testing.T) { identity(t, c) })
	t.Run("state goes along", func(t *testing.T) {
		everyVersion(t, func(t *testing.T, minor uint32) { stateGoesAlong(t, c, minor) })
	})
	t.Run("a conflict is seen everywhere", func(t *testing.T) {
		everyVersion(t, func(t *testing.T, minor uint32) { conflictEverywhere(t, c, minor) })
	})
	t.Run("a replay is answered elsewhere", func(t *testing.T) {
		everyVersion(t, func(t *testing.T, minor uint32) { replayElsewhere(t, c, minor) })
	})
	t.Run("a session used through two gateways", func(t *testing.T) { trunked(t, c) })
	t.Run("a kill takes nothing", func(t *testing.T) {
		everyVersion(t, func(t *testing.T, minor uint32) { killTakesNothing(t, c, minor) })
	})
	t.Run("what a paused gateway was left with", func(t *testing.T) {
		everyVersion(t, func(t *testing.T, minor uint32) { pausedRunsNothingOld(t, c, minor) })
	})
	t.Run("what a machine was left with that the balancer gave up", func(t *testing.T) { givenUpRunsNothingOld(t, c) })
	t.Run("a paused gateway comes back", func(t *testing.T) { pausedComesBack(t, c) })
}

func rover(t *testing.T, c *cluster.Cluster, minor uint32, at int) *cluster.Rover {
	t.Helper()
	r, err := c.Rover(minor, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// identity: server owner (RFC 8881 §2.5), scope, filehandles, fileid and change are the same on every gateway; the write verifier
// is not (§18.32.3).
func identity(t *testing.T, c *cluster.Cluster) {
	r := rover(t, c, 1, 0)
	root := must[client.FH](t)(r.Root())
	f := must[*client.OpenFile](t)(r.CreateFile(root, "identity"))
	must[*client.WriteRes](t)(f.Write(0, nfs4.FileSync, []byte("same everywhere")))

	type seen struct {
		major, scope, rootFH, fileFH string
		minor, fileid, change        uint64
	}
	var first seen
	verifiers := map[nfs4.Verifier]int{}
	for i := range c.Gateways {
		o := rover(t, c, 1, i)
		fh := must[client.FH](t)(o.Walk("identity"))
		a := must[*client.Attrs](t)(o.Attrs(fh, nfs4.AttrFileID, nfs4.AttrChange))
		x := o.Exchange
		fileid, change := a.Num(nfs4.AttrFileID), a.Change()
		now := seen{string(x.ServerMajor), string(x.Scope), must[client.FH](t)(o.Root()).String(), fh.String(), x.ServerMinor, fileid, change}
		if i == 0 {
			first = now
		}
		if now != first || fileid == 0 || change == 0 || now.major == "" || now.scope == "" {
			t.Errorf("gateway %d is %+v, the first one %+v", i, now, first)
		}
	}
	for i := range c.Gateways {
		if err := r.Move(i); err != nil {
			t.Fatal(err)
		}
		w := must[*client.WriteRes](t)(f.Write(0, nfs4.Unstable, []byte("same")))
		if j, there := verifiers[w.Verifier]; there {
			t.Errorf("gateways %d and %d have the same write verifier", i, j)
		}
		verifiers[w.Verifier] = i
	}
}

// stateGoesAlong: client, session, open and lock made on one gateway are used and given back on others, with nothing but a new
// connection.
func stateGoesAlong(t *testing.T, c *cluster.Cluster, minor uint32) {
	r := rover(t, c, minor, 0)
	root := must[client.FH](t)(r.Root())
	f := must[*client.OpenFile](t)(r.CreateFile(root, client.UniqueName("along")))
	move := func(at int) {
		t.Helper()
		if err := r.Move(at); err != nil {
			t.Fatal(err)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	move(1)
	must[*client.WriteRes](t)(f.Write(0, nfs4.FileSync, []byte("written on the second")))
	locks := f.Locks(client.NewOwner())
	check(locks.Lock(nfs4.WriteLT, 0, 100))
	move(2)
	check(locks.Lock(nfs4.WriteLT, 200, 100))
	if got := must[*client.ReadRes](t)(f.Read(0, 100)); string(got.Data) != "written on the second" {
		t.Errorf("read %q", got.Data)
	}
	move(0)
	check(locks.Unlock(0, 100))
	move(1)
	check(locks.Unlock(200, 100))
	if minor > 0 {
		move(2)
		must[*client.Reply](t)(r.Must(client.TestStateid(f.Stateid)))
	}
	move(0)
	check(f.Close())
}

// conflictEverywhere: what one client has locked or denied on a gateway is refused to another client on every other gateway, and
// granted as soon as it is given back.
func conflictEverywhere(t *testing.T, c *cluster.Cluster, minor uint32) {
	a, b := rover(t, c, minor, 0), rover(t, c, minor, 1)
	name := client.UniqueName("conflict")
	root := must[client.FH](t)(a.Root())
	fa := must[*client.OpenFile](t)(a.CreateFile(root, name))
	fb := must[*client.OpenFile](t)(b.CreateFile(root, name))
	la, lb := fa.Locks(client.NewOwner()), fb.Locks(client.NewOwner())
	for round := range 2 * len(c.Gateways) {
		if err := a.Move(round % len(c.Gateways)); err != nil {
			t.Fatal(err)
		}
		if err := b.Move((round + 1) % len(c.Gateways)); err != nil {
			t.Fatal(err)
		}
		if err := la.Lock(nfs4.WriteLT, 0, 10); err != nil {
			t.Fatalf("round %d: the lock: %v", round, err)
		}
		if status, _ := client.Status(lb.Lock(nfs4.WriteLT, 5, 10)); status != nfs4.ErrDenied {
			t.Fatalf("round %d: the conflicting lock: %v", round, status)
		}
		if d, err := lb.Test(nfs4.WriteLT, 5, 10); err != nil || d == nil {
			t.Fatalf("round %d: LOCKT says %v, %v", round, d, err)
		}
		if err := la.Unlock(0, 10); err != nil {
			t.Fatal(err)
		}
		if err := lb.Lock(nfs4.WriteLT, 5, 10); err != nil {
			t.Fatalf("round %d: the lock after the other one is gone: %v", round, err)
		}
		if err := lb.Unlock(5, 10); err != nil {
			t.Fatal(err)
		}
	}
	// Share reservations (RFC 8881 §9.7).
	deny := client.OpenArgs{Access: nfs4.ShareAccessBoth, Deny: nfs4.ShareDenyBoth, Name: client.UniqueName("deny"),
		How: nfs4.OpenCreate, Mode: nfs4.CreateUnchecked, Attrs: new(client.Attrs).SetMode(0o644)}
	held := must[*client.OpenFile](t)(a.Open(client.NewOwner(), root, deny))
	if _, err := b.Open(client.NewOwner(), root, deny); status(err) != nfs4.ErrShareDenied {
		t.Fatalf("an open that another gateway denies: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(client.NewOwner(), root, deny); err != nil {
		t.Fatalf("an open after the denying one is closed: %v", err)
	}
}

func status(err error) nfs4.Status {
	s, ok := client.Status(err)
	if !ok {
		return nfs4.ErrServerFault
	}
	return s
}

// replayElsewhere: a request that ran on one gateway and comes again to another one gets the reply of the first run, byte for byte,
// and has no second effect (RFC 8881 §2.10.6.1.3).
func replayElsewhere(t *testing.T, c *cluster.Cluster, minor uint32) {
	r := rover(t, c, minor, 0)
	root := must[client.FH](t)(r.Root())
	dir := must[client.FH](t)(r.MkdirFH(root, client.UniqueName("replay")))
	for i, ops := range [][]client.Op{
		{client.PutFH(dir), client.Mkdir("made"), client.GetFH()},
		{client.PutFH(dir), client.SaveFH(), client.PutFH(dir), client.Rename("made", "renamed")},
		{client.PutFH(dir), client.Symlink("link", "target")},
		{client.PutFH(dir), client.Remove("renamed")},
		{client.PutFH(dir), client.Mkdir("made"), client.GetFH()}, // as the first one, which must not be mistaken for it
		{client.PutFH(dir), client.Remove("link")},
		{client.PutFH(dir), client.Remove("none")},
	} {
		if err := r.Move(i % len(c.Gateways)); err != nil {
			t.Fatal(err)
		}
		q := r.Request(ops...)
		again := q.Clone()
		first := must[*client.Reply](t)(r.Send(q))
		for range len(c.Gateways) {
			if err := r.Move((r.At() + 1) % len(c.Gateways)); err != nil {
				t.Fatal(err)
			}
			p, err := r.Conn().Do(again)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(p.Raw, first.Raw) {
				t.Fatalf("request %d: gateway %d answers\n%v\nand the first one\n%v", i, r.At(), p, first)
			}
		}
	}
}

// trunked: one session, two slots, two gateways, at the same time.
func trunked(t *testing.T, c *cluster.Cluster) {
	r := rover(t, c, 2, 0)
	root := must[client.FH](t)(r.Root())
	dir := must[client.FH](t)(r.MkdirFH(root, client.UniqueName("trunk")))
	if err := r.Move(0); err != nil {
		t.Fatal(err)
	}
	one := r.Conn()
	nc, err := c.Gateways[1].Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	two := client.NewConn(nc, client.Options{})
	defer two.Close()
	type end struct {
		name string
		err  error
	}
	ended := make(chan end, 2)
	for name, conn := range map[string]*client.Conn{"one": one, "two": two} {
		slot := r.Session.Acquire()
		go func() {
			for i := range 200 {
				p, err := client.Check(slot.Send(conn, slot.Request(true, client.PutFH(dir), client.Mkdir(fmt.Sprint(name, i)))))
				if err != nil {
					ended <- end{name, fmt.Errorf("%d: %w: %v", i, err, p)}
					return
				}
			}
			ended <- end{name, nil}
		}()
	}
	for range 2 {
		if e := <-ended; e.err != nil {
			t.Errorf("%s: %v", e.name, e.err)
		}
	}
	if n := len(must[[]client.Entry](t)(r.List(dir, 8192))); n != 400 {
		t.Errorf("%d directories were made, want 400", n)
	}
}

// killTakesNothing: a gateway that is killed takes neither the client nor its open and lock with it, and the next one answers at
// once.
func killTakesNothing(t *testing.T, c *cluster.Cluster, minor uint32) {
	r, other := rover(t, c, minor, 0), rover(t, c, minor, 1)
	root := must[client.FH](t)(r.Root())
	name := client.UniqueName("kill")
	f := must[*client.OpenFile](t)(r.CreateFile(root, name))
	fo := must[*client.OpenFile](t)(other.CreateFile(root, name))
	locks, rival := f.Locks(client.NewOwner()), fo.Locks(client.NewOwner())
	if err := locks.Lock(nfs4.WriteLT, 0, 10); err != nil {
		t.Fatal(err)
	}
	c.Gateways[0].Kill(t)
	began := time.Now()
	if err := r.Move(1); err != nil {
		t.Fatal(err)
	}
	must[*client.WriteRes](t)(f.Write(0, nfs4.FileSync, []byte("on")))
	t.Logf("the first reply after the kill came within %v", time.Since(began).Round(10*time.Microsecond))
	if err := rival.Lock(nfs4.WriteLT, 0, 10); status(err) != nfs4.ErrDenied {
		t.Errorf("another client is told %v of the lock", err)
	}
	if err := locks.Unlock(0, 10); err != nil {
		t.Fatal(err)
	}
	if err := rival.Lock(nfs4.WriteLT, 0, 10); err != nil {
		t.Errorf("after it was given back: %v", err)
	}
	c.Gateways[0].Start(t)
	c.Gateways[0].AwaitReady(t)
}

// pausedRunsNothingOld: what waits in the sockets of a gateway that hangs for less than its lease, and was done elsewhere meanwhile, is
// not done when it goes on: data that was written since stays.
func pausedRunsNothingOld(t *testing.T, c *cluster.Cluster, minor uint32) {
	r := rover(t, c, minor, 0)
	root := must[client.FH](t)(r.Root())
	f := must[*client.OpenFile](t)(r.CreateFile(root, client.UniqueName("old")))
	q := r.Request(client.PutFH(f.FH), client.Write(f.Stateid, 0, nfs4.Unstable, []byte("old")))
	g := c.Gateways[0]
	paused := time.Now()
	g.Pause(t)
	// One copy on the connection that the client had, and one on a connection that was made too late to be accepted.
	nc, err := g.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := client.NewConn(nc, client.Options{})
	defer late.Close()
	left, err := r.Leave(1)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	for _, conn := range []*client.Conn{left, late} {
		if _, err := conn.Start(q.Clone()); err != nil {
			t.Fatal(err)
		}
	}
	must[*client.Reply](t)(client.Check(r.Send(q)))
	must[*client.WriteRes](t)(f.Write(0, nfs4.FileSync, []byte("new")))
	<-time.After(time.Until(paused.Add(time.Second))) // the pause itself
	g.Resume(t)
	for name, conn := range map[string]*client.Conn{"the one it had": left, "the one that was not accepted": late} {
		select {
		case <-conn.Closed():
		case <-time.After(c.Lab.Limit):
			t.Fatalf("the gateway keeps a connection: %s", name)
		}
	}
	for at := range c.Gateways {
		if got := readAt(t, c, r, f, at); got != "new" {
			t.Errorf("gateway %d reads %q", at, got)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// givenUpRunsNothingOld: a whole machine that stands still, and goes on as soon as the balancer has ended its connections, does nothing
// of what it was left with. That is the shortest time after which its clients have gone elsewhere.
func givenUpRunsNothingOld(t *testing.T, c *cluster.Cluster) {
	r := rover(t, c, 1, 0)
	root := must[client.FH](t)(r.Root())
	f := must[*client.OpenFile](t)(r.CreateFile(root, client.UniqueName("machine")))
	g := c.Gateways[0]
	through := led(t, c, g)
	defer through.Close()
	g.Pause(t)
	left, err := r.Leave(1)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	q := r.Request(client.PutFH(f.FH), client.Write(f.Stateid, 0, nfs4.Unstable, []byte("old")))
	late, err := left.Start(q.Clone())
	if err != nil {
		t.Fatal(err)
	}
	g.Host.Cut(t, kernel.Front)
	must[*client.Reply](t)(client.Check(r.Send(q)))
	must[*client.WriteRes](t)(f.Write(0, nfs4.FileSync, []byte("new")))
	select {
	case <-through.Closed():
	case <-time.After(c.Lab.Limit):
		t.Fatal("the balancer does not give it up")
	}
	g.Host.Mend(t, kernel.Front)
	g.Resume(t)
	if reply, err := late(); err == nil {
		t.Errorf("the gateway carried out what its client had done elsewhere: %v", reply)
	}
	for at := range c.Gateways {
		if got := readAt(t, c, r, f, at); got != "new" {
			t.Errorf("gateway %d reads %q", at, got)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// led returns a connection through the balancer that leads to that gateway. A balancer that has just seen it dead or hanging leads to
// the others for a while.
func led(t *testing.T, c *cluster.Cluster, g *cluster.Gateway) *client.Conn {
	t.Helper()
	connections := func() float64 { return must[cluster.Metrics](t)(g.Metrics()).Value("holdfast_connections") }
	for end := time.Now().Add(c.Lab.Limit); time.Now().Before(end); {
		before := connections()
		conn := client.NewConn(must[net.Conn](t)(c.Dial(t.Context())), client.Options{})
		if err := conn.Null(); err != nil {
			t.Fatal(err)
		}
		if connections() > before {
			return conn
		}
		conn.Close()
	}
	t.Fatalf("the balancer leads nobody to %s", g.Name)
	return nil
}

// readAt reads through one gateway, as soon as it takes connections: those that are made in the moment of its waking are reset, too.
func readAt(t *testing.T, c *cluster.Cluster, r *cluster.Rover, f *client.OpenFile, at int) string {
	t.Helper()
	for end := time.Now().Add(c.Lab.Limit); time.Now().Before(end); {
		if err := r.Move(at); err != nil {
			continue
		}
		if got := must[*client.ReadRes](t)(f.Read(0, 10)); r.At() == at { // or it went elsewhere
			return string(got.Data)
		}
	}
	t.Fatalf("gateway %d does not take connections", at)
	return ""
}

// pausedComesBack: a gateway that hung for longer than its lease drops its clients when it wakes up, joins anew by itself, and
// its clients have lost nothing.
func pausedComesBack(t *testing.T, c *cluster.Cluster) {
	r := rover(t, c, 1, 2)
	root := must[client.FH](t)(r.Root())
	f := must[*client.OpenFile](t)(r.CreateFile(root, client.UniqueName("paused")))
	locks := f.Locks(client.NewOwner())
	if err := locks.Lock(nfs4.WriteLT, 0, 10); err != nil {
		t.Fatal(err)
	}
	g := c.Gateways[2]
	before := must[*client.WriteRes](t)(f.Write(0, nfs4.Unstable, []byte("before"))).Verifier
	old := r.Conn()
	g.Pause(t)
	awaitLog(t, c.Gateways[:2], "gateway=gw3", "declared dead")
	g.Resume(t)
	select {
	case <-old.Closed():
	case <-time.After(c.Lab.Limit):
		t.Fatal("the woken gateway keeps its connections")
	}
	g.AwaitReady(t)
	if err := r.Move(2); err != nil {
		t.Fatal(err)
	}
	after := must[*client.WriteRes](t)(f.Write(0, nfs4.Unstable, []byte("after"))).Verifier
	if before == after {
		t.Error("the write verifier is that of before")
	}
	if err := locks.Unlock(0, 10); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
