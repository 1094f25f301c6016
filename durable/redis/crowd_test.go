package redis_test

import (
	"context"
	"sync/atomic"

	"holdfast/durable"
)

// A crowd is several stores on the same records, used in turn.
type crowd struct {
	stores []durable.Store
	n      atomic.Uint64
}

func (c *crowd) next() durable.Store { return c.stores[c.n.Add(1)%uint64(len(c.stores))] }

func (c *crowd) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	return c.next().Load(ctx, keys...)
}

func (c *crowd) LoadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	return c.next().LoadParts(ctx, key, names...)
}

func (c *crowd) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	return c.next().Commit(ctx, b)
}

func (c *crowd) Scan(ctx context.Context, prefix string, fn func(durable.Group) bool) error {
	return c.next().Scan(ctx, prefix, fn)
}

func (c *crowd) Close() error {
	var first error
	for _, s := range c.stores {
		if err := s.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
