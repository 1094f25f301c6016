package statesync

import (
	"context"
	"time"

	"holdfast/internal/xdr"
)

// A request that changes nothing in the store, such as a WRITE, is known only to the
// gateway that ran it. Another one that is sent it again asks those it has seen
// (inquiry.go); it looks at the store for others at each beat only. So a gateway
// serves when the others have seen it:
//
//	newcomer                       each of the others
//	writes its lease, and reads the others'
//	joined ───────────────────────▶ not seen yet: looks at the store
//	joined ───────────────────────▶ seen
//	       ◀─────────────────────── known
//	serves
//
// Of two that come at once, the one that wrote its lease later has read the other's.

const introduceEvery = 10 * time.Millisecond

// Introduce returns when every other gateway has seen that this one is there. It is
// called after UsePeers and before the first request. Where there is no channel it does nothing;
// who does not answer is not waited for longer than a quarter of a second, since what
// it would run again is harmless in most cases.
func (n *Node) Introduce(ctx context.Context) {
	if !n.hasPeers() {
		return
	}
	waits, _ := n.whoHears()
	ch := &n.channel
	ch.mu.Lock()
	ch.strangers = waits
	ch.mu.Unlock()
	defer func() {
		ch.mu.Lock()
		defer ch.mu.Unlock()
		if len(ch.strangers) > 0 {
			n.log.Debug("not every gateway has said that it has seen this one", "gateways", len(ch.strangers))
		}
		ch.strangers = nil
	}()
	late := time.NewTimer(ch.answerIn)
	defer late.Stop()
	again := time.NewTicker(introduceEvery)
	defer again.Stop()
	for ask := true; n.amongStrangers(); {
		if ask {
			n.publish(encodeMessage(msgJoined, n.instance))
		}
		ask = false
		select {
		case <-ch.greeted:
		case <-again.C:
			ask = true
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// amongStrangers says that some gateway has not said yet that it has seen this one.
func (n *Node) amongStrangers() bool {
	n.channel.mu.Lock()
	defer n.channel.mu.Unlock()
	return len(n.channel.strangers) > 0
}

// joined answers a gateway that is about to serve, if it was seen.
func (n *Node) joined(from string, instance uint64) {
	n.members.mu.Lock()
	p := n.members.peers[from]
	seen := p != nil && p.instance >= instance
	n.members.mu.Unlock()
	if !seen {
		wake(n.channel.look)
		return
	}
	n.publish(encodeKnown(n.instance, member{from, instance}))
}

// seenBy takes another gateway's word that it has seen this one.
func (n *Node) seenBy(by, whom member) {
	if whom.name != n.cfg.Name || whom.instance != n.instance {
		return
	}
	ch := &n.channel
	ch.mu.Lock()
	if instance, waits := ch.strangers[by.name]; waits && by.instance >= instance {
		delete(ch.strangers, by.name)
	}
	ch.mu.Unlock()
	wake(ch.greeted)
}

func encodeKnown(instance uint64, whom member) []byte {
	w := xdr.NewWriter(make([]byte, 0, 40+len(whom.name)))
	w.Uint32(messageFormat)
	w.Uint32(uint32(msgKnown))
	w.Uint64(instance)
	w.String(whom.name)
	w.Uint64(whom.instance)
	return w.Bytes()
}
