package suite

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// A Target is a server under test.
type Target struct {
	// Dial makes a connection to the server.
	Dial func(ctx context.Context) (net.Conn, error)
	// Path is a directory below the server's root where tests may work, as
	// root: the export must not squash root. "" is the root itself.
	Path string
	// Timeout bounds the wait for each reply; 0 is 20 s.
	Timeout time.Duration
	// Slow runs also the tests flagged slow, which wait for leases to end.
	Slow bool
	// Addresses are those of a server that has several, or of several that claim
	// to be one. Dial is not used then.
	Addresses []Dial
	// Spread says what goes to different addresses.
	Spread Spread
	// Chaos kills or drains one of the servers, and returns when it may be called
	// again. It is called after each ChaosEvery tests and while others run.
	Chaos      func(ctx context.Context) error
	ChaosEvery int
	// Parallel is how many tests run at once; 0 is 1.
	Parallel int
	// Optional runs also the tests flagged optional: what the RFC recommends or
	// allows, and Holdfast promises.
	Optional bool
}

// The minor versions a test applies to.
const (
	v0  = 1 << 0
	v1  = 1 << 1
	v2  = 1 << 2
	v12 = v1 | v2
	all = v0 | v12
)

// A Test checks one sentence.
type Test struct {
	// Code names the test for good: a family and a number.
	Code string
	// minors are the minor versions it applies to.
	minors uint8
	// RFC is the document and section.
	RFC string
	// Says is the sentence, in the suite's words.
	Says string
	// run checks it.
	run func(e *Env)
	// Flags are words, separated by spaces, beside those of the family: AllFlags.
	Flags string
}

// Minor says whether the test applies to a minor version.
func (t *Test) Minor(m uint32) bool { return m <= 2 && t.minors&(1<<m) != 0 }

// Versions lists the minor versions that the test applies to.
func (t *Test) Versions() string {
	var all []string
	for m := range uint32(3) {
		if t.Minor(m) {
			all = append(all, fmt.Sprintf("4.%d", m))
		}
	}
	return strings.Join(all, " ")
}

// Family returns the code without its number.
func (t *Test) Family() string { return strings.TrimRight(t.Code, "0123456789") }

// All returns every test, in order.
func All() []Test {
	return slices.Concat(
		rpcTests(), compoundTests(), opTests(), stateidUseTests(), nameCaseTests(), overlapTests(), attrFamilies(), attrSetTests(), shareCaseTests(), openClaimTests(), exclusiveTests(), slotReplayTests(), ownerReplayTests(), readdirCaseTests(), deniedTests(), v42CaseTests(), exchangeTests(), createSessionTests(), sequenceTests(), sessionTests(), clientIDTests(), tooBigTests(), errorCases(),
		handleTests(), lookupTests(), attrTests(), setattrTests(), verifyTests(), createTests(), linkTests(), removeTests(), renameTests(), readdirTests(),
		ioTests(), stateidTests(), openTests(), createModeTests(), shareTests(), lockTests(), lockRangeTests(), seqidTests(), nameTests(), xdrTests(), v42Tests(), copyTests(), xattrTests(), pnfsTests(),
		exactlyOnceTests(), leaseTests(), permissionTests(), unitedTests(), sharingTests(), raceTests(),
	)
}

// Outcome of a test.
type Outcome string

// The outcomes.
const (
	Pass        Outcome = "PASS"
	Fail        Outcome = "FAIL"
	Unsupported Outcome = "UNSUPPORTED" // the server said that it lacks what the RFC lets it lack
	Skip        Outcome = "SKIP"        // the test does not apply to the target or its mode
)

// A Result is how a test ended for one minor version.
type Result struct {
	Test    Test
	Minor   uint32
	Outcome Outcome
	// Messages say what failed or why it was skipped.
	Messages []string
	Took     time.Duration
	// Provoked are the errors that the test demanded and got.
	Provoked []Provoked
	// Exchange are the last requests and replies of a test that failed.
	Exchange []string
}

// String is one line, or several for a failure.
func (r Result) String() string {
	s := fmt.Sprintf("%s %s v4.%d (%v)", r.Outcome, r.Test.Code, r.Minor, r.Took.Round(time.Millisecond))
	if r.Outcome == Fail {
		s += fmt.Sprintf("\n    %s: %s", r.Test.RFC, r.Test.Says)
	}
	for _, m := range r.Messages {
		s += "\n    " + m
	}
	for _, x := range r.Exchange {
		s += "\n        " + x
	}
	return s
}

// Verify runs tests for the given minor versions, or for all three, as subtests
// in a directory of their own.
func Verify(t *testing.T, target Target, tests []Test, minors ...uint32) []Result {
	t.Helper()
	if len(minors) == 0 {
		minors = []uint32{0, 1, 2}
	}
	run, err := NewRun(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	jobs := Jobs(tests, minors...)
	results := make([]Result, len(jobs))
	t.Run("suite", func(t *testing.T) {
		for i, job := range jobs {
			t.Run(fmt.Sprintf("v4.%d/%s", job.Minor, job.Test.Code), func(t *testing.T) {
				if target.Parallel > 1 {
					t.Parallel()
				}
				results[i] = run.Test(job.Test, job.Minor)
				report(t, results[i])
			})
		}
	})
	if err := run.Close(); err != nil {
		t.Error(err)
	}
	return results
}

// report ends a subtest as its result says.
func report(t *testing.T, res Result) {
	switch res.Outcome {
	case Fail:
		t.Errorf("%v", res)
	case Skip, Unsupported:
		t.Skip(strings.ToLower(string(res.Outcome)) + ": " + strings.Join(res.Messages, "; "))
	}
}

// is makes a list of statuses.
func is(s ...nfs4.Status) []nfs4.Status { return s }

// get returns the value of the first result of type T, or fails the test.
func get[T any](e *Env, p *client.Reply) *T {
	v := client.Get[T](p)
	if v == nil {
		var want T
		e.Fatalf("no %T in %v", want, p)
	}
	return v
}
