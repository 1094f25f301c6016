package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"holdfast/statesync"
	"holdfast/statesync/peer"
)

// joinPeers connects this gateway to the others, if it was told how. That nobody
// answers is no error.
func (g *whole) joinPeers(log *slog.Logger) error {
	if g.cfg.Peers == "" {
		return nil
	}
	c, err := peer.Connect(peer.Options{
		URL:    g.cfg.Peers,
		Name:   g.cfg.Name,
		Domain: hex.EncodeToString(g.node.Identity().Scope), // no two clusters have the same
		Logger: log,
	})
	if err != nil {
		return fmt.Errorf("the channel to the other gateways: %w", err)
	}
	g.peers = c
	return g.node.UsePeers(c)
}

// printPriorities prints the table of what is kept how.
func printPriorities(w io.Writer) {
	fmt.Fprintln(w, "PRIORITY\tCHANGE\tWHY")
	for _, p := range statesync.Priorities() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Level, p.Change, p.Why)
	}
}
