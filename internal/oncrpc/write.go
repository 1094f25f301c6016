package oncrpc

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// A Writer sends records over one stream. Its methods may be called by several
// goroutines at once: records that come while one is being written go out
// together after it, in one system call.
type Writer struct {
	w io.Writer

	// mu guards what follows and is never held over a write.
	mu    sync.Mutex
	cond  sync.Cond
	next  net.Buffers // parts of the batch being gathered
	spare net.Buffers // memory of the batch before
	going net.Buffers // the batch being written; writing's holder alone uses it
	batch uint64      // number of the batch being gathered
	done  uint64      // batches below this one are written
	busy  bool        // somebody is writing
	err   error       // the first error; it stays
}

// NewWriter returns a Writer to w, which for a TCP connection uses writev.
func NewWriter(w io.Writer) *Writer {
	wr := &Writer{w: w}
	wr.cond.L = &wr.mu
	return wr
}

// WriteRecord sends one record of one fragment: head, whose first four bytes
// are left free for the record mark and are overwritten, followed by the
// parts. It returns when all is handed to the stream; the slices may be reused
// then. After the first error every call returns that error.
func (w *Writer) WriteRecord(head []byte, parts ...[]byte) error {
	size := len(head) - MarkSize
	for _, p := range parts {
		size += len(p)
	}
	if size < 0 || size >= LastFragment {
		return ErrRecordTooBig
	}
	binary.BigEndian.PutUint32(head, uint32(size)|LastFragment)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = append(w.next, head)
	for _, p := range parts {
		if len(p) > 0 {
			w.next = append(w.next, p)
		}
	}
	mine := w.batch
	for w.done <= mine && w.err == nil {
		if w.busy {
			w.cond.Wait()
			continue
		}
		w.flush()
	}
	// A batch that failed together with an earlier one is lost as well.
	if w.done <= mine {
		return w.err
	}
	return nil
}

// flush writes the batch gathered so far. The caller holds mu.
func (w *Writer) flush() {
	w.busy = true
	gathered := w.next
	w.next = w.spare[:0]
	w.batch++
	w.mu.Unlock()

	// WriteTo eats the slice it is called on; gathered keeps the memory.
	w.going = gathered
	_, err := w.going.WriteTo(w.w)
	clear(gathered)

	w.mu.Lock()
	w.spare = gathered[:0]
	w.busy = false
	if err != nil {
		w.err = err
	} else {
		w.done = w.batch
	}
	w.cond.Broadcast()
}
