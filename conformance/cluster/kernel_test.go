package cluster_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/conformance/cluster"
	"holdfast/conformance/kernel"
)

// faults is how many faults TestFaults makes: 10, or as HOLDFAST_FAULTS says.
func faults(t *testing.T) int {
	t.Helper()
	text := os.Getenv("HOLDFAST_FAULTS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("HOLDFAST_FAULTS=%s: want a number", text)
	}
	return n
}

// worker is a guest that works on a mount of the balancer, holds a byte-range lock, and tries all the time to take that of
// its neighbour.
type worker struct {
	*kernel.Guest
	vers   string
	mnt    string
	before kernel.Counters

	holder, watcher, pulse *kernel.Job
}

// newWorkers boots a guest for each mount option, mounts, and starts their work.
func newWorkers(t *testing.T, c *cluster.Cluster, options ...string) []*worker {
	t.Helper()
	names := make([]string, len(options))
	for i := range options {
		names[i] = fmt.Sprintf("c%d", i)
	}
	guests := c.Lab.Boot(t, names...)
	workers := make([]*worker, len(options))
	for i, g := range guests {
		w := &worker{Guest: g, vers: options[i]}
		w.mnt = g.MountFrom(t, c.Addr, "/", "/mnt/nfs", options[i])
		w.holder = g.Start(t, fmt.Sprintf(`nfstool hold %s/locks w %d 10 bash -c '. $LAB/lib.sh; say held; await release'`, w.mnt, i*100))
		w.holder.Expect(t, "held")
		workers[i] = w
	}
	for i, w := range workers {
		w.watcher = w.Start(t, fmt.Sprintf(`nfstool watchlock %s/locks %d 10 stop`, w.mnt, (i+1)%len(workers)*100))
		w.watcher.Expect(t, "watching")
		w.before = w.Counters(t, w.mnt)
		if w.before.Identified() == 0 {
			t.Fatalf("the counters do not show how the client introduced itself: %v", w.before)
		}
		w.pulse = w.Start(t, fmt.Sprintf(`mkdir %[1]s/work%[2]d; nfstool pulse %[1]s/work%[2]d stop`, w.mnt, i))
		w.pulse.Expect(t, "pulse")
	}
	return workers
}

// stall is the longest time that a call of a guest's program took.
type stall struct {
	took time.Duration
	what string
}

func (s stall) String() string { return fmt.Sprintf("%v in %s", s.took, s.what) }

// until takes what the worker says until a line comes that was said after a moment, and returns the longest call in it.
func (w *worker) until(t *testing.T, moment time.Time) stall {
	t.Helper()
	longest := stall{what: "nothing"}
	for {
		f := strings.Fields(w.pulse.Expect(t, "pulse"))
		if len(f) != 3 {
			t.Fatalf("guest %s says %q", w.Name, f)
		}
		ms, err := strconv.Atoi(f[1])
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Duration(ms) * time.Millisecond; took > longest.took {
			longest = stall{took, f[2] + " of " + w.vers}
		}
		if time.Now().After(moment) {
			return longest
		}
	}
}

// finish ends the work and checks that to the client nothing has happened but lost connections.
func finish(t *testing.T, workers []*worker) {
	t.Helper()
	for _, w := range workers {
		w.Post(t, "stop")
	}
	for i, w := range workers {
		w.pulse.Wait(t)
		t.Logf("%s: the neighbour's lock: %s", w.vers, strings.TrimSpace(w.watcher.Wait(t)))
		w.Run(t, fmt.Sprintf(`same "w %[2]d 10" "$(nfstool getlk %[1]s/locks w %[2]d 10)" "the neighbour's lock after all"`, w.mnt, (i+1)%len(workers)*100))
	}
	for _, w := range workers {
		after := w.Counters(t, w.mnt)
		t.Logf("%s: %v", w.vers, after)
		if ops := w.before.Recovery(after); len(ops) > 0 {
			t.Errorf("%s: the client had to recover: %v", w.vers, ops)
		}
		for line := range strings.Lines(w.Dmesg(t)) {
			for _, word := range []string{"lost", "reclaim", "NFS4ERR", "BAD_STATEID", "state manager", "rror", "Call Trace", "BUG", "WARNING"} {
				if (strings.Contains(line, "NFS") || strings.Contains(line, "RPC") || strings.Contains(line, "BUG")) && strings.Contains(line, word) {
					t.Errorf("%s: kernel log: %s", w.vers, strings.TrimSpace(line))
					break
				}
			}
		}
		w.Post(t, "release")
		w.holder.Wait(t)
	}
}

// histogram shows stalls by kind of fault.
type histogram map[string][]time.Duration

func (h histogram) String() string {
	var b strings.Builder
	for kind, all := range h {
		slices.Sort(all)
		at := func(p int) time.Duration { return all[min(len(all)*p/100, len(all)-1)] }
		fmt.Fprintf(&b, "%-26s %4d faults   p50 %8v   p90 %8v   p99 %8v   max %8v\n", kind, len(all), at(50), at(90), at(99), all[len(all)-1])
	}
	return b.String()
}

// TestFaults breaks one gateway after the other under clients of all minor versions.
func TestFaults(t *testing.T) {
	c := start(t, cluster.Config{GatewayLease: 2 * time.Second})
	workers := newWorkers(t, c, "vers=4.0", "vers=4.1", "vers=4.2")
	stalls := histogram{}
	n := faults(t)
	for i := range n {
		suffer(t, c, workers, cluster.Faults[i%len(cluster.Faults)], stalls)
	}
	for range max(1, n/10) {
		suffer(t, c, workers, cluster.Nothing, stalls)
		suffer(t, c, workers, storeRestarted(c), stalls)
		suffer(t, c, workers, peersGone(c), stalls)
	}
	t.Logf("longest stalls of a client, gateway lease %v:\n%v", c.Config.GatewayLease, stalls)
	finish(t, workers)
}

// storeRestarted: the Redis dies and is started again.
func storeRestarted(c *cluster.Cluster) cluster.Fault {
	f := cluster.Nothing
	f.Name = "store killed, started again"
	f.Break = func(tb testing.TB, _ *cluster.Gateway) { c.RestartStore(tb, true) }
	f.Mend = func(tb testing.TB, _ *cluster.Gateway) {
		for _, g := range c.Gateways {
			g.AwaitReady(tb)
		}
	}
	return f
}

// peersGone: NATS dies and stays away for longer than a gateway's lease.
func peersGone(c *cluster.Cluster) cluster.Fault {
	f := cluster.Nothing
	f.Name = "peers' channel gone"
	f.Break = func(tb testing.TB, _ *cluster.Gateway) { c.Peers.Kill(tb) }
	f.Mend = func(tb testing.TB, _ *cluster.Gateway) { c.Peers.Start(tb) }
	f.Noticed = func(lease time.Duration) time.Duration { return 2 * lease }
	return f
}

// reconnects is how long after a connect Linux waits before the next one (XS_TCP_INIT_REEST_TO). Faults that come faster than that
// measure the client's pause and nothing else.
const reconnects = 3 * time.Second

// suffer lets a fault happen to the gateway with most connections and measures what the workers feel of it.
func suffer(t *testing.T, c *cluster.Cluster, workers []*worker, f cluster.Fault, stalls histogram) {
	t.Helper()
	g := c.Busiest(t)
	for _, w := range workers {
		w.pulse.Drain()
	}
	began := time.Now()
	f.Break(t, g)
	// A worker that was hit says its next line when it goes on; the others show that they were not.
	moment := began.Add(f.Noticed(c.Config.GatewayLease) + 500*time.Millisecond)
	longest := stall{what: "nothing"}
	for _, w := range workers {
		if s := w.until(t, moment); s.took > longest.took {
			longest = s
		}
	}
	t.Logf("%s, %s: longest stall %v", f.Name, g.Name, longest)
	stalls[f.Name] = append(stalls[f.Name], longest.took)
	f.Mend(t, g)
	calm := time.Now().Add(reconnects)
	for _, w := range workers {
		w.until(t, calm)
	}
}
