package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Counters are the client's own figures about one mount, from /proc/self/mountstats. They only grow while the mount lives.
type Counters struct {
	Ops      map[string]int // requests per operation, by the client's names, such as READ or EXCHANGE_ID
	Errors   map[string]int // of these, those that ended with an error
	Connects int            // TCP connections made, over all transports
	Xprts    int            // transports
}

// identity are the operations by which a client makes itself known, or gets back what a server forgot. After the first mount
// a client sends them again only when the server made it.
var identity = []string{
	"SETCLIENTID", "SETCLIENTID_CONFIRM", "EXCHANGE_ID", "CREATE_SESSION", "DESTROY_SESSION", "DESTROY_CLIENTID",
	"RECLAIM_COMPLETE", "TEST_STATEID", "BIND_CONN_TO_SESSION",
}

// Counters reads the client's figures about the mount at a path.
func (g *Guest) Counters(tb testing.TB, mount string) Counters {
	tb.Helper()
	c, err := parseMountstats(g.Run(tb, "cat /proc/self/mountstats"), mount)
	if err != nil {
		tb.Fatalf("guest %s: %v", g.Name, err)
	}
	return c
}

// Recovery returns the operations between two readings of one mount by which the client established itself anew or
// reclaimed state, such as "EXCHANGE_ID 2"; empty when it did nothing of the kind.
func (c Counters) Recovery(later Counters) []string {
	var found []string
	for _, op := range identity {
		if n := later.Ops[op] - c.Ops[op]; n != 0 {
			found = append(found, fmt.Sprintf("%s %d", op, n))
		}
	}
	return found
}

// Identified returns how often the client has introduced itself; at least 1 on a mount in use.
func (c Counters) Identified() int { return c.Ops["SETCLIENTID"] + c.Ops["EXCHANGE_ID"] }

// String lists all operations that were sent, most frequent first, with errors behind a slash.
func (c Counters) String() string {
	names := make([]string, 0, len(c.Ops))
	for op, n := range c.Ops {
		if n > 0 {
			names = append(names, op)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if c.Ops[a] != c.Ops[b] {
			return c.Ops[b] - c.Ops[a]
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	fmt.Fprintf(&b, "connects %d over %d transports;", c.Connects, c.Xprts)
	for _, op := range names {
		fmt.Fprintf(&b, " %s %d", op, c.Ops[op])
		if e := c.Errors[op]; e > 0 {
			fmt.Fprintf(&b, "/%d", e)
		}
	}
	return b.String()
}

// parseMountstats takes the figures of one mount out of /proc/self/mountstats:
//
//	device 10.77.0.1:/ mounted on /mnt/nfs with fstype nfs4 statvers=1.1
//		xprt:	tcp 0 1 2 …           the third number counts connects
//		per-op statistics
//		        READ: 12 12 0 …     operations first, errors ninth
func parseMountstats(text, mount string) (Counters, error) {
	c := Counters{Ops: map[string]int{}, Errors: map[string]int{}}
	ours, perOp := false, false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "device":
			ours, perOp = len(f) > 4 && f[4] == mount, false
		case !ours:
		case f[0] == "xprt:" && len(f) > 4 && f[1] == "tcp":
			n, err := strconv.Atoi(f[4])
			if err != nil {
				return c, fmt.Errorf("mountstats: %q: %w", strings.TrimSpace(line), err)
			}
			c.Connects += n
			c.Xprts++
		case f[0] == "per-op":
			perOp = true
		case perOp && len(f) > 1 && strings.HasSuffix(f[0], ":"):
			op := strings.TrimSuffix(f[0], ":")
			n, err := strconv.Atoi(f[1])
			if err != nil {
				return c, fmt.Errorf("mountstats: %q: %w", strings.TrimSpace(line), err)
			}
			c.Ops[op] += n
			if len(f) > 9 {
				if c.Errors[op], err = strconv.Atoi(f[9]); err != nil {
					return c, fmt.Errorf("mountstats: %q: %w", strings.TrimSpace(line), err)
				}
			}
		}
	}
	if len(c.Ops) == 0 {
		return c, fmt.Errorf("mountstats knows no NFS mount at %s", mount)
	}
	return c, nil
}

// complaints are what a Linux client's kernel log says when a server let it down.
var complaints = []string{"lost", "reclaim", "NFS4ERR", "BAD_STATEID", "state manager", "Error", "error", "Call Trace", "BUG", "WARNING"}

// Complaints returns the lines of the guest's kernel log that complain about a server.
func (g *Guest) Complaints(tb testing.TB) []string {
	tb.Helper()
	var found []string
	for line := range strings.Lines(g.Dmesg(tb)) {
		about := strings.Contains(line, "NFS") || strings.Contains(line, "RPC") || strings.Contains(line, "BUG")
		if about && slices.ContainsFunc(complaints, func(c string) bool { return strings.Contains(line, c) }) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
