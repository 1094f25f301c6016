package gateway

// owe keeps a request that ran, until what it changed is on stable storage. The
// reader's are settled together: it goes on with the requests that it has at hand,
// and flush, before it waits for more, has all of them settled by one worker, with
// one sync and, mostly, one system call for the replies.
func (c *conn) owe(req *request, byReader bool) {
	c.mu.Lock()
	c.owed = append(c.owed, req)
	if byReader {
		c.flight++
	}
	full := len(c.owed) >= gatherReplies
	c.mu.Unlock()
	if !byReader || full {
		c.flush()
	}
}

// A debtor is a connection whose owed requests are being settled, by one worker at
// a time: what comes meanwhile waits for it, and so shares the next sync.
type debtor conn

func (d *debtor) work() {
	c := (*conn)(d)
	for {
		c.mu.Lock()
		batch := c.owed
		if len(batch) == 0 {
			c.settling = false
			last := c.settle()
			c.mu.Unlock()
			if last {
				c.end()
			}
			return
		}
		c.owed, c.spareOwed = c.spareOwed, nil
		c.mu.Unlock()
		for _, req := range batch {
			req.handle(req.call.Settle)
			c.answer(req.take())
		}
		clear(batch)
		c.mu.Lock()
		c.spareOwed = batch[:0]
		c.mu.Unlock()
		c.flush()
	}
}

// answer queues the reply of a request that is counted in flight.
func (c *conn) answer(r reply) {
	c.mu.Lock()
	c.enqueue(r)
	c.flight--
	c.changed.Broadcast()
	c.mu.Unlock()
}
