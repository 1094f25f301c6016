package oncrpc

import "sync"

// Size classes of pooled memory. The last holds a WRITE or READ of 1 MiB with
// its headers.
var classes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1<<20 + 16<<10}

// A Pool hands out buffers and takes them back. The zero Pool is ready for
// use. All methods may be called by several goroutines at once.
type Pool struct {
	pools [len(classes)]sync.Pool
}

// A Buf is memory lent by a Pool. B may be resliced and appended to by its
// holder; what append allocated anew is simply given to the collector.
type Buf struct {
	B     []byte
	pool  *Pool
	class int
	full  []byte
}

// Get returns a buffer with len(B) = 0 and cap(B) ≥ n. Memory above the
// largest class (1 MiB and 16 KiB) is not pooled.
func (p *Pool) Get(n int) *Buf {
	for i, size := range classes {
		if n > size {
			continue
		}
		if b, ok := p.pools[i].Get().(*Buf); ok {
			b.B = b.full[:0]
			return b
		}
		full := make([]byte, size)
		return &Buf{B: full[:0], pool: p, class: i, full: full}
	}
	return &Buf{B: make([]byte, 0, n), class: -1}
}

// Free gives the buffer back. Neither b nor any slice of it may be used after.
// Free of nil does nothing.
func (b *Buf) Free() {
	if b == nil || b.pool == nil {
		return
	}
	b.B = nil
	b.pool.pools[b.class].Put(b)
}
