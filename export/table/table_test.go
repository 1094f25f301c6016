package table

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const root = Key("root")

func open(t testing.TB, path string) *Table {
	t.Helper()
	tab, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPathsFollowRenames(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "log")} {
		tab := open(t, path)
		must(t, tab.Put("d", root, "dir"))
		must(t, tab.Put("f", "d", "file"))
		must(t, tab.Put("f", root, "link"))
		check := func(want ...string) {
			t.Helper()
			if got := tab.Paths(root, "f"); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		check("link", "dir/file")
		must(t, tab.Rename(root, "dir", root, "moved"))
		check("link", "moved/file")
		must(t, tab.Remove(root, "link"))
		check("moved/file")
		must(t, tab.Put("other", "d", "file"))
		check()
		if tab.Known("f") || !tab.Known("other") {
			t.Error("the name was not taken over")
		}
		if got := tab.Paths(root, root); !slices.Equal(got, []string{""}) {
			t.Errorf("root: %q", got)
		}
	}
}

func TestLoopsEnd(t *testing.T) {
	tab := open(t, "")
	must(t, tab.Put("a", "b", "x"))
	must(t, tab.Put("b", "a", "y"))
	if got := tab.Paths(root, "a"); len(got) != 0 {
		t.Error(got)
	}
}

func TestLimits(t *testing.T) {
	tab := open(t, "")
	if tab.Put("", root, "x") == nil || tab.Put(Key(make([]byte, MaxKey+1)), root, "x") == nil || tab.Put("k", root, string(make([]byte, MaxName+1))) == nil {
		t.Error("taken")
	}
	for i := range 3 * MaxNames {
		must(t, tab.Put("many", root, fmt.Sprint(i)))
	}
	if n := len(tab.Paths(root, "many")); n != MaxNames {
		t.Errorf("%d names", n)
	}
	if tab.Len() != MaxNames {
		t.Errorf("%d links", tab.Len())
	}
}

// The table agrees with a map, through reopening and rewriting.
func TestAgreesWithMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	path := filepath.Join(t.TempDir(), "log")
	tab := open(t, path)
	want := map[link]Key{}
	for i := range 20000 {
		at := link{Key(fmt.Sprint("p", rnd.IntN(10))), fmt.Sprint("n", rnd.IntN(20))}
		switch rnd.IntN(10) {
		case 0, 1, 2, 3, 4:
			key := Key(fmt.Sprint("k", rnd.IntN(300)))
			must(t, tab.Put(key, at.parent, at.name))
			want[at] = key
		case 5, 6:
			must(t, tab.Remove(at.parent, at.name))
			delete(want, at)
		default:
			to := link{Key(fmt.Sprint("p", rnd.IntN(10))), fmt.Sprint("n", rnd.IntN(20))}
			if to == at {
				continue
			}
			must(t, tab.Rename(at.parent, at.name, to.parent, to.name))
			if key, ok := want[at]; ok {
				want[to] = key
				delete(want, at)
			} else {
				delete(want, to)
			}
		}
		if i%4000 == 3999 {
			must(t, tab.Close())
			tab = open(t, path)
		}
	}
	if !maps.Equal(tab.child, want) {
		t.Fatalf("%d links, want %d", len(tab.child), len(want))
	}
	for at, key := range want {
		if !slices.Contains(tab.names[key], at) {
			t.Errorf("%v is not among the names of %s", at, key)
		}
	}
	n := 0
	for _, l := range tab.names {
		n += len(l)
	}
	if n != len(want) {
		t.Errorf("%d names, want %d", n, len(want))
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 1<<17 {
		t.Errorf("the log was not written anew: %v %v", info.Size(), err)
	}
}

// A log cut anywhere is read up to the cut.
func TestCutAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	tab := open(t, path)
	for i := range 10 {
		must(t, tab.Put(Key(fmt.Sprint("key", i)), root, fmt.Sprint("name", i)))
	}
	must(t, tab.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	size := (len(whole) - len(magic)) / 10
	for cut := range len(whole) {
		must(t, os.WriteFile(path, whole[:cut], 0o600))
		tab := open(t, path)
		if want := max(cut-len(magic), 0) / size; tab.Len() != want {
			t.Fatalf("cut at %d: %d links, want %d", cut, tab.Len(), want)
		}
		must(t, tab.Put("new", root, "new"))
		must(t, tab.Close())
		tab = open(t, path)
		if !tab.Known("new") {
			t.Fatalf("cut at %d: what came after is lost", cut)
		}
		must(t, tab.Close())
	}
}

// Damage before the end, another format, and a second user are refused.
func TestRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	tab := open(t, path)
	for i := range 10 {
		must(t, tab.Put(Key(fmt.Sprint("key", i)), root, "name"+fmt.Sprint(i)))
	}
	if _, err := Open(path); err == nil {
		t.Error("opened twice")
	}
	must(t, tab.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	for _, at := range []int{0, len(magic) + 1, len(magic) + headBytes + 1, len(whole) / 2} {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x20
		must(t, os.WriteFile(path, bad, 0o600))
		if _, err := Open(path); err == nil {
			t.Errorf("damage at %d is not seen", at)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record{kindAdd, "key", "parent", "name"}.encode(nil))
	f.Add(record{kindDrop, "", "parent", "name"}.encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size, err := decode(b)
		if err != nil {
			return
		}
		if got := r.encode(nil); !bytes.Equal(got[4:9], b[4:9]) || size != len(got) || !bytes.Equal(got[headBytes:], b[headBytes:size]) {
			t.Errorf("%x is read as %+v", b, r)
		}
	})
}
