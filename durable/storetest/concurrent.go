package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"holdfast/durable"
)

func number(g durable.Group, name string) uint64 {
	for _, p := range g.Parts {
		if p.Name == name {
			return binary.BigEndian.Uint64(p.Value)
		}
	}
	return 0
}

func encode(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Counters that are raised by check and set from many goroutines lose nothing.
func testCounters(t *testing.T, sub Subject) {
	const workers, rounds, counters = 16, 60, 3
	s := sub.open(t)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for range rounds {
				if err := raise(s, fmt.Sprint("counter/", r.IntN(counters)), "total"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var sum uint64
	for i := range counters {
		g := load(t, s, fmt.Sprint("counter/", i))
		if n := number(g, ""); n != g.Version {
			t.Errorf("%s: %d raises made version %d", g.Key, n, g.Version)
		}
		sum += number(g, "")
	}
	total := load(t, s, "total")
	if sum != workers*rounds || number(total, "") != sum || total.Version != sum {
		t.Errorf("the counters are at %d and the total at %d, after %d raises", sum, number(total, ""), workers*rounds)
	}
}

// raise adds one to both counters in one commit.
func raise(s durable.Store, keys ...string) error {
	groups, err := s.Load(context.Background(), keys...)
	if err != nil {
		return err
	}
	known := map[string]durable.Group{}
	for {
		for _, g := range groups {
			known[g.Key] = g
		}
		var b durable.Batch
		for _, key := range keys {
			g := known[key]
			b.Checks = append(b.Checks, durable.Check{Key: key, Version: g.Version})
			b.Writes = append(b.Writes, durable.Write{Key: key, Value: encode(number(g, "") + 1)})
		}
		err := try(s, b)
		var c *durable.Conflict
		if !errors.As(err, &c) {
			return err
		}
		groups = c.Groups
	}
}

// An operation of the linearizability test on one group.
type operation struct {
	kind    int // 0 load, 1 set if at version, 2 forget if at version
	version uint64
	value   uint64
}

// An outcome is what an operation saw: for a conflict, what is there.
type outcome struct {
	conflict bool
	version  uint64
	value    uint64
}

type cell struct{ version, value uint64 }

// model is one group as porcupine sees it.
var model = porcupine.Model{
	Init: func() any { return cell{} },
	Step: func(state, input, output any) (bool, any) {
		st, in, out := state.(cell), input.(operation), output.(outcome)
		switch {
		case in.kind == 0:
			return out.version == st.version && out.value == st.value, st
		case in.version != st.version:
			// What a conflict shows may be newer than the check that failed, so
			// only the fact counts.
			return out.conflict, st
		case out.conflict:
			return false, st
		case in.kind == 1:
			return true, cell{version: st.version + 1, value: in.value}
		default:
			return true, cell{}
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// Loads, checked writes and forgets of one group look as if they happened one
// after the other, each at a moment between its call and its return.
func testLinearizable(t *testing.T, sub Subject) {
	const clients, rounds, keys = 8, 40, 3
	s := sub.open(t)
	start := time.Now()
	var mu sync.Mutex
	history := make([][]porcupine.Operation, keys)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 3))
			seen := make([]uint64, keys)
			for i := range rounds {
				k := r.IntN(keys)
				in := operation{kind: []int{0, 1, 1, 1, 1, 2}[r.IntN(6)], version: seen[k], value: uint64(c*rounds + i + 1)}
				call := time.Since(start)
				out, err := perform(s, fmt.Sprint("cell/", k), in)
				if err != nil {
					t.Error(err)
					return
				}
				seen[k] = out.version
				mu.Lock()
				history[k] = append(history[k], porcupine.Operation{
					ClientId: c, Input: in, Call: int64(call), Output: out, Return: int64(time.Since(start)),
				})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for k, ops := range history {
		switch porcupine.CheckOperationsTimeout(model, ops, time.Minute) {
		case porcupine.Illegal:
			t.Errorf("group %d: no order explains what %d operations saw", k, len(ops))
		case porcupine.Unknown:
			t.Errorf("group %d: the check of %d operations took too long", k, len(ops))
		}
	}
}

func perform(s durable.Store, key string, in operation) (outcome, error) {
	b := durable.Batch{Checks: []durable.Check{{Key: key, Version: in.version}}}
	switch in.kind {
	case 0:
		groups, err := s.Load(context.Background(), key)
		if err != nil {
			return outcome{}, err
		}
		return outcome{version: groups[0].Version, value: number(groups[0], "")}, nil
	case 1:
		b.Writes = []durable.Write{{Key: key, Value: encode(in.value)}}
	case 2:
		b.Forget = []string{key}
	}
	// Ordered and visible is enough here: durability is another test's.
	ack, err := s.Commit(context.Background(), &b)
	var c *durable.Conflict
	if errors.As(err, &c) {
		return outcome{conflict: true, version: c.Groups[0].Version}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	if err := ack.Wait(); err != nil {
		return outcome{}, err
	}
	if in.kind == 2 {
		return outcome{}, nil
	}
	return outcome{version: in.version + 1}, nil
}

// A load shows a group as one commit left it, never halves of two.
func testLoadAtomic(t *testing.T, sub Subject) {
	const parts = 12
	s := sub.open(t)
	var done atomic.Bool
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for n := uint64(1); n <= 250; n++ {
				var b durable.Batch
				value := encode(n<<8 | uint64(w))
				for p := range parts {
					b.Writes = append(b.Writes, durable.Write{Key: "g", Name: fmt.Sprint("p", p), Value: value})
				}
				b.Writes = append(b.Writes, durable.Write{Key: "g", Value: value})
				if n%50 == 0 {
					b = durable.Batch{Forget: []string{"g"}}
				}
				if _, err := s.Commit(context.Background(), &b); err != nil {
					t.Error(err)
					return
				}
			}
			done.Store(true)
		})
	}
	whole := func(g durable.Group) {
		if g.Version == 0 && len(g.Parts) == 0 {
			return
		}
		if len(g.Parts) != parts+1 {
			t.Errorf("version %d has %d parts", g.Version, len(g.Parts))
			return
		}
		for _, p := range g.Parts {
			if string(p.Value) != string(g.Parts[0].Value) {
				t.Errorf("version %d holds parts of two commits", g.Version)
				return
			}
		}
	}
	names := []string{""}
	for p := range parts {
		names = append(names, fmt.Sprint("p", p))
	}
	for range 2 {
		wg.Go(func() {
			for !done.Load() && !t.Failed() {
				groups, err := s.Load(context.Background(), "g", "g")
				if err != nil {
					t.Error(err)
					return
				}
				whole(groups[0])
				whole(groups[1])
				g, err := s.LoadParts(context.Background(), "g", names...)
				if err != nil {
					t.Error(err)
					return
				}
				whole(g)
				if err := s.Scan(context.Background(), "", func(g durable.Group) bool { whole(g); return true }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A commit is seen by every load and commit that begins after it returned,
// before anybody waited for it.
func testCommitVisible(t *testing.T, sub Subject) {
	s := sub.open(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			key := fmt.Sprint("g/", w)
			var acks []durable.Ack
			for n := uint64(0); n < 100; n++ {
				b := durable.Batch{
					Checks: []durable.Check{{Key: key, Version: n}},
					Writes: []durable.Write{{Key: key, Value: encode(n + 1)}, {Key: key, Name: "p", Value: encode(n + 1)}},
				}
				ack, err := s.Commit(context.Background(), &b)
				if err != nil {
					t.Error(err)
					return
				}
				acks = append(acks, ack)
				groups, err := s.Load(context.Background(), key)
				if err != nil {
					t.Error(err)
					return
				}
				if g := groups[0]; g.Version != n+1 || number(g, "") != n+1 || number(g, "p") != n+1 {
					t.Errorf("after commit %d: %s", n+1, show(g))
					return
				}
			}
			// In any order.
			for i := range acks {
				if err := acks[len(acks)-1-i].Wait(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
