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
)

// ErrCut is what the others of a round get whose run panicked.
var ErrCut = errors.New("a shared run was cut off")

// Calls share runs. The zero value is ready. Its method may be called by any
// number of goroutines.
type Calls struct {
	mu   sync.Mutex // held for memory only
	open *round     // may be joined
	last *round     // the one that was closed last, perhaps still running
}

type round struct {
	done sync.WaitGroup
	err  error // set before done
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
	c.mu.Unlock()
	defer r.done.Done()
	r.err = do()
	return r.err
}
