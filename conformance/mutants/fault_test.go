package mutants

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"holdfast/conformance/suite"
)

// Faults are applied to whole lines, once, or not at all.
func TestApply(t *testing.T) {
	f, err := Parse("x", "rule: RFC 1 §2: a\nfile: b.go\ntests: C1 C2\nserve: --lease 2s\n\n one\n-two\n+2\n\n@@\n-four\n")
	if err != nil {
		t.Fatal(err)
	}
	if f.Rule != "RFC 1 §2: a" || f.File != "b.go" || !slices.Equal(f.Tests, []string{"C1", "C2"}) || len(f.Serve) != 2 || len(f.Hunks) != 2 {
		t.Fatalf("%+v", f)
	}
	for source, want := range map[string]string{
		"one\ntwo\n\nfour\n":                    "one\n2\n\n",
		"zero\none\ntwo\n\nthree\nfour\n":       "zero\none\n2\n\nthree\n",
		"one\nTWO\n\nfour\n":                    "",
		"one\ntwo\n\nfour\nfour\n":              "",
		"one\ntwo\n\nthirty-four\n":             "",
		"one\ntwo\n\none\ntwo\n\nthree\nfour\n": "",
	} {
		got, err := f.Apply(source)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q became %q, %v", source, got, err)
		}
	}
}

// Faults of one file stand beside each other, and each in its own function.
func TestCompose(t *testing.T) {
	source := "package p\n\nfunc f(a, b int, rest ...string) (int, error) {\n\treturn 1, nil\n}\n\n// g is g.\nfunc (t *T) g() {\n\tprintln(2)\n}\n"
	faults := []Fault{
		{Name: "one-a", File: "p.go", Hunks: []Hunk{{"\treturn 1, nil\n", "\treturn 3, nil\n"}}},
		{Name: "two-b", File: "p.go", Hunks: []Hunk{{"\tprintln(2)\n", ""}, {"\treturn 1, nil\n", "\treturn 4, nil\n"}}},
	}
	got, err := Compose(source, faults)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"func f(p0 int, p1 int, p2 ...string) (int, error) {", "return f__one_a(p0, p1, p2...)", "return f__right(p0, p1, p2...)",
		"func f__two_b(a, b int, rest ...string) (int, error) {\n\treturn 4, nil\n}", "// g is g.\nfunc (self *T) g()", "\t\tself.g__two_b()\n",
		"func (t *T) g__right() {\n\tprintln(2)\n}",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if _, err := functions(got); err != nil {
		t.Errorf("%v:\n%s", err, got)
	}
	faults[0].Hunks = []Hunk{{"package p\n", "package p\n\nvar x int\n"}}
	if _, err := Compose(source, faults); err == nil {
		t.Error("a fault outside of functions is accepted")
	}
}

// A fault that says too little is refused.
func TestParse(t *testing.T) {
	for _, text := range []string{
		"", "rule: a\nfile: b\ntests: C1\n", "rule: a\nfile: b\n\n-x\n", "rule: a\nfile: b\ntests: C1\n\n x\n",
		"rule: a\nfile: b\ntests: C1\ncolour: red\n\n-x\n", "rule: a\nfile: b\ntests: C1\n\n-x\n*y\n",
	} {
		if f, err := Parse("x", text); err == nil {
			t.Errorf("%q is %+v", text, f)
		}
	}
}

// Every fault can be read: it names its rule and section, and tests that exist.
func TestDescribed(t *testing.T) {
	codes := map[string]bool{}
	for _, test := range suite.All() {
		codes[test.Code] = true
	}
	rule := regexp.MustCompile(`^RFC (8881|7530|7862|8276|5531|4506) §[0-9.]+: .{20}`)
	name := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	faults := load(t)
	if len(faults) < 40 {
		t.Errorf("%d faults, want 40 at least", len(faults))
	}
	for _, f := range faults {
		if !rule.MatchString(f.Rule) || !name.MatchString(f.Name) {
			t.Errorf("%s is not described: %q", f.Name, f.Rule)
		}
		for _, code := range f.Tests {
			if !codes[code] {
				t.Errorf("%s: the suite has no test %s", f.Name, code)
			}
		}
		for _, h := range f.Hunks {
			if strings.Count(h.New, "\n") > strings.Count(h.Old, "\n")+8 {
				t.Errorf("%s is more than one wrong rule:\n%s", f.Name, h.New)
			}
		}
	}
}

// Every fault follows the source: its lines are there, and the faults of one
// file fit together.
func TestFollow(t *testing.T) {
	byFile := make(map[string][]Fault)
	for _, f := range load(t) {
		byFile[f.File] = append(byFile[f.File], f)
	}
	for name, faults := range byFile {
		source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := Compose(string(source), faults); err != nil {
			t.Error(err)
		}
	}
}

func load(t *testing.T) []Fault {
	t.Helper()
	faults, err := Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return faults
}
