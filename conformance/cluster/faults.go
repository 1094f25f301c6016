package cluster

import (
	"bufio"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/conformance/kernel"
)

// Fault is something that happens to a gateway, and how it is made good.
type Fault struct {
	Name string
	// Break breaks the gateway.
	Break func(tb testing.TB, g *Gateway)
	// Mend makes it good again and returns when the gateway serves.
	Mend func(tb testing.TB, g *Gateway)
	// Noticed is how long it may take, by its nature, until clients are moved to another gateway.
	Noticed func(lease time.Duration) time.Duration
}

// The balancer's part in noticing a gateway that is silent: deploy/haproxy.
const balancerNotices = 1250 * time.Millisecond

// Nothing is a fault that is none: what is measured under it is the lab's own unrest.
var Nothing = Fault{
	Name:    "nothing",
	Break:   func(testing.TB, *Gateway) {},
	Mend:    func(testing.TB, *Gateway) {},
	Noticed: func(time.Duration) time.Duration { return 0 },
}

// Faults are all of them.
var Faults = []Fault{
	{
		// As a crash of the program under a supervisor. What it had begun is resolved when it is there again.
		Name: "kill, started again",
		Break: func(tb testing.TB, g *Gateway) {
			g.Kill(tb)
			g.Start(tb)
		},
		Mend:    func(tb testing.TB, g *Gateway) { g.AwaitReady(tb) },
		Noticed: func(time.Duration) time.Duration { return 0 },
	},
	{
		Name:    "drain",
		Break:   func(tb testing.TB, g *Gateway) { g.Drain(tb) },
		Mend:    restart,
		Noticed: func(time.Duration) time.Duration { return 0 },
	},
	{
		// As the loss of a machine. What it had begun is resolved when its lease is over.
		Name:    "kill for good",
		Break:   func(tb testing.TB, g *Gateway) { g.Kill(tb) },
		Mend:    restart,
		Noticed: func(lease time.Duration) time.Duration { return lease * 11 / 10 },
	},
	{
		Name:  "pause",
		Break: func(tb testing.TB, g *Gateway) { g.Pause(tb) },
		Mend: func(tb testing.TB, g *Gateway) {
			g.Resume(tb)
			g.AwaitReady(tb)
		},
		Noticed: func(lease time.Duration) time.Duration { return balancerNotices + lease },
	},
	{
		Name:  "cut off from the store",
		Break: func(tb testing.TB, g *Gateway) { g.Host.Cut(tb, kernel.Back) },
		Mend: func(tb testing.TB, g *Gateway) {
			g.Host.Mend(tb, kernel.Back)
			g.AwaitReady(tb)
		},
		Noticed: func(lease time.Duration) time.Duration { return balancerNotices + lease },
	},
	{
		Name:  "cut off from the clients",
		Break: func(tb testing.TB, g *Gateway) { g.Host.Cut(tb, kernel.Front) },
		Mend: func(tb testing.TB, g *Gateway) {
			g.Host.Mend(tb, kernel.Front)
			g.AwaitReady(tb)
		},
		Noticed: func(time.Duration) time.Duration { return balancerNotices },
	},
}

func restart(tb testing.TB, g *Gateway) {
	tb.Helper()
	g.Start(tb)
	g.AwaitReady(tb)
}

// Busiest returns the gateway with most connections.
func (c *Cluster) Busiest(tb testing.TB) *Gateway {
	tb.Helper()
	var best *Gateway
	most := -1
	for _, g := range c.Gateways {
		n, err := g.Metric("holdfast_connections")
		if err != nil {
			tb.Fatalf("gateway %s: %v", g.Name, err)
		}
		if int(n) > most {
			best, most = g, int(n)
		}
	}
	return best
}

// Metric returns the value of one of the gateway's metrics.
func (g *Gateway) Metric(name string) (float64, error) {
	resp, err := g.c.http.Get("http://" + netip.AddrPortFrom(g.Addr, readyPort).String() + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}
