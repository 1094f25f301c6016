package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// newThinDisk mounts a file system that believes that it has size MiB, on
// storage that has room for less: thin provisioning. hog takes what is left of
// the storage.
func newThinDisk(t *testing.T, size, storage int64) (d *disk, hog func(), room func()) {
	t.Helper()
	under := newDisk(t, "tmpfs", storage)
	d = &disk{t: t, dir: filepath.Join(t.TempDir(), "thin"), image: filepath.Join(under.dir, "image")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, size<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Without a journal, and with all tables written, only data needs storage.
	run(t, "mkfs.ext4", "-q", "-m", "0", "-b", "4096", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=0,nodiscard", d.image)
	run(t, "mount", "-o", "loop", d.image, d.dir)
	t.Cleanup(func() {
		// What cannot be written keeps nobody from unmounting.
		under.remove("hog")
		if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
			exec.Command("umount", "-l", d.dir).Run()
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return d, func() { under.fill("hog") }, func() {
		if err := os.Truncate(filepath.Join(under.dir, "hog"), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// Storage that runs out under a file system which thought that it had space:
// WRITE is fine, COMMIT is not, and then the write verifier is another one, so
// that clients send again what may be lost.
func TestCommitFails(t *testing.T) {
	eachMinor(t, func(t *testing.T, minor uint32) {
		d, hog, room := newThinDisk(t, 64, 32)
		s := serve(t, d.dir, "")
		c := s.client(minor, 0)
		dir := root(t, c)
		f, other := create(t, c, dir, "f"), create(t, c, dir, "other")
		data := pattern(byte(minor), 256<<10)
		if _, err := other.Write(0, nfs4.FileSync, data); err != nil {
			t.Fatal(err)
		}
		run(t, "sync", "-f", d.dir)
		hog()
		var before nfs4.Verifier
		for off := 0; off < 8<<20; off += len(data) {
			res, err := f.Write(uint64(off), nfs4.Unstable, data)
			if err != nil {
				t.Fatalf("WRITE, unstable: %v", err)
			}
			before = res.Verifier
		}
		p, err := c.Compound(client.PutFH(f.FH), client.Commit(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("COMMIT without storage: %v", p.Status)
		if p.Status != nfs4.ErrNoSpc && p.Status != nfs4.ErrIO {
			t.Errorf("COMMIT of what cannot be written: %v", p)
		}
		_, err = f.Write(8<<20, nfs4.FileSync, data)
		if got, ok := client.Status(err); !ok || got == nfs4.OK {
			t.Errorf("WRITE, stable, without storage: %v", err)
		}
		room()
		res, err := other.Write(0, nfs4.Unstable, data)
		if err != nil {
			t.Fatal(err)
		}
		if res.Verifier == before {
			t.Error("data is lost, and the write verifier is the same")
		}
		// The client sends it all again.
		acked := 0
		for ; acked < 4<<20; acked += len(data) {
			if _, err := f.Write(uint64(acked), nfs4.Unstable, data); err != nil {
				t.Fatalf("WRITE after there is storage: %v", err)
			}
		}
		p = must(t, c, client.PutFH(f.FH), client.Commit(0, 0))
		if got := client.Get[client.CommitRes](p).Verifier; got == before {
			t.Error("COMMIT after data was lost has the verifier of before")
		}
		if res, err := f.Read(0, uint32(len(data))); err != nil || !bytes.Equal(res.Data, data) {
			t.Errorf("READ: %v", err)
		}
		s.alive()
	})
}

// The state store's storage fails under it: nothing is granted that cannot be made durable, and the gateway ends, since it
// could keep no promise. It says why, and its exit status is not 0. Requests that run then are answered. After a restart on
// storage that works all that was granted is there.
func TestStateStorageFails(t *testing.T) {
	eachMinor(t, func(t *testing.T, minor uint32) {
		d, hog, room := newThinDisk(t, 512, 64)
		s := serve(t, "", filepath.Join(d.dir, "state"))
		c := s.client(minor, 0)
		f := create(t, c, root(t, c), "f")
		bystander := s.client(minor, 0)
		calm := create(t, bystander, root(t, bystander), "calm")
		locks := f.Locks(client.NewOwner())
		granted := uint64(0)
		lock := func() error {
			err := locks.Lock(nfs4.WriteLT, granted*4, 2)
			if err == nil {
				granted++
			}
			return err
		}
		for range 50 {
			if err := lock(); err != nil {
				t.Fatal(err)
			}
		}
		run(t, "sync", "-f", d.dir)
		hog()
		used := make(chan error, 1)
		go func() { used <- useUntilClosed(calm, pattern(byte(minor), 4096)) }()
		until(t, "the gateway ends", func() bool {
			if err := lock(); err != nil {
				if got, ok := client.Status(err); ok && got != nfs4.ErrDelay && got != refusal(minor) {
					t.Fatalf("LOCK while the store fails: %v", err)
				}
			}
			select {
			case <-s.gone:
				return true
			default:
				return false
			}
		})
		if err := <-used; err != nil {
			t.Errorf("who has a file open: %v", err)
		}
		if code := s.cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("the exit status is %d", code)
		}
		if log := s.logged(); !strings.Contains(log, "its state store has failed") || strings.Contains(log, "panic") {
			t.Errorf("it does not say why:\n%s", log)
		}
		room()
		if said, err := s.tryStart(); err != nil {
			// What the storage lost is damage, and said to be.
			t.Fatalf("start after the storage failed: %v\n%s", err, said)
		}
		reconnect(t, c)
		other := s.client(minor, 0)
		g, err := other.Open(client.NewOwner(), root(t, other), client.OpenArgs{Access: nfs4.ShareAccessBoth, Name: "f"})
		if err != nil {
			t.Fatal(err)
		}
		probe := g.Locks(client.NewOwner())
		for n := range granted {
			if denied, err := probe.Test(nfs4.ReadLT, n*4, 2); err != nil || denied == nil {
				t.Fatalf("lock %d of %d that were granted is lost: %v", n, granted, err)
			}
		}
		t.Logf("%d locks were granted and are held", granted)
	})
}

// useUntilClosed writes and reads a file until the connection is closed. The error says what was answered wrongly.
func useUntilClosed(f *client.OpenFile, data []byte) error {
	for {
		if _, err := f.Write(0, nfs4.Unstable, data); errors.Is(err, client.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("WRITE: %w", err)
		}
		if res, err := f.Read(0, uint32(len(data))); errors.Is(err, client.ErrClosed) {
			return nil
		} else if err != nil || !bytes.Equal(res.Data, data) {
			return fmt.Errorf("READ: %w", err)
		}
	}
}
