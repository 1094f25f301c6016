package suite

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/conformance/client"
)

var listening = regexp.MustCompile(`Listening on ([^ ,]+?)[.,] `)

// fastDir returns a directory in memory, where there is one: what is under test
// here is the protocol, not the disk. It is of no use for what is exported: memory
// counts changes too coarsely.
func fastDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-suite-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve builds the program, runs "holdfast serve" with a new directory and
// state, and returns where it listens.
func serve(t *testing.T, flags ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the suite acts as several users: it needs root")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "holdfast")
	if out, err := exec.Command("go", "build", "-o", bin, "holdfast/cmd/holdfast").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	args := append([]string{"serve", filepath.Join(dir, "export"), "--listen", "127.0.0.1:0", "--state", filepath.Join(fastDir(t), "state"), "--no-root-squash"}, flags...)
	cmd := exec.Command(bin, args...)
	var log bytes.Buffer
	cmd.Stderr = &log
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
		if s := log.String(); strings.Contains(s, "panic") || t.Failed() {
			t.Logf("the server's log:\n%s", s[max(0, len(s)-20000):])
		}
		if strings.Contains(log.String(), "panic") {
			t.Error("the server panicked")
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go func() {
				for lines.Scan() { // keep the pipe empty
				}
			}()
			return m[1]
		}
	}
	t.Fatalf("the server does not listen: %s", log.String())
	return ""
}

// TestHoldfast runs the whole suite against the program as a user runs it. The
// tests that wait for leases have a server of their own with short ones.
func TestHoldfast(t *testing.T) {
	var results collector
	t.Run("all", func(t *testing.T) {
		t.Run("suite", func(t *testing.T) {
			t.Parallel()
			target := Target{Dial: client.TCP(serve(t)), Timeout: 30 * time.Second, Optional: true}
			results.run(t, target, func(test *Test) bool { return !test.Has(slow) })
		})
		t.Run("leases", func(t *testing.T) {
			if testing.Short() {
				t.Skip("it waits for leases")
			}
			t.Parallel()
			target := Target{Dial: client.TCP(serve(t, "--lease", "2s")), Timeout: 30 * time.Second, Optional: true, Slow: true}
			results.run(t, target, func(test *Test) bool { return test.Has(slow) })
		})
	})
	if results.complete() && !t.Failed() {
		checkErrorPage(t, results.all)
	}
}

// A collector keeps the results of tests that run beside each other.
type collector struct {
	mu  sync.Mutex
	all []Result
}

// run runs the tests that it is to run as subtests, in every minor version.
func (c *collector) run(t *testing.T, target Target, which func(test *Test) bool) {
	for minor := range uint32(3) {
		for _, test := range All() {
			if !test.Minor(minor) || !which(&test) {
				continue
			}
			t.Run(fmt.Sprintf("v4.%d/%s", minor, test.Code), func(t *testing.T) {
				t.Parallel()
				res := RunTest(t.Context(), target, test, minor)
				c.add(res)
				report(t, res)
			})
		}
	}
}

func (c *collector) add(r Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, r)
}

// complete says whether every test has run in every minor version.
func (c *collector) complete() bool {
	want := 0
	for _, test := range All() {
		for minor := range uint32(3) {
			if test.Minor(minor) {
				want++
			}
		}
	}
	return len(c.all) == want
}

// TestTarget runs the suite against any server: HOLDFAST_SUITE_TARGET is its
// ADDRESS:PORT, HOLDFAST_SUITE_PATH a directory below its root.
func TestTarget(t *testing.T) {
	addr := os.Getenv("HOLDFAST_SUITE_TARGET")
	if addr == "" {
		t.Skip("HOLDFAST_SUITE_TARGET names no server")
	}
	Run(t, Target{Dial: client.TCP(addr), Path: os.Getenv("HOLDFAST_SUITE_PATH"), Timeout: 10 * time.Second})
}
