package cluster_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/cluster"
	"holdfast/internal/nfs4"
)

// A racer is a client that races for names.
type racer struct {
	*cluster.Rover
	owner *client.StateOwner // opens what it makes
}

func (r *racer) do(ops ...client.Op) (nfs4.Status, error) {
	p, err := r.Do(ops...)
	if err != nil {
		return 0, err
	}
	return p.Status, nil
}

// attempt is one way to make a name so that only one of those who try can succeed.
type attempt struct {
	name string
	// prepare is done before the others try, by each racer under a name of its own.
	prepare func(r *racer, dir client.FH, mine string) error
	try     func(r *racer, dir client.FH, mine, prize string) (nfs4.Status, error)
	lost    nfs4.Status // what the losers are told
}

var attempts = []attempt{
	{"mkdir", nil, func(r *racer, dir client.FH, _, prize string) (nfs4.Status, error) {
		return r.do(client.PutFH(dir), client.Mkdir(prize))
	}, nfs4.ErrExist},
	{"exclusive create", nil, create, nfs4.ErrExist},
	{"link", func(r *racer, dir client.FH, mine string) error {
		_, err := r.Must(client.PutFH(dir), client.Symlink(mine, "anything"))
		return err
	}, func(r *racer, dir client.FH, mine, prize string) (nfs4.Status, error) {
		return r.do(client.PutFH(dir), client.Lookup(mine), client.SaveFH(), client.PutFH(dir), client.Link(prize))
	}, nfs4.ErrExist},
	// All rename the same name away: only one finds it.
	{"rename", nil, func(r *racer, dir client.FH, mine, prize string) (nfs4.Status, error) {
		return r.do(client.PutFH(dir), client.SaveFH(), client.Rename("source-"+prize, mine))
	}, nfs4.ErrNoEnt},
	{"remove", nil, func(r *racer, dir client.FH, _, prize string) (nfs4.Status, error) {
		return r.do(client.PutFH(dir), client.Remove("source-"+prize))
	}, nfs4.ErrNoEnt},
}

// create is open(2) with O_CREAT and O_EXCL.
func create(r *racer, dir client.FH, _, prize string) (nfs4.Status, error) {
	a := client.OpenArgs{Access: nfs4.ShareAccessBoth, How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive, Verifier: client.NewVerifier(), Name: prize}
	if r.Config.Minor > 0 {
		a.Mode, a.Attrs = nfs4.CreateExclusive41, new(client.Attrs).SetMode(0o644)
	}
	var f *client.OpenFile
	p, err := again(func() (p *client.Reply, err error) {
		f, p, err = r.OpenReply(r.owner, dir, a)
		return p, err
	})
	if err != nil {
		return 0, err
	}
	if p.Status != nfs4.OK {
		return p.Status, nil
	}
	q, err := again(f.CloseReply)
	if err == nil {
		err = q.Err()
	}
	return nfs4.OK, err
}

// TestMutex lets clients on different gateways race for names while the gateways fail in all ways: each race has one winner, who
// is told so, and the others are told that they lost. HOLDFAST_ROUNDS says how many races there are, 1,000 by default.
func TestMutex(t *testing.T) {
	c := start(t, cluster.Config{GatewayLease: time.Second})
	want := int64(number(t, "HOLDFAST_ROUNDS", 1000))
	var all []*racer
	var round, done atomic.Int64
	var over atomic.Bool
	var tables sync.WaitGroup
	began := time.Now()
	for table := range 4 {
		var racers []*racer
		for i := range c.Gateways {
			racers = append(racers, &racer{rover(t, c, uint32((table+i)%3), i), client.NewOwner()})
		}
		all = append(all, racers...)
		root := must[client.FH](t)(racers[0].Root())
		dir := must[client.FH](t)(racers[0].MkdirFH(root, fmt.Sprint("arena", table)))
		tables.Go(func() {
			for n := round.Add(1); !over.Load() && !t.Failed(); n = round.Add(1) {
				a := &attempts[n%int64(len(attempts))]
				if err := race(racers, dir, a, n); err != nil {
					t.Errorf("round %d, %s: %v", n, a.name, err)
					return
				}
				done.Add(1)
			}
		})
	}
	faults := 0
	for ; (done.Load() < want || faults < len(cluster.Faults)) && !t.Failed(); faults++ {
		endure(t, c, cluster.Faults[faults%len(cluster.Faults)], c.Gateways[faults%len(c.Gateways)])
	}
	over.Store(true)
	tables.Wait()
	moves, longest := 0, time.Duration(0)
	for _, r := range all {
		moves += r.Moves
		longest = max(longest, r.Longest)
	}
	took := time.Since(began)
	t.Logf("%d rounds, %.0f a second, %d faults, %d moves of clients, longest request %v",
		done.Load(), float64(done.Load())/took.Seconds(), faults, moves, longest.Round(time.Millisecond))
	if moves == 0 {
		t.Error("no client had to move")
	}
}

// race plays one round.
func race(racers []*racer, dir client.FH, a *attempt, n int64) error {
	prize := fmt.Sprintf("prize-%d", n)
	if a.lost == nfs4.ErrNoEnt {
		if _, err := racers[0].Must(client.PutFH(dir), client.Mkdir("source-"+prize)); err != nil {
			return fmt.Errorf("the source: %w", err)
		}
	}
	type result struct {
		status nfs4.Status
		err    error
	}
	results := make([]result, len(racers))
	var all, begin sync.WaitGroup
	begin.Add(len(racers))
	for i, r := range racers {
		all.Go(func() {
			mine := fmt.Sprintf("racer%d-%d", i, n)
			var err error
			if a.prepare != nil {
				err = a.prepare(r, dir, mine)
			}
			begin.Done()
			begin.Wait()
			if err != nil {
				results[i].err = fmt.Errorf("preparing: %w", err)
				return
			}
			results[i].status, results[i].err = a.try(r, dir, mine, prize)
		})
	}
	all.Wait()
	winners := 0
	for i, r := range results {
		switch {
		case r.err != nil:
			return fmt.Errorf("racer %d: %w", i, r.err)
		case r.status == nfs4.OK:
			winners++
		case r.status != a.lost:
			return fmt.Errorf("racer %d is told %v", i, r.status)
		}
	}
	if winners != 1 {
		return fmt.Errorf("%d winners: %v", winners, results)
	}
	return nil
}
