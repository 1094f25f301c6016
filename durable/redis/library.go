package redis

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
)

//go:embed functions.lua
var functions string

// The library's name tells its content, so that gateways of two versions of the
// program, as there are during an upgrade, do not take each other's functions
// away.
func library() (name, code string) {
	sum := sha256.Sum256([]byte(functions))
	name = "holdfast_" + hex.EncodeToString(sum[:6])
	return name, "#!lua name=" + name + "\n" + strings.ReplaceAll(functions, "NAME", name)
}

// loadLibrary brings the functions to the server.
func (s *Store) loadLibrary(ctx context.Context) error {
	_, code := library()
	err := s.rdb.Do(ctx, "FUNCTION", "LOAD", code).Err()
	if err != nil && strings.Contains(err.Error(), "already exists") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("loading the store's functions into Redis: %w", err)
	}
	return nil
}
