package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/kernel"
)

// Config says what a cluster is like. Zero values mean something sensible.
type Config struct {
	Binary       string        // the built program
	Gateways     int           // default 3
	GatewayLease time.Duration // default 5 s
	Lease        time.Duration // of clients; default 90 s
	Exports      string        // a folder in which the one that is served is made, on another disk than the store's; default the lab's

	// Patience is how long a Rover waits for an answer before it tries another gateway: what a balancer does for a client of a gateway
	// that hangs. Default 2 s.
	Patience time.Duration

	NoPeers  bool     // without NATS
	Sentinel bool     // three Redis servers instead of one, watched by Sentinel
	Args     []string // further flags of all gateways
}

// Cluster is a running cluster. Its methods are for one goroutine at a time.
type Cluster struct {
	Lab      *kernel.Lab
	Dir      string     // what all gateways serve
	Addr     netip.Addr // the balancer's: what clients mount
	Second   netip.Addr // another of the balancer's, for trunking
	Store    *kernel.Process
	Stores   []*kernel.Process // all Redis servers, with Config.Sentinel
	Peers    *kernel.Process   // NATS; nil with Config.NoPeers
	Balancer *kernel.Process
	Gateways []*Gateway
	Config   Config

	http http.Client
}

// Gateway is one of the gateways.
type Gateway struct {
	*kernel.Process
	Addr  netip.Addr
	State string

	c *Cluster
}

const (
	nfsPort   = 2049
	readyPort = 9100
	storePort = 6379
	peersPort = 4222
)

// New starts a cluster that lives as long as the test, or skips the test with the reason why it cannot run here.
func New(tb testing.TB, cfg Config) *Cluster {
	tb.Helper()
	kernel.Need(tb, "redis-server", "redis-cli", "nats-server", "haproxy")
	if cfg.Gateways == 0 {
		cfg.Gateways = 3
	}
	if cfg.GatewayLease == 0 {
		cfg.GatewayLease = 5 * time.Second
	}
	if cfg.Lease == 0 {
		cfg.Lease = 90 * time.Second
	}
	if cfg.Patience == 0 {
		cfg.Patience = 2 * time.Second
	}
	lab := kernel.New(tb)
	lab.Address(tb)
	c := &Cluster{Lab: lab, Config: cfg}
	c.http = http.Client{
		Timeout: time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true, // a paused gateway's connection says nothing of the next
			DialContext:       lab.Dial,
		},
	}
	c.makeDir(tb)
	balancer, store := lab.Host(tb, "balancer"), lab.Host(tb, "store")
	c.Addr, c.Second = balancer.Front, balancer.AddFront(tb)
	if cfg.Sentinel {
		c.startSentinel(tb, store)
	} else {
		c.startStore(tb, store)
	}
	if !cfg.NoPeers {
		c.startPeers(tb, lab.Host(tb, "peers"))
	}
	for i := range cfg.Gateways {
		c.Gateways = append(c.Gateways, c.newGateway(tb, i))
	}
	for _, g := range c.Gateways {
		g.Start(tb)
	}
	for _, g := range c.Gateways {
		g.AwaitReady(tb)
	}
	c.startBalancer(tb, balancer)
	c.awaitBalancer(tb)
	return c
}

// makeDir makes the folder that is served.
func (c *Cluster) makeDir(tb testing.TB) {
	tb.Helper()
	var err error
	if c.Dir, err = os.MkdirTemp(cmp.Or(c.Config.Exports, c.Lab.Dir), "holdfast-export-"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(c.Dir) })
	if err := os.Chmod(c.Dir, 0o755); err != nil {
		tb.Fatal(err)
	}
}

// startStore prepares and starts the Redis.
func (c *Cluster) startStore(tb testing.TB, h *kernel.Host) {
	tb.Helper()
	c.Store = h.Process(tb, "store", "redis-server", "--port", fmt.Sprint(storePort), "--bind", h.Back.String(),
		"--protected-mode", "no", "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--loglevel", "warning")
	c.Store.Start(tb)
}

// startPeers starts the NATS between the gateways.
func (c *Cluster) startPeers(tb testing.TB, h *kernel.Host) {
	tb.Helper()
	c.Peers = h.Process(tb, "peers", "nats-server", "-a", h.Back.String(), "-p", fmt.Sprint(peersPort))
	c.Peers.Start(tb)
}

// RestartStore ends the Redis and starts it again: by SIGKILL, or in good order.
func (c *Cluster) RestartStore(tb testing.TB, kill bool) {
	tb.Helper()
	if kill {
		c.Store.Kill(tb)
	} else {
		c.Store.Signal(tb, syscall.SIGTERM)
		<-c.Store.Gone()
	}
	c.Store.Start(tb)
}

// StoreCommand runs a command of redis-cli on the store.
func (c *Cluster) StoreCommand(tb testing.TB, args ...string) string {
	tb.Helper()
	cmd := c.Store.Host.Command("redis-cli", append([]string{"-h", c.Store.Host.Back.String(), "-p", fmt.Sprint(storePort)}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// StoreCalls returns how often each command was carried out by the store, those included that its functions use.
func (c *Cluster) StoreCalls(tb testing.TB) map[string]uint64 {
	tb.Helper()
	calls := map[string]uint64{}
	for line := range strings.Lines(c.StoreCommand(tb, "INFO", "commandstats")) {
		// cmdstat_hset:calls=1,usec=5,…
		name, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		number, _, found := strings.Cut(rest, ",")
		if !found {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			tb.Fatalf("INFO commandstats: %q", line)
		}
		calls[name] = n
	}
	return calls
}

func (c *Cluster) newGateway(tb testing.TB, i int) *Gateway {
	tb.Helper()
	name := fmt.Sprintf("gw%d", i+1)
	h := c.Lab.Host(tb, name)
	g := &Gateway{Addr: h.Front, State: filepath.Join(c.Lab.Dir, "state-"+name), c: c}
	argv := []string{
		c.Config.Binary, "serve", c.Dir, "--name", name,
		"--store", c.storeURL(),
		"--listen", netip.AddrPortFrom(h.Front, nfsPort).String(),
		"--metrics", netip.AddrPortFrom(h.Front, readyPort).String(),
		"--state", g.State, "--no-root-squash",
		"--lease", c.Config.Lease.String(), "--gateway-lease", c.Config.GatewayLease.String(),
		"--proxy-protocol", c.Addr.String(),
	}
	if c.Peers != nil {
		argv = append(argv, "--peers", fmt.Sprintf("nats://%s:%d", c.Peers.Host.Back, peersPort))
	}
	g.Process = h.Process(tb, name, append(argv, c.Config.Args...)...)
	return g
}

// startBalancer writes the balancer's configuration, that of deploy/haproxy with this cluster's addresses, and starts it.
func (c *Cluster) startBalancer(tb testing.TB, h *kernel.Host) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(root(tb), "deploy", "haproxy", "haproxy.cfg"))
	if err != nil {
		tb.Fatal(err)
	}
	var conf strings.Builder
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 0 && f[0] == "server":
			continue
		case len(f) > 0 && f[0] == "bind":
			line = fmt.Sprintf("    bind %s,%s\n", netip.AddrPortFrom(c.Addr, nfsPort), netip.AddrPortFrom(c.Second, nfsPort))
		}
		conf.WriteString(line)
	}
	for _, g := range c.Gateways {
		fmt.Fprintf(&conf, "    server %s %s\n", g.Name, netip.AddrPortFrom(g.Addr, nfsPort))
	}
	path := filepath.Join(c.Lab.Dir, "haproxy.cfg")
	if err := os.WriteFile(path, []byte(conf.String()), 0o644); err != nil {
		tb.Fatal(err)
	}
	c.Balancer = h.Process(tb, "balancer", "haproxy", "-db", "-f", path)
	c.Balancer.Start(tb)
}

// awaitBalancer waits until the balancer leads to a gateway.
func (c *Cluster) awaitBalancer(tb testing.TB) {
	tb.Helper()
	var err error
	for end := time.Now().Add(c.Lab.Limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var nc net.Conn
		if nc, err = c.Dial(tb.Context()); err != nil {
			continue
		}
		conn := client.NewConn(nc, client.Options{Timeout: time.Second})
		err = conn.Null()
		conn.Close()
		if err == nil {
			return
		}
	}
	tb.Fatalf("the balancer leads to no gateway: %v\n%s", err, c.Balancer.Log())
}

// root is the top folder of the project.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("not inside the project")
		}
		dir = filepath.Dir(dir)
	}
}

// Status is what "holdfast status" prints of the gateway.
func (g *Gateway) Status(tb testing.TB) string {
	tb.Helper()
	return g.Admin(tb, "status")
}

// Admin runs a command of the program against the running gateway, and returns what it prints.
func (g *Gateway) Admin(tb testing.TB, command string, args ...string) string {
	tb.Helper()
	out, err := g.Host.Command(g.c.Config.Binary, append([]string{command, "--state", g.State}, args...)...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s at gateway %s: %v\n%s", command, g.Name, err, out)
	}
	return string(out)
}

// Ready says why the gateway does not serve, or nil.
func (g *Gateway) Ready() error {
	resp, err := g.c.http.Get("http://" + netip.AddrPortFrom(g.Addr, readyPort).String() + "/readyz")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// AwaitReady waits until the gateway serves.
func (g *Gateway) AwaitReady(tb testing.TB) { g.await(tb, true) }

// AwaitUnready waits until the gateway says that it does not serve, or nothing.
func (g *Gateway) AwaitUnready(tb testing.TB) { g.await(tb, false) }

func (g *Gateway) await(tb testing.TB, ready bool) {
	tb.Helper()
	for end := time.Now().Add(g.c.Lab.Limit); ; time.Sleep(10 * time.Millisecond) {
		err := g.Ready()
		switch {
		case (err == nil) == ready:
			return
		case ready && !g.Alive():
			tb.Fatalf("gateway %s has ended:\n%s", g.Name, g.Log())
		case time.Now().After(end):
			tb.Fatalf("gateway %s: ready is %v for too long, last answer: %v\n%s", g.Name, !ready, err, g.Log())
		}
	}
}

// Pause stops the gateway as a machine that hangs (SIGSTOP).
func (g *Gateway) Pause(tb testing.TB) { g.Signal(tb, syscall.SIGSTOP) }

// Resume lets a paused gateway go on.
func (g *Gateway) Resume(tb testing.TB) { g.Signal(tb, syscall.SIGCONT) }

// Drain asks the gateway to leave in good order (SIGTERM) and returns when it is gone.
func (g *Gateway) Drain(tb testing.TB) {
	tb.Helper()
	g.Signal(tb, syscall.SIGTERM)
	select {
	case <-g.Gone():
	case <-time.After(g.c.Lab.Limit):
		tb.Fatalf("gateway %s does not leave:\n%s", g.Name, g.Log())
	}
}

// Dial returns what connects to the gateway itself, past the balancer.
func (g *Gateway) Dial(ctx context.Context) (net.Conn, error) {
	return g.c.Lab.Dial(ctx, "tcp", netip.AddrPortFrom(g.Addr, nfsPort).String())
}

// Dial connects to the balancer.
func (c *Cluster) Dial(ctx context.Context) (net.Conn, error) {
	return c.Lab.Dial(ctx, "tcp", netip.AddrPortFrom(c.Addr, nfsPort).String())
}

// Limit is how long anything may take before the test fails.
func (g *Gateway) Limit() time.Duration { return g.c.Lab.Limit }

// Logs is what the gateways and the balancer said last.
func (c *Cluster) Logs() string {
	var b strings.Builder
	for _, g := range c.Gateways {
		fmt.Fprintf(&b, "%s:\n%s\n", g.Name, g.Log())
	}
	fmt.Fprintf(&b, "balancer:\n%s\n", c.Balancer.Log())
	return b.String()
}
