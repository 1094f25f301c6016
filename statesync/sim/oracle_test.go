package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"holdfast/durable"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// A rule is one that is broken on purpose, to see that it is noticed.
type rule int

const (
	none         rule = iota
	ruleVersion       // a commit does not check the file's version
	ruleResolver      // what a dead gateway had begun counts as not done
	ruleFence         // a gateway that was declared dead is not refused
	ruleHook          // the fence hook cuts nobody off
	rulePromise       // whoever is asked vouches, and does not remember it
	ruleJoiner        // who joined late does not wait until the store-outage is over
	ruleLifeline      // a process that hangs counts as one that has ended
	ruleEvidence      // a name is held although somebody had it since the evidence was taken
	ruleRefusal       // a refusal is told and not recorded
)

// batch is what reaches the store of a batch.
func (r rule) batch(store durable.Store, b *durable.Batch) *durable.Batch {
	var prefix string
	switch r {
	case ruleVersion:
		prefix = "file/"
	case ruleFence:
		prefix = "gateway/"
	case ruleEvidence:
		return blind(store, b)
	default:
		return b
	}
	c := *b
	c.Checks = slices.DeleteFunc(slices.Clone(b.Checks), func(x durable.Check) bool {
		return len(x.Key) > len(prefix) && x.Key[:len(prefix)] == prefix
	})
	return &c
}

// naming is a lease record as if its gateway had known of a process.
func naming(record durable.Group, g *gateway) durable.Group {
	if g.instance == 0 || len(record.Parts) != 1 {
		return record // it has not joined
	}
	b := slices.Clone(record.Parts[0].Value)
	r := xdr.NewReader(b)
	r.Fixed(4 + 8 + 8)
	r.Opaque(256)
	r.Opaque(256)
	r.Fixed(8 + 8)
	at := r.Offset()
	n := r.Uint32()
	w := xdr.NewWriter(b)
	w.PutUint32(at, n+1)
	w.String(g.name)
	w.Uint64(g.instance)
	record.Parts = []durable.Part{{Value: w.Bytes()}}
	return record
}

// blind makes a batch hold names at any version at which they are free.
func blind(store durable.Store, b *durable.Batch) *durable.Batch {
	c := *b
	c.Checks = nil
	for _, x := range b.Checks {
		if strings.HasPrefix(x.Key, "name/") {
			if groups, err := store.Load(context.Background(), x.Key); err == nil && len(groups[0].Parts) == 0 {
				x.Version = groups[0].Version
			}
		}
		if x.Key != "forgotten" {
			c.Checks = append(c.Checks, x)
		}
	}
	return &c
}

// beyond is the context of those who look at the simulation from outside.
func (w *world) beyond() context.Context { return context.Background() }

// A held is a byte-range lock.
type held struct {
	from, to uint64
	write    bool
}

func (h held) overlaps(o held) bool { return h.from < o.to && o.from < h.to }

// The oracle knows what clients were granted and did not give back, by the
// answers that they got.
type oracle struct {
	mu    sync.Mutex
	opens map[statesync.FileKey]map[*client]*share
	names map[string]*client
}

type share struct {
	access, deny uint32
	locks        []held
}

func (o *oracle) init() {
	o.opens = map[statesync.FileKey]map[*client]*share{}
	o.names = map[string]*client{}
}

func (o *oracle) opened(c *client, f statesync.FileKey, access, deny uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opens[f] == nil {
		o.opens[f] = map[*client]*share{}
	}
	for d, s := range o.opens[f] {
		if d != c && (s.deny&access != 0 || s.access&deny != 0) {
			c.w.violated(c.task, "G1: %s is open by c%d (access %d, deny %d) and by c%d (%d, %d)", f, d.index, s.access, s.deny, c.index, access, deny)
		}
	}
	o.opens[f][c] = &share{access: access, deny: deny}
}

func (o *oracle) closed(c *client, f statesync.FileKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.opens[f], c)
}

func (o *oracle) locked(c *client, f statesync.FileKey, h held) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for d, s := range o.opens[f] {
		for _, x := range s.locks {
			if d != c && x.overlaps(h) && (x.write || h.write) {
				c.w.violated(c.task, "G1: %s: c%d has locked [%d,%d) and c%d [%d,%d)", f, d.index, x.from, x.to, c.index, h.from, h.to)
			}
		}
	}
	s := o.opens[f][c]
	s.locks = append(s.locks, h)
}

func (o *oracle) unlocked(c *client, f statesync.FileKey, h held) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.opens[f][c]
	if i := slices.Index(s.locks, h); i >= 0 {
		s.locks = slices.Delete(s.locks, i, i+1)
	}
}

func (o *oracle) made(c *client, name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.names[name]; d != nil {
		c.w.violated(c.task, "G1: both c%d and c%d made %q", d.index, c.index, name)
	}
	o.names[name] = c
}

func (o *oracle) removed(c *client, name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.names, name)
}

// final compares what clients believe with what a gateway finds that starts when
// all others are gone (G2, G3).
func (w *world) final() error {
	ctx := w.beyond()
	n, err := statesync.Join(ctx, statesync.Config{Store: w.store, Name: "last", Shared: true, Manual: true})
	if err != nil {
		return err
	}
	got, err := n.Locks(ctx)
	if err != nil {
		return err
	}
	bytes := map[string]bool{}
	for _, l := range got {
		who := fmt.Sprintf("%s %016x", l.File, l.Client)
		if !l.Lock {
			bytes[fmt.Sprintf("%s open access %d deny %d", who, l.Access, l.Deny)] = true
			continue
		}
		for i := range l.Length {
			bytes[fmt.Sprintf("%s byte %d write %v", who, l.Offset+i, l.Write)] = true
		}
	}
	want := map[string]bool{}
	o := &w.oracle
	o.mu.Lock()
	for f, by := range o.opens {
		for c, s := range by {
			who := fmt.Sprintf("%s %016x", f, c.id)
			want[fmt.Sprintf("%s open access %d deny %d", who, s.access, s.deny)] = true
			for _, h := range s.locks {
				for i := h.from; i < h.to; i++ {
					want[fmt.Sprintf("%s byte %d write %v", who, i, h.write)] = true
				}
			}
		}
	}
	var names []string
	for name := range o.names {
		names = append(names, name)
	}
	o.mu.Unlock()
	slices.Sort(names)
	for k := range want {
		if !bytes[k] {
			w.violated("end", "G2: granted and not in the store: %s", k)
		}
	}
	for k := range bytes {
		if !want[k] {
			w.violated("end", "G3: in the store and never granted, or given back: %s", k)
		}
	}
	if there := w.fs.list(); !slices.Equal(there, names) {
		w.violated("end", "G3: the directory has %q, the answers say %q", there, names)
	}
	return nil
}
