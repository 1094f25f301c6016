package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Job is a script that runs in a guest.
type Job struct {
	guest  *Guest
	id     string
	said   chan string
	done   chan struct{} // closed after status is set
	status int

	mu   sync.Mutex // guards what follows; nothing is called with it held
	last map[string]string
}

// maxSaid bounds the lines of one job that the test has not taken yet. A job that says more waits for the test.
const maxSaid = 4096

// Start runs a script in the guest, beside what runs there already.
func (g *Guest) Start(tb testing.TB, script string) *Job {
	tb.Helper()
	g.mu.Lock()
	g.next++
	j := &Job{guest: g, id: g.Name + strconv.Itoa(g.next), said: make(chan string, maxSaid), done: make(chan struct{}), last: map[string]string{}}
	g.jobs[j.id] = j
	g.mu.Unlock()
	text := ". $LAB/lib.sh; " + strings.TrimLeft(script, "\n") + "\n"
	if err := os.WriteFile(j.path("sh"), []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	if err := g.tell("run", j.id); err != nil {
		tb.Fatalf("guest %s: %v", g.Name, err)
	}
	return j
}

// Run runs a script to its end and returns its output. The test fails at once unless the script ends with 0.
func (g *Guest) Run(tb testing.TB, script string) string {
	tb.Helper()
	return g.Start(tb, script).Wait(tb)
}

// Result waits for the job's end and returns its exit status and output. The test fails at once if the job does not end
// within the lab's limit; then the log holds where the guest's processes wait.
func (j *Job) Result(tb testing.TB) (status int, output string) {
	tb.Helper()
	select {
	case <-j.done:
	case <-j.guest.gone:
		tb.Fatalf("guest %s died:\n%s", j.guest.Name, j.guest.Console())
	case <-time.After(j.guest.lab.Limit):
		j.hangs(tb, "the job did not end")
	}
	text, err := os.ReadFile(j.path("out"))
	if err != nil {
		tb.Fatalf("guest %s: the job's output: %v\n%s", j.guest.Name, err, j.guest.Console())
	}
	return j.status, string(text)
}

// Wait waits for the job's end and returns its output. The test fails at once unless the job ended with 0, and tells what the guest's kernel
// has said.
func (j *Job) Wait(tb testing.TB) string {
	tb.Helper()
	status, output := j.Result(tb)
	if status != 0 {
		tb.Fatalf("guest %s: the job ended with status %d:\n%s\n%s", j.guest.Name, status, output, j.guest.Console())
	}
	return output
}

// Expect waits until the job says a line that starts with text, and returns the rest of that line. Lines before it are
// dropped. The test fails at once if the job ends without it.
func (j *Job) Expect(tb testing.TB, text string) string {
	tb.Helper()
	limit := time.After(j.guest.lab.Limit)
	for {
		select {
		case line := <-j.said:
			if rest, ok := strings.CutPrefix(line, text); ok {
				return strings.TrimSpace(rest)
			}
			continue
		default:
		}
		select {
		case line := <-j.said:
			if rest, ok := strings.CutPrefix(line, text); ok {
				return strings.TrimSpace(rest)
			}
		case <-j.done:
			if len(j.said) == 0 {
				status, output := j.Result(tb)
				tb.Fatalf("guest %s: the job ended with status %d and did not say %q:\n%s", j.guest.Name, status, text, output)
			}
		case <-j.guest.gone:
			tb.Fatalf("guest %s died:\n%s", j.guest.Name, j.guest.Console())
		case <-limit:
			j.hangs(tb, fmt.Sprintf("the job did not say %q", text))
		}
	}
}

// Last returns the rest of the latest line that the job said with this first word, taken or not.
func (j *Job) Last(word string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last[word]
}

// Drain drops the lines said so far: what Expect returns next was said after this call.
func (j *Job) Drain() {
	for {
		select {
		case <-j.said:
		default:
			return
		}
	}
}

// Running tells whether the job has not ended yet.
func (j *Job) Running() bool {
	select {
	case <-j.done:
		return false
	default:
		return true
	}
}

func (j *Job) hangs(tb testing.TB, what string) {
	tb.Helper()
	state := j.guest.dump() // also flushes the output so far to the host
	output, _ := os.ReadFile(j.path("out"))
	script, _ := os.ReadFile(j.path("sh"))
	tb.Fatalf("guest %s: %s within %v\n--- script\n%s\n--- output so far\n%s\n%s",
		j.guest.Name, what, j.guest.lab.Limit, script, output, state)
}

func (j *Job) path(ext string) string {
	return filepath.Join(j.guest.lab.Dir, "jobs", j.id+"."+ext)
}

// say and end are called by the guest's one listener.
func (j *Job) say(text string) {
	word, rest, _ := strings.Cut(text, " ")
	j.mu.Lock()
	j.last[word] = rest
	j.mu.Unlock()
	j.said <- text
}

func (j *Job) end(status int) {
	j.status = status
	close(j.done)
}
