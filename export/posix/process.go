//go:build linux

package posix

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// shedMark is in the environment of a process that was started anew by
// PrepareProcess, so that it does so once.
const shedMark = "HOLDFAST_PREPARED=1"

// PrepareProcess takes from a process that is run by root what a file server
// should not have: CAP_SYS_RESOURCE, with which quotas and the space that a file
// system reserves do not count, and supplementary groups. The program calls
// it first of all. It changes the process as a whole, which is why New does not
// do it; New works without it, and notes what that means.
//
// To lose the capability in all threads the program is executed once more, as
// the same process. The hard limit of open files is raised before that.
func PrepareProcess() error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil && err != syscall.EPERM {
		return fmt.Errorf("dropping supplementary groups: %w", err)
	}
	return shed(unix.CAP_SYS_RESOURCE)
}

// shed executes the program again without a capability, if the process has it.
func shed(capability int) error {
	has, err := hasCap(capability)
	if err != nil || !has {
		return err
	}
	for _, e := range os.Environ() {
		if e == shedMark {
			return nil // it came back: something gives it to us, and New will tell
		}
	}
	const files = 1 << 20
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil && lim.Max < files {
		lim.Max = files // a failure leaves what was
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &lim)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// What is neither bounding nor ambient nor inheritable is gone after exec.
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0); err != nil {
		return nil // not ours to drop: New will tell
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	data[capability/32].Inheritable &^= 1 << (capability % 32)
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	if err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), shedMark)); err != nil {
		return fmt.Errorf("executing the program again: %w", err)
	}
	return nil
}

func hasCap(capability int) (bool, error) {
	eff, err := effectiveCaps()
	if err != nil {
		return false, fmt.Errorf("capget: %w", err)
	}
	return eff&(1<<capability) != 0, nil
}
