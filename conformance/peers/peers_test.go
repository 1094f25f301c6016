package peers

import (
	"context"
	"fmt"
	"maps"
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
	compare(t, "Linux", target(lab, addr, ""), 0, 1, 2)
}

func TestGanesha(t *testing.T) {
	kernel.Need(t, "ganesha.nfsd")
	lab := kernel.New(t)
	srv := lab.Serve(t, kernel.Ganesha{}, kernel.Export{})
	if err := os.Chmod(srv.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	compare(t, "NFS-Ganesha", target(lab, netip.AddrPortFrom(srv.Addr, 2049), strings.Trim(srv.Root, "/")), 0, 1, 2)
}

func target(lab *kernel.Lab, addr netip.AddrPort, path string) suite.Target {
	return suite.Target{Path: path, Timeout: 20 * time.Second, Parallel: sideBySide, Slow: true, Dial: func(ctx context.Context) (net.Conn, error) {
		return lab.Dial(ctx, "tcp", addr.String())
	}}
}

// A pass is a part of the suite whose failures have a table of their own.
type pass struct {
	name   string
	strict bool // the tests flagged strict, or all others
}

var passes = []pass{{"what a correct client can meet", false}, {"strict", true}}

// in says whether a test is of the pass, and chosen.
func (p pass) in(test *suite.Test) bool { return test.Has("strict") == p.strict && wanted(test) }

// compare runs the suite for minor versions and prints a table of how it ended. It fails if a test
// fails that is not argued under the peer's heading in docs/conformance.md, if one
// that is argued there does not fail, and if the peer ends.
func compare(t *testing.T, peer string, target suite.Target, minors ...uint32) {
	told := arguments(t, peer)
	table := "\n| tests | minor version | passed | failed | unsupported | skipped | not run |\n|---|---|---|---|---|---|---|\n"
	for _, p := range passes {
		failed := map[string]bool{}
		for _, minor := range minors {
			t.Run(fmt.Sprintf("%s/4.%d", p.name, minor), func(t *testing.T) {
				jobs := suite.Jobs(slices.DeleteFunc(suite.All(), func(test suite.Test) bool { return !p.in(&test) }), minor)
				all := len(jobs)
				jobs = slices.DeleteFunc(jobs, func(j suite.Job) bool { return told.deadly[name(j.Test.Code, minor)] })
				argued := told.failures[p.strict]
				results := run(t, target, jobs, func(res suite.Result) {
					failed[res.Test.Code] = true
					if argued[res.Name()] {
						t.Logf("argued: %v", res)
					} else {
						t.Errorf("not argued in docs/conformance.md: %v", res)
					}
				})
				for _, res := range results {
					if argued[res.Name()] && res.Outcome != suite.Fail && !told.atTimes[res.Name()] {
						t.Errorf("%s is argued in docs/conformance.md and does not fail: %v", res.Name(), res)
					}
				}
				n := suite.Count(results)
				table += fmt.Sprintf("| %s | 4.%d | %d | %d | %d | %d | %d |\n", p.name, minor, n.Passed, n.Failed, n.Unsupported, n.Skipped, all-len(results))
				t.Logf("what did not apply, and why:\n%s", reasons(t, results))
			})
		}
		table += fmt.Sprintf("\n%s, %s: %d different tests failed: %v\n\n", peer, p.name, len(failed), slices.Sorted(maps.Keys(failed)))
	}
	t.Log(table)
}

// reasons tells why tests were unsupported or skipped.
func reasons(t *testing.T, results []suite.Result) string {
	var b strings.Builder
	if err := suite.WriteText(&b, results); err != nil {
		t.Error(err)
	}
	return b.String()
}

// find returns the test of a code, or nil.
func find(code string) *suite.Test {
	for _, test := range suite.All() {
		if test.Code == code {
			return &test
		}
	}
	return nil
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

// told is what the tables under a peer's heading of docs/conformance.md say, by
// names of results such as LOCK12/4.1.
type told struct {
	failures map[bool]map[string]bool // of tests that are flagged strict, and of all others
	deadly   map[string]bool          // what the peer does not survive
	atTimes  map[string]bool          // failures that come with luck only: what passes has no row less
}

// The lines that begin the tables behind the first one.
const (
	strictLine = "\nOf the tests flagged `strict`"
	deadlyLine = "\nNot run"
)

// arguments reads the tables. What they name must be a test, of the flag that its
// table is about.
func arguments(t *testing.T, peer string) told {
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
	failures, deadly, _ := strings.Cut(section, deadlyLine)
	failures, toTheLetter, _ := strings.Cut(failures, strictLine)
	met, letter, ends := rows(failures), rows(toTheLetter), rows(deadly)
	for strict, names := range map[bool]map[string]bool{false: met, true: letter} {
		for n := range names {
			code, _, _ := strings.Cut(n, "/")
			if test := find(code); test == nil || test.Has("strict") != strict {
				t.Errorf("docs/conformance.md: there is no test %s, or it stands in the wrong table", code)
			}
		}
	}
	return told{map[bool]map[string]bool{false: met, true: letter}, ends, rowsOf(section, atTimes)}
}

var row = regexp.MustCompile("(?m)^\\| (`[A-Z0-9]+`(?:, `[A-Z0-9]+`)*) \\| (all|4\\.[012](?:, 4\\.[012])*)(" + atTimes + ")? \\|")

// atTimes is what a row says of a failure that comes with luck only.
const atTimes = ", at times"

// rows returns the tests and minor versions that begin the rows of tables.
func rows(text string) map[string]bool { return rowsOf(text, "") }

// rowsOf returns those of rows that say also what is given, or of all.
func rowsOf(text, also string) map[string]bool {
	names := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		if also != "" && m[3] != also {
			continue
		}
		for code := range strings.SplitSeq(m[1], ", ") {
			code = strings.Trim(code, "`")
			for minor := range uint32(3) {
				if m[2] == "all" || strings.Contains(m[2], fmt.Sprintf("4.%d", minor)) {
					names[name(code, minor)] = true
				}
			}
		}
	}
	return names
}

// name is a result's.
func name(code string, minor uint32) string {
	return suite.Result{Test: suite.Test{Code: code}, Minor: minor}.Name()
}

// A row names tests and minor versions, and no other table's.
func TestRows(t *testing.T) {
	const table = "\n| test | minor versions | what |\n|---|---|---|\n| `A1`, `B22` | 4.1, 4.2 | `C3` |\n| `D4` | all, at times | `E5` fails |\n"
	got := rows(table)
	want := []string{"A1/4.1", "A1/4.2", "B22/4.1", "B22/4.2", "D4/4.0", "D4/4.1", "D4/4.2"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if lucky := slices.Sorted(maps.Keys(rowsOf(table, atTimes))); !slices.Equal(lucky, want[4:]) {
		t.Errorf("at times: %v", lucky)
	}
}

// Each table can be read, and each of its rows.
func TestTables(t *testing.T) {
	for _, peer := range []string{"Linux", "NFS-Ganesha"} {
		arguments(t, peer)
	}
	if len(arguments(t, "Linux").failures[true]) == 0 || len(arguments(t, "Linux").deadly) == 0 {
		t.Error("docs/conformance.md: no row of a table is read")
	}
}
