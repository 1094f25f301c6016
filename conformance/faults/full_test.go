package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// user is who works on the small disks: root may take what a file system
// reserves for it.
const user = 1000

// pattern is data that tells where it belongs.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>12)*31 + byte(i)*7 + seed
	}
	return p
}

// fillFile writes data again and again behind each other until the disk is full,
// and returns how many bytes were acknowledged.
func fillFile(t *testing.T, f *client.OpenFile, stable uint32, data []byte, want nfs4.Status) (acked int, verifier nfs4.Verifier) {
	t.Helper()
	for {
		res, err := f.Write(uint64(acked), stable, data[acked%len(data):])
		if err != nil {
			is(t, "WRITE on a full disk", err, want)
			return acked, verifier
		}
		if stable != nfs4.Unstable && res.Committed != nfs4.FileSync {
			t.Fatalf("WRITE committed %d, asked for %d", res.Committed, stable)
		}
		if res.Count == 0 {
			t.Fatal("WRITE of nothing is OK")
		}
		if acked > 0 && res.Verifier != verifier {
			t.Fatal("the write verifier changed")
		}
		verifier = res.Verifier
		acked += int(res.Count)
		if acked > 1<<30 {
			t.Fatal("the disk is never full")
		}
	}
}

// holds compares a file of the host's with what was acknowledged.
func holds(t *testing.T, path string, data []byte, acked int) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < acked {
		t.Fatalf("%s: %d bytes, %d were acknowledged", path, len(got), acked)
	}
	for off := 0; off < acked; off += len(data) {
		n := min(len(data), acked-off)
		if !bytes.Equal(got[off:off+n], data[:n]) {
			t.Fatalf("%s: other bytes between %d and %d than were acknowledged", path, off, off+n)
		}
	}
}

// absent checks that a failed operation left no name behind.
func absent(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s exists although making it failed: %v", name, err)
		}
	}
}

// A full disk is NFS4ERR_NOSPC to whatever needs space, nothing is left half
// made, and what was acknowledged as stable is on the disk: also after a power
// failure then and there. When there is space again all goes on.
func TestFullDisk(t *testing.T) {
	eachMinor(t, func(t *testing.T, minor uint32) {
		d := newDisk(t, "ext4", 24, "-m", "0", "-b", "4096", "-N", "256")
		s := serve(t, d.top, "")
		c := s.client(minor, user)
		dir := root(t, c)
		data := pattern(byte(minor), 64<<10)

		stable, unstable, small := create(t, c, dir, "stable"), create(t, c, dir, "unstable"), create(t, c, dir, "small")
		for off := uint64(0); off < 8<<20; off += uint64(len(data)) {
			if _, err := unstable.Write(off, nfs4.Unstable, data); err != nil {
				t.Fatal(err)
			}
		}
		ackedStable, _ := fillFile(t, stable, nfs4.FileSync, data, nfs4.ErrNoSpc)
		d.remove("top/unstable") // open at a client, so its data stays until CLOSE
		if err := unstable.Close(); err != nil {
			t.Fatal(err)
		}
		unstable = create(t, c, dir, "unstable2")
		ackedUnstable, verifier := fillFile(t, unstable, nfs4.Unstable, data, nfs4.ErrNoSpc)
		p := must(t, c, client.PutFH(unstable.FH), client.Commit(0, 0))
		if got := client.Get[client.CommitRes](p).Verifier; got != verifier {
			t.Errorf("COMMIT's verifier %x is not WRITE's %x: the client would have to send all again", got, verifier)
		}
		d.fill("hog")

		full := func(what string, ops ...client.Op) {
			t.Helper()
			gives(t, c, what+" on a full disk", nfs4.ErrNoSpc, append([]client.Op{client.PutFH(dir)}, ops...)...)
		}
		full("MKDIR", client.Mkdir("d"))
		full("SYMLINK", client.Symlink("l", string(bytes.Repeat([]byte("x/"), 1000))))
		gives(t, c, "WRITE of a hole", nfs4.ErrNoSpc, client.PutFH(small.FH), client.Write(small.Stateid, 1<<20, nfs4.FileSync, data))
		if minor == 2 {
			gives(t, c, "SETXATTR", nfs4.ErrNoSpc, client.PutFH(small.FH), client.SetXattr(nfs4.SetXattrEither, "big", make([]byte, 3000)))
			gives(t, c, "ALLOCATE", nfs4.ErrNoSpc, client.PutFH(small.FH), client.Allocate(small.Stateid, 0, 8<<20))
		}
		absent(t, d.top, "d", "l")

		// Inodes are space as well.
		made := 0
		for ; ; made++ {
			f, err := c.CreateFile(dir, fmt.Sprintf("f%d", made))
			if err != nil {
				is(t, "OPEN that creates, without inodes", err, nfs4.ErrNoSpc)
				absent(t, d.top, fmt.Sprintf("f%d", made))
				break
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		full("CREATE of a fifo", client.Create(client.CreateArgs{Type: nfs4.TypeFIFO, Name: "fifo", Attrs: new(client.Attrs).SetMode(0o644)}))
		full("SYMLINK without inodes", client.Symlink("short", "x"))
		full("MKDIR without inodes", client.Mkdir("d"))
		_, err := c.Open(client.NewOwner(), dir, client.OpenArgs{
			Access: nfs4.ShareAccessBoth, How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive, Verifier: client.NewVerifier(), Name: "exclusive",
		})
		is(t, "exclusive OPEN without inodes", err, nfs4.ErrNoSpc)
		absent(t, d.top, "fifo", "short", "d", "exclusive")
		holds(t, filepath.Join(d.top, "stable"), data, ackedStable)
		holds(t, filepath.Join(d.top, "unstable2"), data, ackedUnstable)

		// What does not need space goes on, on a full disk.
		if res, err := stable.Read(0, uint32(len(data))); err != nil || !bytes.Equal(res.Data, data) {
			t.Errorf("READ on a full disk: %v", err)
		}
		must(t, c, client.PutFH(dir), client.SaveFH(), client.Rename("f0", "g0"))
		must(t, c, client.PutFH(dir), client.Remove("g0"))

		// The disk loses power.
		s.kill()
		d.losePower()
		holds(t, filepath.Join(d.top, "stable"), data, ackedStable)
		holds(t, filepath.Join(d.top, "unstable2"), data, ackedUnstable)
		absent(t, d.top, "fifo", "short", "d", "exclusive", "f0", "g0")
		s.start()
		reconnect(t, c)

		d.remove("hog")
		must(t, c, client.PutFH(unstable.FH), client.SetAttr(unstable.Stateid, new(client.Attrs).SetSize(0)))
		must(t, c, client.PutFH(dir), client.Mkdir("d"))
		if _, err := stable.Write(uint64(ackedStable), nfs4.FileSync, data); err != nil {
			t.Errorf("WRITE after space is back: %v", err)
		}
		must(t, c, client.PutFH(unstable.FH), client.Write(unstable.Stateid, 0, nfs4.Unstable, data), client.Commit(0, 0))
		if minor == 2 {
			must(t, c, client.PutFH(small.FH), client.SetXattr(nfs4.SetXattrEither, "big", make([]byte, 3000)))
			must(t, c, client.PutFH(small.FH), client.Allocate(small.Stateid, 0, 1<<20))
		}
		s.alive()
	})
}

// A file system in memory that is full, with blocks and with inodes.
func TestFullMemory(t *testing.T) {
	d := newDisk(t, "tmpfs", 4)
	c := serve(t, d.top, "").client(2, user)
	f := create(t, c, root(t, c), "f")
	data := pattern(1, 100<<10)
	acked, _ := fillFile(t, f, nfs4.FileSync, data, nfs4.ErrNoSpc)
	holds(t, filepath.Join(d.top, "f"), data, acked)
	gives(t, c, "ALLOCATE", nfs4.ErrNoSpc, client.PutFH(f.FH), client.Allocate(f.Stateid, 0, 8<<20))
	must(t, c, client.PutFH(f.FH), client.SetAttr(f.Stateid, new(client.Attrs).SetSize(0)))
	if _, err := f.Write(0, nfs4.FileSync, data); err != nil {
		t.Error(err)
	}
}

// What a file system reserves for root is not given to others, whatever rights
// the gateway has.
func TestReservedSpace(t *testing.T) {
	d := newDisk(t, "ext4", 64, "-m", "25", "-b", "4096")
	s := serve(t, d.top, "")
	c := s.client(2, user)
	f := create(t, c, root(t, c), "f")
	reserved := func() int64 {
		all, others := d.free()
		return all - others
	}
	before := reserved()
	data := pattern(1, 256<<10)
	acked, _ := fillFile(t, f, nfs4.FileSync, data, nfs4.ErrNoSpc)
	gives(t, c, "ALLOCATE", nfs4.ErrNoSpc, client.PutFH(f.FH), client.Allocate(f.Stateid, 0, 1<<30))
	if all, _ := d.free(); all < before*9/10 {
		t.Errorf("of %d bytes reserved for root %d are left after a user wrote %d", before, all, acked)
	}
	holds(t, filepath.Join(d.top, "f"), data, acked)
	// Root itself may have it.
	r := s.client(2, 0)
	g := create(t, r, root(t, r), "g")
	if _, err := g.Write(0, nfs4.FileSync, data); err != nil {
		t.Errorf("root's WRITE into its reserve: %v", err)
	}
}

// A quota that is used up is NFS4ERR_DQUOT, and nobody else is touched by it.
func TestQuota(t *testing.T) {
	t.Run("btrfs", func(t *testing.T) {
		d := newDisk(t, "btrfs", 256)
		run(t, "btrfs", "quota", "enable", d.dir)
		eachMinor(t, func(t *testing.T, minor uint32) {
			sub := filepath.Join(d.dir, fmt.Sprintf("sub%d", minor))
			run(t, "btrfs", "subvolume", "create", sub)
			if err := os.Chmod(sub, 0o777); err != nil {
				t.Fatal(err)
			}
			run(t, "btrfs", "qgroup", "limit", "16M", sub)
			testQuota(t, serve(t, sub, ""), minor, func() { run(t, "btrfs", "qgroup", "limit", "none", sub) })
		})
	})
	t.Run("ext4", func(t *testing.T) {
		needRoot(t)
		d, err := tryDisk(t, "ext4", 64, "-O", "quota", "-E", "quotatype=usrquota")
		if err != nil {
			t.Skipf("the kernel of this machine has no quotas for users, it seems (CONFIG_QFMT_V2): %v", err)
		}
		run(t, "quotaon", "-u", d.dir) // otherwise it only counts
		set := func(kib string) { run(t, "setquota", "-u", itoa(user), "0", kib, "0", "0", d.dir) }
		eachMinor(t, func(t *testing.T, minor uint32) {
			set("16384")
			s := serve(t, d.top, "")
			testQuota(t, s, minor, func() {
				c := s.client(minor, user+1)
				if _, err := create(t, c, root(t, c), "other").Write(0, nfs4.FileSync, pattern(9, 64<<10)); err != nil {
					t.Errorf("WRITE of a user whose quota is not used up: %v", err)
				}
				set("0")
			})
			s.end()
			run(t, "rm", "-r", d.top)
			if err := errors.Join(os.Mkdir(d.top, 0o777), os.Chmod(d.top, 0o777)); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// testQuota writes until a quota of 16 MiB is used up, and again after lift.
func testQuota(t *testing.T, s *server, minor uint32, lift func()) {
	t.Helper()
	c := s.client(minor, user)
	f := create(t, c, root(t, c), "f")
	data := pattern(byte(minor), 64<<10)
	acked, _ := fillFile(t, f, nfs4.FileSync, data, nfs4.ErrDQuot)
	if acked > 17<<20 {
		t.Errorf("%d bytes, with a quota of 16 MiB", acked)
	}
	holds(t, filepath.Join(s.dir, "f"), data, acked)
	if minor == 2 {
		gives(t, c, "ALLOCATE over quota", nfs4.ErrDQuot, client.PutFH(f.FH), client.Allocate(f.Stateid, 0, 32<<20))
	}
	must(t, c, client.PutFH(f.FH), client.Commit(0, 0))
	lift()
	for {
		res, err := f.Write(uint64(acked), nfs4.FileSync, data[acked%len(data):])
		if err != nil {
			t.Fatalf("WRITE after the quota was lifted: %v", err)
		}
		if acked += int(res.Count); acked > 20<<20 {
			break
		}
	}
	holds(t, filepath.Join(s.dir, "f"), data, acked)
}
