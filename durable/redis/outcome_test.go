package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/redis"
)

var commitCall = []byte("_commit\r\n")

// Nothing acknowledged is lost and nothing is done twice or by halves when the
// server dies by SIGKILL in the midst of commits and comes back.
func TestServerKilled(t *testing.T) {
	server := startRedis(t, durableArgs...)
	o := redis.Options{Domain: newDomain(), Patience: time.Minute}
	a, b := open(t, server.url(), o), open(t, server.url(), o)
	l := startWorkload(a, b)
	r := rand.New(rand.NewPCG(1, 1))
	for range 8 {
		l.more(t, 50+r.Uint64N(500))
		server.kill()
		server.restart()
	}
	l.more(t, 200)
	l.end(t, open(t, server.url(), o))
	t.Logf("%d batches, outcomes asked for: %d and %d", l.total.Load(), a.Status().Resolved, b.Status().Resolved)
}

// The same when connections are cut, at any byte in either direction.
func TestConnectionsCut(t *testing.T) {
	server := startRedis(t, durableArgs...)
	p := startProxy(t, server.addr())
	o := redis.Options{Domain: newDomain(), Patience: time.Minute}
	s := open(t, p.url(), o)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(2, 2))
	next := 3000
	var cuts atomic.Int64
	cutter := func(reply bool) *func(*pair, []byte) bool {
		f := func(c *pair, data []byte) bool {
			mu.Lock()
			next -= len(data)
			cut := next < 0
			if cut {
				next = 500 + r.IntN(20000)
			}
			keep := r.IntN(2) == 0
			n := r.IntN(len(data) + 1)
			mu.Unlock()
			if !cut {
				return true
			}
			cuts.Add(1)
			if !keep { // a beginning still gets there
				if reply {
					c.client.Write(data[:n])
				} else {
					c.server.Write(data[:n])
				}
			} else if !reply {
				c.server.Write(data)
			}
			c.cut()
			return false
		}
		return &f
	}
	p.onRequest.Store(cutter(false))
	p.onReply.Store(cutter(true))
	l := startWorkload(s)
	if !poll(t, func() bool { return cuts.Load() >= 300 || l.stop.Load() }) {
		t.Errorf("only %d cuts", cuts.Load())
	}
	p.onRequest.Store(nil)
	p.onReply.Store(nil)
	l.more(t, 100)
	l.end(t, open(t, server.url(), o))
	t.Logf("%d batches, %d cuts, %d outcomes asked for", l.total.Load(), cuts.Load(), s.Status().Resolved)
	if s.Status().Resolved == 0 {
		t.Error("no outcome was ever in doubt")
	}
}

// The answer to a commit is lost: it is found out that the commit was done.
func TestAnswerLost(t *testing.T) {
	server := startRedis(t, durableArgs...)
	p := startProxy(t, server.addr())
	s := open(t, p.url(), redis.Options{Domain: newDomain(), Lanes: 1})
	var once sync.Once
	var committing atomic.Pointer[pair]
	onRequest := func(c *pair, data []byte) bool {
		if bytes.Contains(data, commitCall) {
			once.Do(func() { committing.Store(c) })
		}
		return true
	}
	onReply := func(c *pair, data []byte) bool {
		if committing.CompareAndSwap(c, nil) {
			c.cut()
			return false
		}
		return true
	}
	p.onReply.Store(&onReply)
	p.onRequest.Store(&onRequest)
	if err := commit(s, put("g", "once")); err != nil {
		t.Fatal(err)
	}
	if g := load(t, s, "g"); g.Version != 1 {
		t.Errorf("the batch was done %d times", g.Version)
	}
	if st := s.Status(); st.Resolved != 1 || st.Unknown != 0 {
		t.Errorf("%+v", st)
	}
}

// A commit is held up on its way and its connection breaks. The store sends it again; when
// the first one arrives at last it is refused.
func TestLateCommitIsRefused(t *testing.T) {
	server := startRedis(t, durableArgs...)
	p := startProxy(t, server.addr())
	s := open(t, p.url(), redis.Options{Domain: newDomain(), Lanes: 1})
	var held struct {
		sync.Mutex
		data []byte
	}
	onRequest := func(c *pair, data []byte) bool {
		held.Lock()
		defer held.Unlock()
		if held.data == nil && bytes.Contains(data, commitCall) {
			held.data = bytes.Clone(data)
			c.client.Close()
			return false
		}
		return true
	}
	p.onRequest.Store(&onRequest)
	if err := commit(s, put("g", "once")); err != nil {
		t.Fatal(err)
	}
	p.onRequest.Store(nil)
	held.Lock()
	data := held.data
	held.Unlock()
	if data == nil {
		t.Fatal("no commit was held up")
	}
	reply := speak(t, server, data)
	if !strings.Contains(reply, "late") {
		t.Errorf("the server answers to the late commit: %q", reply)
	}
	if g := load(t, s, "g"); g.Version != 1 {
		t.Errorf("the batch was done %d times", g.Version)
	}
}

// speak sends raw bytes to the server and returns what it answers to them.
func speak(t *testing.T, server *redisServer, data []byte) string {
	t.Helper()
	conn := dial(t, server.addr())
	defer conn.Close()
	if _, err := conn.Write(append(bytes.Clone(data), "PING\r\n"...)); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for r := bufio.NewReader(conn); !strings.HasSuffix(all.String(), "+PONG\r\n"); {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// While the server does not answer nobody is told a guess: who waited for an
// answer gets ErrUnknown, who was not sent ErrUnavailable, and no load passes
// before the outcome is settled.
func TestServerStalls(t *testing.T) {
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain(), Lanes: 1, Patience: time.Second, Timeout: 300 * time.Millisecond})
	if err := commit(s, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	signal := func(sig syscall.Signal) {
		if err := server.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	b := put("g", "2")
	b.Checks = []durable.Check{{Key: "g", Version: 1}}
	if err := commit(s, b); !errors.Is(err, durable.ErrUnknown) {
		t.Errorf("a commit without an answer: %v", err)
	}
	if err := commit(s, put("h", "1")); !errors.Is(err, durable.ErrUnavailable) || errors.Is(err, durable.ErrUnknown) {
		t.Errorf("a commit that cannot be sent: %v", err)
	}
	if _, err := s.Load(context.Background(), "g"); !errors.Is(err, durable.ErrUnavailable) {
		t.Errorf("a load: %v", err)
	}
	if err := s.Scan(context.Background(), "", func(durable.Group) bool { return true }); !errors.Is(err, durable.ErrUnavailable) {
		t.Errorf("a scan: %v", err)
	}
	if _, err := s.Now(context.Background()); !errors.Is(err, durable.ErrUnavailable) {
		t.Errorf("the time: %v", err)
	}
	if st := s.Status(); st.Err == nil || st.Unknown != 1 {
		t.Errorf("the status says %+v", st)
	}
	signal(syscall.SIGCONT)
	var g durable.Group
	if !poll(t, func() bool {
		groups, err := s.Load(context.Background(), "g", "h")
		if err != nil {
			return false
		}
		g = groups[0]
		if groups[1].Version != 0 {
			t.Error("a commit that was said not to be done was done")
		}
		return true
	}) {
		t.Fatal("the store does not come back")
	}
	// Whichever it is, it does not change any more.
	if err := commit(s, put("h", "2")); err != nil {
		t.Fatal(err)
	}
	if again := load(t, s, "g"); again.Version != g.Version {
		t.Errorf("the outcome was version %d, and is now %d", g.Version, again.Version)
	}
	if st := s.Status(); st.Err != nil || st.Resolved == 0 {
		t.Errorf("the status says %+v", st)
	}
}

// Commits that wait while a call is under way go together in the next one, and
// a conflict of one is none of the others.
func TestGroupCommit(t *testing.T) {
	const n = 40
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain(), Lanes: 1})
	if err := commit(s, put("there", "1")); err != nil {
		t.Fatal(err)
	}
	before := s.Status()
	server.cmd.Process.Signal(syscall.SIGSTOP)
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			b := put("g", "x")
			b.Writes[0].Name = string(rune('A' + i))
			if i%2 == 0 {
				b.Checks = []durable.Check{{Key: "there", Version: 7}}
			}
			errs[i] = commit(s, b)
		})
	}
	// All of them have been put in the queue, or are in the call that waits.
	if !poll(t, func() bool { return redis.Waiting(s)+int(s.Status().Batches-before.Batches) == n }) {
		t.Error("the commits do not gather")
	}
	server.cmd.Process.Signal(syscall.SIGCONT)
	wg.Wait()
	for i, err := range errs {
		var c *durable.Conflict
		if i%2 == 0 && (!errors.As(err, &c) || len(c.Groups) != 1 || c.Groups[0].Key != "there" || c.Groups[0].Version != 1) ||
			i%2 == 1 && err != nil {
			t.Errorf("commit %d: %v", i, err)
		}
	}
	if g := load(t, s, "g"); g.Version != n/2 || len(g.Parts) != n/2 {
		t.Errorf("version %d with %d parts after %d commits", g.Version, len(g.Parts), n/2)
	}
	if st := s.Status(); st.Calls-before.Calls > 2 && st.Resolved == 0 {
		t.Errorf("%d commits took %d calls", n, st.Calls-before.Calls)
	}
}

// A store that is closed while its server is away lets everybody go.
func TestCloseWithoutServer(t *testing.T) {
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain(), Patience: time.Hour})
	server.kill()
	errs := make(chan error, 2)
	go func() { errs <- commit(s, put("g", "1")) }()
	go func() { _, err := s.Load(context.Background(), "g"); errs <- err }()
	if !poll(t, func() bool { return s.Status().Err != nil }) {
		t.Fatal("nothing fails without a server")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; !errors.Is(err, durable.ErrClosed) && !errors.Is(err, durable.ErrUnknown) {
			t.Errorf("a call that waited: %v", err)
		}
	}
}
