package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"

	"holdfast/gateway/admin"
	"holdfast/internal/config"
)

// describe says what is served, for the status.
func (g *whole) describe() admin.Service {
	s := admin.Service{
		Version: version(),
		PID:     os.Getpid(),
		Started: g.started,
		State:   g.cfg.State,
		Lease:   g.cfg.Lease.String(),
		Notes:   g.notes,
	}
	if g.cfg.Shared() {
		s.Name, s.Store, s.GatewayLease = g.cfg.Name, shownStore(g.cfg), g.cfg.GatewayLease.String()
	}
	for _, a := range g.gateway.Addrs() {
		s.Listen = append(s.Listen, a.String())
	}
	for _, t := range g.trees {
		e := admin.Export{Path: t.cfg.Path, Source: t.source, Access: t.cfg.Access, Squash: t.cfg.Squash, Async: t.cfg.Async}
		for _, p := range t.cfg.Clients {
			e.Clients = append(e.Clients, p.String())
		}
		s.Exports = append(s.Exports, e)
	}
	return s
}

// announce tells what is served and how to mount it: to people, or in one line
// of the log if that is for machines.
func (g *whole) announce(out io.Writer, log *slog.Logger) {
	s := g.describe()
	if g.cfg.LogFormat == "json" {
		log.Info("serving", "service", s, "mount", g.mountCommands())
		return
	}
	for _, dir := range g.made {
		fmt.Fprintf(out, "Made the directory %s.\n", dir)
	}
	for _, e := range s.Exports {
		fmt.Fprintf(out, "Serving %s as %s (%s).\n", e.Source, e.Path, exportTerms(&e))
	}
	fmt.Fprintf(out, "Listening on %s. State in %s, lease %s.\n", strings.Join(s.Listen, ", "), s.State, s.Lease)
	if g.cfg.Shared() {
		fmt.Fprintf(out, "This is gateway %s of those that share %s, gateway lease %s.\n", s.Name, s.Store, s.GatewayLease)
	}
	if len(s.Notes) > 0 {
		fmt.Fprintln(out, "To know:")
		for _, n := range s.Notes {
			fmt.Fprintf(out, "  - %s\n", n)
		}
	}
	fmt.Fprintf(out, "On a client, as root:\n")
	for _, c := range g.mountCommands() {
		fmt.Fprintf(out, "  %s\n", c)
	}
}

func exportTerms(e *admin.Export) string {
	terms := []string{map[string]string{config.AccessRW: "read and write", config.AccessRO: "read only"}[e.Access]}
	terms = append(terms, map[string]string{
		config.SquashRoot: "root of clients is nobody",
		config.SquashNone: "root of clients is root",
		config.SquashAll:  "everybody is the anonymous user",
	}[e.Squash])
	if e.Async {
		terms = append(terms, "async")
	}
	if len(e.Clients) > 0 {
		terms = append(terms, "only for "+strings.Join(e.Clients, ", "))
	}
	return strings.Join(terms, "; ")
}

// mountCommands are ready to be copied.
func (g *whole) mountCommands() []string {
	host, port := mountAddress(g.gateway.Addrs()[0])
	options := "vers=4.2"
	if port != "2049" {
		options += ",port=" + port
	}
	commands := []string{fmt.Sprintf("mount -t nfs4 -o %s %s:/ /mnt", options, host)}
	if g.cfg.NFSv3 {
		for _, e := range g.cfg.Exports {
			commands = append(commands, fmt.Sprintf("mount -t nfs -o vers=3,tcp,nolock,port=%s,mountport=%s,mountproto=tcp %s:%s /mnt", port, port, host, e.Path))
		}
	}
	return commands
}

// mountAddress is what a client calls an address that is listened on.
func mountAddress(a net.Addr) (host, port string) {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), "2049"
	}
	ip, err := netip.ParseAddr(host)
	if err == nil && !ip.IsUnspecified() {
		if ip.Is6() {
			return "[" + host + "]", port
		}
		return host, port
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		return name, port
	}
	return "HOST", port
}
