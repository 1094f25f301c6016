package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"holdfast/durable"
)

// health says whether the store may still be used. It fails once and for good.
type health struct {
	log    *slog.Logger
	failed atomic.Bool
	mu     sync.Mutex
	why    error
	// down is closed when the store has failed or is being closed: whoever
	// waits for better times stops.
	down   chan struct{}
	isDown bool
	// dead is closed when the store has failed.
	dead chan struct{}
}

func newHealth(log *slog.Logger) *health {
	return &health{log: log, down: make(chan struct{}), dead: make(chan struct{})}
}

// fail ends the store, unless it has failed already.
func (h *health) fail(cause error) {
	h.mu.Lock()
	first := h.why == nil
	if first {
		h.why = cause
		h.failed.Store(true)
		close(h.dead)
		h.shut()
	}
	h.mu.Unlock()
	if first {
		h.log.Error("state store failed: no state change is possible until it is opened again", "error", cause)
	}
}

// shutDown ends all waiting.
func (h *health) shutDown() {
	h.mu.Lock()
	h.shut()
	h.mu.Unlock()
}

func (h *health) shut() {
	if !h.isDown {
		h.isDown = true
		close(h.down)
	}
}

// cause is why the store failed, or nil.
func (h *health) cause() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

// err is nil, or an error that is ErrDamaged or ErrUnavailable.
func (h *health) err() error {
	if !h.failed.Load() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if errors.Is(h.why, durable.ErrDamaged) {
		return h.why
	}
	return fmt.Errorf("%w: the store has failed: %w", durable.ErrUnavailable, h.why)
}

// unknown is the error of a commit that the failure overtook.
func (h *health) unknown() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Errorf("%w: %w", durable.ErrUnknown, h.why)
}
