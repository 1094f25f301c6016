package suite

import (
	"slices"
	"sync"

	"holdfast/conformance/client"
	"holdfast/internal/oncrpc"
)

const (
	traceLength = 12   // exchanges
	traceBytes  = 4096 // of each request
)

// A trace keeps the last exchanges of a test, to be told if it fails.
type trace struct {
	mu    sync.Mutex
	all   []exchange
	ended bool
}

type exchange struct {
	request []byte // without its mark, cut short
	reply   *client.Reply
	err     error
}

// add notes an exchange.
func (t *trace) add(q *client.Request, p *client.Reply, err error) {
	msg := q.Bytes()[oncrpc.MarkSize:]
	x := exchange{slices.Clone(msg[:min(len(msg), traceBytes)]), p, err}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	if len(t.all) == traceLength {
		t.all = slices.Delete(t.all, 0, 1)
	}
	t.all = append(t.all, x)
}

// end keeps what comes later, when the test is cleaned up behind, from taking the
// place of what led to its failure.
func (t *trace) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

// lines shows each call and what came back.
func (t *trace) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for _, x := range t.all {
		lines = append(lines, "→ "+shorten(client.Describe(x.request)))
		switch {
		case x.err != nil:
			lines = append(lines, "← "+x.err.Error())
		default:
			lines = append(lines, "← "+shorten(x.reply.String()))
		}
	}
	return lines
}

// shorten keeps a line readable.
func shorten(s string) string {
	if r := []rune(s); len(r) > 1200 {
		return string(r[:1200]) + "…"
	}
	return s
}
