package lifeline

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test's program is also the gateway that is killed: these tell it what to do.
const (
	envServe = "LIFELINE_TEST_SERVE" // hold lifelines, as this instance
	envWrite = "LIFELINE_TEST_WRITE" // make this file when told by a line of input
	envChild = "LIFELINE_TEST_CHILD" // start a program that goes on
	envExec  = "LIFELINE_TEST_EXEC"  // become another program when told
)

func TestMain(m *testing.M) {
	if text := os.Getenv(envServe); text != "" {
		instance, _ := strconv.ParseUint(text, 10, 64)
		beGateway(instance)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// beGateway is the life of a gateway that a test kills.
func beGateway(instance uint64) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	l.Serve("gw", instance)
	child := 0
	if os.Getenv(envChild) != "" {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			return
		}
		child = cmd.Process.Pid
	}
	fmt.Println(l.Addr(), child)
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			select {} // until it is killed
		}
		if path := os.Getenv(envWrite); path != "" {
			go func() {
				runtime.LockOSThread()
				_ = os.WriteFile(path, nil, 0o600)
			}()
		}
		if os.Getenv(envExec) != "" {
			err := syscall.Exec("/bin/sleep", []string{"sleep", "1000"}, nil)
			fmt.Println(err)
			return
		}
	}
}

// A process is a gateway of a test.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    *os.File
	addr  string
	child int
}

// start starts a gateway. wrap, if given, is a command that runs it.
func start(t *testing.T, env []string, wrap ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(wrap, self)
	p := &process{t: t, cmd: exec.Command(argv[0], argv[1:]...)}
	p.cmd.Env = append(append(os.Environ(), envServe+"=7"), env...)
	p.cmd.Stderr = os.Stderr
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdin, p.in = stdin, in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	t.Cleanup(func() {
		in.Close()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if p.child > 0 {
			_ = syscall.Kill(p.child, syscall.SIGKILL)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scanErr := fmt.Sscan(line, &p.addr, &p.child); err != nil || scanErr != nil {
		t.Fatalf("the gateway says %q: %v", line, err)
	}
	return p
}

func (p *process) say() {
	p.t.Helper()
	if _, err := p.in.WriteString("\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func ends(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the lifeline never ends")
		return nil
	}
}

// states are those of the threads of a process, as proc(5) has them.
func (p *process) states() (all string) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has just gone
		}
		if _, rest, ok := strings.Cut(string(b), ") "); ok {
			all += rest[:1]
		}
	}
	return all
}

// stuck says that a thread is in openat(2) and cannot be interrupted.
func (p *process) stuck() bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.cmd.Process.Pid))
	return slices.ContainsFunc(tasks, func(task string) bool {
		call, _ := os.ReadFile(task + "/syscall")
		stat, _ := os.ReadFile(task + "/stat")
		return strings.HasPrefix(string(call), strconv.Itoa(unix.SYS_OPENAT)+" ") && strings.Contains(string(stat), ") D ")
	})
}

// TestKilled: the death of the process is proof.
func TestKilled(t *testing.T) {
	p := start(t, nil)
	a, b := watch(t, p.addr, nil), watch(t, p.addr, nil)
	p.signal(syscall.SIGKILL)
	for _, ended := range []<-chan error{a, b} {
		if err := ends(t, ended); err != nil {
			t.Errorf("killed: %v", err)
		}
	}
}

// TestStopped: a process that hangs is not dead, whatever it hangs for.
func TestStopped(t *testing.T) {
	p := start(t, nil)
	var killed atomic.Bool
	ended := watch(t, p.addr, func() {
		if !killed.Load() {
			t.Error("the lifeline ended before the process did")
		}
	})
	p.signal(syscall.SIGSTOP)
	until(t, "all threads are stopped", func() bool { s := p.states(); return s != "" && strings.Trim(s, "T") == "" })
	// It cannot greet anybody new, so there is no second lifeline meanwhile.
	ctx, cancel := context.WithTimeout(t.Context(), greetTime+10*time.Second)
	defer cancel()
	if err := Watch(ctx, p.addr, "gw", 7, func() {}); err == nil || ctx.Err() != nil {
		t.Errorf("a stopped process greets: %v", err)
	}
	killed.Store(true)
	p.signal(syscall.SIGKILL)
	if err := ends(t, ended); err != nil {
		t.Errorf("killed while it was stopped: %v", err)
	}
}

// TestInASystemCall: as long as one thread of a killed process is in a system call
// that changes a file the lifeline holds, and when it ends the change is made.
func TestInASystemCall(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a file system and to freeze it")
	}
	dir := t.TempDir()
	image, mnt := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"truncate", "-s", "16M", image}, {"mkfs.ext4", "-q", image}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", argv, err, out)
		}
	}
	probe := exec.Command("unshare", "-m", "mount", "-o", "loop", image, mnt)
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("a file system in a file cannot be mounted here: %v: %s", err, out)
	}
	p := start(t, []string{envWrite + "=" + filepath.Join(mnt, "made")},
		"unshare", "-m", "sh", "-c", `mount -o loop "$0" "$1" && exec "$2"`, image, mnt)
	// Its mount is its own, and gone with it; this descriptor is not.
	root, err := os.Open(fmt.Sprintf("/proc/%d/root%s", p.cmd.Process.Pid, mnt))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	made := func() bool {
		var st unix.Stat_t
		return unix.Fstatat(int(root.Fd()), "made", &st, 0) == nil
	}
	fd := int(root.Fd())
	if err := unix.IoctlSetInt(fd, fiFreeze, 0); err != nil {
		t.Skipf("the file system cannot be frozen: %v", err)
	}
	thaw := func() { _ = unix.IoctlSetInt(fd, fiThaw, 0) }
	defer thaw()

	ended := watch(t, p.addr, func() {
		if !made() {
			t.Error("the lifeline ended, and the process was still changing a file")
		}
	})
	p.say()
	until(t, "a thread is stuck in the file system", p.stuck)
	p.signal(syscall.SIGKILL)
	until(t, "only that thread is left", func() bool { return strings.Trim(p.states(), "Z") == "D" })
	if made() {
		t.Fatal("the file was made in a frozen file system")
	}
	select {
	case err := <-ended:
		t.Errorf("the lifeline ended: %v", err)
	default:
	}
	thaw()
	if err := ends(t, ended); err != nil {
		t.Errorf("killed: %v", err)
	}
}

// FIFREEZE and FITHAW of linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// TestChildren: a program that the gateway started does not hold its lifeline.
func TestChildren(t *testing.T) {
	p := start(t, []string{envChild + "=1"})
	ended := watch(t, p.addr, nil)
	p.signal(syscall.SIGKILL)
	if err := ends(t, ended); err != nil {
		t.Errorf("killed: %v", err)
	}
	if err := syscall.Kill(p.child, 0); err != nil {
		t.Errorf("the program that it started: %v", err)
	}
}

// TestBecomesAnother: a process that replaces its program is not that instance any
// more.
func TestBecomesAnother(t *testing.T) {
	p := start(t, []string{envExec + "=1"})
	ended := watch(t, p.addr, nil)
	p.say()
	if err := ends(t, ended); err != nil {
		t.Errorf("replaced: %v", err)
	}
	if err := syscall.Kill(p.cmd.Process.Pid, 0); err != nil {
		t.Errorf("the process: %v", err)
	}
}
