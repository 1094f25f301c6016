// Package conformance checks NFSv4.0, 4.1 and 4.2 servers against the RFCs from a
// Go test of any module:
//
//	func TestServer(t *testing.T) {
//		conformance.Run(t, conformance.Target{Servers: []string{"127.0.0.1:2049"}, Path: "export"})
//	}
//
// Each test of the suite is a subtest, named after minor version and code, so that
// go test's -run chooses among them. The same tests are in the command "holdfast
// conformance"; package suite holds them.
package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/suite"
)

// The ways to spread what is sent over several addresses.
const (
	SpreadTest       = suite.SpreadTest       // each test has an address
	SpreadConnection = suite.SpreadConnection // consecutive connections take different addresses
	SpreadRequest    = suite.SpreadRequest    // consecutive requests of each connection do
)

// A Target is a server under test.
type Target struct {
	// Servers are the HOST:PORT addresses of one server, or of several that claim
	// to be one. With two or more the tests of sharing run too.
	Servers []string
	// Path is a directory below the server's root in which the tests may work as
	// root: the export must not squash root. Each run has a directory of its own
	// there and removes it. "" is the root itself.
	Path string
	// Minors are the minor versions to check, 0 to 2; none is all.
	Minors []uint32
	// Tests are codes, families and flags of tests, and with '!' in front those to
	// leave out, as on the command line of "holdfast conformance"; none is all.
	Tests []string
	// Timeout bounds the wait for each reply; 0 is 20 s.
	Timeout time.Duration
	// Slow runs also the tests that wait for the server's leases to end.
	Slow bool
	// Optional runs also the tests of what the RFCs recommend or allow.
	Optional bool
	// Parallel makes tests run beside each other if it is 2 or more: as many as go
	// test's -parallel says, whatever the number.
	Parallel int
	// Spread says what goes to different addresses; "" is nothing.
	Spread suite.Spread
	// Chaos kills or drains one of the servers, and returns when it may be called
	// again; nil disturbs nothing. It is called after each ChaosEvery tests (0 is
	// 20), by one goroutine at a time, while tests run. Clients connect to another
	// address then, and send again what was not answered. An error fails the run,
	// as does a context that ends: it is the one of the run's *testing.T.
	Chaos      func(ctx context.Context) error
	ChaosEvery int
}

// Run runs the suite as subtests of t. A test that does not apply to the target is
// skipped and says why, as is one for which the server lacks something that the RFC
// lets it lack; a test that fails shows the requests and replies that led there.
//
// A target that cannot be checked ends t at once: none of its Servers answers, the
// Path is not there or not writable for root, or Minors, Tests or Spread name
// nothing that there is.
//
// Runs may go on beside each other against different servers. Against one server
// they may not: some tests disturb whatever else that server does, and Run keeps
// only its own out of their way.
func Run(t *testing.T, target Target) {
	t.Helper()
	s, tests, err := target.plan()
	if err != nil {
		t.Fatalf("conformance: %v", err)
	}
	suite.Verify(t, s, tests, target.Minors...)
}

// plan returns the target in the suite's terms, and the tests to run. It never
// returns a plan of no tests, which would pass.
func (t *Target) plan() (suite.Target, []suite.Test, error) {
	s := suite.Target{
		Path: strings.Trim(t.Path, "/"), Timeout: t.Timeout, Slow: t.Slow, Optional: t.Optional,
		Parallel: t.Parallel, Chaos: t.Chaos, ChaosEvery: cmp.Or(t.ChaosEvery, 20),
	}
	for _, addr := range t.Servers {
		s.Addresses = append(s.Addresses, client.TCP(addr))
	}
	if len(s.Addresses) == 0 {
		return s, nil, errors.New("the target has no Servers")
	}
	for _, m := range t.Minors {
		if m > 2 {
			return s, nil, fmt.Errorf("there is no minor version %d", m)
		}
	}
	var err error
	if s.Spread, err = suite.ParseSpread(string(t.Spread)); err != nil {
		return s, nil, err
	}
	tests, err := suite.Select(t.Tests)
	if err != nil {
		return s, nil, err
	}
	if len(t.Minors) > 0 && len(suite.Jobs(tests, t.Minors...)) == 0 || len(tests) == 0 {
		return s, nil, fmt.Errorf("%q are no tests of minor versions %v", t.Tests, t.Minors)
	}
	return s, tests, nil
}
