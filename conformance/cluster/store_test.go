package cluster_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/cluster"
	"holdfast/internal/nfs4"
)

// away is for how long TestStoreAway takes the store away.
const away = 20 * time.Second

// TestStoreAway: the Redis hangs, or is not there, for much longer than the lease of gateways. Reads and writes of open files go on
// at every gateway meanwhile, nothing is granted, and nothing that was granted is lost.
func TestStoreAway(t *testing.T) {
	c := start(t, cluster.Config{})
	t.Run("hangs", func(t *testing.T) {
		withoutStore(t, c, func() { c.Store.Signal(t, syscall.SIGSTOP) }, func() { c.Store.Signal(t, syscall.SIGCONT) })
	})
	t.Run("is killed", func(t *testing.T) {
		withoutStore(t, c, func() { c.Store.Kill(t) }, func() { c.Store.Start(t) })
	})
}

func withoutStore(t *testing.T, c *cluster.Cluster, take, giveBack func()) {
	holders := holdEach(t, c)
	take()
	began := time.Now()
	blind := began.Add(2 * c.Config.GatewayLease) // from then on no gateway has a lease from the store any more
	back := make(chan struct{})
	var all sync.WaitGroup
	for _, h := range holders {
		all.Go(func() {
			for {
				select {
				case <-back:
					return
				default:
				}
				if err := h.readAndWrite(); err != nil {
					t.Errorf("gateway %d: %v", h.At(), err)
					return
				}
				if time.Now().After(blind) && time.Since(began) < away {
					h.blind.Add(1)
				}
			}
		})
		all.Go(func() { h.rival.await(t, back) })
	}
	time.Sleep(away) // that is the fault
	close(back)
	giveBack()
	all.Wait()
	for i, h := range holders {
		if h.blind.Load() == 0 || h.Moves > 0 {
			t.Errorf("gateway %d served %d reads and writes without the store, and its client had to move %d times", i, h.blind.Load(), h.Moves)
		}
		t.Logf("gateway %d: %d reads and writes later than %v without the store", i, h.blind.Load(), 2*c.Config.GatewayLease)
		h.giveUp(t)
	}
}

// A holder is a client that has a file open and locked; its rival, at another gateway, wants the lock.
type holder struct {
	*cluster.Rover
	file  *client.OpenFile
	locks *client.Locks
	rival *rival
	blind atomic.Int64
}

type rival struct {
	*cluster.Rover
	locks *client.Locks
}

// holdEach lets a client at each gateway, one of each minor version, hold a lock.
func holdEach(t *testing.T, c *cluster.Cluster) []*holder {
	t.Helper()
	var all []*holder
	for i := range c.Gateways {
		h := &holder{Rover: rover(t, c, uint32(i%3), i)}
		h.rival = &rival{Rover: rover(t, c, uint32((i+1)%3), (i+1)%len(c.Gateways))}
		root, name := must[client.FH](t)(h.Root()), client.UniqueName("held")
		h.file = must[*client.OpenFile](t)(h.CreateFile(root, name))
		h.locks = h.file.Locks(client.NewOwner())
		if err := h.locks.Lock(nfs4.WriteLT, 0, 10); err != nil {
			t.Fatal(err)
		}
		h.rival.locks = must[*client.OpenFile](t)(h.rival.CreateFile(root, name)).Locks(client.NewOwner())
		if err := h.readAndWrite(); err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	return all
}

func (h *holder) readAndWrite() error {
	if _, err := h.file.Write(0, nfs4.FileSync, []byte("written")); err != nil {
		return err
	}
	_, err := h.file.Read(0, 7)
	return err
}

// await asks for the lock until the store is back: it is never granted.
func (r *rival) await(t *testing.T, back <-chan struct{}) {
	for {
		reply, err := again(func() (*client.Reply, error) { return r.locks.LockReply(nfs4.WriteLT, 5, 10) })
		switch {
		case err != nil:
			t.Errorf("the rival at gateway %d: %v", r.At(), err)
			return
		case reply.Status != nfs4.ErrDenied:
			t.Errorf("the rival at gateway %d is told %v", r.At(), reply.Status)
			return
		}
		select {
		case <-back:
			return
		default:
		}
	}
}

// giveUp gives the lock back: it was still there, and the rival gets it.
func (h *holder) giveUp(t *testing.T) {
	t.Helper()
	lock := func(want nfs4.Status) {
		t.Helper()
		reply, err := again(func() (*client.Reply, error) { return h.rival.locks.LockReply(nfs4.WriteLT, 5, 10) })
		if err != nil || reply.Status != want {
			t.Fatalf("the rival is told %v, %v; want %v", reply, err, want)
		}
	}
	lock(nfs4.ErrDenied)
	reply, err := again(func() (*client.Reply, error) { return h.locks.UnlockReply(0, 10) })
	if err != nil || reply.Status != nfs4.OK {
		t.Fatalf("giving the lock back: %v, %v", reply, err)
	}
	lock(nfs4.OK)
}

// TestStoreFailover: the master of three Redis servers dies, twice, and Sentinel makes another one the master. What was
// acknowledged is kept: what clients see is what one server would show them.
func TestStoreFailover(t *testing.T) {
	c := start(t, cluster.Config{Sentinel: true})
	holders := holdEach(t, c)
	b, players, err := newBoard(c, "failover", 6, 2)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, p := range players {
		defer p.Close()
		all.Go(func() { p.play(t, stop) })
	}
	more := func() {
		t.Helper()
		want := b.history.Len() + 300
		for end := time.Now().Add(c.Lab.Limit); b.history.Len() < want && !t.Failed(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the clients do not get on")
			}
		}
	}
	more()
	for range 2 {
		dead := c.AwaitMaster(t)
		began := time.Now()
		dead.Kill(t)
		c.AwaitMaster(t)
		more()
		t.Logf("300 operations more %v after the master died", time.Since(began).Round(time.Millisecond))
		dead.Start(t)
		c.AwaitMaster(t)
		more()
	}
	close(stop)
	all.Wait()
	if err := b.history.Check(checkLimit); err != nil {
		t.Error(err)
	}
	for _, h := range holders {
		h.giveUp(t)
	}
}

// TestStoreWiped: the Redis is emptied, or set back to what it held before a lock was granted, behind the gateways' back. They notice,
// say so, and grant nothing: neither those that run nor one that starts.
func TestStoreWiped(t *testing.T) {
	t.Run("emptied", func(t *testing.T) {
		c := start(t, cluster.Config{GatewayLease: time.Second})
		holders := holdEach(t, c)
		c.StoreCommand(t, "FLUSHALL")
		nothingGranted(t, c, holders)
	})
	t.Run("set back", func(t *testing.T) {
		c := start(t, cluster.Config{GatewayLease: time.Second})
		old := filepath.Join(c.Lab.Dir, "old")
		copyAll(t, c.Store.Dir, old)
		holders := holdEach(t, c)
		c.Store.Kill(t)
		copyAll(t, old, c.Store.Dir)
		c.Store.Start(t)
		nothingGranted(t, c, holders)
	})
}

func nothingGranted(t *testing.T, c *cluster.Cluster, holders []*holder) {
	t.Helper()
	refused := func() {
		t.Helper()
		for _, h := range holders {
			h.rival.Limit = c.Config.GatewayLease
			if reply, err := h.rival.locks.LockReply(nfs4.WriteLT, 5, 10); err == nil && reply.Status == nfs4.OK {
				t.Fatal("a lock was granted twice")
			}
		}
	}
	refused()
	for _, g := range c.Gateways {
		g.AwaitUnready(t)
		if status := g.Status(t); !strings.Contains(status, "wiped") {
			t.Errorf("the status of %s does not tell:\n%s", g.Name, status)
		}
	}
	refused()
	g := c.Gateways[0]
	g.Kill(t)
	g.Start(t)
	select {
	case <-g.Gone():
	case <-time.After(c.Lab.Limit):
		t.Fatal("a gateway started on what is not its store")
	}
	if !strings.Contains(g.Log(), "shared-history") {
		t.Errorf("it does not say what to do:\n%s", g.Log())
	}
	refused()
}

// copyAll makes a folder what another one is.
func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", `rm -rf "$2" && cp -a "$1" "$2"`, "sh", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s to %s: %v\n%s", from, to, err, out)
	}
}
