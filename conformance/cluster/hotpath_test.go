package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/cluster"
	"holdfast/internal/nfs4"
)

// often is how many requests of a kind are counted together.
const often = 200

// A step is one thing that a client does over and over, and what it may cost each time: commits, and loads of what the gateway does
// not know.
type step struct {
	name           string
	commits, loads uint64
	do             func(i int) error
}

// TestHotPath counts the commands that reach Redis while a client does one thing over and over: none for what changes no state, one
// commit for each change (G7). Besides, an OPEN of a file of which the gateway knows nothing asks for it.
func TestHotPath(t *testing.T) {
	// Leases so long that gateways seldom speak to the store for themselves.
	c := start(t, cluster.Config{GatewayLease: time.Minute, Lease: time.Hour, Patience: time.Minute})
	everyVersion(t, func(t *testing.T, minor uint32) {
		h := newHotFile(t, c, minor)
		opened := make([]*client.OpenFile, often)
		// An NFSv4.0 request has no slot that says that it is new: whether it ran on another gateway is looked up, and how far its
		// owner's sequence came there.
		var seen uint64
		if minor == 0 {
			seen = 2
		}
		open := func(i int) (err error) {
			opened[i], err = h.Open(h.owner, h.dir, client.OpenArgs{Access: nfs4.ShareAccessBoth, Name: fmt.Sprint(i)})
			return err
		}
		closed := func(i int) error { return opened[i].Close() }
		again := func(i int) (err error) {
			opened[i], err = h.Open(h.others[i], h.dir, client.OpenArgs{Access: nfs4.ShareAccessBoth, Name: "hot"})
			return err
		}
		h.count(t, []step{
			{"READ", 0, 0, func(int) error { return second(h.file.Read(0, 4096)) }},
			{"WRITE", 0, 0, func(int) error { return second(h.file.Write(0, nfs4.Unstable, []byte("hot"))) }},
			{"WRITE, FILE_SYNC", 0, 0, func(int) error { return second(h.file.Write(0, nfs4.FileSync, []byte("hot"))) }},
			{"GETATTR", 0, 0, func(int) error { return second(h.Attrs(h.file.FH, nfs4.AttrSize, nfs4.AttrChange)) }},
			{"LOOKUP", 0, 0, func(int) error { return second(h.Must(client.PutFH(h.dir), client.Lookup("0"), client.GetFH())) }},
			{"READDIR", 0, 0, func(int) error { return second(h.List(h.dir, 8192)) }},
			{"LOCK", 1, seen, func(i int) error { return h.locks.Lock(nfs4.WriteLT, uint64(2*i), 1) }},
			{"LOCKU", 1, seen, func(i int) error { return h.locks.Unlock(uint64(2*i), 1) }},
			{"OPEN of a file in use", 1, seen, again},
			{"CLOSE of a file in use", 1, seen, closed},
			{"OPEN of a file that nobody has open", 1, 1 + seen, open},
			{"CLOSE", 1, seen, closed},
		})
	})
}

func second[T any](_ T, err error) error { return err }

// hotFile is a client with a file open and the means to do more.
type hotFile struct {
	*cluster.Rover
	c     *cluster.Cluster
	dir   client.FH
	file  *client.OpenFile
	locks *client.Locks
	owner *client.StateOwner
	// others open what the owner has open.
	others [often]*client.StateOwner
}

// newHotFile makes a folder of files and opens one of them.
func newHotFile(t *testing.T, c *cluster.Cluster, minor uint32) *hotFile {
	t.Helper()
	h := &hotFile{Rover: rover(t, c, minor, 0), c: c, owner: client.NewOwner()}
	root := must[client.FH](t)(h.Root())
	h.dir = must[client.FH](t)(h.MkdirFH(root, client.UniqueName("hot")))
	for i := range often {
		f := must[*client.OpenFile](t)(h.Open(h.owner, h.dir, client.OpenArgs{
			Access: nfs4.ShareAccessBoth, How: nfs4.OpenCreate, Mode: nfs4.CreateUnchecked,
			Attrs: new(client.Attrs).SetMode(0o644), Name: fmt.Sprint(i),
		}))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	h.file = must[*client.OpenFile](t)(h.CreateFile(h.dir, "hot"))
	for i := range h.others {
		h.others[i] = client.NewOwner()
	}
	h.locks = h.file.Locks(client.NewOwner())
	// The first lock makes the lock-owner known; what is counted is what follows.
	if err := h.locks.Lock(nfs4.WriteLT, 1<<40, 1); err != nil {
		t.Fatal(err)
	}
	return h
}

// cost is what the store was asked for.
type cost struct{ commits, loads uint64 }

// count does all steps, each often, and checks what each made the gateways ask of Redis. What gateways ask for themselves every few
// seconds may fall into a count, but not into the same step's in each of several rounds.
func (h *hotFile) count(t *testing.T, steps []step) {
	t.Helper()
	least := make([]cost, len(steps))
	for round := range 4 {
		for k, s := range steps {
			before := h.asked(t)
			for i := range often {
				if err := s.do(i); err != nil {
					t.Fatalf("%s, number %d: %v", s.name, i, err)
				}
			}
			after := h.asked(t)
			now := cost{after.commits - before.commits, after.loads - before.loads}
			if round == 0 {
				least[k] = now
			}
			least[k] = cost{min(least[k].commits, now.commits), min(least[k].loads, now.loads)}
		}
	}
	for k, s := range steps {
		t.Logf("%s, %d times: %d commits, %d loads", s.name, often, least[k].commits, least[k].loads)
		if least[k].commits != s.commits*often || least[k].loads > s.loads*often {
			t.Errorf("%s, %d times, takes %d commits and %d loads; want %d for each, and at most %d",
				s.name, often, least[k].commits, least[k].loads, s.commits, s.loads)
		}
	}
}

// asked returns what the store was asked for so far. Each load asks for the store's record of itself too, each commit is a call of a
// function, which does so within.
func (h *hotFile) asked(t *testing.T) cost {
	t.Helper()
	calls := h.c.StoreCalls(t)
	commits := calls["fcall"]
	return cost{commits: commits, loads: calls["hmget"] - commits}
}
