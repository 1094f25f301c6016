package sim

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	oneSeed = flag.Uint64("sim.seed", 0, "run this seed alone and print its transcript")
	seeds   = flag.Int("sim.seeds", 0, "how many seeds: default HOLDFAST_SIM_SEEDS or 10,000")
)

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
	bad := 0
	steps := 0
	for i := 1; i <= n; i++ {
		w := simulate(t, uint64(i), none, false)
		steps += w.steps
		if len(w.bad) > 0 {
			report(t, uint64(i), none)
			if bad++; bad == 3 {
				break
			}
		}
	}
	t.Logf("%d seeds, %d steps, %v", n, steps, time.Since(began))
}
