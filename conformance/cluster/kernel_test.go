package cluster_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"holdfast/conformance/cluster"
)

// number is that of an environment variable, or def.
func number(t *testing.T, variable string, def int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: want a number", variable, text)
	}
	return n
}

// duration is that of an environment variable, or def.
func duration(t *testing.T, variable string, def time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return def
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return d
}

// gatewayLease is the gateways' lease under faults: 2 s, or as HOLDFAST_GATEWAY_LEASE says.
func gatewayLease(t *testing.T) time.Duration {
	return duration(t, "HOLDFAST_GATEWAY_LEASE", 2*time.Second)
}

// perShift is how many of n faults come before the workers are given other loads: few enough that each client has each load now and
// then, and more of them in a long run, where the end of a shift, at which each load is waited for, would take most of the time.
func perShift(n int) int { return max(5, n/25) }

// wanted returns those whose names match the regular expression in an environment variable: HOLDFAST_KINDS of faults, HOLDFAST_LOADS, and
// HOLDFAST_MOUNTS.
func wanted[T any](t *testing.T, variable string, all []T, name func(T) string) []T {
	t.Helper()
	which, err := regexp.Compile(os.Getenv(variable))
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	some := slices.DeleteFunc(slices.Clone(all), func(x T) bool { return !which.MatchString(name(x)) })
	if len(some) == 0 {
		t.Fatalf("%s=%v matches none of %d", variable, which, len(all))
	}
	return some
}

func kinds(t *testing.T, all []cluster.Fault) []cluster.Fault {
	t.Helper()
	return wanted(t, "HOLDFAST_KINDS", all, func(f cluster.Fault) string { return f.Name })
}

// TestFaults breaks one gateway after the other, and what they use, under real loads of clients that use the cluster in all the ways
// there are: HOLDFAST_FAULTS times, each kind in turn. In the end NATS is gone for as long as HOLDFAST_NATS_GONE says. HOLDFAST_KINDS
// may name "nothing", too: what the loads themselves make a client wait.
func TestFaults(t *testing.T) {
	c := start(t, cluster.Config{GatewayLease: gatewayLease(t)})
	c.Lab.Inputs(t)
	workers := newWorkers(t, c)
	stalls := c.NewStalls()
	all := cluster.Faults
	if os.Getenv("HOLDFAST_KINDS") != "" {
		all = append([]cluster.Fault{cluster.Nothing}, all...)
	}
	kinds := kinds(t, all)
	n := number(t, "HOLDFAST_FAULTS", len(kinds))
	per := perShift(n)
	for i := 0; i < n && !t.Failed(); {
		s := begin(t, c, workers, i/per)
		faults := min(per, n-i)
		for k := range faults {
			if k == faults-1 {
				s.last(t, workers) // a round may take longer than a fault
			}
			suffer(t, c, workers, kinds[i%len(kinds)], stalls)
			i++
		}
		s.end(t, workers)
	}
	t.Logf("%d faults under load\n%v", n, stalls)
	if gone := duration(t, "HOLDFAST_NATS_GONE", 0); gone > 0 {
		s := begin(t, c, workers, n)
		c.Peers.Kill(t)
		end := time.Now().Add(gone)
		for _, w := range workers {
			w.until(t, end)
		}
		s.last(t, workers)
		s.end(t, workers)
		c.Peers.Start(t)
	}
	finish(t, workers)
}

// TestStalls measures how long faults hold up a client, HOLDFAST_STALLS times, where nothing else asks for the processors.
func TestStalls(t *testing.T) {
	n := number(t, "HOLDFAST_STALLS", 0)
	if n == 0 {
		t.Skip("a measurement: HOLDFAST_STALLS says of how many faults")
	}
	c := start(t, cluster.Config{GatewayLease: gatewayLease(t), Args: []string{"--log-level", "debug"}})
	workers := newWorkers(t, c)
	stalls := c.NewStalls()
	kinds := kinds(t, append([]cluster.Fault{cluster.Nothing}, cluster.Faults...))
	for i := range n {
		suffer(t, c, workers, kinds[i%len(kinds)], stalls)
	}
	t.Logf("%d faults\n%v", n, stalls)
	finish(t, workers)
}

// reconnects is how long after a connect Linux waits before the next one (XS_TCP_INIT_REEST_TO). Faults that come faster than that
// measure the client's pause and nothing else.
const reconnects = 3 * time.Second

// suffer lets a fault happen to the gateway with most connections and measures what the workers feel of it.
func suffer(t *testing.T, c *cluster.Cluster, workers []*worker, f cluster.Fault, stalls *cluster.Stalls) {
	t.Helper()
	g := c.Busiest(t)
	for _, w := range workers {
		w.pulse.Drain()
	}
	since := c.Watch()
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
	own := since()
	t.Logf("%s, %s: longest stall %v", f.Name, g.Name, longest)
	stalls.Note(t, f, longest.took, own)
	if longest.took > max(f.Bound(c.Config.GatewayLease), time.Second) {
		t.Logf("from %v to %v, of %s at %v:\n%s", began.UTC(), time.Now().UTC(), f.Name, g.Addr, c.Logs())
	}
	f.Mend(t, g)
	calm := time.Now().Add(reconnects)
	for _, w := range workers {
		w.until(t, calm)
	}
}
