package cluster_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/conformance/cluster"
	"holdfast/conformance/cluster/linear"
)

// checkLimit is how long the check of a history may take before it counts as failed.
const checkLimit = 20 * time.Minute

// TestLinear holds guarantee G1: what clients of all minor versions see of byte-range locks, share reservations, exclusive
// creates, links, removals and renames through three gateways, while these fail in all ways, is what one server would show
// that does one thing after the other. HOLDFAST_OPERATIONS is how many operations there are.
func TestLinear(t *testing.T) {
	c := start(t, cluster.Config{GatewayLease: time.Second})
	want := number(t, "HOLDFAST_OPERATIONS", 10_000)
	b, players, err := newBoard(c, "linear", 9, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, p := range players {
			p.Close()
		}
	}()
	faults := cluster.Faults
	stop := make(chan struct{})
	var all sync.WaitGroup
	began := time.Now()
	for _, p := range players {
		all.Go(func() { p.play(t, stop) })
	}
	n := 0
	for ; (b.history.Len() < want || n < len(faults)) && !t.Failed(); n++ {
		endure(t, c, faults[n%len(faults)], c.Gateways[n%len(c.Gateways)])
	}
	close(stop)
	all.Wait()
	took := time.Since(began)
	moves := 0
	var longest time.Duration
	for _, p := range players {
		moves += p.Moves
		longest = max(longest, p.Longest)
	}
	t.Logf("%d operations in %v, %d faults, %d moves of clients, longest request %v", b.history.Len(), took.Round(time.Second), n, moves, longest.Round(time.Millisecond))
	if moves == 0 {
		t.Error("no client had to move")
	}
	began = time.Now()
	if err := b.history.Check(checkLimit); err != nil {
		t.Error(err)
	}
	t.Logf("checked in %v", time.Since(began).Round(time.Millisecond))
}

// endure lets a gateway suffer a fault for longer than its lease.
func endure(t *testing.T, c *cluster.Cluster, f cluster.Fault, g *cluster.Gateway) {
	t.Helper()
	f.Break(t, g)
	time.Sleep(c.Config.GatewayLease * 3 / 2) // that is the fault
	f.Mend(t, g)
}

// TestLostLockIsCaught: the check notices when a cluster takes a lock from a client that did not give it back. Here an operator
// does it.
func TestLostLockIsCaught(t *testing.T) {
	c := start(t, cluster.Config{GatewayLease: time.Second})
	b, players, err := newBoard(c, "lost", 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	victim, rival := players[0], players[1]
	defer victim.Close()
	defer rival.Close()
	op := linear.LockOp{File: b.locked[0], Do: linear.LockWrite, From: 2, To: 5}
	if err := victim.lock(victim.locks[0], op); err != nil {
		t.Fatal(err)
	}
	if err := b.history.Check(checkLimit); err != nil {
		t.Fatalf("before anything went wrong: %v", err)
	}
	c.Gateways[0].Admin(t, "evict", fmt.Sprintf("%016x", victim.ClientID))
	op.Owner = rival.n
	if err := rival.lock(rival.locks[0], op); err != nil {
		t.Fatal(err)
	}
	if err := b.history.Check(checkLimit); err == nil || !strings.Contains(err.Error(), "write lock [2,5)") {
		t.Errorf("two clients were granted one lock, and the check says: %v", err)
	}
}
