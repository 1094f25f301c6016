package yourserver

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"holdfast/conformance"
)

var listening = regexp.MustCompile(`Listening on ([^ ,]+?)[.,] `)

// start starts the server under test, here Holdfast's own program, and returns
// where it listens.
func start(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "server")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", bin, "./cmd/holdfast").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(bin, "serve", filepath.Join(dir, "export"), "--state", filepath.Join(dir, "state"),
		"--listen", "127.0.0.1:0", "--no-root-squash")
	cmd.Stderr = os.Stderr
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
	t.Fatal("the server does not listen")
	return ""
}

// TestConformance checks sessions and locks of NFSv4.1. Without Minors and Tests
// it would be all there is.
func TestConformance(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the suite acts as several users: it needs root")
	}
	conformance.Run(t, conformance.Target{
		Servers: []string{start(t)},
		Minors:  []uint32{1},
		Tests:   []string{"session", "lock", "!slow"},
		Timeout: time.Minute,
	})
}
