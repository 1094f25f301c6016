package cluster_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/cluster"
	"holdfast/internal/nfs4"
)

// takeovers is how often each first reply is measured.
const takeovers = 5

// TestTakeover kills the gateway of a client that holds few locks and of one that holds many, HOLDFAST_LOCKS, and looks at what
// another gateway, which knows nothing of it, must load for its first reply: that does not grow (G8). How long it takes is told, not
// judged.
func TestTakeover(t *testing.T) {
	many := number(t, "HOLDFAST_LOCKS", 3000)
	c := start(t, cluster.Config{GatewayLease: time.Minute, Lease: time.Hour, Patience: time.Minute})
	for _, shape := range []struct {
		name    string
		perFile int // locks on one file
	}{
		{"on one file, an owner for each", many},
		{"on many files", 100},
	} {
		t.Run(shape.name, func(t *testing.T) {
			few := takeover(t, c, 10, shape.perFile)
			most := takeover(t, c, many, shape.perFile)
			for i, m := range most {
				f := few[i]
				ratio := float64(m.took) / float64(f.took)
				t.Logf("%s: with 10 locks %v and %d bytes of the store, with %d locks %v and %d bytes: factor %.2f", m.name, f.took, f.bytes, many, m.took, m.bytes, ratio)
				if m.local && m.bytes > f.bytes+f.bytes/2+4096 {
					t.Errorf("%s: what is loaded grows with the locks held", m.name)
				}
			}
		})
	}
}

// firstReply is what the first reply of a new gateway took: the median time, and the least that the store sent.
type firstReply struct {
	name  string
	local bool // needs not all that is locked on a file
	took  time.Duration
	bytes uint64
}

// takeover makes a client hold locks and measures its moves.
func takeover(t *testing.T, c *cluster.Cluster, locks, perFile int) []firstReply {
	t.Helper()
	r := rover(t, c, 1, 0)
	root := must[client.FH](t)(r.Root())
	dir := must[client.FH](t)(r.MkdirFH(root, client.UniqueName("takeover")))
	began := time.Now()
	held := holdLocks(t, r, dir, locks, perFile)
	t.Logf("%d locks taken in %v", locks, time.Since(began).Round(time.Millisecond))
	other := must[*client.OpenFile](t)(r.CreateFile(dir, "other"))
	beside := other.Locks(client.NewOwner())
	kinds := []struct {
		name  string
		local bool
		do    func() error
	}{
		{"WRITE under one of the locks", true, func() error {
			return second(r.Must(client.PutFH(held.file.FH), client.Write(held.lock.Stateid, 0, nfs4.Unstable, []byte("x"))))
		}},
		{"LOCK of another file", true, func() error { return beside.Lock(nfs4.WriteLT, 0, 1) }},
		{"LOCK of the same file", false, func() error { return held.lock.Lock(nfs4.WriteLT, 1<<50, 1) }},
	}
	var all []firstReply
	for _, k := range kinds {
		reply := firstReply{name: k.name, local: k.local, bytes: 1 << 62}
		var times []time.Duration
		for range takeovers {
			at := r.At()
			c.Gateways[at].Kill(t)
			before := sent(t, c)
			from := time.Now()
			if err := r.Move((at + 1) % len(c.Gateways)); err != nil {
				t.Fatal(err)
			}
			if err := k.do(); err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			times = append(times, time.Since(from))
			reply.bytes = min(reply.bytes, sent(t, c)-before)
			c.Gateways[at].Start(t)
			c.Gateways[at].AwaitReady(t)
		}
		slices.Sort(times)
		reply.took = times[len(times)/2].Round(10 * time.Microsecond)
		all = append(all, reply)
	}
	return all
}

// heldLock is one of the locks.
type heldLock struct {
	file *client.OpenFile
	lock *client.Locks
}

// holdLocks takes locks, many at the same time, and returns the last.
func holdLocks(t *testing.T, r *cluster.Rover, dir client.FH, locks, perFile int) (last heldLock) {
	t.Helper()
	const hands = 32
	// Each hand needs a slot of its own, which a Rover has not.
	via := r.Config.Via
	r.Config.Via = nil
	defer func() { r.Config.Via = via }()
	var wg sync.WaitGroup
	// One file is the work of many hands, of many files each hand takes a whole one.
	chunk := min(perFile, max(100, locks/hands+1))
	for hand := range hands {
		wg.Go(func() {
			for from := hand * chunk; from < locks; from += hands * chunk {
				f, err := r.CreateFile(dir, fmt.Sprint("f", from/perFile))
				if err != nil {
					t.Error(err)
					return
				}
				for i := from; i < min(from+chunk, locks); i++ {
					l := f.Locks(client.NewOwner())
					if err := l.Lock(nfs4.WriteLT, uint64(2*i), 1); err != nil {
						t.Errorf("lock %d: %v", i, err)
						return
					}
					if i == locks-1 {
						last = heldLock{f, l} // by one hand
					}
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return last
}

// sent is how many bytes the store has sent so far.
func sent(t *testing.T, c *cluster.Cluster) uint64 {
	t.Helper()
	for line := range strings.Lines(c.StoreCommand(t, "INFO", "stats")) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "total_net_output_bytes:"); ok {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the store does not say what it has sent")
	return 0
}
