package cluster_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/conformance/cluster"
	"holdfast/conformance/kernel"
)

// A mount is a way in which a client uses the cluster.
type mount struct {
	name    string
	options string
	second  bool // mounts the balancer's second address too: one session over two addresses
	xprts   int  // how many transports the client has then
}

var mounts = []mount{
	{name: "4.0", options: "vers=4.0", xprts: 1},
	{name: "4.1", options: "vers=4.1", xprts: 1},
	{name: "4.2", options: "vers=4.2", xprts: 1},
	{name: "4.1, nconnect=4", options: "vers=4.1,nconnect=4", xprts: 4},
	{name: "4.1, two addresses", options: "vers=4.1,max_connect=2", second: true, xprts: 2},
}

// worker is a guest that works on a mount of the balancer, holds a byte-range lock, and tries all the time to take that of
// its neighbour.
type worker struct {
	*kernel.Guest
	mount
	mnt    string
	before kernel.Counters

	holder, watcher, pulse *kernel.Job

	load   *kernel.Job // or nil
	loaded string      // its name
}

// newWorkers boots a guest for each mount, mounts, and starts their work.
func newWorkers(t *testing.T, c *cluster.Cluster) []*worker {
	t.Helper()
	mounts := wanted(t, "HOLDFAST_MOUNTS", mounts, func(m mount) string { return m.name })
	names := make([]string, len(mounts))
	for i := range mounts {
		names[i] = fmt.Sprintf("c%d", i)
	}
	guests := c.Lab.Boot(t, names...)
	workers := make([]*worker, len(mounts))
	for i, g := range guests {
		w := &worker{Guest: g, mount: mounts[i]}
		w.mnt = g.MountFrom(t, c.Addr, "/", "/mnt/nfs", w.options)
		if w.second {
			g.MountFrom(t, c.Second, "/", "/mnt/second", w.options)
		}
		w.holder = g.Start(t, fmt.Sprintf(`nfstool hold %s/locks w %d 10 bash -c '. $LAB/lib.sh; say held; await release'`, w.mnt, i*100))
		w.holder.Expect(t, "held")
		workers[i] = w
	}
	for i, w := range workers {
		w.watcher = w.Start(t, fmt.Sprintf(`nfstool watchlock %s/locks %d 10 stop`, w.mnt, (i+1)%len(workers)*100))
		w.watcher.Expect(t, "watching")
		w.before = w.Counters(t, w.mnt)
		if w.before.Identified() == 0 {
			t.Fatalf("%s: the counters do not show how the client introduced itself: %v", w.name, w.before)
		}
		if w.before.Xprts != w.xprts {
			t.Fatalf("%s: the client has %d transports, want %d", w.name, w.before.Xprts, w.xprts)
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
			longest = stall{took, f[2] + " of " + w.name}
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
		t.Logf("%s: the neighbour's lock: %s", w.name, strings.TrimSpace(w.watcher.Wait(t)))
		w.Run(t, fmt.Sprintf(`same "w %[2]d 10" "$(nfstool getlk %[1]s/locks w %[2]d 10)" "the neighbour's lock after all"`, w.mnt, (i+1)%len(workers)*100))
	}
	for _, w := range workers {
		after := w.Counters(t, w.mnt)
		t.Logf("%s: %v", w.name, after)
		if ops := w.before.Recovery(after); len(ops) > 0 {
			t.Errorf("%s: the client had to recover: %v", w.name, ops)
		}
		if after.Xprts != w.xprts {
			t.Errorf("%s: the client has %d transports in the end, want %d", w.name, after.Xprts, w.xprts)
		}
		for _, line := range w.Complaints(t) {
			t.Errorf("%s: kernel log: %s", w.name, line)
		}
		w.Post(t, "release")
		w.holder.Wait(t)
	}
}

var loads = sync.OnceValue(func() []kernel.Load { return kernel.Loads(scratch) })

// A shift is a time in which each worker has a load.
type shift struct {
	number int
	stop   string // what ends it
}

// begin gives each worker a load. After as many shifts as there are loads each worker has had each of them. A load that
// several clients can share is given to two.
func begin(t *testing.T, c *cluster.Cluster, workers []*worker, number int) *shift {
	t.Helper()
	s := &shift{number, fmt.Sprintf("end%d", number)}
	var slots []*kernel.Load
	all := wanted(t, "HOLDFAST_LOADS", loads(), func(l kernel.Load) string { return l.Name })
	for i := range all {
		slots = append(slots, &all[i])
		if all[i].Both {
			slots = append(slots, &all[i])
		}
	}
	top := fmt.Sprintf("shift%d", number)
	dirs := map[string]string{}
	for i, w := range workers {
		l := slots[(number*len(workers)+i+number/2)%len(slots)]
		if dirs[l.Name] == "" {
			if len(dirs) == 0 {
				mkdir(t, filepath.Join(c.Dir, top))
			}
			dirs[l.Name] = l.Dir(t, filepath.Join(c.Dir, top))
		}
		w.loaded = l.Name
		w.load = w.Start(t, l.Script(filepath.Join(w.mnt, top, dirs[l.Name]), s.stop))
	}
	for _, w := range workers {
		w.load.Expect(t, "begin")
	}
	return s
}

// last makes the rounds that run the last ones.
func (s *shift) last(t *testing.T, workers []*worker) {
	t.Helper()
	for _, w := range workers {
		w.Post(t, s.stop)
	}
}

// end waits for the end of the loads, after last, and checks that they saw no error.
func (s *shift) end(t *testing.T, workers []*worker) {
	t.Helper()
	for _, w := range workers {
		w.load.Wait(t)
		rounds := w.load.Last("end")
		if rounds == "" {
			t.Errorf("%s: %s: not one round was worked", w.name, w.loaded)
		}
		t.Logf("shift %d: %s: %s: %s rounds", s.number, w.name, w.loaded, rounds)
		w.load = nil
	}
}
