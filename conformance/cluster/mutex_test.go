package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/cluster"
	"holdfast/internal/nfs4"
)

// attempt is one way to make a name so that only one of those who try can succeed. root is where it happens.
type attempt struct {
	name string
	// prepare is done before the others try, by each player under a name of its own.
	prepare func(r *cluster.Rover, dir client.FH, mine string) error
	try     func(r *cluster.Rover, dir client.FH, mine, prize string) (nfs4.Status, error)
	lost    nfs4.Status // what the losers are told
}

func attempts() []attempt {
	do := func(r *cluster.Rover, ops ...client.Op) (nfs4.Status, error) {
		p, err := r.Do(ops...)
		if err != nil {
			return 0, err
		}
		return p.Status, nil
	}
	file := func(r *cluster.Rover, dir client.FH, mine string) error {
		_, err := r.Must(client.PutFH(dir), client.Symlink(mine, "anything"))
		return err
	}
	return []attempt{
		{"mkdir", nil, func(r *cluster.Rover, dir client.FH, _, prize string) (nfs4.Status, error) {
			return do(r, client.PutFH(dir), client.Mkdir(prize))
		}, nfs4.ErrExist},
		{"link", file, func(r *cluster.Rover, dir client.FH, mine, prize string) (nfs4.Status, error) {
			return do(r, client.PutFH(dir), client.Lookup(mine), client.SaveFH(), client.PutFH(dir), client.Link(prize))
		}, nfs4.ErrExist},
		// All rename the same name away: only one finds it.
		{"rename", nil, func(r *cluster.Rover, dir client.FH, mine, prize string) (nfs4.Status, error) {
			return do(r, client.PutFH(dir), client.SaveFH(), client.PutFH(dir), client.Rename("source-"+prize, mine))
		}, nfs4.ErrNoEnt},
		{"remove", nil, func(r *cluster.Rover, dir client.FH, _, prize string) (nfs4.Status, error) {
			return do(r, client.PutFH(dir), client.Remove("source-"+prize))
		}, nfs4.ErrNoEnt},
	}
}

// TestMutex lets clients on different gateways race for names while gateways are killed: each race has one winner, who is told
// so, and the others are told that they lost. HOLDFAST_ROUNDS says how often.
func TestMutex(t *testing.T) {
	c := start(t, cluster.Config{GatewayLease: time.Second})
	var players []*cluster.Rover
	for i, minor := range []uint32{0, 1, 2, 1} {
		players = append(players, rover(t, c, minor, i%len(c.Gateways)))
	}
	root := must[client.FH](t)(players[0].Root())
	dir := must[client.FH](t)(players[0].MkdirFH(root, "arena"))

	stop := make(chan struct{})
	var over sync.WaitGroup
	over.Go(func() {
		defer close(stop)
		for n := range number(t, "HOLDFAST_ROUNDS", 300) {
			a := attempts()[n%len(attempts())]
			if err := race(players, dir, a, n); err != nil {
				t.Errorf("round %d, %s: %v", n, a.name, err)
				return
			}
		}
	})
	kills := 0
	for running := true; running; {
		g := c.Gateways[kills%len(c.Gateways)]
		select {
		case <-stop:
			running = false
		case <-time.After(700 * time.Millisecond): // anywhere in the rounds; the point is chance
			g.Kill(t)
			kills++
			g.Start(t)
			g.AwaitReady(t)
		}
	}
	over.Wait()
	moves, longest := 0, time.Duration(0)
	for _, p := range players {
		moves += p.Moves
		longest = max(longest, p.Longest)
	}
	t.Logf("%d kills, %d moves of clients, longest request %v", kills, moves, longest.Round(time.Millisecond))
	if kills == 0 || moves == 0 {
		t.Error("no gateway was killed under the clients")
	}
}

// race plays one round.
func race(players []*cluster.Rover, dir client.FH, a attempt, n int) error {
	prize := fmt.Sprintf("prize-%d", n)
	if a.lost == nfs4.ErrNoEnt {
		if _, err := players[0].Must(client.PutFH(dir), client.Mkdir("source-"+prize)); err != nil {
			return fmt.Errorf("the source: %w", err)
		}
	}
	type result struct {
		status nfs4.Status
		err    error
	}
	results := make([]result, len(players))
	var all sync.WaitGroup
	var begin sync.WaitGroup
	begin.Add(len(players))
	for i, p := range players {
		all.Go(func() {
			mine := fmt.Sprintf("player%d-%d", i, n)
			var err error
			if a.prepare != nil {
				err = a.prepare(p, dir, mine)
			}
			begin.Done()
			begin.Wait()
			if err != nil {
				results[i].err = fmt.Errorf("preparing: %w", err)
				return
			}
			results[i].status, results[i].err = a.try(p, dir, mine, prize)
		})
	}
	all.Wait()
	winners := 0
	for i, r := range results {
		switch {
		case r.err != nil:
			return fmt.Errorf("player %d: %w", i, r.err)
		case r.status == nfs4.OK:
			winners++
		case r.status != a.lost:
			return fmt.Errorf("player %d is told %v", i, r.status)
		}
	}
	if winners != 1 {
		return fmt.Errorf("%d winners: %v", winners, results)
	}
	return nil
}
