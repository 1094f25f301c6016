package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counters are what the gateway counts of itself.
type counters struct {
	accepted, refused                  atomic.Uint64 // connections
	silent, stuck, pressed             atomic.Uint64 // connections closed, and why
	nulls, refusals, garbage, failed   atomic.Uint64 // calls
	panics, strays, squeezed, relieved atomic.Uint64
	bytesIn, bytesOut, writes          atomic.Uint64
	running                            atomic.Int64
	latency, first, brought            prometheus.Histogram
}

// moves are the bounds, in seconds, of what a move from another gateway may take: close to each other around the 50 ms that a
// gateway should take at most (docs/soak.md).
var moves = []float64{.001, .0025, .005, .01, .02, .03, .04, .05, .06, .08, .1, .15, .25, .5, 1, 2.5, 5, 10}

func (c *counters) init() {
	c.latency = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "holdfast_compound_seconds",
		Help:    "Time from a COMPOUND read to its reply ready to be sent.",
		Buckets: prometheus.ExponentialBuckets(10e-6, 2.5, 14),
	})
	c.first = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "holdfast_first_reply_seconds",
		Help:    "Time from a connection accepted to its first reply to a COMPOUND: the gateway's part, and the client's, in a move from another gateway.",
		Buckets: moves,
	})
	c.brought = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "holdfast_first_requests_seconds",
		Help:    "Time from a COMPOUND read to its reply ready, of those read before a connection's first reply: the gateway's part alone in a move.",
		Buckets: moves,
	})
}

func (c *counters) observe(d time.Duration) { c.latency.Observe(d.Seconds()) }

// Stats is a snapshot of what a Server does.
type Stats struct {
	Connections  int    `json:"connections"`
	Accepted     uint64 `json:"accepted"`      // connections since the start
	Refused      uint64 `json:"refused"`       // connections above a limit
	ClosedSilent uint64 `json:"closed_silent"` // no call came in time
	ClosedStuck  uint64 `json:"closed_stuck"`  // half a record, or replies not taken
	ClosedMemory uint64 `json:"closed_memory"` // stuck while memory was short
	Running      int64  `json:"running"`       // COMPOUNDs at this moment
	Compounds    uint64 `json:"compounds"`
	Nulls        uint64 `json:"nulls"`
	Rejected     uint64 `json:"rejected"` // calls refused by their header
	Garbage      uint64 `json:"garbage"`  // calls with undecodable arguments
	Failed       uint64 `json:"failed"`   // calls answered SYSTEM_ERR
	Panics       uint64 `json:"panics"`
	BytesIn      uint64 `json:"bytes_in"`
	BytesOut     uint64 `json:"bytes_out"`
	MemoryUsed   int64  `json:"memory_used"` // bytes of requests and replies
	MemoryLimit  int64  `json:"memory_limit"`
	Draining     bool   `json:"draining"`
}

// Stats returns what the Server does at this moment. It may be called at any
// time.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	c := &s.stats
	return Stats{
		Connections:  n,
		Accepted:     c.accepted.Load(),
		Refused:      c.refused.Load(),
		ClosedSilent: c.silent.Load(),
		ClosedStuck:  c.stuck.Load(),
		ClosedMemory: c.pressed.Load(),
		Running:      c.running.Load(),
		Compounds:    c.compounds(),
		Nulls:        c.nulls.Load(),
		Rejected:     c.refusals.Load(),
		Garbage:      c.garbage.Load(),
		Failed:       c.failed.Load(),
		Panics:       c.panics.Load(),
		BytesIn:      c.bytesIn.Load(),
		BytesOut:     c.bytesOut.Load(),
		MemoryUsed:   s.memory.used.Load(),
		MemoryLimit:  s.memory.limit,
		Draining:     s.draining.Load(),
	}
}

func (c *counters) compounds() uint64 {
	var m dto.Metric
	if c.latency.Write(&m) != nil {
		return 0
	}
	return m.GetHistogram().GetSampleCount()
}

// A ConnInfo describes a connection to an administrator.
type ConnInfo struct {
	ID       uint64   `json:"id"`
	Remote   string   `json:"remote"`
	Since    string   `json:"since"` // RFC 3339
	Protocol string   `json:"protocol"`
	Calls    uint64   `json:"calls"`
	Sessions []string `json:"sessions,omitempty"` // bound to it, in hexadecimal
}

// Connections describes all connections, in the order in which they came.
func (s *Server) Connections() []ConnInfo {
	conns := s.snapshot()
	slices.SortFunc(conns, func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
	infos := make([]ConnInfo, len(conns))
	for i, c := range conns {
		infos[i] = ConnInfo{
			ID:       c.id,
			Remote:   c.nc.RemoteAddr().String(),
			Since:    c.since.UTC().Format(time.RFC3339),
			Protocol: map[int32]string{stranger: "none yet", known: "NFSv4", foreign: "NFSv3"}[c.state.Load()],
			Calls:    c.calls.Load(),
		}
		for _, b := range c.sessions.list() {
			infos[i].Sessions = append(infos[i].Sessions, fmt.Sprintf("%x", b.session))
		}
	}
	return infos
}

// metric is one value of counters as Prometheus sees it.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s *Server) float64
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("holdfast_"+name, help, labels, nil)
}

func counter(name, help string, v func(c *counters) *atomic.Uint64) metric {
	return metric{desc(name, help), prometheus.CounterValue, func(s *Server) float64 { return float64(v(&s.stats).Load()) }}
}

func gauge(name, help string, v func(s *Server) float64) metric {
	return metric{desc(name, help), prometheus.GaugeValue, v}
}

// A collector gives a Server's counters to Prometheus.
type collector struct {
	s       *Server
	metrics []metric
}

// Collector returns what the Server has to say to Prometheus. It may be
// registered with any registry.
func (s *Server) Collector() prometheus.Collector {
	return &collector{s, []metric{
		gauge("connections", "Connections of clients.", func(s *Server) float64 { return float64(s.Stats().Connections) }),
		gauge("running", "COMPOUNDs being carried out.", func(s *Server) float64 { return float64(s.stats.running.Load()) }),
		gauge("memory_bytes", "Bytes held by requests and replies.", func(s *Server) float64 { return float64(s.memory.used.Load()) }),
		gauge("memory_limit_bytes", "Bytes that requests and replies may hold.", func(s *Server) float64 { return float64(s.memory.limit) }),
		gauge("draining", "1 while the gateway leaves.", func(s *Server) float64 {
			if s.Draining() {
				return 1
			}
			return 0
		}),
		counter("connections_accepted_total", "Connections accepted.", func(c *counters) *atomic.Uint64 { return &c.accepted }),
		counter("connections_refused_total", "Connections refused by a limit.", func(c *counters) *atomic.Uint64 { return &c.refused }),
		counter("connections_silent_total", "Connections closed because no call came.", func(c *counters) *atomic.Uint64 { return &c.silent }),
		counter("connections_stuck_total", "Connections closed with half a record or replies not taken.", func(c *counters) *atomic.Uint64 { return &c.stuck }),
		counter("connections_pressed_total", "Stuck connections closed because memory was short.", func(c *counters) *atomic.Uint64 { return &c.pressed }),
		counter("nulls_total", "NULL calls.", func(c *counters) *atomic.Uint64 { return &c.nulls }),
		counter("calls_rejected_total", "Calls refused by their RPC header.", func(c *counters) *atomic.Uint64 { return &c.refusals }),
		counter("calls_garbage_total", "Calls whose arguments could not be decoded.", func(c *counters) *atomic.Uint64 { return &c.garbage }),
		counter("calls_failed_total", "Calls answered with SYSTEM_ERR.", func(c *counters) *atomic.Uint64 { return &c.failed }),
		counter("panics_total", "Panics caught.", func(c *counters) *atomic.Uint64 { return &c.panics }),
		counter("stray_replies_total", "Replies that no call waits for.", func(c *counters) *atomic.Uint64 { return &c.strays }),
		counter("readers_relieved_total", "Requests forecast quick that were not.", func(c *counters) *atomic.Uint64 { return &c.relieved }),
		counter("memory_waits_total", "Times a connection had to wait for memory.", func(c *counters) *atomic.Uint64 { return &c.squeezed }),
		counter("received_bytes_total", "Bytes received.", func(c *counters) *atomic.Uint64 { return &c.bytesIn }),
		counter("sent_bytes_total", "Bytes sent.", func(c *counters) *atomic.Uint64 { return &c.bytesOut }),
		counter("writes_total", "System calls that sent replies.", func(c *counters) *atomic.Uint64 { return &c.writes }),
	}}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
	c.s.stats.latency.Describe(ch)
	c.s.stats.first.Describe(ch)
	c.s.stats.brought.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(c.s))
	}
	c.s.stats.latency.Collect(ch)
	c.s.stats.first.Collect(ch)
	c.s.stats.brought.Collect(ch)
}
