package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"holdfast/durable"
	"holdfast/durable/redis"
)

// durableArgs make a server that loses nothing.
var durableArgs = []string{"--appendonly", "yes", "--appendfsync", "always", "--save", ""}

// A redisServer is a redis-server process of this test.
type redisServer struct {
	t    testing.TB
	dir  string
	port string
	args []string
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

// startRedis starts a server on a free port of the loopback.
func startRedis(t testing.TB, args ...string) *redisServer {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	s := &redisServer{t: t, dir: t.TempDir(), args: args}
	for range 20 {
		s.port = freePort(t)
		if s.tryStart(path) {
			t.Cleanup(s.kill)
			return s
		}
	}
	t.Fatalf("redis-server does not start: %s", s.out.String())
	return nil
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func (s *redisServer) addr() string { return "127.0.0.1:" + s.port }
func (s *redisServer) url() string  { return "redis://" + s.addr() }

// tryStart runs the server and returns when it answers, or false if it ended.
func (s *redisServer) tryStart(path string) bool {
	s.t.Helper()
	args := s.args
	if len(args) > 0 && strings.HasSuffix(args[0], ".conf") {
		args = append([]string{args[0], "--port", s.port}, args[1:]...)
	} else {
		args = append([]string{"--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir}, args...)
	}
	s.cmd = exec.Command(path, args...)
	s.out.Reset()
	s.cmd.Stdout = &s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	s.done = done
	go func(cmd *exec.Cmd) { cmd.Wait(); close(done) }(s.cmd)
	ok := poll(s.t, func() bool {
		select {
		case <-done:
			return true
		default:
		}
		conn, err := net.Dial("tcp", s.addr())
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	select {
	case <-done:
		return false
	default:
		return ok
	}
}

// kill ends the server by SIGKILL.
func (s *redisServer) kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// restart starts the server again on what it left.
func (s *redisServer) restart() {
	s.t.Helper()
	path, _ := exec.LookPath("redis-server")
	if !s.tryStart(path) {
		s.t.Fatalf("redis-server does not start again: %s", s.out.String())
	}
}

// client talks to the server directly, once it has loaded its data.
func (s *redisServer) client() *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: s.addr(), Protocol: 2})
	s.t.Cleanup(func() { c.Close() })
	if !poll(s.t, func() bool { return c.Ping(context.Background()).Err() == nil }) {
		s.t.Fatal("redis-server does not answer")
	}
	return c
}

// poll tries until f is true, or returns false after a long while.
func poll(t testing.TB, f func() bool) bool {
	t.Helper()
	// A Sentinel that was itself held up for two seconds does nothing for 30 (TILT).
	deadline := time.Now().Add(2 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return true
}

var domains atomic.Uint64

// newDomain is a state domain that nobody else uses.
func newDomain() string { return fmt.Sprintf("d%d", domains.Add(1)) }

func open(t testing.TB, url string, o redis.Options) *redis.Store {
	t.Helper()
	s, err := redis.Open(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, durable.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func commit(s durable.Store, b durable.Batch) error {
	ack, err := s.Commit(context.Background(), &b)
	if err != nil {
		return err
	}
	return ack.Wait()
}

func put(key, value string) durable.Batch {
	return durable.Batch{Writes: []durable.Write{{Key: key, Value: []byte(value)}}}
}

func load(t testing.TB, s durable.Store, key string) durable.Group {
	t.Helper()
	groups, err := s.Load(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return groups[0]
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
