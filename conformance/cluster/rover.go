package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// Rover is a client that does what a Linux client does when its connection breaks: it connects again, here to the next gateway,
// and sends what was not answered once more, unchanged. So do the methods of the Client in it. One goroutine at a time may use
// it.
type Rover struct {
	*client.Client

	// Limit is how long one request may take, over all gateways. 1 minute unless changed.
	Limit time.Duration
	// Moves counts the connections that were given up.
	Moves int
	// Longest is the longest time that a request took.
	Longest time.Duration

	c    *Cluster
	at   int
	slot *client.Slot
}

// Rover establishes a client at gateway number at.
func (c *Cluster) Rover(minor uint32, at int) (*Rover, error) {
	r := &Rover{Limit: time.Minute, c: c, at: at}
	var err error
	for end := time.Now().Add(r.Limit); ; r.at = (r.at + 1) % len(c.Gateways) {
		// A client owner of its own for each try: what of an earlier one arrived does not matter.
		r.Client, err = client.New(context.Background(), client.Config{
			Minor: minor, Dial: r.dial,
			Options: client.Options{Timeout: c.Config.Patience},
		})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return nil, err
		}
	}
	if r.Session != nil {
		r.slot = r.Session.Acquire()
	}
	r.Config.Via = func(ops ...client.Op) (*client.Reply, error) { return r.Send(r.Request(ops...)) }
	return r, nil
}

func (r *Rover) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.c.Config.Patience)
	defer cancel()
	return r.c.Gateways[r.at].Dial(ctx)
}

// At returns the number of the gateway that the Rover uses.
func (r *Rover) At() int { return r.at }

// Move connects to another gateway. Nothing is sent.
func (r *Rover) Move(at int) error {
	r.at = at
	return r.Reconnect(context.Background())
}

// Leave is Move, but keeps the connection before open and returns it.
func (r *Rover) Leave(at int) (*client.Conn, error) {
	r.at = at
	return r.Replace(context.Background())
}

// Request encodes a compound as the Rover would send it next. Send advances the slot, so that there is one at a time.
func (r *Rover) Request(ops ...client.Op) *client.Request {
	var q *client.Request
	if r.slot != nil {
		q = r.slot.Request(true, ops...)
	} else {
		q = client.NewCompound(r.Conn().Cred(), 0, "", ops...)
	}
	q.SetXID(r.Conn().NextXID())
	return q
}

// Send sends the request until there is an answer.
func (r *Rover) Send(q *client.Request) (*client.Reply, error) {
	began := time.Now()
	defer func() { r.Longest = max(r.Longest, time.Since(began)) }()
	for {
		var p *client.Reply
		var err error
		if r.slot != nil {
			p, err = r.slot.Send(r.Conn(), q)
		} else {
			p, err = r.Conn().Do(q)
		}
		if !errors.Is(err, client.ErrClosed) && !errors.Is(err, client.ErrTimeout) {
			return p, err
		}
		for {
			if time.Since(began) > r.Limit {
				return nil, fmt.Errorf("no gateway answers for %v: %w", r.Limit, err)
			}
			r.Moves++
			if err = r.Move((r.at + 1) % len(r.c.Gateways)); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond) // a client does not spin either
		}
	}
}

// Do sends the operations, again under a new sequence while the answer is NFS4ERR_DELAY.
func (r *Rover) Do(ops ...client.Op) (*client.Reply, error) {
	for end := time.Now().Add(r.Limit); ; time.Sleep(20 * time.Millisecond) {
		p, err := r.Send(r.Request(ops...))
		if err != nil || p.Status != nfs4.ErrDelay || time.Now().After(end) {
			return p, err
		}
	}
}

// Must is Do for what has to succeed.
func (r *Rover) Must(ops ...client.Op) (*client.Reply, error) { return client.Check(r.Do(ops...)) }
