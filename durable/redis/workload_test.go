package redis_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/durable"
)

// A workload is a number of workers that commit batch after batch. Batch n of
// worker w goes, checked, to two groups of its own, and blindly to a group of
// all, so that a batch done twice, by halves or not at all is seen: the
// version of the shared group counts them.
type workload struct {
	stores []durable.Store
	acked  [workers]atomic.Uint64
	begun  [workers]atomic.Uint64
	total  atomic.Uint64
	stop   atomic.Bool
	wg     sync.WaitGroup
	failed atomic.Pointer[error]
}

const workers = 8

func startWorkload(stores ...durable.Store) *workload {
	l := &workload{stores: stores}
	for w := range workers {
		l.wg.Go(func() {
			if err := l.work(w, stores[w%len(stores)]); err != nil {
				l.failed.CompareAndSwap(nil, &err)
				l.stop.Store(true)
			}
		})
	}
	return l
}

func encoded(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func decoded(g durable.Group, name string) uint64 {
	for _, p := range g.Parts {
		if p.Name == name && len(p.Value) == 8 {
			return binary.BigEndian.Uint64(p.Value)
		}
	}
	return 0
}

func own(w int) string    { return fmt.Sprint("own/", w) }
func mirror(w int) string { return fmt.Sprint("mirror/", w) }

func (l *workload) work(w int, s durable.Store) error {
	for n := uint64(1); !l.stop.Load(); n++ {
		l.begun[w].Store(n)
		b := durable.Batch{
			Checks: []durable.Check{{Key: own(w), Version: n - 1}},
			Writes: []durable.Write{
				{Key: own(w), Value: encoded(n)},
				{Key: mirror(w), Value: encoded(n)},
				{Key: mirror(w), Name: "p", Value: make([]byte, n%500)},
				{Key: "shared", Name: fmt.Sprint(w), Value: encoded(n)},
			},
		}
		err := commit(s, b)
		if err != nil {
			var c *durable.Conflict
			if errors.As(err, &c) {
				return fmt.Errorf("batch %d of worker %d met itself: %w", n, w, err)
			}
			return fmt.Errorf("batch %d of worker %d: %w", n, w, err)
		}
		l.acked[w].Store(n)
		l.total.Add(1)
	}
	return nil
}

// more waits until so many more batches are acknowledged.
func (l *workload) more(t *testing.T, n uint64) {
	t.Helper()
	want := l.total.Load() + n
	if !poll(t, func() bool { return l.total.Load() >= want || l.stop.Load() }) {
		t.Fatalf("%d batches are acknowledged, waited for %d", l.total.Load(), want)
	}
}

// end stops the workers and checks what they left.
func (l *workload) end(t *testing.T, s durable.Store) {
	t.Helper()
	l.stop.Store(true)
	l.wg.Wait()
	if err := l.failed.Load(); err != nil {
		t.Fatal(*err)
	}
	shared := load(t, s, "shared")
	var total uint64
	for w := range workers {
		n := l.acked[w].Load()
		total += n
		groups, err := s.Load(context.Background(), own(w), mirror(w))
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			if g.Version != n || decoded(g, "") != n {
				t.Errorf("%d batches of worker %d were acknowledged, %q is at version %d with %d", n, w, g.Key, g.Version, decoded(g, ""))
			}
		}
		if p := groups[1].Parts; len(p) != 2 || uint64(len(p[1].Value)) != n%500 {
			t.Errorf("batch %d of worker %d left half of itself", n, w)
		}
		if decoded(shared, fmt.Sprint(w)) != n {
			t.Errorf("the shared group has batch %d of worker %d, not %d", decoded(shared, fmt.Sprint(w)), w, n)
		}
	}
	if shared.Version != total {
		t.Errorf("%d batches were acknowledged, %d were done", total, shared.Version)
	}
}
