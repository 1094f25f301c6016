package gateway

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/internal/oncrpc"
)

// BenchmarkCalls is what the framing costs: 16 workers on 2 connections, each
// with one call at a time, client and server in one process.
func BenchmarkCalls(b *testing.B) {
	sys := oncrpc.SysCred{Machine: []byte("client"), UID: 1000, GID: 1000}
	for _, bc := range []struct {
		name   string
		proc   uint32
		quick  bool
		window int // workers on each connection
	}{
		{"null", 0, true, 8},
		{"compound by the reader", 1, true, 8},
		{"compound by workers", 1, false, 8},
		{"one by one by the reader", 1, true, 1},
		{"one by one by workers", 1, false, 1},
	} {
		b.Run(bc.name, func(b *testing.B) {
			h := newTestHandler()
			h.quick = bc.quick
			s := start(b, Config{Handler: h})
			head := header(0)
			head.Proc = bc.proc
			head.Cred = sys.Auth()
			var body []uint32
			if bc.proc == 1 {
				body = make([]uint32, 20)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { callers(b, s.Addrs()[0].String(), record(head, body...), bc.window, b.N/2) })
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			b.ReportMetric(float64(b.N)/float64(max(s.stats.writes.Load(), 1)), "calls/write")
		})
	}
}

// callers shares one connection among n goroutines, each of which sends one call
// after the other, until all calls are answered.
func callers(b *testing.B, addr string, call []byte, n, calls int) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer c.Close()
	turn := make(chan struct{}, n)
	for range n {
		turn <- struct{}{}
	}
	var sent atomic.Int64
	for range n {
		go func() {
			for range turn {
				if sent.Add(1) > int64(calls) {
					return
				}
				if _, err := c.Write(call); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	in := bufio.NewReaderSize(c, 64<<10)
	for range calls {
		var mark [4]byte
		if _, err := io.ReadFull(in, mark[:]); err != nil {
			b.Error(err)
			return
		}
		in.Discard(int(binary.BigEndian.Uint32(mark[:]) &^ oncrpc.LastFragment))
		turn <- struct{}{}
	}
	close(turn)
}
