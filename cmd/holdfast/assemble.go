package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	nfs "github.com/willscott/go-nfs"

	"holdfast/durable"
	"holdfast/export/exports"
	"holdfast/gateway"
	"holdfast/gateway/admin"
	"holdfast/gateway/nfsv3"
	"holdfast/internal/config"
	"holdfast/nfsops"
	"holdfast/statesync"
	"holdfast/statesync/lifeline"
	"holdfast/statesync/peer"
)

// closing bounds how long the state is waited for at the end.
const closing = 20 * time.Second

// spareFiles are descriptors for everything but connections and the files of
// clients.
const spareFiles = 256

// standstill is for how long the process may not run until its clients may have gone
// elsewhere. deploy/haproxy needs 0.85 s at least to give one up.
const standstill = 750 * time.Millisecond

// whole is a gateway with everything under it.
type whole struct {
	cfg     *config.Config
	started time.Time
	made    []string // directories that were made
	notes   []string
	trees   []tree
	store   durable.Store
	node    *statesync.Node
	peers   *peer.Channel // or nil
	address string        // of this machine, towards the store; may be empty

	lifeline   *lifeline.Listener // or nil
	lifelineAt string             // where the others find it

	ops     *nfsops.Server
	gateway *gateway.Server
	web     []web
	umask   int // before assemble
}

// assemble builds the gateway from the store up; it listens when assemble
// returns. On an error everything is let go of again. leave is what an
// administrator's drain calls.
func assemble(ctx context.Context, cfg *config.Config, log *slog.Logger, leave func()) (_ *whole, err error) {
	g := &whole{cfg: cfg, started: time.Now()}
	defer func() {
		if err != nil {
			g.close(log)
		}
	}()
	files := raiseFiles(log)
	if os.Getenv("GOGC") == "" {
		// Requests live in pooled memory; what is left is small, and
		// collecting it less often is worth its space.
		debug.SetGCPercent(400)
	}
	if err := g.makeDirs(); err != nil {
		return nil, err
	}
	if err := g.openLifeline(); err != nil {
		return nil, err
	}
	if err := g.join(ctx, log); err != nil {
		return nil, err
	}
	if g.lifeline != nil {
		g.lifeline.Serve(cfg.Name, g.node.Instance())
	}
	if err := g.joinPeers(log); err != nil {
		return nil, err
	}
	if g.trees, err = openTrees(cfg); err != nil {
		return nil, err
	}
	list := make([]*exports.Export, len(g.trees))
	for i := range g.trees {
		list[i] = g.trees[i].export
		g.notes = append(g.notes, g.trees[i].notes...)
	}
	set, err := exports.New(g.node.Identity().HandleKey, list)
	if err != nil {
		return nil, err
	}
	operations := admin.NewOperations()
	g.ops, err = nfsops.New(nfsops.Config{
		Node:         g.node,
		Exports:      set,
		Logger:       log,
		Observe:      operations.Observe,
		Names:        cfg.Names,
		Domain:       cfg.Domain,
		MaxOpenFiles: cfg.Limits.OpenFiles,
		MaxOps:       cfg.Limits.Operations,
		MaxTag:       int(cfg.Limits.Tag),
		MaxIO:        int(cfg.Limits.IO),
	})
	if err != nil {
		return nil, err
	}
	front := g.gatewayConfig(set, files, log)
	if front.Listeners, err = inherited(os.Getenv, os.Getpid()); err != nil {
		return nil, err
	}
	if g.gateway, err = gateway.New(front); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		g.gateway.Collector(), operations)
	g.web, err = listenWeb(cfg, admin.Config{
		Server:   g.gateway,
		State:    g.node,
		Describe: g.describe,
		Path:     func(f statesync.FileKey) string { return nameFile(set, f) },
		Drain:    leave,
		Ready:    g.ready,
		Registry: registry,
		Logger:   log,
	})
	if err != nil {
		return nil, err
	}
	g.node.Introduce(ctx)
	// The modes of new objects are the clients' business. Everything of ours
	// that needs a mask has been made.
	g.umask = syscall.Umask(0)
	return g, nil
}

func (g *whole) gatewayConfig(set *exports.Set, files int, log *slog.Logger) gateway.Config {
	l := g.cfg.Limits
	most := max(files-l.OpenFiles-spareFiles, 64)
	switch {
	case l.Connections == 0:
		l.Connections = most
	case l.Connections > most:
		l.Connections = most
		g.notes = append(g.notes, fmt.Sprintf("at most %d connections at once: the system allows this process %d open files (ulimit -n)", l.Connections, files))
	}
	cfg := gateway.Config{
		Listen:  g.cfg.Listen,
		Proxies: g.cfg.Proxies,
		Handler: g.ops,
		Logger:  log,
		Limits: gateway.Limits{
			Connections: l.Connections,
			PerAddress:  l.ConnectionsPerAddress,
			InFlight:    l.RequestsPerConnection,
			Record:      int(l.IO) + 256<<10,
			Memory:      l.RequestMemory,
			FirstCall:   l.FirstCall,
			Stuck:       l.Stuck,
		},
	}
	if g.cfg.Shared() {
		cfg.Standstill = standstill
	}
	if g.cfg.NFSv3 {
		// The library prints every error that it answers a client with.
		nfs.Log.SetLevel(nfs.FatalLevel)
		cfg.NFSv3 = nfsv3.New(nfsv3.Config{
			Exports: set,
			Async:   g.async,
			Restart: g.node.WriteVerifier(),
			Logger:  log,
		})
		g.notes = append(g.notes, "NFSv3 clients: everybody is the anonymous user, there are no locks, and a request that is sent again is carried out again")
	}
	return cfg
}

// async says whether an export was configured so.
func (g *whole) async(e *exports.Export) bool {
	for _, t := range g.trees {
		if t.export.ID == e.ID {
			return t.cfg.Async
		}
	}
	return false
}

// makeDirs makes the state directory and an export named on the command line.
func (g *whole) makeDirs() error {
	for _, e := range g.cfg.Exports {
		if !e.MakeDir {
			continue
		}
		switch err := os.Mkdir(e.Dir, 0o755); {
		case err == nil:
			g.made = append(g.made, e.Dir)
		case !errors.Is(err, os.ErrExist):
			return fmt.Errorf("cannot make the directory to serve: %w", err)
		}
	}
	if err := os.MkdirAll(g.cfg.State, 0o700); err != nil {
		return fmt.Errorf("cannot make the state directory; choose another with --state: %w", err)
	}
	// Who could read it could also forge filehandles.
	if err := os.MkdirAll(handleDir(g.cfg), 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}

func handleDir(cfg *config.Config) string { return filepath.Join(cfg.State, "handles") }

// raiseFiles raises the limit of open files as far as the system allows and
// returns it.
func raiseFiles(log *slog.Logger) int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		log.Warn("the limit of open files is not known", "error", err)
		return 1024
	}
	lim.Cur = lim.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		log.Warn("the limit of open files could not be raised", "error", err)
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim)
	}
	return int(min(lim.Cur, 1<<30))
}

// close lets go of everything, from the top down. The gateway serves no more.
func (g *whole) close(log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			log.Error("while leaving", "part", what, "error", err)
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if g.gateway != nil {
		g.gateway.Close()
	}
	for _, w := range g.web {
		// Shutdown lets an answer finish, such as that to drain.
		note("admin endpoint", w.server.Shutdown(ctx))
	}
	if g.ops != nil {
		g.ops.Close()
	}
	if g.node != nil {
		note("state", g.node.Close(ctx))
	}
	if g.peers != nil {
		if err := g.peers.Close(); err != nil {
			log.Warn("the other gateways were not told everything", "error", err)
		}
	}
	for _, t := range g.trees {
		note("export "+t.export.Path, t.close())
	}
	if g.store != nil {
		note("store", g.store.Close())
	}
	return errors.Join(errs...)
}
