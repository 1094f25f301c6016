package statesync

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"holdfast/durable"
	"holdfast/durable/memory"
)

// wipeable is a store that may turn out to be another one.
type wipeable struct {
	durable.Store
	wiped atomic.Bool
}

func (w *wipeable) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	if w.wiped.Load() {
		return nil, fmt.Errorf("%w: another epoch", durable.ErrWiped)
	}
	return w.Store.Load(ctx, keys...)
}

func (w *wipeable) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if w.wiped.Load() {
		return nil, fmt.Errorf("%w: another epoch", durable.ErrWiped)
	}
	return w.Store.Commit(ctx, b)
}

// TestWiped: a gateway whose store was wiped grants nothing, says why, and is not talked into serving again by a store that seems
// to be well.
func TestWiped(t *testing.T) {
	store := &wipeable{Store: memory.New()}
	w := &world{t: t, store: store, clock: &fakeClock{}, fs: newFakeFS()}
	w.join()
	t.Cleanup(func() { _ = w.n.Close(context.Background()) })
	c := w.client41("a")
	open := c.mustOpen("f")
	if err := w.n.MayServe(); err != nil {
		t.Fatal(err)
	}
	store.wiped.Store(true)
	if _, err := c.lockVia("f", open, "l", 0, 5); err == nil {
		t.Error("a lock was granted by a store that was wiped")
	}
	for _, wiped := range []bool{true, false} {
		store.wiped.Store(wiped)
		err := w.n.MayServe()
		if !errors.Is(err, ErrFenced) || !errors.Is(err, durable.ErrWiped) {
			t.Errorf("wiped %v: MayServe says %v", wiped, err)
		}
	}
	if _, err := c.lockVia("f", open, "l", 0, 5); err == nil {
		t.Error("a lock was granted afterwards")
	}
}
