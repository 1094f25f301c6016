package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/durable"
)

// oracle is a store without cleverness: two maps and the sentences of the
// contract.
type oracle struct {
	version map[string]uint64
	parts   map[[2]string]string
}

func newOracle() oracle {
	return oracle{version: map[string]uint64{}, parts: map[[2]string]string{}}
}

func (o oracle) clone() oracle {
	c := newOracle()
	for k, v := range o.version {
		c.version[k] = v
	}
	for k, v := range o.parts {
		c.parts[k] = v
	}
	return c
}

// commit does b, or returns the keys whose checks fail.
func (o oracle) commit(b *durable.Batch) (failed []string) {
	for _, c := range b.Checks {
		if o.version[c.Key] != c.Version && !slices.Contains(failed, c.Key) {
			failed = append(failed, c.Key)
		}
	}
	if len(failed) > 0 {
		return failed
	}
	risen := map[string]bool{}
	for _, w := range b.Writes {
		if !risen[w.Key] {
			risen[w.Key] = true
			o.version[w.Key]++
		}
		if w.Value == nil {
			delete(o.parts, [2]string{w.Key, w.Name})
		} else {
			o.parts[[2]string{w.Key, w.Name}] = string(w.Value)
		}
	}
	for _, key := range b.Forget {
		delete(o.version, key)
		for k := range o.parts {
			if k[0] == key {
				delete(o.parts, k)
			}
		}
	}
	return nil
}

func (o oracle) load(key string) durable.Group {
	g := durable.Group{Key: key, Version: o.version[key]}
	var names []string
	for k := range o.parts {
		if k[0] == key {
			names = append(names, k[1])
		}
	}
	slices.Sort(names)
	for _, name := range names {
		g.Parts = append(g.Parts, durable.Part{Name: name, Value: []byte(o.parts[[2]string{key, name}])})
	}
	return g
}

// same says where the store and the oracle differ.
func (o oracle) same(s durable.Store, keys []string) error {
	groups, err := s.Load(context.Background(), keys...)
	if err != nil {
		return err
	}
	for i, key := range keys {
		if want := o.load(key); !equal(groups[i], want) {
			return fmt.Errorf("the store has %s, the oracle %s", show(groups[i]), show(want))
		}
	}
	left := len(o.version)
	var wrong error
	err = s.Scan(context.Background(), "", func(g durable.Group) bool {
		left--
		if want := o.load(g.Key); !equal(g, want) {
			wrong = fmt.Errorf("the scan shows %s, the oracle %s", show(g), show(want))
		}
		return wrong == nil
	})
	if err == nil {
		err = wrong
	}
	if err == nil && left != 0 {
		err = fmt.Errorf("the scan misses %d groups", left)
	}
	return err
}

var oracleKeys = []string{"a", "a\x00", "a/1", "b", "slot/1", "slot/2", "file/\x00\x01\xff", "z"}

var oracleNames = []string{"", "", "p", "q", "p\x00", "lock/1", "lock/2"}

// randomBatch makes a batch whose checks mostly hold.
func randomBatch(r *rand.Rand, o oracle) durable.Batch {
	var b durable.Batch
	pick := func() string { return oracleKeys[r.IntN(len(oracleKeys))] }
	for range r.IntN(4) {
		key := pick()
		version := o.version[key]
		if r.IntN(12) == 0 {
			version += uint64(r.IntN(3))
		}
		b.Checks = append(b.Checks, durable.Check{Key: key, Version: version})
	}
	for range r.IntN(6) {
		w := durable.Write{Key: pick(), Name: oracleNames[r.IntN(len(oracleNames))]}
		switch r.IntN(10) {
		case 0, 1, 2:
		case 3:
			w.Value = make([]byte, 1000+r.IntN(100))
		case 4:
			w.Value = []byte{}
		default:
			w.Value = fmt.Append(nil, r.Uint64())
		}
		b.Writes = append(b.Writes, w)
	}
	if r.IntN(5) == 0 {
		b.Forget = append(b.Forget, pick())
	}
	return b
}

// A store does what the oracle does, whatever the batches; also when it is
// opened anew between them.
func testOracle(t *testing.T, sub Subject) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			s, o := sub.open(t), newOracle()
			for i := range 1500 {
				b := randomBatch(r, o)
				if err := both(s, o, &b); err != nil {
					t.Fatalf("step %d, %+v: %v", i, b, err)
				}
				if i%20 == 0 {
					if err := o.same(s, oracleKeys); err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
				}
				if sub.Reopen != nil && i%500 == 499 {
					s = sub.reopen(t, s, r.IntN(2) == 0)
				}
			}
			if err := o.same(s, oracleKeys); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// both lets the store and the oracle do b, and waits.
func both(s durable.Store, o oracle, b *durable.Batch) error {
	err := try(s, *b)
	failed := o.commit(b)
	var c *durable.Conflict
	switch {
	case err == nil && failed == nil:
		return nil
	case !errors.As(err, &c):
		return fmt.Errorf("the store says %v, the oracle finds conflicts on %q", err, failed)
	case len(c.Groups) != len(failed):
		return fmt.Errorf("conflicts on %v, the oracle finds %q", c.Groups, failed)
	}
	for _, g := range c.Groups {
		if want := o.load(g.Key); !slices.Contains(failed, g.Key) || !equal(g, want) {
			return fmt.Errorf("the conflict shows %s, the oracle %s", show(g), show(want))
		}
	}
	return nil
}

func testReopen(t *testing.T, sub Subject) {
	if sub.Reopen == nil {
		t.Skip("the store does not outlive its closing")
	}
	r := rand.New(rand.NewPCG(7, 7))
	s, o := sub.open(t), newOracle()
	for range 20 {
		for range r.IntN(60) {
			b := randomBatch(r, o)
			// Close makes durable what nobody waited for.
			if ack, err := s.Commit(context.Background(), &b); err == nil && r.IntN(2) == 0 {
				if err := ack.Wait(); err != nil {
					t.Fatal(err)
				}
			}
			o.commit(&b)
		}
		s = sub.reopen(t, s, false)
		if err := o.same(s, oracleKeys); err != nil {
			t.Fatal(err)
		}
	}
}

// After a crash the store holds every batch that was waited for, all batches
// before it, and of the later ones a beginning.
func testCrash(t *testing.T, sub Subject) {
	if sub.Reopen == nil {
		t.Skip("the store does not outlive its closing")
	}
	r := rand.New(rand.NewPCG(8, 8))
	s, o := sub.open(t), newOracle()
	for round := range 30 {
		history := []oracle{o.clone()} // what may be found after the crash
		for range r.IntN(40) {
			b := randomBatch(r, o)
			if o.commit(&b) != nil {
				continue
			}
			ack, err := s.Commit(context.Background(), &b)
			if err != nil {
				t.Fatal(err)
			}
			history = append(history, o.clone())
			if r.IntN(8) == 0 {
				if err := ack.Wait(); err != nil {
					t.Fatal(err)
				}
				history = history[len(history)-1:]
			}
		}
		s = sub.reopen(t, s, true)
		var errs []error
		found := false
		for _, h := range history {
			if err := h.same(s, oracleKeys); err != nil {
				errs = append(errs, err)
				continue
			}
			o, found = h, true
			break
		}
		if !found {
			t.Fatalf("round %d: none of the %d states possible: %v", round, len(history), errors.Join(errs...))
		}
	}
}
