package statesync

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/internal/together"
	"holdfast/internal/xdr"
	"holdfast/statesync/rules"
)

// What the last request of a slot was is in the store only if it changed
// something; otherwise the gateway that ran it knows. Another one that is not
// sure asks over the peer channel, so that
//
//	a retry gets the reply that is kept elsewhere, or waits where the request runs
//	a request that is none of the slot's next is refused (RFC 8881 §2.10.6.1)
//
// It costs a message there and back, and is done while a session is new here: when the
// sequence of a slot does not go on from what this gateway saw, when a slot is
// used here for the first time, and from then on always if the session was seen to be
// in use elsewhere. After enoughAsked such requests the session has shown that
// its client counts right and spreads its requests for good; it is believed from
// then on: a forward jump is the next request.
//
// A client that comes from another gateway brings all that it waits for at once, each in a
// slot of its own: those who ask at the same time do it in one message.
//
// Without a channel, or where some gateway does not answer, a forward jump is
// believed from the start. So it is if a gateway ended since the session was made: what it
// knew is lost.

const (
	enoughAsked = 256

	// answerIn is how long an answer is waited for, unless it is known before that none
	// will come. Who did not answer is not waited for again until something is heard of
	// it.
	answerIn = 250 * time.Millisecond

	// askAgain is how long it is waited where the request still runs.
	askAgain = 5 * time.Millisecond

	// maxAsking bounds the questions of one message, maxAnswer the bytes after which a message of
	// answers is sent.
	maxAsking = 1024
	maxAnswer = 32 << 10
)

// A slotQuestion is a question about a slot. Its number is the asking instance's.
type slotQuestion struct {
	number  uint64
	session nfs4.SessionID
	slot    uint32
}

// questions are those that are to be sent.
type questions struct {
	sends together.Calls

	mu      sync.Mutex // held for memory only
	waiting []slotQuestion
}

func (c *questions) put(q slotQuestion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, q)
}

func (c *questions) take() []slotQuestion {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waiting
	c.waiting = nil
	return all
}

// slotNews is what a gateway knows of the last request of a slot.
type slotNews struct {
	from     string
	instance uint64 // of from: one that was declared dead may still answer
	gone     bool   // this instance, and those before, answer no more; the rest says nothing
	sequence uint32 // 0: nothing is known
	sum      uint64
	running  bool
	reply    []byte // if it is kept
}

// doubtful says that another gateway may know more of the slot than this one. e.mu
// is held.
func (n *Node) doubtful(e *entry, r *Request) bool {
	s := e.session
	if s == nil || !n.cfg.Shared || s.asked.Load() >= enoughAsked {
		return false
	}
	if !e.met || e.away || s.roams.Load() {
		return true
	}
	retry := e.sumSet && r.sequence == e.seq // of what ran here
	return !retry && r.sequence != e.seq+1
}

// inquire asks the other gateways about a slot, and makes what they know the
// entry's knowledge. exact says that nobody can know of a later request. e is busy,
// and e.mu is not held.
func (n *Node) inquire(ctx context.Context, e *entry, r *Request) (exact bool, err error) {
	s := e.session
	s.asked.Add(1)
	looked := false
	for {
		answers, all := n.askSlot(ctx, e)
		running := false
		e.mu.Lock()
		if e.away || r.sequence != e.seq+1 {
			s.roams.Store(true)
		}
		for _, a := range answers {
			if a.sequence > 0 {
				s.roams.Store(true)
			}
			running = running || a.running && a.sequence == r.sequence
			e.learn(a)
		}
		e.met = true
		forward := int32(r.sequence-e.seq) > 1
		e.mu.Unlock()
		if !running {
			if !forward {
				return false, nil
			}
			exact := all && n.unbroken(ctx, s, answers)
			if exact || looked || n.observe(ctx) != nil {
				return exact, nil
			}
			// Who had not been seen to join, or was taken to have ended, may be there.
			looked = true
			continue
		}
		t := time.NewTimer(askAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false, ctx.Err()
		}
	}
}

// learn makes another gateway's knowledge the entry's, if it is of a later
// request or says more of the last one. e.mu is held.
func (e *entry) learn(a slotNews) {
	switch {
	case a.sequence == 0:
	case int32(a.sequence-e.seq) > 0:
		e.seq, e.sum, e.sumSet = a.sequence, a.sum, true
		e.changed, e.reply, e.away = false, a.reply, true
	case a.sequence == e.seq && (!e.sumSet || e.reply == nil && e.sum == a.sum):
		e.sum, e.sumSet = a.sum, true
		e.reply = a.reply
	}
}

// unbroken says that every gateway that ran at some time since the session was
// made was asked: none has ended since, and each that runs has answered. Both are
// read from the same records: a gateway that is declared dead meanwhile would be missed
// by two looks, the first of which still finds it running, and the second does not
// find it any more. Without the store nobody can say so.
func (n *Node) unbroken(ctx context.Context, s *session, answers []slotNews) bool {
	if s.ended == rules.UnknownEnded {
		return false
	}
	now, err := n.instancesNow(ctx)
	if err != nil {
		return false
	}
	delete(now.running, n.cfg.Name)
	for _, a := range answers {
		delete(now.running, a.from)
	}
	return now.ended == s.ended && len(now.running) == 0
}

// instances are those of all gateways that ever joined.
type instances struct {
	ended   uint64              // how many do not run any more
	running map[string]struct{} // the names of the gateways whose last one does
}

// instancesNow reads from the store which instances there are.
func (n *Node) instancesNow(ctx context.Context) (instances, error) {
	now := instances{running: make(map[string]struct{})}
	var strange error
	err := n.store.Scan(ctx, prefixGateway, func(g durable.Group) bool {
		name := strings.TrimPrefix(g.Key, prefixGateway)
		instance, state, err := decodeGateway(name, head(g))
		if err != nil {
			strange = err
			return false
		}
		if now.ended += instance; state == gatewayAlive {
			now.ended--
			now.running[name] = struct{}{}
		}
		return true
	})
	if err != nil {
		return instances{}, fmt.Errorf("reading the gateways: %w", err)
	}
	return now, strange
}

// askSlot asks every other gateway about a slot. all says that each of them answered;
// the answers of those who know nothing of the slot are among them, with sequence 0.
func (n *Node) askSlot(ctx context.Context, e *entry) (answers []slotNews, all bool) {
	ch := &n.channel
	n.members.mu.Lock()
	others := len(n.members.peers)
	n.members.mu.Unlock()
	// Each may answer, and end. Should more join before it is asked than there is room for,
	// the answer that is lost is waited for in vain.
	told := make(chan slotNews, 2*others+8)
	ch.mu.Lock()
	ch.asked++
	number := ch.asked
	ch.inquiries[number] = told
	ch.mu.Unlock()
	defer func() {
		ch.mu.Lock()
		delete(ch.inquiries, number)
		ch.mu.Unlock()
	}()
	// After that: who ends from here on is told of.
	waits, mute := n.whoAnswers()
	if !n.hasPeers() {
		return nil, len(waits)+mute == 0
	}
	if len(waits) == 0 {
		return nil, mute == 0
	}
	ch.questions.put(slotQuestion{number, e.session.info.ID, e.slot})
	if ch.questions.sends.Do(n.sendQuestions) != nil {
		return nil, false // it was cut off
	}
	t := time.NewTimer(ch.answerIn)
	defer t.Stop()
	for len(waits) > 0 {
		select {
		case a := <-told:
			instance, ok := waits[a.from]
			if !ok || a.instance < instance {
				continue
			}
			delete(waits, a.from)
			if a.gone || a.instance > instance {
				mute++ // the one that was asked has ended
			}
			if !a.gone {
				answers = append(answers, a)
			}
		case <-t.C:
			ch.mu.Lock()
			for name, instance := range waits {
				ch.mute[name] = instance
			}
			ch.silence.Store(true)
			ch.mu.Unlock()
			return answers, false
		case <-ctx.Done():
			return answers, false
		}
	}
	return answers, mute == 0
}

// whoAnswers returns the other gateways that may be expected to answer a question about a
// slot, by name and instance, and how many more there are. Who has said nothing yet is about
// to join, and may not even hear the question: it serves nobody before it has said that
// it is there (introduce.go).
func (n *Node) whoAnswers() (waits map[string]uint64, mute int) {
	waits, mute = n.whoHears()
	n.channel.mu.Lock()
	defer n.channel.mu.Unlock()
	for name, instance := range waits {
		if n.channel.heard[name].instance < instance {
			delete(waits, name)
			mute++
		}
	}
	return waits, mute
}

// whoHears is whoAnswers with those who have said nothing yet.
func (n *Node) whoHears() (waits map[string]uint64, mute int) {
	m, ch := &n.members, &n.channel
	m.mu.Lock()
	defer m.mu.Unlock()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	waits = make(map[string]uint64, len(m.peers))
	for name, p := range m.peers {
		if ch.left[name] >= p.instance || ch.mute[name] == p.instance {
			mute++
		} else {
			waits[name] = p.instance
		}
	}
	return waits, mute
}

// sendQuestions sends the questions that wait.
func (n *Node) sendQuestions() error {
	for some := range slices.Chunk(n.channel.questions.take(), maxAsking) {
		n.publish(encodeSlotAsk(n.instance, some))
	}
	return nil
}

func encodeSlotAsk(instance uint64, all []slotQuestion) []byte {
	w := xdr.NewWriter(make([]byte, 0, 16+len(all)*28))
	w.Uint32(messageFormat)
	w.Uint32(uint32(msgSlotAsk))
	w.Uint64(instance)
	for i := range all {
		w.Uint64(all[i].number)
		all[i].session.Encode(&w)
		w.Uint32(all[i].slot)
	}
	return w.Bytes()
}

// answerSlots tells a gateway what is known here of slots.
func (n *Node) answerSlots(to string, r *xdr.Reader) {
	instance := r.Uint64()
	w := slotTell(to, instance)
	empty := w.Len()
	for r.Err() == nil && r.Remaining() > 0 {
		q := slotQuestion{r.Uint64(), nfs4.DecodeSessionID(r), r.Uint32()}
		if r.Err() != nil {
			break
		}
		var a slotNews
		if s := n.sessions.get(q.session); s != nil && q.slot < uint32(len(s.slots)) {
			if e := s.slots[q.slot].Load(); e != nil {
				a = e.news()
			}
		}
		a.instance = n.instance
		a.encode(&w, q.number)
		if w.Len() > maxAnswer {
			n.publish(w.Bytes())
			w = slotTell(to, instance)
		}
	}
	if w.Len() > empty {
		n.publish(w.Bytes())
	}
}

// slotTell begins a message of answers to an instance's questions.
func slotTell(to string, instance uint64) xdr.Writer {
	w := xdr.NewWriter(make([]byte, 0, 128+len(to)))
	w.Uint32(messageFormat)
	w.Uint32(uint32(msgSlotTell))
	w.String(to)
	w.Uint64(instance)
	return w
}

// encode adds the answer to the question of a number.
func (a *slotNews) encode(w *xdr.Writer, number uint64) {
	w.Uint64(number)
	w.Uint32(a.sequence)
	w.Uint64(a.sum)
	w.Bool(a.running)
	w.Bool(a.reply != nil)
	w.Opaque(a.reply)
	w.Uint64(a.instance)
}

// news is what the entry knows.
func (e *entry) news() (a slotNews) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.sumSet {
		return a
	}
	return slotNews{sequence: e.seq, sum: e.sum, running: e.running != nil, reply: e.reply}
}

// toldSlots takes another gateway's answers.
func (n *Node) toldSlots(from string, r *xdr.Reader) {
	to, instance := string(r.Opaque(maxName)), r.Uint64()
	if r.Err() != nil || to != n.cfg.Name || instance != n.instance {
		return
	}
	for r.Remaining() > 0 {
		number := r.Uint64()
		a := slotNews{from: from, sequence: r.Uint32(), sum: r.Uint64(), running: r.Bool()}
		kept := r.Bool()
		if reply := r.Opaque(maxMessage); kept {
			a.reply = bytes.Clone(reply)
		}
		a.instance = r.Uint64()
		if r.Err() != nil {
			return
		}
		n.channel.mu.Lock()
		told := n.channel.inquiries[number] // nil: nobody waits any more
		n.channel.mu.Unlock()
		select {
		case told <- a:
		default:
		}
	}
}
