package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// lastReplies bounds how long requests are waited for that run when the store
// fails: those that need it wait in vain.
const lastReplies = 5 * time.Second

// A failing store is one that can fail for good while it is used.
type failing interface {
	Failed() <-chan struct{}
	Err() error
}

// storeFailed returns a channel that is closed when the store has failed for good.
func (g *whole) storeFailed() <-chan struct{} {
	if s, ok := g.store.(failing); ok {
		return s.Failed()
	}
	return nil
}

// ready says why the gateway does not serve, or nil.
func (g *whole) ready() error {
	if s, ok := g.store.(failing); ok {
		if err := s.Err(); err != nil {
			return err
		}
	}
	return g.node.MayServe()
}

// giveUp ends the gateway after its store has failed: what cannot be made durable
// must not be promised, and who goes on reading and writing would not learn that it
// lost the rest. Replies of requests that run are delivered. The error is for the exit
// status: a supervisor starts the program again, which finds out what holds.
func (g *whole) giveUp(log *slog.Logger, served <-chan error) error {
	why := fmt.Errorf("the gateway ended because its state store has failed: %w", g.ready())
	notify(log, "STOPPING=1")
	log.Error("leaving: the state store has failed, and nothing can be promised without it")
	drain, cancel := context.WithTimeout(context.Background(), min(g.cfg.DrainTime, lastReplies))
	defer cancel()
	if err := g.gateway.Drain(drain); err != nil {
		log.Warn("not everything was finished", "error", err)
	}
	g.gateway.Close()
	<-served
	if err := g.close(log); err != nil {
		log.Warn("not everything was closed", "error", err)
	}
	return why
}
