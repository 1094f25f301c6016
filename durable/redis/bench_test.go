package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"holdfast/durable"
	"holdfast/durable/redis"
)

// BenchmarkCommit is a lock request as a gateway commits it: the slot's reply,
// the file's head and one part, checked against two versions, and the gateway's
// fence.
func BenchmarkCommit(b *testing.B) {
	server := startRedis(b, durableArgs...)
	for _, lanes := range []int{1, 2} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("lanes=%d/writers=%d", lanes, writers), func(b *testing.B) {
				s := open(b, server.url(), redis.Options{Domain: newDomain(), Lanes: lanes})
				if err := commit(s, put("gateway/1", "alive")); err != nil {
					b.Fatal(err)
				}
				value := bytes.Repeat([]byte("v"), 100)
				before := s.Status()
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for w := range writers {
					n := b.N / writers
					if w < b.N%writers {
						n++
					}
					wg.Go(func() { commitMany(b, s, w, n, value) })
				}
				wg.Wait()
				b.StopTimer()
				after := s.Status()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
				b.ReportMetric(float64(after.Batches-before.Batches)/float64(after.Calls-before.Calls), "batches/call")
			})
		}
	}
}

func commitMany(b *testing.B, s durable.Store, writer, n int, value []byte) {
	slot, file, part := fmt.Sprintf("slot/%016d/7", writer), fmt.Sprintf("file/%032d", writer), fmt.Sprintf("lock/%d", writer)
	batch := durable.Batch{
		Checks: []durable.Check{{Key: slot}, {Key: file}},
		Writes: []durable.Write{{Key: slot, Value: value}, {Key: file, Value: value}, {Key: file, Name: part, Value: value}},
		Fence:  durable.Check{Key: "gateway/1", Version: 1},
	}
	for range n {
		if err := commit(s, batch); err != nil {
			b.Error(err)
			return
		}
		batch.Checks[0].Version++
		batch.Checks[1].Version++
	}
}

// BenchmarkLoad reads a group of one small part.
func BenchmarkLoad(b *testing.B) {
	server := startRedis(b, durableArgs...)
	for _, readers := range []int{1, 64} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			s := open(b, server.url(), redis.Options{Domain: newDomain()})
			if err := commit(s, put("slot/1/1", string(make([]byte, 100)))); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for r := range readers {
				n := b.N / readers
				if r < b.N%readers {
					n++
				}
				wg.Go(func() {
					for range n {
						if _, err := s.Load(context.Background(), "slot/1/1"); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
