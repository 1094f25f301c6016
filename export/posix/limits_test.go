//go:build linux

package posix

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

func serve(t *testing.T, dir string, opt Options) *FS {
	t.Helper()
	fs, err := New(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

func makeFile(t *testing.T, fs *FS, cred *export.Creds, name string) ([]byte, export.File) {
	t.Helper()
	h, f, _, err := fs.Make(cred, fs.Root(), name, &export.MakeArgs{Type: export.Regular}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return h, f
}

// fill writes until it fails.
func fill(f export.File, most int) error {
	block := bytes.Repeat([]byte("x"), 64<<10)
	for off := 0; off < most; off += len(block) {
		if _, err := f.WriteAt(block, int64(off)); err != nil {
			return err
		}
	}
	return nil
}

func TestFullDisk(t *testing.T) {
	fs := serve(t, mount(t, "tmpfs", "size=1m,nr_inodes=20,mode=755"), Options{})
	_, f := makeFile(t, fs, root, "f")
	if err := fill(f, 4<<20); !errors.Is(err, export.ErrNoSpace) {
		t.Errorf("write: %v", err)
	}
	var err error
	for i := 0; i < 40 && err == nil; i++ {
		_, _, _, err = fs.Make(root, fs.Root(), fmt.Sprint("n", i), &export.MakeArgs{Type: export.Regular}, false, nil)
	}
	if !errors.Is(err, export.ErrNoSpace) {
		t.Errorf("make: %v", err)
	}
}

func TestQuota(t *testing.T) {
	if has, err := hasCap(unix.CAP_SYS_RESOURCE); err != nil || has {
		t.Skip("with CAP_SYS_RESOURCE quotas do not count")
	}
	dir := loopMount(t, ext4Image(t, "-O", "quota", "-E", "quotatype=usrquota"), "usrquota")
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	user := &export.Creds{UID: 4242, GID: 4242}
	if err := setQuota(dir, user.UID, 256<<10); err != nil {
		t.Skipf("no quotas here: %v", err)
	}
	fs := serve(t, dir, Options{})
	_, f := makeFile(t, fs, user, "f")
	if err := fill(f, 4<<20); !errors.Is(err, export.ErrQuota) {
		t.Errorf("write: %v", err)
	}
}

// setQuota bounds the bytes of a user on the file system at dir.
func setQuota(dir string, uid uint32, limit uint64) error {
	const (
		setQuotaOfUser = 0x800008 << 8 // QCMD(Q_SETQUOTA, USRQUOTA)
		blockLimits    = 1             // QIF_BLIMITS
	)
	var q struct { // struct if_dqblk
		hard, soft, space    uint64 // limits in blocks of 1024
		ihard, isoft, inodes uint64
		btime, itime         uint64
		valid                uint32
		_                    uint32
	}
	q.hard, q.valid = limit/1024, blockLimits
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, _, e := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(fd), setQuotaOfUser, uintptr(uid), uintptr(unsafe.Pointer(&q)), 0, 0); e != 0 {
		return e
	}
	return nil
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := mount(t, "tmpfs", "size=1m,mode=777")
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	fs := serve(t, dir, Options{})
	user := &export.Creds{UID: 4242, GID: 4242}
	h, err := fs.Lookup(user, fs.Root(), "f", nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"open":    second(fs.Open(user, h, export.OpenWrite)),
		"setattr": fs.Setattr(root, h, nil, &export.SetAttr{Mode: new(uint32)}),
		"remove":  second(fs.Remove(root, fs.Root(), "f")),
	} {
		if !errors.Is(err, export.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got, err := fs.Access(user, h, export.AccessRead|export.AccessModify); err != nil || got != export.AccessRead {
		t.Errorf("access %#x %v", got, err)
	}
}

func second[T any](_ T, err error) error { return err }

// What is mounted below the export is not part of it.
func TestMountPointsAreNotCrossed(t *testing.T) {
	needRoot(t)
	for _, opt := range []Options{{}, {ForceTable: true}} {
		dir := t.TempDir()
		fs := serve(t, dir, opt)
		covered, _, _, err := fs.Make(root, fs.Root(), "mnt", &export.MakeArgs{Type: export.Directory}, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		makeFile(t, fs, root, "f")
		mnt := filepath.Join(dir, "mnt")
		if err := unix.Mount("holdfast-test", mnt, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("cannot mount here: %v", err)
		}
		if err := os.WriteFile(filepath.Join(mnt, "inner"), nil, 0o644); err != nil {
			t.Error(err)
		}
		if _, err := fs.Lookup(root, fs.Root(), "mnt", nil); !errors.Is(err, export.ErrNotExist) {
			t.Errorf("lookup: %v", err)
		}
		if _, err := fs.Lookup(root, covered, "inner", nil); err == nil {
			t.Error("found what is mounted")
		}
		var names []string
		if _, err := fs.ReadDir(root, fs.Root(), 0, true, func(e *export.DirEntry) bool {
			names = append(names, e.Name)
			return true
		}); err != nil || len(names) != 1 || names[0] != "f" {
			t.Errorf("listed %v %v", names, err)
		}
		if _, err := fs.Remove(root, fs.Root(), "mnt"); !errors.Is(err, export.ErrBusy) {
			t.Errorf("remove: %v", err)
		}
		if _, _, err := fs.Rename(root, fs.Root(), "f", covered, "f"); err == nil {
			if _, err := os.Lstat(filepath.Join(mnt, "f")); err == nil {
				t.Error("renamed onto the other file system")
			}
		}
		if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		fs.Close()
	}
}

// An export that is itself a mount point ends there.
func TestRootOfMountHasNoParent(t *testing.T) {
	fs := serve(t, mount(t, "tmpfs", "size=1m,mode=755"), Options{})
	if _, err := fs.Parent(root, fs.Root()); !errors.Is(err, export.ErrNotExist) {
		t.Errorf("parent: %v", err)
	}
}

// A failed sync stays failed, also after the disk is well again.
func TestFailedSyncStaysFailed(t *testing.T) {
	fs := newFS(t, Options{})
	_, f := makeFile(t, fs, root, "f")
	file := f.(*File)
	good := file.fd
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	file.fd = pipe[0] // cannot be synced
	if err := f.Sync(); !errors.Is(err, syscall.EINVAL) {
		t.Fatalf("sync of a pipe: %v", err)
	}
	file.fd = good
	if err := f.Sync(); err == nil {
		t.Error("an error was forgotten")
	}
	again, err := fs.Open(root, file.handle, export.OpenWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Sync(); err != nil {
		t.Errorf("another open file: %v", err)
	}
}

// With little space left data is written under the opener's uid, so that it
// does not eat what is reserved for root.
func TestReservedSpaceIsLeft(t *testing.T) {
	img := ext4Image(t, "-m", "30")
	dir := loopMount(t, img)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	fs := serve(t, dir, Options{})
	_, f := makeFile(t, fs, &export.Creds{UID: 4242, GID: 4242}, "f")
	if err := fill(f, 1<<30); !errors.Is(err, export.ErrNoSpace) {
		t.Fatalf("write: %v", err)
	}
	var sf unix.Statfs_t
	if err := unix.Statfs(dir, &sf); err != nil {
		t.Fatal(err)
	}
	if sf.Bfree < sf.Blocks/5 {
		t.Errorf("%d of %d blocks are left, 30 %% are reserved", sf.Bfree, sf.Blocks)
	}
}
