package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// dialError is of a connection that was not made, or not taken: nothing was
// sent on it.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dialTimeout bounds the making of one connection, its TLS handshake included.
func dialTimeout(o Options) time.Duration { return min(o.Timeout, 2*time.Second) }

// connect makes the client. It does not connect yet. examine looks at the server
// at the other end of each new connection before it is used: a server that was
// restarted may have another configuration, and a failover makes another server
// of it.
func connect(a *address, o Options, examine func(context.Context, *goredis.Conn) error) *goredis.Client {
	dialer := &net.Dialer{Timeout: dialTimeout(o), KeepAlive: 10 * time.Second}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if tcp, ok := conn.(*net.TCPConn); ok {
			conn = &lastWords{TCPConn: tcp}
		}
		if err == nil && a.tls != nil {
			conn, err = handshake(ctx, conn, addr, a.tls)
		}
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}
	onConnect := func(ctx context.Context, conn *goredis.Conn) error {
		if err := examine(ctx, conn); err != nil {
			return fmt.Errorf("%w", &dialError{err}) // the library takes one layer off
		}
		return nil
	}
	read := o.Timeout
	if a.replicas > 0 {
		read *= 2 // WAIT takes as long again
	}
	const (
		// A failed dial counts against the pool's size, and when that is reached the
		// pool tries only every second. We have our own pauses.
		poolSize = 1 << 10
		// Nothing is sent twice behind our back.
		noRetries = -1
		// Sentinel's client dials by itself again and again otherwise.
		oneDial = 1
	)
	if a.master != "" {
		return goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: a.master, SentinelAddrs: a.hosts,
			SentinelUsername: a.sentinelUser, SentinelPassword: a.sentinelPassword,
			Username: a.user, Password: a.password, DB: a.db, Protocol: 2,
			Dialer: dial, OnConnect: onConnect,
			MaxRetries: noRetries, DialerRetries: oneDial, DialTimeout: dialTimeout(o),
			ReadTimeout: read, WriteTimeout: o.Timeout, PoolSize: poolSize,
			PipelinePoolSize: -1, DisableIdentity: true,
		})
	}
	return goredis.NewClient(&goredis.Options{
		Addr: a.hosts[0], Username: a.user, Password: a.password, DB: a.db, Protocol: 2,
		Dialer: dial, OnConnect: onConnect,
		MaxRetries: noRetries, DialerRetries: oneDial, DialTimeout: dialTimeout(o),
		ReadTimeout: read, WriteTimeout: o.Timeout, PoolSize: poolSize,
		PipelinePoolSize: -1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// lastWords is a connection that tells, when it breaks, with which error the server took its leave. A Redis in protected mode, or with too
// many clients, answers whatever comes first with an error and closes; the library takes that for an old server that
// does not know HELLO, and reports only the broken connection.
type lastWords struct {
	*net.TCPConn
	said string
}

func (c *lastWords) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	switch {
	case err != nil:
		err = c.explain(err)
	case n > 0 && p[0] == '-':
		line, _, _ := strings.Cut(string(p[1:min(n, 512)]), "\r")
		c.said = line
	case c.said != "":
		c.said = ""
	}
	return n, err
}

func (c *lastWords) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	return n, c.explain(err)
}

func (c *lastWords) explain(err error) error {
	if err == nil || c.said == "" || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: the server had said %q", err, c.said)
}

func handshake(ctx context.Context, conn net.Conn, addr string, config *tls.Config) (net.Conn, error) {
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	t := tls.Client(conn, config)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return t, nil
}

// How a command went that has no regular answer.
type fate int

const (
	unknown fate = iota // it may have been done, or be done yet
	unsent              // the server never saw it
	refused             // the server said that it did nothing
	full                // the same, because its memory is full
	noFunc              // the same, because it lacks the functions
)

// refusals are the first words of Redis' errors that come before a command has
// done anything.
var refusals = []string{"MISCONF", "NOREPLICAS", "READONLY", "LOADING", "BUSY", "NOAUTH", "NOPERM",
	"WRONGPASS", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "CROSSSLOT", "NOPROTO", "DENIED"}

// fateOf tells from the error of a command what became of it.
func fateOf(err error) fate {
	var reply goredis.Error
	if errors.As(err, &reply) {
		text := reply.Error()
		if strings.Contains(text, " script: ") {
			return unknown // a function was refused a command in its midst
		}
		word, _, _ := strings.Cut(text, " ")
		switch {
		case slices.Contains(refusals, word):
			return refused
		case word == "OOM":
			return full
		case strings.HasPrefix(text, "ERR Function not found"):
			return noFunc
		case strings.HasPrefix(text, "ERR max number of clients"), strings.HasPrefix(text, "ERR unknown command"):
			return refused
		}
		return unknown
	}
	var dial *dialError
	if errors.As(err, &dial) || errors.Is(err, goredis.ErrClosed) || errors.Is(err, goredis.ErrPoolTimeout) ||
		strings.Contains(err.Error(), "all sentinels specified in configuration are unreachable") {
		return unsent
	}
	return unknown
}
