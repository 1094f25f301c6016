package faults_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// needRoot skips a test that only root can run.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "mounting file systems, and serving files as their owners, needs root")
	}
}

// A disk is a small file system of the test's own.
type disk struct {
	t     *testing.T
	dir   string // where it is mounted
	top   string // a directory in it for everybody
	image string // the loop device's file
}

// newDisk is tryDisk, without which the test is skipped.
func newDisk(t *testing.T, kind string, mib int64, mkfs ...string) *disk {
	t.Helper()
	needRoot(t)
	d, err := tryDisk(t, kind, mib, mkfs...)
	if err != nil {
		skip(t, "%v (scripts/deps.sh installs what tests need)", err)
	}
	return d
}

// tryDisk mounts a new file system of so many MiB until the test ends. kind is
// "tmpfs", or what mkfs.KIND makes on a loop device with the given options.
func tryDisk(t *testing.T, kind string, mib int64, mkfs ...string) (*disk, error) {
	t.Helper()
	base := t.TempDir()
	d := &disk{t: t, dir: filepath.Join(base, "disk"), image: filepath.Join(base, "image")}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := []string{"-t", "tmpfs", "-o", "size=" + itoa(mib) + "m", "tmpfs", d.dir}
	if kind != "tmpfs" {
		mount = []string{"-o", "loop", d.image, d.dir}
		if err := os.WriteFile(d.image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(d.image, mib<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs."+kind, append(mkfs, "-q", d.image)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("mkfs.%s: %w %s", kind, err, out)
		}
	}
	if out, err := exec.Command("mount", mount...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mount %v: %w %s", mount, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
			// Whoever still uses it, nothing may stay mounted.
			exec.Command("umount", "-l", d.dir).Run()
			t.Errorf("umount: %v %s", err, out)
		}
	})
	d.top = filepath.Join(d.dir, "top")
	if err := os.Mkdir(d.top, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d.top, 0o777); err != nil {
		t.Fatal(err)
	}
	return d, nil
}

// readOnly makes the file system read-only, under whoever uses it.
func (d *disk) readOnly() { run(d.t, "mount", "-o", "remount,ro", d.dir) }

// fill takes all space there is with the file name, to the last block that
// fallocate and write get. It returns how many bytes that was.
func (d *disk) fill(name string) int64 {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err != nil {
		d.t.Fatal(err)
	}
	begin := size
	for step := int64(4 << 20); step >= 4<<10; {
		switch err := unix.Fallocate(int(f.Fd()), 0, size, step); {
		case err == nil:
			size += step
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
			step /= 4
		case errors.Is(err, syscall.EINTR):
		default:
			d.t.Fatal(err)
		}
	}
	return size - begin
}

// shrink gives n bytes of a file back.
func (d *disk) shrink(name string, n int64) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	st, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, max(0, st.Size()-n))
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// remove removes a file of the disk's.
func (d *disk) remove(name string) {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
		d.t.Fatal(err)
	}
}

// free returns the bytes that are free for root, and for others.
func (d *disk) free() (root, others int64) {
	d.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	return int64(st.Bfree) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize)
}

// run runs a program of the host's that must succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// losePower is a power failure of an ext4: what the disk does not have by
// now it never gets. The file system is mounted again, its journal replayed.
// Nobody may use it meanwhile.
func (d *disk) losePower() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	const (
		shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN
		noLogFlush = 2
	)
	err = unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush)
	f.Close()
	if err != nil {
		d.t.Fatalf("shutting the file system down: %v", err)
	}
	run(d.t, "umount", d.dir)
	run(d.t, "mount", "-o", "loop", d.image, d.dir)
}
