package suite

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
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

// program builds the program once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "holdfast-suite-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "holdfast")
	if out, err := exec.Command("go", "build", "-o", bin, "holdfast/cmd/holdfast").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := program(); err == nil && code == 0 {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

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

// A server is one running program.
type server struct {
	addr string // where it listens, the same after a restart
	args []string
	cmd  *exec.Cmd
	log  syncBuffer
}

// A syncBuffer can be read while a process writes to it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newServer starts "holdfast serve" for a directory, with further flags.
func newServer(t *testing.T, export string, flags ...string) *server {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the suite acts as several users: it needs root")
	}
	s := &server{addr: "127.0.0.1:0"}
	s.args = append([]string{"serve", export, "--state", filepath.Join(fastDir(t), "state"), "--no-root-squash"}, flags...)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		log := s.log.String()
		if strings.Contains(log, "panic") {
			t.Error("the server panicked")
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", s.addr, log[max(0, len(log)-20000):])
		}
	})
	return s
}

var listening = regexp.MustCompile(`Listening on ([^ ,]+?)[.,] `)

// start starts the program and returns when it listens.
func (s *server) start() error {
	bin, err := program()
	if err != nil {
		return err
	}
	s.cmd = exec.Command(bin, append(s.args, "--listen", s.addr)...)
	s.cmd.Stderr = &s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			s.addr = m[1]
			go func() {
				for lines.Scan() { // keep the pipe empty
				}
			}()
			return nil
		}
	}
	s.kill()
	return fmt.Errorf("the server does not listen: %s", s.log.String())
}

// kill ends the program at once.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// serve starts a server with a store of its own and returns where it listens.
func serve(t *testing.T, flags ...string) string {
	t.Helper()
	return newServer(t, t.TempDir(), flags...).addr
}

// startRedis starts a Redis for the test and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	dir := fastDir(t)
	return start(t, "redis-server", func(port string) []string {
		return []string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--save", ""}
	})
}

// startNATS starts a NATS server for the test and returns its address.
func startNATS(t *testing.T) string {
	t.Helper()
	return start(t, "nats-server", func(port string) []string { return []string{"-a", "127.0.0.1", "-p", port} })
}

// start starts a program that listens on a port of the test's choice and returns its
// address.
func start(t *testing.T, program string, args func(port string) []string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("HOLDFAST_NO_SKIP") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for range 10 { // another process may take the port first
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		_ = l.Close()
		_, port, _ := net.SplitHostPort(addr)
		var log syncBuffer
		cmd := exec.Command(path, args(port)...)
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_ = cmd.Wait()
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-gone
		})
		if answers(addr, gone) {
			return addr
		}
		t.Logf("%s: %s", program, log.String())
	}
	t.Fatalf("no %s could be started", program)
	return ""
}

// answers waits until something listens at the address; false if the process is
// gone before.
func answers(addr string, gone <-chan struct{}) bool {
	for {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			_ = nc.Close()
			return true
		}
		select {
		case <-gone:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// newCluster starts gateways that share a Redis, an export and, if there are several, a
// NATS server.
func newCluster(t *testing.T, gateways int, flags ...string) []*server {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("gateways on one store need handles of the kernel, which only root gets")
	}
	redis, export := startRedis(t), t.TempDir()
	if gateways > 1 {
		flags = append(flags, "--peers", "nats://"+startNATS(t))
	}
	var all []*server
	for i := range gateways {
		own := []string{"--store", "redis://" + redis, "--name", fmt.Sprint("gw", i)}
		all = append(all, newServer(t, export, append(own, flags...)...))
	}
	return all
}

// addresses returns what connects to each server.
func addresses(servers []*server) []Dial {
	var all []Dial
	for _, s := range servers {
		all = append(all, client.TCP(s.addr))
	}
	return all
}
