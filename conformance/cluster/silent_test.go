package cluster_test

import (
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/cluster"
	"holdfast/internal/nfs4"
)

// TestSilent lets a client with a lock go silent while another one waits for it: it is granted after the lease of the first and not
// before, and what the first one sends late is refused by every gateway (RFC 8881 §8.4.3; RFC 7530 §9.6.3).
func TestSilent(t *testing.T) {
	const lease = 10 * time.Second
	c := start(t, cluster.Config{Lease: lease, Patience: time.Minute})
	everyVersion(t, func(t *testing.T, minor uint32) {
		t.Parallel() // it is waiting, most of the time
		silent(t, c, minor, lease)
	})
	t.Run("kernel", func(t *testing.T) {
		t.Parallel()
		silentGuest(t, c)
	})
}

func silent(t *testing.T, c *cluster.Cluster, minor uint32, lease time.Duration) {
	a, b := rover(t, c, minor, 0), rover(t, c, minor, 1)
	name := client.UniqueName("silent")
	root := must[client.FH](t)(a.Root())
	fa := must[*client.OpenFile](t)(a.CreateFile(root, name))
	fb := must[*client.OpenFile](t)(b.CreateFile(root, name))
	la, lb := fa.Locks(client.NewOwner()), fb.Locks(client.NewOwner())
	must[*client.WriteRes](t)(fa.Write(0, nfs4.FileSync, []byte("before")))
	// The lease counts from when the gateway heard of the client: after this.
	heard := time.Now()
	if err := la.Lock(nfs4.WriteLT, 0, 100); err != nil {
		t.Fatal(err)
	}
	// What it sends late is on its way now.
	late := []*client.Request{
		a.Request(client.PutFH(fa.FH), client.Write(la.Stateid, 0, nfs4.FileSync, []byte("too late"))),
	}

	waited := time.Now()
	for {
		err := lb.Lock(nfs4.WriteLT, 50, 100)
		if err == nil {
			break
		}
		if status(err) != nfs4.ErrDenied {
			t.Fatalf("waiting for the lock: %v", err)
		}
		if time.Since(waited) > c.Lab.Limit {
			t.Fatal("the lock is never given up")
		}
		time.Sleep(20 * time.Millisecond) // as a client polls
	}
	got := time.Since(heard)
	t.Logf("the lock came %v after the last sign of its holder, whose lease is %v", got.Round(time.Millisecond), lease)
	if got < lease {
		t.Errorf("the lock was taken away after %v, within the lease of %v", got, lease)
	}

	for i := range c.Gateways {
		if err := a.Move(i); err != nil {
			t.Fatal(err)
		}
		for _, q := range late {
			p, err := a.Conn().Do(q.Clone())
			if err != nil {
				t.Fatal(err)
			}
			if p.Status == nfs4.OK {
				t.Errorf("gateway %d carries out a write that came too late: %v", i, p)
			}
			t.Logf("gateway %d: the late write: %v", i, p.Status)
		}
	}
	if r := must[*client.ReadRes](t)(fb.Read(0, 100)); string(r.Data) != "before" {
		t.Errorf("the file holds %q", r.Data)
	}
}

// silentGuest does the same with Linux: what a program whose lock was taken away writes afterwards never reaches the file.
func silentGuest(t *testing.T, c *cluster.Cluster) {
	g := c.Lab.Boot(t, "silent", "waiting")
	for _, guest := range g {
		guest.MountFrom(t, c.Addr, "/", "/mnt/nfs", "vers=4.2")
	}
	// The program holds the lock and the file open while its machine is cut off, and writes when it is back.
	holder := g[0].Start(t, `nfstool latewrite /mnt/nfs/guest before after go`)
	holder.Expect(t, "locked")
	g[0].Unplug(t)
	waiter := g[1].Start(t, `nfstool hold /mnt/nfs/guest w 0 100 bash -c '. $LAB/lib.sh; say mine; await release'`)
	waiter.Expect(t, "mine")
	g[0].Plug(t)
	g[0].Post(t, "go")
	t.Logf("the program that was cut off is told: %s", holder.Wait(t))
	g[1].Run(t, `echo 3 > /proc/sys/vm/drop_caches; same before "$(cat /mnt/nfs/guest)" "what is in the file"`)
	g[1].Post(t, "release")
	waiter.Wait(t)
}
