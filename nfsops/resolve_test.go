package nfsops

import (
	"testing"
	"time"

	"holdfast/export"
	"holdfast/export/exports"
	"holdfast/export/posix"
	"holdfast/internal/nfs4"
	"holdfast/statesync"
)

// Whoever finds a SETATTR begun by a gateway that died tells from the object
// whether it took place.
func TestResolvingSetAttr(t *testing.T) {
	fs, err := posix.New(t.TempDir(), posix.Options{Async: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	e := &exports.Export{ID: 1, Path: "/", FS: fs, Squash: exports.SquashNone}
	set, err := exports.New([16]byte{1}, []*exports.Export{e})
	if err != nil {
		t.Fatal(err)
	}
	srv := &Server{exports: set}
	root := &export.Creds{}
	mode, size, uid := uint32(0o4711), uint64(3), uint32(77)
	given := time.Unix(1e9, 987654321)
	for name, change := range map[string]settable{
		"mode":  {set: export.SetAttr{Mode: &mode}},
		"size":  {set: export.SetAttr{Size: &size}},
		"owner": {set: export.SetAttr{UID: &uid, GID: &uid}},
		"now":   {set: export.SetAttr{MtimeHow: export.TimeNow, AtimeHow: export.TimeNow}},
		"given": {set: export.SetAttr{MtimeHow: export.TimeGiven, Mtime: given, AtimeHow: export.TimeGiven, Atime: given}},
		"all": {set: export.SetAttr{Mode: &mode, Size: &size, UID: &uid, MtimeHow: export.TimeGiven, Mtime: given},
			haveACL: true, acl: modeACL(mode)},
	} {
		t.Run(name, func(t *testing.T) {
			var a export.Attr
			h, _, _, err := fs.Make(root, fs.Root(), name, &export.MakeArgs{Type: export.Regular}, false, &a)
			if err != nil {
				t.Fatal(err)
			}
			c := &compound{srv: srv}
			c.cur.put(c, e, h)
			evidence, err := c.unset(&change)()
			if err != nil {
				t.Fatal(err)
			}
			expect := func(when string, want statesync.Outcome) {
				t.Helper()
				got, err := srv.resolve(t.Context(), &statesync.Intent{Op: nfs4.OpSetAttr, Evidence: evidence})
				if err != nil || got != want {
					t.Errorf("%s: %v, %v; want %v", when, got, err, want)
				}
			}
			expect("before", statesync.OutcomeNotDone)
			if err := fs.Setattr(root, h, nil, &change.set); err != nil {
				t.Fatal(err)
			}
			expect("after", statesync.OutcomeDone)
			for n := range len(evidence) {
				cut := &statesync.Intent{Op: nfs4.OpSetAttr, Evidence: evidence[:n]}
				if out, err := srv.resolve(t.Context(), cut); err == nil && out == statesync.OutcomeDone {
					t.Fatalf("%d bytes of evidence are enough to believe it", n)
				}
			}
			if change.set.Mode != nil {
				other := uint32(0o600)
				if err := fs.Setattr(root, h, nil, &export.SetAttr{Mode: &other}); err != nil {
					t.Fatal(err)
				}
				expect("after another change", statesync.OutcomeNotDone)
			}
			if _, err := fs.Remove(root, fs.Root(), name); err != nil {
				t.Fatal(err)
			}
			expect("when the object is no more", statesync.OutcomeNotDone)
		})
	}
}

// A list that means the same counts as the list, however the file system keeps
// it.
func TestResolvingAnACL(t *testing.T) {
	list := []export.ACLEntry{
		{Tag: export.ACLUserObj, Perm: 6}, {Tag: export.ACLUser, ID: 7, Perm: 7}, {Tag: export.ACLGroupObj, Perm: 4},
		{Tag: export.ACLMask, Perm: 6}, {Tag: export.ACLOther},
	}
	fs, err := posix.New(t.TempDir(), posix.Options{Async: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	if err := fs.SetACL(&export.Creds{}, fs.Root(), false, list); err != nil {
		t.Skipf("the file system of the test has no ACLs: %v", err)
	}
	o := &object{exp: &exports.Export{FS: fs}, h: fs.Root()}
	a := &export.Attr{Type: export.Directory}
	for _, test := range []struct {
		access, defaults []export.ACLEntry
		want             bool
	}{
		{list, nil, true},
		{effective(list), nil, true},
		{modeACL(0o640), nil, false},
		{list, list, false},
	} {
		if got, err := hasLists(o, a, test.access, test.defaults); err != nil || got != test.want {
			t.Errorf("%v, %v: %v, %v", test.access, test.defaults, got, err)
		}
	}
}
