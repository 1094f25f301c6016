package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/conformance/bench"
	"holdfast/conformance/client"
)

// benchCommand measures an NFSv4.1 server, alone or in turn with another.
func benchCommand() *cobra.Command {
	var ours, theirs bench.Target
	var opt bench.Options
	var asJSON, freePort, list bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "bench --server HOST:PORT [--against HOST:PORT]",
		Short: "Measure how fast an NFSv4.1 server answers",
		Long: `Measure how fast an NFSv4.1 server answers: operations per second, latency and,
for a server process on this machine, CPU per operation. With --against a
second server is measured in turn with the first, round by round, and the
ratio of the two is shown. A directory is made below --path and removed again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if freePort {
				return printFreePort(out)
			}
			if list {
				for _, w := range bench.Names() {
					fmt.Fprintln(out, w)
				}
				return nil
			}
			if ours.Addr == "" {
				return errors.New("--server HOST:PORT is needed")
			}
			targets := []bench.Target{ours}
			if theirs.Addr != "" {
				targets = append(targets, theirs)
			}
			for _, t := range targets {
				if err := waitFor(cmd.Context(), t.Addr, wait); err != nil {
					return err
				}
			}
			progress := func(r bench.Result) { printResult(out, r) }
			if asJSON {
				progress = nil
			} else {
				fmt.Fprintf(out, "%-14s %-12s %12s %10s %10s %10s %10s\n", "workload", "server", "ops/s", "MiB/s", "p50 µs", "p99 µs", "CPU µs/op")
			}
			report, err := bench.Run(cmd.Context(), targets, opt, progress)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(report)
			}
			for _, w := range bench.Names() {
				if ratio, ok := report.Ratios[w]; ok {
					fmt.Fprintf(out, "%-14s ratio %.2f\n", w, ratio)
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&ours.Addr, "server", "", "server to measure, HOST:PORT")
	f.StringVar(&ours.Path, "path", "/", "directory on the server to work in")
	f.StringVar(&ours.Name, "name", "", "name of the server in the output (default its address)")
	f.IntVar(&ours.PID, "pid", 0, "process of the server, if it runs here, to count its CPU")
	f.StringVar(&theirs.Addr, "against", "", "second server, HOST:PORT, measured in turn with the first")
	f.StringVar(&theirs.Path, "against-path", "/", "directory on the second server")
	f.StringVar(&theirs.Name, "against-name", "", "name of the second server in the output")
	f.IntVar(&theirs.PID, "against-pid", 0, "process of the second server")
	f.StringSliceVar(&opt.Workloads, "workload", nil, "workloads to run (default all): "+strings.Join(bench.Names(), ", "))
	f.IntVar(&opt.Workers, "workers", 16, "requests under way at the same time")
	f.IntVar(&opt.Conns, "conns", 2, "connections")
	f.DurationVar(&opt.Duration, "duration", 2*time.Second, "time of one round of one workload")
	f.IntVar(&opt.Rounds, "rounds", 3, "rounds of each workload; the median counts")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	f.DurationVar(&wait, "wait", 0, "how long to wait for the servers to answer first")
	f.BoolVar(&list, "list", false, "list the workloads")
	f.BoolVar(&freePort, "free-port", false, "print a free TCP port of the loopback interface and exit")
	cmd.MarkFlagsMutuallyExclusive("list", "free-port")
	return cmd
}

func printResult(w io.Writer, r bench.Result) {
	moved := "-"
	if r.Bytes > 0 {
		moved = fmt.Sprintf("%.0f", r.Bytes/(1<<20))
	}
	fmt.Fprintf(w, "%-14s %-12s %12.0f %10s %10.0f %10.0f %10.1f\n", r.Workload, r.Target, r.Rate, moved, r.P50, r.P99, r.CPU)
}

func printFreePort(w io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	_, err = fmt.Fprintln(w, l.Addr().(*net.TCPAddr).Port)
	return err
}

// waitFor waits until a server accepts clients.
func waitFor(ctx context.Context, addr string, limit time.Duration) error {
	if limit == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := client.New(ctx, client.Config{Dial: client.TCP(addr), Minor: 1})
		if err == nil {
			return c.Destroy()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", addr, err)
		case <-tick.C:
		}
	}
}
