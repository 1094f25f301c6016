package statesync

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
)

// inTable says whether a group, or the beginning of groups, is in the table.
func inTable(key string) bool {
	for _, p := range Priorities() {
		for _, r := range p.Records {
			if key == r || strings.HasSuffix(r, "/") && strings.HasPrefix(key, r) {
				return true
			}
		}
	}
	return false
}

// TestPrioritiesAreComplete: every kind of group and every kind of message that
// the source names is in the table, once.
func TestPrioritiesAreComplete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, id := range v.Names {
				named := strings.HasPrefix(id.Name, "prefix") || strings.HasPrefix(id.Name, "key")
				if !named || i >= len(v.Values) {
					continue
				}
				if lit, ok := v.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, _ := strconv.Unquote(lit.Value)
					groups = append(groups, text)
				}
			}
			return true
		})
	}
	if len(groups) < 15 {
		t.Fatalf("only %d kinds of groups found: %q", len(groups), groups)
	}
	for _, g := range groups {
		if !inTable(g) {
			t.Errorf("groups %q are in no line of the table", g)
		}
	}
	seen := map[string]string{}
	for _, p := range Priorities() {
		if p.Change == "" || p.Why == "" || p.Level != High && p.Level != Low {
			t.Errorf("line %+v is not complete", p)
		}
		if p.Level == High && len(p.Messages) > 0 {
			t.Errorf("%q is high and goes over the peer channel", p.Change)
		}
		once := func(what string) {
			if other, twice := seen[what]; twice {
				t.Errorf("%s is in the lines %q and %q", what, other, p.Change)
			}
			seen[what] = p.Change
		}
		for _, r := range p.Records {
			once("group " + r)
		}
		for _, m := range p.Messages {
			once("message " + m)
		}
	}
	for k := msgRenewed; !strings.HasPrefix(k.String(), "message kind"); k++ {
		if _, ok := seen["message "+k.String()]; !ok {
			t.Errorf("messages %q are in no line of the table", k)
		}
	}
}

// A recorder is a store that notes which groups are written.
type recorder struct {
	durable.Store
	mu   sync.Mutex
	keys map[string]bool
}

func (r *recorder) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	r.mu.Lock()
	for _, w := range b.Writes {
		r.keys[w.Key] = true
	}
	r.mu.Unlock()
	return r.Store.Commit(ctx, b)
}

// TestPrioritiesOfWhatIsWritten: what a node does write is in the table.
func TestPrioritiesOfWhatIsWritten(t *testing.T) {
	rec := &recorder{Store: memory.New(), keys: map[string]bool{}}
	w := &world{t: t, store: rec, clock: &fakeClock{}, fs: newFakeFS(), cfg: func(c *Config) { c.Shared = true }}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(context.Background()) })
	ctx := context.Background()
	c := w.client41("c")
	req, fc := c.begin(0)
	fc.next()
	if _, err := w.create(req, fc, "n"); err != nil {
		t.Fatal(err)
	}
	req, fc = c.begin(0)
	fc.next()
	fc.start(nfs4.OpOpen)
	if err := w.n.Open(ctx, req, nil, &OpenArgs{Client: c.id, Owner: []byte("o"), File: "f", Access: 3}, func(*OpenResult) { fc.conclude(nfs4.OK) }); err != nil {
		t.Fatal(err)
	}
	req.Finish(fc.reply)
	w.clock.advance(w.n.cfg.Lease)
	w.beat()
	if err := w.n.DestroySession(ctx, c.session); err != nil {
		t.Fatal(err)
	}
	if len(rec.keys) < 9 {
		t.Fatalf("only %d groups were written", len(rec.keys))
	}
	for key := range rec.keys {
		if !inTable(key) {
			t.Errorf("group %q is in no line of the table", key)
		}
	}
}
