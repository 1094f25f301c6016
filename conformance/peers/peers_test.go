package peers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/conformance/kernel"
	"holdfast/conformance/suite"
)

// HOLDFAST_PEERS_TESTS are codes and families of tests, if not all are to run.
var chosen = strings.Fields(os.Getenv("HOLDFAST_PEERS_TESTS"))

// sideBySide is how many tests run at once. They work in directories of their own.
const sideBySide = 8

func TestLinux(t *testing.T) {
	lab := kernel.New(t)
	_, addr := lab.LinuxServer(t, "nfsd")
	compare(t, "Linux", target(lab, addr, ""))
}

func TestGanesha(t *testing.T) {
	kernel.Need(t, "ganesha.nfsd")
	lab := kernel.New(t)
	srv := lab.Serve(t, kernel.Ganesha{}, kernel.Export{})
	if err := os.Chmod(srv.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	compare(t, "NFS-Ganesha", target(lab, netip.AddrPortFrom(srv.Addr, 2049), strings.Trim(srv.Root, "/")))
}

func target(lab *kernel.Lab, addr netip.AddrPort, path string) suite.Target {
	return suite.Target{Path: path, Timeout: 20 * time.Second, Dial: func(ctx context.Context) (net.Conn, error) {
		return lab.Dial(ctx, "tcp", addr.String())
	}}
}

// compare runs the suite and prints a table of how it ended. A failed test that is
// not argued under the peer's heading in docs/conformance.md fails the test.
func compare(t *testing.T, peer string, target suite.Target) {
	argued := arguments(t, peer)
	table := "\n| minor version | passed | failed | unsupported | skipped |\n|---|---|---|---|---|\n"
	failed := map[string]bool{}
	for minor := range uint32(3) {
		t.Run(fmt.Sprintf("4.%d", minor), func(t *testing.T) {
			count := map[suite.Outcome]int{}
			run(t.Context(), target, minor, func(res suite.Result) {
				count[res.Outcome]++
				switch {
				case res.Outcome != suite.Fail:
				case argued[res.Test.Code]:
					failed[res.Test.Code] = true
					t.Logf("argued: %v", res)
				default:
					failed[res.Test.Code] = true
					t.Errorf("not argued in docs/conformance.md: %v", res)
				}
			})
			table += fmt.Sprintf("| 4.%d | %d | %d | %d | %d |\n", minor, count[suite.Pass], count[suite.Fail], count[suite.Unsupported], count[suite.Skip])
		})
	}
	t.Logf("%s: %d different tests failed%s", peer, len(failed), table)
	for code := range argued {
		if !failed[code] && wanted(&suite.Test{Code: code}) {
			t.Logf("%s passes now, or does not apply: its argument may go", code)
		}
	}
}

func wanted(test *suite.Test) bool {
	return len(chosen) == 0 || slices.Contains(chosen, test.Code) || slices.Contains(chosen, test.Family())
}

// run runs the tests of a minor version, and calls each with one result after the
// other.
func run(ctx context.Context, target suite.Target, minor uint32, each func(suite.Result)) {
	var mu sync.Mutex // held around each
	var wg sync.WaitGroup
	places := make(chan struct{}, sideBySide)
	for _, test := range suite.All() {
		if !test.Minor(minor) || !wanted(&test) {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			res := suite.RunTest(ctx, target, test, minor)
			mu.Lock()
			defer mu.Unlock()
			each(res)
		})
	}
	wg.Wait()
}

var row = regexp.MustCompile("(?m)^\\| `([A-Z0-9]+)`")

// arguments returns the codes in the table under a heading of docs/conformance.md.
func arguments(t *testing.T, peer string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n### "+peer)
	if !ok {
		t.Fatalf("docs/conformance.md has no section %q", peer)
	}
	section, _, _ = strings.Cut(section, "\n### ")
	section, _, _ = strings.Cut(section, "\n## ")
	codes := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		codes[m[1]] = true
	}
	return codes
}
