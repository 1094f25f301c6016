package mutants

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Fault is one wrong rule.
type Fault struct {
	Name  string   // of its file, without the extension
	Rule  string   // RFC and section, and the sentence that is broken
	File  string   // slash-separated, relative to the module's root
	Tests []string // codes of the suite that are expected to notice
	Serve []string // further flags of `holdfast serve`
	Hunks []Hunk
}

// A Hunk is one replacement of whole lines.
type Hunk struct{ Old, New string }

// Load reads all faults of a directory, sorted by name.
func Load(dir string) ([]Fault, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.fault"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	faults := make([]Fault, 0, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, err := Parse(strings.TrimSuffix(filepath.Base(path), ".fault"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

// Parse reads the text of a fault.
func Parse(name, text string) (Fault, error) {
	f := Fault{Name: name}
	head, body, ok := strings.Cut(text, "\n\n")
	if !ok {
		return f, fmt.Errorf("no empty line between head and hunk")
	}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "rule":
			f.Rule = value
		case "file":
			f.File = value
		case "tests":
			f.Tests = strings.Fields(value)
		case "serve":
			f.Serve = strings.Fields(value)
		default:
			return f, fmt.Errorf("line %q is none of rule, file, tests, serve", line)
		}
	}
	if f.Rule == "" || f.File == "" || len(f.Tests) == 0 {
		return f, fmt.Errorf("rule, file or tests is missing")
	}
	var h Hunk
	for line := range strings.Lines(body) {
		switch line[0] {
		case ' ':
			h.Old += line[1:]
			h.New += line[1:]
		case '-':
			h.Old += line[1:]
		case '+':
			h.New += line[1:]
		case '\n':
			h.Old += line
			h.New += line
		case '@':
			f.Hunks = append(f.Hunks, h)
			h = Hunk{}
		default:
			return f, fmt.Errorf("line %q of a hunk begins with none of ' ', '-', '+', '@@'", line)
		}
	}
	f.Hunks = append(f.Hunks, h)
	for _, h := range f.Hunks {
		if h.Old == "" || h.Old == h.New {
			return f, fmt.Errorf("a hunk changes nothing")
		}
	}
	return f, nil
}

// Apply returns the source with the fault in it. The error says that the
// source is not what the fault was written for.
func (f *Fault) Apply(source string) (string, error) {
	for _, h := range f.Hunks {
		// Whole lines: the text before must end one.
		text, old := "\n"+source, "\n"+h.Old
		at := strings.Index(text, old)
		if at < 0 || strings.Contains(text[at+1:], old) {
			return "", fmt.Errorf("these lines are not exactly once in %s, which the fault must follow:\n%s", f.File, h.Old)
		}
		source = source[:at] + h.New + text[at+len(old):]
	}
	return source, nil
}
