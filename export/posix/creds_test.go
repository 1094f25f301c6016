//go:build linux

package posix

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// status reads a line of /proc/thread-self/status.
func status(t *testing.T, key string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Fields(rest)
		}
	}
	t.Fatalf("no %s", key)
	return nil
}

// The last of the four ids in a status line is that for the file system.
func TestBecomeAndBack(t *testing.T) {
	needRoot(t)
	own, err := ownIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if !own.enforced {
		t.Fatal("root, and not enforced")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := [3][]string{status(t, "Uid"), status(t, "Gid"), status(t, "Groups")}
	caps := status(t, "CapEff")
	who, err := own.become(&export.Creds{UID: 1001, GID: 1002, Groups: []uint32{7, 1003}})
	if err != nil {
		t.Fatal(err)
	}
	uid, gid, groups, eff := status(t, "Uid"), status(t, "Gid"), status(t, "Groups"), status(t, "CapEff")
	if err := who.end(); err != nil {
		t.Fatal(err)
	}
	if uid[3] != "1001" || gid[3] != "1002" || strings.Join(groups, " ") != "7 1003" {
		t.Errorf("uid %v gid %v groups %v", uid, gid, groups)
	}
	bits, err := strconv.ParseUint(eff[0], 16, 64)
	if err != nil || bits&(1<<unix.CAP_DAC_OVERRIDE|1<<unix.CAP_DAC_READ_SEARCH|1<<unix.CAP_FOWNER|1<<unix.CAP_CHOWN|1<<unix.CAP_MKNOD) != 0 {
		t.Errorf("rights that are left: %s", eff[0])
	}
	for i, key := range []string{"Uid", "Gid", "Groups"} {
		if after := status(t, key); strings.Join(after, " ") != strings.Join(before[i], " ") {
			t.Errorf("%s was %v, and is %v", key, before[i], after)
		}
	}
	if after := status(t, "CapEff"); after[0] != caps[0] {
		t.Errorf("capabilities were %s, and are %s", caps[0], after[0])
	}
}

func TestBecomeOneselfCostsNothing(t *testing.T) {
	needRoot(t)
	own, err := ownIdentity()
	if err != nil {
		t.Fatal(err)
	}
	who, err := own.become(&export.Creds{Groups: []uint32{1, 2, 3}})
	if err != nil || who.locked {
		t.Errorf("root became itself by a switch: %+v %v", who, err)
	}
}

// A thread that does not get its identity back must end with its goroutine.
func TestLostThreadIsNotUsedAgain(t *testing.T) {
	needRoot(t)
	own, err := ownIdentity()
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan int, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		who, err := own.become(&export.Creds{UID: 1001, GID: 1001})
		if err != nil {
			t.Error(err)
			lost <- 0
			return
		}
		wrong := own
		wrong.uid = ^uint32(0) - 5
		who.own = &wrong
		// The kernel takes this uid; the next is one that it does not.
		who.own.uid = ^uint32(0)
		if who.end() == nil {
			// setID(-1) asks and does not set, and then compares with -1.
			t.Error("an identity that cannot be was restored")
		}
		lost <- unix.Gettid()
	}()
	tid := <-lost
	<-gone
	// The runtime ends a locked thread when its goroutine is over; until then
	// no other goroutine may be seen on it.
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 100 {
				if unix.Gettid() == tid && status(t, "Uid")[3] != "0" {
					t.Error("another goroutine runs on the lost thread")
					return
				}
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
}

// TestShed runs this test's program in a child that sheds a capability.
func TestShed(t *testing.T) {
	needRoot(t)
	const victim = unix.CAP_SYS_BOOT
	if os.Getenv("HOLDFAST_TEST_SHED") != "" {
		if err := shed(victim); err != nil {
			t.Fatal(err)
		}
		if has, err := hasCap(victim); err != nil || has {
			t.Fatalf("still has it: %v %v", has, err)
		}
		if has, err := hasCap(unix.CAP_DAC_READ_SEARCH); err != nil || !has {
			t.Fatalf("lost another: %v %v", has, err)
		}
		t.Log("shed it")
		return
	}
	if has, err := hasCap(victim); err != nil || !has {
		t.Skip("the capability to shed is not there")
	}
	if has, err := hasCap(unix.CAP_SETPCAP); err != nil || !has {
		t.Skip("needs CAP_SETPCAP")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestShed$", "-test.v")
	cmd.Env = append(os.Environ(), "HOLDFAST_TEST_SHED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "shed it") {
		t.Fatalf("%v\n%s", err, out)
	}
}
