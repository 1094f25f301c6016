package admin

import (
	"encoding/hex"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/nfs4"
)

func unhex(s string) ([]byte, error) { return hex.DecodeString(s) }

// Operations counts and times operations. It is a prometheus.Collector.
type Operations struct {
	took   *prometheus.HistogramVec
	errors *prometheus.CounterVec
	byOp   [nfs4.OpLast + 1]prometheus.Observer
}

// NewOperations returns an Operations that has seen none.
func NewOperations() *Operations {
	o := &Operations{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "holdfast_operation_seconds",
			Help:    "Time that operations of COMPOUND took.",
			Buckets: prometheus.ExponentialBuckets(2e-6, 4, 11),
		}, []string{"op"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_operation_errors_total",
			Help: "Operations that ended with a status other than NFS4_OK.",
		}, []string{"op", "status"}),
	}
	for op := nfs4.OpFirst; op <= nfs4.OpLast; op++ {
		o.byOp[op] = o.took.WithLabelValues(op.String())
	}
	return o
}

// Observe notes one operation. It may be called from many goroutines at once
// and does not block.
func (o *Operations) Observe(op nfs4.Op, status nfs4.Status, took time.Duration) {
	if op <= nfs4.OpLast && o.byOp[op] != nil {
		o.byOp[op].Observe(took.Seconds())
	}
	if status != nfs4.OK {
		o.errors.WithLabelValues(op.String(), status.String()).Inc()
	}
}

// Describe implements prometheus.Collector.
func (o *Operations) Describe(ch chan<- *prometheus.Desc) {
	o.took.Describe(ch)
	o.errors.Describe(ch)
}

// Collect implements prometheus.Collector.
func (o *Operations) Collect(ch chan<- prometheus.Metric) {
	o.took.Collect(ch)
	o.errors.Collect(ch)
}
