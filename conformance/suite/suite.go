package suite

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
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
	// Optional runs also the tests flagged optional: what the RFC recommends or
	// allows, and Holdfast promises.
	Optional bool
}

// The minor versions a test applies to.
const (
	v0    = 1 << 0
	v1    = 1 << 1
	v2    = 1 << 2
	v12   = v1 | v2
	all   = v0 | v12
	slow  = "slow"
	extra = "optional"
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
	// Flags are "slow", "optional" or both, separated by spaces.
	Flags string
}

// Minor says whether the test applies to a minor version.
func (t *Test) Minor(m uint32) bool { return m <= 2 && t.minors&(1<<m) != 0 }

// Family returns the code without its number.
func (t *Test) Family() string { return strings.TrimRight(t.Code, "0123456789") }

// Has says whether the test has a flag.
func (t *Test) Has(flag string) bool { return slices.Contains(strings.Fields(t.Flags), flag) }

// All returns every test, in order.
func All() []Test {
	return slices.Concat(
		rpcTests(), compoundTests(), opTests(), stateidUseTests(), nameCaseTests(), overlapTests(), attrFamilies(), attrSetTests(), shareCaseTests(), openClaimTests(), exclusiveTests(), slotReplayTests(), ownerReplayTests(), readdirCaseTests(), deniedTests(), v42CaseTests(), exchangeTests(), createSessionTests(), sequenceTests(), sessionTests(), clientIDTests(),
		handleTests(), lookupTests(), attrTests(), setattrTests(), verifyTests(), createTests(), linkTests(), removeTests(), renameTests(), readdirTests(),
		ioTests(), stateidTests(), openTests(), createModeTests(), shareTests(), lockTests(), lockRangeTests(), seqidTests(), nameTests(), xdrTests(), v42Tests(), copyTests(), xattrTests(), pnfsTests(),
		exactlyOnceTests(), leaseTests(), permissionTests(), unitedTests(),
	)
}

// Outcome of a test.
type Outcome string

// The outcomes.
const (
	Pass Outcome = "PASS"
	Fail Outcome = "FAIL"
	Skip Outcome = "SKIP"
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
	return s
}

// RunTest runs one test for one minor version.
func RunTest(ctx context.Context, target Target, test Test, minor uint32) Result {
	e := &Env{Target: target, Minor: minor, ctx: ctx}
	start := time.Now()
	done := make(chan struct{})
	// A goroutine of its own, so that a failure may end the test from anywhere.
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil && r != errStop {
				e.failed = true
				e.messages = append(e.messages, fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
			}
			e.cleanup()
		}()
		if (test.Has(slow) && !target.Slow) || (test.Has(extra) && !target.Optional) {
			e.Skipf("flagged %q", test.Flags)
		}
		test.run(e)
		e.settle()
	}()
	<-done
	res := Result{Test: test, Minor: minor, Outcome: Pass, Messages: e.messages, Took: time.Since(start), Provoked: e.provoked}
	switch {
	case e.failed:
		res.Outcome = Fail
	case e.skipped:
		res.Outcome = Skip
	}
	return res
}

// Run runs the whole suite for the given minor versions, or for all three, as
// subtests.
func Run(t *testing.T, target Target, minors ...uint32) {
	if len(minors) == 0 {
		minors = []uint32{0, 1, 2}
	}
	for _, minor := range minors {
		t.Run(fmt.Sprintf("v4.%d", minor), func(t *testing.T) {
			for _, test := range All() {
				if !test.Minor(minor) {
					continue
				}
				t.Run(test.Code, func(t *testing.T) {
					report(t, RunTest(t.Context(), target, test, minor))
				})
			}
		})
	}
}

// report ends a subtest as its result says.
func report(t *testing.T, res Result) {
	switch res.Outcome {
	case Fail:
		t.Errorf("%v", res)
	case Skip:
		t.Skip(strings.Join(res.Messages, "; "))
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
