package redis_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/durable"
	"holdfast/durable/redis"
)

// fill makes a group of so many parts.
func fill(t *testing.T, s durable.Store, key string, parts int) {
	t.Helper()
	for from := 0; from < parts; from += 10_000 {
		var b durable.Batch
		for i := from; i < min(from+10_000, parts); i++ {
			b.Writes = append(b.Writes, durable.Write{Key: key, Name: fmt.Sprintf("part %06d", i), Value: binary.BigEndian.AppendUint32(nil, uint32(i))})
		}
		if err := commit(s, b); err != nil {
			t.Fatal(err)
		}
	}
}

// filled checks that a group has all those parts.
func filled(t *testing.T, g durable.Group, parts int) {
	t.Helper()
	n := 0
	for _, p := range g.Parts {
		if !strings.HasPrefix(p.Name, "part ") {
			continue
		}
		if p.Name != fmt.Sprintf("part %06d", n) || binary.BigEndian.Uint32(p.Value) != uint32(n) {
			t.Fatalf("part %d is %q with %x", n, p.Name, p.Value)
		}
		n++
	}
	if n != parts {
		t.Fatalf("%d parts, want %d", n, parts)
	}
}

// TestLargeGroup: a group of very many parts is read in many small answers.
func TestLargeGroup(t *testing.T) {
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain()})
	const parts = 50_000
	fill(t, s, "large", parts)
	if err := commit(s, put("small", "x")); err != nil {
		t.Fatal(err)
	}
	groups, err := s.Load(context.Background(), "small", "large", "none", "large")
	if err != nil {
		t.Fatal(err)
	}
	if string(groups[0].Parts[0].Value) != "x" || groups[2].Version != 0 {
		t.Errorf("beside it: %v and %v", groups[0], groups[2])
	}
	for _, g := range []durable.Group{groups[1], groups[3]} {
		filled(t, g, parts)
		if g.Key != "large" || g.Version != parts/10_000 {
			t.Errorf("%q has version %d", g.Key, g.Version)
		}
	}
	stale := durable.Batch{
		Checks: []durable.Check{{Key: "small", Version: 7}, {Key: "large", Version: 1}},
		Writes: []durable.Write{{Key: "small", Value: []byte("y")}},
	}
	var c *durable.Conflict
	if err := commit(s, stale); !errors.As(err, &c) || len(c.Groups) != 2 || c.Groups[0].Key != "small" {
		t.Fatalf("a check that does not hold: %v", err)
	}
	filled(t, c.Groups[1], parts)
	stats, err := server.client().Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(stats) {
		if calls, ok := strings.CutPrefix(line, "cmdstat_hgetall:calls="); ok && !strings.HasPrefix(calls, "2,") { // opening the store, and the small group
			t.Errorf("a large group was read at once: %s", line)
		}
	}
}

// TestLargeGroupMoves: what is read of a large group is of one moment, also while others
// change it all the time.
func TestLargeGroupMoves(t *testing.T) {
	server := startRedis(t, durableArgs...)
	domain := newDomain()
	s, other := open(t, server.url(), redis.Options{Domain: domain}), open(t, server.url(), redis.Options{Domain: domain})
	const parts = 20_000
	fill(t, s, "large", parts)
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for n := uint32(0); !stop.Load(); n++ {
			number := binary.BigEndian.AppendUint32(nil, n)
			if err := commit(other, durable.Batch{Writes: []durable.Write{
				{Key: "large", Name: "a", Value: number},
				{Key: "large", Name: "z", Value: number},
			}}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer all.Wait()
	defer stop.Store(true)
	var version uint64
	for range 20 {
		g := load(t, s, "large")
		filled(t, g, parts)
		if len(g.Parts) == parts+2 {
			if a, z := g.Parts[0], g.Parts[parts+1]; a.Name != "a" || z.Name != "z" || string(a.Value) != string(z.Value) {
				t.Fatalf("%q is %x and %q is %x", a.Name, a.Value, z.Name, z.Value)
			}
		}
		if g.Version < version {
			t.Fatalf("version %d after %d", g.Version, version)
		}
		version = g.Version
	}
}
