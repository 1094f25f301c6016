package statesync

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"holdfast/internal/nfs4"
)

// BenchmarkIO is what a READ or WRITE costs here: SEQUENCE, the check of its
// stateid, and the end of the request.
func BenchmarkIO(b *testing.B) {
	w := newWorld(b, func(c *Config) { c.Now = nil })
	ctx := context.Background()
	var clients atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := clients.Add(1)
		c := w.client41(fmt.Sprint(i))
		f := FileKey(fmt.Sprint("file", i))
		s := c.mustOpen(f)
		fc := &fakeCompound{}
		reply := make([]byte, 200)
		a := &SequenceArgs{Session: c.session, Slot: 3}
		for pb.Next() {
			a.Sequence++
			r, err := w.n.Sequence(ctx, a, fc)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := w.n.CheckIO(ctx, c.id, f, s, 1, 0); err != nil {
				b.Fatal(err)
			}
			r.Finish(reply)
		}
	})
}

// BenchmarkOpenClose and BenchmarkLockUnlock are over the store in memory: what
// the state itself costs.
func BenchmarkOpenClose(b *testing.B) {
	w := newWorld(b, func(c *Config) { c.Now = nil })
	c := w.client41("a")
	b.ReportAllocs()
	for b.Loop() {
		if err := c.close("f", c.mustOpen("f")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLockUnlock(b *testing.B) {
	for _, held := range []int{0, 10_000} {
		b.Run(fmt.Sprint(held), func(b *testing.B) {
			w := newWorld(b, func(c *Config) { c.Now = nil })
			c := w.client41("a")
			open := c.mustOpen("f")
			var s nfs4.Stateid
			for i := range held {
				var err error
				a := &LockArgs{Client: c.id, File: "f", Write: true, Offset: 1000 + uint64(i)*10, Length: 1, Stateid: s}
				if i == 0 {
					a.New, a.Owner, a.Stateid = true, []byte("l"), open
				}
				if s, err = c.lock(a); err != nil {
					b.Fatal(err)
				}
			}
			s, err := c.lockVia("f", open, "l", 0, 9)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if s, err = c.unlock("f", s, 0, 9); err != nil {
					b.Fatal(err)
				}
				if s, err = c.lock(&LockArgs{File: "f", Write: true, Length: 9, Stateid: s}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
