package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"holdfast/statesync"
)

// A channel is what one gateway's process has of the channel between the gateways:
// in the order in which they were sent, with losses.
type channel struct {
	g *gateway

	mu   sync.Mutex
	fn   func(from string, msg []byte)
	out  map[*gateway][][]byte // on their way, by receiver
	sent int
}

// Publish implements statesync.Peers.
func (c *channel) Publish(msg []byte) {
	w := c.g.w
	if w.rule == rulePromise && kindOf(msg) == kindAsk {
		w.forge(c, msg)
		return
	}
	w.mu.Lock()
	var to []*gateway
	for _, h := range w.gateways {
		if h.name != c.g.name && h.up && !h.dead {
			to = append(to, h)
		}
	}
	w.mu.Unlock()
	for _, h := range to {
		c.send(h, msg)
	}
}

// send puts a message on its way. What is on the way to one receiver is brought by
// one task, which keeps the order.
func (c *channel) send(h *gateway, msg []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out[h] = append(c.out[h], msg)
	if len(c.out[h]) > 1 {
		return
	}
	c.sent++
	task := fmt.Sprintf("%s→%s.%d", c.g.process, h.process, c.sent)
	c.g.w.spawn(func() { c.bring(h, task) })
}

func (c *channel) bring(h *gateway, task string) {
	w := c.g.w
	for {
		c.mu.Lock()
		msg := c.out[h][0]
		c.mu.Unlock()
		arrives := w.take(task, nil, message, fmt.Sprintf("peer message %d", kindOf(msg)))
		if arrives == proceed {
			arrives = w.take(task, h, local, "is heard by "+h.process)
		}
		if arrives == dead {
			return
		}
		if arrives == proceed {
			h.peers.mu.Lock()
			fn := h.peers.fn
			h.peers.mu.Unlock()
			fn(c.g.name, msg)
		}
		c.mu.Lock()
		c.out[h] = c.out[h][1:]
		more := len(c.out[h]) > 0
		c.mu.Unlock()
		if !more {
			return
		}
	}
}

// Subscribe implements statesync.Peers.
func (c *channel) Subscribe(fn func(from string, msg []byte)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fn = fn
	return nil
}

func newChannel(g *gateway) *channel { return &channel{g: g, out: map[*gateway][][]byte{}} }

// The kinds of messages that the simulation knows: statesync/message.go.
const (
	kindAsk   = 8
	kindVouch = 9
)

func kindOf(msg []byte) uint32 { return binary.BigEndian.Uint32(msg[4:]) }

// forge answers a question in the name of all other gateways, none of which hears of
// it or keeps the word.
func (w *world) forge(c *channel, question []byte) {
	instance, number := question[8:16], question[16:24]
	w.mu.Lock()
	all := append([]*gateway(nil), w.gateways...)
	w.mu.Unlock()
	for _, h := range all {
		if h.name == c.g.name || h.instance == 0 {
			continue
		}
		b := binary.BigEndian.AppendUint32(nil, 1)
		b = binary.BigEndian.AppendUint32(b, kindVouch)
		b = binary.BigEndian.AppendUint64(b, h.instance)
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.g.name)))
		b = append(b, c.g.name...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		b = append(append(b, instance...), number...)
		w.spawn(func() {
			task := fmt.Sprintf("forged by %s for %s.%d", h.name, c.g.process, binary.BigEndian.Uint64(number))
			if w.take(task, c.g, local, "is heard") == proceed {
				c.fn(h.name, b)
			}
		})
	}
}

// askLoop is a gateway's turn of asking to be vouched for.
func (g *gateway) askLoop() {
	task := g.process + ".ask"
	for g.w.pause(task, g, g.w.plan.lease/10) != dead {
		g.node.Ask()
	}
}

// tellEnd lets the gateways that hold a process's lifeline know that it has ended.
func (w *world) tellEnd(g *gateway) {
	if !w.plan.lifelines || g.instance == 0 {
		return
	}
	w.mu.Lock()
	all := append([]*gateway(nil), w.gateways...)
	w.mu.Unlock()
	for _, h := range all {
		if h == g || !w.serving(h) {
			continue
		}
		task := "lifeline of " + g.process + " at " + h.process
		w.spawn(func() {
			// A connection that is lost in another way than by the end of the
			// process proves nothing.
			if w.take(task, nil, message, "ends") != proceed || w.take(task, h, local, "is seen") != proceed {
				return
			}
			ctx, cancel := context.WithTimeout(as(h.ctx, task), w.plan.lease)
			defer cancel()
			if h.node.Ended(ctx, g.name, g.instance) == nil {
				w.mu.Lock()
				w.proven = true
				w.mu.Unlock()
			}
		})
	}
}

// watchServing checks that nobody believes that he may serve who may not (G6). It is
// called when nothing runs.
func (w *world) watchServing() {
	if w.rule == ruleFence {
		return
	}
	for _, g := range w.gateways {
		if !w.serving(g) || g.node.MayServe() != nil {
			continue
		}
		w.mu.Lock()
		if time.Since(g.renewed) > w.plan.lease {
			w.vouched = true
		}
		w.mu.Unlock()
		if w.declaredDead(g) {
			w.violated(g.process, "G6: it serves although it was declared dead")
		}
	}
}

var _ statesync.Peers = (*channel)(nil)
