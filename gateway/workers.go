package gateway

import "sync"

// workers run what may take a while. Idle ones are kept: a goroutine that has run
// a request has the stack that the next one needs.
type workers struct {
	max int // idle ones to keep

	mu     sync.Mutex
	idle   []chan job // the one idle for the shortest time is last
	closed bool
}

// A job is what a worker does: a request, or settling those of a connection.
type job interface{ work() }

// run has the job done in another goroutine.
func (p *workers) run(j job) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		w <- j
		return
	}
	p.mu.Unlock()
	go p.work(j)
}

func (p *workers) work(j job) {
	next := make(chan job, 1)
	for j != nil {
		j.work()
		p.mu.Lock()
		if p.closed || len(p.idle) >= p.max {
			p.mu.Unlock()
			return
		}
		p.idle = append(p.idle, next)
		p.mu.Unlock()
		j = <-next
	}
}

// close lets the idle workers go; those at work go when they are done.
func (p *workers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		w <- nil
	}
	p.idle = nil
}
