package faults_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// refuses checks that the program does not start, and says why in words that a
// user can act on: each of the given ones.
func (s *server) refuses(words ...string) {
	s.t.Helper()
	said, err := s.tryStart()
	if err == nil {
		s.t.Error("it serves")
		s.end()
		return
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() <= 0 {
		s.t.Errorf("it ended with %v, want an exit status other than 0", err)
	}
	if strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
		s.t.Errorf("it crashed:\n%s", said)
	}
	for _, w := range append(words, s.state) {
		if !strings.Contains(said, w) {
			s.t.Errorf("it does not say %q:\n%s", w, said)
		}
	}
}

// used returns a server that has state, and was killed, and the client that has a
// file open and locked there.
func used(t *testing.T) (*server, *client.Client, *client.Locks) {
	t.Helper()
	s := serve(t, "", "")
	c := s.client(1, 0)
	f := create(t, c, root(t, c), "f")
	l := f.Locks(client.NewOwner())
	if err := l.Lock(nfs4.WriteLT, 0, 10); err != nil {
		t.Fatal(err)
	}
	return s, c, l
}

// storeFiles calls fn for each file of the store.
func (s *server) storeFiles(fn func(path string, size int64)) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.state, "store"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			fn(path, st.Size())
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// State that another process uses, that a newer program wrote, that is damaged
// or is no state at all is refused at the start, and is not changed.
func TestStateRefused(t *testing.T) {
	needRoot(t)
	t.Run("in use", func(t *testing.T) {
		s, c, l := used(t)
		second := newServer(t, "", s.state)
		second.refuses("in use by another holdfast", "--state")
		must(t, c, client.PutRootFH(), client.GetAttr(nfs4.AttrType))
		if err := l.Unlock(0, 10); err != nil {
			t.Errorf("the first server: %v", err)
		}
		s.alive()
	})
	t.Run("of a newer format", func(t *testing.T) {
		s, _, _ := used(t)
		s.kill()
		changed := 0
		s.storeFiles(func(path string, size int64) {
			if filepath.Base(path) != "FORMAT" {
				return
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			newer := strings.NewReplacer("1", "99").Replace(string(text))
			if newer == string(text) {
				t.Fatalf("no version in %q", text)
			}
			if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
				t.Fatal(err)
			}
			changed++
		})
		if changed != 1 {
			t.Fatalf("%d FORMAT files", changed)
		}
		s.refuses("another version of holdfast")
	})
	t.Run("something else", func(t *testing.T) {
		s := newServer(t, "", "")
		if err := os.MkdirAll(filepath.Join(s.state, "store"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.state, "store", "letter.txt"), []byte("dear"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.refuses("is not holdfast's")
	})
	t.Run("a file", func(t *testing.T) {
		s := newServer(t, "", "")
		s.state = filepath.Join(s.state, "plain")
		if err := os.WriteFile(s.state, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.refuses("--state")
	})
	t.Run("inside the export", func(t *testing.T) {
		s := newServer(t, "", "")
		s.state = filepath.Join(s.dir, "state")
		s.refuses()
	})
}

// Whatever byte of the state was changed, or file shortened or lost: the program
// refuses with a clear message, or serves with all it had granted. It never
// crashes and never serves less.
func TestStateDamaged(t *testing.T) {
	needRoot(t)
	s, c, l := used(t)
	// Enough that there are tables beside the log.
	for n := range uint64(2000) {
		if err := l.Lock(nfs4.WriteLT, 100+n*4, 2); err != nil {
			t.Fatal(err)
		}
	}
	s.kill()
	good := filepath.Join(t.TempDir(), "good")
	run(t, "cp", "-a", s.state, good)
	refused, served := 0, 0
	try := func(what string) {
		t.Helper()
		said, err := s.tryStart()
		switch {
		case err == nil:
			served++
			reconnect(t, c)
			other := s.client(2, 0)
			g, err := other.Open(client.NewOwner(), root(t, other), client.OpenArgs{Access: nfs4.ShareAccessBoth, Name: "f"})
			if err != nil {
				t.Errorf("%s: it serves, but OPEN: %v", what, err)
				break
			}
			for _, off := range []uint64{0, 100, 100 + 1999*4} {
				if denied, err := g.Locks(client.NewOwner()).Test(nfs4.WriteLT, off, 2); denied == nil {
					t.Errorf("%s: it serves, and the lock at %d is lost: %v", what, off, err)
				}
			}
			other.Close()
		case strings.Contains(said, "panic") || strings.Contains(said, "goroutine "):
			t.Errorf("%s: it crashed:\n%s", what, said)
		case !strings.Contains(said, "damaged") && !strings.Contains(said, "another version") && !strings.Contains(said, "is not holdfast's"):
			t.Errorf("%s: it does not say that the state is damaged:\n%s", what, said)
		default:
			refused++
		}
		s.end()
		run(t, "rm", "-rf", s.state)
		run(t, "cp", "-a", good, s.state)
	}
	var paths []string
	sizes := map[string]int64{}
	s.storeFiles(func(path string, size int64) {
		if filepath.Base(path) != "BALLAST" && filepath.Base(path) != "LOCK" {
			paths, sizes[path] = append(paths, path), size
		}
	})
	for _, path := range paths {
		name, _ := filepath.Rel(s.state, path)
		size := sizes[path]
		for _, at := range []int64{0, size / 3, size - 1} {
			if at < 0 || at >= size {
				continue
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, at); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 0x40
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
			f.Close()
			try(name + ": a bit changed at " + itoa(at) + " of " + itoa(size))
		}
		if err := os.Truncate(path, size/2); err != nil {
			t.Fatal(err)
		}
		try(name + ": cut to half of " + itoa(size))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		try(name + ": removed")
	}
	t.Logf("%d kinds of damage to %d files: refused %d, harmless %d", refused+served, len(paths), refused, served)
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}
