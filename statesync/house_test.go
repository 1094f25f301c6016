package statesync

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestHouseRules: the rules decide from their arguments alone, imports go down,
// and no file is a god file.
func TestHouseRules(t *testing.T) {
	impure := []string{"time", "sync", "sync/atomic", "os", "io", "net", "math/rand", "math/rand/v2", "crypto/rand", "context", "log/slog"}
	above := []string{"holdfast/nfsops", "holdfast/gateway", "holdfast/export", "holdfast/conformance", "holdfast/cmd"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		if n := lines(t, path); n > 600 {
			t.Errorf("%s has %d lines", path, n)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pure := strings.HasPrefix(path, "rules"+string(filepath.Separator)) && !strings.HasSuffix(path, "_test.go")
		for _, i := range file.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			for _, bad := range impure {
				if pure && name == bad {
					t.Errorf("%s imports %s", path, name)
				}
			}
			for _, bad := range above {
				if name == bad || strings.HasPrefix(name, bad+"/") {
					t.Errorf("%s imports %s", path, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, path string) (n int) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		n++
	}
	return n
}
