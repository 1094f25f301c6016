package main

import (
	"errors"
	"strings"
	"testing"

	"holdfast/durable"
	"holdfast/internal/config"
)

func TestHistory(t *testing.T) {
	cfg := &config.Config{State: t.TempDir(), Store: "redis://user:secret@store:6379", StateDomain: "default"}
	know := func(want string) {
		t.Helper()
		if got, err := knownHistory(cfg); err != nil || got != want {
			t.Errorf("known is %q, %v; want %q", got, err, want)
		}
	}
	know("")
	for _, epoch := range []string{"one", "one", "two"} {
		if err := keepHistory(cfg, epoch); err != nil {
			t.Fatal(err)
		}
		know(epoch)
	}
	// Another store, or another domain of it, has another history.
	cfg.StateDomain = "other"
	know("")
	cfg.StateDomain, cfg.Store = "default", "redis://elsewhere:6379"
	know("")
	if strings.Contains(historyOf(cfg), "secret") {
		t.Error("the password is kept")
	}
	if err := explainWiped(cfg, durable.ErrWiped); !errors.Is(err, durable.ErrWiped) || !strings.Contains(err.Error(), historyPath(cfg)) {
		t.Errorf("what to do is not told: %v", err)
	}
}
