package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/statesync"
)

// watchLease drops all connections as soon as this gateway may not serve any
// more, so that its clients go to another one instead of waiting.
func (g *whole) watchLease(ctx context.Context, log *slog.Logger) {
	if !g.cfg.Shared() {
		return
	}
	tick := time.NewTicker(max(g.cfg.GatewayLease/50, 10*time.Millisecond))
	defer tick.Stop()
	serving := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		may := g.node.MayServe() == nil
		if may == serving {
			continue
		}
		if serving = may; may {
			log.Info("the gateway's lease is renewed: it serves again")
		} else {
			log.Error("the gateway's lease is over: nothing is served until the shared state is reached again")
			g.gateway.Disconnect(statesync.ErrFenced)
		}
	}
}

// rejoin begins anew after the other gateways have declared this one dead: the
// program replaces itself, so that nothing it had in memory and no request
// that was under way outlives its membership. The listening sockets stay. It
// returns only if it failed.
func (g *whole) rejoin(log *slog.Logger) error {
	log.Warn("this gateway was declared dead by another one: it begins anew")
	sockets, err := g.gateway.Sockets()
	g.gateway.Close() // resets all connections
	if err != nil {
		return fmt.Errorf("beginning anew: %w", err)
	}
	var kept []string
	for _, f := range sockets {
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_SETFD, 0); errno != 0 {
			return fmt.Errorf("beginning anew: %w", errno)
		}
		kept = append(kept, strconv.Itoa(int(f.Fd())))
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("beginning anew: %w", err)
	}
	if _, err := os.Stat(program); err != nil {
		program = "/proc/self/exe" // it was replaced meanwhile; this one goes on
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, keptSockets+"=") || strings.HasPrefix(v, "LISTEN_")
	})
	env = append(env, keptSockets+"="+strings.Join(kept, ","))
	syscall.Umask(g.umask)
	err = syscall.Exec(program, os.Args, env)
	runtime.KeepAlive(sockets)
	return fmt.Errorf("beginning anew: %w", err)
}
