package suite

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
	"time"
)

// ended are results of every outcome, with text that needs quoting.
func ended() []Result {
	lock := Test{Code: "LOCK99", RFC: "RFC 8881 §18.10", Says: `a lock of "<all>" & more`}
	lease := Test{Code: "LEASE99", RFC: "RFC 8881 §8.3", Says: "a lease ends"}
	return []Result{
		{Test: lock, Minor: 0, Outcome: Pass, Took: 1500 * time.Millisecond},
		{Test: lock, Minor: 1, Outcome: Fail, Took: time.Second, Messages: []string{"got <nothing>"}, Exchange: []string{"→ LOCK", "← ]]> \x01"}},
		{Test: lease, Minor: 0, Outcome: Skip, Messages: []string{"too slow"}},
		{Test: lease, Minor: 1, Outcome: Skip, Messages: []string{"too slow"}},
		{Test: lease, Minor: 2, Outcome: Unsupported, Messages: []string{"no leases"}},
	}
}

func TestCount(t *testing.T) {
	sum := Count(ended())
	if sum != (Sum{Passed: 1, Failed: 1, Unsupported: 1, Skipped: 2}) || sum.String() != "1 passed, 1 failed, 1 unsupported, 2 skipped" {
		t.Error(sum)
	}
}

// Each reason is told once, with all it holds for.
func TestWriteText(t *testing.T) {
	var b strings.Builder
	if err := WriteText(&b, ended()); err != nil {
		t.Fatal(err)
	}
	const want = "skip: too slow\n    LEASE99/4.0 LEASE99/4.1\nunsupported: no leases\n    LEASE99/4.2\n1 passed, 1 failed, 1 unsupported, 2 skipped\n"
	if b.String() != want {
		t.Errorf("%q", b.String())
	}
}

// A failure tells sentence, messages and exchange; what passed is one line.
func TestResultString(t *testing.T) {
	all := ended()
	if s := all[0].String(); s != "PASS LOCK99 v4.0 (1.5s)" {
		t.Errorf("%q", s)
	}
	for _, part := range []string{"FAIL LOCK99 v4.1 (1s)\n", "RFC 8881 §18.10: a lock", "\n    got <nothing>\n", "→ LOCK"} {
		if !strings.Contains(all[1].String(), part) {
			t.Errorf("%q is not in %q", part, all[1].String())
		}
	}
}

func TestWriteJSON(t *testing.T) {
	var b strings.Builder
	if err := WriteJSON(&b, ended()); err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte(b.String()), &rows); err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if r := rows[0]; r["code"] != "LOCK99" || r["outcome"] != "pass" || r["seconds"] != 1.5 || r["messages"] != nil {
		t.Error(r)
	}
	if r := rows[1]; r["outcome"] != "fail" || r["minor"] != 1.0 || len(r["exchange"].([]any)) != 2 || r["says"] != `a lock of "<all>" & more` {
		t.Error(r)
	}
	b.Reset()
	if err := WriteJSON(&b, nil); err != nil || strings.TrimSpace(b.String()) != "[]" {
		t.Errorf("no results are %q, %v", b.String(), err)
	}
}

// The report is XML whatever a server sent, its counts are those of its cases,
// and a minor version without tests has no suite.
func TestWriteJUnit(t *testing.T) {
	var b strings.Builder
	if err := WriteJUnit(&b, ended()[:4]); err != nil {
		t.Fatal(err)
	}
	var doc junitSuites
	if err := xml.Unmarshal([]byte(b.String()), &doc); err != nil {
		t.Fatalf("%v: %s", err, b.String())
	}
	if len(doc.Suites) != 2 {
		t.Fatalf("%d suites", len(doc.Suites))
	}
	v0, v1 := doc.Suites[0], doc.Suites[1]
	if v0.Name != "NFSv4.0" || v0.Tests != 2 || v0.Failures != 0 || v0.Skipped != 1 || v0.Time != 1.5 {
		t.Errorf("%+v", v0)
	}
	if v1.Name != "NFSv4.1" || v1.Tests != 2 || v1.Failures != 1 || v1.Skipped != 1 {
		t.Errorf("%+v", v1)
	}
	c := v1.Cases[0]
	if c.Class != "NFSv4.1.LOCK" || c.Name != "LOCK99" || c.Failure.Message != `RFC 8881 §18.10: a lock of "<all>" & more` ||
		!strings.HasPrefix(c.Failure.Text, "got <nothing>\n→ LOCK\n← ]]>") {
		t.Errorf("%+v %+v", c, c.Failure)
	}
	if s := v0.Cases[1].Skipped; s == nil || s.Message != "skip: too slow" {
		t.Errorf("%+v", s)
	}
}
