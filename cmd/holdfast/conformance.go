package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/conformance/client"
	"holdfast/conformance/suite"
)

// conformanceFlags are those of "holdfast conformance".
type conformanceFlags struct {
	servers, minors                              []string
	path, spread, chaos, junit                   string
	chaosEvery, parallel                         int
	timeout                                      time.Duration
	list, asJSON, asErrors, verbose, slow, extra bool
}

// conformanceCommand runs the conformance suite against any NFSv4 server.
func conformanceCommand() *cobra.Command {
	var o conformanceFlags
	cmd := &cobra.Command{
		Use:   "conformance --server HOST:PORT[,HOST:PORT...] [--path DIR] [CODE|FLAG|!FLAG]...",
		Short: "Check an NFSv4 server against the RFCs",
		Long: `Check an NFSv4 server against RFC 7530, 8881, 7862, 8275 and 8276. Each test has a
code (LOCK12) and flags (lock, replay, slow...), and checks one sentence of an RFC,
which --list shows. Tests work as root in a directory of the run's own below --path,
which is removed at the end: the export must be writable and must not squash root.

Several addresses are those of one server, or of servers that claim to be one. Then
the tests flagged "sharing" run too, and --spread sends consecutive requests,
connections or tests to different addresses. --chaos gives a command of the shell that
kills or drains one of them; it runs again and again, while tests run, and clients
connect to another address and send again what was not answered.

A test passes, fails, is unsupported (the server says that it lacks something that
the RFC lets it lack) or skipped (it does not apply, for the reason told). The exit
status is 1 if a test failed.`,
		Example: `  holdfast conformance --list
  holdfast conformance --server 127.0.0.1:2049 --path /export
  holdfast conformance --server 127.0.0.1:2049 --minor 1 lock '!LOCK21'
  holdfast conformance --server gw1:2049,gw2:2049,gw3:2049 --spread request --chaos ./kill-one`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.servers, "server", nil, "server to check, HOST:PORT; several are one server's addresses")
	f.StringVar(&o.path, "path", "", "directory on the server to work in")
	f.StringSliceVar(&o.minors, "minor", []string{"0", "1", "2"}, "minor versions to check")
	f.StringVar(&o.spread, "spread", "", "send consecutive requests, connections or tests to different addresses: request, connection, test")
	f.StringVar(&o.chaos, "chaos", "", "command that kills or drains one of the servers")
	f.IntVar(&o.chaosEvery, "chaos-every", 20, "tests between two runs of the command of --chaos")
	f.IntVar(&o.parallel, "parallel", 1, "tests to run at once")
	f.DurationVar(&o.timeout, "timeout", 0, "wait for each reply (default 20s)")
	f.BoolVar(&o.list, "list", false, "list the tests")
	f.BoolVar(&o.asJSON, "json", false, "print the results as JSON")
	f.StringVar(&o.junit, "junit", "", "write the results to a file, as JUnit XML")
	f.BoolVar(&o.asErrors, "errors", false, "print which errors of which operations were provoked, as Markdown")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print each test, not only failures")
	f.BoolVar(&o.slow, "slow", false, "run tests that wait for leases to end, too")
	f.BoolVar(&o.extra, "optional", false, "run tests of what the RFCs recommend or allow, too")
	return cmd
}

func (o *conformanceFlags) run(cmd *cobra.Command, words []string) error {
	tests, err := suite.Select(words)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if o.list {
		return listTests(out, tests)
	}
	jobs, err := o.jobs(tests)
	if err != nil {
		return err
	}
	target, err := o.target()
	if err != nil {
		return err
	}
	run, err := suite.NewRun(cmd.Context(), target)
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(o.servers, ","), err)
	}
	p := o.progress(out, cmd.ErrOrStderr(), len(jobs))
	results := run.Tests(jobs, p.done)
	p.end()
	// What it could not remove it leaves; chaos that failed is an error.
	return errors.Join(run.Close(), o.report(out, results), cmd.Context().Err())
}

// jobs returns the runs of the tests in the minor versions asked for.
func (o *conformanceFlags) jobs(tests []suite.Test) ([]suite.Job, error) {
	var minors []uint32
	for _, m := range o.minors {
		if m = strings.TrimPrefix(m, "4."); len(m) != 1 || m[0] < '0' || m[0] > '2' {
			return nil, fmt.Errorf("minor version %q is not allowed; there are 0, 1 and 2", m)
		}
		minors = append(minors, uint32(m[0]-'0'))
	}
	return suite.Jobs(tests, minors...), nil
}

// target returns what is to be tested.
func (o *conformanceFlags) target() (suite.Target, error) {
	t := suite.Target{
		Path: strings.Trim(o.path, "/"), Timeout: o.timeout, Slow: o.slow, Optional: o.extra,
		Parallel: o.parallel, ChaosEvery: o.chaosEvery,
	}
	if len(o.servers) == 0 {
		return t, errors.New("--server HOST:PORT is needed")
	}
	for _, s := range o.servers {
		t.Addresses = append(t.Addresses, client.TCP(s))
	}
	var err error
	if t.Spread, err = suite.ParseSpread(o.spread); err != nil {
		return t, err
	}
	if o.chaos != "" {
		t.Chaos = suite.ChaosCommand(o.chaos)
	}
	return t, nil
}

// report prints the results. The error says that tests failed.
func (o *conformanceFlags) report(out io.Writer, results []suite.Result) error {
	var err error
	switch {
	case o.asErrors:
		page, _ := suite.ErrorPage(results)
		_, err = io.WriteString(out, page)
	case o.asJSON:
		err = suite.WriteJSON(out, results)
	default:
		err = suite.WriteText(out, results)
	}
	if o.junit != "" {
		err = errors.Join(err, writeJUnit(o.junit, results))
	}
	if n := suite.Count(results).Failed; n > 0 {
		err = errors.Join(err, fmt.Errorf("%d tests failed", n))
	}
	return err
}

func writeJUnit(path string, results []suite.Result) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(suite.WriteJUnit(f, results), f.Close())
}

// listTests prints what there is.
func listTests(out io.Writer, tests []suite.Test) error {
	for _, t := range tests {
		needs := ""
		if n := t.Needs(); n != "" {
			needs = " [" + n + "]"
		}
		_, err := fmt.Fprintf(out, "%-9s %-11s %s\n          %s: %s%s\n", t.Code, t.Versions(), strings.Join(t.AllFlags(), " "), t.RFC, t.Says, needs)
		if err != nil {
			return err
		}
	}
	return nil
}

// A progress shows results as they come, and on a terminal how many.
type progress struct {
	out, terminal io.Writer // terminal is nil if there is none
	lines         func(suite.Result) bool
	n, all        int
	failed        int
}

// progress returns what shows the run, as far as the flags let it.
func (o *conformanceFlags) progress(out, errOut io.Writer, all int) *progress {
	p := &progress{out: out, all: all, lines: func(r suite.Result) bool {
		return !o.asJSON && !o.asErrors && (o.verbose || r.Outcome == suite.Fail)
	}}
	if f, ok := errOut.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			p.terminal = f
		}
	}
	return p
}

const clearLine = "\r\x1b[K"

func (p *progress) done(r suite.Result) {
	p.n++
	if r.Outcome == suite.Fail {
		p.failed++
	}
	p.end()
	if p.lines(r) {
		fmt.Fprintln(p.out, r)
	}
	if p.terminal != nil {
		fmt.Fprintf(p.terminal, "%d of %d, %d failed: %s", p.n, p.all, p.failed, r.Name())
	}
}

// end takes the line of progress away.
func (p *progress) end() {
	if p.terminal != nil {
		fmt.Fprint(p.terminal, clearLine)
	}
}
