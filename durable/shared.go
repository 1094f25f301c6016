package durable

import (
	"context"
	"errors"
	"slices"
	"time"
)

// What a store that is shared by several gateways has besides. A caller asks by
// a type assertion.

// A Clock is a Store with a time of its own, the same for all who use it.
type Clock interface {
	// Now returns the store's time. It may step, as any wall clock. The error
	// is one of Load's.
	Now(ctx context.Context) (time.Time, error)
}

// An Epochal is a Store that can tell itself from another one.
type Epochal interface {
	// Epoch names the store's content as one history: it is chosen when the
	// store is made, and no other store ever has it.
	Epoch() string

	// Made says that this Open made the store: it was empty.
	Made() bool
}

// CommitFenced commits a batch with a fence to a store that knows only checks.
func CommitFenced(ctx context.Context, b *Batch, commit func(context.Context, *Batch) (Ack, error)) (Ack, error) {
	plain := *b
	plain.Fence = Check{}
	plain.Checks = append(slices.Clip(b.Checks), b.Fence)
	ack, err := commit(ctx, &plain)
	var c *Conflict
	if errors.As(err, &c) {
		for i := range c.Groups {
			if c.Groups[i].Key == b.Fence.Key && c.Groups[i].Version != b.Fence.Version {
				return nil, ErrFencedOut
			}
		}
	}
	return ack, err
}
