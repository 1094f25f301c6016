package faults_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A change is an operation that changes something. It gets the directory, or
// the file, as the current and the saved filehandle.
type change struct {
	what   string
	onFile bool
	from   uint32 // the minor version from which on it exists
	ops    []client.Op
}

// changes are all operations that change something, OPEN apart. The directory
// has a file "f"; sid is what the file is written by.
func changes(sid nfs4.Stateid) []change {
	var a nfs4.Stateid // the anonymous one
	return []change{
		{"WRITE", true, 0, []client.Op{client.Write(sid, 0, nfs4.FileSync, []byte("x"))}},
		{"WRITE of nothing", true, 0, []client.Op{client.Write(sid, 0, nfs4.FileSync, nil)}},
		{"COMMIT", true, 0, []client.Op{client.Commit(0, 0)}},
		{"SETATTR of mode", true, 0, []client.Op{client.SetAttr(a, new(client.Attrs).SetMode(0o600))}},
		{"SETATTR of size", true, 0, []client.Op{client.SetAttr(sid, new(client.Attrs).SetSize(0))}},
		{"SETATTR of times", true, 0, []client.Op{client.SetAttr(a, new(client.Attrs).SetModifyTime(nil))}},
		{"SETATTR of owner", true, 0, []client.Op{client.SetAttr(a, new(client.Attrs).SetOwner("7"))}},
		{"CREATE of a directory", false, 0, []client.Op{client.Mkdir("new")}},
		{"CREATE of a link", false, 0, []client.Op{client.Symlink("new", "x")}},
		{"CREATE of a fifo", false, 0, []client.Op{client.Create(client.CreateArgs{Type: nfs4.TypeFIFO, Name: "new", Attrs: new(client.Attrs).SetMode(0o600)})}},
		{"REMOVE", false, 0, []client.Op{client.Remove("f")}},
		{"RENAME", false, 0, []client.Op{client.Rename("f", "new")}},
		{"LINK", false, 0, nil}, // the caller has its own way with two filehandles
		{"ALLOCATE", true, 2, []client.Op{client.Allocate(sid, 0, 1<<20)}},
		{"DEALLOCATE", true, 2, []client.Op{client.Deallocate(sid, 0, 1)}},
		{"COPY", true, 2, []client.Op{client.Copy(client.CopyArgs{Src: a, Dst: sid, Count: 1, DstOffset: 1 << 16, Synchronous: true})}},
		{"CLONE", true, 2, []client.Op{client.Clone(a, sid, 0, 0, 0)}},
		{"SETXATTR", true, 2, []client.Op{client.SetXattr(nfs4.SetXattrEither, "user", []byte("v"))}},
		{"REMOVEXATTR", true, 2, []client.Op{client.RemoveXattr("kept")}},
	}
}

// A file that vanished on the host is NFS4ERR_STALE to whoever has its
// filehandle, also while it is open at a client; its name is NFS4ERR_NOENT, and
// nothing else is touched.
func TestVanishedFile(t *testing.T) {
	needRoot(t)
	eachMinor(t, func(t *testing.T, minor uint32) {
		s := serve(t, "", "")
		c := s.client(minor, 0)
		dir := root(t, c)
		f, other := create(t, c, dir, "f"), create(t, c, dir, "other")
		if _, err := f.Write(0, nfs4.FileSync, []byte("data")); err != nil {
			t.Fatal(err)
		}
		closed := create(t, c, dir, "closed")
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
		sub, err := c.MkdirFH(dir, "sub")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"closed", "sub"} {
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		stale := func(what string, fh client.FH, ops ...client.Op) {
			t.Helper()
			gives(t, c, what+" of a vanished object", nfs4.ErrStale, append([]client.Op{client.PutFH(fh)}, ops...)...)
		}
		var a nfs4.Stateid
		stale("GETATTR", closed.FH, client.GetAttr(nfs4.AttrSize))
		stale("READ", closed.FH, client.Read(a, 0, 10))
		stale("ACCESS", closed.FH, client.Access(nfs4.AccessRead))
		stale("LOOKUP", sub, client.Lookup("x"))
		stale("READDIR", sub, client.ReadDir(client.ReadDirArgs{DirCount: 4096, MaxCount: 4096}))
		stale("LOOKUPP", sub, client.LookupP())
		for _, ch := range changes(a) {
			if ch.onFile && ch.from <= minor && ch.what != "COPY" && ch.what != "CLONE" {
				stale(ch.what, closed.FH, ch.ops...)
			}
		}
		if minor > 0 {
			_, err := c.Open(client.NewOwner(), closed.FH, client.OpenArgs{Access: nfs4.ShareAccessRead, Claim: nfs4.ClaimFH})
			is(t, "OPEN by handle of a vanished file", err, nfs4.ErrStale)
		}
		_, err = c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "closed"})
		is(t, "OPEN of a vanished name", err, nfs4.ErrNoEnt)
		_, err = c.Open(client.NewOwner(), sub, client.OpenArgs{
			Access: nfs4.ShareAccessBoth, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "x",
		})
		is(t, "OPEN that creates in a vanished directory", err, nfs4.ErrStale)
		stale("MKDIR", sub, client.Mkdir("x"))
		stale("REMOVE", sub, client.Remove("x"))

		// One that is open, and whose descriptor the gateway still has or lost by
		// its own end.
		if err := os.Remove(filepath.Join(s.dir, "f")); err != nil {
			t.Fatal(err)
		}
		s.kill()
		s.start()
		reconnect(t, c)
		stale("READ of an open file", f.FH, client.Read(f.Stateid, 0, 10))
		stale("WRITE of an open file", f.FH, client.Write(f.Stateid, 0, nfs4.FileSync, []byte("x")))
		stale("GETATTR of an open file", f.FH, client.GetAttr(nfs4.AttrSize))
		if err := f.Close(); err != nil {
			t.Errorf("CLOSE of a file that vanished: %v", err)
		}
		// A new file under the old name, perhaps with the old inode, is another.
		again := create(t, c, dir, "f")
		if string(again.FH) == string(f.FH) {
			t.Error("the filehandle of a vanished file is used again")
		}
		stale("GETATTR by the old handle", f.FH, client.GetAttr(nfs4.AttrSize))
		if _, err := other.Write(0, nfs4.FileSync, []byte("fine")); err != nil {
			t.Error(err)
		}
		s.alive()
	})
}

// A read-only export, and a file system that became read-only underneath:
// NFS4ERR_ROFS to whatever would change it, and reading goes on.
func TestReadOnly(t *testing.T) {
	needRoot(t)
	for _, export := range []bool{true, false} {
		name := "the file system"
		if export {
			name = "the export"
		}
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, "ext4", 24)
			content := pattern(3, 5000)
			for _, f := range []string{"f", "g"} {
				if err := os.WriteFile(filepath.Join(d.top, f), content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			run(t, "setfattr", "-n", "user.kept", "-v", "x", filepath.Join(d.top, "f"))
			before := listing(t, d.top)
			var args []string
			if export {
				args = append(args, "--read-only")
			}
			s := serve(t, d.top, "", args...)
			opens := make([]*client.OpenFile, 3)
			clients := make([]*client.Client, 3)
			for minor := range clients {
				clients[minor] = s.client(uint32(minor), 0)
				if !export {
					opens[minor] = create(t, clients[minor], root(t, clients[minor]), "g")
				}
			}
			if !export {
				for _, f := range opens { // a file that is open for writing is in the way
					if err := f.Close(); err != nil {
						t.Fatal(err)
					}
				}
				s.kill()
				d.readOnly()
				s.start()
				for _, c := range clients {
					reconnect(t, c)
				}
			}
			for minor, c := range clients {
				t.Run(fmt.Sprintf("4.%d", minor), func(t *testing.T) { testReadOnly(t, c, uint32(minor), export, content) })
			}
			if after := listing(t, d.top); after != before {
				t.Errorf("changed from\n%s\nto\n%s", before, after)
			}
			s.alive()
		})
	}
}

func testReadOnly(t *testing.T, c *client.Client, minor uint32, export bool, content []byte) {
	dir := root(t, c)
	f, err := c.Open(client.NewOwner(), dir, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "f"})
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range changes(nfs4.Stateid{}) {
		if ch.from > minor || ch.what == "COMMIT" && !export { // the kernel has nothing to write, and no objection
			continue
		}
		ops := []client.Op{client.PutFH(dir), client.SaveFH()}
		if ch.onFile {
			ops = []client.Op{client.PutFH(f.FH), client.SaveFH()}
		}
		if ch.what == "LINK" {
			ops, ch.ops = []client.Op{client.PutFH(f.FH), client.SaveFH(), client.PutFH(dir)}, []client.Op{client.Link("new")}
		}
		gives(t, c, ch.what, nfs4.ErrROFS, append(ops, ch.ops...)...)
	}
	for what, a := range map[string]client.OpenArgs{
		"OPEN for writing":                {Access: nfs4.ShareAccessWrite, Name: "f"},
		"OPEN for both":                   {Access: nfs4.ShareAccessBoth, Name: "f"},
		"OPEN that creates":               {Access: nfs4.ShareAccessRead, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetMode(0o644), Name: "new"},
		"OPEN that creates, GUARDED":      {Access: nfs4.ShareAccessRead, How: nfs4.OpenCreate, Mode: nfs4.CreateGuarded, Attrs: new(client.Attrs).SetMode(0o644), Name: "new"},
		"OPEN that creates, EXCLUSIVE":    {Access: nfs4.ShareAccessRead, How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive, Verifier: client.NewVerifier(), Name: "new"},
		"OPEN that truncates":             {Access: nfs4.ShareAccessBoth, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetSize(0), Name: "f"},
		"OPEN for reading that truncates": {Access: nfs4.ShareAccessRead, How: nfs4.OpenCreate, Attrs: new(client.Attrs).SetSize(0), Name: "f"},
	} {
		_, err := c.Open(client.NewOwner(), dir, a)
		is(t, what, err, nfs4.ErrROFS)
	}
	res, err := f.Read(0, 10_000)
	if err != nil || string(res.Data) != string(content) {
		t.Errorf("READ: %v", err)
	}
	l := f.Locks(client.NewOwner())
	if err := l.Lock(nfs4.ReadLT, 0, 10); err != nil {
		t.Errorf("LOCK for reading: %v", err)
	} else if err := l.Unlock(0, 10); err != nil {
		t.Error(err)
	}
	if list, err := c.List(dir, 8192, nfs4.AttrSize); err != nil || len(list) != 2 {
		t.Errorf("READDIR: %v, %v", list, err)
	}
	must(t, c, client.PutFH(f.FH), client.GetAttr(nfs4.AttrSize, nfs4.AttrMode))
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// listing tells names, modes, owners, sizes and times of a directory.
func listing(t *testing.T, dir string) string {
	t.Helper()
	return run(t, "find", dir, "-printf", "%P %m %u %s %T@ %n\n")
}
