package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/conformance/kernel"
)

// With Config.Sentinel the store is three Redis servers, each on a host of its own with a Sentinel beside it:
//
//	store1  Redis, the first master     Sentinel ──┐
//	store2  Redis, follows the master   Sentinel ──┼── agree who is master
//	store3  Redis, follows the master   Sentinel ──┘
const (
	sentinelPort = 26379
	masterName   = "holdfast"
)

// startSentinel starts the servers, the first one on h.
func (c *Cluster) startSentinel(tb testing.TB, h *kernel.Host) {
	tb.Helper()
	hosts := []*kernel.Host{h, c.Lab.Host(tb, "store2"), c.Lab.Host(tb, "store3")}
	for i, h := range hosts {
		args := []string{"redis-server", "--port", fmt.Sprint(storePort), "--bind", h.Back.String(), "--protected-mode", "no",
			"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--loglevel", "warning",
			"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}
		if i > 0 {
			args = append(args, "--replicaof", fmt.Sprintf("%s %d", hosts[0].Back, storePort))
		}
		p := h.Process(tb, fmt.Sprintf("redis%d", i+1), args...)
		p.Start(tb)
		c.Stores = append(c.Stores, p)
	}
	c.Store = c.Stores[0]
	c.AwaitMaster(tb)
	for i, h := range hosts {
		conf := filepath.Join(c.Lab.Dir, fmt.Sprintf("sentinel%d.conf", i+1))
		text := fmt.Sprintf("port %d\nbind %s\nprotected-mode no\nsentinel monitor %s %s %d 2\n"+
			"sentinel down-after-milliseconds %[3]s 1000\nsentinel failover-timeout %[3]s 5000\n",
			sentinelPort, h.Back, masterName, hosts[0].Back, storePort)
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
		h.Process(tb, fmt.Sprintf("sentinel%d", i+1), "redis-server", conf, "--sentinel").Start(tb)
	}
}

// storeURL is what gateways are told of the store.
func (c *Cluster) storeURL() string {
	if !c.Config.Sentinel {
		return fmt.Sprintf("redis://%s:%d", c.Store.Host.Back, storePort)
	}
	var all []string
	for _, p := range c.Stores {
		all = append(all, netip.AddrPortFrom(p.Host.Back, sentinelPort).String())
	}
	return fmt.Sprintf("redis+sentinel://%s/%s", strings.Join(all, ","), masterName)
}

// AwaitMaster waits until one of the Redis servers that run is the master of all others that run, and returns it.
func (c *Cluster) AwaitMaster(tb testing.TB) *kernel.Process {
	tb.Helper()
	for end := time.Now().Add(c.Lab.Limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var master *kernel.Process
		followers, alive := 0, 0
		for _, p := range c.Stores {
			if !p.Alive() {
				continue
			}
			alive++
			cmd := p.Host.Command("redis-cli", "-h", p.Host.Back.String(), "-p", fmt.Sprint(storePort), "INFO", "replication")
			out, err := cmd.Output()
			switch text := string(out); {
			case err != nil:
			case strings.Contains(text, "role:master"):
				master = p
			case strings.Contains(text, "master_link_status:up"):
				followers++
			}
		}
		if master != nil && followers == alive-1 {
			return master
		}
	}
	tb.Fatal("there is no Redis that all others follow")
	return nil
}
