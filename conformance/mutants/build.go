package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// Build builds the program with all the faults in it, none of which is active
// unless Variable names it. dir is a new directory for the binary, which it
// returns, and what leads to it. root is the module's.
func Build(ctx context.Context, root, dir string, faults []Fault) (string, error) {
	overlay, err := overlay(root, dir, faults)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "holdfast")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-overlay", overlay, "-o", binary, "./cmd/holdfast")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// overlay writes the changed files, and the file that makes go build see them in
// the places of the originals.
func overlay(root, dir string, faults []Fault) (string, error) {
	byFile := make(map[string][]Fault)
	for _, f := range faults {
		byFile[f.File] = append(byFile[f.File], f)
	}
	replace := make(map[string]string)
	put := func(name, text string) error {
		replacement := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), path.Base(name)))
		replace[filepath.Join(root, filepath.FromSlash(name))] = replacement
		return os.WriteFile(replacement, []byte(text), 0o644)
	}
	for name, list := range byFile {
		source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return "", err
		}
		text, err := Compose(string(source), list)
		if err != nil {
			return "", err
		}
		if err := put(name, text); err != nil {
			return "", err
		}
		choice := path.Join(path.Dir(name), "mutant.go")
		if _, done := replace[filepath.Join(root, filepath.FromSlash(choice))]; done {
			continue
		}
		text = fmt.Sprintf("package %s\n\nimport \"os\"\n\nvar %s = os.Getenv(%q)\n", path.Base(path.Dir(name)), chosen, Variable)
		if err := put(choice, text); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o644)
}
