//go:build linux

package posix

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/export"
	"holdfast/export/exporttest"
)

// trees makes trees in directories of their own below base.
func trees(base func(t testing.TB) string, opt Options) func(t testing.TB) exporttest.Tree {
	return func(t testing.TB) exporttest.Tree {
		dir := filepath.Join(base(t), "export")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		opt := opt
		opt.StateDir = t.TempDir()
		fs, err := New(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fs.Close() })
		return exporttest.Tree{
			FS: fs, HostDir: dir,
			Owner: export.Creds{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())},
			Reopen: func() (export.FS, error) {
				if err := fs.Close(); err != nil {
					return nil, err
				}
				fs, err = New(dir, opt)
				return fs, err
			},
		}
	}
}

func tempDir(t testing.TB) string { return t.TempDir() }

// lacks is what this machine's user and file system cannot do.
func lacks(t *testing.T, base string, more map[exporttest.Feature]string) map[exporttest.Feature]string {
	l := map[exporttest.Feature]string{}
	if os.Geteuid() != 0 {
		for _, f := range []exporttest.Feature{exporttest.Identities, exporttest.Chown, exporttest.Devices} {
			l[f] = "not run by root"
		}
		l[exporttest.HostRename] = "not run by root: the handle table is used"
	}
	probe := filepath.Join(base, "probe")
	if err := os.WriteFile(probe, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(probe)
	if err := unix.Setxattr(probe, "user.x", []byte("x"), 0); err != nil {
		l[exporttest.Xattr] = "the test's file system: " + err.Error()
	}
	if _, err := unix.Getxattr(probe, aclAccess, nil); err == syscall.EOPNOTSUPP {
		l[exporttest.ACL] = "the test's file system has none"
	}
	for f, why := range more {
		l[f] = why
	}
	return l
}

func TestConformance(t *testing.T) {
	cfg := exporttest.Config{New: trees(tempDir, Options{}), Lacks: lacks(t, t.TempDir(), nil), Entries: 5000}
	if testing.Short() {
		cfg.Entries = 1000
	}
	exporttest.Run(t, cfg)
}

// Asking the kernel for everything must give the same answers.
func TestConformanceStrict(t *testing.T) {
	exporttest.Run(t, exporttest.Config{New: trees(tempDir, Options{StrictKernel: true, SoleWriter: true}), Lacks: lacks(t, t.TempDir(), nil), Entries: 1000})
}

var tableLacks = map[exporttest.Feature]string{
	exporttest.HostRename: "the handle table knows the renames of this process only",
}

func TestConformanceTable(t *testing.T) {
	exporttest.Run(t, exporttest.Config{New: trees(tempDir, Options{ForceTable: true}), Lacks: lacks(t, t.TempDir(), tableLacks), Entries: 1000})
}

// mount mounts a file system for the test, in its own place.
func mount(t *testing.T, kind, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("holdfast-test", dir, kind, 0, options); err != nil {
		t.Skipf("cannot mount %s here: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func below(base string) func(t testing.TB) string {
	return func(t testing.TB) string {
		dir, err := os.MkdirTemp(base, "tree")
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
}

func TestConformanceTmpfs(t *testing.T) {
	base := mount(t, "tmpfs", "size=64m,mode=755")
	exporttest.Run(t, exporttest.Config{New: trees(below(base), Options{}), Lacks: lacks(t, base, nil)})
}

// ramfs has neither handles nor fine timestamps: the table and the added
// changes are needed.
func TestConformanceRamfs(t *testing.T) {
	base := mount(t, "ramfs", "mode=755")
	exporttest.Run(t, exporttest.Config{
		New: trees(below(base), Options{}),
		Lacks: lacks(t, base, map[exporttest.Feature]string{
			exporttest.HostRename: tableLacks[exporttest.HostRename],
			exporttest.Sparse:     "ramfs does not tell of holes",
			exporttest.Allocate:   "ramfs cannot reserve space",
			exporttest.Cookies:    "ramfs counts entries, and has no positions that stay",
		}),
		Entries: 2000,
	})
}

// TestConformanceAsUser runs the checks in a process of another user.
func TestConformanceAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("TestConformance is that already")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "holdfast-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	work := filepath.Join(dir, "work")
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "posix.test"), image, 0o755),
		os.Mkdir(work, 0o755), os.Chown(work, 65534, 65534),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(dir, "posix.test"), "-test.run", "^TestConformance$", "-test.short")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "TMPDIR="+work, "HOME="+work)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
