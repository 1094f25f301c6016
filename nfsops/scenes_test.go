package nfsops_test

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

var every = []uint32{0, 1, 2}

func openOp(s *stage, a client.OpenArgs) client.Op {
	if s.owner == nil {
		s.owner = client.NewOwner()
	}
	a.Owner = client.Owner{ClientID: s.ClientID, Name: s.owner.Name}
	a.Seqid = s.owner.Seqid
	return client.Open(a)
}

// rerun are scenes whose second run does no harm, so that nothing is kept of them: another gateway answers with
// another write verifier.
var rerun = map[string]bool{"write": true, "write unstable": true, "commit": true, "allocate": true, "deallocate": true, "copy": true, "clone": true}

var scenes = []scene{
	{"mkdir", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), client.Mkdir("d"), client.GetFH(), client.GetAttr(nfs4.AttrFileID)}
	}, func(s *stage, p *client.Reply) error {
		return exists(s, "d")
	}},
	{"symlink", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), client.Symlink("l", "target"), client.GetFH()}
	}, func(s *stage, p *client.Reply) error { return exists(s, "l") }},
	special("fifo", nfs4.TypeFIFO, unix.S_IFIFO),
	special("socket", nfs4.TypeSock, unix.S_IFSOCK),
	special("character device", nfs4.TypeChr, unix.S_IFCHR),
	special("block device", nfs4.TypeBlk, unix.S_IFBLK),
	{"two changes", every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), client.Mkdir("d"), client.GetFH(), client.Mkdir("e"), client.PutFH(s.root), client.SaveFH(), client.Rename("d", "f")}
	}, func(s *stage, p *client.Reply) error { return errors.Join(exists(s, "f/e"), absent(s, "d")) }},
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
	{"open exclusive with attributes", []uint32{1, 2}, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), openOp(s, client.OpenArgs{
			Access: nfs4.ShareAccessBoth, Deny: nfs4.ShareDenyWrite, How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive41, Verifier: nfs4.Verifier{1, 2, 3},
			Attrs: new(client.Attrs).SetMode(0o640), Name: "f",
		}), client.GetFH(), client.GetAttr(nfs4.AttrMode)}
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
		f, err := s.other.Open(client.NewOwner(), s.root, client.OpenArgs{Access: nfs4.ShareAccessBoth, Deny: nfs4.ShareDenyBoth, Name: "f"})
		if err != nil {
			return fmt.Errorf("the file is still open: %w", err)
		}
		return f.Close()
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
	{"open confirm", []uint32{0}, func(s *stage) []client.Op {
		s.touch("f", "x")
		p, err := client.Check(s.Compound(client.PutFH(s.root), openOp(s, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"}), client.GetFH()))
		s.must(err)
		s.owner.Seqid++
		return []client.Op{client.PutFH(client.Get[client.GetFHRes](p).FH), client.OpenConfirm(client.Get[client.OpenRes](p).Stateid, s.owner.Seqid)}
	}, func(s *stage, p *client.Reply) error {
		_, err := client.Check(s.Compound(client.PutFH(s.fh("f")), client.Close(s.owner.Seqid+1, client.Get[client.OpenConfirmRes](p).Stateid)))
		return err
	}},
	{"release lock owner", []uint32{0}, func(s *stage) []client.Op {
		s.open("f")
		s.lock(0, 5)
		s.must(s.locks.Unlock(0, 5))
		return []client.Op{client.ReleaseLockOwner(client.Owner{ClientID: s.ClientID, Name: s.locks.Owner.Name})}
	}, func(s *stage, p *client.Reply) error {
		// The owner is new to the server again (RFC 7530 §16.37.4).
		s.locks = nil
		s.lock(0, 5)
		return s.denied("f", 0, 1)
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
	{"setxattr replacing", []uint32{2}, func(s *stage) []client.Op {
		s.touch("f", "x")
		s.must(unix.Setxattr(s.path("f"), "user.color", []byte("red"), 0))
		return []client.Op{client.PutFH(s.fh("f")), client.SetXattr(nfs4.SetXattrReplace, "color", []byte("blue"))}
	}, func(s *stage, p *client.Reply) error {
		var b [16]byte
		n, err := unix.Getxattr(s.path("f"), "user.color", b[:])
		if err == nil && string(b[:n]) != "blue" {
			err = fmt.Errorf("value is %q", b[:n])
		}
		return err
	}},
	{"write", every, func(s *stage) []client.Op {
		s.open("f")
		return []client.Op{client.PutFH(s.file.FH), client.Write(s.file.Stateid, 3, nfs4.FileSync, []byte("abc")), client.GetAttr(nfs4.AttrSize)}
	}, content("f", "\x00\x00\x00abc")},
	{"write unstable", every, func(s *stage) []client.Op {
		s.open("f")
		return []client.Op{client.PutFH(s.file.FH), client.Write(s.file.Stateid, 0, nfs4.Unstable, []byte("abc"))}
	}, content("f", "abc")},
	{"commit", every, func(s *stage) []client.Op {
		s.open("f")
		_, err := s.file.Write(0, nfs4.Unstable, []byte("abc"))
		s.must(err)
		return []client.Op{client.PutFH(s.file.FH), client.Commit(0, 0)}
	}, content("f", "abc")},
	{"allocate", []uint32{2}, func(s *stage) []client.Op {
		s.open("f")
		return []client.Op{client.PutFH(s.file.FH), client.Allocate(s.file.Stateid, 1, 3)}
	}, content("f", "\x00\x00\x00\x00")},
	{"deallocate", []uint32{2}, func(s *stage) []client.Op {
		s.open("f")
		_, err := s.file.Write(0, nfs4.FileSync, []byte("abcd"))
		s.must(err)
		return []client.Op{client.PutFH(s.file.FH), client.Deallocate(s.file.Stateid, 1, 2)}
	}, content("f", "a\x00\x00d")},
	{"copy", []uint32{2}, func(s *stage) []client.Op {
		from, to := s.two("abcd")
		return []client.Op{client.PutFH(from.FH), client.SaveFH(), client.PutFH(to.FH),
			client.Copy(client.CopyArgs{Src: from.Stateid, Dst: to.Stateid, SrcOffset: 1, DstOffset: 2, Count: 2, Consecutive: true, Synchronous: true})}
	}, content("to", "\x00\x00bc")},
	{"clone", []uint32{2}, func(s *stage) []client.Op {
		from, to := s.two("abcd")
		if !clones(s.path("from"), s.path("to")) {
			s.t.Skip("the file system of the test does not share ranges between files")
		}
		return []client.Op{client.PutFH(from.FH), client.SaveFH(), client.PutFH(to.FH), client.Clone(from.Stateid, to.Stateid, 0, 0, 0)}
	}, content("to", "abcd")},
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

// special is the scene of CREATE of an object that is neither a file nor a directory.
func special(name string, typ nfs4.FileType, mode uint32) scene {
	return scene{name, every, func(s *stage) []client.Op {
		return []client.Op{client.PutFH(s.root), client.Create(client.CreateArgs{Type: typ, Name: "p", Major: 1, Minor: 3, Attrs: new(client.Attrs).SetMode(0o600)})}
	}, func(s *stage, p *client.Reply) error {
		var st unix.Stat_t
		if err := unix.Lstat(s.path("p"), &st); err != nil {
			return err
		}
		if st.Mode != mode|0o600 {
			return fmt.Errorf("its mode is %o", st.Mode)
		}
		return nil
	}}
}

// content checks what is in a file.
func content(name, want string) func(*stage, *client.Reply) error {
	return func(s *stage, _ *client.Reply) error {
		b, err := os.ReadFile(s.path(name))
		if err == nil && string(b) != want {
			err = fmt.Errorf("content is %q, want %q", b, want)
		}
		return err
	}
}

// two opens two files for COPY and CLONE.
func (s *stage) two(text string) (from, to *client.OpenFile) {
	s.t.Helper()
	from, err := s.CreateFile(s.root, "from")
	s.must(err)
	_, err = from.Write(0, nfs4.FileSync, []byte(text))
	s.must(err)
	to, err = s.CreateFile(s.root, "to")
	s.must(err)
	return from, to
}

// clones says whether two files can share a range.
func clones(from, to string) bool {
	f, err := os.Open(from)
	if err != nil {
		return false
	}
	defer f.Close()
	g, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	defer g.Close()
	defer g.Truncate(0)
	return unix.IoctlFileClone(int(g.Fd()), int(f.Fd())) == nil
}
