package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"holdfast/durable"
	"holdfast/durable/pebble"
)

// damageable makes a store as a kill leaves it: tables, a log with batches that
// are in no table, and a manifest of several edits.
func damageable(t *testing.T) (dir string, content map[string]durable.Group) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	j := newJournal(4)
	for round := range 3 {
		s, err := pebble.Open(dir, pebble.Options{Reserve: 2 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			fillJournal(t, s, j, 15)
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		fillJournal(t, s, j, 15)
		if round < 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		content = contentOf(t, s)
		s.Crash()
	}
	if err := os.Remove(filepath.Join(dir, "BALLAST")); err != nil {
		t.Fatal(err)
	}
	return dir, content
}

func fillJournal(t *testing.T, s durable.Store, j *journal, batches int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range j.writers {
		wg.Go(func() {
			for range batches {
				n := j.acked[w].Load() + 1
				ack, err := s.Commit(context.Background(), j.batch(w, n))
				if err == nil {
					err = ack.Wait()
				}
				if err != nil {
					t.Error(err)
					return
				}
				j.acked[w].Store(n)
			}
		})
	}
	wg.Wait()
}

func contentOf(t *testing.T, s durable.Store) map[string]durable.Group {
	t.Helper()
	content := make(map[string]durable.Group)
	if err := s.Scan(context.Background(), "", func(g durable.Group) bool { content[g.Key] = g; return true }); err != nil {
		t.Fatal(err)
	}
	return content
}

func sameContent(a, b map[string]durable.Group) bool {
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// open opens a damaged store. It must be refused, or have everything.
func (d *damage) open(t *testing.T, what string, file string) {
	t.Helper()
	s, err := pebble.Open(d.dir, pebble.Options{CheckBytes: -1})
	kind := strings.TrimLeft(filepath.Ext(file), ".")
	if kind == "" {
		kind, _, _ = strings.Cut(filepath.Base(file), "-")
	}
	if err != nil {
		if !errors.Is(err, durable.ErrDamaged) && !errors.Is(err, durable.ErrFormat) {
			t.Fatalf("%s: %v", what, err)
		}
		if errors.Is(err, durable.ErrDamaged) && (!strings.Contains(err.Error(), d.dir) || !strings.Contains(err.Error(), "backup")) {
			t.Errorf("%s: the error does not tell where, and what to do: %v", what, err)
		}
		d.refused[kind]++
		return
	}
	defer s.Close()
	if got := contentOf(t, s); !sameContent(got, d.content) {
		t.Fatalf("%s: the store opens, and has lost what was acknowledged: %d groups of %d", what, len(got), len(d.content))
	}
	d.harmless[kind]++
}

type damage struct {
	dir      string
	content  map[string]durable.Group
	pristine map[string][]byte
	refused  map[string]int
	harmless map[string]int
}

// restore puts every file back.
func (d *damage) restore(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(d.dir); err != nil {
		t.Fatal(err)
	}
	for name, data := range d.pristine {
		path := filepath.Join(d.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func newDamage(t *testing.T) *damage {
	d := &damage{pristine: map[string][]byte{}, refused: map[string]int{}, harmless: map[string]int{}}
	d.dir, d.content = damageable(t)
	if err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(d.dir, path)
		d.pristine[name] = read(t, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// The store as it is, is sound.
	d.restore(t)
	d.open(t, "untouched", "FORMAT")
	if d.harmless["FORMAT"] != 1 {
		t.Fatal("the untouched store is refused")
	}
	d.restore(t)
	return d
}

// A flipped byte anywhere, a file cut short anywhere, or a missing file: the
// store is refused, or it has lost nothing.
func TestDamage(t *testing.T) {
	d := newDamage(t)
	flips, cuts := 60, 12
	if testing.Short() {
		flips, cuts = 10, 3
	}
	for name, data := range d.pristine {
		path := filepath.Join(d.dir, name)
		try := func(what string, spoil func() error) {
			d.restore(t)
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			d.open(t, what+" "+name, name)
		}
		for i := range min(flips, len(data)) {
			at := i * len(data) / min(flips, len(data))
			try(fmt.Sprintf("byte %d of %d flipped in", at, len(data)), func() error {
				bad := append([]byte(nil), data...)
				bad[at] ^= 0x41
				return os.WriteFile(path, bad, 0o600)
			})
		}
		for i := range min(cuts, len(data)) {
			size := i * len(data) / min(cuts, len(data))
			try(fmt.Sprintf("cut to %d of %d bytes", size, len(data)), func() error { return os.Truncate(path, int64(size)) })
		}
		try("missing", func() error { return os.Remove(path) })
	}
	t.Logf("refused %v, harmless %v", d.refused, d.harmless)
	for _, kind := range []string{"sst", "log", "MANIFEST", "FORMAT", "WITNESS"} {
		if d.refused[kind] == 0 {
			t.Errorf("no damage to a %s file was found", kind)
		}
	}
}

// Every byte of the log that was synced counts: also in the last record, where
// Pebble alone would take it for a torn tail.
func TestDamageInLastRecord(t *testing.T) {
	d := newDamage(t)
	newest := ""
	for name := range d.pristine {
		if strings.HasSuffix(name, ".log") && name > newest {
			newest = name
		}
	}
	data := d.pristine[newest]
	end := len(data)
	for end > 0 && data[end-1] == 0 {
		end--
	}
	for _, back := range []int{1, 2, 10, 40} {
		d.restore(t)
		bad := append([]byte(nil), data...)
		bad[end-back] ^= 0x41
		if err := os.WriteFile(filepath.Join(d.dir, newest), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := pebble.Open(d.dir, pebble.Options{}); !errors.Is(err, durable.ErrDamaged) {
			t.Errorf("byte %d from the end of the log's %d: %v", back, end, err)
			if err == nil {
				s.Close()
			}
		}
	}
	// What comes after the synced part is nobody's.
	d.restore(t)
	torn := append(append([]byte(nil), data[:end]...), "torn write"...)
	if err := os.WriteFile(filepath.Join(d.dir, newest), torn, 0o600); err != nil {
		t.Fatal(err)
	}
	d.open(t, "torn tail", newest)
	if d.harmless["log"] != 1 {
		t.Error("a torn tail is taken for damage")
	}
}

// Damage in a table that Open had no time to read is found in the background,
// and ends the store.
func TestDamageFoundLater(t *testing.T) {
	d := newDamage(t)
	for name, data := range d.pristine {
		if strings.HasSuffix(name, ".sst") {
			bad := append([]byte(nil), data...)
			bad[20] ^= 0x41
			if err := os.WriteFile(filepath.Join(d.dir, name), bad, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := pebble.Open(d.dir, pebble.Options{CheckBytes: 1})
	if err == nil {
		until(t, "the damage is found", func() bool { return s.Err() != nil })
		_, err = s.Commit(context.Background(), &durable.Batch{})
		s.Close()
	}
	if !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("a commit to a damaged store: %v", err)
	}
}

func TestDirectories(t *testing.T) {
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Open(foreign, pebble.Options{}); !errors.Is(err, durable.ErrFormat) {
		t.Errorf("a foreign directory: %v", err)
	}
	if entries, err := os.ReadDir(foreign); err != nil || len(entries) != 1 {
		t.Errorf("the foreign directory now holds %v: %v", entries, err)
	}

	dir := t.TempDir()
	s := mustOpen(t, dir)
	if _, err := pebble.Open(dir, pebble.Options{}); !errors.Is(err, durable.ErrInUse) {
		t.Errorf("a store that is open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	format := filepath.Join(dir, "FORMAT")
	newer := strings.Replace(string(read(t, format)), "version 1", "version 2", 1)
	if err := os.WriteFile(format, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := pebble.Open(dir, pebble.Options{})
	if !errors.Is(err, durable.ErrFormat) || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("a newer store: %v", err)
	}
	if err := os.WriteFile(format, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Open(dir, pebble.Options{}); !errors.Is(err, durable.ErrFormat) {
		t.Errorf("another program's store: %v", err)
	}
}

// A first Open that is cut off at any point leaves a directory that the next one
// takes.
func TestFirstOpenCutOff(t *testing.T) {
	for _, left := range [][]string{{"LOCK"}, {"LOCK", "FORMAT.tmp"}, {"LOCK", "FORMAT"}, {"LOCK", "FORMAT", "WITNESS"}, {"LOCK", "FORMAT", "WITNESS", "db/MANIFEST-000001"}} {
		dir := t.TempDir()
		for _, name := range left {
			path := filepath.Join(dir, name)
			data := []byte(nil)
			if name == "FORMAT" {
				data = pebble.FormatNew()
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := pebble.Open(dir, pebble.Options{})
		if err != nil {
			t.Errorf("after %v: %v", left, err)
			continue
		}
		s.Close()
	}
}
