package kernel_test

import (
	"os"
	"path/filepath"
	"testing"

	"holdfast/conformance/kernel"
)

// TestLimits is what a client sees when the server's side has an end: a full disk, a read-only export, a file that vanished.
func TestLimits(t *testing.T) {
	lab := kernel.New(t)
	full := filepath.Join(lab.Dir, "full")
	if err := os.Mkdir(full, 0o755); err != nil {
		t.Fatal(err)
	}
	hostRun(t, "mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=50", "tmpfs", full)
	t.Cleanup(func() { hostRun(t, "umount", "-l", full) })
	small := lab.Serve(t, program(t), kernel.Export{Dir: full})
	readonly := lab.Serve(t, program(t), kernel.Export{ReadOnly: true})
	if err := os.WriteFile(filepath.Join(readonly.Dir, "f"), []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := lab.Boot(t, "a")[0]
	for _, vers := range []string{"4.0", "4.1", "4.2"} {
		t.Run("vers="+vers, func(t *testing.T) {
			t.Run("a full disk gives ENOSPC", func(t *testing.T) {
				at := g.MountAt(t, small, "/mnt/full"+vers, "vers="+vers)
				g.Run(t, `cd `+at+`
					refused "No space left" dd if=/dev/zero of=big bs=64k count=100 conv=fsync
					refused "No space left" dd if=/dev/zero of=more bs=64k count=1 oflag=direct
					rm -f big more
					echo fits > f; same fits "$(cat f)" "a file after room was made"
					refused "No space left" touch f{1..60}
					rm f*; cd /; umount `+at)
			})
			t.Run("a read-only export gives EROFS", func(t *testing.T) {
				at := g.MountAt(t, readonly, "/mnt/ro"+vers, "vers="+vers)
				g.Run(t, `cd `+at+`
					same text "$(cat f)" content
					refused "Read-only file system" touch new
					refused "Read-only file system" mkdir new
					refused "Read-only file system" sh -c 'echo x >> f'
					refused "Read-only file system" chmod 600 f
					refused "Read-only file system" mv f g
					refused "Read-only file system" rm f
					cd /; umount `+at)
			})
			t.Run("a vanished file gives ESTALE", func(t *testing.T) {
				at := g.MountAt(t, small, "/mnt/stale"+vers, "vers="+vers)
				job := g.Start(t, `cd `+at+`; mkdir d; (cd d; say ready; await vanished`+vers+`; refused "Stale file handle" touch new); cd /; umount `+at)
				job.Expect(t, "ready")
				if err := os.RemoveAll(filepath.Join(full, "d")); err != nil {
					t.Fatal(err)
				}
				g.Post(t, "vanished"+vers)
				job.Wait(t)
			})
		})
	}
}
