package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/gateway/admin"
	"holdfast/internal/config"
	"holdfast/statesync"
)

// remote is what the commands that talk to a running gateway share.
type remote struct {
	socket string
	state  string
	asJSON bool
}

func (r *remote) flags(cmd *cobra.Command, withJSON bool) *cobra.Command {
	cmd.Flags().StringVar(&r.socket, "admin", "", "the gateway's admin socket (default: admin.sock in the state directory)")
	cmd.Flags().StringVar(&r.state, "state", config.DefaultState(), "the gateway's state directory")
	if withJSON {
		cmd.Flags().BoolVar(&r.asJSON, "json", false, "print JSON")
	}
	return cmd
}

func (r *remote) dial() *admin.Remote {
	if r.socket != "" {
		return admin.Dial(r.socket)
	}
	return admin.Dial(strings.TrimSuffix(r.state, "/") + "/" + config.SocketName)
}

// show prints v as JSON, or has table print it for people.
func (r *remote) show(out io.Writer, v any, table func(w io.Writer)) error {
	if r.asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	table(tw)
	return tw.Flush()
}

func statusCommand() *cobra.Command {
	r := &remote{}
	priorities := false
	cmd := r.flags(&cobra.Command{
		Use:   "status",
		Short: "Tell what a running gateway serves and how it goes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if priorities {
				return r.show(cmd.OutOrStdout(), statesync.Priorities(), printPriorities)
			}
			s, err := r.dial().Status(cmd.Context())
			if err != nil {
				return err
			}
			return r.show(cmd.OutOrStdout(), s, func(w io.Writer) { printStatus(w, s) })
		},
	}, true)
	cmd.Flags().BoolVar(&priorities, "priorities", false, "print how each change of the shared state is kept, and why; needs no running gateway")
	return cmd
}

func printStatus(w io.Writer, s *admin.Status) {
	fmt.Fprintf(w, "holdfast\t%s, process %d, up %s\n", s.Version, s.PID, time.Since(s.Started).Round(time.Second))
	fmt.Fprintf(w, "serving\t%s\n", s.Ready)
	fmt.Fprintf(w, "listening on\t%s\n", strings.Join(s.Listen, ", "))
	for _, e := range s.Exports {
		fmt.Fprintf(w, "export\t%s from %s (%s)\n", e.Path, e.Source, exportTerms(&e))
	}
	fmt.Fprintf(w, "state\t%s, lease %s\n", s.State, s.Lease)
	if s.Store != "" {
		fmt.Fprintf(w, "gateway\t%s of those that share %s, gateway lease %s\n", s.Name, s.Store, s.GatewayLease)
	}
	for _, o := range s.Others {
		fmt.Fprintf(w, "other gateway\t%s, instance %d, %s, heard of %s ago, lifeline: %s\n", o.Name, o.Instance, o.Address, o.Silent, o.Lifeline)
		if o.Fencing != "" {
			fmt.Fprintf(w, "dead gateway\t%s, instance %d: %s\n", o.Name, o.Instance, o.Fencing)
		}
	}
	fmt.Fprintf(w, "in memory\t%d clients, %d sessions, %d files\n", s.Shared.Clients, s.Shared.Sessions, s.Shared.Files)
	fmt.Fprintf(w, "store\t%d commits, %d conflicts, %d loads, %d errors\n", s.Shared.Commits, s.Shared.Conflicts, s.Shared.Loads, s.Shared.StoreErrors)
	if p := s.Shared; p.Published+p.Received > 0 {
		fmt.Fprintf(w, "peers\t%d messages to and %d from them, %d times some were missed, %d files brought up to date, %d dropped\n",
			p.Published, p.Received, p.Missed, p.Warmed, p.Cooled)
	}
	fmt.Fprintf(w, "replays\t%d answered again, %d gone on with, %d left behind by an earlier run resolved\n", s.Shared.Replays, s.Shared.Resumed, s.Shared.Resolved)
	g := s.Gateway
	fmt.Fprintf(w, "connections\t%d now, %d since the start, %d refused\n", g.Connections, g.Accepted, g.Refused)
	fmt.Fprintf(w, "calls\t%d COMPOUND, %d NULL, %d running, %d rejected, %d failed\n", g.Compounds, g.Nulls, g.Running, g.Rejected+g.Garbage, g.Failed)
	fmt.Fprintf(w, "traffic\t%d MiB in, %d MiB out\n", g.BytesIn>>20, g.BytesOut>>20)
	for _, n := range s.Notes {
		fmt.Fprintf(w, "note\t%s\n", n)
	}
}

func clientsCommand() *cobra.Command {
	r := &remote{}
	return r.flags(&cobra.Command{
		Use:   "clients",
		Short: "List the clients of a running gateway",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := r.dial().Clients(cmd.Context())
			if err != nil {
				return err
			}
			return r.show(cmd.OutOrStdout(), list, func(w io.Writer) {
				fmt.Fprintln(w, "ID\tVERSION\tSEEN AT\tRENEWED\tSESSIONS\tOPENS\tLOCKS\tSTATE\tOWNER")
				for _, c := range list {
					state := "active"
					switch {
					case !c.Confirmed:
						state = "unconfirmed"
					case c.Courtesy:
						state = "courtesy"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s ago\t%d\t%d\t%d\t%s\t%s\n", c.ID, c.Version, c.Remote,
						time.Since(c.Renewed).Round(time.Second), c.Sessions, c.Opens, c.Locks, state, c.Owner)
				}
			})
		},
	}, true)
}

func locksCommand() *cobra.Command {
	r := &remote{}
	var client string
	limit := 0
	cmd := &cobra.Command{
		Use:   "locks",
		Short: "List the open files and byte-range locks of a running gateway",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			gw := r.dial()
			locks := []admin.Lock{}
			for after := ""; ; {
				want := 5000
				if limit > 0 {
					want = min(want, limit-len(locks))
				}
				p, err := gw.Locks(cmd.Context(), client, after, want)
				if err != nil {
					return err
				}
				locks = append(locks, p.Locks...)
				if after = p.Next; after == "" || limit > 0 && len(locks) >= limit {
					break
				}
			}
			return r.show(cmd.OutOrStdout(), locks, func(w io.Writer) {
				fmt.Fprintln(w, "KIND\tCLIENT\tFILE\tWHAT\tOWNER")
				for _, l := range locks {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Kind, l.Client, l.Path, lockTerms(&l), l.Owner)
				}
			})
		},
	}
	cmd.Flags().StringVar(&client, "client", "", "only those of this client")
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many (0: all)")
	return r.flags(cmd, true)
}

func lockTerms(l *admin.Lock) string {
	if l.Kind == "open" {
		if l.Deny != "" {
			return l.Access + ", denies " + l.Deny
		}
		return l.Access
	}
	if l.Length == nil {
		return fmt.Sprintf("%s %d to the end", l.Type, l.Offset)
	}
	return fmt.Sprintf("%s %d+%d", l.Type, l.Offset, *l.Length)
}

func drainCommand() *cobra.Command {
	r := &remote{}
	return r.flags(&cobra.Command{
		Use:   "drain",
		Short: "Make a running gateway finish what runs and leave",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return r.dial().Drain(cmd.Context()) },
	}, false)
}

func evictCommand() *cobra.Command {
	r := &remote{}
	return r.flags(&cobra.Command{
		Use:   "evict CLIENT-ID",
		Short: "Revoke all open files and locks of a client",
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return r.dial().Evict(cmd.Context(), args[0]) },
	}, false)
}
