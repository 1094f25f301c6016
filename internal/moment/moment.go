// Package moment numbers what happens in this process, so that of two things it
// can be said which came first without comparing clocks.
//
// What is in memory is known to have been so at some moment; a request demands that
// it is known for a moment at least as late.
package moment

import "sync/atomic"

var last atomic.Uint64

// Next returns a moment later than all before it, from 1 on.
func Next() uint64 { return last.Add(1) }

// Now returns the last moment that Next returned: what begins after the call, is
// after whatever that moment stands for.
func Now() uint64 { return last.Load() }
