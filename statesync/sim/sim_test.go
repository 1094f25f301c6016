package sim

import (
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	oneSeed = flag.Uint64("sim.seed", 0, "run this seed alone and print its transcript")
	seeds   = flag.Int("sim.seeds", 0, "how many seeds: default HOLDFAST_SIM_SEEDS or 10,000")
)

// A run lives for milliseconds and leaves little behind: the collector is told
// to come more rarely.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// howMany is the number of seeds to be run.
func howMany(t *testing.T) int {
	if *seeds > 0 {
		return *seeds
	}
	if s := os.Getenv("HOLDFAST_SIM_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("HOLDFAST_SIM_SEEDS: %v", err)
		}
		return n
	}
	return seedsByDefault
}

// simulate runs one seed.
func simulate(t *testing.T, seed uint64, broken rule, trace bool) (w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(seed, broken, trace)
		for i := range w.plan.gateways {
			g := w.newGateway(i, 0)
			w.gateways = append(w.gateways, g)
			w.spawn(func() { g.boot(0) })
		}
		faults := w.plan.faults
		w.plan.faults = 0
		w.run(func() bool {
			for _, g := range w.gateways {
				if !w.serving(g) {
					return false
				}
			}
			return true
		})
		for i := range w.plan.clients {
			c := w.newClient(i)
			w.clients = append(w.clients, c)
			w.spawn(func() { c.introduce(w.gateways[0].node) })
		}
		w.run(w.allOver)
		for _, c := range w.clients {
			c.over = false
			w.spawn(c.work)
		}
		w.plan.faults = faults
		w.run(w.allOver)
		w.stop()
		if len(w.bad) == 0 {
			if err := w.final(); err != nil {
				w.violated("end", "%v", err)
			}
		}
	})
	return w
}

func (w *world) allOver() bool {
	for _, c := range w.clients {
		if !c.finished() {
			return false
		}
	}
	return true
}

// report prints the transcript of a seed that failed.
func report(t *testing.T, seed uint64, broken rule) {
	w := simulate(t, seed, broken, true)
	t.Errorf("seed %d (again with -sim.seed=%d):\n%s\n%s", seed, seed, strings.Join(w.log, "\n"), strings.Join(w.bad, "\n"))
}

// TestSeeds runs many seeds, and expects no violation.
func TestSeeds(t *testing.T) {
	if *oneSeed != 0 {
		w := simulate(t, *oneSeed, none, true)
		t.Logf("seed %d\n%s", *oneSeed, strings.Join(w.log, "\n"))
		for _, bad := range w.bad {
			t.Error(bad)
		}
		return
	}
	n := howMany(t)
	began := time.Now()
	var ran, steps, bad, vouched, proven atomic.Int64
	each(t, n, func(t *testing.T, seed uint64) bool {
		w := simulate(t, seed, none, false)
		ran.Add(1)
		steps.Add(int64(w.steps))
		if w.vouched {
			vouched.Add(1)
		}
		if w.proven {
			proven.Add(1)
		}
		if len(w.bad) > 0 {
			report(t, seed, none)
			return bad.Add(1) < 3
		}
		return true
	})
	t.Logf("%d seeds, %d steps, %v; in %d some gateway served on by the others' word, in %d a death was proven",
		ran.Load(), steps.Load(), time.Since(began), vouched.Load(), proven.Load())
	if n >= 1000 && (vouched.Load() == 0 || proven.Load() == 0) {
		t.Error("the faults do not reach what they are for")
	}
}

// each calls fn with the seeds 1 to n on all processors, until it returns
// false.
func each(t *testing.T, n int, fn func(*testing.T, uint64) bool) {
	var next atomic.Int64
	var stop atomic.Bool
	t.Run("seeds", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				for !stop.Load() {
					seed := next.Add(1)
					if seed > int64(n) {
						return
					}
					if !fn(t, uint64(seed)) {
						stop.Store(true)
					}
				}
			})
		}
	})
}

// TestReplays holds what a failing seed's message promises: the same seed gives
// the same run.
func TestReplays(t *testing.T) {
	each(t, 200, func(t *testing.T, seed uint64) bool {
		a, b := simulate(t, seed, none, true), simulate(t, seed, none, true)
		for i := range min(len(a.log), len(b.log)) {
			if a.log[i] != b.log[i] {
				t.Errorf("seed %d, line %d:\n%s\n%s", seed, i, a.log[i], b.log[i])
				return false
			}
		}
		if len(a.log) != len(b.log) {
			t.Errorf("seed %d: transcripts of %d and %d lines", seed, len(a.log), len(b.log))
		}
		return true
	})
}

// TestBrokenRules holds that the checks would notice: each rule that is broken
// on purpose is caught by some seed.
func TestBrokenRules(t *testing.T) {
	for _, b := range []struct {
		name   string
		broken rule
		caught []string // by one of these guarantees
	}{
		{"a commit that does not check the version of the file", ruleVersion, []string{"G1", "G2", "G3"}},
		{"a resolver for which nothing ever took place", ruleResolver, []string{"G3"}},
		{"a gateway that was declared dead and is not refused", ruleFence, []string{"G6"}},
		{"a fence hook that cuts nobody off", ruleHook, []string{"G6"}},
		{"a gateway that vouches for another one and declares it dead", rulePromise, []string{"G6"}},
		{"a gateway that joined late and does not wait until the store-outage is over", ruleJoiner, []string{"G6"}},
		{"a process that hangs and counts as one that has ended", ruleLifeline, []string{"G6"}},
		{"evidence that is older than the last holder of the name", ruleEvidence, []string{"G1", "G3"}},
		{"a refusal that is not recorded", ruleRefusal, []string{"G3"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			var found atomic.Pointer[string]
			var at atomic.Uint64
			each(t, 10_000, func(t *testing.T, seed uint64) bool {
				w := simulate(t, seed, b.broken, false)
				for _, bad := range w.bad {
					for _, g := range b.caught {
						if strings.Contains(bad, g+":") {
							found.Store(&bad)
							at.Store(seed)
							return false
						}
					}
				}
				return true
			})
			if found.Load() == nil {
				t.Fatal("not noticed")
			}
			t.Logf("seed %d: %s", at.Load(), *found.Load())
		})
	}
}
