package redis_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"holdfast/durable"
	"holdfast/durable/redis"
)

// allFail checks that a store grants and tells nothing any more.
func allFail(t *testing.T, s *redis.Store) {
	t.Helper()
	if err := commit(s, put("g", "2")); !errors.Is(err, durable.ErrWiped) {
		t.Errorf("commit: %v", err)
	}
	if err := commit(s, durable.Batch{}); !errors.Is(err, durable.ErrWiped) {
		t.Errorf("empty commit: %v", err)
	}
	if _, err := s.Load(context.Background(), "g"); !errors.Is(err, durable.ErrWiped) {
		t.Errorf("load: %v", err)
	}
	if err := s.Scan(context.Background(), "", func(durable.Group) bool { return true }); !errors.Is(err, durable.ErrWiped) {
		t.Errorf("scan: %v", err)
	}
	if s.Status().Err == nil {
		t.Error("the status does not tell")
	}
}

func TestWiped(t *testing.T) {
	server := startRedis(t, durableArgs...)
	o := redis.Options{Domain: newDomain()}
	s, idle := open(t, server.url(), o), open(t, server.url(), o)
	if err := commit(s, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	if err := server.client().FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	// The one whose first call is a load hears of it as well.
	if _, err := idle.Load(context.Background(), "g"); !errors.Is(err, durable.ErrWiped) {
		t.Errorf("load: %v", err)
	}
	allFail(t, s)

	o.Epoch = s.Epoch()
	if _, err := redis.Open(context.Background(), server.url(), o); !errors.Is(err, durable.ErrWiped) {
		t.Errorf("open of an epoch that is gone: %v", err)
	}
	// A new store in its place is another one.
	o.Epoch = ""
	n := open(t, server.url(), o)
	if !n.Made() || n.Epoch() == s.Epoch() {
		t.Errorf("the new store has epoch %q, made %v", n.Epoch(), n.Made())
	}
	if err := commit(n, put("g", "new")); err != nil {
		t.Error(err)
	}
	allFail(t, s)
	o.Epoch = s.Epoch()
	if _, err := redis.Open(context.Background(), server.url(), o); !errors.Is(err, durable.ErrWiped) {
		t.Errorf("open of another epoch: %v", err)
	}
	if g := load(t, n, "g"); g.Version != 1 || string(g.Parts[0].Value) != "new" {
		t.Errorf("the new store holds %v", g)
	}
}

// A server that starts on an empty disk and then on the right one again was
// never believed in between.
func TestServerOnAnotherDisk(t *testing.T) {
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain()})
	if err := commit(s, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	right := server.dir
	server.kill()
	server.dir = t.TempDir()
	server.restart()
	allFail(t, s)
	server.kill()
	server.dir = right
	server.restart()
	if err := commit(s, put("g", "2")); err != nil {
		t.Error(err)
	}
	if g := load(t, s, "g"); g.Version != 2 {
		t.Errorf("version %d", g.Version)
	}
}

// A server that was restored from an old copy lacks what was acknowledged:
// whoever knows tells all others, until somebody accepts the loss.
func TestSetBack(t *testing.T) {
	server := startRedis(t, durableArgs...)
	o := redis.Options{Domain: newDomain()}
	knows, other := open(t, server.url(), o), open(t, server.url(), o)
	if err := commit(knows, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	server.kill()
	backup := filepath.Join(t.TempDir(), "backup")
	if out, err := exec.Command("cp", "-a", server.dir, backup).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	server.restart()
	for range 10 {
		if err := commit(knows, put("g", "later")); err != nil {
			t.Fatal(err)
		}
	}
	server.kill()
	if err := os.RemoveAll(server.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(backup, server.dir); err != nil {
		t.Fatal(err)
	}
	server.restart()
	if err := commit(other, put("h", "1")); err != nil {
		t.Errorf("nobody could know yet: %v", err)
	}
	if _, err := knows.Load(context.Background(), "g"); !errors.Is(err, durable.ErrWiped) {
		t.Errorf("load: %v", err)
	}
	refused(t, server.url(), o, "was set back") // a load is enough to tell
	allFail(t, knows)
	allFail(t, other)
	refused(t, server.url(), o, "was set back")
	o.AcceptLoss = true
	n := open(t, server.url(), o)
	if n.Made() || n.Epoch() == knows.Epoch() {
		t.Errorf("epoch %q, made %v", n.Epoch(), n.Made())
	}
	if g := load(t, n, "g"); g.Version != 1 {
		t.Errorf("what is left has version %d", g.Version)
	}
	allFail(t, knows)
	// A second one that accepts has nothing to accept.
	if again := open(t, server.url(), o); again.Epoch() != n.Epoch() {
		t.Errorf("epochs %q and %q", again.Epoch(), n.Epoch())
	}
}

// A store of another format, or one whose records are not what they should be, is
// not touched.
func TestForeignRecords(t *testing.T) {
	server := startRedis(t, durableArgs...)
	c := server.client()
	ctx := context.Background()
	try := func(domain string) error {
		s, err := redis.Open(ctx, server.url(), redis.Options{Domain: domain})
		if err == nil {
			s.Close()
		}
		return err
	}
	if err := c.HSet(ctx, "holdfast:{f}:meta", "epoch", "x", "format", "2", "seq", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := try("f"); !errors.Is(err, durable.ErrFormat) {
		t.Errorf("a newer format: %v", err)
	}
	c.ZAdd(ctx, "holdfast:{i}:index", zed("g"))
	if err := try("i"); !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("an index without a store: %v", err)
	}
	s := open(t, server.url(), redis.Options{Domain: "g"})
	c.Set(ctx, "holdfast:{g}:g:text", "x", 0)
	c.HSet(ctx, "holdfast:{g}:g:bare", "pX", "x")
	c.HSet(ctx, "holdfast:{g}:g:word", "v", "one")
	c.HSet(ctx, "holdfast:{g}:g:odd", "v", "1", "x", "1")
	for _, key := range []string{"text", "bare", "word", "odd"} {
		if _, err := s.Load(ctx, "good", key); !errors.Is(err, durable.ErrDamaged) {
			t.Errorf("load of %q: %v", key, err)
		}
		if key == "odd" {
			continue // a commit does not look at the parts
		}
		if err := commit(s, put(key, "2")); !errors.Is(err, durable.ErrDamaged) {
			t.Errorf("commit to %q: %v", key, err)
		}
	}
	if err := commit(s, put("good", "1")); err != nil {
		t.Error(err)
	}
}

// A server that lost the functions gets them again.
func TestFunctionsComeBack(t *testing.T) {
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain()})
	if err := server.client().FunctionFlush(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := commit(s, put("g", "1")); err != nil {
		t.Error(err)
	}
	if g := load(t, s, "g"); g.Version != 1 {
		t.Errorf("version %d", g.Version)
	}
}
