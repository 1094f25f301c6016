package statesync

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/durable"
	"holdfast/internal/xdr"
)

// channel is what a Node does over the peer channel. Everything here makes
// something come sooner that would happen anyway.
type channel struct {
	peers atomic.Pointer[Peers] // nil without one

	kick chan struct{} // something ended: carry it out
	look chan struct{} // a gateway may have gone: look at the leases
	told chan ClientID // heard of, to be sent with the next batch
	news chan struct{} // somebody carried out what ended; for those in barrier

	mu    sync.Mutex
	heard map[string]hearsay

	answerIn  time.Duration            // answerIn
	asked     uint64                   // number of the last question about a slot
	inquiries map[uint64]chan slotNews // by the number of the question
	questions questions                // about slots, to be sent
	mute      map[string]uint64        // the instance of who did not answer, and was not heard since
	silence   atomic.Bool              // mute is not empty
	left      map[string]uint64        // the latest instance that answers nobody any more, whatever of it still arrives

	strangers map[string]uint64 // the instances that have not said that they know of this gateway
	greeted   chan struct{}     // one of them did

	published, received, lost, unread, warmed, cooled atomic.Uint64
}

// hearsay is what a gateway said of itself.
type hearsay struct {
	instance uint64
	carried  uint64 // version of "ended"
	at       int64  // when it was heard of last, by Node.clock
}

const (
	// batchEvery is how long renewals are collected before they are sent.
	batchEvery = 200 * time.Millisecond

	// maxTold bounds the clients of one batch.
	maxTold = 8192
)

func (c *channel) init() {
	c.kick = make(chan struct{}, 1)
	c.look = make(chan struct{}, 1)
	c.news = make(chan struct{}, 1)
	c.heard = make(map[string]hearsay)
	c.inquiries = make(map[uint64]chan slotNews)
	c.mute = make(map[string]uint64)
	c.left = make(map[string]uint64)
	c.greeted = make(chan struct{}, 1)
	c.answerIn = answerIn
}

// wake sends a signal that is kept once if nobody waits for it.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// UsePeers makes the Node use a channel to the other gateways, until Close. It
// is called at most once, and only where the store is shared. The error is that
// of Subscribe.
func (n *Node) UsePeers(p Peers) error {
	if !n.cfg.Shared {
		return errors.New("statesync: a peer channel without a shared store")
	}
	if err := p.Subscribe(n.receive); err != nil {
		return err
	}
	n.channel.told = make(chan ClientID, maxTold)
	n.channel.peers.Store(&p)
	if n.cfg.Manual {
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	end := n.stop
	n.stop = func() { stop(); end() }
	n.wg.Add(2)
	go n.channelLoop(ctx)
	go n.carryLoop(ctx)
	return nil
}

// publish sends a message if there is a channel.
func (n *Node) publish(msg []byte) {
	if p := n.channel.peers.Load(); p != nil {
		n.channel.published.Add(1)
		(*p).Publish(msg)
	}
}

func (n *Node) hasPeers() bool { return n.channel.peers.Load() != nil }

// channelLoop sends what is collected, and says that this gateway runs.
func (n *Node) channelLoop(ctx context.Context) {
	defer n.wg.Done()
	tick := time.NewTicker(batchEvery)
	defer tick.Stop()
	n.publish(encodeMessage(msgAlive, n.instance))
	var since time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.flushRenewals()
		if since += batchEvery; since >= n.cfg.GatewayLease/5 {
			since = 0
			n.publish(encodeMessage(msgAlive, n.instance))
		}
		if n.silent() {
			wake(n.channel.look)
		}
	}
}

// carryLoop carries out at once what other gateways say has ended.
func (n *Node) carryLoop(ctx context.Context) {
	defer n.wg.Done()
	for {
		work := n.carryOut
		select {
		case <-ctx.Done():
			return
		case <-n.channel.kick:
		case <-n.channel.look:
			work = n.beatNow
		}
		try, cancel := context.WithTimeout(ctx, n.cfg.GatewayLease)
		err := n.members.beating.take(try)
		if err == nil {
			err = work(try)
			n.members.beating.give()
		}
		cancel()
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrFenced) {
			n.log.Debug("what a peer told of has to wait for the next beat", "error", err)
		}
	}
}

// silent says that a gateway that spoke is not heard any more and its lease
// looks over: then the store is asked at once instead of at the next beat.
func (n *Node) silent() bool {
	now := n.clock()
	m := &n.members
	m.mu.Lock()
	defer m.mu.Unlock()
	n.channel.mu.Lock()
	defer n.channel.mu.Unlock()
	for name, p := range m.peers {
		h, spoke := n.channel.heard[name]
		if spoke && h.instance == p.instance && now-h.at > int64(n.cfg.GatewayLease)/2 &&
			now-p.since > int64(n.cfg.GatewayLease)*11/10 {
			return true
		}
	}
	return false
}

// tell notes that a client was heard of, to be sent to the peers: once in an
// eighth of its lease is enough.
func (n *Node) tell(c *client, now int64) {
	last := c.toldAt.Load()
	if last != 0 && now-last < int64(n.cfg.Lease)/8 || !c.toldAt.CompareAndSwap(last, max(now, 1)) {
		return
	}
	select {
	case n.channel.told <- c.id:
	default: // the store tells of it later
	}
}

// flushRenewals sends the clients heard of since the last time.
func (n *Node) flushRenewals() {
	var ids []uint64
	for len(ids) < maxTold {
		select {
		case id := <-n.channel.told:
			ids = append(ids, uint64(id))
			continue
		default:
		}
		break
	}
	if len(ids) > 0 {
		n.publish(encodeMessage(msgRenewed, ids...))
	}
}

// receive takes a message of another gateway. It never waits.
func (n *Node) receive(from string, msg []byte) {
	ch := &n.channel
	if from == n.cfg.Name {
		return
	}
	if msg == nil {
		// Whatever it was: what matters is in the store.
		ch.lost.Add(1)
		wake(ch.kick)
		return
	}
	ch.received.Add(1)
	if ch.silence.Load() {
		ch.audible(from)
	}
	r := xdr.NewReader(msg)
	format, kind := r.Uint32(), messageKind(r.Uint32())
	if r.Err() != nil || format != messageFormat {
		ch.unread.Add(1)
		return
	}
	switch kind {
	case msgRenewed:
		now := n.clock()
		for r.Remaining() >= 8 {
			if c := n.clients.get(ClientID(r.Uint64())); c != nil {
				c.renewed.Store(now)
			}
		}
	case msgEnded:
		version := r.Uint64()
		n.members.mu.Lock()
		known := version != 0 && n.members.acked >= version
		n.members.mu.Unlock()
		if known {
			// Somebody waits for the word and may have missed it.
			n.sayCarried()
		} else {
			wake(ch.kick)
		}
	case msgCarried:
		n.hear(from, r.Uint64(), r.Uint64())
		wake(ch.news)
	case msgFile:
		m, err := decodeWarm(&r)
		if err != nil {
			ch.unread.Add(1)
			return
		}
		n.install(m)
	case msgSlotAsk:
		n.answerSlots(from, &r)
	case msgSlotTell:
		n.toldSlots(from, &r)
	case msgClosed:
		if key := FileKey(r.Opaque(durable.MaxKey)); r.Err() == nil && n.onClosed != nil {
			n.onClosed(key)
		}
	case msgAlive:
		n.hear(from, r.Uint64(), 0)
	case msgAsk:
		instance, number := r.Uint64(), r.Uint64()
		if r.Err() == nil {
			n.asked(from, instance, number)
		}
	case msgVouch:
		by := member{from, r.Uint64()}
		whom, number := member{string(r.Opaque(maxName)), r.Uint64()}, r.Uint64()
		if r.Err() == nil {
			n.vouched(by, whom, number)
		}
	case msgJoined:
		instance := r.Uint64()
		if r.Err() == nil {
			n.hear(from, instance, 0)
			n.joined(from, instance)
		}
	case msgKnown:
		by := member{from, r.Uint64()}
		if whom := (member{string(r.Opaque(maxName)), r.Uint64()}); r.Err() == nil {
			n.hear(from, by.instance, 0)
			n.seenBy(by, whom)
		}
	case msgLeaving:
		if instance := r.Uint64(); r.Err() == nil {
			ch.gone(from, instance)
		}
		wake(ch.look)
	case msgDied:
		wake(ch.look)
	default: // of a newer program
		ch.unread.Add(1)
	}
}

// audible notes that a gateway that did not answer is heard, if only late.
func (c *channel) audible(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mute, name)
	c.silence.Store(len(c.mute) > 0)
}

// gone notes that an instance of a gateway will answer nobody any more, and tells those
// who wait for it.
func (c *channel) gone(name string, instance uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left[name] = max(c.left[name], instance)
	c.absent(name, instance)
}

// unseen tells those who wait for an instance of a gateway that it is not there. Its
// record was not, in one look at the store: that is less than being gone.
func (c *channel) unseen(name string, instance uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.absent(name, instance)
}

// absent is what gone and unseen have in common. c.mu is held.
func (c *channel) absent(name string, instance uint64) {
	if c.mute[name] <= instance {
		delete(c.mute, name)
		c.silence.Store(len(c.mute) > 0)
	}
	for _, told := range c.inquiries {
		select {
		case told <- slotNews{from: name, instance: instance, gone: true}:
		default: // it has answers enough to read
		}
	}
	if waited, ok := c.strangers[name]; ok && waited <= instance {
		delete(c.strangers, name)
		wake(c.greeted)
	}
}

// hear notes what a gateway said of itself.
func (n *Node) hear(from string, instance, carried uint64) {
	ch := &n.channel
	ch.mu.Lock()
	defer ch.mu.Unlock()
	h := ch.heard[from]
	if h.instance > instance {
		return // of an earlier run of it
	}
	if h.instance < instance {
		h = hearsay{instance: instance}
	}
	h.carried = max(h.carried, carried)
	h.at = n.clock()
	ch.heard[from] = h
}

// saidCarried returns the version of "ended" that this instance of a gateway
// said it carried out.
func (n *Node) saidCarried(name string, instance uint64) uint64 {
	n.channel.mu.Lock()
	defer n.channel.mu.Unlock()
	if h := n.channel.heard[name]; h.instance == instance {
		return h.carried
	}
	return 0
}

// waitForNews waits for a peer's word, or as long as the store may be left
// alone.
func (n *Node) waitForNews(ctx context.Context) error {
	t := time.NewTimer(5 * time.Millisecond)
	defer t.Stop()
	select {
	case <-n.channel.news:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// sayCarried tells the peers what is carried out here.
func (n *Node) sayCarried() {
	n.members.mu.Lock()
	acked := n.members.acked
	n.members.mu.Unlock()
	n.publish(encodeMessage(msgCarried, n.instance, acked))
}

// install makes what another gateway committed part of a file in memory, if it
// is the next thing that happened to it. Otherwise the file is dropped, and
// loaded when it is needed. Nothing is done while a request has the file: its
// commit finds out.
func (n *Node) install(m *warm) {
	f := n.files.get(m.file)
	if f == nil {
		return
	}
	f.doubt()
	if !f.turn.try() {
		return
	}
	defer f.turn.give()
	if f.gone || f.state == nil || m.version <= f.version {
		return
	}
	if m.version != f.version+1 || len(m.writes) == 0 {
		n.channel.cooled.Add(1)
		n.clear(f)
		return
	}
	d, err := f.state.Received(m.writes)
	if err == nil {
		f.mu.Lock()
		if err = f.state.Apply(d); err == nil {
			f.version = m.version
		}
		f.mu.Unlock()
	}
	if err != nil {
		n.channel.cooled.Add(1)
		f.mu.Lock()
		f.state = nil // half changed, perhaps
		f.mu.Unlock()
		return
	}
	n.channel.warmed.Add(1)
	if c := n.clients.get(m.client); c != nil {
		c.ranges.Add(int64(d.RangesMore()))
	}
	n.countStates(d)
}
