package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"holdfast/durable"
)

const (
	// maxBatches bounds how long one call keeps the server from everybody else:
	// some 10 µs each.
	maxBatches = 128
	// maxCall bounds the bytes of a call; a larger batch goes alone.
	maxCall = 1 << 20
	// largeTimeout is the time for the answer to a call beyond maxCall.
	largeTimeout = 30 * time.Second
)

// A lane sends one call after the other.
type lane struct {
	s  *Store
	id string
	n  uint64 // of the last call
}

func newLane(s *Store) *lane { return &lane{s: s, id: randomID(8)} }

func (l *lane) run() {
	var reqs []*request
	for {
		size := 0
		reqs = l.s.commits.take(reqs[:0], func(r *request) bool {
			size += r.size()
			return size <= maxCall && len(reqs) < maxBatches
		})
		if len(reqs) == 0 {
			return
		}
		l.deliver(reqs)
		clear(reqs)
	}
}

// deliver goes on until each request has its answer, or was left.
func (l *lane) deliver(reqs []*request) {
	var p pause
	for {
		var err error
		select {
		case <-l.s.stop:
			for _, r := range reqs {
				l.s.turnAway(r, durable.ErrClosed)
			}
			return
		default:
		}
		if reqs, err = l.try(reqs); len(reqs) == 0 {
			return
		}
		if err != nil {
			l.s.health.lost(err)
			if !p.wait(l.s.stop) {
				continue // to be ErrClosed
			}
		}
	}
}

func (l *lane) settleAll(reqs []*request, err error) {
	for _, r := range reqs {
		l.s.settle(r, err)
	}
}

// try sends the requests in one call. It returns those that were surely not
// done and are worth another try, after a pause if there is an error.
func (l *lane) try(reqs []*request) ([]*request, error) {
	s := l.s
	if reqs = begin(reqs); len(reqs) == 0 {
		return nil, nil
	}
	reply, err := l.call("commit", reqs)
	if err != nil && fateOf(err) == full {
		if reqs = l.onlyReleases(reqs); len(reqs) == 0 {
			return nil, nil
		}
		reply, err = l.call("release", reqs)
	}
	if err == nil {
		return l.answers(reqs, reply), nil
	}
	switch fateOf(err) {
	case unknown:
		s.health.lost(err)
		return l.resolve(reqs, err)
	case noFunc:
		err = s.loadLibrary(s.ctx)
	}
	return l.back(reqs), err
}

// onlyReleases refuses what needs memory.
func (l *lane) onlyReleases(reqs []*request) []*request {
	n := 0
	for _, r := range reqs {
		if r.releases {
			reqs[n] = r
			n++
		} else {
			l.s.settle(r, fmt.Errorf("%w: the memory of %s", durable.ErrFull, l.s.addr))
		}
	}
	return reqs[:n]
}

// begin marks the requests whose callers are still there as sent.
func begin(reqs []*request) []*request {
	n := 0
	for _, r := range reqs {
		if r.state.CompareAndSwap(waiting, sent) {
			reqs[n] = r
			n++
		}
	}
	return reqs[:n]
}

// back marks requests as not sent after all, and drops those that were left.
func (l *lane) back(reqs []*request) []*request {
	n := 0
	for _, r := range reqs {
		if r.state.CompareAndSwap(sent, waiting) {
			reqs[n] = r
			n++
		} else {
			l.s.gate.release()
		}
	}
	return reqs[:n]
}

// client has the time for an answer that a call of so many bytes needs.
func (s *Store) client(size int) *goredis.Client {
	if size <= maxCall {
		return s.rdb
	}
	return s.rdb.WithTimeout(max(largeTimeout, s.opts.Timeout))
}

// errUnconfirmed says that too few replicas have a call.
var errUnconfirmed = errors.New("too few replicas confirm what Redis was told")

// ask sends a command and, if so configured, WAIT after it. An answer comes
// without an error only if it is durable.
func (s *Store) ask(ctx context.Context, size int, command []any) ([]any, error) {
	if s.addr.replicas == 0 {
		return s.client(size).Do(ctx, command...).Slice()
	}
	pipe := s.client(size).Pipeline()
	first := pipe.Do(ctx, command...)
	wait := pipe.Do(ctx, "WAIT", s.addr.replicas, int64(s.opts.Timeout/time.Millisecond))
	_, err := pipe.Exec(ctx)
	reply, firstErr := first.Slice()
	switch {
	case firstErr != nil:
		return nil, firstErr
	case err != nil:
		return nil, fmt.Errorf("%w: %s", errUnconfirmed, err)
	}
	if n, err := wait.Int(); err != nil || n < s.addr.replicas {
		return nil, fmt.Errorf("%w: %d of %d", errUnconfirmed, n, s.addr.replicas)
	}
	return reply, nil
}

// call is one call of a function with the batches of the requests.
func (l *lane) call(function string, reqs []*request) ([]any, error) {
	s := l.s
	l.n++
	keys, size := 2, 0
	for _, r := range reqs {
		keys += len(r.keys)
		size += r.size()
	}
	command := make([]any, 0, 3+keys+5+len(reqs))
	command = append(command, "FCALL", s.lib+"_"+function, keys, s.meta, s.index)
	for _, r := range reqs {
		for _, key := range r.keys {
			command = append(command, key)
		}
	}
	command = append(command, s.epoch, l.id, l.n, s.floor.Load(), len(s.prefix))
	for _, r := range reqs {
		command = append(command, r.blob)
	}
	s.stats.calls.Add(1)
	s.stats.batches.Add(uint64(len(reqs)))
	return s.ask(s.ctx, size, command)
}

// answers gives each request its answer. It returns those that were not done
// and are worth another try.
func (l *lane) answers(reqs []*request, reply []any) []*request {
	s := l.s
	const header = 4 // ok, sequence, seconds, microseconds
	switch {
	case len(reply) == header+len(reqs) && reply[0] == "ok":
	case len(reply) > 0 && reply[0] == "late":
		return l.back(reqs)
	default:
		err := s.refusal(append(reply, "empty"))
		s.health.lost(err)
		l.settleAll(reqs, err)
		return nil
	}
	s.health.well()
	if seq, ok := reply[1].(int64); ok {
		s.acknowledged(uint64(seq))
	}
	for i, r := range reqs {
		s.settle(r, l.verdict(r, reply[header+i]))
	}
	return nil
}

// verdict is the answer to one batch.
func (l *lane) verdict(r *request, answer any) error {
	switch answer := answer.(type) {
	case int64:
		return nil
	case string:
		return durable.ErrFencedOut
	case []any:
		if len(answer) == 2 {
			if key, damaged := answer[0].(string); damaged {
				return fmt.Errorf("%w: %q: %v", durable.ErrDamaged, key, answer[1])
			}
		}
		c := &durable.Conflict{Groups: make([]durable.Group, 0, len(answer))}
		var large []int
		for _, one := range answer {
			pair, _ := one.([]any)
			if len(pair) != 2 {
				break
			}
			i, _ := pair[0].(int64)
			fields, whole := pair[1].([]any)
			if i < 1 || int(i) > len(r.names) {
				break
			}
			if !whole {
				large = append(large, len(c.Groups))
				c.Groups = append(c.Groups, durable.Group{Key: r.names[i-1]})
				continue
			}
			g, err := parseGroup(r.names[i-1], fields)
			if err != nil {
				return err
			}
			c.Groups = append(c.Groups, g)
		}
		if len(c.Groups) == len(answer) && len(answer) > 0 {
			l.s.stats.conflicts.Add(1)
			if large != nil {
				return &largeConflict{c, large}
			}
			return c
		}
	}
	return fmt.Errorf("%w: the functions in Redis gave no answer to a batch", durable.ErrDamaged)
}

// resolve finds out what became of the last call, for as long as it takes. It
// returns the requests that were not done, and never will be by that call.
func (l *lane) resolve(reqs []*request, cause error) ([]*request, error) {
	s := l.s
	var p pause
	for p.wait(s.stop) {
		reply, err := s.ask(s.ctx, 0, s.command("resolve", []string{s.meta}, []any{s.epoch, l.id, l.n, s.floor.Load()}))
		if err != nil {
			if fateOf(err) == noFunc {
				err = s.loadLibrary(s.ctx)
			}
			s.health.lost(err)
			continue
		}
		if len(reply) != 3 || reply[0] != "ok" {
			err := s.refusal(append(reply, "empty"))
			s.health.lost(err)
			l.settleAll(reqs, fmt.Errorf("%w: %w", durable.ErrUnknown, err))
			return nil, nil
		}
		results, _ := reply[2].(string)
		if inFunction := goredis.Error(nil); results == "" && errors.As(cause, &inFunction) {
			// The server ran the function and it failed, where it cannot.
			s.health.lost(cause)
			l.settleAll(reqs, fmt.Errorf("%w: %w: %w", durable.ErrUnknown, durable.ErrDamaged, cause))
			return nil, nil
		}
		if seq, ok := reply[1].(int64); ok {
			s.acknowledged(uint64(seq))
		}
		s.stats.resolved.Add(1)
		s.health.well()
		n := 0
		for i, r := range reqs {
			if i < len(results) && results[i] == '1' {
				s.settle(r, nil)
			} else {
				reqs[n] = r
				n++
			}
		}
		return l.back(reqs[:n]), nil
	}
	l.settleAll(reqs, fmt.Errorf("%w: the store was closed: %w", durable.ErrUnknown, s.health.reason()))
	return nil, nil
}
