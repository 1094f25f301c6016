package oncrpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
)

// fragments encodes parts as the fragments of one record.
func fragments(parts ...string) []byte {
	var out []byte
	for i, p := range parts {
		m := uint32(len(p))
		if i == len(parts)-1 {
			m |= LastFragment
		}
		out = binary.BigEndian.AppendUint32(out, m)
		out = append(out, p...)
	}
	return out
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

func TestReaderRecords(t *testing.T) {
	big := string(pattern(3 << 20))
	stream := bytes.Join([][]byte{
		fragments("one"),
		fragments("t", "", "wo", ""),
		fragments(""),
		fragments(big),
		fragments(big[:100000], big[100000:2000000], big[2000000:]),
	}, nil)
	want := []string{"one", "two", "", big, big}
	for name, src := range map[string]io.Reader{
		"whole":        bytes.NewReader(stream),
		"half":         iotest.HalfReader(bytes.NewReader(stream)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		var pool Pool
		r := NewReader(src, 4<<20)
		for i, w := range want {
			b, err := r.Next(&pool)
			if err != nil {
				t.Fatalf("%s: record %d: %v", name, i, err)
			}
			if string(b.B) != w {
				t.Errorf("%s: record %d differs", name, i)
			}
			b.Free()
		}
		if _, err := r.Next(&pool); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
}

func TestReaderErrors(t *testing.T) {
	tiny := bytes.Repeat([]byte{0, 0, 0, 0}, maxFragments+1)
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, io.EOF},
		{"half a mark", []byte{0x80, 0}, io.ErrUnexpectedEOF},
		{"mark only", []byte{0x80, 0, 0, 4}, io.ErrUnexpectedEOF},
		{"half a fragment", []byte{0x80, 0, 0, 4, 1, 2}, io.ErrUnexpectedEOF},
		{"no last fragment", fragments("abc", "")[:7], io.ErrUnexpectedEOF},
		{"too big at once", []byte{0xff, 0xff, 0xff, 0xff}, ErrRecordTooBig},
		{"too big in two", fragments(string(pattern(600)), string(pattern(600))), ErrRecordTooBig},
		{"endless empty fragments", tiny, ErrFragments},
	} {
		var pool Pool
		if _, err := NewReader(bytes.NewReader(c.in), 1024).Next(&pool); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A length that is announced and does not come costs a few kilobytes.
func TestHostileLengthCostsNothing(t *testing.T) {
	in := append([]byte{0xbf, 0xff, 0xff, 0xff}, pattern(100)...)
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		var pool Pool
		if _, err := NewReader(bytes.NewReader(in), 1<<30).Next(&pool); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > 32<<10 {
		t.Errorf("a hostile length takes %d bytes", each)
	}
}

func TestReaderReusesMemory(t *testing.T) {
	one := fragments(string(pattern(200)))
	src := bytes.NewReader(one)
	r := NewReader(src, 1<<20)
	var pool Pool
	if n := testing.AllocsPerRun(1000, func() {
		src.Reset(one)
		b, err := r.Next(&pool)
		if err != nil {
			t.Fatal(err)
		}
		b.Free()
	}); n >= 1 {
		t.Errorf("%v allocations per record", n)
	}
}

func TestPeekAndHandOver(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	call := Call{XID: 9, Prog: 100003, Vers: 3, Proc: 1}
	rec := append(callRecord(call), "more"...)
	go a.Write(rec)
	r := NewReader(b, 1<<20)
	prog, vers, proc, ok, err := r.PeekCall()
	if prog != 100003 || vers != 3 || proc != 1 || !ok || err != nil {
		t.Fatalf("PeekCall: %d %d %d %v %v", prog, vers, proc, ok, err)
	}
	got := make([]byte, len(rec))
	if _, err := io.ReadFull(r.Conn(b), got); err != nil || !bytes.Equal(got, rec) {
		t.Errorf("handed over %x, %v", got, err)
	}
}

func TestWriterConcurrent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()

	const senders, each = 8, 200
	w := NewWriter(out)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				head := []byte{0, 0, 0, 0, byte(s), byte(i)}
				data := bytes.Repeat([]byte{byte(s)}, i*37)
				if err := w.WriteRecord(head, data, nil); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	var pool Pool
	r := NewReader(in, 1<<20)
	var seen [senders]int
	for range senders * each {
		b, err := r.Next(&pool)
		if err != nil {
			t.Fatal(err)
		}
		s, i := int(b.B[0]), int(b.B[1])
		if seen[s] != i {
			t.Fatalf("sender %d: record %d came after %d", s, i, seen[s]-1)
		}
		seen[s]++
		if len(b.B) != 2+i*37 || bytes.Count(b.B[2:], []byte{byte(s)}) != i*37 {
			t.Fatalf("sender %d record %d is torn", s, i)
		}
		b.Free()
	}
	wg.Wait()
}

func TestWriterErrorSticks(t *testing.T) {
	a, b := net.Pipe()
	b.Close()
	w := NewWriter(a)
	for range 3 {
		if err := w.WriteRecord(make([]byte, 8)); err == nil {
			t.Error("a write to a closed pipe succeeds")
		}
	}
}

// FuzzRecord compares the Reader with a reading of the same bytes by the
// letter of RFC 5531 §11.
func FuzzRecord(f *testing.F) {
	f.Add(fragments("hello", "", "world"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(append(fragments("a"), fragments("", "b")...))
	const limit = 1 << 16
	f.Fuzz(func(t *testing.T, in []byte) {
		var pool Pool
		r := NewReader(iotest.OneByteReader(bytes.NewReader(in)), limit)
		rest := in
		for {
			b, err := r.Next(&pool)
			want, n := oracle(rest, limit)
			if (err == nil) != (n > 0) {
				t.Fatalf("reader: %v; oracle takes %d bytes", err, n)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(b.B, want) {
				t.Fatalf("got %x, want %x", b.B, want)
			}
			b.Free()
			rest = rest[n:]
		}
	})
}

// oracle returns the first record of in and how many bytes it takes; 0 for
// none.
func oracle(in []byte, limit int) (rec []byte, n int) {
	for count := 1; len(in)-n >= 4; count++ {
		m := binary.BigEndian.Uint32(in[n:])
		size := int(m & 0x7fffffff)
		n += 4
		if size > len(in)-n || len(rec)+size > limit || count > maxFragments {
			return nil, 0
		}
		rec = append(rec, in[n:n+size]...)
		n += size
		if m>>31 == 1 {
			return rec, n
		}
	}
	return nil, 0
}
