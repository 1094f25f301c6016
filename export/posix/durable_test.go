//go:build linux

package posix

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/export"
)

// ext4Image makes an image of an ext4 file system.
func ext4Image(t *testing.T, args ...string) string {
	t.Helper()
	needRoot(t)
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip("needs mkfs.ext4")
	}
	img := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, 48<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, append(args, "-q", "-F", img)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return img
}

func loopMount(t *testing.T, img string, options ...string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("mount", "-o", strings.Join(append(options, "loop"), ","), img, dir).CombinedOutput()
	if err != nil {
		t.Skipf("cannot mount an image here: %s", out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// crashed mounts a copy of the image as the disk is now: what has not reached
// it is lost as in a crash of the host.
func crashed(t *testing.T, img string) string {
	t.Helper()
	dead := filepath.Join(t.TempDir(), "dead")
	if out, err := exec.Command("cp", "--sparse=always", img, dead).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return loopMount(t, dead)
}

// What a method did is on the disk when it returns.
func TestStableWhenAnswered(t *testing.T) {
	for _, kind := range []struct{ name, feature string }{{"journal", "has_journal"}, {"no journal", "^has_journal"}} {
		t.Run(kind.name, func(t *testing.T) {
			img := ext4Image(t, "-O", kind.feature)
			// The journal is not to be committed by the clock.
			options := []string{}
			if kind.name == "journal" {
				options = append(options, "commit=300")
			}
			dir := loopMount(t, img, options...)
			fs := serve(t, dir, Options{})
			if fs.kind.journal && kind.name != "journal" {
				t.Error("taken for one with a journal")
			}
			checkStable(t, fs, img, kind.name == "journal")
		})
	}
}

func checkStable(t *testing.T, fs *FS, img string, journal bool) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mk := func(name string, args export.MakeArgs) []byte {
		t.Helper()
		if args.Type == export.Symlink {
			args.Target = "target"
		}
		h, _, _, err := fs.Make(root, fs.Root(), name, &args, false, nil)
		must(err)
		return h
	}
	after := func(what string, check func(dir string) error) {
		t.Helper()
		if err := check(crashed(t, img)); err != nil {
			t.Errorf("%s: after a crash: %v", what, err)
		}
	}
	exists := func(name string) func(dir string) error {
		return func(dir string) error { _, err := os.Lstat(filepath.Join(dir, name)); return err }
	}
	mode := uint32(0o604)
	h := mk("file", export.MakeArgs{Type: export.Regular, Set: export.SetAttr{Mode: &mode}})
	after("make", func(dir string) error {
		info, err := os.Lstat(filepath.Join(dir, "file"))
		if err == nil && info.Mode().Perm() != 0o604 {
			err = fmt.Errorf("mode %v", info.Mode())
		}
		return err
	})
	for _, kind := range []export.FileType{export.Directory, export.Symlink, export.FIFO} {
		name := fmt.Sprint("made", kind)
		mk(name, export.MakeArgs{Type: kind})
		after("make "+name, exists(name))
	}
	mode = 0o640
	must(fs.Setattr(root, h, nil, &export.SetAttr{Mode: &mode}))
	after("chmod", func(dir string) error {
		info, err := os.Lstat(filepath.Join(dir, "file"))
		if err == nil && info.Mode().Perm() != 0o640 {
			err = fmt.Errorf("mode %v", info.Mode())
		}
		return err
	})
	when := time.Unix(1234567890, 0)
	link, err := fs.Lookup(root, fs.Root(), fmt.Sprint("made", export.Symlink), nil)
	must(err)
	must(fs.Setattr(root, link, nil, &export.SetAttr{MtimeHow: export.TimeGiven, Mtime: when}))
	after("times of a link", func(dir string) error {
		info, err := os.Lstat(filepath.Join(dir, fmt.Sprint("made", export.Symlink)))
		if err == nil && !info.ModTime().Equal(when) {
			err = fmt.Errorf("mtime %v", info.ModTime())
		}
		return err
	})
	_, err = fs.Link(root, h, fs.Root(), "linked")
	must(err)
	after("link", exists("linked"))
	sub := mk("sub", export.MakeArgs{Type: export.Directory})
	_, _, err = fs.Rename(root, fs.Root(), "linked", sub, "moved")
	must(err)
	after("rename", func(dir string) error {
		if exists("linked")(dir) == nil {
			return errors.New("the old name is there")
		}
		return exists("sub/moved")(dir)
	})
	_, err = fs.Remove(root, sub, "moved")
	must(err)
	after("remove", func(dir string) error {
		if exists("sub/moved")(dir) == nil {
			return errors.New("it is there")
		}
		return nil
	})
	must(fs.SetXattr(root, h, "x", []byte("value"), export.XattrEither))
	after("setxattr", func(dir string) error {
		buf := make([]byte, 10)
		n, err := unix.Getxattr(filepath.Join(dir, "file"), "user.x", buf)
		if err == nil && string(buf[:n]) != "value" {
			err = fmt.Errorf("%q", buf[:n])
		}
		return err
	})
	f, err := fs.Open(root, h, export.OpenWrite)
	must(err)
	defer f.Close()
	_, err = f.WriteAt([]byte("data"), 0)
	must(err)
	must(f.Sync())
	after("sync", func(dir string) error {
		b, err := os.ReadFile(filepath.Join(dir, "file"))
		if err == nil && string(b) != "data" {
			err = fmt.Errorf("%q", b)
		}
		return err
	})

	// The check itself: without syncing it would fail.
	if journal {
		fs.opt.Async = true
		mk("async", export.MakeArgs{Type: export.Regular})
		if exists("async")(crashed(t, img)) == nil {
			t.Error("what was not synced is on the disk: this test shows nothing")
		}
	}
}
