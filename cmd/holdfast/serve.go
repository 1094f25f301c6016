package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/export/posix"
	"holdfast/gateway/admin"
	"holdfast/internal/config"
)

func serveCommand() *cobra.Command {
	var flags *config.Flags
	cmd := &cobra.Command{
		Use:   "serve [DIR]",
		Short: "Serve a directory, or what a configuration file says, over NFSv4",
		Long: `Serve a directory over NFSv4.2, 4.1 and 4.0. A directory that does not exist is
made. More than one export needs a file: --config. Every flag has a twin of
the same name in the file; docs/configuration.md lists them.

SIGTERM and SIGINT let requests that run finish, and then leave; a second one
leaves at once.`,
		Example: `  holdfast serve /srv/data
  holdfast serve ./data --listen 127.0.0.1:2049 --state ./state
  holdfast serve --config /etc/holdfast.yaml`,
		Args: cobra.MaximumNArgs(1),
	}
	flags = config.NewFlags(cmd.Flags())
	cmd.Flags().SortFlags = false
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := ""
		if len(args) == 1 {
			if dir = args[0]; dir == "" {
				return errors.New("DIR is empty")
			}
		}
		if err := posix.PrepareProcess(); err != nil {
			return err
		}
		cfg, err := flags.Config(dir)
		if err != nil {
			return fmt.Errorf("the configuration cannot be used:\n%w", err)
		}
		return serve(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// newLogger returns the logger that the configuration asks for.
func newLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(cfg.LogLevel))
	opt := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// serve serves until ctx ends, and then leaves in good order. Two signals
// leave at once.
func serve(ctx context.Context, cfg *config.Config, out, errOut io.Writer) error {
	log := newLogger(cfg, errOut)
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	g, err := assemble(ctx, cfg, log, leave)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- g.gateway.Serve() }()
	for _, s := range g.web {
		go func() {
			if err := s.server.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
				log.Error("admin endpoint ended", "address", s.listener.Addr(), "error", err)
			}
		}()
	}
	g.announce(out, log)
	notify(log, "READY=1")

	go g.watchLease(ctx, log)

	select {
	case <-ctx.Done():
	case <-g.node.Deposed():
		return errors.Join(g.rejoin(log), g.close(log))
	case <-g.storeFailed():
		return g.giveUp(log, served)
	case err := <-served:
		return errors.Join(fmt.Errorf("the gateway ended: %w", err), g.close(log))
	}
	// The first signal has ended ctx; from here on signals come in anew.
	again, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	notify(log, "STOPPING=1")
	log.Info("leaving: requests that run are finished", "at most", cfg.DrainTime)
	drain, cancel := context.WithTimeout(again, cfg.DrainTime)
	defer cancel()
	err = g.gateway.Drain(drain)
	if again.Err() != nil {
		log.Warn("leaving at once")
	} else if err != nil {
		log.Warn("not everything was finished", "error", err)
	}
	g.gateway.Close()
	<-served
	err = g.close(log)
	log.Info("gone")
	return err
}

// notify tells systemd, if it waits for that (Type=notify).
func notify(log *slog.Logger, state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.Dial("unixgram", path)
	if err == nil {
		_, err = c.Write([]byte(state))
		c.Close()
	}
	if err != nil {
		log.Warn("systemd was not told", "error", err)
	}
}

// web is an HTTP server and where it listens.
type web struct {
	server   *http.Server
	listener net.Listener
}

func newWeb(l net.Listener, h http.Handler) web {
	return web{&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}, l}
}

// listenWeb makes the admin socket and, if asked for, the address for metrics.
func listenWeb(cfg *config.Config, c admin.Config) ([]web, error) {
	l, err := admin.Listen(cfg.Admin)
	if err != nil {
		return nil, err
	}
	all := []web{newWeb(l, admin.New(c))}
	if cfg.Metrics == "" {
		return all, nil
	}
	tcp, err := net.Listen("tcp", cfg.Metrics)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return append(all, newWeb(tcp, admin.Public(c))), nil
}
