package peer

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A broker is a nats-server of this test.
type broker struct {
	t    testing.TB
	addr string
	args []string
	cmd  *exec.Cmd
}

// startBroker starts a nats-server on a free port.
func startBroker(t testing.TB, args ...string) *broker {
	t.Helper()
	b := &broker{t: t, args: args}
	t.Cleanup(b.kill)
	for range 5 { // the port may be taken by somebody else meanwhile
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		b.addr = l.Addr().String()
		l.Close()
		if b.start() {
			return b
		}
	}
	t.Fatal("nats-server does not start")
	return nil
}

// start returns whether the server answers.
func (b *broker) start() bool {
	b.t.Helper()
	path, err := exec.LookPath("nats-server")
	if err != nil {
		if path = "/usr/sbin/nats-server"; !exists(path) {
			b.t.Skip("nats-server is not installed")
		}
	}
	host, port, _ := net.SplitHostPort(b.addr)
	b.cmd = exec.Command(path, append([]string{"-a", host, "-p", port}, b.args...)...)
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	for range 500 {
		if c, err := net.Dial("tcp", b.addr); err == nil {
			c.Close()
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.kill()
	return false
}

func (b *broker) kill() {
	if b.cmd != nil && b.cmd.Process != nil {
		_ = b.cmd.Process.Kill()
		_ = b.cmd.Wait()
		b.cmd = nil
	}
}

func (b *broker) url() string { return "nats://" + b.addr }

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// until polls a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// certificate makes a certificate of 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM, keyPEM, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{cert: certPEM, key: keyPEM} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func text(i int) string { return fmt.Sprintf("message %d", i) }
