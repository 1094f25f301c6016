package faults_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// refusal is how a change of state is refused that cannot be made durable.
func refusal(minor uint32) nfs4.Status {
	if minor == 0 {
		return nfs4.ErrResource
	}
	return nfs4.ErrDelay
}

// whenRefused polls until do is refused, as a state change is that cannot be
// made durable. It may succeed until then and must do nothing else.
func whenRefused(t *testing.T, minor uint32, what string, do func() error) {
	t.Helper()
	until(t, what+" is refused", func() bool {
		err := do()
		got, ok := client.Status(err)
		if !ok || got != nfs4.OK && got != refusal(minor) && got != nfs4.ErrDelay {
			t.Fatalf("%s: %v, want %v", what, err, refusal(minor))
		}
		return got != nfs4.OK
	})
}

// whenGranted polls until do succeeds; it may be refused until then.
func whenGranted(t *testing.T, minor uint32, what string, do func() error) {
	t.Helper()
	until(t, what+" is granted", func() bool {
		err := do()
		got, ok := client.Status(err)
		if !ok || got != nfs4.OK && got != refusal(minor) && got != nfs4.ErrDelay {
			t.Fatalf("%s: %v", what, err)
		}
		return got == nfs4.OK
	})
}

// status makes an error of a compound's status.
func status(p *client.Reply, err error) error {
	_, err = client.Check(p, err)
	return err
}

// The state store's own disk is full: no state is granted, and no change
// begun, that could not be made durable; who has files open reads and writes them; a
// gateway killed then has what it granted and nothing that it refused; and with
// space all goes on.
func TestStateDiskFull(t *testing.T) {
	eachMinor(t, func(t *testing.T, minor uint32) {
		d := newDisk(t, "ext4", 64, "-m", "0")
		s := serve(t, "", filepath.Join(d.top, "state"))
		c := s.client(minor, 0)
		dir := root(t, c)
		must(t, c, client.PutFH(dir), client.Mkdir("old"))
		f, spare := create(t, c, dir, "f"), create(t, c, dir, "spare")
		locks := f.Locks(client.NewOwner())
		for _, off := range []uint64{0, 100} {
			if err := locks.Lock(nfs4.WriteLT, off, 10); err != nil {
				t.Fatal(err)
			}
		}
		data := pattern(7, 128<<10)
		if _, err := f.Write(0, nfs4.FileSync, data); err != nil {
			t.Fatal(err)
		}
		d.fill("hog")

		granted := 0
		whenRefused(t, minor, "LOCK", func() error {
			err := locks.Lock(nfs4.WriteLT, 1000+uint64(granted)*20, 10)
			if err == nil {
				granted++
			}
			return err
		})
		d.fill("hog")
		refused := func(what string, err error) {
			t.Helper()
			if got, ok := client.Status(err); !ok || got != refusal(minor) {
				t.Errorf("%s while the store is full: %v, want %v", what, err, refusal(minor))
			}
		}
		_, err := c.CreateFile(dir, "new")
		refused("OPEN that creates", err)
		_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})
		refused("OPEN", err)
		refused("MKDIR", status(c.Compound(client.PutFH(dir), client.Mkdir("new"))))
		refused("REMOVE", status(c.Compound(client.PutFH(dir), client.Remove("old"))))
		refused("RENAME", status(c.Compound(client.PutFH(dir), client.SaveFH(), client.Rename("old", "new"))))
		refused("SETATTR", status(c.Compound(client.PutFH(f.FH), client.SetAttr(nfs4.Stateid{}, new(client.Attrs).SetMode(0o611)))))
		refused("LOCK", locks.Lock(nfs4.WriteLT, 5000, 10))
		if stranger, err := client.New(t.Context(), client.Config{Dial: client.TCP(s.addr), Minor: minor}); err == nil {
			t.Error("a new client is confirmed while the store is full")
			stranger.Close()
		} else if got, ok := client.Status(err); !ok || got != refusal(minor) {
			t.Errorf("a new client: %v, want %v", err, refusal(minor))
		}
		absent(t, s.dir, "new")

		// Hot paths do not need the store.
		for i := range 200 {
			off := uint64(i%4) * 1000
			if _, err := f.Write(off, nfs4.Unstable, data[off:off+500]); err != nil {
				t.Fatalf("WRITE while the store is full: %v", err)
			}
			if res, err := f.Read(off, 1000); err != nil || string(res.Data) != string(data[off:off+1000]) {
				t.Fatalf("READ while the store is full: %v", err)
			}
			must(t, c, client.PutFH(dir), client.Lookup("f"), client.GetAttr(nfs4.AttrSize, nfs4.AttrMode), client.Access(nfs4.AccessRead))
		}
		must(t, c, client.PutFH(f.FH), client.Commit(0, 0))
		if list, err := c.List(dir, 8192, nfs4.AttrSize); err != nil || len(list) != 3 {
			t.Errorf("READDIR while the store is full: %v, %v", list, err)
		}
		if minor == 0 {
			must(t, c, client.Renew(c.ClientID))
		}

		// What only releases needs little room: CLOSE and LOCKU go on where OPEN
		// and LOCK do not.
		d.shrink("hog", 4<<20)
		whenGranted(t, minor, "LOCKU", func() error { return locks.Unlock(100, 10) })
		whenGranted(t, minor, "CLOSE", spare.Close)
		_, err = c.CreateFile(dir, "new")
		refused("OPEN that creates", err)
		refused("LOCK", locks.Lock(nfs4.WriteLT, 5000, 10))
		d.fill("hog")

		// A restart on a full disk serves those who have files open.
		s.kill()
		room := func() { d.remove("hog") }
		full := s.startFull(room)
		reconnect(t, c)
		if _, err := f.Write(0, nfs4.FileSync, data); err != nil {
			t.Errorf("WRITE after a restart: %v", err)
		}
		if res, err := f.Read(0, 500); err != nil || string(res.Data) != string(data[:500]) {
			t.Errorf("READ after a restart: %v", err)
		}
		if full {
			_, err = c.CreateFile(dir, "new")
			refused("OPEN that creates, after a restart", err)
			room()
		}
		whenGranted(t, minor, "OPEN", func() error { _, err := c.CreateFile(dir, "new"); return err })
		other := s.client(minor, 0)
		g, err := other.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessBoth, Name: "f"})
		if err != nil {
			t.Fatal(err)
		}
		probe := g.Locks(client.NewOwner())
		held := func(off uint64) bool {
			t.Helper()
			denied, err := probe.Test(nfs4.ReadLT, off, 10)
			if err != nil {
				t.Fatal(err)
			}
			return denied != nil
		}
		if !held(0) {
			t.Error("the lock of before is lost")
		}
		if held(100) {
			t.Error("a lock that was given back is held")
		}
		for i := range granted {
			if !held(1000 + uint64(i)*20) {
				t.Errorf("lock %d of %d that were granted as the disk filled is lost", i, granted)
			}
		}
		if held(1000+uint64(granted)*20) || held(5000) {
			t.Error("a lock that was refused is held")
		}
		if res, err := f.Read(0, 500); err != nil || string(res.Data) != string(data[:500]) {
			t.Errorf("READ by the stateid of before: %v", err)
		}
		if _, err := os.Stat(filepath.Join(s.dir, "old")); err != nil {
			t.Errorf("REMOVE was refused: %v", err)
		}
		must(t, c, client.PutFH(dir), client.Remove("old"))
		if err := locks.Unlock(0, toEOF); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		s.alive()
	})
}

// startFull starts the server on a full disk. When not even recovery has the
// space it needs, the program may say so and leave; then makeRoom is called, and
// startFull returns false.
func (s *server) startFull(makeRoom func()) bool {
	s.t.Helper()
	out, err := s.tryStart()
	if err == nil {
		return true
	}
	if !strings.Contains(out, "full") || strings.Contains(out, "panic") {
		s.t.Fatalf("start on a full disk: %v: %s", err, out)
	}
	s.t.Logf("start on a full disk: %v: %s", err, out)
	makeRoom()
	s.start()
	return false
}

// The disk fills up, and is taken to the last block again and again, while
// clients lock: a crash then loses nothing that was granted, and leaves nothing
// that was refused.
func TestStateDiskSiege(t *testing.T) {
	const owners = 6
	minors := [owners]uint32{0, 1, 2, 0, 1, 2}
	d := newDisk(t, "ext4", 64, "-m", "0")
	s := serve(t, "", filepath.Join(d.top, "state"))
	prober := s.client(1, 0)
	dir := root(t, prober)
	file := create(t, prober, dir, "f")
	probe := file.Locks(client.NewOwner())

	type locker struct {
		minor   uint32
		c       *client.Client
		locks   *client.Locks
		granted []uint64
		refused []uint64
		unknown []uint64
	}
	all := make([]*locker, owners)
	for i := range all {
		l := &locker{minor: minors[i], c: s.client(minors[i], 0)}
		l.locks = create(t, l.c, dir, "f").Locks(client.NewOwner())
		// Without one there is no stateid to unlock with.
		off := uint64(i) << 32
		if err := l.locks.Lock(nfs4.WriteLT, off, 2); err != nil {
			t.Fatal(err)
		}
		l.granted = append(l.granted, off)
		all[i] = l
	}
	var stop, refusals atomic.Bool
	var wg sync.WaitGroup
	for i, l := range all {
		wg.Go(func() {
			for n := uint64(1); !stop.Load(); n++ {
				off := uint64(i)<<32 + n*4
				err := l.locks.Lock(nfs4.WriteLT, off, 2)
				got, ok := client.Status(err)
				switch {
				case !ok: // killed
					l.unknown = append(l.unknown, off)
					return
				case got == nfs4.OK:
					l.granted = append(l.granted, off)
				case got == refusal(l.minor) || got == nfs4.ErrDelay:
					l.refused = append(l.refused, off)
					refusals.Store(true)
				default:
					t.Errorf("LOCK: %v", err)
					return
				}
			}
		})
	}
	until(t, "locks are refused", func() bool { d.fill("hog"); return refusals.Load() })
	for range 50 {
		d.fill("hog") // what the store gives back
	}
	s.kill()
	stop.Store(true)
	wg.Wait()
	if t.Failed() {
		return
	}
	room := func() { d.remove("hog") }
	if s.startFull(room) {
		room()
	}
	reconnect(t, prober)
	test := func(off uint64) bool {
		t.Helper()
		denied, err := probe.Test(nfs4.ReadLT, off, 2)
		if err != nil {
			t.Fatal(err)
		}
		return denied != nil
	}
	granted, refused := 0, 0
	for i, l := range all {
		granted, refused = granted+len(l.granted), refused+len(l.refused)
		for _, off := range l.granted {
			if !test(off) {
				t.Fatalf("owner %d (4.%d) was granted %#x, and it is lost", i, l.minor, off)
			}
		}
		for _, off := range l.refused {
			if test(off) {
				t.Fatalf("owner %d (4.%d) was refused %#x, and it is held", i, l.minor, off)
			}
		}
	}
	t.Logf("%d locks granted, %d refused", granted, refused)
	for _, l := range all {
		reconnect(t, l.c)
		for _, off := range l.unknown { // sent again, as a client does
			if err := l.locks.Lock(nfs4.WriteLT, off, 2); err != nil {
				if got, _ := client.Status(err); got != refusal(l.minor) {
					t.Fatalf("LOCK sent again: %v", err)
				}
			}
		}
		whenGranted(t, l.minor, "LOCKU", func() error { return l.locks.Unlock(0, toEOF) })
		whenGranted(t, l.minor, "LOCK", func() error { return l.locks.Lock(nfs4.WriteLT, uint64(l.minor)<<40, 2) })
		if err := l.locks.Unlock(0, toEOF); err != nil {
			t.Error(err)
		}
	}
	for i, l := range all {
		for _, off := range append(l.granted, l.unknown...) {
			if test(off) {
				t.Fatalf("owner %d (4.%d) gave %#x back, and it is held", i, l.minor, off)
			}
		}
	}
	s.alive()
}

// toEOF is the length of a range that ends with the file.
const toEOF = ^uint64(0)
