package nfsops

import (
	"os"
	"path/filepath"
	"testing"

	"holdfast/export"
	"holdfast/export/posix"
)

// TestKeptWithoutName: what memory takes for closed is not kept open. A file without a name could not be opened again: it is closed
// only if the store says, too, that nobody has it open.
func TestKeptWithoutName(t *testing.T) {
	dir := t.TempDir()
	fs, err := posix.New(dir, posix.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	for _, test := range []struct {
		what                          string
		named, inMemory, opened, want bool
	}{
		{"closed", true, false, false, false},
		{"closed as far as is known, with a name", true, false, true, false},
		{"open", true, true, true, true},
		{"closed, without a name", false, false, false, false},
		{"closed as far as is known, without a name", false, false, true, true},
		{"open, without a name", false, true, true, true},
	} {
		table := newFileTable(8)
		table.inUse = func(string) bool { return test.inMemory }
		asked := false
		table.opened = func(string) bool { asked = true; return test.opened }
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var attr export.Attr
		h, err := fs.Lookup(&export.Creds{}, fs.Root(), "f", &attr)
		if err != nil {
			t.Fatal(err)
		}
		file, err := fs.Open(&export.Creds{}, h, export.OpenRead)
		if err != nil {
			t.Fatal(err)
		}
		if !test.named {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		key := []byte("key")
		table.keepAs(key, false, file).release()
		table.drop(key)
		if kept := len(table.open) > 0; kept != test.want {
			t.Errorf("%s: kept is %v", test.what, kept)
		}
		if asked && test.named {
			t.Errorf("%s: the store was asked", test.what)
		}
		table.forget(key)
		if err := file.Getattr(&attr); len(table.open) > 0 || err == nil {
			t.Errorf("%s: not closed in the end", test.what)
		}
	}
}
