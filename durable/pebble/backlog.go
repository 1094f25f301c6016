package pebble

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"holdfast/durable"
)

const (
	// maxBacklog is how many memtables may wait for their flush: a burst
	// outruns the disk for a while without a stall. Pebble begins with small
	// ones, of 256 KiB, 512 KiB and so on, and flushes none before half the full
	// size has come together: with 16 MiB these are six.
	maxBacklog = 6
	// stallBacklog is where Pebble itself stops writes, in memtables of full
	// size. It is out of reach: commits that are past wait when the backlog
	// fills up are small against the difference.
	stallBacklog = 2 * maxBacklog
)

// backlog counts the memtables that wait for their flush, and holds commits
// back while there are too many. Pebble would do so too, but inside the commit:
// there a commit waits for a flush for which a full disk has no space, and
// with it everything that comes after it, and Close. Here it is refused when the
// disk turns out to be full.
type backlog struct {
	n atomic.Int64

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when it is worth another look
}

func (b *backlog) init() { b.changed = make(chan struct{}) }

// rotated notes that a memtable was closed, to be flushed.
func (b *backlog) rotated() { b.n.Add(1) }

// flushed notes that n memtables are needed no more. A batch that is too large
// for a memtable counts here, though not in rotated.
func (b *backlog) flushed(n int) {
	if left := b.n.Add(-int64(n)); left < 0 {
		b.n.CompareAndSwap(left, 0)
	}
	b.look()
}

// look lets those who wait look again.
func (b *backlog) look() {
	b.mu.Lock()
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
}

// wait waits until the backlog is short enough or nothing may be committed
// anyway.
func (b *backlog) wait(ctx context.Context, s *Store) error {
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		if b.n.Load() < maxBacklog || s.space.level.Load() == full || s.health.failed.Load() {
			return nil
		}
		select {
		case <-changed:
		case <-s.health.down:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", durable.ErrUnavailable, ctx.Err())
		}
	}
}
