package statesync

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
	"holdfast/statesync/lifeline"
)

// envProcess makes the test's program the process of a gateway, as far as its
// lifeline goes.
const envProcess = "STATESYNC_TEST_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(envProcess) == "" {
		os.Exit(m.Run())
	}
	l, err := lifeline.Listen("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	var instance uint64
	if _, err := fmt.Scan(&instance); err != nil {
		os.Exit(1)
	}
	l.Serve("a", instance)
	select {}
}

// A body is the process of the gateway a: what it has in memory is in the test's
// own, but its lifeline is real.
type body struct {
	*exec.Cmd
	addr  string
	enter func(instance uint64) // it says who it is
}

func newBody(t *testing.T) *body {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envProcess+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b := &body{Cmd: cmd}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q: %v", line, err)
	} else {
		b.addr = line[:len(line)-1]
	}
	b.enter = func(instance uint64) {
		if _, err := fmt.Fprintln(in, instance); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// killable are two gateways, of which the first can be killed. Nobody moves their
// clock, so that no lease ever ends.
func killable(t *testing.T, lease time.Duration, hook func(context.Context, Fenced) error) (a, b *world, proc *body) {
	t.Helper()
	proc = newBody(t)
	store, clock, fs := memory.New(), &fakeClock{}, newFakeFS()
	join := func(name string, seed uint64) *world {
		w := &world{t: t, store: &link{Store: store}, clock: clock, fs: fs, seed: seed, cfg: func(c *Config) {
			c.Shared, c.Name, c.GatewayLease, c.Lease = true, name, lease, time.Hour
			c.Watch, c.FenceHook = lifeline.Watch, hook
			if name == "a" {
				c.Lifeline, c.Address = proc.addr, "192.0.2.1"
			}
		}}
		w.join()
		t.Cleanup(func() { _ = w.n.Close(context.Background()) })
		return w
	}
	a = join("a", 100)
	proc.enter(a.n.Instance())
	b = join("b", 200)
	eventually(t, "the lifeline is held", func() bool {
		b.n.members.mu.Lock()
		defer b.n.members.mu.Unlock()
		l := b.n.members.lines["a"]
		return l != nil && l.held
	})
	return a, b, proc
}

var absent = func() ([]byte, error) { return []byte{}, nil }

// TestKilled: what a gateway had begun when it was killed is settled at once, with
// no look at any lease, and the store takes nothing of it any more.
func TestKilled(t *testing.T) {
	a, b, proc := killable(t, time.Minute, nil)
	ctx := context.Background()
	c := a.client41("c")
	names := []Name{{Dir: "d", Name: "n"}}
	req, fc := c.begin(0)
	fc.next()
	fc.start(nfs4.OpCreate)
	if err := req.Begin(ctx, nfs4.OpCreate, names, absent); err != nil {
		t.Fatal(err)
	}
	a.fs.make("n")

	fc2 := &fakeCompound{}
	req2, err := c.elsewhere(b).send(ctx, 0, fc2)
	if err != nil || req2.Begun() == nil {
		t.Fatalf("sent again elsewhere: %+v, %v", req2, err)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	err = req2.Begin(short, nfs4.OpCreate, names, absent)
	cancel()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("while the other gateway lives: %v", err)
	}
	if err := proc.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := req2.Begin(ctx, nfs4.OpCreate, names, absent); err != nil {
		t.Fatalf("killed: %v", err)
	}
	if in := req2.Begun(); in == nil || in.Settled {
		t.Fatalf("the intent to be looked at is %+v", in)
	}
	req2.Abort()
	if err := a.n.commitNow(ctx, &durable.Batch{Writes: []durable.Write{{Key: "x", Value: []byte{1}}}}); !errors.Is(err, ErrFenced) {
		t.Errorf("what the dead gateway sent last: %v", err)
	}
}

// TestKilledWithoutAnAnswer: a death that is proven while the store is away is
// kept, and the next beat declares it.
func TestKilledWithoutAnAnswer(t *testing.T) {
	a, b, proc := killable(t, time.Minute, nil)
	way := b.store.(*link)
	way.cut.Store(true)
	if err := proc.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the proof is there", func() bool {
		b.n.members.mu.Lock()
		defer b.n.members.mu.Unlock()
		return b.n.members.ended["a"] == a.n.Instance()
	})
	if alive, err := a.n.alive(); err != nil || !alive {
		t.Fatalf("declared dead without the store: %v", err)
	}
	way.cut.Store(false)
	b.beat()
	if alive, err := a.n.alive(); err != nil || alive {
		t.Errorf("not declared dead: %v", err)
	}
}

// alive says whether the store takes something of the node.
func (n *Node) alive() (bool, error) {
	groups, err := n.store.Load(context.Background(), gatewayKey(n.cfg.Name))
	if err != nil {
		return false, err
	}
	instance, state, err := decodeGateway(n.cfg.Name, head(groups[0]))
	return instance == n.instance && state == gatewayAlive, err
}

// TestEndOfAnEarlierInstance: the end of one instance says nothing about the next.
func TestEndOfAnEarlierInstance(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	old := a.n.Instance()
	a.join()
	b.beat()
	if err := b.n.Ended(context.Background(), "a", old); err != nil {
		t.Fatal(err)
	}
	b.beat()
	if alive, err := a.n.alive(); err != nil || !alive {
		t.Errorf("the next instance was declared dead: %v", err)
	}
}

// TestKilledAndFenced: a fencing hook runs before a dead gateway's intents are
// settled, proof or not.
func TestKilledAndFenced(t *testing.T) {
	fail := make(chan error, 1)
	ran := make(chan Fenced, 10)
	a, b, proc := killable(t, time.Minute, func(_ context.Context, who Fenced) error {
		ran <- who
		return <-fail
	})
	if err := proc.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := <-ran; got != (Fenced{"a", a.n.Instance(), "192.0.2.1"}) {
		t.Errorf("fenced is %+v", got)
	}
	if runs, err := b.n.runs(context.Background(), "a", a.n.Instance()); err != nil || !runs {
		t.Errorf("counts as dead before it was fenced: %v", err)
	}
	if alive, _ := a.n.alive(); alive {
		t.Error("the store takes something of it while it is fenced")
	}
	b.beat() // the hook does not keep it from its own lease
	if g := b.n.Gateways(); len(g) != 1 || g[0].Name != "a" || g[0].Fencing == nil || g[0].Fencing.Tries != 0 {
		t.Errorf("shown is %+v", g)
	}
	fail <- nil
	eventually(t, "declared dead", func() bool {
		runs, err := b.n.runs(context.Background(), "a", a.n.Instance())
		return err == nil && !runs
	})
}

// TestFencingIsTriedAgain: while the hook fails nothing is settled, an administrator
// can see it, and it is run again.
func TestFencingIsTriedAgain(t *testing.T) {
	answers := make(chan error)
	a, b, proc := killable(t, 500*time.Millisecond, func(ctx context.Context, _ Fenced) error {
		select {
		case err := <-answers:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err := proc.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	answers <- errors.New("no such machine")
	eventually(t, "the failure is shown", func() bool {
		all := b.n.Gateways()
		return len(all) == 1 && all[0].Fencing != nil && all[0].Fencing.Tries == 1 && strings.Contains(all[0].Fencing.Error, "no such machine")
	})
	if runs, err := b.n.runs(context.Background(), "a", a.n.Instance()); err != nil || !runs {
		t.Errorf("counts as dead before it was fenced: %v", err)
	}
	answers <- nil
	eventually(t, "declared dead", func() bool {
		runs, err := b.n.runs(context.Background(), "a", a.n.Instance())
		return err == nil && !runs && len(b.n.Gateways()) == 0
	})
}
