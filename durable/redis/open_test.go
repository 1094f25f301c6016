package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/redis"
	"holdfast/durable/storetest"
)

// refused opens a store that must be refused with a text that helps.
func refused(t *testing.T, url string, o redis.Options, words ...string) {
	t.Helper()
	s, err := redis.Open(context.Background(), url, o)
	if err == nil {
		s.Close()
		t.Fatalf("%s was taken, wanted: %q", url, words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v\ndoes not say %q", err, word)
		}
	}
}

// A server that would lose what it acknowledged is refused, and told how to
// mend.
func TestVolatileServerIsRefused(t *testing.T) {
	server := startRedis(t, durableArgs...)
	c := server.client()
	ctx := context.Background()
	for _, x := range []struct{ name, bad, good, says string }{
		{"appendonly", "no", "yes", "CONFIG SET appendonly yes"},
		{"appendfsync", "everysec", "always", "CONFIG SET appendfsync always"},
		{"no-appendfsync-on-rewrite", "yes", "no", "CONFIG SET no-appendfsync-on-rewrite no"},
	} {
		if err := c.ConfigSet(ctx, x.name, x.bad).Err(); err != nil {
			t.Fatal(err)
		}
		o := redis.Options{Domain: newDomain()}
		refused(t, server.url(), o, x.says)
		o.AllowVolatile = true
		open(t, server.url(), o).Close()
		if err := c.ConfigSet(ctx, x.name, x.good).Err(); err != nil {
			t.Fatal(err)
		}
		o.AllowVolatile = false
		if !poll(t, func() bool { // appendonly yes begins with a rewrite
			s, err := redis.Open(ctx, server.url(), o)
			if err == nil {
				s.Close()
			}
			return err == nil
		}) {
			t.Errorf("%s %s is not taken", x.name, x.good)
		}
	}
	// What throws state away is never taken.
	c.ConfigSet(ctx, "maxmemory-policy", "allkeys-lru")
	refused(t, server.url(), redis.Options{AllowVolatile: true}, "CONFIG SET maxmemory-policy noeviction")
	c.ConfigSet(ctx, "maxmemory-policy", "noeviction")

	replica := startRedis(t, append(durableArgs, "--replicaof", "127.0.0.1 "+server.port)...)
	refused(t, replica.url(), redis.Options{AllowVolatile: true}, "it is a slave", "must be the master")
	refused(t, server.url()+"?replicas=2", redis.Options{}, "2 must confirm each commit")
}

// A server whose configuration became volatile while it was away is not used any
// more.
func TestServerBecomesVolatile(t *testing.T) {
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain(), Patience: 200 * time.Millisecond})
	if err := commit(s, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	server.kill()
	server.args = []string{"--appendonly", "yes", "--appendfsync", "everysec", "--save", ""}
	server.restart()
	c := server.client()
	err := commit(s, put("g", "2"))
	if !errors.Is(err, durable.ErrUnavailable) || !errors.Is(err, redis.ErrUnfit) {
		t.Errorf("a commit to a volatile server: %v", err)
	}
	if _, err := s.Load(context.Background(), "g"); !errors.Is(err, redis.ErrUnfit) {
		t.Errorf("a load from a volatile server: %v", err)
	}
	if err := c.ConfigSet(context.Background(), "appendfsync", "always").Err(); err != nil {
		t.Fatal(err)
	}
	if err := commit(s, put("g", "2")); err != nil {
		t.Errorf("a commit after it was mended: %v", err)
	}
	if g := load(t, s, "g"); g.Version != 2 {
		t.Errorf("version %d", g.Version)
	}
}

// A user with the documented rights can do everything, on its own domain.
func TestUserRights(t *testing.T) {
	server := startRedis(t, durableArgs...)
	c := server.client()
	ctx := context.Background()
	user := func(name, domain, rights string) {
		args := append([]any{"ACL", "SETUSER", name, "reset", "on", ">p@ss:w/rd", "~holdfast:{" + domain + "}:*"}, fields(rights)...)
		if err := c.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	const password = "p%40ss:w%2Frd"
	at := "redis://gw:" + password + "@" + server.addr()

	domain := newDomain()
	user("gw", domain, redis.Rights)
	s := open(t, at, redis.Options{Domain: domain})
	if err := commit(s, put("g", "1")); err != nil {
		t.Error(err)
	}
	if _, err := s.Now(ctx); err != nil {
		t.Error(err)
	}
	refused(t, at, redis.Options{Domain: "other"}, "ACL SETUSER", "NOPERM")

	file := writeFile(t, "password", "p@ss:w/rd\n")
	open(t, "redis://gw@"+server.addr()+"?password_file="+file, redis.Options{Domain: domain})

	// Without CONFIG GET the operator has to give his word.
	user("gw", domain, strings.ReplaceAll(redis.Rights, "+config|get ", ""))
	refused(t, at, redis.Options{Domain: domain}, "appendfsync cannot be seen", "+config|get", "appendfsync=always")
	open(t, at+"?appendfsync=always", redis.Options{Domain: domain})
	c.ConfigSet(ctx, "appendonly", "no")
	refused(t, at+"?appendfsync=always", redis.Options{Domain: domain}, "appendonly is off")
	c.ConfigSet(ctx, "appendonly", "yes")
	c.ConfigSet(ctx, "maxmemory-policy", "volatile-lru")
	refused(t, at+"?appendfsync=always", redis.Options{Domain: domain}, "maxmemory-policy")
	c.ConfigSet(ctx, "maxmemory-policy", "noeviction")

	// Any other right that lacks is found at once.
	for _, right := range []string{"+fcall", "+info", "+time", "+hget", "+hmget", "+hgetall", "+hscan", "+hlen", "+hset", "+hdel", "+unlink", "+zadd", "+zrem", "+zrange"} {
		user("gw", domain, strings.ReplaceAll(redis.Rights+" ", right+" ", ""))
		refused(t, at, redis.Options{Domain: domain, Patience: time.Second}, "lacks a right", "ACL SETUSER", "Redis says")
	}
	refused(t, "redis://gw:wrong@"+server.addr(), redis.Options{}, "WRONGPASS")
	refused(t, "redis://"+server.addr()+"?password_file=/nowhere/at/all", redis.Options{}, "password_file", "no such file")
	c.Do(ctx, "ACL", "SETUSER", "default", "off")
	refused(t, "redis://"+server.addr(), redis.Options{}, "NOAUTH")
}

// A right that is taken away while a store is in use stops the function in its
// midst: then nobody is told that all is well, or that nothing was done.
func TestRightIsTakenAway(t *testing.T) {
	server := startRedis(t, durableArgs...)
	c := server.client()
	ctx := context.Background()
	domain := newDomain()
	args := append([]any{"ACL", "SETUSER", "gw", "on", ">p", "~holdfast:{" + domain + "}:*"}, fields(redis.Rights)...)
	if err := c.Do(ctx, args...).Err(); err != nil {
		t.Fatal(err)
	}
	s := open(t, "redis://gw:p@"+server.addr(), redis.Options{Domain: domain})
	if err := c.Do(ctx, "ACL", "SETUSER", "gw", "-zadd").Err(); err != nil {
		t.Fatal(err)
	}
	if err := commit(s, put("g", "1")); !errors.Is(err, durable.ErrUnknown) || !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("a commit that failed in its midst: %v", err)
	}
}

func fields(text string) []any {
	var all []any
	for _, f := range strings.Fields(text) {
		all = append(all, f)
	}
	return all
}

func TestNoServer(t *testing.T) {
	addr := "127.0.0.1:" + freePort(t)
	_, err := redis.Open(context.Background(), "redis://u:secret@"+addr, redis.Options{Patience: 50 * time.Millisecond})
	if !errors.Is(err, durable.ErrUnavailable) || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := redis.Open(ctx, "redis://"+addr, redis.Options{}); !errors.Is(err, durable.ErrUnavailable) {
		t.Errorf("with a ctx that is done: %v", err)
	}
}

// A server that turns every connection away says why, and so does Open.
func TestServerTurnsAway(t *testing.T) {
	server := startRedis(t, durableArgs...)
	c := server.client()
	if err := c.ConfigSet(context.Background(), "maxclients", "1").Err(); err != nil {
		t.Fatal(err)
	}
	refused(t, server.url(), redis.Options{Patience: time.Second}, "unavailable", "max number of clients")
}

// A server that comes up while it is tried is taken.
func TestServerComesLate(t *testing.T) {
	server := startRedis(t, durableArgs...)
	server.kill()
	opened := make(chan error)
	o := redis.Options{Domain: newDomain(), Patience: time.Minute}
	go func() {
		s, err := redis.Open(context.Background(), server.url(), o)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	server.restart()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// Several stores on one server are one store to their users.
func TestSeveralStores(t *testing.T) {
	server := startRedis(t, durableArgs...)
	storetest.Run(t, storetest.Subject{Open: func(t testing.TB) durable.Store {
		o := redis.Options{Domain: newDomain()}
		return &crowd{stores: []durable.Store{open(t, server.url(), o), open(t, server.url(), o), open(t, server.url(), o)}}
	}})
}

// Groups of one domain are not seen in another.
func TestDomainsAreApart(t *testing.T) {
	server := startRedis(t, durableArgs...)
	a := open(t, server.url(), redis.Options{Domain: "a"})
	b := open(t, server.url(), redis.Options{Domain: "b"})
	second := open(t, server.url()+"/1", redis.Options{Domain: "a"})
	if err := commit(a, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*redis.Store{b, second} {
		if g := load(t, s, "g"); g.Version != 0 {
			t.Errorf("another domain's group is at version %d", g.Version)
		}
		if s.Epoch() == a.Epoch() || !s.Made() {
			t.Errorf("epochs %q and %q", s.Epoch(), a.Epoch())
		}
	}
	again := open(t, server.url(), redis.Options{Domain: "a", Epoch: a.Epoch()})
	if again.Epoch() != a.Epoch() || again.Made() {
		t.Errorf("epoch %q, made %v", again.Epoch(), again.Made())
	}
	for _, domain := range []string{"a{b", "a}", "a b", strings.Repeat("x", 65)} {
		refused(t, server.url(), redis.Options{Domain: domain}, "state domain")
	}
}

// The store's time is the server's.
func TestNow(t *testing.T) {
	server := startRedis(t, durableArgs...)
	s := open(t, server.url(), redis.Options{Domain: newDomain()})
	a, err := s.Now(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b, err := server.client().Time(context.Background()).Result()
	if err != nil || b.Before(a) || b.Sub(a) > time.Minute {
		t.Errorf("%v, then %v: %v", a, b, err)
	}
}
