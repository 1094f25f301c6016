package cluster

import (
	"testing"
	"time"

	"holdfast/conformance/kernel"
)

// Fault is something that happens to a gateway, or to what all of them use, and how it is made good.
type Fault struct {
	Name string
	// Break breaks the gateway.
	Break func(tb testing.TB, g *Gateway)
	// Mend makes it good again and returns when all gateways serve.
	Mend func(tb testing.TB, g *Gateway)
	// Noticed is how long it may take, by its nature, until the last client feels it.
	Noticed func(lease time.Duration) time.Duration
	// Bound is how long a client should be held up at most: docs/operations.md.
	Bound func(lease time.Duration) time.Duration
}

const (
	// balancerNotices is how long deploy/haproxy takes at most to notice a gateway that takes connections and says nothing.
	balancerNotices = 1450 * time.Millisecond

	// balancerMisses is the same for a gateway to which no connection can be made.
	balancerMisses = 1250 * time.Millisecond

	// elsewhere is what a move to another gateway takes where nothing has to be waited for.
	elsewhere = 250 * time.Millisecond
)

// settled is when what a gateway had begun is settled if the gateway is not there to say so: its last renewal is seen by the others
// up to a fifth of the lease late, and the end of 11/10 of the lease up to a tenth.
func settled(lease time.Duration) time.Duration { return lease * 14 / 10 }

func atOnce(time.Duration) time.Duration { return 0 }

func within(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// Nothing is a fault that is none: what is measured under it is the lab's own unrest.
var Nothing = Fault{
	Name:    "nothing",
	Break:   func(testing.TB, *Gateway) {},
	Mend:    func(testing.TB, *Gateway) {},
	Noticed: atOnce,
	Bound:   within(elsewhere),
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
		Mend:    awaitReady,
		Noticed: atOnce,
		Bound:   within(2 * time.Second),
	},
	{
		Name:    "drain",
		Break:   func(tb testing.TB, g *Gateway) { g.Drain(tb) },
		Mend:    startAgain,
		Noticed: atOnce,
		Bound:   within(elsewhere),
	},
	{
		// As the loss of a program that nobody starts again.
		Name:    "kill for good",
		Break:   func(tb testing.TB, g *Gateway) { g.Kill(tb) },
		Mend:    startAgain,
		Noticed: settled,
		Bound:   within(2 * time.Second),
	},
	{
		Name:  "pause",
		Break: func(tb testing.TB, g *Gateway) { g.Pause(tb) },
		Mend: func(tb testing.TB, g *Gateway) {
			g.Resume(tb)
			g.AwaitReady(tb)
		},
		Noticed: func(lease time.Duration) time.Duration { return balancerNotices + lease },
		Bound:   func(lease time.Duration) time.Duration { return max(balancerNotices, settled(lease)) + elsewhere },
	},
	{
		Name:  "cut off from the store",
		Break: func(tb testing.TB, g *Gateway) { g.Host.CutFrom(tb, g.c.Store.Host) },
		Mend: func(tb testing.TB, g *Gateway) {
			g.Host.MendFrom(tb, g.c.Store.Host)
			g.AwaitReady(tb)
		},
		Noticed: func(lease time.Duration) time.Duration { return balancerNotices + lease },
		Bound:   func(lease time.Duration) time.Duration { return settled(lease) + elsewhere },
	},
	{
		Name:    "cut off from NATS",
		Break:   func(tb testing.TB, g *Gateway) { g.Host.CutFrom(tb, g.c.Peers.Host) },
		Mend:    func(tb testing.TB, g *Gateway) { g.Host.MendFrom(tb, g.c.Peers.Host) },
		Noticed: func(lease time.Duration) time.Duration { return 2 * lease },
		Bound:   within(elsewhere),
	},
	{
		Name:  "cut off from the clients",
		Break: func(tb testing.TB, g *Gateway) { g.Host.Cut(tb, kernel.Front) },
		Mend: func(tb testing.TB, g *Gateway) {
			g.Host.Mend(tb, kernel.Front)
			g.AwaitReady(tb)
		},
		Noticed: within(balancerMisses),
		Bound:   within(balancerMisses + elsewhere),
	},
	{
		Name: "restart",
		Break: func(tb testing.TB, g *Gateway) {
			g.Drain(tb)
			g.Start(tb)
		},
		Mend:    awaitReady,
		Noticed: atOnce,
		Bound:   within(elsewhere),
	},
	{
		// Redis dies and is started again.
		Name:  "store killed, started again",
		Break: func(tb testing.TB, g *Gateway) { g.c.RestartStore(tb, true) },
		Mend: func(tb testing.TB, g *Gateway) {
			for _, g := range g.c.Gateways {
				g.AwaitReady(tb)
			}
		},
		Noticed: atOnce,
		Bound:   func(lease time.Duration) time.Duration { return lease * 9 / 10 },
	},
	{
		// NATS dies and stays away for longer than a gateway's lease.
		Name:    "NATS gone",
		Break:   func(tb testing.TB, g *Gateway) { g.c.Peers.Kill(tb) },
		Mend:    func(tb testing.TB, g *Gateway) { g.c.Peers.Start(tb) },
		Noticed: func(lease time.Duration) time.Duration { return 2 * lease },
		Bound:   within(elsewhere),
	},
}

func awaitReady(tb testing.TB, g *Gateway) {
	tb.Helper()
	g.AwaitReady(tb)
}

func startAgain(tb testing.TB, g *Gateway) {
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
		m, err := g.Metrics()
		if err != nil {
			tb.Fatalf("gateway %s: %v", g.Name, err)
		}
		if n := int(m.Value("holdfast_connections")); n > most {
			best, most = g, n
		}
	}
	return best
}
