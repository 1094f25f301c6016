package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Network is one of a host's two networks.
type Network string

// The networks: guests are in the front one, which is the lab's bridge.
const (
	Front Network = "front"
	Back  Network = "back"
)

// Host is a machine of its own in the lab, as far as the network goes: a namespace with one address in the network of the
// guests and one in a network behind it, each of which can be cut.
//
//	guests ── br0 ──┬── front 10.77.0.N  host  10.78.0.N back ──┬── br1
//	                └── front            host            back ──┘
type Host struct {
	Name  string
	Front netip.Addr
	Back  netip.Addr

	lab   *Lab
	netns string
	index int
}

// Host adds a host to the lab.
func (l *Lab) Host(tb testing.TB, name string) *Host {
	tb.Helper()
	l.mu.Lock()
	index := firstServer + l.servers
	l.servers++
	first := !l.back
	l.back = true
	l.mu.Unlock()
	if index >= firstGuest {
		tb.Fatalf("a lab has addresses for %d servers only", firstGuest-firstServer)
	}
	h := &Host{
		Name: name, Front: addr4(index), Back: netip.AddrFrom4([4]byte{10, 78, 0, byte(index)}),
		lab: l, netns: l.netns + "-" + strconv.Itoa(index), index: index,
	}
	var err error
	ip := func(args ...string) {
		if err == nil {
			err = l.ip(args...)
		}
	}
	if first {
		ip("link", "add", "br1", "type", "bridge")
		ip("link", "set", "br1", "up")
	}
	if err == nil {
		err = run("ip", "netns", "add", h.netns)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := run("ip", "netns", "delete", h.netns); err != nil {
			tb.Errorf("remove host %s: %v", name, err)
		}
	})
	inside := func(args ...string) {
		if err == nil {
			err = run("ip", append([]string{"-netns", h.netns}, args...)...)
		}
	}
	inside("link", "set", "lo", "up")
	for _, n := range []struct {
		net    Network
		bridge string
		addr   netip.Addr
	}{{Front, "br0", h.Front}, {Back, "br1", h.Back}} {
		ip("link", "add", h.port(n.net), "type", "veth", "peer", "name", string(n.net), "netns", h.netns)
		ip("link", "set", h.port(n.net), "master", n.bridge, "up")
		inside("addr", "add", n.addr.String()+"/24", "dev", string(n.net))
		inside("link", "set", string(n.net), "up")
	}
	if err != nil {
		tb.Fatalf("host %s: %v", name, err)
	}
	return h
}

// port is the host's end at a bridge.
func (h *Host) port(n Network) string { return string(n) + strconv.Itoa(h.index) }

// Cut makes the host and its network deaf to each other: what is sent is lost, and nobody is told.
func (h *Host) Cut(tb testing.TB, n Network) {
	tb.Helper()
	if err := h.lab.ip("link", "set", h.port(n), "down"); err != nil {
		tb.Fatal(err)
	}
}

// Mend ends a Cut.
func (h *Host) Mend(tb testing.TB, n Network) {
	tb.Helper()
	if err := h.lab.ip("link", "set", h.port(n), "up"); err != nil {
		tb.Fatal(err)
	}
}

// CutFrom makes two hosts deaf to each other in the network behind, and leaves their other connections alone. What is sent is lost,
// and nobody is told.
func (h *Host) CutFrom(tb testing.TB, other *Host) {
	tb.Helper()
	// A neighbour at a hardware address that nobody has.
	for _, pair := range [][2]*Host{{h, other}, {other, h}} {
		pair[0].ip(tb, "neigh", "replace", pair[1].Back.String(), "lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev", string(Back))
	}
}

// MendFrom ends a CutFrom.
func (h *Host) MendFrom(tb testing.TB, other *Host) {
	tb.Helper()
	for _, pair := range [][2]*Host{{h, other}, {other, h}} {
		pair[0].ip(tb, "neigh", "del", pair[1].Back.String(), "dev", string(Back))
	}
}

// AddFront gives the host one more address in the network of the guests.
func (h *Host) AddFront(tb testing.TB) netip.Addr {
	tb.Helper()
	h.lab.mu.Lock()
	index := firstServer + h.lab.servers
	h.lab.servers++
	h.lab.mu.Unlock()
	if index >= firstGuest {
		tb.Fatalf("a lab has addresses for %d servers only", firstGuest-firstServer)
	}
	a := addr4(index)
	h.ip(tb, "addr", "add", a.String()+"/24", "dev", string(Front))
	return a
}

// ip runs ip(8) on the host.
func (h *Host) ip(tb testing.TB, args ...string) {
	tb.Helper()
	if err := run("ip", append([]string{"-netns", h.netns}, args...)...); err != nil {
		tb.Fatalf("host %s: %v", h.Name, err)
	}
}

// Address gives the lab itself an address in the network of the guests, so that Dial reaches hosts.
func (l *Lab) Address(tb testing.TB) netip.Addr {
	tb.Helper()
	a, err := l.newServerAddr(false)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// Process is a program on a host. Start, Kill and Stop may follow each other any number of times; they must not be called
// side by side.
type Process struct {
	Name string
	Host *Host
	Dir  string   // its working directory, in the lab's folder
	Argv []string // may be changed before a Start

	log  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the current process has ended
}

// Process prepares a program; Start runs it. It is killed when the test ends; when the test has failed, the end of what it
// printed goes to the test's log.
func (h *Host) Process(tb testing.TB, name string, argv ...string) *Process {
	tb.Helper()
	p := &Process{Name: name, Host: h, Argv: argv, Dir: filepath.Join(h.lab.Dir, name), log: filepath.Join(h.lab.Dir, "log-"+name)}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.end(syscall.SIGKILL)
		if tb.Failed() {
			tb.Logf("log of %s:\n%s", p.Name, p.Log())
		}
	})
	return p
}

// Start runs the program, again after Kill or Stop. It does not wait for anything.
func (p *Process) Start(tb testing.TB) {
	tb.Helper()
	if p.Alive() {
		tb.Fatalf("%s runs already", p.Name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	cmd := p.Host.Command(p.Argv[0], p.Argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = p.Dir
	if err := p.Host.lab.launch.start(cmd); err != nil {
		tb.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		cmd.Wait()
		close(gone)
	}()
	p.cmd, p.gone = cmd, gone
}

// Signal sends a signal to the process, for example SIGSTOP.
func (p *Process) Signal(tb testing.TB, sig os.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		tb.Fatalf("signal %s: %v", p.Name, err)
	}
}

// Kill ends the process as a crash does (SIGKILL) and returns when it is gone.
func (p *Process) Kill(tb testing.TB) {
	tb.Helper()
	if !p.Alive() {
		tb.Fatalf("%s had ended before it was killed:\n%s", p.Name, p.Log())
	}
	p.end(syscall.SIGKILL)
}

// Gone is closed when the process that was started last has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Alive tells whether the process runs.
func (p *Process) Alive() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

func (p *Process) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(sig); errors.Is(err, os.ErrProcessDone) {
		return
	}
	<-p.gone
}

// Log returns the end of what the program printed.
func (p *Process) Log() string { return tail(p.log) }

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 16 << 10
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return string(text)
}

// MountFrom mounts what an address serves.
func (g *Guest) MountFrom(tb testing.TB, addr netip.Addr, path, at, options string) string {
	tb.Helper()
	host := addr.String()
	if addr.Is6() {
		host = "[" + host + "]"
	}
	g.Run(tb, fmt.Sprintf("mkdir -p %s; mount -t nfs -o %s '%s:%s' %s", at, options, host, path, at))
	return at
}

// Command returns a command that will run on the host.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + h.netns, "--", name}, args...)...)
}
