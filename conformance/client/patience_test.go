package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/internal/nfs4"
)

// RFC 8881 §15.1.1.3: after NFS4ERR_DELAY the client tries again; any other end
// is the end, and the context ends the waiting.
func TestPatience(t *testing.T) {
	delay := &OpError{Op: nfs4.OpSetClientID, Status: nfs4.ErrDelay}
	broken := errors.New("the connection broke")
	for _, want := range []error{nil, broken, &OpError{Op: nfs4.OpSetClientID, Status: nfs4.ErrInval}} {
		tries := 0
		err := Patiently(context.Background(), time.Minute, func() error {
			if tries++; tries < 3 {
				return delay
			}
			return want
		})
		if tries != 3 || !errors.Is(err, want) {
			t.Errorf("%d tries: %v, want %v", tries, err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	tries := 0
	err := Patiently(ctx, time.Minute, func() error {
		tries++
		cancel()
		return delay
	})
	if tries != 1 || !errors.Is(err, delay) {
		t.Errorf("%d tries after the end: %v", tries, err)
	}
	if err := Patiently(context.Background(), 0, func() error { return delay }); !errors.Is(err, delay) {
		t.Errorf("without patience: %v", err)
	}
}
