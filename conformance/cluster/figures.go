package cluster

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics are a gateway's metrics at one moment, by name.
type Metrics map[string]*dto.MetricFamily

// Metrics asks the gateway for its metrics.
func (g *Gateway) Metrics() (Metrics, error) {
	resp, err := g.c.http.Get("http://" + netip.AddrPortFrom(g.Addr, readyPort).String() + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(resp.Body)
}

// Value returns a metric that is one number, and 0 if there is none of the name.
func (m Metrics) Value(name string) float64 {
	var sum float64
	for _, v := range m[name].GetMetric() {
		sum += v.GetCounter().GetValue() + v.GetGauge().GetValue()
	}
	return sum
}

// Buckets counts how often something took up to so long.
type Buckets map[time.Duration]uint64

// never is the bound of what took longer than all others.
const never = time.Duration(math.MaxInt64)

// buckets returns those of a histogram.
func (m Metrics) buckets(name string) Buckets {
	b := Buckets{}
	for _, v := range m[name].GetMetric() {
		h := v.GetHistogram()
		var below uint64
		for _, x := range h.GetBucket() {
			if !math.IsInf(x.GetUpperBound(), 1) {
				b[time.Duration(x.GetUpperBound()*float64(time.Second))] += x.GetCumulativeCount() - below
				below = x.GetCumulativeCount()
			}
		}
		b[never] += h.GetSampleCount() - below
	}
	return b
}

// add adds what is in b more than in before. A gateway that was started again meanwhile counts from 0.
func (b Buckets) add(now, before Buckets) {
	anew := false
	for bound, n := range before {
		anew = anew || n > now[bound]
	}
	for bound, n := range now {
		if !anew {
			n -= before[bound]
		}
		if n > 0 {
			b[bound] += n
		}
	}
}

// Longest returns a bound of the longest time, 0 if there is none.
func (b Buckets) Longest() (longest time.Duration) {
	for bound := range b {
		longest = max(longest, bound)
	}
	return longest
}

// Own is what the gateways say of their part in a stall.
type Own struct {
	First    Buckets // from a connection accepted to its first reply
	Brought  Buckets // requests that a connection brought before its first reply
	Requests Buckets // whole requests
}

// Watch begins to count; the function that it returns tells what was since. A gateway that does not answer then is left out: what
// it counted meanwhile nobody was told of.
func (c *Cluster) Watch() func() Own {
	before := c.scrape()
	return func() Own {
		own := Own{Buckets{}, Buckets{}, Buckets{}}
		for i, m := range c.scrape() {
			if m != nil {
				own.First.add(m.buckets("holdfast_first_reply_seconds"), before[i].buckets("holdfast_first_reply_seconds"))
				own.Brought.add(m.buckets("holdfast_first_requests_seconds"), before[i].buckets("holdfast_first_requests_seconds"))
				own.Requests.add(m.buckets("holdfast_compound_seconds"), before[i].buckets("holdfast_compound_seconds"))
			}
		}
		return own
	}
}

// scrape returns the metrics of all gateways, nil for one that does not answer.
func (c *Cluster) scrape() []Metrics {
	all := make([]Metrics, len(c.Gateways))
	var asked sync.WaitGroup
	for i, g := range c.Gateways {
		asked.Go(func() { all[i], _ = g.Metrics() })
	}
	asked.Wait()
	return all
}

// Stalls are the longest stalls of clients, and what gateways say of their own part in them, by kind of fault.
type Stalls struct {
	lease time.Duration
	kinds []string
	felt  map[string][]time.Duration
	own   map[string]*Own
	bound map[string]time.Duration
}

// NewStalls is for a cluster.
func (c *Cluster) NewStalls() *Stalls {
	return &Stalls{
		lease: c.Config.GatewayLease,
		felt:  map[string][]time.Duration{}, own: map[string]*Own{}, bound: map[string]time.Duration{},
	}
}

// Note adds one fault: the longest stall that a client felt, and what the gateways counted.
func (s *Stalls) Note(tb testing.TB, f Fault, felt time.Duration, own Own) {
	tb.Helper()
	if s.own[f.Name] == nil {
		s.kinds = append(s.kinds, f.Name)
		s.own[f.Name] = &Own{Buckets{}, Buckets{}, Buckets{}}
		s.bound[f.Name] = f.Bound(s.lease)
	}
	s.felt[f.Name] = append(s.felt[f.Name], felt)
	s.own[f.Name].First.add(own.First, nil)
	s.own[f.Name].Brought.add(own.Brought, nil)
	s.own[f.Name].Requests.add(own.Requests, nil)
}

// at returns what p percent of the counts are below, as a bound.
func (b Buckets) at(p float64) time.Duration {
	var all uint64
	bounds := make([]time.Duration, 0, len(b))
	for bound, n := range b {
		bounds = append(bounds, bound)
		all += n
	}
	slices.Sort(bounds)
	var below uint64
	for _, bound := range bounds {
		if below += b[bound]; float64(below) >= float64(all)*p/100 {
			return bound
		}
	}
	return 0
}

func ms(d time.Duration) string {
	if d == never {
		return "more"
	}
	return fmt.Sprintf("%.4g", float64(d)/float64(time.Millisecond))
}

// String is a table in Markdown, in milliseconds. What gateways counted is rounded up to the bounds of their histograms.
func (s *Stalls) String() string {
	var t strings.Builder
	fmt.Fprintf(&t, "Gateway lease %v; milliseconds; gateways' figures are rounded up to a bucket.\n\n", s.lease)
	t.WriteString("| fault | times | client's longest stall p50 | p99 | max | expected at most | within | first reply p50 | p99 | max | first requests p50 | p99 | max | longest request |\n")
	t.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, kind := range s.kinds {
		all := slices.Sorted(slices.Values(s.felt[kind]))
		at := func(p int) string { return ms(all[min(len(all)*p/100, len(all)-1)]) }
		within := 0
		for _, d := range all {
			if d <= s.bound[kind] {
				within++
			}
		}
		own := s.own[kind]
		fmt.Fprintf(&t, "| %s | %d | %s | %s | %s | %s | %d of %d | %s | %s | %s | %s | %s | %s | %s |\n", kind, len(all), at(50), at(99), at(100), ms(s.bound[kind]),
			within, len(all), ms(own.First.at(50)), ms(own.First.at(99)), ms(own.First.Longest()),
			ms(own.Brought.at(50)), ms(own.Brought.at(99)), ms(own.Brought.Longest()), ms(own.Requests.Longest()))
	}
	return t.String()
}
