package durable

import (
	"errors"
	"fmt"
)

// The limits that every implementation keeps, so that a state that fits into
// one store fits into all of them.
const (
	// MaxKey is the longest group key in bytes; the shortest has one byte.
	MaxKey = 2048
	// MaxName is the longest part name in bytes; a name may be empty.
	MaxName = 2048
	// MaxValue is the longest value in bytes.
	MaxValue = 1 << 20
	// MaxBatch bounds the bytes of all keys, names and values of a batch.
	MaxBatch = 16 << 20
)

// ErrLimit says that a key, a name, a value or a batch is larger than a store
// takes, or that a key is empty. Nothing was written or read. It is a mistake
// of the caller, and trying again does not help.
var ErrLimit = errors.New("durable: beyond the store's limits")

// Validate returns an error that is ErrLimit if b is beyond the limits. Every
// Commit calls it.
func (b *Batch) Validate() error {
	total := 0
	for i := range b.Checks {
		if err := ValidateKey(b.Checks[i].Key); err != nil {
			return err
		}
		total += len(b.Checks[i].Key)
	}
	for i := range b.Writes {
		w := &b.Writes[i]
		if err := ValidateKey(w.Key); err != nil {
			return err
		}
		if len(w.Name) > MaxName {
			return fmt.Errorf("%w: part name of %d bytes", ErrLimit, len(w.Name))
		}
		if len(w.Value) > MaxValue {
			return fmt.Errorf("%w: value of %d bytes", ErrLimit, len(w.Value))
		}
		total += len(w.Key) + len(w.Name) + len(w.Value)
	}
	if b.Fence.Key != "" {
		if err := ValidateKey(b.Fence.Key); err != nil {
			return err
		}
		total += len(b.Fence.Key)
	}
	for _, key := range b.Forget {
		if err := ValidateKey(key); err != nil {
			return err
		}
		total += len(key)
	}
	if total > MaxBatch {
		return fmt.Errorf("%w: batch of %d bytes", ErrLimit, total)
	}
	return nil
}

// ValidateKey returns an error that is ErrLimit if key cannot name a group.
func ValidateKey(key string) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("%w: group key of %d bytes", ErrLimit, len(key))
	}
	return nil
}
