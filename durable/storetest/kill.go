package storetest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/durable"
)

// childEnv, when set, names the directory in which this process is to be the
// child of Kill.
const childEnv = "HOLDFAST_STORETEST_CHILD"

const (
	killWorkers = 8
	killDepth   = 6 // commits a worker has under way before it waits
	killParts   = 5
)

// Main is the TestMain of a package that uses Kill: it runs the tests, or is the
// child, which opens its store by open.
func Main(m *testing.M, open func(dir string) (durable.Store, error)) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := open(dir)
	if err == nil {
		err = child(s, os.Stdout)
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(1)
}

// Kill lets a child process commit as fast as it can, kills it by SIGKILL, opens
// the store that it leaves, checks it, and does the same again on it,
// rounds times.
//
// Worker w of the child commits batches 1, 2, 3, … to two groups of its own and,
// by turns, to parts of a shared one. Each batch tells which batch of every
// worker had been committed when it began. So a store that has it must have all
// of those.
func Kill(t *testing.T, rounds int, open func(dir string) (durable.Store, error)) {
	dir := filepath.Join(t.TempDir(), "store")
	r := rand.New(rand.NewPCG(uint64(rounds), 4))
	for round := range rounds {
		acked := killOnce(t, dir, 200+r.IntN(3000))
		s, err := open(dir)
		if err != nil {
			t.Fatalf("round %d: open after the kill: %v", round, err)
		}
		checkKilled(t, s, acked)
		if round%3 == 2 {
			// A kill may also find a store that was closed before.
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = open(dir); err != nil {
				t.Fatal(err)
			}
			checkKilled(t, s, acked)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// killOnce runs the child until it has reported so many durable batches, and
// returns the last one of each worker.
func killOnce(t *testing.T, dir string, reports int) (acked [killWorkers]uint64) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		if n == reports {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		// What the child had told before it died counts as well.
		line, err := lines.ReadString('\n')
		if err != nil {
			if n < reports {
				cmd.Wait()
				t.Fatalf("the child ended by itself: %s", stderr.String())
			}
			break
		}
		var worker int
		var batch uint64
		if _, err := fmt.Sscanf(line, "%d %d\n", &worker, &batch); err != nil {
			t.Fatalf("the child said %q", line)
		}
		acked[worker] = max(acked[worker], batch)
	}
	cmd.Wait()
	return acked
}

// child commits until it is killed or the store fails.
func child(s durable.Store, out io.Writer) error {
	var begun [killWorkers]atomic.Uint64
	for w := range begun {
		groups, err := s.Load(context.Background(), workerKey(w))
		if err != nil {
			return err
		}
		begun[w].Store(number(groups[0], "n"))
	}
	var mu sync.Mutex
	report := func(w int, n uint64) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Fprintf(out, "%d %d\n", w, n)
		return err
	}
	failed := make(chan error, killWorkers)
	for w := range killWorkers {
		go func() { failed <- childWorker(s, w, &begun, report) }()
	}
	return <-failed
}

func childWorker(s durable.Store, w int, begun *[killWorkers]atomic.Uint64, report func(int, uint64) error) error {
	var acks []durable.Ack
	for n := begun[w].Load() + 1; ; n++ {
		var seen []byte
		for i := range begun {
			seen = binary.BigEndian.AppendUint64(seen, begun[i].Load())
		}
		b := killBatch(w, n, seen)
		ack, err := s.Commit(context.Background(), &b)
		if err != nil {
			return err
		}
		begun[w].Store(n)
		acks = append(acks, ack)
		if len(acks) < killDepth {
			continue
		}
		for i, ack := range acks {
			if err := ack.Wait(); err != nil {
				return err
			}
			if err := report(w, n-uint64(len(acks)-1-i)); err != nil {
				return err
			}
		}
		acks = acks[:0]
	}
}

func workerKey(w int) string { return fmt.Sprint("worker/", w) }
func mirrorKey(w int) string { return fmt.Sprint("mirror/", w) }
func passKey(w int) string   { return fmt.Sprint("pass/", w) }

// killBatch is batch n of worker w. Every tenth batch makes a group that the
// fifth after it forgets.
func killBatch(w int, n uint64, seen []byte) durable.Batch {
	part := fmt.Sprint("p", n%killParts)
	b := durable.Batch{
		Checks: []durable.Check{{Key: workerKey(w), Version: n - 1}, {Key: mirrorKey(w), Version: n - 1}},
		Writes: []durable.Write{
			{Key: workerKey(w), Value: seen},
			{Key: workerKey(w), Name: "n", Value: encode(n)},
			{Key: workerKey(w), Name: part, Value: encode(n)},
			{Key: mirrorKey(w), Value: encode(n)},
			{Key: mirrorKey(w), Name: part, Value: make([]byte, n%3000)},
			{Key: mirrorKey(w), Name: fmt.Sprint("p", (n+1)%killParts)},
			{Key: "shared", Name: fmt.Sprint(w), Value: encode(n)},
		},
	}
	switch n % 10 {
	case 0:
		b.Writes = append(b.Writes, durable.Write{Key: passKey(w), Name: "x", Value: encode(n)})
	case 5:
		b.Forget = []string{passKey(w)}
	}
	return b
}

// checkKilled checks what is left against what was acknowledged.
func checkKilled(t *testing.T, s durable.Store, acked [killWorkers]uint64) {
	t.Helper()
	var found [killWorkers]uint64
	var seen [killWorkers][]byte
	shared := load(t, s, "shared")
	var total uint64
	for w := range killWorkers {
		g := load(t, s, workerKey(w))
		n := number(g, "n")
		found[w] = n
		total += n
		if n < acked[w] {
			t.Errorf("worker %d: batch %d was acknowledged, %d is the last one found", w, acked[w], n)
		}
		if n == 0 {
			continue
		}
		seen[w] = g.Parts[0].Value
		if err := wholeBatch(s, w, n, g, shared); err != nil {
			t.Errorf("worker %d, batch %d: %v", w, n, err)
		}
	}
	if shared.Version != total {
		t.Errorf("the shared group has version %d after %d batches", shared.Version, total)
	}
	for w := range killWorkers {
		for i := 0; i+8 <= len(seen[w]); i += 8 {
			if before := binary.BigEndian.Uint64(seen[w][i:]); found[i/8] < before {
				t.Errorf("batch %d of worker %d is there, and batch %d of worker %d, committed before it, is not",
					found[w], w, before, i/8)
			}
		}
	}
}

// wholeBatch checks that all of batch n, and nothing of the next, is there.
func wholeBatch(s durable.Store, w int, n uint64, g, shared durable.Group) error {
	if g.Version != n || number(g, fmt.Sprint("p", n%killParts)) != n || number(shared, fmt.Sprint(w)) != n {
		return fmt.Errorf("%s, and the shared part is of batch %d", show(g), number(shared, fmt.Sprint(w)))
	}
	groups, err := s.Load(context.Background(), mirrorKey(w), passKey(w))
	if err != nil {
		return err
	}
	mirror, pass := groups[0], groups[1]
	if mirror.Version != n || number(mirror, "") != n {
		return fmt.Errorf("its mirror is %s", show(mirror))
	}
	for _, p := range mirror.Parts[1:] {
		var k uint64
		if _, err := fmt.Sscanf(p.Name, "p%d", &k); err != nil {
			return err
		}
		// The last batch that wrote this part.
		last := n - (n+killParts-k)%killParts
		if uint64(len(p.Value)) != last%3000 || k == (n+1)%killParts {
			return fmt.Errorf("its mirror is %s", show(mirror))
		}
	}
	var want durable.Group
	want.Key = passKey(w)
	if n >= 10 && n%10 < 5 {
		want.Version = 1
		want.Parts = []durable.Part{{Name: "x", Value: encode(n - n%10)}}
	}
	if !equal(pass, want) {
		return errors.New("it left " + show(pass))
	}
	return nil
}
