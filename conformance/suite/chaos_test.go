package suite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A disturbance comes after each so many tests, one at a time, and all that
// failed is told at the end.
func TestChaosTicks(t *testing.T) {
	var running, most, n atomic.Int32
	failure := errors.New("the third fails")
	c := newChaos(func(context.Context) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if n.Add(1) == 3 {
			return failure
		}
		return nil
	}, 5)
	for range 29 {
		c.tick(t.Context())
	}
	if err := c.end(); !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
	if c.count() != 5 || n.Load() != 5 || most.Load() != 1 {
		t.Errorf("%d counted, %d made, %d at once", c.count(), n.Load(), most.Load())
	}
}

// A quiet test keeps a disturbance away until it is over.
func TestChaosQuiet(t *testing.T) {
	var over atomic.Bool
	c := newChaos(func(context.Context) error {
		if !over.Load() {
			return errors.New("a disturbance beside a quiet test")
		}
		return nil
	}, 1)
	first, second := c.quiet(), c.quiet()
	c.tick(t.Context())
	first()
	over.Store(true)
	second()
	if err := c.end(); err != nil || c.count() != 1 {
		t.Errorf("%v, %d", err, c.count())
	}
}

// Where there is no chaos nothing is done, and nothing waits.
func TestNoChaos(t *testing.T) {
	var c *chaos
	c.tick(t.Context())
	c.quiet()()
	if c.end() != nil || c.count() != 0 {
		t.Error("a nil chaos does something")
	}
}

// The command has its number, and what it said is in the error.
func TestChaosCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "numbers")
	t.Setenv("FILE", file)
	disturb := ChaosCommand(`echo $HOLDFAST_CHAOS >> "$FILE"; [ $HOLDFAST_CHAOS != 2 ] || { echo oh dear >&2; exit 7; }`)
	for n := range 3 {
		err := disturb(t.Context())
		if (err != nil) != (n == 2) || n == 2 && (!strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "oh dear")) {
			t.Errorf("%d: %v", n, err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "0\n1\n2\n" {
		t.Errorf("%q, %v", got, err)
	}
}
