package pebble

import (
	"context"
	"time"
)

// reclaimPause is the least time between two attempts to win space back.
const reclaimPause = 2 * time.Second

// reclaim wins space back while the disk is nearly full. What is deleted takes
// space until a flush and a compaction have passed over it, and Pebble does
// these when much was written: just what does not happen now.
func (s *Store) reclaim() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.health.down:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		select {
		case <-s.health.down:
			return
		case <-s.released:
		}
		start := time.Now()
		if s.space.level.Load() != roomy {
			s.compact(ctx)
			s.space.look()
		}
		// On a large store this is work for minutes: let it be a small share of
		// the time.
		if !s.guard.pause(max(reclaimPause, 9*time.Since(start))) {
			return
		}
	}
}

func (s *Store) compact(ctx context.Context) {
	done, err := s.db.AsyncFlush()
	if err == nil {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		err = s.db.Compact(ctx, []byte{groupSpace}, []byte{groupSpace + 1}, false)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("state store: cannot win space back yet", "error", err)
	}
}

// releasing notes that something was deleted while the disk is nearly full.
func (s *Store) releasing() {
	select {
	case s.released <- struct{}{}:
	default:
	}
}
