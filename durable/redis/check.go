package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// ErrUnfit is what Open returns for a server that cannot be a gateway's store
// as it is configured. The text says what is missing and how to mend it.
var ErrUnfit = errors.New("redis server cannot keep the state as it is configured")

// Rights are what an ACL user needs besides its keys.
const Rights = "+@connection +fcall +function|load +info +config|get +wait +time " +
	"+hget +hmget +hgetall +hscan +hlen +hset +hdel +exists +unlink +zadd +zrem +zrange"

// A server is what a Redis server tells of itself.
type server struct {
	info map[string]string
	// config holds what CONFIG GET showed; nil if it is not allowed.
	config map[string]string
}

// look asks the server at the other end about itself.
func look(ctx context.Context, conn *goredis.Conn) (server, error) {
	text, err := conn.Do(ctx, "INFO").Text()
	if err != nil {
		return server{}, err
	}
	srv := server{info: parseInfo(text)}
	pairs, err := conn.Do(ctx, "CONFIG", "GET", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy").StringSlice()
	var reply goredis.Error
	switch {
	case errors.As(err, &reply):
		return srv, nil // not allowed, or renamed
	case err != nil:
		return server{}, err
	}
	srv.config = make(map[string]string)
	for i := 0; i+1 < len(pairs); i += 2 {
		srv.config[pairs[i]] = pairs[i+1]
	}
	return srv, nil
}

func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// fit says whether a server can be the store: all that is wrong with it, each
// with what mends it.
func (srv server) fit(a *address, allowVolatile bool) error {
	var bad []string
	find := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	if srv.info["redis_mode"] == "sentinel" {
		return fmt.Errorf("%w (%s): it is a Sentinel: use redis+sentinel://", ErrUnfit, a)
	}
	version := srv.info["redis_version"]
	if major, err := strconv.Atoi(strings.SplitN(version, ".", 2)[0]); err != nil || major < 7 {
		find("it is version %q: 7.0 or later is needed", version)
	}
	if srv.info["redis_mode"] == "cluster" {
		find("it is a node of a Redis Cluster: use one server, or Sentinel")
	}
	if role := srv.info["role"]; role != "master" {
		find("it is a %s: the store must be the master (or use redis+sentinel://)", role)
	}
	policy := srv.info["maxmemory_policy"]
	if p, ok := srv.config["maxmemory-policy"]; ok {
		policy = p
	}
	if policy != "noeviction" {
		find("maxmemory-policy is %q: it would throw state away when memory is short; CONFIG SET maxmemory-policy noeviction", policy)
	}
	if !allowVolatile {
		bad = append(bad, srv.volatile(a)...)
	}
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("%w (%s): %s", ErrUnfit, a, strings.Join(bad, "; "))
}

// volatile says why the server may lose what it acknowledged; nothing if it
// does not.
func (srv server) volatile(a *address) (bad []string) {
	if a.replicas > 0 {
		return nil
	}
	if a.master != "" {
		return []string{"with Sentinel a failover loses acknowledged state unless replicas confirm it: leave out ?replicas=0"}
	}
	switch {
	case srv.info["aof_enabled"] != "1":
		bad = append(bad, "appendonly is off: CONFIG SET appendonly yes, and put it into redis.conf")
	case srv.info["aof_last_write_status"] == "err":
		bad = append(bad, "the last write of the append-only file failed: look at Redis' log and its disk")
	}
	switch fsync, known := srv.config["appendfsync"]; {
	case !known && !a.fsyncAlways:
		bad = append(bad, "appendfsync cannot be seen: allow the user +config|get, or, if it is \"always\", add ?appendfsync=always to the URL")
	case known && fsync != "always":
		bad = append(bad, fmt.Sprintf("appendfsync is %q: CONFIG SET appendfsync always, and put it into redis.conf", fsync))
	}
	if v := srv.config["no-appendfsync-on-rewrite"]; v == "yes" {
		bad = append(bad, "no-appendfsync-on-rewrite is yes, so that nothing is synced during a rewrite: CONFIG SET no-appendfsync-on-rewrite no")
	}
	if len(bad) > 0 {
		bad = append(bad, "or confirm commits by replicas (?replicas=1), or allow a volatile store")
	}
	return bad
}

// examine says whether the server at the other end of a connection will do.
func (s *Store) examine(ctx context.Context, conn *goredis.Conn) error {
	srv, err := look(ctx, conn)
	if err != nil {
		return err
	}
	if srv.info["redis_mode"] == "sentinel" && s.addr.master != "" {
		return nil // the library asks it for the master
	}
	if srv.info["loading"] == "1" {
		return errors.New("Redis is loading its data")
	}
	return srv.fit(s.addr, s.opts.AllowVolatile)
}

// replicated says whether there are as many replicas as must confirm each
// commit. Later it is WAIT that tells.
func (s *Store) replicated(ctx context.Context) error {
	if s.addr.replicas == 0 {
		return nil
	}
	text, err := s.rdb.Do(ctx, "INFO", "replication").Text()
	if err != nil {
		return err
	}
	if n, _ := strconv.Atoi(parseInfo(text)["connected_slaves"]); n < s.addr.replicas {
		return fmt.Errorf("%w (%s): %d replicas are connected, %d must confirm each commit: start them, or lower ?replicas=",
			ErrUnfit, s.addr, n, s.addr.replicas)
	}
	return nil
}
