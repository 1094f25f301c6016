// Package bench measures how fast an NFSv4.1 server answers: a closed loop of
// workers that each have one request under way, in a slot of their own, spread
// over a few connections. Any server can be the target, and two can be measured
// in turn in one run, so that their ratio holds on a machine that is noisy.
//
// A workload is a small set of compounds that are encoded once; a worker patches
// sequence, offset or stateid and sends the bytes again. What is measured is the
// server, the network between and as little of a client as possible.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A Target is a server to measure.
type Target struct {
	Name string // for people; default is Addr
	Addr string // host:port
	Path string // directory below the server's root to work in, such as "/export"
	PID  int    // the server's process if it runs here, to count its CPU; 0 if not
}

// Options say how to measure. Zero values are the defaults.
type Options struct {
	Workloads []string      // names as Workloads lists them; none means all
	Workers   int           // default 16
	Conns     int           // default 2
	Duration  time.Duration // of one round of one workload; default 2 s
	Rounds    int           // default 3; the median round counts
}

// A Result is one workload against one target: the median of its rounds.
type Result struct {
	Target   string    `json:"target"`
	Workload string    `json:"workload"`
	Rate     float64   `json:"ops_per_second"`
	Bytes    float64   `json:"bytes_per_second,omitempty"`
	P50      float64   `json:"p50_us"`
	P99      float64   `json:"p99_us"`
	CPU      float64   `json:"server_cpu_us_per_op,omitempty"`
	Rounds   []float64 `json:"rounds_ops_per_second"`
}

// A Report is what Run measured. Ratios are the first target's rate by the
// second's, paired round by round, the median of them.
type Report struct {
	Results []Result           `json:"results"`
	Ratios  map[string]float64 `json:"ratios,omitempty"`
}

// Run measures one or two targets. With two, each round of a workload runs on
// one and then at once on the other. progress is told of each result, if it is
// not nil.
func Run(ctx context.Context, targets []Target, opt Options, progress func(Result)) (*Report, error) {
	if len(targets) < 1 || len(targets) > 2 {
		return nil, fmt.Errorf("bench: %d targets, allowed are 1 or 2", len(targets))
	}
	if opt.Workers <= 0 {
		opt.Workers = 16
	}
	if opt.Conns <= 0 {
		opt.Conns = 2
	}
	if opt.Duration <= 0 {
		opt.Duration = 2 * time.Second
	}
	if opt.Rounds <= 0 {
		opt.Rounds = 3
	}
	if len(opt.Workloads) == 0 {
		opt.Workloads = Names()
	}
	var rigs []*rig
	for i := range targets {
		r, err := newRig(ctx, targets[i], opt)
		if err != nil {
			return nil, fmt.Errorf("bench: %s: %w", targets[i].Addr, err)
		}
		defer r.close()
		rigs = append(rigs, r)
	}
	report := &Report{}
	for _, name := range opt.Workloads {
		w, ok := find(name)
		if !ok {
			return nil, fmt.Errorf("bench: no workload %q; there are %s", name, strings.Join(Names(), ", "))
		}
		rounds := make([][]round, len(rigs))
		for range opt.Rounds {
			for i, r := range rigs {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				got, err := r.round(ctx, w)
				if err != nil {
					return nil, fmt.Errorf("bench: %s on %s: %w", name, r.target.Name, err)
				}
				rounds[i] = append(rounds[i], got)
			}
		}
		for i, r := range rigs {
			res := summarize(r.target.Name, w, rounds[i])
			report.Results = append(report.Results, res)
			if progress != nil {
				progress(res)
			}
		}
		if len(rigs) == 2 {
			if report.Ratios == nil {
				report.Ratios = map[string]float64{}
			}
			var ratios []float64
			for i := range rounds[0] {
				ratios = append(ratios, rounds[0][i].rate/rounds[1][i].rate)
			}
			slices.Sort(ratios)
			report.Ratios[name] = ratios[len(ratios)/2]
		}
	}
	return report, nil
}

// A round is one measurement.
type round struct {
	rate, p50, p99, cpu float64
}

func summarize(target string, w workload, rounds []round) Result {
	res := Result{Target: target, Workload: w.name}
	for _, r := range rounds {
		res.Rounds = append(res.Rounds, r.rate)
	}
	slices.SortFunc(rounds, func(a, b round) int {
		switch {
		case a.rate < b.rate:
			return -1
		case a.rate > b.rate:
			return 1
		}
		return 0
	})
	m := rounds[len(rounds)/2]
	res.Rate, res.P50, res.P99, res.CPU = m.rate, m.p50, m.p99, m.cpu
	res.Bytes = m.rate * float64(w.bytes)
	return res
}

// A rig is a target with its workers' connections, session and files.
type rig struct {
	target  Target
	opt     Options
	client  *client.Client
	conns   []*client.Conn
	dir     client.FH
	dirName string
	parent  client.FH
	workers []*worker
}

func newRig(ctx context.Context, t Target, opt Options) (*rig, error) {
	if t.Name == "" {
		t.Name = t.Addr
	}
	fore := client.DefaultFore
	fore.MaxRequests = uint32(opt.Workers) + 1 // one for what is not measured
	c, err := client.New(ctx, client.Config{Dial: client.TCP(t.Addr), Minor: 1, Fore: fore})
	if err != nil {
		return nil, err
	}
	if got := int(c.Session.Granted.Fore.MaxRequests); got < opt.Workers+1 {
		c.Close()
		return nil, fmt.Errorf("the server gives %d slots, %d workers need one more than they are", got, opt.Workers)
	}
	r := &rig{target: t, opt: opt, client: c, conns: []*client.Conn{c.Conn()}}
	for len(r.conns) < opt.Conns {
		conn, err := c.AddConn(ctx)
		if err != nil {
			c.Close()
			return nil, err
		}
		r.conns = append(r.conns, conn)
	}
	if r.parent, err = c.Walk(t.Path); err != nil {
		c.Close()
		return nil, fmt.Errorf("finding %q: %w", t.Path, err)
	}
	r.dirName = client.UniqueName("bench-")
	if r.dir, err = c.MkdirFH(r.parent, r.dirName); err != nil {
		c.Close()
		return nil, fmt.Errorf("making a directory in %q: %w", t.Path, err)
	}
	for i := range opt.Workers {
		w := &worker{rig: r, n: i, conn: r.conns[i%len(r.conns)], slot: c.Session.Acquire()}
		if err := w.prepare(); err != nil {
			r.close()
			return nil, err
		}
		r.workers = append(r.workers, w)
	}
	return r, nil
}

// close removes what the rig made on the server.
func (r *rig) close() {
	for _, w := range r.workers {
		w.close()
	}
	_, _ = r.client.Compound(client.PutFH(r.parent), client.Remove(r.dirName))
	_ = r.client.Destroy()
}

// round runs all workers for the duration.
func (r *rig) round(ctx context.Context, w workload) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opt.Duration)
	defer cancel()
	hists := make([]*hdrhistogram.Histogram, len(r.workers))
	errs := make([]error, len(r.workers))
	cpu := cpuTime(r.target.PID)
	began := time.Now()
	var wg sync.WaitGroup
	for i, wk := range r.workers {
		hists[i] = hdrhistogram.New(1, 60_000_000_000, 3)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				t := time.Now()
				if err := w.run(wk); err != nil {
					errs[i] = err
					cancel()
					return
				}
				_ = hists[i].RecordValue(int64(time.Since(t)))
			}
		}()
	}
	wg.Wait()
	took := time.Since(began).Seconds()
	used := cpuTime(r.target.PID) - cpu
	if err := errors.Join(errs...); err != nil {
		return round{}, err
	}
	all := hists[0]
	for _, h := range hists[1:] {
		all.Merge(h)
	}
	n := float64(all.TotalCount())
	if n == 0 {
		return round{}, errors.New("no request was answered in time")
	}
	return round{
		rate: n / took,
		p50:  float64(all.ValueAtQuantile(50)) / 1e3,
		p99:  float64(all.ValueAtQuantile(99)) / 1e3,
		cpu:  used.Seconds() * 1e6 / n,
	}, nil
}

// cpuTime is the CPU time that a process has used; 0 if it is not known.
func cpuTime(pid int) time.Duration {
	if pid == 0 {
		return 0
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	return time.Duration(user+system) * tick
}

// Names returns the names of all workloads, in the order in which they run.
func Names() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

func find(name string) (workload, bool) {
	for _, w := range workloads {
		if w.name == name {
			return w, true
		}
	}
	return workload{}, false
}

// statusError is a compound that did not succeed.
func statusError(what string, s nfs4.Status) error {
	return fmt.Errorf("%s: %v", what, s)
}
