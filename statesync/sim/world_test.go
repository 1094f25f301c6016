package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"holdfast/durable/memory"
)

// A verdict is what the scheduler says to one who takes a step.
type verdict int

const (
	proceed verdict = iota
	cut             // the store cannot be reached
	lost            // the message does not arrive
	dead            // the process is gone
)

// A step is somebody who waits for the scheduler.
type step struct {
	task  string // who, the same in each run of a seed
	what  string
	g     *gateway // on which gateway, nil for the network and clients
	kind  stepKind
	until time.Time // not before
	held  bool      // it was held up already
	turn  chan verdict
}

type stepKind int

const (
	local     stepKind = iota
	toStore            // a request on its way to the store
	fromStore          // its answer
	message            // from a client, or to it
)

// A plan is what a seed decided beforehand.
type plan struct {
	gateways, clients, ops int
	faults                 int           // how many
	hook                   bool          // there is a fence hook
	lease, outage          time.Duration // of gateways
	peers                  bool          // there is a channel between the gateways
	lifelines              bool
	names                  int  // so many of 5 things that clients do are about names
	late                   bool // a request whose connection was closed still runs
}

// A world is one run.
type world struct {
	seed uint64
	rng  *rand.Rand // the scheduler's only
	plan plan
	rule rule // a rule that is broken on purpose

	store    *memory.Store
	fs       *files
	gateways []*gateway
	clients  []*client
	oracle   oracle
	start    time.Time

	mu     sync.Mutex
	parked []*step
	kick   chan struct{}
	tasks  sync.WaitGroup
	calm   bool // no more faults
	down   time.Time
	steps  int

	vouched, proven bool // some gateway served on by others' word; some death was proven

	trace bool
	log   []string // if trace
	bad   []string
}

func newWorld(seed uint64, broken rule, trace bool) *world {
	rng := rand.New(rand.NewPCG(seed, 0x73696d))
	w := &world{
		seed: seed, rng: rng, rule: broken, trace: trace, store: memory.New(), fs: newFiles(),
		kick: make(chan struct{}, 1), start: time.Now(),
	}
	w.plan = plan{
		gateways: 2 + rng.IntN(2), clients: 2 + rng.IntN(2), ops: 4 + rng.IntN(6), faults: rng.IntN(5),
		hook: rng.IntN(2) == 0, late: rng.IntN(2) == 0, names: 2 + 2*rng.IntN(2), lease: time.Second,
	}
	w.plan.outage, w.plan.peers, w.plan.lifelines = w.plan.lease, rng.IntN(4) > 0, rng.IntN(2) == 0
	if w.plan.peers && rng.IntN(2) == 0 {
		w.plan.outage = 4 * w.plan.lease
	}
	w.oracle.init()
	return w
}

// note adds a line to the transcript.
func (w *world) note(who, format string, args ...any) {
	if !w.trace {
		return
	}
	line := fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(who, line)
}

func (w *world) noteLocked(who, line string) {
	if w.trace {
		w.log = append(w.log, fmt.Sprintf("%10.3f ms  %-10s %s", float64(time.Since(w.start).Microseconds())/1000, who, line))
	}
}

// line is Sprintf if somebody will read it.
func (w *world) line(format string, args ...any) string {
	if !w.trace {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// violated notes that a guarantee does not hold.
func (w *world) violated(who, format string, args ...any) {
	line := "VIOLATION " + fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad = append(w.bad, line)
	w.noteLocked(who, line)
}

// take waits for the scheduler's word on a step.
func (w *world) take(task string, g *gateway, kind stepKind, what string) verdict {
	return w.park(&step{task: task, g: g, kind: kind, what: what, turn: make(chan verdict, 1)})
}

func (w *world) park(s *step) verdict {
	w.mu.Lock()
	if s.g != nil && s.g.dead {
		w.mu.Unlock()
		return dead
	}
	w.parked = append(w.parked, s)
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
	return <-s.turn
}

// pause waits for some virtual time as a step does.
func (w *world) pause(task string, g *gateway, d time.Duration) verdict {
	return w.park(&step{task: task, g: g, what: "wakes", until: time.Now().Add(d), turn: make(chan verdict, 1)})
}

// run schedules until done says that it is over, or the time is.
func (w *world) run(done func() bool) {
	for {
		synctest.Wait()
		if done() || len(w.bad) > 0 {
			return
		}
		if time.Since(w.start) > w.end() {
			w.violated("", "after %v without faults some request is still not answered: %s", w.end()-w.quiet(), w.waiting())
			return
		}
		if !w.calm && time.Since(w.start) > w.quiet() {
			w.heal()
		}
		w.watchServing()
		w.faults()
		s, next := w.choose()
		if s == nil {
			if next <= 0 || next > 10*time.Second {
				next = 10 * time.Second
			}
			t := time.NewTimer(next)
			select {
			case <-t.C:
			case <-w.kick:
			}
			t.Stop()
			continue
		}
		if w.holdUp(s) {
			continue
		}
		w.steps++
		v := w.judge(s)
		if w.trace {
			w.note(s.task, "%s%s", s.what, [...]string{"", ": cut off", ": lost", ": dead"}[v])
		}
		s.turn <- v
		if d := w.rng.IntN(4000); d < 2000 {
			synctest.Wait()
			time.Sleep(time.Duration(d) * time.Microsecond)
		}
	}
}

// quiet is when faults end, end when all must be over.
func (w *world) quiet() time.Duration { return 12 * time.Second }
func (w *world) end() time.Duration   { return 60 * time.Second }

// choose takes a step out of those that may be taken, or says how long none may.
func (w *world) choose() (*step, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	next := time.Duration(-1)
	var may []*step
	for _, s := range w.parked {
		from := s.until
		if g := s.g; g != nil && !g.dead && g.paused.After(from) {
			from = g.paused
		}
		if s.kind == fromStore && s.g != nil && !s.g.dead && s.g.cut.After(from) {
			from = s.g.cut
		}
		if d := from.Sub(now); d > 0 {
			if next < 0 || d < next {
				next = d
			}
			continue
		}
		may = append(may, s)
	}
	if len(may) == 0 {
		return nil, next
	}
	slices.SortFunc(may, func(a, b *step) int {
		if c := strings.Compare(a.task, b.task); c != 0 {
			return c
		}
		return strings.Compare(a.what, b.what)
	})
	s := may[w.rng.IntN(len(may))]
	i := slices.Index(w.parked, s)
	w.parked = slices.Delete(w.parked, i, i+1)
	return s, 0
}

// holdUp makes a step wait now and then, so that many others come before it. It
// is the longest for messages of clients that do not know what still comes.
func (w *world) holdUp(s *step) bool {
	if s.held || s.kind == local || w.calm {
		return false
	}
	s.held = true
	long := 0
	switch {
	case s.kind != message && w.rng.IntN(16) == 0:
		long = w.rng.IntN(60)
	case s.kind == message && w.plan.late && w.rng.IntN(6) == 0:
		long = w.rng.IntN(900)
	}
	if long == 0 {
		return false
	}
	s.until = time.Now().Add(time.Duration(long) * time.Millisecond)
	w.mu.Lock()
	w.parked = append(w.parked, s)
	w.mu.Unlock()
	return true
}

// judge says what becomes of a step.
func (w *world) judge(s *step) verdict {
	if s.g != nil && s.g.dead {
		return dead
	}
	switch s.kind {
	case toStore:
		if s.g != nil && s.g.cut.After(time.Now()) || w.down.After(time.Now()) {
			return cut
		}
	case message:
		if !w.calm && w.rng.IntN(12) == 0 {
			return lost
		}
	}
	return proceed
}

// faults makes one happen now and then.
func (w *world) faults() {
	if w.calm || w.plan.faults == 0 || w.rng.IntN(60) != 0 {
		return
	}
	w.plan.faults--
	g := w.gateways[w.rng.IntN(len(w.gateways))]
	now := time.Now()
	long := time.Duration(w.rng.IntN(3000)) * time.Millisecond
	switch w.rng.IntN(8) {
	case 0, 1:
		w.note(g.name, "CRASH")
		w.crash(g)
	case 2, 3, 4:
		w.note(g.name, "PAUSE of %v", long)
		g.paused = now.Add(long)
		if w.rule == ruleLifeline {
			w.tellEnd(g)
		}
	case 5, 6:
		w.note(g.name, "CUT OFF from the store for %v", long)
		g.cut = now.Add(long)
	case 7:
		if w.plan.outage == w.plan.lease {
			long /= 4
		}
		w.note("store", "DOWN for %v", long)
		w.down = now.Add(long)
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.note("", "faults end")
	w.calm = true
	w.down = time.Time{}
	for _, g := range w.gateways {
		g.paused, g.cut = time.Time{}, time.Time{}
	}
}

// crash ends a gateway's process, and starts it again.
func (w *world) crash(g *gateway) {
	w.mu.Lock()
	if g.dead {
		w.mu.Unlock()
		return
	}
	g.dead = true
	w.mu.Unlock()
	g.cancel()
	w.tellEnd(g)
	fresh := w.newGateway(g.index, g.generation+1)
	w.gateways[g.index] = fresh
	w.spawn(func() { fresh.boot(time.Duration(100+g.generation*37%400) * time.Millisecond) })
}

// spawn starts a task.
func (w *world) spawn(fn func()) {
	w.tasks.Add(1)
	go func() {
		defer w.tasks.Done()
		fn()
	}()
}

// waiting names who waits for a step, for a failure's message.
func (w *world) waiting() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, s := range w.parked {
		out = append(out, s.task+" "+s.what)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// stop ends all tasks: everything is dead from now on.
func (w *world) stop() {
	for _, g := range w.gateways {
		w.mu.Lock()
		g.dead = true
		w.mu.Unlock()
		g.cancel()
	}
	over := make(chan struct{})
	go func() {
		w.tasks.Wait()
		close(over)
	}()
	for {
		w.mu.Lock()
		all := w.parked
		w.parked = nil
		w.mu.Unlock()
		for _, s := range all {
			s.turn <- dead
		}
		t := time.NewTimer(time.Second)
		select {
		case <-over:
			t.Stop()
			return
		case <-w.kick:
		case <-t.C:
		}
		t.Stop()
	}
}

type taskKey struct{}

// as marks a context with the task that it is of.
func as(ctx context.Context, task string) context.Context {
	return context.WithValue(ctx, taskKey{}, task)
}

func taskOf(ctx context.Context) string {
	if s, ok := ctx.Value(taskKey{}).(string); ok {
		return s
	}
	return "background"
}
