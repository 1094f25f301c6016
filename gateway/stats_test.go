package gateway

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// counted returns how many observations a histogram of the server has.
func counted(t *testing.T, s *Server, name string) uint64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(s.Collector())
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.Metric[0].Histogram.GetSampleCount()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// What a connection brings before its first reply is counted apart from what follows, also where that reply is not the first call's.
func TestFirstRequestsAreCounted(t *testing.T) {
	h := newTestHandler()
	s := start(t, Config{Handler: h})
	c := dial(t, s)
	c.send(slices.Concat(record(header(1), doBlock), record(header(2), doEcho)))
	if rep, _ := c.recv(); rep.XID != 2 {
		t.Fatalf("reply to %d came first", rep.XID)
	}
	c.echo(3)
	close(h.gate)
	c.recv()
	dial(t, s).echo(1)
	for name, want := range map[string]uint64{
		"holdfast_first_reply_seconds": 2, "holdfast_first_requests_seconds": 3, "holdfast_compound_seconds": 4,
	} {
		if got := counted(t, s, name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
