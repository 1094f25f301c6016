package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// typed is what a user gets who types "holdfast conformance".
type typed struct {
	out, errOut string
	status      int
}

func conformance(t *testing.T, args ...string) typed {
	t.Helper()
	cmd := program(append([]string{"conformance"}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return typed{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// conformsHere starts a gateway for the suite, which acts as several users.
func conformsHere(t *testing.T, args ...string) *daemon {
	t.Helper()
	needRoot(t)
	dir, state := place(t)
	return start(t, append([]string{dir, "--state", state, "--listen", "127.0.0.1:0", "--no-root-squash"}, args...)...)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the suite acts as several users: it needs root")
	}
}

// junit is what readers of JUnit's XML know.
type junit struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Cases    []struct {
			Class   string     `xml:"classname,attr"`
			Name    string     `xml:"name,attr"`
			Failure *junitText `xml:"failure"`
			Skipped *junitText `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// readJUnit reads a report and holds what it counts against its cases.
func readJUnit(t *testing.T, file string) (all junit, passed, failed, skipped int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(text, &all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, s := range all.Suites {
		f, k := 0, 0
		for _, c := range s.Cases {
			if c.Failure != nil {
				f++
			}
			if c.Skipped != nil {
				k++
			}
		}
		if s.Tests != len(s.Cases) || s.Failures != f || s.Skipped != k {
			t.Errorf("suite %s says %d tests, %d failures, %d skipped and has %d, %d, %d", s.Name, s.Tests, s.Failures, s.Skipped, len(s.Cases), f, k)
		}
		passed, failed, skipped = passed+len(s.Cases)-f-k, failed+f, skipped+k
	}
	return all, passed, failed, skipped
}

var sumLine = regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed, (\d+) unsupported, (\d+) skipped\n\z`)

// sums reads the last line.
func sums(t *testing.T, got typed) (passed, failed, unsupported, skipped int) {
	t.Helper()
	m := sumLine.FindStringSubmatch(got.out)
	if m == nil {
		t.Fatalf("no line of sums at the end of %q, %s", got.out, got.errOut)
	}
	n := make([]int, 4)
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1])
	}
	return n[0], n[1], n[2], n[3]
}

// restart is a command for --chaos as a user would write it: it kills the
// gateway and starts it again on its port. It also starts the first one. What
// was killed holds its state and its port until its last thread has ended; its
// first thread, whose state the process shows, may be a zombie long before.
const restart = `#!/bin/sh
set -eu
cd "$(dirname "$0")"
ended() {
	[ -e "/proc/$1/status" ] || return 0
	grep -q '^State:.Z' "/proc/$1/status" 2> /dev/null || return 1
	set -- "/proc/$1/task/"*
	[ $# -eq 1 ]
}
echo "${HOLDFAST_CHAOS:-first}" >> calls
if [ -e pid ]; then
	old=$(cat pid)
	kill -9 "$old"
	until ended "$old"; do sleep 0.02; done
fi
"$HOLDFAST" serve data --state "$STATE" --listen "$ADDR" --no-root-squash > said 2>> log < /dev/null &
echo $! > pid
until grep -q 'mount -t nfs4' said; do
	kill -0 $! || { cat log >&2; exit 1; }
	sleep 0.02
done
`

// restarting starts a gateway by the script and returns where it listens, the
// script, and a function that tells with which numbers it was called.
func restarting(t *testing.T) (addr, script string, calls func() []string) {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	script = filepath.Join(dir, "restart")
	if err := os.WriteFile(script, []byte(restart), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	t.Setenv("HOLDFAST", os.Args[0])
	t.Setenv("ADDR", addr)
	t.Setenv("STATE", filepath.Join(fastDir(t), "state"))
	t.Setenv(asProgram, "1")
	t.Cleanup(func() {
		killNamed(t, filepath.Join(dir, "pid"))
		if t.Failed() {
			said, err := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("the gateway's log (%v):\n%s", err, said)
		}
	})
	if out, err := exec.Command(script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return addr, script, func() []string {
		text, err := os.ReadFile(filepath.Join(dir, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(text))
	}
}

// fastDir returns a directory in memory, where there is one: a process that is
// killed while it waits for a busy disk ends only when the disk has answered.
func fastDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-conformance-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// killNamed kills the process whose number is in a file.
func killNamed(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Error(err)
		return
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// --chaos: the gateway is killed and started again after each few tests, every
// test passes all the same, and the reports agree.
func TestConformanceChaos(t *testing.T) {
	addr, script, calls := restarting(t)
	report := filepath.Join(t.TempDir(), "junit.xml")
	got := conformance(t, "--server", addr, "--minor", "4.1", "--parallel", "4", "--chaos", script, "--chaos-every", "7", "--timeout", "5m", "--junit", report,
		"RM", "RN", "LINK", "RANGE", "AGAIN", "LEASE", "SHR")
	if got.status != 0 || got.errOut != "" {
		t.Errorf("status %d: %s%s", got.status, got.out, got.errOut)
	}
	passed, failed, unsupported, skipped := sums(t, got)
	if failed != 0 || passed < 30 || skipped < 2 {
		t.Errorf("%s", got.out)
	}
	for _, reason := range []string{"skip: it needs two addresses of one server\n    SHR1/4.1", "slow tests were not asked for\n    LEASE1/4.1"} {
		if !strings.Contains(got.out, reason) {
			t.Errorf("it does not say %q:\n%s", reason, got.out)
		}
	}
	all, p, f, s := readJUnit(t, report)
	if p != passed || f != failed || s != unsupported+skipped || len(all.Suites) != 1 || all.Suites[0].Name != "NFSv4.1" {
		t.Errorf("JUnit has %d passed, %d failed, %d skipped: %s", p, f, s, got.out)
	}
	want := []string{"first"}
	for i := range (passed + failed + skipped + unsupported) / 7 {
		want = append(want, fmt.Sprint(i))
	}
	if had := calls(); strings.Join(had, " ") != strings.Join(want, " ") {
		t.Errorf("the command was called as %v, want %v", had, want)
	}
}

// A command for --chaos that fails makes the run fail, though every test passes.
func TestConformanceChaosFails(t *testing.T) {
	d := conformsHere(t)
	got := conformance(t, "--server", d.addr, "--minor", "1", "--chaos", "echo no such gateway; exit 3", "--chaos-every", "2", "LOOK")
	if _, failed, _, _ := sums(t, got); failed != 0 {
		t.Error(got.out)
	}
	if got.status != 1 || !strings.Contains(got.errOut, "exit status 3\nno such gateway") {
		t.Errorf("status %d: %s", got.status, got.errOut)
	}
}

// A test that fails is told with the exchange that led there, on paper, in JSON
// and in JUnit, and in the exit status: this gateway grants one lock where the
// test RANGE1 needs several.
func TestConformanceFailure(t *testing.T) {
	d := conformsHere(t, "--limit", "locks=1")
	report := filepath.Join(t.TempDir(), "junit.xml")
	got := conformance(t, "--server", d.addr, "--minor", "1,2", "--junit", report, "RANGE1", "LOOK2")
	if got.status != 1 || !strings.Contains(got.errOut, "2 tests failed") {
		t.Errorf("status %d: %s", got.status, got.errOut)
	}
	for _, part := range []string{"FAIL RANGE1 v4.1", "FAIL RANGE1 v4.2", "RFC 8881", "→ COMPOUND v4.1: SEQUENCE", "← COMPOUND NFS4ERR_"} {
		if !strings.Contains(got.out, part) {
			t.Errorf("it does not say %q:\n%s", part, got.out)
		}
	}
	all, passed, failed, _ := readJUnit(t, report)
	if passed != 2 || failed != 2 || len(all.Suites) != 2 {
		t.Errorf("JUnit has %d passed and %d failed in %d suites", passed, failed, len(all.Suites))
	}
	for _, c := range all.Suites[0].Cases {
		if c.Name == "RANGE1" && (c.Class != "NFSv4.1.RANGE" || !strings.HasPrefix(c.Failure.Message, "RFC 8881") || !strings.Contains(c.Failure.Text, "→ COMPOUND")) {
			t.Errorf("%+v: %+v", c, c.Failure)
		}
	}

	got = conformance(t, "--server", d.addr, "--minor", "1", "--json", "RANGE1", "LOOK2", "LEASE1")
	var rows []struct {
		Code, Outcome, RFC, Says string
		Minor                    int
		Flags, Messages          []string
		Exchange                 []string
	}
	if err := json.Unmarshal([]byte(got.out), &rows); err != nil || got.status != 1 {
		t.Fatalf("status %d, %v: %s", got.status, err, got.out)
	}
	outcomes := make(map[string]string)
	for _, r := range rows {
		outcomes[r.Code] = r.Outcome
		if r.Minor != 1 || r.RFC == "" || r.Says == "" || len(r.Flags) == 0 || (r.Outcome == "fail") != (len(r.Exchange) > 0) {
			t.Errorf("%+v", r)
		}
	}
	if fmt.Sprint(outcomes) != "map[LEASE1:skip LOOK2:pass RANGE1:fail]" {
		t.Error(outcomes)
	}
}

// --spread: one gateway that is reached by two addresses passes, its requests
// sent to both in turn, and the tests of sharing run.
func TestConformanceSpread(t *testing.T) {
	d := conformsHere(t)
	_, port, _ := net.SplitHostPort(d.addr)
	servers := d.addr + ",localhost:" + port
	for _, how := range []string{"request", "connection", "test"} {
		got := conformance(t, "--server", servers, "--spread", how, "--parallel", "4", "-v", "RM", "SHR1", "SHR2")
		passed, failed, _, _ := sums(t, got)
		if got.status != 0 || failed != 0 || passed != strings.Count(got.out, "PASS ") || !strings.Contains(got.out, "PASS RM1 v4.0") {
			t.Errorf("--spread %s: status %d: %s%s", how, got.status, got.out, got.errOut)
		}
	}
}

// --list needs no server; what cannot be run is told, and the status is not 0.
func TestConformanceList(t *testing.T) {
	whole, few := conformance(t, "--list"), conformance(t, "--list", "lock", "!LOCK2")
	if whole.status != 0 || few.status != 0 || len(few.out) >= len(whole.out) {
		t.Errorf("%d and %d", whole.status, few.status)
	}
	line := regexp.MustCompile(`(?m)^LOCK3 +4\.0 4\.1 4\.2 +lock\n +RFC \d+ §\S+: .+$`)
	if !line.MatchString(few.out) || strings.Contains(few.out, "LOCK2 ") || strings.Contains(few.out, "READDIR") || !strings.Contains(whole.out, "\nEID1 ") {
		t.Error(few.out)
	}
	for _, wrong := range []struct{ args, says string }{
		{"--list NOSUCH", `no test, family or flag "NOSUCH"`},
		{"LOCK1", "--server HOST:PORT is needed"},
		{"--server 127.0.0.1:1 --minor 3", `minor version "3"`},
		{"--server 127.0.0.1:1 --spread packet", `--spread "packet"`},
		{"--server 127.0.0.1:1 LOCK1", "127.0.0.1:1"},
	} {
		if got := conformance(t, strings.Fields(wrong.args)...); got.status != 1 || !strings.Contains(got.errOut, wrong.says) {
			t.Errorf("%s: status %d, %q", wrong.args, got.status, got.errOut)
		}
	}
}
