package statesync

import (
	"context"
	"fmt"
	"time"

	"holdfast/durable"
)

// Fencing: the user's hook that cuts a dead gateway off from the files.
//
//	gateway/<name>:  serves ──▶ to be fenced ──────── hook ────────▶ dead
//	                 the store takes nothing of it    again and again until it
//	                 any more, nor its renewals       says that it was done
//
// The hook may take its time: it runs beside the beats, which go on keeping this
// gateway's lease and looking after the others. Of the gateways that are left the
// one that wrote "to be fenced" runs the hook; the others only if that has not
// come to an end after a while, since the one that ran it may have died, too. So
// it may run twice at the same time.
const (
	hookTime  = time.Minute      // for one try
	hookPause = 10 * time.Second // between two, at most
)

// A Fenced is an instance of a gateway that is to be cut off from the files.
type Fenced struct {
	Gateway  string
	Instance uint64
	Address  string // of its machine; empty if it is not known
}

// A fencing is what becomes of a gateway that is to be fenced. The members' mu
// guards it.
type fencing struct {
	Fenced
	since   int64 // when this gateway heard of it, by Node.clock
	running bool
	tries   int
	err     error // of the last try
}

// fenceOff has the hook run for a gateway whose record says that it is to be
// fenced, and then declares it dead. ours says that this gateway wrote that.
func (n *Node) fenceOff(ctx context.Context, s suspect, address string, ours bool) error {
	if n.cfg.Manual {
		if err := n.cfg.FenceHook(ctx, Fenced{s.name, s.instance, address}); err != nil {
			return fmt.Errorf("fencing hook: %w", err)
		}
		_, err := n.confirmDead(ctx, s, gatewayOut)
		return err
	}
	m := &n.members
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.fencings[s.name]
	if f == nil || f.Instance != s.instance {
		f = &fencing{Fenced: Fenced{s.name, s.instance, address}, since: n.clock()}
		m.fencings[s.name] = f
	}
	if f.running || !ours && n.clock()-f.since < 2*int64(n.cfg.GatewayLease) {
		return nil
	}
	f.running = true
	n.wg.Go(func() { n.runHook(n.running, f, s) })
	return nil
}

// runHook runs the hook until it succeeds and the gateway is declared dead, or
// there is no need any more.
func (n *Node) runHook(ctx context.Context, f *fencing, s suspect) {
	m := &n.members
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		f.running = false
		if m.fencings[s.name] == f && f.err == nil {
			delete(m.fencings, s.name)
		}
	}()
	for ctx.Err() == nil {
		err := n.tryHook(ctx, f, s)
		m.mu.Lock()
		f.tries++
		f.err = err
		m.mu.Unlock()
		if err == nil {
			return
		}
		n.log.Error("a dead gateway is not fenced yet: what it had begun waits", "gateway", s.name, "instance", s.instance, "error", err)
		t := time.NewTimer(min(hookPause, n.cfg.GatewayLease/5))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// tryHook is one try of runHook.
func (n *Node) tryHook(ctx context.Context, f *fencing, s suspect) error {
	try, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	groups, err := n.store.Load(try, gatewayKey(s.name))
	if err != nil {
		return err
	}
	instance, state, err := decodeGateway(s.name, head(groups[0]))
	if err != nil {
		return err
	}
	if instance != s.instance || state != gatewayOut {
		return nil // it began anew, or somebody else was faster
	}
	if err := n.cfg.FenceHook(try, f.Fenced); err != nil {
		return fmt.Errorf("fencing hook: %w", err)
	}
	for {
		again, err := n.confirmDead(try, s, gatewayOut)
		if err != nil || !again {
			return err
		}
	}
}

// confirmDead declares a gateway dead whose record is in a state. It is to be tried again
// if something changed meanwhile.
func (n *Node) confirmDead(ctx context.Context, s suspect, from uint32) (again bool, err error) {
	groups, err := n.store.Load(ctx, gatewayKey(s.name), leaseKey(s.name))
	if err != nil {
		return false, err
	}
	instance, state, err := decodeGateway(s.name, head(groups[0]))
	if err != nil || instance != s.instance || state != from {
		return false, err
	}
	err = n.commitNow(ctx, &durable.Batch{
		Checks: []durable.Check{{Key: groups[0].Key, Version: groups[0].Version}, {Key: groups[1].Key, Version: groups[1].Version}},
		Writes: []durable.Write{{Key: groups[0].Key, Value: encodeGateway(instance, gatewayDead)}},
		Forget: []string{groups[1].Key},
	})
	if err != nil {
		return true, n.tried(err)
	}
	n.buried(s)
	return false, nil
}
