// Package together lets calls that want the same costly thing at the same time,
// such as a sync of one file, share one run of it.
//
//	nobody waits ──▶ a round is open ──▶ it is closed and runs ──▶ done
//	                   │ others join       │ who comes now opens the next,
//	                   │                   │ which runs when this one is done
//
// The first of a round leads it: no goroutine is woken only to wake others.
package together

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// ErrCut is what the others of a round get whose run panicked.
var ErrCut = errors.New("a shared run was cut off")

// Calls share runs. The zero value is ready. Its method may be called by any
// number of goroutines.
type Calls struct {
	began atomic.Uint64 // runs

	mu   sync.Mutex // held for memory only
	open *round     // may be joined
	last *round     // the one that was closed last, perhaps still running
}

type round struct {
	number uint64 // of its run, from 1 on; set when it is closed
	done   sync.WaitGroup
	err    error // set before done
}

// A Mark is a moment, as Since knows it.
type Mark uint64

// Now is the present moment.
func (c *Calls) Now() Mark { return Mark(c.began.Load()) }

// Since returns the result of a run that began after m: of the last one, which
// may have ended long ago, if that did.
func (c *Calls) Since(m Mark, do func() error) error {
	c.mu.Lock()
	r := c.last
	c.mu.Unlock()
	if r == nil || r.number <= uint64(m) {
		return c.Do(do)
	}
	r.done.Wait()
	return r.err
}

// Do returns the result of a run of do that began after Do was called. One runs
// at a time.
func (c *Calls) Do(do func() error) error {
	c.mu.Lock()
	r := c.open
	if r != nil {
		c.mu.Unlock()
		r.done.Wait()
		return r.err
	}
	r = &round{err: ErrCut}
	r.done.Add(1)
	before := c.last
	c.open = r
	c.mu.Unlock()
	if before != nil {
		before.done.Wait()
	}
	// Whoever can run now may be about to join. Where nobody can this costs
	// nothing.
	runtime.Gosched()
	c.mu.Lock()
	c.open, c.last = nil, r
	r.number = c.began.Add(1)
	c.mu.Unlock()
	defer r.done.Done()
	r.err = do()
	return r.err
}
