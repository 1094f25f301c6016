package main

import (
	"errors"
	"testing"

	"holdfast/export/posix"
	"holdfast/internal/config"
)

// What gateways cannot share is refused where they have one store, and only there.
func TestNotShareable(t *testing.T) {
	// A file system that gives nobody handles.
	const dir = "/proc/sys/kernel"
	cfg := &config.Config{State: t.TempDir(), Store: "redis://store:6379"}
	if _, err := openTree(cfg, &config.Export{Path: "/", Dir: dir}); !errors.Is(err, posix.ErrNotShareable) {
		t.Errorf("with a shared store: %v", err)
	}
	cfg = &config.Config{State: t.TempDir()}
	if err := (&whole{cfg: cfg}).makeDirs(); err != nil {
		t.Fatal(err)
	}
	tree, err := openTree(cfg, &config.Export{Path: "/", Dir: dir})
	if err != nil {
		t.Fatalf("alone: %v", err)
	}
	tree.close()
}
