package cluster_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/conformance/cluster"
)

// built is the path of the program under test, or why there is none.
var built struct {
	path string
	err  error
}

// scratch is a folder for what all tests share; removed in the end.
var scratch string

// HOLDFAST_BUILD holds flags for the build of the gateway, such as -race.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "holdfast-build-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		if os.Getuid() == 0 {
			built.path = filepath.Join(scratch, "holdfast")
			args := append([]string{"build", "-o", built.path}, strings.Fields(os.Getenv("HOLDFAST_BUILD"))...)
			if out, err := exec.Command("go", append(args, "holdfast/cmd/holdfast")...).CombinedOutput(); err != nil {
				built.err = fmt.Errorf("go build holdfast/cmd/holdfast: %w\n%s", err, out)
			}
		}
		return m.Run()
	}())
}

// start starts a cluster for the test. What it serves is made in the folder that HOLDFAST_EXPORTS names, if it does.
func start(t *testing.T, cfg cluster.Config) *cluster.Cluster {
	t.Helper()
	if built.err != nil {
		t.Fatal(built.err)
	}
	cfg.Binary = built.path
	cfg.Exports = os.Getenv("HOLDFAST_EXPORTS")
	return cluster.New(t, cfg)
}

// everyVersion runs a test once for each minor version on one cluster, one after the other.
func everyVersion(t *testing.T, f func(t *testing.T, minor uint32)) {
	for minor := range uint32(3) {
		t.Run(fmt.Sprintf("4.%d", minor), func(t *testing.T) { f(t, minor) })
	}
}

// must ends the test if err is not nil.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// awaitLog waits until one of the gateways has printed a line that holds all words.
func awaitLog(t *testing.T, gateways []*cluster.Gateway, words ...string) {
	t.Helper()
	for end := time.Now().Add(gateways[0].Limit()); ; time.Sleep(10 * time.Millisecond) {
		for _, g := range gateways {
			for line := range strings.Lines(g.Log()) {
				missing := slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
				if !missing {
					return
				}
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no gateway printed %q", words)
		}
	}
}
