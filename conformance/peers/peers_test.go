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
	"testing"
	"time"

	"holdfast/conformance/client"
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
	return suite.Target{Path: path, Timeout: 20 * time.Second, Parallel: sideBySide, Dial: func(ctx context.Context) (net.Conn, error) {
		return lab.Dial(ctx, "tcp", addr.String())
	}}
}

// compare runs the suite and prints a table of how it ended. A failed test that is
// not argued under the peer's heading in docs/conformance.md fails the test, as
// does a peer that ends.
func compare(t *testing.T, peer string, target suite.Target) {
	argued, deadly := arguments(t, peer)
	table := "\n| minor version | passed | failed | unsupported | skipped | not run |\n|---|---|---|---|---|---|\n"
	failed := map[string]bool{}
	for minor := range uint32(3) {
		t.Run(fmt.Sprintf("4.%d", minor), func(t *testing.T) {
			jobs := suite.Jobs(slices.DeleteFunc(suite.All(), func(test suite.Test) bool { return !wanted(&test) }), minor)
			all := len(jobs)
			jobs = slices.DeleteFunc(jobs, func(j suite.Job) bool { return deadly[j.Test.Code] })
			results := run(t, target, jobs, func(res suite.Result) {
				failed[res.Test.Code] = true
				if argued[res.Test.Code] {
					t.Logf("argued: %v", res)
				} else {
					t.Errorf("not argued in docs/conformance.md: %v", res)
				}
			})
			n := suite.Count(results)
			table += fmt.Sprintf("| 4.%d | %d | %d | %d | %d | %d |\n", minor, n.Passed, n.Failed, n.Unsupported, n.Skipped, all-len(results))
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

// run runs the jobs until all are done or the peer does not answer any more, and
// calls failed with each that fails, one at a time.
func run(t *testing.T, target suite.Target, jobs []suite.Job, failed func(suite.Result)) []suite.Result {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := suite.NewRun(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	results := r.Tests(jobs, func(res suite.Result) {
		if res.Outcome != suite.Fail || ctx.Err() != nil {
			return
		}
		failed(res)
		if err := alive(ctx, target); err != nil {
			t.Errorf("the server answers no more: %v. Under way were %s and the %d tests beside it", err, res.Name(), sideBySide-1)
			cancel()
		}
	})
	_ = r.Close() // tests may have left what cannot be removed
	return results
}

// alive says whether the server still answers.
func alive(ctx context.Context, target suite.Target) error {
	conn, err := target.Dial(ctx)
	if err != nil {
		return err
	}
	c := client.NewConn(conn, client.Options{Timeout: target.Timeout})
	defer c.Close()
	return c.Null()
}

var row = regexp.MustCompile("(?m)^\\| (`[A-Z0-9]+`(, `[A-Z0-9]+`)*) \\|")

// arguments returns the codes in the tables under a heading of docs/conformance.md:
// of failures, and below "Not run" of what the peer does not survive.
func arguments(t *testing.T, peer string) (argued, deadly map[string]bool) {
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
	failures, ends, _ := strings.Cut(section, "\nNot run")
	return codes(failures), codes(ends)
}

// codes returns the tests that begin the rows of tables.
func codes(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		for code := range strings.FieldsSeq(strings.ReplaceAll(m[1], "`", "")) {
			all[strings.Trim(code, ",")] = true
		}
	}
	return all
}
