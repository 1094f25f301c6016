package exporttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"holdfast/export"
)

// open0 gives a directory to everybody.
func (e *env) openDir(name string) []byte {
	e.Helper()
	d := e.dir(e.root(), name)
	e.must(e.m.Setattr(e.owner(), d, nil, &export.SetAttr{Mode: ptr(uint32(0o777))}), "chmod")
	return d
}

// fileOf makes a file that belongs to somebody else.
func (e *env) fileOf(cred *export.Creds, dir []byte, name string, mode uint32) []byte {
	e.Helper()
	return e.makeAs(cred, dir, name, &export.MakeArgs{Type: export.Regular, Set: export.SetAttr{Mode: ptr(mode)}})
}

var users = []Feature{Identities}

var accessChecks = []check{
	{name: "a new object belongs to its maker", needs: []Feature{Identities, Chown}, run: func(e *env) {
		d := e.openDir("d")
		for _, t := range []export.FileType{export.Regular, export.Directory, export.Symlink} {
			h := e.makeAs(alice(), d, string(rune('a'+t)), &export.MakeArgs{Type: t, Target: targetFor(t)})
			if a := e.attr(h); a.UID != alice().UID || a.GID != alice().GID {
				e.Errorf("%+v", a)
			}
		}
		e.must(e.m.Setattr(e.owner(), d, nil, &export.SetAttr{GID: ptr(uint32(777)), Mode: ptr(uint32(0o2777))}), "setgid")
		h := e.makeAs(alice(), d, "sub", &export.MakeArgs{Type: export.Directory})
		if a := e.attr(h); a.GID != 777 || a.Mode&0o2000 == 0 {
			e.Errorf("group of the directory is not inherited: %+v", a)
		}
	}},
	{name: "private files stay private", needs: []Feature{Identities, Chown}, run: func(e *env) {
		d := e.openDir("d")
		h := e.fileOf(alice(), d, "f", 0o600)
		f := e.open(alice(), h, export.OpenRead|export.OpenWrite)
		f.WriteAt([]byte("secret"), 0)
		for _, mode := range []export.OpenMode{export.OpenRead, export.OpenWrite, export.OpenRead | export.OpenWrite} {
			_, err := e.FS.Open(bob(), h, mode)
			e.want(err, "open by another", export.ErrAccess)
		}
		e.want(e.m.Setattr(bob(), h, nil, &export.SetAttr{Size: ptr(uint64(0))}), "truncate by another", export.ErrAccess)
		e.open(bob(), h, export.OpenRead|export.OpenGranted)
		private := e.makeAs(alice(), d, "p", &export.MakeArgs{Type: export.Directory, Set: export.SetAttr{Mode: ptr(uint32(0o700))}})
		e.fileOf(alice(), private, "x", 0o666)
		_, err := e.FS.Lookup(bob(), private, "x", nil)
		e.want(err, "lookup by another", export.ErrAccess)
		_, err = list(e.FS, bob(), private, 10)
		e.want(err, "readdir by another", export.ErrAccess)
		_, _, _, err = e.m.Make(bob(), private, "y", &export.MakeArgs{Type: export.Regular}, true, nil)
		e.want(err, "make by another", export.ErrAccess)
		_, err = e.m.Remove(bob(), private, "x")
		e.want(err, "remove by another", export.ErrAccess)
		_, _, err = e.m.Rename(bob(), private, "x", d, "x")
		e.want(err, "rename by another", export.ErrAccess)
	}},
	{name: "in a sticky directory only owners take names away", needs: []Feature{Identities, Chown}, run: func(e *env) {
		d := e.dir(e.root(), "tmp")
		e.must(e.m.Setattr(e.owner(), d, nil, &export.SetAttr{Mode: ptr(uint32(0o1777))}), "chmod")
		e.fileOf(alice(), d, "f", 0o666)
		_, err := e.m.Remove(bob(), d, "f")
		e.want(err, "remove", export.ErrPerm, export.ErrAccess)
		_, _, err = e.m.Rename(bob(), d, "f", d, "g")
		e.want(err, "rename", export.ErrPerm, export.ErrAccess)
		_, err = e.m.Remove(alice(), d, "f")
		e.must(err, "remove by the owner")
	}},
	{name: "supplementary groups count, and those of the process do not", needs: []Feature{Identities, Chown}, run: func(e *env) {
		d := e.openDir("d")
		h := e.file(d, "f", "x")
		e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{GID: ptr(uint32(20000)), Mode: ptr(uint32(0o640))}), "chown")
		e.open(alice(), h, export.OpenRead)
		_, err := e.FS.Open(alice(), h, export.OpenWrite)
		e.want(err, "write", export.ErrAccess)
		_, err = e.FS.Open(bob(), h, export.OpenRead)
		e.want(err, "open by who is not in the group", export.ErrAccess)
		zero := e.file(d, "zero", "x")
		e.must(e.m.Setattr(e.owner(), zero, nil, &export.SetAttr{GID: ptr(uint32(0)), Mode: ptr(uint32(0o640))}), "chown")
		_, err = e.FS.Open(bob(), zero, export.OpenRead)
		e.want(err, "open by way of the process's group", export.ErrAccess)
	}},
	{name: "who may read but not search gets names only", needs: []Feature{Identities, Chown}, run: func(e *env) {
		d := e.dir(e.root(), "d")
		e.file(d, "f", "")
		e.must(e.m.Setattr(e.owner(), d, nil, &export.SetAttr{Mode: ptr(uint32(0o744))}), "chmod")
		got, err := list(e.FS, bob(), d, 10)
		e.must(err, "readdir")
		if len(got) != 1 || got[0].Name != "f" || got[0].Handle != nil {
			e.Errorf("%+v", got)
		}
	}},
	{name: "a write by another than root clears set-id bits", needs: []Feature{Identities, Chown}, run: func(e *env) {
		d := e.openDir("d")
		h := e.fileOf(alice(), d, "f", 0o777)
		f := e.open(bob(), h, export.OpenWrite)
		e.must(e.m.Setattr(alice(), h, nil, &export.SetAttr{Mode: ptr(uint32(0o4777))}), "chmod")
		if a := e.attr(h); a.Mode != 0o4777 {
			e.Fatalf("%#o", a.Mode)
		}
		_, err := f.WriteAt([]byte("x"), 0)
		e.must(err, "write")
		if a := e.attr(h); a.Mode != 0o777 {
			e.Errorf("%#o", a.Mode)
		}
	}},
	{name: "access tells what operations allow, for all modes and callers", needs: []Feature{Identities, Chown}, run: checkAccessAgrees},
	{name: "callers at the same time keep apart", needs: []Feature{Identities, Chown}, run: func(e *env) {
		const callers, rounds = 6, 40
		handles := make([][]byte, callers)
		creds := make([]*export.Creds, callers)
		d := e.openDir("d")
		for i := range callers {
			creds[i] = &export.Creds{UID: uint32(30000 + i), GID: uint32(30000 + i), Groups: []uint32{uint32(31000 + i)}}
			handles[i] = e.fileOf(creds[i], d, fmt.Sprint("f", i), 0o600)
		}
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for r := range rounds {
					j := (i + r) % callers
					f, err := e.FS.Open(creds[i], handles[j], export.OpenRead)
					if err == nil {
						f.Close()
					}
					if (err == nil) != (i == j) {
						e.Errorf("caller %d opens the file of %d: %v", i, j, err)
					}
					name := fmt.Sprintf("new-%d-%d", i, r)
					var a export.Attr
					if _, _, _, err := e.m.Make(creds[i], d, name, &export.MakeArgs{Type: export.Regular}, false, &a); err != nil || a.UID != creds[i].UID || a.GID != creds[i].GID {
						e.Errorf("made by %d: %v %+v", i, err, a)
					}
				}
			})
		}
		wg.Wait()
	}},
	{name: "no caller, and one that cannot be, is refused", needs: users, run: func(e *env) {
		h := e.file(e.root(), "f", "")
		for _, cred := range []*export.Creds{nil, {UID: 1<<32 - 1, GID: 5}, {UID: 5, GID: 1<<32 - 1}} {
			_, err := e.FS.Open(cred, h, export.OpenRead)
			e.want(err, "open", export.ErrAccess)
			_, _, _, err = e.m.Make(cred, e.root(), "x", &export.MakeArgs{Type: export.Regular}, true, nil)
			e.want(err, "make", export.ErrAccess)
			_, err = e.m.Remove(cred, e.root(), "f")
			e.want(err, "remove", export.ErrAccess)
		}
	}},
}

// checkAccessAgrees compares Access, Open, Lookup and ReadDir with the rules of
// POSIX for mode bits, for many modes, owners and callers.
func checkAccessAgrees(e *env) {
	rnd := rand.New(rand.NewPCG(3, 4))
	d := e.openDir("d")
	f := e.file(d, "f", "")
	sub := e.dir(d, "sub")
	e.file(sub, "x", "")
	ids := []uint32{40000, 40001, 40002}
	for range 300 {
		uid, gid, mode := ids[rnd.IntN(3)], ids[rnd.IntN(3)], rnd.Uint32N(0o1000)
		cred := &export.Creds{UID: ids[rnd.IntN(3)], GID: ids[rnd.IntN(3)]}
		if rnd.IntN(2) == 0 {
			cred.Groups = []uint32{ids[rnd.IntN(3)]}
		}
		for _, h := range [][]byte{f, sub} {
			e.must(e.m.Setattr(e.owner(), h, nil, &export.SetAttr{UID: &uid, GID: &gid, Mode: &mode}), "setattr")
		}
		bits := mode
		switch {
		case cred.UID == uid:
			bits >>= 6
		case cred.GID == gid || slices.Contains(cred.Groups, gid):
			bits >>= 3
		}
		r, w, x := bits&4 != 0, bits&2 != 0, bits&1 != 0
		what := fmt.Sprintf("mode %#o of %d:%d for %+v", mode, uid, gid, *cred)

		const all = export.AccessRead | export.AccessLookup | export.AccessModify | export.AccessExtend | export.AccessDelete | export.AccessExecute
		got, err := e.FS.Access(cred, f, all)
		e.must(err, "access")
		if want := set(r, export.AccessRead) | set(w, export.AccessModify|export.AccessExtend) | set(x, export.AccessExecute); got != want {
			e.Fatalf("%s: access to the file %#x, want %#x", what, got, want)
		}
		got, err = e.FS.Access(cred, sub, all)
		e.must(err, "access")
		if want := set(r, export.AccessRead) | set(w, export.AccessModify|export.AccessExtend|export.AccessDelete) | set(x, export.AccessLookup); got != want {
			e.Fatalf("%s: access to the directory %#x, want %#x", what, got, want)
		}
		for open, want := range map[export.OpenMode]bool{export.OpenRead: r, export.OpenWrite: w, export.OpenRead | export.OpenWrite: r && w} {
			file, err := e.FS.Open(cred, f, open)
			if err == nil {
				file.Close()
			}
			if (err == nil) != want || err != nil && !isOne(err, export.ErrAccess) {
				e.Fatalf("%s: open for %d: %v", what, open, err)
			}
		}
		if _, err := e.FS.Lookup(cred, sub, "x", nil); (err == nil) != x || err != nil && !isOne(err, export.ErrAccess) {
			e.Fatalf("%s: lookup: %v", what, err)
		}
		if l, err := list(e.FS, cred, sub, 5); (err == nil) != r || err == nil && (l[0].Handle != nil) != x {
			e.Fatalf("%s: readdir: %v %+v", what, err, l)
		}
		if _, err := e.m.Remove(cred, sub, "nothing"); x && !isOne(err, export.ErrNotExist) || !x && !isOne(err, export.ErrAccess) {
			e.Fatalf("%s: remove: %v", what, err)
		}
		if _, _, _, err := e.m.Make(cred, sub, "made", &export.MakeArgs{Type: export.Regular}, false, nil); (err == nil) != (w && x) {
			e.Fatalf("%s: make: %v", what, err)
		} else if err == nil {
			_, err := e.m.Remove(cred, sub, "made")
			e.must(err, "remove")
		}
	}
}

func set(on bool, bits uint32) uint32 {
	if on {
		return bits
	}
	return 0
}
