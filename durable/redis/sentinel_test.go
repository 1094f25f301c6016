package redis_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/redis"
)

// replicated starts a master with so many replicas that have caught up.
func replicated(t *testing.T, replicas int) (master *redisServer, others []*redisServer) {
	t.Helper()
	args := append([]string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}, durableArgs...)
	master = startRedis(t, args...)
	for range replicas {
		r := startRedis(t, append([]string{"--replicaof", "127.0.0.1 " + master.port}, args...)...)
		c := r.client()
		if !poll(t, func() bool {
			info, _ := c.Info(context.Background(), "replication").Result()
			return strings.Contains(info, "master_link_status:up")
		}) {
			t.Fatal("a replica does not find its master")
		}
		others = append(others, r)
	}
	return master, others
}

// A commit counts only when a replica has confirmed it; and then the master
// needs no log of its own.
func TestReplicaConfirms(t *testing.T) {
	master, replicas := replicated(t, 1)
	master.client().ConfigSet(context.Background(), "appendfsync", "everysec")
	o := redis.Options{Domain: newDomain(), Patience: 1500 * time.Millisecond, Timeout: 500 * time.Millisecond}
	s := open(t, master.url()+"?replicas=1", o)
	if err := commit(s, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	onReplica := replicas[0].client()
	version, err := onReplica.HGet(context.Background(), "holdfast:{"+o.Domain+"}:g:g", "v").Result()
	if err != nil || version != "1" {
		t.Errorf("the replica has version %q: %v", version, err)
	}
	replicas[0].cmd.Process.Signal(syscall.SIGSTOP)
	if err := commit(s, put("g", "2")); !errors.Is(err, durable.ErrUnknown) {
		t.Errorf("a commit that no replica confirms: %v", err)
	}
	// What is on the master alone is not shown to others either.
	other, err := redis.Open(context.Background(), master.url()+"?replicas=1", o)
	if !errors.Is(err, durable.ErrUnavailable) && !errors.Is(err, durable.ErrUnknown) {
		t.Errorf("a store that opens meanwhile: %v", err)
		other.Close()
	}
	replicas[0].cmd.Process.Signal(syscall.SIGCONT)
	if !poll(t, func() bool {
		groups, err := s.Load(context.Background(), "g")
		return err == nil && groups[0].Version == 2
	}) {
		t.Error("the commit is not found when the replica is back")
	}
	if st := s.Status(); st.Resolved == 0 {
		t.Errorf("%+v", st)
	}
}

// A load that saw what no replica has confirmed yet waits until one does.
func TestLoadIsConfirmed(t *testing.T) {
	master, replicas := replicated(t, 1)
	o := redis.Options{Domain: newDomain(), Patience: 1500 * time.Millisecond, Timeout: 500 * time.Millisecond}
	reader := open(t, master.url()+"?replicas=1", o)
	o.AllowVolatile = true
	careless := open(t, master.url()+"?replicas=0", o)
	if err := commit(careless, put("g", "1")); err != nil {
		t.Fatal(err)
	}
	if g := load(t, reader, "g"); g.Version != 1 {
		t.Errorf("version %d", g.Version)
	}
	replicas[0].cmd.Process.Signal(syscall.SIGSTOP)
	if err := commit(careless, put("g", "2")); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Load(context.Background(), "g"); !errors.Is(err, durable.ErrUnavailable) {
		t.Errorf("a load of what may vanish: %v", err)
	}
	replicas[0].cmd.Process.Signal(syscall.SIGCONT)
	if !poll(t, func() bool {
		groups, err := reader.Load(context.Background(), "g")
		return err == nil && groups[0].Version == 2
	}) {
		t.Error("the load does not pass when the replica is back")
	}
}

// startSentinels watches a master with three Sentinels and returns their hosts.
func startSentinels(t *testing.T, master *redisServer) string {
	t.Helper()
	var hosts []string
	for range 3 {
		conf := writeFile(t, "sentinel.conf", "bind 127.0.0.1\nsentinel monitor holdfast 127.0.0.1 "+master.port+" 2\n"+
			"sentinel down-after-milliseconds holdfast 500\nsentinel failover-timeout holdfast 3000\n")
		hosts = append(hosts, startRedis(t, conf, "--sentinel").addr())
	}
	return strings.Join(hosts, ",")
}

// The master dies in the midst of commits and Sentinel promotes a replica: all
// that was acknowledged is there, and commits go on. Twice, the old master having
// come back as a replica.
func TestSentinelFailover(t *testing.T) {
	master, replicas := replicated(t, 2)
	hosts := startSentinels(t, master)
	url := "redis+sentinel://" + hosts + "/holdfast"
	o := redis.Options{Domain: newDomain(), Patience: time.Minute, Timeout: 500 * time.Millisecond}
	refused(t, "redis+sentinel://"+hosts+"/holdfast?replicas=0", o, "replicas=0")
	refused(t, "redis://"+strings.Split(hosts, ",")[0], o, "it is a Sentinel")
	refused(t, "redis+sentinel://"+hosts+"/nobody", redis.Options{Patience: time.Second}, "")
	a, b := open(t, url, o), open(t, url, o)
	l := startWorkload(a, b)
	all := append([]*redisServer{master}, replicas...)
	for range 2 {
		l.more(t, 300)
		dead := masterOf(t, all)
		dead.kill()
		l.more(t, 300)
		dead.restart()
		c := dead.client()
		if !poll(t, func() bool {
			info, _ := c.Info(context.Background(), "replication").Result()
			return strings.Contains(info, "role:slave") && strings.Contains(info, "master_link_status:up")
		}) {
			t.Fatal("the old master does not become a replica")
		}
	}
	l.more(t, 100)
	l.end(t, open(t, url, o))
	t.Logf("%d batches, outcomes asked for: %d and %d", l.total.Load(), a.Status().Resolved, b.Status().Resolved)
}

// masterOf returns the server that the others follow.
func masterOf(t *testing.T, all []*redisServer) *redisServer {
	t.Helper()
	var found *redisServer
	if !poll(t, func() bool {
		for _, s := range all {
			info, _ := s.client().Info(context.Background(), "replication").Result()
			if strings.Contains(info, "role:master") && strings.Contains(info, "connected_slaves:2") {
				found = s
				return true
			}
		}
		return false
	}) {
		t.Fatal("there is no master with two replicas")
	}
	return found
}
