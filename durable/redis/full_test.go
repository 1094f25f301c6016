package redis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"holdfast/durable"
	"holdfast/durable/redis"
)

func zed(member string) goredis.Z { return goredis.Z{Member: member} }

// With its memory full the server takes what releases something, and nothing
// else is lost.
func TestFull(t *testing.T) {
	server := startRedis(t, durableArgs...)
	o := redis.Options{Domain: newDomain()}
	s := open(t, server.url(), o)
	if err := commit(s, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	c := server.client()
	limit := func(bytes string) {
		if err := c.ConfigSet(context.Background(), "maxmemory", bytes).Err(); err != nil {
			t.Fatal(err)
		}
	}
	limit("1")
	if err := commit(s, put("h", "1")); !errors.Is(err, durable.ErrFull) {
		t.Errorf("a commit that needs memory: %v", err)
	}
	if g := load(t, s, "h"); g.Version != 0 {
		t.Errorf("a commit that was refused made version %d", g.Version)
	}
	if g := load(t, s, "g"); g.Version != 1 {
		t.Errorf("version %d", g.Version)
	}
	// A close with its reply, as a gateway commits it.
	b := durable.Batch{
		Checks: []durable.Check{{Key: "g", Version: 1}},
		Writes: []durable.Write{{Key: "slot", Value: []byte("reply")}, {Key: "g"}},
	}
	if err := commit(s, b); err != nil {
		t.Errorf("a commit that releases: %v", err)
	}
	if err := commit(s, durable.Batch{Forget: []string{"g"}}); err != nil {
		t.Errorf("a commit that forgets: %v", err)
	}
	// A gateway may also start.
	n := open(t, server.url(), o)
	if g := load(t, n, "slot"); g.Version != 1 {
		t.Errorf("version %d", g.Version)
	}
	limit("0")
	if err := commit(s, put("h", "1")); err != nil {
		t.Errorf("a commit when there is memory again: %v", err)
	}
}

// Batches and groups of many parts go through, and a scan of many groups is
// done in pages.
func TestMany(t *testing.T) {
	const n = 3500
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain()})
	var b durable.Batch
	for i := range n {
		b.Writes = append(b.Writes, durable.Write{Key: "parts", Name: fmt.Sprint(i), Value: []byte("v")},
			durable.Write{Key: fmt.Sprint("many/", i), Value: []byte("v")})
	}
	if err := commit(s, b); err != nil {
		t.Fatal(err)
	}
	if g := load(t, s, "parts"); g.Version != 1 || len(g.Parts) != n {
		t.Fatalf("version %d with %d parts", g.Version, len(g.Parts))
	}
	count := func(prefix string) (n int) {
		if err := s.Scan(context.Background(), prefix, func(durable.Group) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if all, some := count("many/"), count("many/1"); all != n || some != 1111 {
		t.Errorf("%d groups, %d that begin with 1", all, some)
	}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("many/", i)
	}
	groups, err := s.Load(context.Background(), keys...)
	if err != nil || len(groups) != n || groups[n-1].Key != keys[n-1] || groups[n-1].Version != 1 {
		t.Errorf("%d groups: %v", len(groups), err)
	}
	b = durable.Batch{Forget: keys}
	for i := range n {
		b.Writes = append(b.Writes, durable.Write{Key: "parts", Name: fmt.Sprint(i)})
	}
	if err := commit(s, b); err != nil {
		t.Fatal(err)
	}
	if g := load(t, s, "parts"); g.Version != 2 || len(g.Parts) != 0 || count("") != 1 {
		t.Errorf("version %d with %d parts, %d groups", g.Version, len(g.Parts), count(""))
	}
	// The end of a range that has none above it.
	if err := commit(s, put("\xff\xff", "1")); err != nil {
		t.Fatal(err)
	}
	if n := count("\xff"); n != 1 {
		t.Errorf("%d groups", n)
	}
}
