package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Lab is a network namespace with a bridge, and a folder that the host and all guests share. Its methods may be called
// from several goroutines, as far as the testing.TB that they are given allows.
type Lab struct {
	// Dir is the folder shared with the guests, there under the same path and in $LAB. Removed with the lab.
	Dir string
	// Limit is how long a job, a boot or a server's start may take before the test fails. 3 minutes unless changed.
	Limit time.Duration

	netns  string
	fpwrap string
	launch *launcher

	mu      sync.Mutex // guards the counters below; nothing is called with it held
	guests  int
	servers int
	back    bool // br1 is there
}

const (
	firstServer = 1   // 10.77.0.1, fd77::1
	firstGuest  = 101 // 10.77.0.101, fd77::65
)

func addr4(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(host)}) }
func addr6(host int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 15: byte(host)})
}

// New makes a lab that lives as long as the test, or skips the test with the reason why it cannot run here.
func New(tb testing.TB) *Lab {
	tb.Helper()
	needUML(tb)
	sweep()
	l := &Lab{Limit: 3 * time.Minute}
	var err error
	if l.Dir, err = os.MkdirTemp("", "holdfast-kernel-"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(l.Dir) })
	if err := l.fill(); err != nil {
		tb.Fatalf("prepare the lab's folder: %v", err)
	}

	// The name tells whose namespace it is, so that sweep can remove those of the dead.
	l.netns = fmt.Sprintf("hfk-%d-%s", os.Getpid(), strings.TrimPrefix(filepath.Base(l.Dir), "holdfast-kernel-"))
	l.launch = newLauncher(tb)
	tb.Cleanup(l.launch.stop)
	if err := run("ip", "netns", "add", l.netns); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := run("ip", "netns", "delete", l.netns); err != nil {
			tb.Errorf("remove the lab: %v", err)
		}
	})
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "br0", "type", "bridge"},
		{"link", "set", "br0", "up"},
	} {
		if err := l.ip(args...); err != nil {
			tb.Fatal(err)
		}
	}
	stop, err := l.nudge()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
	return l
}

// fill puts into the lab's folder what guests need.
func (l *Lab) fill() error {
	// Guests' unprivileged users have to pass through.
	if err := os.Chmod(l.Dir, 0o755); err != nil {
		return err
	}
	for _, sub := range []string{"jobs", "bin"} {
		if err := os.Mkdir(filepath.Join(l.Dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(extract("init.sh", l.Dir, 0o755), extract("lib.sh", l.Dir, 0o644)); err != nil {
		return err
	}
	var err error
	if l.fpwrap, err = compile("fpwrap.c"); err != nil {
		return err
	}
	tool, err := compile("nfstool.c", "-static")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(tool)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.Dir, "bin", "nfstool"), text, 0o755)
}

// Command returns a command that will run inside the lab's network.
func (l *Lab) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + l.netns, "--", name}, args...)...)
}

// ip runs ip(8) in the lab's network.
func (l *Lab) ip(args ...string) error {
	return run("ip", append([]string{"-netns", l.netns}, args...)...)
}

// newServerAddr adds one more address to the bridge. The first is 10.77.0.1, or fd77::1.
func (l *Lab) newServerAddr(six bool) (netip.Addr, error) {
	l.mu.Lock()
	host := firstServer + l.servers
	l.servers++
	l.mu.Unlock()
	if host >= firstGuest {
		return netip.Addr{}, fmt.Errorf("a lab has addresses for %d servers only", firstGuest-firstServer)
	}
	if six {
		a := addr6(host)
		return a, l.ip("addr", "add", a.String()+"/64", "dev", "br0", "nodad")
	}
	a := addr4(host)
	return a, l.ip("addr", "add", a.String()+"/24", "dev", "br0")
}

// Dial connects to an address inside the lab's network. The address must be numeric.
func (l *Lab) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type answer struct {
		conn net.Conn
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		a := answer{err: l.enter()}
		if a.err == nil {
			a.conn, a.err = new(net.Dialer).DialContext(ctx, network, address)
		}
		got <- a
	}()
	a := <-got
	return a.conn, a.err
}

// enter moves the goroutine that calls it into the lab's network for good: a socket belongs to the namespace of the thread that makes it.
// The thread is never unlocked and so ends with the goroutine instead of serving others in a foreign namespace.
func (l *Lab) enter() error {
	runtime.LockOSThread()
	ns, err := os.Open("/run/netns/" + l.netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return nil
}

// launcher starts processes that the kernel kills when this program dies. The parent-death signal follows the thread that
// forked, so one thread starts them all and lives as long as the lab.
type launcher struct{ work chan func() }

// newLauncher starts that thread. With HOLDFAST_SERVERS=realtime servers have a processor as soon as they want one, as on machines of
// their own, and clients what is left (SCHED_RR; guests give it up: fpwrap.c). That tells what the servers' own part is in what a
// client waits for.
func newLauncher(tb testing.TB) *launcher {
	tb.Helper()
	l := &launcher{make(chan func())}
	ready := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with what it was given
		if os.Getenv("HOLDFAST_SERVERS") == "realtime" {
			ready <- unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0)
		}
		close(ready)
		for f := range l.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		l.stop()
		tb.Fatalf("HOLDFAST_SERVERS=realtime: %v", err)
	}
	return l
}

// start starts a process in a session of its own. Linux shares processors among sessions (sched_autogroup_enabled), and each guest
// makes one: all servers in a single one would have to make do together with what a guest has for itself.
func (l *launcher) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	result := make(chan error, 1)
	l.work <- func() { result <- cmd.Start() }
	return <-result
}

func (l *launcher) stop() { close(l.work) }

// sweep removes the namespaces of test programs that no longer live, and what still runs in them: a program that has replaced
// itself by another run of itself outlives its launcher.
func sweep() {
	left, _ := filepath.Glob("/run/netns/hfk-*")
	for _, path := range left {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), "hfk-"), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil {
			continue
		}
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			inside, _ := exec.Command("ip", "netns", "pids", filepath.Base(path)).Output()
			for _, id := range strings.Fields(string(inside)) {
				if pid, err := strconv.Atoi(id); err == nil {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			run("ip", "netns", "delete", filepath.Base(path)) // another test program may have been faster
		}
	}
}

// run runs a command to its end; its complaint is part of the error.
func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
