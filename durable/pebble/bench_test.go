package pebble_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"holdfast/durable"
	"holdfast/durable/pebble"
)

func openBench(b *testing.B) *pebble.Store {
	s, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkCommit is a lock request as a gateway commits it: the slot's reply,
// the file's head and one part, checked against two versions, and waited for.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := openBench(b)
			value := bytes.Repeat([]byte("v"), 100)
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
		})
	}
}

func commitMany(b *testing.B, s durable.Store, writer, n int, value []byte) {
	slot, file, part := fmt.Sprintf("slot/%016d/7", writer), fmt.Sprintf("file/%032d", writer), fmt.Sprintf("lock/%d", writer)
	batch := durable.Batch{
		Checks: []durable.Check{{Key: slot}, {Key: file}},
		Writes: []durable.Write{{Key: slot, Value: value}, {Key: file, Value: value}, {Key: file, Name: part, Value: value}},
	}
	for range n {
		ack, err := s.Commit(context.Background(), &batch)
		if err == nil {
			err = ack.Wait()
		}
		if err != nil {
			b.Error(err)
			return
		}
		batch.Checks[0].Version++
		batch.Checks[1].Version++
	}
}

// BenchmarkLoad reads a group of one small part that was used lately.
func BenchmarkLoad(b *testing.B) {
	s := openBench(b)
	ack, err := s.Commit(context.Background(), &durable.Batch{
		Writes: []durable.Write{{Key: "slot/1/1", Value: make([]byte, 100)}},
	})
	if err != nil {
		b.Fatal(err)
	}
	ack.Wait()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Load(context.Background(), "slot/1/1"); err != nil {
			b.Fatal(err)
		}
	}
}
