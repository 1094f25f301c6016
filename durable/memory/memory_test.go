package memory_test

import (
	"context"
	"errors"
	"testing"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/durable/storetest"
)

func TestStore(t *testing.T) {
	seed := uint64(0)
	storetest.Run(t, storetest.Subject{
		Open: func(testing.TB) durable.Store { return memory.New() },
		Reopen: func(t testing.TB, s durable.Store, crash bool) durable.Store {
			m := s.(*memory.Store)
			if crash {
				seed++
				return m.Crash(seed)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			return m.Reopen()
		},
	})
}

func commit(t *testing.T, s durable.Store, key string) durable.Ack {
	t.Helper()
	ack, err := s.Commit(context.Background(), &durable.Batch{Writes: []durable.Write{{Key: key, Value: []byte("v")}}})
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

// Every prefix that a crash may leave is left for some seed, and no other.
func TestCrashLeavesEachPrefix(t *testing.T) {
	seen := make(map[int]bool)
	for seed := range uint64(200) {
		s := memory.New()
		commit(t, s, "a")
		ack := commit(t, s, "b")
		late := commit(t, s, "c")
		commit(t, s, "d")
		if err := ack.Wait(); err != nil {
			t.Fatal(err)
		}
		after := s.Survivor(seed)
		crashed := s.Crash(seed)
		n := len(crashed.Dump())
		if n != len(after.Dump()) {
			t.Fatal("Survivor and Crash differ for one seed")
		}
		for i, g := range crashed.Dump() {
			if g.Key != string(rune('a'+i)) {
				t.Fatalf("seed %d kept %q as number %d", seed, g.Key, i)
			}
		}
		seen[n] = true
		if err := late.Wait(); (err == nil) != (n >= 3) || err != nil && !errors.Is(err, durable.ErrUnknown) {
			t.Fatalf("wait for a batch after a crash that kept %d: %v", n, err)
		}
		if _, err := s.Load(context.Background(), "a"); !errors.Is(err, durable.ErrClosed) {
			t.Fatalf("the crashed store answers: %v", err)
		}
	}
	if len(seen) != 3 || seen[0] || seen[1] {
		t.Errorf("prefixes left: %v", seen)
	}
}

func TestHooks(t *testing.T) {
	boom := errors.New("boom")
	var failCommit, failWait bool
	s := memory.NewWithHooks(memory.Hooks{
		Commit: func(*durable.Batch) error {
			if failCommit {
				return durable.ErrFull
			}
			return nil
		},
		Wait: func() error {
			if failWait {
				return boom
			}
			return nil
		},
	})
	failWait = true
	if err := commit(t, s, "a").Wait(); !errors.Is(err, boom) || !errors.Is(err, durable.ErrUnknown) {
		t.Errorf("wait: %v", err)
	}
	if s.Pending() != 1 || len(s.Reopen().Dump()) != 0 {
		t.Error("a wait that failed made the batch durable")
	}
	failCommit = true
	if _, err := s.Commit(context.Background(), &durable.Batch{}); !errors.Is(err, durable.ErrFull) {
		t.Errorf("commit: %v", err)
	}
}
