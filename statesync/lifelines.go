package statesync

import (
	"context"
	"time"
)

// Lifelines: the end of another gateway's process, for certain and at once.
//
// A gateway that was killed leaves its begun operations to the others, who have to
// know that it does nothing any more. Its lease tells them in the end. A lifeline
// (sub-room lifeline) tells them as soon as the process is gone:
//
//	killed ──▶ Watch returns nil ──▶ fencing hook ──▶ gateway/<name> is dead ──▶ resolve
//	                                 (if there is one)
//	             or: no lifeline ──── 11/10 lease ───────────▲
//
// The proof is about the file system, the commit about the store: what the dead
// process sent to the store last may arrive there after the proof, and is refused
// from the commit on. Where there is no lifeline, or it proves nothing, all is as
// without.

// A line is the lifeline of an instance of a gateway, held from here. The
// members' mu guards it.
type line struct {
	instance uint64
	stop     context.CancelFunc
	held     bool
	err      error // why it is not
}

// holdLifelines holds one lifeline of each gateway that is there. It is called in a
// beat.
func (n *Node) holdLifelines() {
	if n.cfg.Watch == nil || n.cfg.Manual {
		return
	}
	m := &n.members
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, l := range m.lines {
		if p := m.peers[name]; p == nil || p.instance != l.instance {
			l.stop()
			delete(m.lines, name)
		}
	}
	for name, p := range m.peers {
		if p.lifeline == "" || m.lines[name] != nil {
			continue
		}
		ctx, stop := context.WithCancel(n.running)
		l := &line{instance: p.instance, stop: stop}
		m.lines[name] = l
		n.wg.Go(func() {
			defer stop()
			n.holdLifeline(ctx, l, name, p.lifeline)
		})
	}
}

// holdLifeline holds a lifeline, again and again, until it proves that the
// instance has ended, or ctx ends.
func (n *Node) holdLifeline(ctx context.Context, l *line, name, addr string) {
	m := &n.members
	set := func(held bool, err error) (news bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		news = held != l.held || err != nil && (l.err == nil || err.Error() != l.err.Error())
		l.held, l.err = held, err
		return news
	}
	for {
		err := n.cfg.Watch(ctx, addr, name, l.instance, func() {
			set(true, nil)
			n.log.Info("lifeline of a gateway is held", "gateway", name, "instance", l.instance, "address", addr)
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			n.log.Warn("the process of a gateway has ended", "gateway", name, "instance", l.instance)
			try, cancel := context.WithTimeout(ctx, n.cfg.GatewayLease)
			defer cancel()
			if err := n.Ended(try, name, l.instance); err != nil && ctx.Err() == nil {
				n.log.Warn("the end of a gateway has to wait for the next beat", "gateway", name, "error", err)
			}
			return
		}
		if set(false, err) {
			n.log.Warn("no lifeline of a gateway: should it die, what it had begun waits for the end of its lease", "gateway", name, "error", err)
		}
		t := time.NewTimer(n.cfg.GatewayLease / 5)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}
