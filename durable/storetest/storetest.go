// Package storetest holds what every durable.Store must keep, as tests that run
// over any of them:
//
//	storetest.Run(t, storetest.Subject{Open: ..., Reopen: ...})
//
// Run compares a store with a dumb oracle under random batches, checks that
// concurrent commits are linearizable and loads atomic, and that what was waited
// for outlives a crash together with all that came before it.
//
// For a store that lives in a directory, Kill does the last part with a real
// child process that dies by SIGKILL in the midst of its commits.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"holdfast/durable"
)

// A Subject says how to come by the store under test.
type Subject struct {
	// Open returns a new, empty store. Stores still open when the test ends
	// are closed by it.
	Open func(t testing.TB) durable.Store
	// Reopen ends s and opens its content again: by Close, or, if crash is
	// set, in the way that loses most of what was not waited for. nil if
	// the store's content cannot outlive it; the tests that need it are skipped.
	Reopen func(t testing.TB, s durable.Store, crash bool) durable.Store
}

// Run runs the whole suite.
func Run(t *testing.T, sub Subject) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"Versions", testVersions},
		{"Conflict", testConflict},
		{"Writes", testWrites},
		{"Forget", testForget},
		{"LoadParts", testLoadParts},
		{"Fence", testFence},
		{"Values", testValues},
		{"Keys", testKeys},
		{"Limits", testLimits},
		{"Scan", testScan},
		{"NoReference", testNoReference},
		{"Context", testContext},
		{"Closed", testClosed},
		{"Oracle", testOracle},
		{"Counters", testCounters},
		{"Linearizable", testLinearizable},
		{"LoadAtomic", testLoadAtomic},
		{"CommitVisible", testCommitVisible},
		{"Reopen", testReopen},
		{"Crash", testCrash},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, sub) })
	}
}

func (sub Subject) open(t testing.TB) durable.Store {
	t.Helper()
	s := sub.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, durable.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func (sub Subject) reopen(t testing.TB, s durable.Store, crash bool) durable.Store {
	t.Helper()
	n := sub.Reopen(t, s, crash)
	t.Cleanup(func() {
		if err := n.Close(); err != nil && !errors.Is(err, durable.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

// do commits b and waits for it.
func do(t testing.TB, s durable.Store, b durable.Batch) {
	t.Helper()
	if err := try(s, b); err != nil {
		t.Fatalf("commit of %s: %v", describe(&b), err)
	}
}

func try(s durable.Store, b durable.Batch) error {
	ack, err := s.Commit(context.Background(), &b)
	if err != nil {
		return err
	}
	return ack.Wait()
}

func load(t testing.TB, s durable.Store, key string) durable.Group {
	t.Helper()
	groups, err := s.Load(context.Background(), key)
	if err != nil {
		t.Fatalf("load %q: %v", key, err)
	}
	if len(groups) != 1 {
		t.Fatalf("load of one key returned %d groups", len(groups))
	}
	return groups[0]
}

// expect fails unless the group has this version and these parts, given as name
// and value in turn.
func expect(t testing.TB, s durable.Store, key string, version uint64, parts ...string) {
	t.Helper()
	want := durable.Group{Key: key, Version: version}
	for i := 0; i < len(parts); i += 2 {
		want.Parts = append(want.Parts, durable.Part{Name: parts[i], Value: []byte(parts[i+1])})
	}
	if got := load(t, s, key); !equal(got, want) {
		t.Fatalf("loaded %s, want %s", show(got), show(want))
	}
}

func equal(a, b durable.Group) bool {
	if a.Key != b.Key || a.Version != b.Version || len(a.Parts) != len(b.Parts) {
		return false
	}
	for i := range a.Parts {
		if a.Parts[i].Name != b.Parts[i].Name || string(a.Parts[i].Value) != string(b.Parts[i].Value) ||
			a.Parts[i].Value == nil || b.Parts[i].Value == nil {
			return false
		}
	}
	return true
}

func show(g durable.Group) string {
	text := fmt.Sprintf("%q v%d {", g.Key, g.Version)
	for _, p := range g.Parts {
		if len(p.Value) > 32 {
			text += fmt.Sprintf(" %q:[%d bytes]", p.Name, len(p.Value))
		} else {
			text += fmt.Sprintf(" %q:%q", p.Name, p.Value)
		}
		if p.Value == nil {
			text += "(nil)"
		}
	}
	return text + " }"
}

func describe(b *durable.Batch) string {
	return fmt.Sprintf("batch(%d checks, %d writes, %d forgotten)", len(b.Checks), len(b.Writes), len(b.Forget))
}

func put(key, name, value string) durable.Write {
	return durable.Write{Key: key, Name: name, Value: []byte(value)}
}

func del(key, name string) durable.Write { return durable.Write{Key: key, Name: name} }

func writes(w ...durable.Write) durable.Batch { return durable.Batch{Writes: w} }
