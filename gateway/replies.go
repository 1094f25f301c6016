package gateway

import (
	"encoding/binary"
	"runtime"

	"holdfast/internal/oncrpc"
)

// A reply is one record ready to be sent, its mark included.
type reply struct {
	data []byte
	buf  *oncrpc.Buf // memory to give back; nil if there is none
}

const (
	// gatherBytes and gatherReplies are when replies are sent though more
	// requests are at hand.
	gatherBytes   = 64 << 10
	gatherReplies = 64
	// batchBytes is how much is given to one system call.
	batchBytes = 1 << 20
)

// mark writes the record mark into the first bytes of a reply.
func mark(data []byte) {
	if len(data) < oncrpc.MarkSize {
		return // nothing is to be sent, and the connection is closed
	}
	binary.BigEndian.PutUint32(data, uint32(len(data)-oncrpc.MarkSize)|oncrpc.LastFragment)
}

// push queues a reply without sending it: the reader's way, which flushes before
// it waits for more input.
func (c *conn) push(r reply) {
	c.mu.Lock()
	c.enqueue(r)
	full := c.queued >= gatherBytes || len(c.queue) >= gatherReplies
	c.mu.Unlock()
	if full {
		c.flush()
	}
}

// finish queues and sends the reply of a request that ran outside the reader.
// If more of the connection's requests are running it first lets those that can
// run do so: their replies then go out in the same system call.
func (c *conn) finish(r reply) {
	c.mu.Lock()
	c.enqueue(r)
	c.flight--
	c.changed.Broadcast()
	if c.writing || c.gathering {
		c.mu.Unlock()
		return
	}
	if c.flight > 1 && c.queued < gatherBytes {
		c.gathering = true
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
		c.gathering = false
	}
	c.mu.Unlock()
	c.flush()
}

// enqueue puts a complete reply into the queue. mu is held.
func (c *conn) enqueue(r reply) {
	mark(r.data)
	c.s.memory.charge(int64(len(r.data)))
	c.queue = append(c.queue, r)
	c.queued += len(r.data)
}

// flush sends what is queued, unless another goroutine is about to: then that
// one sends it. What is owed begins to be settled.
func (c *conn) flush() {
	c.mu.Lock()
	if len(c.owed) > 0 && !c.settling {
		c.settling = true
		c.s.workers.run((*debtor)(c))
	}
	if c.writing || len(c.queue) == 0 {
		last := c.settle()
		c.mu.Unlock()
		if last {
			c.end()
		}
		return
	}
	c.writing = true
	for len(c.queue) > 0 {
		batch := c.queue
		c.queue = c.spare[:0]
		broken := c.broken
		c.mu.Unlock()

		var err error
		if !broken {
			// What must not be answered broke the connection before it
			// came here.
			err = c.write(batch)
		}
		size := 0
		for i := range batch {
			size += len(batch[i].data)
			batch[i].buf.Free()
		}
		clear(batch)
		c.s.memory.release(int64(size))
		if err != nil {
			c.kill(err)
		}

		c.mu.Lock()
		c.spare = batch[:0]
		c.queued -= size
		c.changed.Broadcast()
	}
	c.writing = false
	last := c.settle()
	c.mu.Unlock()
	if last {
		c.end()
	}
}

// write sends replies, in pieces small enough that a slow client is seen to
// make progress.
func (c *conn) write(batch []reply) error {
	defer c.writingSince.Store(0)
	for len(batch) > 0 {
		parts := c.parts[:0]
		n, size := 0, 0
		for n < len(batch) && (n == 0 || size+len(batch[n].data) <= batchBytes) {
			parts = append(parts, batch[n].data)
			size += len(batch[n].data)
			n++
		}
		c.writingSince.Store(c.s.clock())
		var err error
		if len(parts) == 1 {
			_, err = c.nc.Write(parts[0])
		} else {
			// WriteTo eats the slice it is called on.
			c.eaten = parts
			_, err = c.eaten.WriteTo(c.nc)
		}
		clear(parts)
		c.parts = parts[:0]
		if err != nil {
			return err
		}
		c.s.stats.bytesOut.Add(uint64(size))
		c.s.stats.writes.Add(1)
		batch = batch[n:]
	}
	return nil
}
