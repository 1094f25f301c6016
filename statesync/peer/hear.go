package peer

import (
	"encoding/binary"
	"time"

	"github.com/nats-io/nats.go"
)

// A sender is what is known of another gateway's messages. Channel.hearing
// guards it.
type sender struct {
	instance uint64
	next     uint64            // number of the message that is to be handed on next
	last     uint64            // greatest number that is known to be said
	held     map[uint64][]byte // what came before its turn
	asked    uint64            // up to where was asked already
	waited   int               // beats since the gap is there
}

// take takes a message from NATS. NATS calls it for two subscriptions, so
// perhaps twice at once.
func (c *Channel) take(m *nats.Msg) {
	f, ok := parse(m.Data)
	if !ok {
		return
	}
	c.received.Add(1)
	switch f.kind {
	case kindAsk:
		c.answer(f)
		return
	case kindAgain, kindResync:
		from, msg, ok := splitReply(f.rest)
		if !ok || from == c.opt.Name {
			return
		}
		c.hearing.Lock()
		defer c.hearing.Unlock()
		s := c.senders[from]
		if s == nil || s.instance != f.instance {
			return
		}
		if f.kind == kindResync {
			if f.number > s.next {
				c.giveUp(from, s, f.number)
			}
			return
		}
		if f.number >= s.next {
			c.repaired.Add(1)
			c.said(from, s, f.number, msg)
		}
		return
	}
	from, ok := nameOf(m.Subject)
	if !ok || from == c.opt.Name {
		return
	}
	c.hearing.Lock()
	defer c.hearing.Unlock()
	s := c.sender(from, f)
	switch {
	case s == nil:
	case f.kind == kindSaid:
		c.said(from, s, f.number, f.rest)
	case f.number > s.last:
		s.last = f.number
		c.askFor(from, s)
	}
}

// sender returns what is known of a sender, nil if the message is of an
// earlier run of it. One that is heard for the first time said things that
// nobody here can know of.
func (c *Channel) sender(from string, f frame) *sender {
	s := c.senders[from]
	if s != nil && s.instance == f.instance {
		return s
	}
	if s != nil && f.instance < s.instance {
		return nil
	}
	if s == nil && len(c.senders) >= maxSenders {
		for name := range c.senders {
			delete(c.senders, name) // any: it is heard anew
			break
		}
	}
	first := f.number
	if f.kind == kindTail {
		first++
	}
	s = &sender{instance: f.instance, next: first, last: first - 1, held: make(map[uint64][]byte)}
	c.senders[from] = s
	if first > 1 {
		c.hand(from, nil)
	}
	return s
}

// said takes message number of a sender: hands it on, or keeps it until those
// before it came.
func (c *Channel) said(from string, s *sender, number uint64, msg []byte) {
	if number < s.next {
		return // it is there already
	}
	s.last = max(s.last, number)
	if number > s.next {
		if len(s.held) >= maxHeld {
			c.giveUp(from, s, number)
		} else {
			s.held[number] = msg
			c.askFor(from, s)
			return
		}
	}
	s.next = number + 1
	c.hand(from, msg)
	c.handHeld(from, s)
	if s.next > s.asked {
		c.askFor(from, s) // a question brings only so much
	}
}

// handHeld hands on what its turn has come for.
func (c *Channel) handHeld(from string, s *sender) {
	for {
		msg, ok := s.held[s.next]
		if !ok {
			break
		}
		delete(s.held, s.next)
		s.next++
		c.hand(from, msg)
	}
	s.waited = 0
}

// hand calls the subscriber.
func (c *Channel) hand(from string, msg []byte) {
	if c.fn != nil {
		c.fn(from, msg)
	}
}

// askFor asks a sender for what is missing and was not asked for yet.
func (c *Channel) askFor(from string, s *sender) {
	first := max(s.next, s.asked+1)
	last := s.last
	for last >= first && s.held[last] != nil {
		last--
	}
	if first > last {
		return
	}
	last = min(last, first+maxAsked-1)
	s.asked = last
	c.asked.Add(1)
	c.enqueue(c.to(from), ask(s.instance, first, last, c.opt.Name))
}

// impatient asks again for what did not come, and in the end gives it up.
func (c *Channel) impatient(from string, s *sender) {
	if s.next > s.last {
		return
	}
	if s.waited++; time.Duration(s.waited)*c.opt.Beat > c.opt.Patience {
		first := s.last + 1
		for number := range s.held {
			first = min(first, number)
		}
		c.giveUp(from, s, first)
	}
	s.asked = s.next - 1
	c.askFor(from, s)
}

// giveUp goes on with message number first.
func (c *Channel) giveUp(from string, s *sender, first uint64) {
	c.givenUp.Add(1)
	for number := range s.held {
		if number < first {
			delete(s.held, number)
		}
	}
	s.next = first
	s.last = max(s.last, first-1)
	c.hand(from, nil)
	c.handHeld(from, s)
}

// answer sends again what somebody missed, if it is there still.
func (c *Channel) answer(f frame) {
	if len(f.rest) < 8+1 || len(f.rest) > 8+64 || f.instance != c.instance {
		return
	}
	first, last, who := f.number, binary.BigEndian.Uint64(f.rest), string(f.rest[8:])
	if last < first || last-first >= maxAsked {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if first < c.ring.first {
		first = c.ring.first
		c.enqueue(c.to(who), reply(kindResync, c.instance, first, c.opt.Name, nil))
	}
	for number := first; number <= last; number++ {
		msg, ok := c.ring.get(number)
		if !ok {
			break
		}
		c.enqueue(c.to(who), reply(kindAgain, c.instance, number, c.opt.Name, msg))
	}
}
