package statesync

import (
	"context"

	"holdfast/durable"
)

// A suspect is an instance of a gateway that is to be declared dead.
type suspect struct {
	name     string
	instance uint64

	// Either its end is proven, or it was silent: then its lease record must still
	// have the version that did not change for so long.
	proven bool
	lease  uint64
}

// Ended tells the Node that it is proven that an instance of another gateway can
// do nothing any more. It is declared dead at once, or else by the next beats;
// the error says why not at once. It may be called at any time.
func (n *Node) Ended(ctx context.Context, gateway string, instance uint64) error {
	m := &n.members
	m.mu.Lock()
	m.ended[gateway] = max(m.ended[gateway], instance)
	m.mu.Unlock()
	n.channel.gone(gateway, instance)
	return n.declareDead(ctx, suspect{name: gateway, instance: instance, proven: true})
}

// declareDead makes sure that a gateway whose lease is over, or whose process is
// gone, changes nothing any more: what it had begun may be resolved from then on.
// Of a process that is gone the store may still get what it sent last.
func (n *Node) declareDead(ctx context.Context, s suspect) error {
	for {
		again, err := n.tryDeclareDead(ctx, s)
		if err != nil || !again {
			return err
		}
	}
}

// tryDeclareDead is one try of declareDead. It is to be tried again if it was
// refused because something changed that does not matter.
func (n *Node) tryDeclareDead(ctx context.Context, s suspect) (again bool, err error) {
	groups, err := n.store.Load(ctx, gatewayKey(s.name), leaseKey(s.name))
	if err != nil {
		return false, err
	}
	gateway, lease := groups[0], groups[1]
	instance, state, err := decodeGateway(s.name, head(gateway))
	if err != nil {
		return false, err
	}
	if instance != s.instance || state == gatewayDead || !s.proven && (lease.Version != s.lease || lease.Version == 0) {
		return false, nil // it renewed just now, or somebody else was faster
	}
	checks := []durable.Check{{Key: gateway.Key, Version: gateway.Version}, {Key: lease.Key, Version: lease.Version}}
	if n.cfg.FenceHook != nil {
		address := ""
		if l, err := decodeLease(s.name, head(lease)); err == nil {
			address = l.address
		}
		if state == gatewayOut {
			return false, n.fenceOff(ctx, s, address, false)
		}
		// The store must take nothing from it before it is fenced: if it renewed
		// its lease meanwhile, it would go on serving without its files.
		err := n.commitNow(ctx, &durable.Batch{
			Checks: checks,
			Writes: []durable.Write{{Key: gateway.Key, Value: encodeGateway(instance, gatewayOut)}},
		})
		if err != nil {
			return s.proven, n.tried(err)
		}
		return false, n.fenceOff(ctx, s, address, true)
	}
	err = n.commitNow(ctx, &durable.Batch{
		Checks: checks,
		Writes: []durable.Write{{Key: gateway.Key, Value: encodeGateway(instance, gatewayDead)}},
		Forget: []string{lease.Key},
	})
	if err != nil {
		return s.proven, n.tried(err)
	}
	n.buried(s)
	return false, nil
}

// buried notes that a gateway was declared dead here.
func (n *Node) buried(s suspect) {
	why := "its lease is over"
	if s.proven {
		why = "its process has ended"
	}
	n.log.Warn("gateway declared dead: "+why, "gateway", s.name, "instance", s.instance)
	m := &n.members
	m.mu.Lock()
	if p := m.peers[s.name]; p != nil && p.instance == s.instance {
		delete(m.peers, s.name)
	}
	m.mu.Unlock()
	n.publish(encodeMessage(msgDied, s.instance))
	// It may have heard of clients and not told.
	for _, c := range n.clients.all() {
		n.spareAt(c, n.clock())
	}
}

// leave tells the others that this gateway goes in good order: nothing of it
// is under way.
func (n *Node) leave(ctx context.Context) error {
	if n.members.fence == 0 {
		return nil
	}
	err := n.commitNow(ctx, &durable.Batch{
		Writes: []durable.Write{{Key: gatewayKey(n.cfg.Name), Value: encodeGateway(n.instance, gatewayDead)}},
		Forget: []string{leaseKey(n.cfg.Name)},
	})
	if err == nil {
		n.publish(encodeMessage(msgLeaving, n.instance))
	}
	return err
}

// runs says whether the instance of a gateway that wrote a record may still run
// its request. What this instance runs is known in memory.
func (n *Node) runs(ctx context.Context, name string, instance uint64) (bool, error) {
	if !n.cfg.Shared || name == n.cfg.Name {
		return false, nil
	}
	g, err := n.load(ctx, gatewayKey(name))
	if err != nil {
		return false, storeError(err)
	}
	if head(g) == nil {
		return false, nil
	}
	now, state, err := decodeGateway(name, head(g))
	if err != nil {
		return false, err
	}
	return now == instance && state != gatewayDead, nil
}
