package suite

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A Spread says what goes to different addresses of a target.
type Spread string

// The ways to spread.
const (
	SpreadNone       Spread = ""           // all goes to the first address
	SpreadTest       Spread = "test"       // each test has an address
	SpreadConnection Spread = "connection" // consecutive connections
	SpreadRequest    Spread = "request"    // consecutive requests of each connection
)

// ParseSpread checks a word for --spread.
func ParseSpread(s string) (Spread, error) {
	switch Spread(s) {
	case SpreadNone, SpreadTest, SpreadConnection, SpreadRequest:
		return Spread(s), nil
	}
	return "", fmt.Errorf("--spread %q: there are request, connection and test", s)
}

// A Run runs tests against one target, in a directory of its own there. Test
// may be called by several goroutines at once.
type Run struct {
	target Target
	ctx    context.Context
	own    string // the run's directory
	turn   atomic.Uint32
	// crowded is set when the server had no room for a new client. Tests then
	// take theirs away when they end.
	crowded atomic.Bool
	chaos   *chaos

	// Tests that disturb others hold it whole, the others shared.
	together sync.RWMutex
}

// ownMode lets tests act in the directory as other users.
const ownMode = 0o755

// runIn is a run in the target's own directory.
func runIn(ctx context.Context, target Target) *Run {
	r := &Run{target: target, ctx: ctx}
	if len(target.Addresses) == 0 {
		r.target.Addresses = []Dial{target.Dial}
	}
	if target.Chaos != nil {
		r.chaos = newChaos(target.Chaos, target.ChaosEvery)
	}
	return r
}

// NewRun connects, and makes the run's directory.
func NewRun(ctx context.Context, target Target) (*Run, error) {
	r := runIn(ctx, target)
	c, err := r.anyClient()
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Destroy() }()
	var work client.FH
	// The first operation on a filehandle may have to wait until the server has
	// asked what it exports.
	err = client.Patiently(ctx, crowded, func() (err error) {
		work, err = c.Walk(target.Path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", target.Path, err)
	}
	r.own = client.UniqueName("conformance-run-")
	_, err = client.Check(c.Compound(client.PutFH(work), client.Create(client.CreateArgs{
		Type: nfs4.TypeDir, Name: r.own, Attrs: new(client.Attrs).SetMode(ownMode),
	})))
	if err != nil {
		return nil, fmt.Errorf("the run's directory below path %q: %w", target.Path, err)
	}
	r.target.Path = target.Path + "/" + r.own
	return r, nil
}

// anyClient establishes a client of the first minor version that the server
// speaks.
func (r *Run) anyClient() (c *client.Client, err error) {
	for _, minor := range []uint32{1, 2, 0} {
		cfg := client.Config{Dial: r.dialer(0, false), Minor: minor, Options: client.Options{Timeout: r.target.Timeout}, Patience: crowded}
		if c, err = client.New(r.ctx, cfg); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// Close removes the run's directory. What it says beside failed chaos is for
// information: tests may have left what cannot be removed.
func (r *Run) Close() error {
	err := r.chaos.end()
	if r.own == "" {
		return err
	}
	c, cerr := r.anyClient()
	if cerr != nil {
		return cerr
	}
	defer func() { _ = c.Destroy() }()
	path := r.target.Path[:len(r.target.Path)-len(r.own)]
	if work, werr := c.Walk(path); werr == nil {
		removeTree(c, work, r.own)
	}
	return err
}

// Disturbances returns how often chaos was made.
func (r *Run) Disturbances() int { return r.chaos.count() }

// dialer returns what connects to the target as the run's modes say: to the
// address at and, if calls are to be sent again, to others in its stead.
func (r *Run) dialer(at uint32, spread bool) Dial {
	n := uint32(len(r.target.Addresses))
	return func(ctx context.Context) (net.Conn, error) {
		first, legs := at, 1
		if spread {
			switch r.target.Spread {
			case SpreadConnection:
				first = r.turn.Add(1)
			case SpreadRequest:
				first, legs = r.turn.Add(1), int(n)
			}
		}
		if legs == 1 && r.chaos == nil {
			return r.target.Addresses[first%n](ctx)
		}
		dials := make([]Dial, 0, n)
		for i := range n {
			dials = append(dials, r.target.Addresses[(first+i)%n])
		}
		c, err := newCarrier(ctx, dials, legs, r.chaos != nil)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

// plain returns what connects to an address without anything in between, for
// tests of the stream itself. Where servers are killed it waits for one.
func (r *Run) plain(at uint32) Dial {
	n := uint32(len(r.target.Addresses))
	return func(ctx context.Context) (net.Conn, error) {
		if r.target.Spread == SpreadConnection || r.target.Spread == SpreadRequest {
			at = r.turn.Add(1)
		}
		return r.target.Addresses[at%n](ctx)
	}
}

// env prepares what a test has at hand.
func (r *Run) env(test *Test, minor uint32) *Env {
	e := &Env{Target: r.target, Minor: minor, run: r, ctx: r.ctx}
	if r.target.Spread != SpreadNone {
		e.home = r.turn.Add(1)
	}
	e.Dial = e.carried(r.dialer(e.home, true))
	if test.Has(stream) {
		e.Dial = r.plain(e.home)
	}
	return e
}

// at returns what connects to one of the target's addresses.
func (e *Env) at(address int) Dial { return e.carried(e.run.dialer(uint32(address), false)) }

// carried notes the carriers that a dialer makes.
func (e *Env) carried(dial Dial) Dial {
	return func(ctx context.Context) (net.Conn, error) {
		nc, err := dial(ctx)
		if c, ok := nc.(*carrier); ok {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.carriers = append(e.carriers, c)
		}
		return nc, err
	}
}

// Test runs one test for one minor version.
func (r *Run) Test(test Test, minor uint32) Result {
	if test.Has(alone) {
		r.together.Lock()
		defer r.together.Unlock()
	} else {
		r.together.RLock()
		defer r.together.RUnlock()
	}
	defer r.chaos.tick(r.ctx)
	if test.Has(quiet) || test.Has(stream) {
		defer r.chaos.quiet()()
	}
	e := r.env(&test, minor)
	start := time.Now()
	done := make(chan struct{})
	// A goroutine of its own, so that a failure may end the test from anywhere.
	go func() {
		defer close(done)
		defer e.finish()
		if why := test.lacks(&r.target); why != "" {
			e.Skipf("%s", why)
		}
		test.run(e)
		e.settle()
	}()
	<-done
	return e.result(test, time.Since(start))
}

// finish ends a test's goroutine.
func (e *Env) finish() {
	if r := recover(); r != nil && r != errStop {
		e.failed = true
		e.messages = append(e.messages, fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
	}
	e.trace.end()
	e.cleanup()
}

// result is how the test ended.
func (e *Env) result(test Test, took time.Duration) Result {
	res := Result{Test: test, Minor: e.Minor, Outcome: Pass, Messages: e.messages, Took: took, Provoked: e.provoked}
	switch {
	case e.failed:
		res.Outcome = Fail
		res.Exchange = e.trace.lines()
	case e.unsupported:
		res.Outcome = Unsupported
	case e.skipped:
		res.Outcome = Skip
	}
	return res
}

// RunTest runs one test for one minor version, in the target's own directory.
func RunTest(ctx context.Context, target Target, test Test, minor uint32) Result {
	return runIn(ctx, target).Test(test, minor)
}

// A Job is a test to be run for a minor version.
type Job struct {
	Test  Test
	Minor uint32
}

// Jobs returns what is to be run, minor version by minor version.
func Jobs(tests []Test, minors ...uint32) []Job {
	var jobs []Job
	for _, minor := range minors {
		for _, t := range tests {
			if t.Minor(minor) {
				jobs = append(jobs, Job{t, minor})
			}
		}
	}
	return jobs
}

// Tests runs jobs, so many at once as the target says, and returns the results
// in the order of the jobs. done, if not nil, is called with each as it ends, one
// at a time. When the context ends, what has not begun is left out.
func (r *Run) Tests(jobs []Job, done func(Result)) []Result {
	results := make([]Result, len(jobs))
	ran := make([]bool, len(jobs))
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range max(1, r.target.Parallel) {
		wg.Go(func() {
			for r.ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					return
				}
				res := r.Test(jobs[i].Test, jobs[i].Minor)
				mu.Lock()
				results[i], ran[i] = res, true
				if done != nil {
					done(res)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	all := results[:0]
	for i, ok := range ran {
		if ok {
			all = append(all, results[i])
		}
	}
	return all
}
