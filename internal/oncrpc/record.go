package oncrpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// LastFragment is the bit of a record mark that says "last fragment".
const LastFragment = 1 << 31

// MarkSize is the size of a record mark in bytes.
const MarkSize = 4

// ErrRecordTooBig says that a record is larger than the reader allows.
var ErrRecordTooBig = errors.New("oncrpc: record too big")

// ErrFragments says that a record comes in too many fragments.
var ErrFragments = errors.New("oncrpc: too many fragments in a record")

const (
	// readAhead is what a Reader holds for each connection, idle or not:
	// enough for a 4 KiB WRITE or dozens of small calls in one system call.
	readAhead = 8 << 10
	// maxFragments bounds how long a record of tiny fragments may keep a reader
	// busy.
	maxFragments = 4096
	// firstGrab is the memory a record gets for its mere announcement.
	firstGrab = 4 << 10
	// growth is how many times the bytes really received a record's buffer may
	// grow to.
	growth = 16
)

// A Reader reads records from a stream. One goroutine at a time may use it.
//
// The memory of a record grows with the bytes that arrive: 4 KiB for its
// announcement, then at most 16 times what was received.
type Reader struct {
	br  *bufio.Reader
	max int
}

// NewReader returns a Reader of records of at most max bytes, headers of RPC
// included and marks not.
func NewReader(r io.Reader, max int) *Reader {
	return &Reader{br: bufio.NewReaderSize(r, readAhead), max: max}
}

// Next returns the next record in a buffer of pool's. The error is io.EOF if
// the stream ends between two records, io.ErrUnexpectedEOF if it ends within
// one, wraps ErrRecordTooBig or ErrFragments for a record not accepted, and is
// otherwise the stream's. After an error the stream's position is undefined.
func (r *Reader) Next(pool *Pool) (*Buf, error) {
	// Wait for the mark before taking memory, so that an idle connection holds
	// none.
	size, last, err := r.mark()
	if err != nil {
		return nil, err
	}
	buf := pool.Get(min(size, firstGrab))
	for n := 1; ; n++ {
		if size > r.max-len(buf.B) {
			err = fmt.Errorf("%w: more than %d bytes", ErrRecordTooBig, r.max)
		} else if n > maxFragments {
			err = fmt.Errorf("%w: more than %d", ErrFragments, maxFragments)
		} else {
			buf, err = r.fragment(pool, buf, size)
		}
		if err == nil && last {
			return buf, nil
		}
		if err == nil {
			size, last, err = r.mark()
		}
		if err != nil {
			buf.Free()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// mark reads a record mark.
func (r *Reader) mark() (size int, last bool, err error) {
	b, err := r.br.Peek(MarkSize)
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, false, err
	}
	m := binary.BigEndian.Uint32(b)
	_, err = r.br.Discard(MarkSize)
	return int(m &^ LastFragment), m&LastFragment != 0, err
}

// fragment appends size bytes of the stream to buf, which it may replace.
func (r *Reader) fragment(pool *Pool, buf *Buf, size int) (*Buf, error) {
	want := len(buf.B) + size
	for len(buf.B) < want {
		if len(buf.B) == cap(buf.B) {
			bigger := pool.Get(min(want, max(firstGrab, growth*len(buf.B))))
			bigger.B = append(bigger.B, buf.B...)
			buf.Free()
			buf = bigger
		}
		at := len(buf.B)
		buf.B = buf.B[:min(want, cap(buf.B))]
		n, err := io.ReadFull(r.br, buf.B[at:])
		buf.B = buf.B[:at+n]
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// Buffered returns how many bytes beyond the last record were already read.
func (r *Reader) Buffered() int { return r.br.Buffered() }

// PeekCall waits for the first 24 bytes of the next record's first fragment
// and returns its program, version and procedure without consuming anything.
// It returns ok = false for a record that does not begin like a call in its
// first fragment.
func (r *Reader) PeekCall() (prog, vers, proc uint32, ok bool, err error) {
	b, err := r.br.Peek(MarkSize)
	if err != nil {
		return 0, 0, 0, false, err
	}
	if binary.BigEndian.Uint32(b)&^LastFragment < 24 {
		return 0, 0, 0, false, nil
	}
	if b, err = r.br.Peek(MarkSize + 24); err != nil {
		return 0, 0, 0, false, err
	}
	prog, vers, proc, ok = PeekCall(b[MarkSize:])
	return prog, vers, proc, ok, nil
}

// Conn returns c as a connection on which what the Reader has read ahead of
// its last record can be read again: the way to hand a connection to another
// RPC server after PeekCall. The Reader must not be used after.
func (r *Reader) Conn(c net.Conn) net.Conn {
	ahead, _ := r.br.Peek(r.br.Buffered())
	return &rewound{Conn: c, ahead: ahead}
}

type rewound struct {
	net.Conn
	ahead []byte
}

func (c *rewound) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}
