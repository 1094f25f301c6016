package mutants

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/suite"
)

const root = "../.."

// Each fault is noticed by a test of the suite.
func TestMutants(t *testing.T) {
	binary := build(t)
	for _, f := range load(t) {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			target := serve(t, binary, f.Name, f.Serve)
			if noticed(t, target, func(test *suite.Test) bool { return slices.Contains(f.Tests, test.Code) }) {
				return
			}
			if noticed(t, target, func(test *suite.Test) bool {
				return !slices.Contains(f.Tests, test.Code) && (!test.Has("slow") || f.Serve != nil)
			}) {
				t.Errorf("the test above notices, which the fault does not name; none of %v does", f.Tests)
				return
			}
			t.Errorf("no test of the suite notices this fault in %s\n    %s", f.File, f.Rule)
		})
	}
}

// Without a fault the tests that notice one pass: what they notice is the fault.
func TestUnchanged(t *testing.T) {
	binary := build(t)
	expected := map[string][]string{} // by flags of the server
	for _, f := range load(t) {
		flags := strings.Join(f.Serve, " ")
		expected[flags] = append(expected[flags], f.Tests...)
	}
	for flags, codes := range expected {
		t.Run("serve"+strings.ReplaceAll(flags, " ", ""), func(t *testing.T) {
			t.Parallel()
			target := serve(t, binary, "", strings.Fields(flags))
			if noticed(t, target, func(test *suite.Test) bool { return slices.Contains(codes, test.Code) }) {
				t.Error("a test fails without a fault")
			}
		})
	}
}

// noticed runs tests in all their minor versions, until one fails.
func noticed(t *testing.T, target suite.Target, among func(*suite.Test) bool) bool {
	t.Helper()
	for _, test := range suite.All() {
		for minor := range uint32(3) {
			if !among(&test) || !test.Minor(minor) {
				continue
			}
			if res := suite.RunTest(t.Context(), target, test, minor); res.Outcome == suite.Fail {
				t.Logf("%v", res)
				return true
			}
		}
	}
	return false
}

var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// build returns the program with all faults, built once.
func build(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the suite acts as several users: it needs root")
	}
	built.once.Do(func() {
		abs, err := filepath.Abs(root)
		if err == nil {
			built.dir, err = os.MkdirTemp("", "holdfast-mutants-")
		}
		if err == nil {
			built.path, err = Build(t.Context(), abs, built.dir, load(t))
		}
		built.err = err
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

var listening = regexp.MustCompile(`Listening on ([^ ,]+?)[.,] `)

// serve serves a new directory, with a fault if it is not "", until the test ends.
func serve(t *testing.T, binary, fault string, flags []string) suite.Target {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(binary, append([]string{
		"serve", filepath.Join(dir, "export"), "--listen", "127.0.0.1:0", "--state", filepath.Join(dir, "state"), "--no-root-squash",
	}, flags...)...)
	cmd.Env = append(os.Environ(), Variable+"="+fault)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go func() {
				for lines.Scan() { // keep the pipe empty
				}
			}()
			return suite.Target{Dial: client.TCP(m[1]), Timeout: 10 * time.Second, Slow: true, Optional: true}
		}
	}
	_ = cmd.Wait()
	t.Fatalf("the server does not listen: %s", log.String())
	return suite.Target{}
}
