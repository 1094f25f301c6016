package kernel

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Guest is a booted Linux. Jobs of one guest run side by side, on its one processor.
type Guest struct {
	Name  string
	Addr  netip.Addr // IPv4; also the address that its NFSv4.0 client id holds
	Addr6 netip.Addr

	lab     *Lab
	tap     string
	disk    string // host path of its ubda, or ""
	memory  string // such as 768M
	cmd     *exec.Cmd
	console string   // host path of what the kernel printed
	control *os.File // towards the guest; one Write per line
	up      chan struct{}
	dumped  chan struct{}
	gone    chan struct{} // closed when the process has ended

	mu   sync.Mutex // guards what follows; nothing is called with it held
	jobs map[string]*Job
	next int
}

// Boot starts one guest per name, side by side, and returns when all take jobs. Names must be unique in a lab: they are
// the guests' host names and so part of their NFS client identities. Guests are halted when the test ends.
func (l *Lab) Boot(tb testing.TB, names ...string) []*Guest {
	tb.Helper()
	guests := make([]*Guest, len(names))
	for i, name := range names {
		g, err := l.boot(name, "", "768M")
		if err != nil {
			tb.Fatalf("boot guest %s: %v", name, err)
		}
		tb.Cleanup(g.Halt)
		guests[i] = g
	}
	l.await(tb, guests)
	return guests
}

// await returns when the guests take jobs.
func (l *Lab) await(tb testing.TB, guests []*Guest) {
	tb.Helper()
	limit := time.After(l.Limit)
	for _, g := range guests {
		select {
		case <-g.up:
		case <-g.gone:
			tb.Fatalf("guest %s ended while it booted:\n%s", g.Name, g.Console())
		case <-limit:
			tb.Fatalf("guest %s did not boot:\n%s", g.Name, g.Console())
		}
	}
}

func (l *Lab) boot(name, disk, memory string) (*Guest, error) {
	l.mu.Lock()
	host := firstGuest + l.guests
	l.guests++
	l.mu.Unlock()
	if host > 254 {
		return nil, fmt.Errorf("a lab has addresses for %d guests only", 255-firstGuest)
	}
	g := &Guest{
		Name: name, Addr: addr4(host), Addr6: addr6(host),
		lab: l, tap: "tap" + strconv.Itoa(host), disk: disk, memory: memory, console: filepath.Join(l.Dir, "console."+name),
		up: make(chan struct{}), dumped: make(chan struct{}, 1), gone: make(chan struct{}),
		jobs: map[string]*Job{},
	}
	if err := l.ip("tuntap", "add", g.tap, "mode", "tap"); err != nil {
		return nil, err
	}
	if err := l.ip("link", "set", g.tap, "master", "br0", "up"); err != nil {
		return nil, err
	}
	return g, g.start()
}

// start runs the guest's process: console to a file, first serial line as the control line on descriptors 3 and 4.
func (g *Guest) start() error {
	console, err := os.Create(g.console)
	if err != nil {
		return err
	}
	defer console.Close()
	toGuest, control, err := os.Pipe()
	if err != nil {
		return err
	}
	defer toGuest.Close()
	lines, fromGuest, err := os.Pipe()
	if err != nil {
		return err
	}
	defer fromGuest.Close()

	cmd := g.lab.Command(g.lab.fpwrap, "linux.uml", "umid="+g.Name, "uml_dir="+g.lab.Dir+"/", "mem="+g.memory,
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init="+g.lab.Dir+"/init.sh",
		"con=null", "con0=null,fd:1", "ssl=null", "ssl0=fd:3,fd:4", "quiet",
		"vec0:transport=tap,ifname="+g.tap+",depth=128,gro=1",
		"hf.name="+g.Name, "hf.ip="+g.Addr.String(), "hf.ip6="+g.Addr6.String(), "hf.lab="+g.lab.Dir,
		"hf.path="+g.lab.Dir+"/bin:/usr/local/go/bin")
	if g.disk != "" {
		cmd.Args = append(cmd.Args, "ubd0="+g.disk)
	}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{toGuest, fromGuest}
	cmd.Dir = g.lab.Dir
	if err := g.lab.launch.start(cmd); err != nil {
		control.Close()
		lines.Close()
		return err
	}
	g.cmd, g.control = cmd, control
	go g.listen(lines)
	go func() {
		cmd.Wait()
		close(g.gone)
	}()
	return nil
}

// listen takes what the guest reports until its process has ended.
func (g *Guest) listen(lines *os.File) {
	defer lines.Close()
	scan := bufio.NewScanner(lines)
	for scan.Scan() {
		verb, rest, _ := strings.Cut(scan.Text(), " ")
		id, text, _ := strings.Cut(rest, " ")
		switch verb {
		case "up":
			close(g.up)
		case "dumped":
			select {
			case g.dumped <- struct{}{}:
			default:
			}
		case "say":
			if j := g.job(id); j != nil {
				j.say(text)
			}
		case "exit":
			if j := g.job(id); j != nil {
				status, err := strconv.Atoi(text)
				if err != nil {
					status = -1
				}
				j.end(status)
			}
		}
	}
}

func (g *Guest) job(id string) *Job {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.jobs[id]
}

// tell writes one line of the control protocol. Lines are far shorter than a pipe's atomic size, so they cannot mix.
func (g *Guest) tell(verb, arg string) error {
	_, err := fmt.Fprintf(g.control, "%s %s\n", verb, arg)
	return err
}

// Post wakes one `await name` in the guest, now or when it comes to that, and makes `posted name` true from then on.
func (g *Guest) Post(tb testing.TB, name string) {
	tb.Helper()
	if err := g.tell("post", name); err != nil {
		tb.Fatalf("guest %s: post %s: %v", g.Name, name, err)
	}
}

// Unplug cuts the guest off the network; Plug mends it. Jobs go on, and so does the control line. The tap leaves the
// bridge but stays up: user-mode Linux gives up a device that reports errors.
func (g *Guest) Unplug(tb testing.TB) {
	tb.Helper()
	if err := g.lab.ip("link", "set", g.tap, "nomaster"); err != nil {
		tb.Fatal(err)
	}
}

// Plug mends what Unplug cut.
func (g *Guest) Plug(tb testing.TB) {
	tb.Helper()
	if err := g.lab.ip("link", "set", g.tap, "master", "br0"); err != nil {
		tb.Fatal(err)
	}
}

// Halt stops the guest at once, without unmounting: to a server it is a client that vanished. It may be called twice.
func (g *Guest) Halt() {
	g.tell("halt", "")
	select {
	case <-g.gone:
	case <-time.After(5 * time.Second): // a guest that hangs is killed, which is as good
		g.cmd.Process.Kill()
		<-g.gone
	}
	g.control.Close()
}

// Console returns what the guest's kernel printed so far.
func (g *Guest) Console() string {
	text, err := os.ReadFile(g.console)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// dump returns the console after the guest was asked to write down where all its processes wait.
func (g *Guest) dump() string {
	g.tell("dump", "")
	select {
	case <-g.dumped:
	case <-g.gone:
	case <-time.After(20 * time.Second): // the guest itself hangs; its console may still tell something
	}
	return g.Console()
}

// Dmesg returns the guest's kernel log.
func (g *Guest) Dmesg(tb testing.TB) string {
	tb.Helper()
	return g.Run(tb, "dmesg")
}

// Mount mounts the server's root at /mnt/nfs and returns that path. Options are those of nfs(5), such as "vers=4.1".
func (g *Guest) Mount(tb testing.TB, s *Server, options string) string {
	tb.Helper()
	return g.MountAt(tb, s, "/mnt/nfs", options)
}

// MountAt is Mount at another folder, which it makes.
func (g *Guest) MountAt(tb testing.TB, s *Server, at, options string) string {
	tb.Helper()
	return g.MountFrom(tb, s.Addr, s.Root, at, options)
}
