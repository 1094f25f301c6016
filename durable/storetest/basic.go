package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/durable"
)

// A group's version rises by one with every batch that changes it.
func testVersions(t *testing.T, sub Subject) {
	s := sub.open(t)
	expect(t, s, "g", 0)
	do(t, s, writes(put("g", "", "a"), put("g", "x", "1"), put("g", "y", "2")))
	expect(t, s, "g", 1, "", "a", "x", "1", "y", "2")
	do(t, s, writes(put("g", "x", "3")))
	expect(t, s, "g", 2, "", "a", "x", "3", "y", "2")
	do(t, s, writes(put("other", "", "o")))
	expect(t, s, "g", 2, "", "a", "x", "3", "y", "2")
	do(t, s, durable.Batch{Checks: []durable.Check{{Key: "g", Version: 2}}})
	expect(t, s, "g", 2, "", "a", "x", "3", "y", "2")
	do(t, s, durable.Batch{})
}

// Nothing is written when one check fails, and the conflict tells what is there.
func testConflict(t *testing.T, sub Subject) {
	s := sub.open(t)
	do(t, s, writes(put("a", "", "1"), put("b", "", "1"), put("b", "p", "2")))
	err := try(s, durable.Batch{
		Checks: []durable.Check{{Key: "a", Version: 1}, {Key: "b", Version: 0}, {Key: "b", Version: 7}, {Key: "c", Version: 1}},
		Writes: []durable.Write{put("a", "", "x"), put("b", "", "x"), put("c", "", "x")},
		Forget: []string{"a"},
	})
	var c *durable.Conflict
	if !errors.As(err, &c) {
		t.Fatalf("got %v, want a Conflict", err)
	}
	want := []durable.Group{
		{Key: "b", Version: 1, Parts: []durable.Part{{Name: "", Value: []byte("1")}, {Name: "p", Value: []byte("2")}}},
		{Key: "c"},
	}
	if len(c.Groups) != 2 || !equal(c.Groups[0], want[0]) || !equal(c.Groups[1], want[1]) {
		t.Fatalf("the conflict tells %v", c.Groups)
	}
	expect(t, s, "a", 1, "", "1")
	expect(t, s, "b", 1, "", "1", "p", "2")
	expect(t, s, "c", 0)
	do(t, s, durable.Batch{
		Checks: []durable.Check{{Key: "a", Version: 1}, {Key: "b", Version: 1}, {Key: "c", Version: 0}},
		Writes: []durable.Write{put("c", "", "x")},
	})
	expect(t, s, "c", 1, "", "x")
}

// Writes are done in their order; nil deletes, and an empty value does not.
func testWrites(t *testing.T, sub Subject) {
	s := sub.open(t)
	do(t, s, writes(put("g", "x", "1"), del("g", "x"), put("g", "y", "1"), put("g", "y", "2"), put("g", "e", ""), del("g", "z")))
	expect(t, s, "g", 1, "e", "", "y", "2")
	do(t, s, writes(del("g", "y"), put("g", "y", "3"), del("g", "e"), put("g", "", "h"), del("g", "")))
	expect(t, s, "g", 2, "y", "3")
	// A group whose last part is deleted stays known with its version.
	do(t, s, writes(del("g", "y")))
	expect(t, s, "g", 3)
	do(t, s, writes(put("g", "n", "1")))
	expect(t, s, "g", 4, "n", "1")
	// Deleting what is not there is a write like any other.
	do(t, s, writes(del("new", "p")))
	expect(t, s, "new", 1)
}

// A forgotten group does not exist, and starts at version 1 again.
func testForget(t *testing.T, sub Subject) {
	s := sub.open(t)
	do(t, s, writes(put("g", "", "a"), put("g", "x", "1")))
	do(t, s, writes(put("g", "y", "1")))
	do(t, s, durable.Batch{Checks: []durable.Check{{Key: "g", Version: 2}}, Writes: []durable.Write{put("g", "z", "1")}, Forget: []string{"g"}})
	expect(t, s, "g", 0)
	do(t, s, durable.Batch{Checks: []durable.Check{{Key: "g"}}, Writes: []durable.Write{put("g", "w", "1")}})
	expect(t, s, "g", 1, "w", "1")
	do(t, s, durable.Batch{Forget: []string{"g", "never", "g"}})
	expect(t, s, "g", 0)
	expect(t, s, "never", 0)
	if n := count(t, s, ""); n != 0 {
		t.Fatalf("%d groups are left", n)
	}
	// A group with many parts leaves nothing behind either.
	var many []durable.Write
	for i := range 2000 {
		many = append(many, put("big", fmt.Sprint(i), "v"))
	}
	do(t, s, writes(many...))
	do(t, s, durable.Batch{Forget: []string{"big"}})
	do(t, s, writes(put("big", "only", "v")))
	expect(t, s, "big", 1, "only", "v")
}

// Some parts of a group are those that Load shows, whatever else it holds.
func testLoadParts(t *testing.T, sub Subject) {
	s := sub.open(t)
	some := func(version uint64, names []string, parts ...string) {
		t.Helper()
		g, err := s.LoadParts(context.Background(), "g", names...)
		if err != nil {
			t.Fatal(err)
		}
		want := durable.Group{Key: "g", Version: version}
		for i := 0; i < len(parts); i += 2 {
			want.Parts = append(want.Parts, durable.Part{Name: parts[i], Value: []byte(parts[i+1])})
		}
		if !equal(g, want) {
			t.Fatalf("loaded %s, want %s", show(g), show(want))
		}
	}
	some(0, []string{"", "a"})
	do(t, s, writes(put("g", "", "head")))
	some(1, []string{"", "a"}, "", "head")
	some(1, []string{"a"})
	some(1, nil)
	var many []durable.Write
	for i := range 500 {
		many = append(many, put("g", fmt.Sprintf("%03d", i), fmt.Sprint(i)))
	}
	do(t, s, writes(append(many, put("g", "bytes\x00\xff", ""), put("other", "007", "of another"))...))
	some(2, []string{"007", "", "499", "500"}, "", "head", "007", "7", "499", "499")
	some(2, []string{"bytes\x00\xff"}, "bytes\x00\xff", "")
	do(t, s, writes(del("g", "007"), put("g", "499", "new")))
	some(3, []string{"007", "499"}, "499", "new")
	do(t, s, writes(put("g", "", string(make([]byte, 5000)))))
	some(4, []string{"", "499"}, "", string(make([]byte, 5000)), "499", "new")
	do(t, s, durable.Batch{Forget: []string{"g"}})
	some(0, []string{"", "499"})
}

// A batch whose fence does not hold writes nothing, whatever else is wrong with it.
func testFence(t *testing.T, sub Subject) {
	s := sub.open(t)
	do(t, s, writes(put("gateway/1", "", "alive"), put("g", "", "1")))
	fence := durable.Check{Key: "gateway/1", Version: 1}
	b := durable.Batch{Checks: []durable.Check{{Key: "g", Version: 1}}, Writes: []durable.Write{put("g", "", "2")}, Fence: fence}
	do(t, s, b)
	expect(t, s, "g", 2, "", "2")
	var c *durable.Conflict
	if err := try(s, b); !errors.As(err, &c) || len(c.Groups) != 1 || c.Groups[0].Key != "g" {
		t.Fatalf("a check that fails behind a fence that holds: %v", err)
	}
	do(t, s, writes(put("gateway/1", "", "dead")))
	if err := try(s, b); !errors.Is(err, durable.ErrFencedOut) {
		t.Fatalf("fenced out, and a check fails: %v", err)
	}
	b.Checks[0].Version = 2
	if err := try(s, b); !errors.Is(err, durable.ErrFencedOut) {
		t.Fatalf("fenced out: %v", err)
	}
	expect(t, s, "g", 2, "", "2")
	do(t, s, durable.Batch{Forget: []string{"gateway/1"}})
	b.Fence.Version = 2
	if err := try(s, b); !errors.Is(err, durable.ErrFencedOut) {
		t.Fatalf("a fence that does not exist any more: %v", err)
	}
	// A gateway may write its own record.
	do(t, s, durable.Batch{Writes: []durable.Write{put("gateway/1", "", "a")}, Fence: durable.Check{Key: "gateway/1"}})
	expect(t, s, "gateway/1", 1, "", "a")
	b.Fence.Key = strings.Repeat("x", durable.MaxKey+1)
	if err := try(s, b); !errors.Is(err, durable.ErrLimit) {
		t.Fatalf("a fence with a long key: %v", err)
	}
}

// Values of every size come back as they were, whichever size they replace.
func testValues(t *testing.T, sub Subject) {
	s := sub.open(t)
	sizes := []int{0, 1, 100, 1 << 10, 1<<10 + 1, 64 << 10, durable.MaxValue}
	var version uint64
	for _, a := range sizes {
		for _, b := range sizes {
			for _, n := range []int{a, b} {
				value := string(bytes.Repeat([]byte{byte(n), 0, 0xff}, n/3+1)[:n])
				do(t, s, writes(put("g", "", value), put("g", "p", value)))
				version++
				expect(t, s, "g", version, "", value, "p", value)
				// The head outlives a commit that does not name it.
				do(t, s, writes(put("g", "q", "1")))
				version++
				expect(t, s, "g", version, "", value, "p", value, "q", "1")
				do(t, s, writes(del("g", "q")))
				version++
			}
		}
	}
}

// Keys and names are any bytes, and never get into each other's way.
func testKeys(t *testing.T, sub Subject) {
	s := sub.open(t)
	words := []string{"a", "a\x00", "a\x00\x00", "a\x00\x01", "a\x00\x02", "a\x00\xff", "a\x01", "ab", "\x00", "\x00\x00", "\xff", "\xff\xff", "a/b", "a\x00\x02b",
		strings.Repeat("k", durable.MaxKey), strings.Repeat("\x00", durable.MaxKey)}
	for _, key := range words {
		for _, name := range append([]string{""}, words...) {
			if len(name) <= durable.MaxName {
				do(t, s, writes(put(key, name, key+"|"+name)))
			}
		}
	}
	names := append([]string{""}, words...)
	slices.Sort(names)
	for _, key := range words {
		var parts []string
		for _, name := range names {
			parts = append(parts, name, key+"|"+name)
		}
		expect(t, s, key, uint64(len(names)), parts...)
	}
	do(t, s, durable.Batch{Forget: []string{"a\x00"}})
	for _, key := range words {
		want := uint64(len(names))
		if key == "a\x00" {
			want = 0
		}
		if g := load(t, s, key); g.Version != want {
			t.Fatalf("after another group was forgotten: %s", show(g))
		}
	}
}

func testLimits(t *testing.T, sub Subject) {
	s := sub.open(t)
	long := strings.Repeat("x", durable.MaxKey+1)
	huge := make([]durable.Write, durable.MaxBatch/durable.MaxValue+1)
	for i := range huge {
		huge[i] = durable.Write{Key: "g", Name: fmt.Sprint(i), Value: make([]byte, durable.MaxValue)}
	}
	for _, b := range []durable.Batch{
		writes(put("", "", "v")),
		writes(put(long, "", "v")),
		writes(put("g", strings.Repeat("n", durable.MaxName+1), "v")),
		writes(put("g", "", strings.Repeat("v", durable.MaxValue+1))),
		writes(huge...),
		{Forget: []string{""}},
		{Checks: []durable.Check{{Key: long}}},
	} {
		if err := try(s, b); !errors.Is(err, durable.ErrLimit) {
			t.Errorf("%s beyond the limits: %v", describe(&b), err)
		}
	}
	if _, err := s.Load(context.Background(), long); !errors.Is(err, durable.ErrLimit) {
		t.Errorf("load of a long key: %v", err)
	}
	expect(t, s, "g", 0)
	do(t, s, writes(huge[:len(huge)-2]...))
	if g := load(t, s, "g"); len(g.Parts) != len(huge)-2 {
		t.Errorf("a batch near the limit left %d parts", len(g.Parts))
	}
}

// Scan shows each existing group below a prefix once and whole.
func testScan(t *testing.T, sub Subject) {
	s := sub.open(t)
	for i := range 50 {
		do(t, s, writes(put(fmt.Sprintf("a/%d", i), "", "h"), put(fmt.Sprintf("a/%d", i), "p", fmt.Sprint(i))))
	}
	do(t, s, writes(put("a", "", "1"), put("b/1", "", "1"), put("a/\x00", "", "1"), put("a0", "", "1")))
	do(t, s, writes(del("a/7", ""), del("a/7", "p")))
	do(t, s, durable.Batch{Forget: []string{"a/8"}})
	seen := make(map[string]bool)
	if err := s.Scan(context.Background(), "a/", func(g durable.Group) bool {
		if seen[g.Key] {
			t.Errorf("%q was seen twice", g.Key)
		}
		seen[g.Key] = true
		if got := load(t, s, g.Key); !equal(got, g) {
			t.Errorf("scanned %s, loaded %s", show(g), show(got))
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 50 || !seen["a/7"] || seen["a/8"] || !seen["a/\x00"] {
		t.Errorf("%d groups were seen", len(seen))
	}
	if n := count(t, s, ""); n != 53 {
		t.Errorf("%d groups in all", n)
	}
	n := 0
	if err := s.Scan(context.Background(), "a", func(durable.Group) bool { n++; return n < 5 }); err != nil || n != 5 {
		t.Errorf("a scan that is stopped at 5 went to %d: %v", n, err)
	}
}

func count(t testing.TB, s durable.Store, prefix string) int {
	t.Helper()
	n := 0
	if err := s.Scan(context.Background(), prefix, func(durable.Group) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

// Commit keeps no reference to the batch.
func testNoReference(t *testing.T, sub Subject) {
	s := sub.open(t)
	for _, size := range []int{10, 5000} {
		key, value := fmt.Sprint("g", size), bytes.Repeat([]byte("a"), size)
		b := writes(durable.Write{Key: key, Value: value}, durable.Write{Key: key, Name: "p", Value: value})
		ack, err := s.Commit(context.Background(), &b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range value {
			value[i] = 'b'
		}
		b.Writes[0] = durable.Write{Key: "x", Name: "x"}
		want := strings.Repeat("a", size)
		expect(t, s, key, 1, "", want, "p", want)
		if err := ack.Wait(); err != nil {
			t.Fatal(err)
		}
		expect(t, s, key, 1, "", want, "p", want)
	}
}

func testContext(t *testing.T, sub Subject) {
	s := sub.open(t)
	do(t, s, writes(put("g", "", "1")))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := writes(put("g", "", "2"))
	if _, err := s.Commit(ctx, &b); !errors.Is(err, durable.ErrUnavailable) {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.Load(ctx, "g"); !errors.Is(err, durable.ErrUnavailable) {
		t.Errorf("load: %v", err)
	}
	if err := s.Scan(ctx, "g", func(durable.Group) bool { return true }); !errors.Is(err, durable.ErrUnavailable) {
		t.Errorf("scan: %v", err)
	}
	expect(t, s, "g", 1, "", "1")
}

func testClosed(t *testing.T, sub Subject) {
	s := sub.open(t)
	do(t, s, writes(put("g", "", "1")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b := writes(put("g", "", "2"))
	if _, err := s.Commit(context.Background(), &b); !errors.Is(err, durable.ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.Load(context.Background(), "g"); !errors.Is(err, durable.ErrClosed) {
		t.Errorf("load: %v", err)
	}
	if err := s.Scan(context.Background(), "", func(durable.Group) bool { return true }); !errors.Is(err, durable.ErrClosed) {
		t.Errorf("scan: %v", err)
	}
	if err := s.Close(); !errors.Is(err, durable.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
}
