package table

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	magic      = "HFTABLE1"
	headBytes  = 10
	maxRecord  = headBytes + 2*MaxKey + MaxName
	syncWithin = time.Second

	kindAdd  = 1
	kindDrop = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type record struct {
	kind        byte
	key, parent Key
	name        string
}

func (r record) encode(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, r.kind, byte(len(r.key)), byte(len(r.parent)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.name)))
	dst = append(dst, 0)
	dst = append(append(append(dst, r.key...), r.parent...), r.name...)
	binary.LittleEndian.PutUint32(dst[at:], crc32.Checksum(dst[at+4:], castagnoli))
	return dst
}

// errShort says that the record goes beyond the end of the bytes.
var errShort = errors.New("record cut short")

// decode reads the record at the start of b and tells its size.
func decode(b []byte) (r record, size int, err error) {
	if len(b) < headBytes {
		return r, 0, errShort
	}
	k, p, n := int(b[5]), int(b[6]), int(binary.LittleEndian.Uint16(b[7:]))
	if k > MaxKey || p > MaxKey || n > MaxName || b[4] != kindAdd && b[4] != kindDrop {
		return r, 0, errors.New("malformed record")
	}
	size = headBytes + k + p + n
	if len(b) < size {
		return r, 0, errShort
	}
	if crc32.Checksum(b[4:size], castagnoli) != binary.LittleEndian.Uint32(b) {
		return r, size, errors.New("wrong checksum")
	}
	body := string(b[headBytes:size])
	return record{b[4], Key(body[:k]), Key(body[k : k+p]), body[k+p:]}, size, nil
}

// log is the file of a table. The table's mutex guards it, but for syncing.
type log struct {
	path    string
	f       *os.File
	records int
	size    int64
	buf     []byte

	mu     sync.Mutex // guards f against being replaced while it is synced
	timer  *time.Timer
	closed bool
	failed error // of a sync, for ever
}

func openLog(path string, apply func(record)) (*log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &log{path: path, f: f}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("in use by another process: %w", err)
	}
	if err := l.replay(apply); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// replay applies all records and cuts off what a crash left at the end.
func (l *log) replay(apply func(record)) error {
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < int64(len(magic)) {
		return l.begin()
	}
	r := bufio.NewReaderSize(l.f, 1<<20)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	if string(head) != magic {
		return errors.New("not a handle table, or of another version")
	}
	l.size = int64(len(magic))
	for {
		b, err := r.Peek(maxRecord)
		if err != nil && err != io.EOF {
			return err
		}
		if len(b) == 0 {
			break
		}
		rec, size, err := decode(b)
		if err != nil {
			if err == errShort || l.size+int64(size) >= info.Size() {
				break
			}
			return fmt.Errorf("damaged at byte %d: %w", l.size, err)
		}
		apply(rec)
		l.records++
		l.size += int64(size)
		if _, err := r.Discard(size); err != nil {
			return err
		}
	}
	if l.size < info.Size() {
		if err := l.f.Truncate(l.size); err != nil {
			return err
		}
	}
	return nil
}

// begin makes the file a table without records.
func (l *log) begin() error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	if _, err := l.f.WriteAt([]byte(magic), 0); err != nil {
		return err
	}
	l.size, l.records = int64(len(magic)), 0
	if err := l.f.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(l.path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (l *log) append(r record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	if l.closed {
		return os.ErrClosed
	}
	l.buf = r.encode(l.buf[:0])
	if _, err := l.f.WriteAt(l.buf, l.size); err != nil {
		return err // what was written of it lies after the end
	}
	l.size += int64(len(l.buf))
	l.records++
	if l.timer == nil {
		l.timer = time.AfterFunc(syncWithin, l.syncSoon)
	}
	return nil
}

func (l *log) syncSoon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if l.closed {
		return
	}
	if err := l.f.Sync(); err != nil && l.failed == nil {
		l.failed = err
	}
}

// rewrite replaces the file by one with the records that each puts.
func (l *log) rewrite(each func(put func(record) error) error) error {
	next := l.path + ".new"
	f, err := os.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	n := &log{path: l.path, f: f, size: int64(len(magic))}
	w := bufio.NewWriterSize(f, 1<<20)
	w.WriteString(magic) // an error stays in w
	err = each(func(r record) error {
		n.buf = r.encode(n.buf[:0])
		n.size += int64(len(n.buf))
		n.records++
		_, err := w.Write(n.buf)
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(next, l.path)
	}
	if err != nil {
		f.Close()
		return err
	}
	l.mu.Lock()
	l.f.Close()
	l.f, l.size, l.records = f, n.size, n.records
	l.mu.Unlock()
	return syncDir(filepath.Dir(l.path))
}

func (l *log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	return errors.Join(l.failed, l.f.Sync(), l.f.Close())
}
