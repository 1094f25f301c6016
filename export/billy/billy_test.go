package billy

import (
	"testing"

	gobilly "github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/osfs"

	"holdfast/export"
	"holdfast/export/exporttest"
)

const owner, group = 1234, 5678

func trees(make func(t testing.TB) gobilly.Filesystem) func(t testing.TB) exporttest.Tree {
	return func(t testing.TB) exporttest.Tree {
		opt := Options{StateDir: t.TempDir(), Name: "/data/x", UID: owner, GID: group}
		bfs := make(t)
		fs, err := New(bfs, opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fs.Close() })
		return exporttest.Tree{
			FS: fs, Owner: export.Creds{UID: owner, GID: group},
			Reopen: func() (export.FS, error) {
				if err := fs.Close(); err != nil {
					return nil, err
				}
				fs, err = New(bfs, opt)
				return fs, err
			},
		}
	}
}

func lacks() map[exporttest.Feature]string {
	l := map[exporttest.Feature]string{exporttest.Unlinked: "billy file systems know paths only"}
	for _, f := range []exporttest.Feature{
		exporttest.HardLinks, exporttest.Devices, exporttest.Special, exporttest.Chown, exporttest.Sparse,
		exporttest.Allocate, exporttest.Copy, exporttest.Xattr, exporttest.ACL, exporttest.HostRename,
	} {
		l[f] = "billy has none"
	}
	return l
}

func with(l map[exporttest.Feature]string, f exporttest.Feature, why string) map[exporttest.Feature]string {
	l[f] = why
	return l
}

func TestConformanceMemfs(t *testing.T) {
	exporttest.Run(t, exporttest.Config{
		New:   trees(func(testing.TB) gobilly.Filesystem { return memfs.New() }),
		Lacks: lacks(), Entries: 2000,
	})
}

func TestConformanceOsfs(t *testing.T) {
	exporttest.Run(t, exporttest.Config{
		New:   trees(func(t testing.TB) gobilly.Filesystem { return osfs.New(t.TempDir()) }),
		Lacks: with(lacks(), exporttest.DeepPaths, "osfs gives paths to the kernel"), Entries: 1000,
	})
}

// Rights are those of the mode bits, with everything owned by one user.
func TestAccessByModeBits(t *testing.T) {
	tree := trees(func(testing.TB) gobilly.Filesystem { return memfs.New() })(t)
	fs := tree.FS.(*FS)
	mode := uint32(0o640)
	h, _, _, err := fs.Make(&tree.Owner, fs.Root(), "f", &export.MakeArgs{Type: export.Regular, Set: export.SetAttr{Mode: &mode}}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	const all = export.AccessRead | export.AccessModify | export.AccessExtend
	for _, c := range []struct {
		cred export.Creds
		want uint32
	}{
		{export.Creds{UID: owner}, all},
		{export.Creds{UID: 9, GID: group}, export.AccessRead},
		{export.Creds{UID: 9, Groups: []uint32{1, group}}, export.AccessRead},
		{export.Creds{UID: 9, GID: 9}, 0},
		{export.Creds{UID: 0, GID: 9}, all},
	} {
		if got, err := fs.Access(&c.cred, h, all); err != nil || got != c.want {
			t.Errorf("%+v: %#x %v, want %#x", c.cred, got, err, c.want)
		}
		if f, err := fs.Open(&c.cred, h, export.OpenWrite); (err == nil) != (c.want == all) {
			t.Errorf("%+v: open for writing: %v", c.cred, err)
		} else if err == nil {
			f.Close()
		}
	}
	if _, _, _, err := fs.Make(&export.Creds{UID: 9}, fs.Root(), "g", &export.MakeArgs{Type: export.Regular}, false, nil); err == nil {
		t.Error("made by who may not")
	}
}

// memfs takes memory for holes: a size beyond the bound is refused.
func TestSizesAreBounded(t *testing.T) {
	tree := trees(func(testing.TB) gobilly.Filesystem { return memfs.New() })(t)
	fs := tree.FS.(*FS)
	h, f, _, err := fs.Make(&tree.Owner, fs.Root(), "f", &export.MakeArgs{Type: export.Regular}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 1<<40); err == nil {
		t.Error("written at 1 TiB")
	}
	if _, err := f.WriteAt([]byte("x"), 1<<63-1); err == nil {
		t.Error("written at the end of all")
	}
	size := uint64(1 << 40)
	if err := fs.Setattr(&tree.Owner, h, nil, &export.SetAttr{Size: &size}); err == nil {
		t.Error("extended to 1 TiB")
	}
}
