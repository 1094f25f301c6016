package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"holdfast/durable"
	"holdfast/internal/config"
)

// historyName is the file in the state directory that says which history the shared store held when this gateway served from
// it last:
//
//	URL of the store and name of the state domain
//	epoch
//
// A gateway that starts would otherwise take a store that was emptied for a new one, and grant again what clients hold.
const historyName = "shared-history"

func historyPath(cfg *config.Config) string { return filepath.Join(cfg.State, historyName) }

func historyOf(cfg *config.Config) string { return shownStore(cfg) + " " + cfg.StateDomain }

// knownHistory returns the epoch that the configured store must have, "" if this gateway never served from it.
func knownHistory(cfg *config.Config) (string, error) {
	text, err := os.ReadFile(historyPath(cfg))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	where, epoch, _ := strings.Cut(strings.TrimRight(string(text), "\n"), "\n")
	if where != historyOf(cfg) {
		return "", nil
	}
	return epoch, nil
}

// keepHistory notes the store's epoch for the next start.
func keepHistory(cfg *config.Config, epoch string) error {
	path := historyPath(cfg)
	text := historyOf(cfg) + "\n" + epoch + "\n"
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	f, err := os.CreateTemp(cfg.State, historyName+"-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// explainWiped says what to do about a store that is not what it was.
func explainWiped(cfg *config.Config, err error) error {
	if !errors.Is(err, durable.ErrWiped) {
		return err
	}
	return fmt.Errorf("%w. Who holds which lock cannot be told from it, so nothing is granted. Bring the right data back; or, to "+
		"begin with empty state (clients then lose their open files and locks, not their data), stop all gateways, empty the state "+
		"domain, and remove %s on each of them", err, historyPath(cfg))
}
