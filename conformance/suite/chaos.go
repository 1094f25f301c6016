package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
)

// chaos disturbs the servers while tests run. A nil one does nothing.
//
// Tests go on while a server is killed. Only those that a client cannot tell
// from a failure when their connection breaks (flag quiet) wait until it is over,
// and it waits for them.
type chaos struct {
	disturb func(ctx context.Context) error
	every   int32

	tests atomic.Int32
	under sync.WaitGroup
	slot  chan struct{} // one at a time
	still sync.RWMutex  // held shared by quiet tests, whole by a disturbance

	mu   sync.Mutex // guards what follows
	n    int
	errs []error
}

func newChaos(disturb func(ctx context.Context) error, every int) *chaos {
	return &chaos{disturb: disturb, every: int32(max(1, every)), slot: make(chan struct{}, 1)}
}

// ChaosCommand returns a disturbance that runs a command of the shell. Its
// environment has the number of the disturbance, from 0, as HOLDFAST_CHAOS.
func ChaosCommand(command string) func(ctx context.Context) error {
	var n atomic.Int32
	return func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.Env = append(os.Environ(), fmt.Sprintf("HOLDFAST_CHAOS=%d", n.Add(1)-1))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
		return nil
	}
}

// quiet keeps disturbances away until the function it returns is called.
func (c *chaos) quiet() (over func()) {
	if c == nil {
		return func() {}
	}
	c.still.RLock()
	return c.still.RUnlock
}

// tick counts a test that ended. When it is time, a disturbance begins, beside
// the tests that run and those that follow; it waits for the one before.
func (c *chaos) tick(ctx context.Context) {
	if c == nil || c.tests.Add(1)%c.every != 0 {
		return
	}
	c.slot <- struct{}{}
	c.under.Go(func() {
		defer func() { <-c.slot }()
		c.still.Lock()
		defer c.still.Unlock()
		err := c.disturb(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n++
		if err != nil {
			c.errs = append(c.errs, err)
		}
	})
}

// end waits for what is under way and tells what failed.
func (c *chaos) end() error {
	if c == nil {
		return nil
	}
	c.under.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.errs...)
}

func (c *chaos) count() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
