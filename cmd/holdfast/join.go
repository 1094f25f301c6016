package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"holdfast/durable"
	"holdfast/durable/pebble"
	"holdfast/durable/redis"
	"holdfast/internal/config"
	"holdfast/statesync"
	"holdfast/statesync/lifeline"
)

// patience is how long a gateway that starts waits for a shared store that does
// not answer. One that served already waits for ever.
const patience = 30 * time.Second

// join opens the store and joins the shared state.
func (g *whole) join(ctx context.Context, log *slog.Logger) error {
	cfg := g.cfg
	if !cfg.Shared() {
		store, err := openStore(filepath.Join(cfg.State, "store"), log)
		if err != nil {
			return err
		}
		g.store = store
		if g.node, err = g.joinState(ctx, store, log); err != nil {
			return fmt.Errorf("the state in %s cannot be used: %w", cfg.State, err)
		}
		return nil
	}
	for began := time.Now(); ; {
		err := g.joinShared(ctx, log)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("the shared state in %s: %w", shownStore(cfg), err)
		late := os.Getenv(keptSockets) == "" && time.Since(began) > patience
		if late || !errors.Is(err, durable.ErrUnavailable) && !errors.Is(err, durable.ErrUnknown) {
			return err
		}
		log.Warn("waiting for the shared state", "error", err)
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// joinShared is one try to join the state that several gateways share.
func (g *whole) joinShared(ctx context.Context, log *slog.Logger) error {
	cfg := g.cfg
	epoch, err := knownHistory(cfg)
	if err != nil {
		return err
	}
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	store, err := redis.Open(try, cfg.Store, redis.Options{
		// Who needs the store waits for it as long as there is something to wait for.
		Patience:      max(5*time.Second, cfg.StoreOutage),
		Domain:        cfg.StateDomain,
		AllowVolatile: cfg.AllowVolatile,
		Log:           log,
		Epoch:         epoch,
	})
	if err != nil {
		return explainWiped(cfg, err)
	}
	node, err := g.joinState(ctx, store, log)
	if err == nil {
		err = keepHistory(cfg, store.Epoch())
	}
	if err != nil {
		return errors.Join(err, store.Close())
	}
	g.store, g.node = store, node
	return nil
}

// shownStore is the store's URL without what is secret.
func shownStore(cfg *config.Config) string {
	shown, err := redis.ParseURL(cfg.Store)
	if err != nil {
		return "the store"
	}
	return shown
}

// openStore opens the embedded store and says plainly why it cannot be used.
func openStore(dir string, log *slog.Logger) (*pebble.Store, error) {
	s, err := pebble.Open(dir, pebble.Options{Log: log})
	switch {
	case errors.Is(err, durable.ErrInUse):
		return nil, fmt.Errorf("the state in %s is in use by another holdfast: stop it first, or choose another directory with --state (%w)", dir, err)
	case errors.Is(err, durable.ErrFormat):
		return nil, fmt.Errorf("the state in %s was written by another version of holdfast, or is not holdfast's: use that version, or choose another directory with --state (%w)", dir, err)
	case errors.Is(err, durable.ErrDamaged):
		return nil, fmt.Errorf("the state in %s is damaged, and guessing at who holds which lock could lose data. Look after the disk; to begin with empty state, move the directory away: clients then lose their open files and locks, not their data (%w)", dir, err)
	case err != nil:
		return nil, fmt.Errorf("the state in %s cannot be opened: %w", dir, err)
	}
	return s, nil
}

func (g *whole) joinState(ctx context.Context, store durable.Store, log *slog.Logger) (*statesync.Node, error) {
	cfg := g.cfg
	l := cfg.Limits
	// Arguments and results around the data of a READ or WRITE.
	message := uint32(l.IO) + 64<<10
	return statesync.Join(ctx, statesync.Config{
		Store:        store,
		Name:         cfg.Name,
		Lease:        cfg.Lease,
		Courtesy:     cfg.Courtesy,
		Shared:       cfg.Shared(),
		GatewayLease: cfg.GatewayLease,
		StoreOutage:  max(cfg.StoreOutage, 1), // 0 is the default there
		FenceHook:    fenceHook(cfg, log),
		Address:      g.address,
		Lifeline:     g.lifelineAt,
		Watch:        lifeline.Watch,
		Logger:       log,
		Limits: statesync.Limits{
			Slots:        uint32(l.Slots),
			Sessions:     l.Sessions,
			Opens:        l.Opens,
			Locks:        l.Locks,
			Operations:   uint32(l.Operations),
			RequestBytes: message,
			ReplyBytes:   message,
			CachedBytes:  uint32(l.CachedReply),
		},
	})
}

// fenceHook runs the administrator's command, if there is one.
func fenceHook(cfg *config.Config, log *slog.Logger) func(context.Context, statesync.Fenced) error {
	if cfg.FenceHook == "" {
		return nil
	}
	return func(ctx context.Context, who statesync.Fenced) error {
		instance := strconv.FormatUint(who.Instance, 10)
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", cfg.FenceHook, "fence-hook", who.Gateway, instance, who.Address)
		cmd.Env = append(os.Environ(), "HOLDFAST_GATEWAY="+who.Gateway, "HOLDFAST_INSTANCE="+instance, "HOLDFAST_ADDRESS="+who.Address)
		cmd.WaitDelay = time.Second // for what it left behind with its output
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %.500s", err, out)
		}
		log.Info("fencing hook ran", "gateway", who.Gateway, "instance", who.Instance)
		return nil
	}
}
