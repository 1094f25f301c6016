package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// limit bounds every wait of a test for something that must happen.
const limit = 60 * time.Second

// A server is the program, serving dir with its state in state at addr. Stop
// or kill and start may follow each other.
type server struct {
	t          *testing.T
	dir, state string
	addr       string
	args       []string // further flags
	log        string   // a file
	cmd        *exec.Cmd
	gone       chan struct{} // closed when the process has ended
}

// newServer makes a server that is not started. An empty dir or state is a new
// one. Without "--config" among args it serves dir with root of clients as root.
func newServer(t *testing.T, dir, state string, args ...string) *server {
	t.Helper()
	if built.err != nil {
		t.Fatal(built.err)
	}
	s := &server{t: t, dir: dir, state: state, addr: freeAddr(t), args: args}
	work := t.TempDir()
	s.log = filepath.Join(work, "log")
	for name, p := range map[string]*string{"dir": &s.dir, "state": &s.state} {
		if *p == "" {
			*p = filepath.Join(work, name)
			if err := os.Mkdir(*p, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() {
		s.end()
		if t.Failed() {
			t.Logf("log of the server at %s:\n%s", s.addr, s.logged())
		}
	})
	return s
}

// serve is newServer and start.
func serve(t *testing.T, dir, state string, args ...string) *server {
	t.Helper()
	s := newServer(t, dir, state, args...)
	s.start()
	return s
}

// freeAddr returns a loopback address with a port that nobody uses, outside
// the range from which connections get theirs.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// command is what runs the program.
func (s *server) command() *exec.Cmd {
	argv := []string{"serve", s.dir, "--listen", s.addr, "--state", s.state, "--no-root-squash"}
	return exec.Command(built.path, append(argv, s.args...)...)
}

// start starts the program and returns when it answers.
func (s *server) start() {
	s.t.Helper()
	if said, err := s.tryStart(); err != nil {
		s.t.Fatalf("start: %v\n%s", err, said)
	}
}

var errEnded = errors.New("the server ended")

// tryStart is start for a program that may refuse: then it returns what it
// said, and an error that is errEnded and *exec.ExitError.
func (s *server) tryStart() (said string, err error) {
	s.t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command()
	cmd.Stdout, cmd.Stderr = log, log
	// A test that is ended from outside leaves no server behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, gone := make(chan error), make(chan struct{})
	var end error
	go func() {
		runtime.LockOSThread() // it is this thread's end that counts
		err := cmd.Start()
		started <- err
		if err == nil {
			end = cmd.Wait()
		}
		close(gone)
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.gone = cmd, gone
	deadline := time.Now().Add(limit)
	for {
		c, err := client.Dial(context.Background(), s.addr, client.Options{})
		if err == nil {
			err = c.Null()
			c.Close()
		}
		if err == nil {
			return "", nil
		}
		select {
		case <-gone:
			text, rerr := os.ReadFile(s.log)
			if rerr != nil {
				s.t.Fatal(rerr)
			}
			return string(text[before:]), fmt.Errorf("%w: %w", errEnded, end)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the server does not answer: %v\n%s", err, s.logged())
		}
	}
}

// kill is kill -9.
func (s *server) kill() {
	s.t.Helper()
	s.alive()
	s.end()
}

func (s *server) end() {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill: %v", err)
	}
	<-s.gone
}

// alive fails the test if the server has ended or panicked.
func (s *server) alive() {
	s.t.Helper()
	select {
	case <-s.gone:
		s.t.Fatalf("the server ended: %v\n%s", s.cmd.ProcessState, s.logged())
	default:
	}
	if log := s.logged(); strings.Contains(log, "panic") {
		s.t.Fatalf("the server panicked:\n%s", log)
	}
}

func (s *server) logged() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	const most = 16 << 10
	if len(text) > most {
		text = append([]byte("…"), text[len(text)-most:]...)
	}
	return string(text)
}

// memory returns the resident memory of the server, in bytes.
func (s *server) memory() int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return kib << 10
		}
	}
	s.t.Fatal("no VmRSS")
	return 0
}

// files returns how many descriptors the server has open.
func (s *server) files() int {
	s.t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(list)
}

// client establishes a client of a minor version that acts as uid.
func (s *server) client(minor, uid uint32) *client.Client {
	s.t.Helper()
	c, err := client.New(context.Background(), client.Config{
		Dial: client.TCP(s.addr), Minor: minor, Options: client.Options{Cred: client.SysAuth(uid, uid)},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// reconnect replaces a client's connection, after start.
func reconnect(t *testing.T, c *client.Client) {
	t.Helper()
	if err := c.Reconnect(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// eachMinor runs a test for each minor version.
func eachMinor(t *testing.T, f func(t *testing.T, minor uint32)) {
	for minor := range uint32(3) {
		t.Run(fmt.Sprintf("4.%d", minor), func(t *testing.T) { f(t, minor) })
	}
}

// root returns the filehandle of the export.
func root(t *testing.T, c *client.Client) client.FH {
	t.Helper()
	fh, err := c.Root()
	if err != nil {
		t.Fatal(err)
	}
	return fh
}

// create makes a file and opens it.
func create(t *testing.T, c *client.Client, dir client.FH, name string) *client.OpenFile {
	t.Helper()
	f, err := c.CreateFile(dir, name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// must runs a compound that must succeed.
func must(t *testing.T, c *client.Client, ops ...client.Op) *client.Reply {
	t.Helper()
	p, err := client.Check(c.Compound(ops...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// gives checks the status of a compound.
func gives(t *testing.T, c *client.Client, what string, want nfs4.Status, ops ...client.Op) {
	t.Helper()
	p, err := c.Compound(ops...)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if p.Status != want {
		t.Errorf("%s: %v, want %v: %v", what, p.Status, want, p)
	}
}

// is checks the status that an error stands for.
func is(t *testing.T, what string, err error, want nfs4.Status) {
	t.Helper()
	if got, ok := client.Status(err); !ok || got != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// until polls a condition that must come true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
