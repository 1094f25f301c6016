package gateway

import "sync"

// workers run requests that may take a while. Idle ones are kept: a goroutine
// that has run a request has the stack that the next one needs.
type workers struct {
	max int // idle ones to keep

	mu     sync.Mutex
	idle   []chan *request // the one idle for the shortest time is last
	closed bool
}

// run has the request run in another goroutine.
func (p *workers) run(req *request) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		w <- req
		return
	}
	p.mu.Unlock()
	go p.work(req)
}

func (p *workers) work(req *request) {
	next := make(chan *request, 1)
	for req != nil {
		req.work()
		p.mu.Lock()
		if p.closed || len(p.idle) >= p.max {
			p.mu.Unlock()
			return
		}
		p.idle = append(p.idle, next)
		p.mu.Unlock()
		req = <-next
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
