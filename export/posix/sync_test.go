//go:build linux

package posix

import (
	"errors"
	"runtime"
	"sync"
	"testing"
)

// Those who come while a sync runs share the next one, which begins after they
// asked; none is served by the one that runs.
func TestSyncsAreShared(t *testing.T) {
	var g syncGroups
	g.init()
	key := []byte("dir")
	var mu sync.Mutex
	runs := 0
	begun, finish := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		g.do(key, func() error {
			close(begun)
			<-finish
			return nil
		})
	})
	<-begun
	const callers = 10
	bad := errors.New("disk")
	errs := make(chan error, callers)
	for range callers {
		go func() {
			errs <- g.do(key, func() error {
				mu.Lock()
				defer mu.Unlock()
				runs++
				return bad
			})
		}()
	}
	// One leads the next round; wait until it is there.
	for {
		g.mu.Lock()
		waiting := g.groups["dir"].next != nil
		g.mu.Unlock()
		if waiting {
			break
		}
		runtime.Gosched()
	}
	mu.Lock()
	if runs != 0 {
		t.Error("a sync of the same object ran beside another")
	}
	mu.Unlock()
	close(finish)
	first.Wait()
	for range callers {
		if err := <-errs; !errors.Is(err, bad) {
			t.Errorf("a caller got %v", err)
		}
	}
	if runs < 1 || runs > callers {
		t.Errorf("%d syncs", runs)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.groups) != 0 {
		t.Error("groups are left")
	}
}

// Other objects are not waited for.
func TestSyncsOfOthersDoNotWait(t *testing.T) {
	var g syncGroups
	g.init()
	begun, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		g.do([]byte("a"), func() error {
			close(begun)
			<-finish
			return nil
		})
	})
	<-begun
	if err := g.do([]byte("b"), func() error { return nil }); err != nil {
		t.Error(err)
	}
	close(finish)
	wg.Wait()
}
