package statesync

import (
	"context"
	"math"
	"time"

	"holdfast/internal/xdr"
)

// Vouching: serving on while nobody reaches the store.
//
// A gateway that cannot renew its lease does not know whether it was declared dead
// meanwhile. Only the other gateways could do that. So it asks them: one that
// cannot reach the store either promises not to declare it dead for a while, and
// if all of them do, it may go on. Nothing is granted meanwhile, for that
// takes a commit; what was granted is still good.
//
//	G                                   every P that G's lease record names
//	│ cannot renew for 2/5 lease        │
//	├── asks, at t ─────────────────────▶ cannot renew, either, and is not fenced:
//	│                                   │ from now on, and for 11/10 lease, it does
//	◀───────────────────────── vouches ─┤ not declare G dead
//	│ all of them did:                  │
//	│ serves until t + 9/10 lease,      │
//	│ and asks again meanwhile          │
//
// One that reaches the store does not vouch, so that a gateway that alone is cut off
// stops, and what it had begun is taken over.
//
// Why that is safe. Who may declare G dead for its silence?
//
//   - P that is named in the lease record that it sees. G needs the word of every P
//     that is named in any of its records that may be the one in the store: the last
//     one of which it knows that it was written, and those sent later of which it
//     does not. So P has promised, at a time after t, and waits for 11/10 lease from
//     there, while G stops 9/10 lease after t.
//   - P that is not named, because it joined later, or restarted and forgot what it
//     promised. It has to wait until 11/10 of the store-outage of G have passed
//     since it first saw the record. That was after the record was written, and G
//     serves for at most 9/10 of it after.
//   - What P sent to the store before it promised, or before it died, may arrive
//     there at any time. But it sent that after 11/10 lease of silence or of a
//     promise, when G had already stopped. And who has stopped is not brought back by
//     anybody's word, only by the store: then the record has changed, and what was
//     sent for the old one is refused.
//
// Whose process has ended for certain (lifelines.go) need not be asked, for the same
// reason: while it lived it kept its promise.
type vouching struct {
	from   int64             // when the last renewal that was done began, by Node.clock; 0: none
	named  map[member]bool   // by records that may be the one in the store
	number uint64            // of the last question
	asked  map[uint64]int64  // when each question was asked, by Node.clock
	given  map[member]uint64 // the last question for which each vouched
}

// A member is an instance of a gateway.
type member struct {
	name     string
	instance uint64
}

// maxMembers bounds those that a lease record names.
const maxMembers = 1024

func (v *vouching) init() {
	v.named = make(map[member]bool)
	v.asked = make(map[uint64]int64)
	v.given = make(map[member]uint64)
}

// view names the gateways that are there. m.mu is held.
func (m *membership) view() []member {
	all := make([]member, 0, len(m.peers))
	for name, p := range m.peers {
		x := member{name, p.instance}
		if p.strange {
			x.instance = math.MaxUint64 // nobody can vouch for it
		}
		all = append(all, x)
	}
	return all
}

// renewing notes that a lease record that names the view is sent. m.mu is held.
func (v *vouching) renewing(view []member) {
	for _, x := range view {
		v.named[x] = true
	}
}

// renewed notes that a lease record that names the view was written, by a renewal
// that began at from. m.mu is held.
func (v *vouching) renewed(from int64, view []member) {
	v.from = from
	clear(v.named)
	v.renewing(view)
	clear(v.asked)
	clear(v.given)
}

// overdue says that this gateway cannot reach the store, as far as it knows. m.mu is
// held.
func (n *Node) overdue(now int64) bool {
	return now-n.members.vouching.from > int64(n.cfg.GatewayLease)*2/5
}

// askLoop asks the others to vouch for this gateway while it cannot renew its
// lease.
func (n *Node) askLoop(ctx context.Context) {
	tick := time.NewTicker(n.cfg.GatewayLease / 20)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.ask()
		}
	}
}

// ask asks the others once, if there is need to.
func (n *Node) ask() {
	m := &n.members
	v := &m.vouching
	now := n.clock()
	m.mu.Lock()
	if n.fenced.Load() || n.cfg.StoreOutage <= n.cfg.GatewayLease || !n.overdue(now) || now >= m.serves.Load() {
		m.mu.Unlock()
		return
	}
	v.number++
	v.asked[v.number] = now
	delete(v.asked, v.number-64) // its answer would come too late
	question := encodeMessage(msgAsk, n.instance, v.number)
	n.extend(now)
	m.mu.Unlock()
	n.publish(question)
}

// extend lets this gateway serve on if all whose word it needs have given it.
// m.mu is held.
func (n *Node) extend(now int64) {
	m := &n.members
	v := &m.vouching
	serves := m.serves.Load()
	if now >= serves || n.fenced.Load() {
		return
	}
	number := v.number
	for x := range v.named {
		if m.ended[x.name] < x.instance {
			number = min(number, v.given[x])
		}
	}
	at, ok := v.asked[number]
	if !ok {
		return
	}
	until := min(at+int64(n.cfg.GatewayLease)*9/10, v.from+int64(n.cfg.StoreOutage)*9/10)
	if until > serves {
		m.serves.Store(until)
	}
}

// asked answers the question of another gateway.
func (n *Node) asked(from string, instance, number uint64) {
	m := &n.members
	m.mu.Lock()
	now := n.clock()
	p := m.peers[from]
	vouches := !n.fenced.Load() && n.overdue(now) &&
		p != nil && !p.strange && p.instance == instance && m.ended[from] < instance
	if vouches {
		p.promised = now
	}
	m.mu.Unlock()
	if vouches {
		n.publish(encodeVouch(n.instance, member{from, instance}, number))
	}
}

// vouched takes the word of another gateway.
func (n *Node) vouched(by, whom member, number uint64) {
	if whom.name != n.cfg.Name || whom.instance != n.instance {
		return
	}
	m := &n.members
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.vouching
	if v.named[by] && number <= v.number {
		v.given[by] = max(v.given[by], number)
		n.extend(n.clock())
	}
}

func encodeVouch(instance uint64, whom member, number uint64) []byte {
	w := xdr.NewWriter(nil)
	w.Uint32(messageFormat)
	w.Uint32(uint32(msgVouch))
	w.Uint64(instance)
	w.String(whom.name)
	w.Uint64(whom.instance)
	w.Uint64(number)
	return w.Bytes()
}

// silentFor says for how long another gateway may be silent until this one may
// declare it dead.
func (n *Node) silentFor(p *peer) int64 {
	for _, x := range p.view {
		if x.name == n.cfg.Name && x.instance == n.instance {
			return int64(p.lease) * 11 / 10
		}
	}
	return int64(max(p.lease, p.outage)) * 11 / 10
}

// heardOf is since when another gateway is silent: since its lease record changed, or
// since this one promised not to mind.
func (p *peer) heardOf() int64 { return max(p.since, p.promised) }
