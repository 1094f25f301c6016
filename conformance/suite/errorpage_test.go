package suite

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/nfs4"
)

var update = flag.Bool("update", false, "write docs/conformance-errors.md anew")

const errorPageFile = "../../docs/conformance-errors.md"

// checkErrorPage holds the committed page against what a whole run of the suite
// provoked.
func checkErrorPage(t *testing.T, results []Result) {
	t.Helper()
	if *update {
		updateErrorPage(t, results)
		return
	}
	page, wrong := ErrorPage(results)
	for _, w := range wrong {
		t.Error(w)
	}
	have, err := os.ReadFile(errorPageFile)
	if err != nil {
		t.Fatal(err)
	}
	was := strings.Split(string(have), "\n")
	for i, line := range strings.Split(page, "\n") {
		if i >= len(was) || was[i] != line {
			t.Errorf("docs/conformance-errors.md is out of date (go test ./conformance/suite -run TestHoldfast -update): line %d should be\n%s", i+1, line)
			break
		}
	}
}

// updateErrorPage writes the page anew, and holes.txt without the lines that
// speak of what is provoked. Reasons it has none to give: those are written by
// hand.
func updateErrorPage(t *testing.T, results []Result) {
	t.Helper()
	holes, err := parseHoles(holesText)
	if err != nil {
		t.Fatal(err)
	}
	p := newErrorPage(holes, results)
	lines := strings.Split(holesText, "\n")
	for _, h := range slices.Backward(holes) {
		if p.idle(h) {
			lines = slices.Delete(lines, h.line-1, h.line)
		}
	}
	text := strings.Join(lines, "\n")
	for _, h := range p.bare {
		t.Errorf("%s of %s (%s) is not provoked and holes.txt gives no reason", h.err, h.op, h.list)
	}
	if holes, err = parseHoles(text); err != nil {
		t.Fatal(err)
	}
	page := newErrorPage(holes, results).text()
	for file, text := range map[string]string{errorPageFile: page, "holes.txt": text} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A pass that demanded an error covers it in its own minor version; a failure
// covers nothing, and a hole without a reason is told.
func TestErrorPage(t *testing.T) {
	lock := Test{Code: "LOCK99", RFC: "RFC 8881 §18.10"}
	denied := []Provoked{{nfs4.OpLock, nfs4.ErrDenied}}
	page, wrong := ErrorPage([]Result{
		{Test: lock, Minor: 0, Outcome: Pass, Provoked: denied},
		{Test: lock, Minor: 1, Outcome: Fail, Provoked: denied},
	})
	v0, v1, _ := strings.Cut(page, "## NFSv4.1")
	if !strings.Contains(v0, "| LOCK | DENIED (LOCK99) |") || strings.Contains(v1, "DENIED (LOCK99)") {
		t.Error("the page does not tell what was provoked")
	}
	const told = "DENIED of LOCK (4.1) is not provoked and holes.txt gives no reason"
	if all := strings.Join(wrong, "\n"); !strings.Contains(all, told) || strings.Contains(all, "DENIED of LOCK (4.0)") {
		t.Errorf("%q is not among\n%s", told, all)
	}
}

// The first line that fits counts, and lines are well formed.
func TestHoles(t *testing.T) {
	holes, err := parseHoles(holesText)
	if err != nil {
		t.Fatal(err)
	}
	lists := map[string]map[string][]string{}
	for _, l := range errorLists {
		_, lists[l.name] = l.errorsOf()
	}
	for _, h := range holes {
		if strings.Contains(h.reason, "OPEN") && len(h.reason) < 10 {
			t.Errorf("holes.txt:%d: %q is no reason", h.line, h.reason)
		}
		if h.exact() && lists[h.list][h.op] == nil {
			t.Errorf("holes.txt:%d: no table %s with operation %s", h.line, h.list, h.op)
		}
	}
	if _, err := parseHoles("4.0 LOCK DENIED"); err == nil {
		t.Error("a line without a reason is accepted")
	}
}
