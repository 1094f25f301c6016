// Package peer is the channel between the gateways of a cluster, over NATS.
//
// It carries what may be lost: hints, which make a cluster faster and of which
// none is needed. It hides as much loss as it cheaply can. NATS down or slow
// makes nobody wait.
//
// # Subjects
//
//	holdfast.<domain>.from.<gateway>   what a gateway tells all others
//	holdfast.<domain>.to.<gateway>     questions and answers to one
//
// # Messages
//
//	said    u8 1 · u64 instance · u64 number · bytes
//	tail    u8 2 · u64 instance · u64 number of the last
//	ask     u8 3 · u64 instance · u64 first · u64 last · who asks
//	again   u8 4 · u64 instance · u64 number · bytes · from whom (in the header)
//	resync  u8 5 · u64 instance · u64 first that there is
//
// Each sender numbers what it says from 1, anew in each instance. A receiver
// that finds a gap keeps what comes after it and asks the sender, which has a
// ring of what it said last. What is not there any more, or does not come, is
// given up: the receiver is told that something was lost, and goes on. A
// sender that falls silent tells the number of its last message, so that a gap
// at the end is found, too.
package peer

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Options are those of Connect.
type Options struct {
	// URL names the servers: nats://[USER:PASSWORD@]HOST[:PORT][,HOST…], or
	// tls://. Its query may name files: ca, cert and key for TLS, creds for a
	// user's credentials.
	URL string

	Name   string // of this gateway
	Domain string // of the cluster: letters, digits, - and _

	// Ring is how many messages are kept for those who missed them; default
	// 4,096, at most 1 MiB each and 16 MiB together.
	Ring int

	// Beat is how often the number of the last message is told, and missing
	// ones are asked for again; default 200 ms.
	Beat time.Duration

	// Patience is how long a gap is asked about before it is given up; default
	// 1 s. What comes after it waits meanwhile.
	Patience time.Duration

	Logger *slog.Logger

	// lose, for tests, drops a message that was to be sent.
	lose func(kind byte) bool
}

const (
	maxMessage = 1<<20 - 1024
	ringBytes  = 16 << 20
	queueLen   = 4096 // messages on their way to NATS
	maxHeld    = 1024 // messages of one sender kept behind a gap
	maxAsked   = 512  // messages that one question can bring
	maxSenders = 1024 // gateways, of which most went long ago
)

// Stats counts what a Channel did.
type Stats struct {
	Sent, Received uint64
	Dropped        uint64 // not sent: too large, or NATS away or too slow
	Asked          uint64 // questions about gaps
	Repaired       uint64 // messages that came after all
	Lost           uint64 // gaps that were given up
	Connected      bool
}

// A Channel is this gateway's end. Its methods may be called from any number of
// goroutines.
type Channel struct {
	opt      Options
	log      *slog.Logger
	nc       *nats.Conn
	instance uint64
	queue    chan outgoing
	stop     chan struct{}
	wg       sync.WaitGroup
	subs     []*nats.Subscription

	mu   sync.Mutex // of what was said
	next uint64     // number of the next message
	ring ring

	hearing sync.Mutex // of what is heard; held while fn runs
	fn      func(from string, msg []byte)
	senders map[string]*sender

	closing                                           sync.Once
	sent, received, dropped, asked, repaired, givenUp atomic.Uint64
}

// outgoing is what waits for NATS.
type outgoing struct {
	subject string
	data    []byte
}

// Connect makes a channel. That NATS cannot be reached is no error: the channel
// works as soon as it can. The error is about opt.
func Connect(opt Options) (*Channel, error) {
	c, servers, options, err := prepare(opt)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	if c.nc, err = nats.Connect(servers, options...); err != nil {
		return nil, fmt.Errorf("peer: %w", plain(err))
	}
	c.wg.Add(1)
	go c.send()
	return c, nil
}

// Publish sends msg to all other gateways. It never waits.
func (c *Channel) Publish(msg []byte) {
	if len(msg) > maxMessage {
		c.dropped.Add(1)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock() // numbers are queued in their order
	number := c.next
	c.next++
	c.ring.put(number, msg)
	c.enqueue(c.from(c.opt.Name), numbered(kindSaid, c.instance, number, msg))
}

// enqueue hands a message to the goroutine that sends, or drops it.
func (c *Channel) enqueue(subject string, data []byte) {
	select {
	case c.queue <- outgoing{subject, data}:
	default:
		c.dropped.Add(1)
	}
}

// Subscribe has fn called with what the others say, in each one's order, by one
// goroutine at a time; nil says that something of that gateway was lost. fn
// must not wait for long. It is called once.
func (c *Channel) Subscribe(fn func(from string, msg []byte)) error {
	c.hearing.Lock()
	defer c.hearing.Unlock()
	if c.fn != nil {
		return errors.New("peer: subscribed already")
	}
	c.fn = fn
	for _, subject := range []string{c.from("*"), c.to(c.opt.Name)} {
		s, err := c.nc.Subscribe(subject, c.take)
		if err == nil {
			err = s.SetPendingLimits(2*queueLen, 2*ringBytes)
		}
		if err != nil {
			return fmt.Errorf("peer: %w", plain(err))
		}
		c.subs = append(c.subs, s)
	}
	c.wg.Add(1)
	go c.beats()
	return nil
}

// send gives NATS what is queued. It may be slow: only this goroutine waits.
func (c *Channel) send() {
	defer c.wg.Done()
	for {
		select {
		case <-c.stop:
			return
		case m := <-c.queue:
			c.give(m)
		}
	}
}

func (c *Channel) give(m outgoing) {
	if c.opt.lose != nil && c.opt.lose(m.data[0]) {
		return
	}
	if err := c.nc.Publish(m.subject, m.data); err != nil {
		c.dropped.Add(1)
		return
	}
	c.sent.Add(1)
}

// beats tells the last number, and asks again for what is missing.
func (c *Channel) beats() {
	defer c.wg.Done()
	tick := time.NewTicker(c.opt.Beat)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		c.mu.Lock()
		last := c.next - 1
		c.mu.Unlock()
		c.enqueue(c.from(c.opt.Name), numbered(kindTail, c.instance, last, nil))
		c.hearing.Lock()
		for name, s := range c.senders {
			c.impatient(name, s)
		}
		c.hearing.Unlock()
	}
}

// Stats returns the counters at this moment.
func (c *Channel) Stats() Stats {
	return Stats{
		Sent: c.sent.Load(), Received: c.received.Load(), Dropped: c.dropped.Load(), Asked: c.asked.Load(),
		Repaired: c.repaired.Load(), Lost: c.givenUp.Load(), Connected: c.nc.IsConnected(),
	}
}

// Close sends what is queued, waiting at most a second for NATS, and ends the
// channel. fn is not called any more when it returns.
func (c *Channel) Close() error {
	var err error
	c.closing.Do(func() {
		close(c.stop)
		c.wg.Wait()
		for len(c.queue) > 0 && c.nc.IsConnected() {
			c.give(<-c.queue)
		}
		if c.nc.IsConnected() {
			err = c.nc.FlushTimeout(time.Second)
		}
		c.nc.Close()
		c.hearing.Lock()
		c.fn = nil
		c.hearing.Unlock()
	})
	return err
}

func (c *Channel) from(name string) string {
	return "holdfast." + c.opt.Domain + ".from." + token(name)
}
func (c *Channel) to(name string) string { return "holdfast." + c.opt.Domain + ".to." + token(name) }
