package suite

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/conformance/client"
)

var listening = regexp.MustCompile(`Listening on ([^ ,]+?)[.,] `)

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
	args := append([]string{"serve", filepath.Join(dir, "export"), "--listen", "127.0.0.1:0", "--state", filepath.Join(dir, "state"), "--no-root-squash"}, flags...)
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

// TestHoldfast runs the suite against the program as a user runs it.
func TestHoldfast(t *testing.T) {
	Run(t, Target{Dial: client.TCP(serve(t)), Timeout: 30 * time.Second, Optional: true})
}

// TestHoldfastLeases runs the tests that wait for leases, with short ones.
func TestHoldfastLeases(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for leases")
	}
	target := Target{Dial: client.TCP(serve(t, "--lease", "2s")), Timeout: 30 * time.Second, Optional: true, Slow: true}
	for minor := range uint32(3) {
		for _, test := range All() {
			if test.Minor(minor) && test.Has(slow) {
				t.Run(test.Code+"/v4."+string(rune('0'+minor)), func(t *testing.T) {
					t.Parallel()
					if res := RunTest(t.Context(), target, test, minor); res.Outcome != Pass {
						t.Errorf("%v", res)
					}
				})
			}
		}
	}
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
