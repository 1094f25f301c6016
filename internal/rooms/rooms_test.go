package rooms

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "holdfast"

	// maxLines is when a file holds more than one family of things.
	maxLines = 600
)

// mayImport says which rooms the code of a room may import besides itself, its
// sub-rooms and what is in internal. Tests may import what they like. Imports go
// down only:
//
//	cmd → gateway → nfsops → {statesync → durable, export}
var mayImport = map[string][]string{
	"internal":    {},
	"durable":     {},
	"export":      {},
	"statesync":   {"durable"},
	"nfsops":      {"statesync", "durable", "export"},
	"gateway":     {"nfsops", "statesync", "export"},
	"conformance": {},
	"cmd":         {"gateway", "nfsops", "statesync", "durable", "export", "conformance"},
}

// implementations are for those who assemble a gateway: a room above uses the
// interface.
var implementations = []string{"durable/memory", "durable/pebble", "export/posix", "export/billy"}

// pure are the rooms whose functions take everything as arguments: no clock,
// no randomness, no I/O, nothing that runs beside them.
var pure = []string{"statesync/rules"}

var impure = []string{"os", "net", "net/http", "io/fs", "syscall", "math/rand", "math/rand/v2", "crypto/rand", "sync", "sync/atomic", "context", "log", "log/slog", "time"}

// A source is one Go file.
type source struct {
	path string // from the root, with slashes
	room string
	text []byte
	file *ast.File
	set  *token.FileSet
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) in(dir string) bool { return strings.HasPrefix(s.path, dir+"/") }

func (s *source) imports() []string {
	var all []string
	for _, i := range s.file.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		all = append(all, p)
	}
	return all
}

func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || rel == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		s := &source{path: filepath.ToSlash(rel), set: token.NewFileSet()}
		s.room, _, _ = strings.Cut(s.path, "/")
		if s.text, err = os.ReadFile(path); err != nil {
			return err
		}
		if s.file, err = parser.ParseFile(s.set, s.path, s.text, parser.ParseComments); err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d files found: is %s the root?", len(all), root)
	}
	return all
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, s := range sources(t) {
		allowed, known := mayImport[s.room]
		if !known {
			t.Errorf("%s is in no room", s.path)
			continue
		}
		if s.test() {
			continue
		}
		for _, imp := range s.imports() {
			dir, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			other, _, _ := strings.Cut(dir, "/")
			if other != s.room && other != "internal" && !slices.Contains(allowed, other) {
				t.Errorf("%s imports %s", s.path, imp)
			}
			if s.room != "cmd" && other != s.room && slices.Contains(implementations, dir) {
				t.Errorf("%s imports %s: only cmd chooses implementations", s.path, imp)
			}
		}
	}
}

func TestRulesArePure(t *testing.T) {
	seen := 0
	for _, s := range sources(t) {
		if s.test() || !slices.ContainsFunc(pure, s.in) {
			continue
		}
		seen++
		for _, imp := range s.imports() {
			// A time or a duration may be an argument; nobody may ask for one.
			if imp != "time" && slices.Contains(impure, imp) {
				t.Errorf("%s imports %s", s.path, imp)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: go statement", s.set.Position(n.Pos()))
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}, n.Sel.Name) {
					t.Errorf("%s: time.%s", s.set.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
	if seen == 0 {
		t.Error("no pure rules found")
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: which families does it hold?", s.path, n, maxLines)
		}
	}
}

func TestFilesAreFormatted(t *testing.T) {
	for _, s := range sources(t) {
		if want, err := format.Source(s.text); err != nil || !bytes.Equal(want, s.text) {
			t.Errorf("%s is not as gofmt writes it", s.path)
		}
	}
}

// Several gateways live in one process: nothing is registered by being
// imported.
func TestNoInit(t *testing.T) {
	// A table that refers to functions that refer to it.
	allowed := []string{"nfsops/table.go"}
	for _, s := range sources(t) {
		if slices.Contains(allowed, s.path) {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init", s.set.Position(f.Pos()))
			}
		}
	}
}

// What is not done is said in an issue or in ARCHITECTURE.md, not in the code.
func TestNoLeftovers(t *testing.T) {
	marks := []string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}
	for _, s := range sources(t) {
		for _, g := range s.file.Comments {
			for _, m := range marks {
				for _, word := range strings.FieldsFunc(g.Text(), func(r rune) bool { return !('A' <= r && r <= 'Z') }) {
					if word == m {
						t.Errorf("%s: %s", s.set.Position(g.Pos()), m)
					}
				}
			}
		}
	}
}

// Every package says what it is for.
func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		dir := s.path[:strings.LastIndexByte(s.path, '/')]
		documented[dir] = documented[dir] || s.file.Doc != nil
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// The tests that ARCHITECTURE.md names as proof are there.
func TestArchitectureNamesRealFiles(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range regexp.MustCompile("`([a-z0-9_]+(?:/[a-z0-9_.]+)+)`").FindAllStringSubmatch(string(text), -1) {
		seen++
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("ARCHITECTURE.md names %s: %v", m[1], err)
		}
	}
	if seen < 20 {
		t.Errorf("only %d names found", seen)
	}
}
