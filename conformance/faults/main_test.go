package faults_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// noSkip turns "cannot run here" from a skip into a failure; `make test` sets it
// where everything that is needed was installed.
const noSkip = "HOLDFAST_NO_SKIP"

// built is the program under test, or why there is none.
var built struct {
	path string
	err  error
}

// HOLDFAST_BINARY is a program to test instead of one built from this tree;
// HOLDFAST_BUILD holds flags for the build, such as -race.
func TestMain(m *testing.M) {
	if addr := os.Getenv(crowdEnv); addr != "" {
		if err := crowd(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if built.path = os.Getenv("HOLDFAST_BINARY"); built.path != "" {
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		scratch, err := os.MkdirTemp("", "holdfast-faults-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		built.path = filepath.Join(scratch, "holdfast")
		args := append([]string{"build", "-o", built.path}, strings.Fields(os.Getenv("HOLDFAST_BUILD"))...)
		if out, err := exec.Command("go", append(args, "holdfast/cmd/holdfast")...).CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build holdfast/cmd/holdfast: %w\n%s", err, out)
		}
		return m.Run()
	}())
}

// skip ends the test as skipped, or as failed where nothing may be missing.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv(noSkip) != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
