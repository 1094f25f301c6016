package suite

import (
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/nfs4"
)

// A Provoked error is one that a test demanded of an operation, and got. An
// error counts only where the test would not have been content with NFS4_OK.
type Provoked struct {
	Op     nfs4.Op
	Status nfs4.Status
}

// An errorList is one RFC's table of operations and their valid errors.
type errorList struct {
	name string // as in holes.txt
	rfc  string
	text string
	in   uint8 // the minor versions
}

// errorLists are the tables that the page of errors shows. An operation that a
// later minor version inherits stands where it was introduced for sessions.
var errorLists = []errorList{
	{"4.0", "RFC 7530 §13.2", errors40, v0},
	{"4.1", "RFC 8881 §15.2", errors41, v12},
	{"4.2", "RFC 7862 §11.2, RFC 8276 §8.4", errors42, v2},
}

// holesText says for errors that no test provokes why that is so.
//
//go:embed holes.txt
var holesText string

// A hole is a line of holes.txt.
type hole struct {
	list, op, err string // "*" for all, several separated by commas
	reason        string
	line          int
}

// fits says whether the line speaks of an error.
func (h *hole) fits(list, op, err string) bool {
	return has(h.list, list) && has(h.op, op) && has(h.err, err)
}

// has says whether a word is among words that are separated by commas, or they
// are "*".
func has(words, word string) bool {
	return words == "*" || slices.Contains(strings.Split(words, ","), word)
}

// exact says whether the line speaks of one error of one operation.
func (h *hole) exact() bool {
	return !strings.ContainsAny(h.list+h.op+h.err, "*,")
}

// parseHoles reads lines of "list operations errors: reason". The first line that
// fits an error counts.
func parseHoles(text string) ([]hole, error) {
	var all []hole
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		what, reason, ok := strings.Cut(line, ":")
		f := strings.Fields(what)
		if !ok || len(f) != 3 || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("holes.txt:%d: not of the form \"list operations errors: reason\"", i+1)
		}
		all = append(all, hole{f[0], f[1], f[2], strings.TrimSpace(reason), i + 1})
	}
	return all, nil
}

// errorsOf returns the operations of a table in order, each with its errors.
func (l *errorList) errorsOf() (ops []string, errs map[string][]string) {
	errs = make(map[string][]string)
	for word := range strings.FieldsSeq(l.text) {
		if op, ok := strings.CutSuffix(word, ":"); ok {
			ops = append(ops, op)
		} else {
			op := ops[len(ops)-1]
			errs[op] = append(errs[op], word)
		}
	}
	return ops, errs
}

// provokedBy returns which tests provoked each error of each operation: "OP
// ERR" to codes. Tests that failed prove nothing.
func (l *errorList) provokedBy(results []Result) map[string][]string {
	by := make(map[string][]string)
	for _, r := range results {
		if r.Outcome != Pass || l.in&(1<<r.Minor) == 0 {
			continue
		}
		for _, p := range r.Provoked {
			key := p.Op.String() + " " + strings.TrimPrefix(p.Status.String(), "NFS4ERR_")
			if !slices.Contains(by[key], r.Test.Code) {
				by[key] = append(by[key], r.Test.Code)
			}
		}
	}
	for _, codes := range by {
		slices.SortFunc(codes, compareCodes)
	}
	return by
}

// compareCodes orders LOCK2 before LOCK10.
func compareCodes(a, b string) int {
	split := func(s string) (string, int) {
		f := strings.TrimRight(s, "0123456789")
		n, _ := strconv.Atoi(s[len(f):])
		return f, n
	}
	fa, na := split(a)
	fb, nb := split(b)
	return cmp.Or(cmp.Compare(fa, fb), cmp.Compare(na, nb))
}

// An errorPage is the page in the making.
type errorPage struct {
	holes   []hole
	used    map[int]bool   // lines of holes.txt that spoke of a hole
	bare    []hole         // without a reason
	reasons map[string]int // as numbered on the page
	order   []string
	body    strings.Builder
	sums    strings.Builder
}

// ErrorPage returns, as Markdown, which errors of which operations the results'
// tests provoked, and why others were not. Wrong are contradictions: errors
// neither provoked nor explained, and explanations of what was provoked.
func ErrorPage(results []Result) (page string, wrong []string) {
	holes, err := parseHoles(holesText)
	if err != nil {
		return "", []string{err.Error()}
	}
	p := newErrorPage(holes, results)
	return p.text(), p.wrong()
}

func newErrorPage(holes []hole, results []Result) *errorPage {
	p := &errorPage{holes: holes, used: map[int]bool{}, reasons: map[string]int{}}
	for i := range errorLists {
		p.list(&errorLists[i], results)
	}
	return p
}

// idle says whether a line speaks of an error that is no hole.
func (p *errorPage) idle(h hole) bool { return h.exact() && !p.used[h.line] }

func (p *errorPage) wrong() []string {
	var all []string
	for _, h := range p.bare {
		all = append(all, fmt.Sprintf("%s of %s (%s) is not provoked and holes.txt gives no reason", h.err, h.op, h.list))
	}
	for _, h := range p.holes {
		if p.idle(h) {
			all = append(all, fmt.Sprintf("holes.txt:%d: %s of %s (%s) is provoked, or not listed: take the line out", h.line, h.err, h.op, h.list))
		}
	}
	return all
}

// list adds one table.
func (p *errorPage) list(l *errorList, results []Result) {
	by := l.provokedBy(results)
	ops, errs := l.errorsOf()
	listed, provoked := 0, 0
	fmt.Fprintf(&p.body, "\n## NFSv%s (%s)\n\n| operation | provoked by | not provoked |\n|---|---|---|\n", l.name, l.rfc)
	for _, op := range ops {
		var have []string
		lack := make(map[int][]string)
		for _, err := range errs[op] {
			listed++
			if codes := by[op+" "+err]; len(codes) > 0 {
				provoked++
				have = append(have, err+" ("+few(codes)+")")
				continue
			}
			n := p.reason(l.name, op, err)
			lack[n] = append(lack[n], err)
		}
		var holes []string
		for _, n := range slices.Sorted(maps.Keys(lack)) {
			holes = append(holes, fmt.Sprintf("[%d] %s", n, strings.Join(lack[n], " ")))
		}
		fmt.Fprintf(&p.body, "| %s | %s | %s |\n", op, strings.Join(have, ", "), strings.Join(holes, "; "))
	}
	fmt.Fprintf(&p.sums, "| %s | %s | %d | %d | %d |\n", l.name, l.rfc, listed, provoked, listed-provoked)
}

// few names at most three tests.
func few(codes []string) string {
	if len(codes) > 3 {
		return fmt.Sprintf("%s +%d", strings.Join(codes[:3], " "), len(codes)-3)
	}
	return strings.Join(codes, " ")
}

// reason returns the number of the reason for which an error is not provoked.
func (p *errorPage) reason(list, op, err string) int {
	why := "no reason is given"
	i := slices.IndexFunc(p.holes, func(h hole) bool { return h.fits(list, op, err) })
	if i < 0 {
		p.bare = append(p.bare, hole{list: list, op: op, err: err})
	} else {
		p.used[p.holes[i].line] = true
		why = p.holes[i].reason
	}
	if p.reasons[why] == 0 {
		p.order = append(p.order, why)
		p.reasons[why] = len(p.order)
	}
	return p.reasons[why]
}

func (p *errorPage) text() string {
	var b strings.Builder
	b.WriteString(`# Errors that the conformance suite provokes

For every operation and every error that its RFC lists: the tests that demand this error and get it, or why no test does. An
error that a test would accept beside NFS4_OK is not counted. This page is made from a run of the suite against Holdfast and from
conformance/suite/holes.txt, by ` + "`go test ./conformance/suite -run TestHoldfast -update`" + `; a test holds it to be true.
A run against another server gives its own with ` + "`holdfast conformance --server HOST:PORT --errors`" + `.

| | listed in | errors listed | provoked | not, with the reason |
|---|---|---|---|---|
`)
	b.WriteString(p.sums.String())
	b.WriteString(p.body.String())
	b.WriteString("\n## Why not\n\n")
	for i, r := range p.order {
		fmt.Fprintf(&b, "%d. %s\n", i+1, r)
	}
	return b.String()
}
