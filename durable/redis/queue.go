package redis

import (
	"context"
	"sync"
)

// A queue holds what waits for a goroutine that takes all of it at once, up to a bound.
type queue[T any] struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []T
	closed bool
}

func (q *queue[T]) init() { q.filled.L = &q.mu }

// put returns false if the queue was closed.
func (q *queue[T]) put(item T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, item)
	q.filled.Signal()
	return true
}

// take waits for items, and appends to into as many as more allows. It takes at
// least one. It returns none when the queue is closed and empty.
func (q *queue[T]) take(into []T, more func(T) bool) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 {
		if q.closed {
			return into
		}
		q.filled.Wait()
	}
	n := 0
	for n < len(q.items) && (more(q.items[n]) || n == 0) {
		n++
	}
	into = append(into, q.items[:n]...)
	rest := copy(q.items, q.items[n:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
	if rest > 0 {
		q.filled.Signal()
	}
	return into
}

func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}

// A gate is shut while there are commits whose callers left without knowing
// the outcome.
type gate struct {
	mu   sync.Mutex
	n    int
	open chan struct{} // closed when n is 0 again
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n == 0 {
		g.open = make(chan struct{})
	}
	g.n++
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 {
		close(g.open)
	}
}

// pass waits until the gate is open, or returns false.
func (g *gate) pass(ctx context.Context) bool {
	g.mu.Lock()
	n, open := g.n, g.open
	g.mu.Unlock()
	if n == 0 {
		return true
	}
	select {
	case <-open:
		return true
	case <-ctx.Done():
		return false
	}
}
