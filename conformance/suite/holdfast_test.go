package suite

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"holdfast/conformance/client"
)

// patient is the target that all tests here have in common. What is slow on this
// machine is no failure: only an answer that does not come at all.
func patient(addresses ...Dial) Target {
	return Target{Addresses: addresses, Timeout: time.Minute, Optional: true, Parallel: 4}
}

// which returns the tests with a flag, or those without it.
func which(flag string, has bool) []Test {
	return slices.DeleteFunc(All(), func(t Test) bool { return t.Has(flag) != has })
}

// TestHoldfast runs the whole suite against the program as a user runs it, with
// its own store. The tests that wait for leases have a server of their own, with
// short ones.
func TestHoldfast(t *testing.T) {
	var quick, leases []Result
	t.Run("all", func(t *testing.T) {
		t.Run("quick", func(t *testing.T) {
			t.Parallel()
			quick = Verify(t, patient(client.TCP(serve(t))), which(slow, false))
		})
		t.Run("leases", func(t *testing.T) {
			if testing.Short() {
				t.Skip("it waits for leases")
			}
			t.Parallel()
			target := patient(client.TCP(serve(t, "--lease", "2s")))
			target.Slow = true
			leases = Verify(t, target, which(slow, true))
		})
	})
	results := slices.Concat(quick, leases)
	ran := !slices.ContainsFunc(results, func(r Result) bool { return r.Outcome == "" })
	if ran && len(leases) > 0 && len(quick) > 0 && !t.Failed() {
		checkErrorPage(t, results)
	}
}

// severalGateways starts n gateways on one Redis. Thousands of tests that wait for a Redis's disk take long: "make conformance" sets
// the variable that asks for them.
func severalGateways(t *testing.T, n int, args ...string) []*server {
	t.Helper()
	if os.Getenv("HOLDFAST_CONFORMANCE") == "" {
		t.Skip("it takes long; make conformance runs it")
	}
	return newCluster(t, n, args...)
}

// TestHoldfastRedis runs it against a gateway whose state is in a Redis.
func TestHoldfastRedis(t *testing.T) {
	t.Parallel()
	Verify(t, patient(addresses(severalGateways(t, 1))...), which(slow, false))
}

// TestHoldfastSpread runs it against three gateways: consecutive requests of each
// connection go to another one.
func TestHoldfastSpread(t *testing.T) {
	t.Parallel()
	target := patient(addresses(severalGateways(t, 3))...)
	target.Spread = SpreadRequest
	Verify(t, target, which(slow, false))
}

// TestHoldfastSpreadLeases are the tests that wait for leases, spread.
func TestHoldfastSpreadLeases(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for leases")
	}
	t.Parallel()
	target := patient(addresses(severalGateways(t, 3, "--lease", "2s"))...)
	target.Spread, target.Slow = SpreadRequest, true
	Verify(t, target, which(slow, true))
}

// TestHoldfastChaos runs it against three gateways of which one is killed, and
// started again, after each 20 tests.
func TestHoldfastChaos(t *testing.T) {
	t.Parallel()
	gateways := severalGateways(t, 3)
	target := patient(addresses(gateways)...)
	target.Spread, target.ChaosEvery = SpreadConnection, 20
	killed := 0
	target.Chaos = func(context.Context) error {
		g := gateways[killed%len(gateways)]
		killed++
		g.kill()
		return g.start()
	}
	results := Verify(t, target, which(slow, false))
	t.Logf("%d tests, %d kills", len(results), killed)
	if want := len(results) / target.ChaosEvery; killed < want {
		t.Errorf("%d kills in %d tests", killed, len(results))
	}
}

// TestTarget runs the suite against any server: HOLDFAST_SUITE_TARGET is its
// ADDRESS:PORT, HOLDFAST_SUITE_PATH a directory below its root.
func TestTarget(t *testing.T) {
	addr := os.Getenv("HOLDFAST_SUITE_TARGET")
	if addr == "" {
		t.Skip("HOLDFAST_SUITE_TARGET names no server")
	}
	Verify(t, Target{Dial: client.TCP(addr), Path: os.Getenv("HOLDFAST_SUITE_PATH"), Timeout: 10 * time.Second}, All())
}
