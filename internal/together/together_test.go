package together

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A call is served by a run that began after it asked, and runs do not overlap.
func TestDo(t *testing.T) {
	var c Calls
	var asked, covered atomic.Int64
	var running atomic.Bool
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				mine := asked.Add(1)
				if err := c.Do(func() error {
					if running.Swap(true) {
						t.Error("two runs at once")
					}
					covered.Store(asked.Load())
					running.Store(false)
					return nil
				}); err != nil {
					t.Error(err)
				}
				if covered.Load() < mine {
					t.Error("a call came back without a run after it")
				}
			}
		})
	}
	wg.Wait()
}

// Calls that come while a run is under way share the next one, and its error.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Calls
		end := make(chan struct{})
		go c.Do(func() error { <-end; return nil })
		synctest.Wait()
		sad := errors.New("sad")
		var runs atomic.Int64
		for range 8 {
			go func() {
				if err := c.Do(func() error { runs.Add(1); return sad }); err != sad {
					t.Errorf("got %v", err)
				}
			}()
		}
		synctest.Wait()
		if n := runs.Load(); n != 0 {
			t.Errorf("%d runs beside another", n)
		}
		close(end)
		synctest.Wait()
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs for those who waited together", n)
		}
	})
}

// A panic of the run is the leader's; who waited for it is told.
func TestCut(t *testing.T) {
	var c Calls
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		c.Do(func() error { panic("oh") })
	}()
	if err := c.Do(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// Since runs nothing for a mark that a run covers, waits for one that runs, and
// begins one for a mark that was made after that began.
func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Calls
		runs := 0
		quick := func() error { runs++; return nil }
		first := c.Now()
		for range 3 {
			if err := c.Since(first, quick); err != nil || runs != 1 {
				t.Fatalf("%v after %d runs", err, runs)
			}
		}
		before := c.Now()
		end, sad := make(chan struct{}), errors.New("sad")
		go c.Since(before, func() error { <-end; return sad })
		synctest.Wait()
		during := c.Now()
		var ended atomic.Int64
		go func() {
			if err := c.Since(before, quick); err != sad {
				t.Errorf("what runs: %v", err)
			}
			ended.Add(1)
		}()
		go func() {
			if err := c.Since(during, quick); err != nil {
				t.Errorf("what comes next: %v", err)
			}
			ended.Add(1)
		}()
		synctest.Wait()
		if n := ended.Load(); n != 0 {
			t.Errorf("%d did not wait", n)
		}
		close(end)
		synctest.Wait()
		if n := ended.Load(); n != 2 || runs != 2 {
			t.Errorf("%d ended after %d runs", n, runs)
		}
	})
}
