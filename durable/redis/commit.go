package redis

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"holdfast/durable"
)

// The states of a request.
const (
	waiting int32 = iota // nothing is sent
	sent                 // the outcome is open
	decided              // the answer is there
	left                 // the caller went without an answer
)

// A request is a Commit that waits.
type request struct {
	*pack
	state  atomic.Int32
	answer chan error // of capacity 1
}

// Commit implements durable.Store.
func (s *Store) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	r := &request{pack: encode(b, s.prefix), answer: make(chan error, 1)}
	if !s.commits.put(r) {
		return nil, durable.ErrClosed
	}
	patience := time.NewTimer(s.opts.Patience)
	defer patience.Stop()
	ended := ctx.Done()
	for {
		select {
		case err := <-r.answer:
			if err != nil {
				return nil, s.complete(ctx, err)
			}
			return ack{}, nil
		case <-ended:
			if r.state.CompareAndSwap(waiting, left) {
				return nil, s.unavailable(ctx.Err())
			}
			ended = nil // it was sent: the answer is worth its time
		case <-patience.C:
			if err := s.leave(r); err != nil {
				return nil, err
			}
		}
	}
}

// leave gives up on a request, unless its answer is there.
func (s *Store) leave(r *request) error {
	for r.state.Load() != decided {
		if r.state.CompareAndSwap(waiting, left) {
			return s.unavailable(nil)
		}
		s.gate.shut()
		if r.state.CompareAndSwap(sent, left) {
			s.stats.unknown.Add(1)
			return fmt.Errorf("%w: %w", durable.ErrUnknown, s.health.reason())
		}
		s.gate.release()
	}
	return nil
}

// unavailable is the error for a call that reached nothing.
func (s *Store) unavailable(cause error) error {
	if cause != nil {
		return fmt.Errorf("%w: %w (%w)", durable.ErrUnavailable, s.health.reason(), cause)
	}
	return fmt.Errorf("%w: %w", durable.ErrUnavailable, s.health.reason())
}

// settle gives a request its answer.
func (s *Store) settle(r *request, err error) {
	if r.state.CompareAndSwap(sent, decided) {
		r.answer <- err
	} else {
		s.gate.release() // its caller left
	}
}

// turnAway answers a request that was not sent.
func (s *Store) turnAway(r *request, err error) {
	if r.state.CompareAndSwap(waiting, decided) {
		r.answer <- err
	}
}

// ack is of a batch that was durable when its Commit returned.
type ack struct{}

// Wait implements durable.Ack.
func (ack) Wait() error { return nil }
