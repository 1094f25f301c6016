package nfsops_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A scene is one operation that must not happen twice.
type scene struct {
	name   string
	minors []uint32

	// prepare sets the stage and returns the operations of the request.
	prepare func(s *stage) []client.Op

	// once checks, after the request succeeded, that it had its effect exactly
	// once. Every effect that could show twice must be looked at.
	once func(s *stage, p *client.Reply) error
}

// A stage is where a scene is played.
type stage struct {
	*world
	*client.Client
	root  client.FH
	other *client.Client // a second client, for conflicts
	owner *client.StateOwner
	file  *client.OpenFile
	locks *client.Locks
	ino   uint64
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) inode(name string) uint64 {
	var st syscall.Stat_t
	if syscall.Lstat(s.path(name), &st) != nil {
		return 0
	}
	return st.Ino
}

func (s *stage) touch(name, content string) {
	s.t.Helper()
	s.must(os.WriteFile(s.path(name), []byte(content), 0o644))
	s.ino = s.inode(name)
}

func (s *stage) fh(name string) client.FH {
	s.t.Helper()
	fh, err := s.LookupFH(s.root, name)
	s.must(err)
	return fh
}

// open opens a file for reading and writing before the request.
func (s *stage) open(name string) {
	s.t.Helper()
	var err error
	s.file, err = s.CreateFile(s.root, name)
	s.must(err)
	s.owner = s.file.Owner
}

func (s *stage) lock(offset, length uint64) {
	s.t.Helper()
	if s.locks == nil {
		s.locks = s.file.Locks(client.NewOwner())
	}
	s.must(s.locks.Lock(nfs4.WriteLT, offset, length))
}

// denied says whether a second client may not lock a range.
func (s *stage) denied(name string, offset, length uint64) error {
	f, err := s.other.CreateFile(s.root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := f.Locks(client.NewOwner()).Test(nfs4.WriteLT, offset, length)
	if err != nil {
		return err
	}
	if d == nil {
		return errors.New("the lock is not held")
	}
	return nil
}

func (s *stage) free(name string, offset, length uint64) error {
	if s.denied(name, offset, length) == nil {
		return errors.New("the range is still locked")
	}
	return nil
}

func exists(s *stage, name string) error {
	_, err := os.Lstat(s.path(name))
	return err
}

func absent(s *stage, name string) error {
	if exists(s, name) == nil {
		return fmt.Errorf("%s is still there", name)
	}
	return nil
}

func nlink(s *stage, name string, want uint64) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(s.path(name), &st); err != nil {
		return err
	}
	if uint64(st.Nlink) != want {
		return fmt.Errorf("%s has %d links, want %d", name, st.Nlink, want)
	}
	return nil
}

var every = []uint32{0, 1, 2}

func openOp(s *stage, a client.OpenArgs) client.Op {
	if s.owner == nil {
		s.owner = client.NewOwner()
	}
	a.Owner = client.Owner{ClientID: s.ClientID, Name: s.owner.Name}
	a.Seqid = s.owner.Seqid
	return client.Open(a)
}

var scenes = []scene{
	{"mkdir", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), client.Mkdir("d"), client.GetFH(), client.GetAttr(nfs4.AttrFileID)}
	}, func(s *stage, p *client.Reply) error {
		return exists(s, "d")
	}},
	{"symlink", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), client.Symlink("l", "target"), client.GetFH()}
	}, func(s *stage, p *client.Reply) error { return exists(s, "l") }},
	{"mknod", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), client.Create(client.CreateArgs{Type: nfs4.TypeFIFO, Name: "p", Attrs: new(client.Attrs).SetMode(0o600)})}
	}, func(s *stage, p *client.Reply) error { return exists(s, "p") }},
	{"remove", every, func(s *stage) []client.Op {
		s.touch("f", "x")
		return []client.Op{client.PutFH(s.root), client.Remove("f")}
	}, func(s *stage, p *client.Reply) error { return absent(s, "f") }},
	{"rmdir", every, func(s *stage) []client.Op {
		s.must(os.Mkdir(s.path("d"), 0o755))
		return []client.Op{client.PutFH(s.root), client.Remove("d"), client.GetAttr(nfs4.AttrChange)}
	}, func(s *stage, p *client.Reply) error { return absent(s, "d") }},
	{"rename", every, func(s *stage) []client.Op {
		s.touch("a", "x")
		return []client.Op{client.PutFH(s.root), client.SaveFH(), client.PutFH(s.root), client.Rename("a", "b")}
	}, func(s *stage, p *client.Reply) error {
		if s.inode("b") != s.ino {
			return errors.New("b is another file")
		}
		return absent(s, "a")
	}},
	{"rename over", every, func(s *stage) []client.Op {
		s.touch("b", "old")
		s.touch("a", "new")
		return []client.Op{client.PutFH(s.root), client.SaveFH(), client.PutFH(s.root), client.Rename("a", "b"), client.GetAttr(nfs4.AttrChange)}
	}, func(s *stage, p *client.Reply) error {
		if s.inode("b") != s.ino {
			return errors.New("b is another file")
		}
		return absent(s, "a")
	}},
	{"link", every, func(s *stage) []client.Op {
		s.touch("a", "x")
		return []client.Op{client.PutFH(s.fh("a")), client.SaveFH(), client.PutFH(s.root), client.Link("b")}
	}, func(s *stage, p *client.Reply) error { return nlink(s, "a", 2) }},
	{"setattr mode", every, func(s *stage) []client.Op {
		s.touch("a", "x")
		return []client.Op{client.PutFH(s.fh("a")), client.SetAttr(nfs4.Stateid{}, new(client.Attrs).SetMode(0o600)), client.GetAttr(nfs4.AttrMode)}
	}, func(s *stage, p *client.Reply) error {
		st, err := os.Stat(s.path("a"))
		if err == nil && st.Mode().Perm() != 0o600 {
			err = fmt.Errorf("mode is %v", st.Mode())
		}
		return err
	}},
	{"setattr size", every, func(s *stage) []client.Op {
		s.touch("a", "12345")
		return []client.Op{client.PutFH(s.fh("a")), client.SetAttr(nfs4.Stateid{}, new(client.Attrs).SetSize(2))}
	}, func(s *stage, p *client.Reply) error {
		b, err := os.ReadFile(s.path("a"))
		if err == nil && string(b) != "12" {
			err = fmt.Errorf("content is %q", b)
		}
		return err
	}},
	{"open guarded", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), openOp(s, client.OpenArgs{
			Access: nfs4.ShareAccessBoth, Deny: nfs4.ShareDenyWrite, How: nfs4.OpenCreate, Mode: nfs4.CreateGuarded, Attrs: new(client.Attrs).SetMode(0o640), Name: "f",
		}), client.GetFH(), client.GetAttr(nfs4.AttrFileID)}
	}, opened("f")},
	{"open exclusive", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), openOp(s, client.OpenArgs{
			Access: nfs4.ShareAccessBoth, Deny: nfs4.ShareDenyWrite, How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive, Verifier: nfs4.Verifier{1, 2, 3}, Name: "f",
		}), client.GetFH()}
	}, opened("f")},
	{"open unchecked", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), openOp(s, client.OpenArgs{
			Access: nfs4.ShareAccessBoth, Deny: nfs4.ShareDenyWrite, How: nfs4.OpenCreate, Mode: nfs4.CreateUnchecked, Attrs: new(client.Attrs).SetMode(0o640), Name: "f",
		}), client.GetFH()}
	}, opened("f")},
	{"open truncating", every, func(s *stage) []client.Op {
		s.touch("f", "old content")
		return []client.Op{client.PutFH(s.root), openOp(s, client.OpenArgs{
			Access: nfs4.ShareAccessBoth, Deny: nfs4.ShareDenyWrite, How: nfs4.OpenCreate, Mode: nfs4.CreateUnchecked, Attrs: new(client.Attrs).SetSize(0), Name: "f",
		}), client.GetFH()}
	}, func(s *stage, p *client.Reply) error {
		if st, err := os.Stat(s.path("f")); err != nil || st.Size() != 0 {
			return fmt.Errorf("not truncated: %v %v", st, err)
		}
		return opened("f")(s, p)
	}},
	{"open existing", every, func(s *stage) []client.Op {
		s.touch("f", "x")
		return []client.Op{client.PutFH(s.root), openOp(s, client.OpenArgs{Access: nfs4.ShareAccessBoth, Deny: nfs4.ShareDenyWrite, Name: "f"}), client.GetFH()}
	}, opened("f")},
	{"close", every, func(s *stage) []client.Op {
		s.open("f")
		return []client.Op{client.PutFH(s.file.FH), client.Close(s.owner.Seqid, s.file.Stateid)}
	}, func(s *stage, p *client.Reply) error {
		if _, err := s.file.Read(0, 1); err == nil {
			return errors.New("the stateid still reads")
		}
		return nil
	}},
	{"downgrade", every, func(s *stage) []client.Op {
		s.open("f")
		p, err := client.Check(s.Compound(client.PutFH(s.root), openOp(s, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})))
		s.must(err)
		s.owner.Seqid++
		s.file.Stateid = client.Get[client.OpenRes](p).Stateid
		return []client.Op{client.PutFH(s.file.FH), client.OpenDowngrade(s.file.Stateid, s.owner.Seqid, nfs4.ShareAccessRead, nfs4.ShareDenyNone), client.GetAttr(nfs4.AttrSize)}
	}, func(s *stage, p *client.Reply) error {
		got := client.Get[client.OpenDowngradeRes](p).Stateid
		if got.Seqid != s.file.Stateid.Seqid+1 {
			return fmt.Errorf("stateid went from %v to %v", s.file.Stateid, got)
		}
		return nil
	}},
	{"lock", every, func(s *stage) []client.Op {
		s.open("f")
		return []client.Op{client.PutFH(s.file.FH), client.Lock(client.LockArgs{
			Type: nfs4.WriteLT, Offset: 10, Length: 5, New: true, OpenSeqid: s.owner.Seqid, OpenStateid: s.file.Stateid,
			Owner: client.Owner{ClientID: s.ClientID, Name: "locker"},
		})}
	}, func(s *stage, p *client.Reply) error { return s.denied("f", 12, 1) }},
	{"lock again", every, func(s *stage) []client.Op {
		s.open("f")
		s.lock(0, 5)
		return []client.Op{client.PutFH(s.file.FH), client.Lock(client.LockArgs{
			Type: nfs4.WriteLT, Offset: 10, Length: 5, LockStateid: s.locks.Stateid, LockSeqid: s.locks.Owner.Seqid,
		})}
	}, func(s *stage, p *client.Reply) error {
		if got := client.Get[client.LockRes](p).Stateid; got.Seqid != s.locks.Stateid.Seqid+1 {
			return fmt.Errorf("stateid went from %v to %v", s.locks.Stateid, got)
		}
		return errors.Join(s.denied("f", 12, 1), s.denied("f", 0, 1))
	}},
	{"unlock", every, func(s *stage) []client.Op {
		s.open("f")
		s.lock(0, 100)
		return []client.Op{client.PutFH(s.file.FH), client.LockU(nfs4.WriteLT, s.locks.Owner.Seqid, s.locks.Stateid, 10, 10)}
	}, func(s *stage, p *client.Reply) error {
		if got := client.Get[client.LockURes](p).Stateid; got.Seqid != s.locks.Stateid.Seqid+1 {
			return fmt.Errorf("stateid went from %v to %v", s.locks.Stateid, got)
		}
		return errors.Join(s.free("f", 10, 10), s.denied("f", 0, 1), s.denied("f", 20, 1))
	}},
	{"free stateid", []uint32{1, 2}, func(s *stage) []client.Op {
		s.open("f")
		s.lock(0, 5)
		s.must(s.locks.Unlock(0, 5))
		return []client.Op{client.FreeStateid(s.locks.Stateid)}
	}, func(s *stage, p *client.Reply) error { return nil }},
	{"setxattr", []uint32{2}, func(s *stage) []client.Op {
		s.touch("f", "x")
		return []client.Op{client.PutFH(s.fh("f")), client.SetXattr(nfs4.SetXattrCreate, "color", []byte("red"))}
	}, func(s *stage, p *client.Reply) error {
		var b [16]byte
		n, err := unix.Getxattr(s.path("f"), "user.color", b[:])
		if err == nil && string(b[:n]) != "red" {
			err = fmt.Errorf("value is %q", b[:n])
		}
		return err
	}},
	{"removexattr", []uint32{2}, func(s *stage) []client.Op {
		s.touch("f", "x")
		s.must(unix.Setxattr(s.path("f"), "user.color", []byte("red"), 0))
		return []client.Op{client.PutFH(s.fh("f")), client.RemoveXattr("color")}
	}, func(s *stage, p *client.Reply) error {
		if _, err := unix.Getxattr(s.path("f"), "user.color", nil); err == nil {
			return errors.New("the attribute is still there")
		}
		return nil
	}},
	{"write", every, func(s *stage) []client.Op {
		s.open("f")
		return []client.Op{client.PutFH(s.file.FH), client.Write(s.file.Stateid, 3, nfs4.FileSync, []byte("abc")), client.GetAttr(nfs4.AttrSize)}
	}, func(s *stage, p *client.Reply) error {
		b, err := os.ReadFile(s.path("f"))
		if err == nil && string(b) != "\x00\x00\x00abc" {
			err = fmt.Errorf("content is %q", b)
		}
		return err
	}},
}

// opened checks that an OPEN left exactly one open of a file: it denies others,
// reads and writes, and closing it once frees the name.
func opened(name string) func(*stage, *client.Reply) error {
	return func(s *stage, p *client.Reply) error {
		if err := exists(s, name); err != nil {
			return err
		}
		res := client.Get[client.OpenRes](p)
		fh := client.Get[client.GetFHRes](p).FH
		seq := s.owner.Seqid + 1
		sid := res.Stateid
		if sid.Seqid != 1 {
			return fmt.Errorf("stateid %v of a first open", sid)
		}
		if res.Flags&nfs4.OpenResultConfirm != 0 {
			q, err := client.Check(s.Compound(client.PutFH(fh), client.OpenConfirm(sid, seq)))
			if err != nil {
				return fmt.Errorf("OPEN_CONFIRM: %w", err)
			}
			seq++
			sid = client.Get[client.OpenConfirmRes](q).Stateid
		}
		if _, err := s.other.CreateFile(s.root, name); err == nil {
			return errors.New("a second client opened what is denied to it")
		}
		if _, err := client.Check(s.Compound(client.PutFH(fh), client.Write(sid, 0, nfs4.FileSync, []byte("hello")))); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if _, err := client.Check(s.Compound(client.PutFH(fh), client.Close(seq, sid))); err != nil {
			return fmt.Errorf("close: %w", err)
		}
		f, err := s.other.CreateFile(s.root, name)
		if err != nil {
			return fmt.Errorf("after the only close: %w", err)
		}
		return f.Close()
	}
}

// TestCrashAtEveryStep holds guarantee G3: for each operation that changes
// something, the gateway dies at each of its effects in turn and starts again;
// the client sends the same request again. It succeeds, and its effect is
// there once. RFC 8881 §2.10.6.1: "the replier … executes a request exactly
// once".
func TestCrashAtEveryStep(t *testing.T) {
	for _, sc := range scenes {
		for _, minor := range sc.minors {
			t.Run(fmt.Sprintf("%s/4.%d", sc.name, minor), func(t *testing.T) {
				total := playScene(t, &sc, minor, 0, 0)
				for at := 1; at <= total; at++ {
					for seed := range uint64(3) {
						playScene(t, &sc, minor, at, seed)
					}
				}
				playScene(t, &sc, minor, -1, 0) // after the reply was sent
			})
		}
	}
}

// never is an effect that is not reached: effects are only counted.
const never = 1 << 30

// playScene plays a scene with a crash at an effect, none at 0, after the reply at -1, and
// returns how many effects the request had.
func playScene(t *testing.T, sc *scene, minor uint32, at int, seed uint64) int {
	t.Helper()
	w := newWorld(t)
	s := &stage{world: w, Client: w.client(minor), other: w.client(minor)}
	var err error
	s.root, err = s.Root()
	s.must(err)
	ops := sc.prepare(s)

	var q *client.Request
	var slot *client.Slot
	if minor > 0 {
		slot = s.Session.Acquire()
		q = slot.Request(true, ops...)
	} else {
		q = client.NewCompound(s.Conn().Cred(), 0, "", ops...)
		q.SetXID(s.Conn().NextXID())
	}
	send := func() (*client.Reply, error) {
		if minor > 0 {
			return slot.Send(s.Conn(), q)
		}
		return s.Conn().Do(q)
	}
	where := fmt.Sprintf("crash at effect %d, seed %d", at, seed)
	if at > 0 {
		w.arm(at)
	} else {
		w.arm(never)
	}
	p, err := send()
	effects := w.seen()
	if at > 0 && err == nil {
		t.Fatalf("%s: the dead gateway answered %v", where, p)
	}
	if at != 0 {
		w.restart(seed)
		s.must(s.Reconnect(context.Background()))
		s.must(s.other.Reconnect(context.Background()))
		if at < 0 && minor > 0 {
			slot.Seq-- // it is the same request that is sent again
		}
		p, err = send()
	}
	w.arm(0)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if p.Status != nfs4.OK {
		t.Fatalf("%s: sent again, the request got %v", where, p)
	}
	if slot != nil {
		s.Session.Release(slot)
	}
	if err := sc.once(s, p); err != nil {
		t.Fatalf("%s: %v; reply %v", where, err, p)
	}
	return effects
}
