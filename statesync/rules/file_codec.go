package rules

import (
	"encoding/binary"
	"slices"
	"strings"

	"holdfast/durable"
	"holdfast/internal/nfs4"
)

// fileFormat is the format of every part of a file's group that is written.
const fileFormat = 1

// The kinds of parts.
const (
	partOpen  = 'o'
	partLock  = 'l'
	partRange = 'r'
)

const flagConfirmed = 1

func partName(kind byte, other Other) string {
	var b [1 + nfs4.OtherSize]byte
	b[0] = kind
	copy(b[1:], other[:])
	return string(b[:])
}

func (k rangeKey) part() string {
	var b [1 + nfs4.OtherSize + 8]byte
	b[0] = partRange
	copy(b[1:], k.other[:])
	binary.BigEndian.PutUint64(b[1+nfs4.OtherSize:], k.start)
	return string(b[:])
}

func encodeHead() []byte { return []byte{fileFormat} }

func (r *openRecord) encode() []byte {
	b := make([]byte, 0, 26+len(r.owner.name))
	flags := byte(0)
	if r.confirmed {
		flags |= flagConfirmed
	}
	b = append(b, fileFormat, flags)
	b = binary.BigEndian.AppendUint32(b, r.seqid)
	b = binary.BigEndian.AppendUint64(b, uint64(r.owner.client))
	b = append(b, r.access, r.deny, r.accesses, r.denies)
	b = binary.BigEndian.AppendUint32(b, r.uid)
	return appendName(b, r.owner.name)
}

func (r *lockRecord) encode() []byte {
	b := make([]byte, 0, 27+len(r.owner.name))
	b = append(b, fileFormat)
	b = binary.BigEndian.AppendUint32(b, r.seqid)
	b = binary.BigEndian.AppendUint64(b, uint64(r.owner.client))
	b = append(b, r.open[:]...)
	return appendName(b, r.owner.name)
}

func (r *rangeRecord) encode() []byte {
	b := make([]byte, 0, 10)
	kind := byte(0)
	if r.write {
		kind = 1
	}
	b = append(b, fileFormat, kind)
	return binary.BigEndian.AppendUint64(b, r.last)
}

func appendName(b []byte, name string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	return append(b, name...)
}

// Parts returns the parts of the file's group, sorted by name.
func (f *File) Parts() []durable.Part {
	if f.Empty() && !f.head {
		return nil
	}
	parts := make([]durable.Part, 0, 1+f.opens.len()+f.locks.len()+f.ranges)
	if f.head {
		parts = append(parts, durable.Part{Value: encodeHead()})
	}
	f.locks.each(func(l *lockState) {
		r := l.record()
		parts = append(parts, durable.Part{Name: partName(partLock, r.other), Value: r.encode()})
	})
	f.opens.each(func(o *open) {
		parts = append(parts, durable.Part{Name: partName(partOpen, o.other), Value: o.encode()})
	})
	for _, tree := range []*span{f.reads, f.writes} {
		overlapping(tree, 0, maxOffset, func(s *span) bool {
			r := rangeRecord{rangeKey{s.lock.other, s.start}, s.last, s.write}
			parts = append(parts, durable.Part{Name: r.part(), Value: r.encode()})
			return true
		})
	}
	slices.SortFunc(parts, func(a, b durable.Part) int { return strings.Compare(a.Name, b.Name) })
	return parts
}

// DecodeFile reads the parts of a file's group, in any order; none is a file
// of which nothing is open. The error is ErrServerFault. It takes memory in
// proportion to the parts and keeps none of their Values.
func DecodeFile(parts []durable.Part) (*File, error) {
	f := &File{}
	var kinds [256]int
	for i := range parts {
		kinds[kindOf(&parts[i])]++
	}
	f.opens.reserve(kinds[partOpen])
	f.openOwner.reserve(kinds[partOpen])
	f.locks.reserve(kinds[partLock])
	f.lockOwner.reserve(kinds[partLock])
	for _, kind := range []byte{0, partOpen, partLock, partRange} {
		for i := range parts {
			if kindOf(&parts[i]) != kind {
				continue
			}
			if err := f.decodePart(kind, &parts[i]); err != nil {
				return nil, err
			}
		}
	}
	if f.head == f.Empty() {
		return nil, fault("file record: head %t, %d opens", f.head, f.Opens())
	}
	if err := f.consistent(); err != nil {
		return nil, err
	}
	return f, nil
}

// kindOf returns the kind of a part, 0 for the head and for what is unknown.
func kindOf(p *durable.Part) byte {
	if p.Name != "" {
		switch k := p.Name[0]; k {
		case partOpen, partLock, partRange:
			return k
		}
	}
	return 0
}

func (f *File) decodePart(kind byte, p *durable.Part) error {
	r := partReader{name: p.Name, rest: p.Value}
	switch format := r.byte(); {
	case r.short:
		return fault("file record, part %q is empty", p.Name)
	case format == 0 || format > fileFormat:
		return fault("file record, part %q has format %d, known are 1 to %d", p.Name, format, fileFormat)
	}
	var put func() error
	switch kind {
	case partOpen:
		rec := r.open()
		put = func() error {
			if f.opens.get(rec.other, openKey) != nil {
				return fault("open %x is there twice", rec.other)
			}
			return f.putOpen(&rec)
		}
	case partLock:
		rec := r.lock()
		put = func() error {
			if f.locks.get(rec.other, lockKey) != nil {
				return fault("lock %x is there twice", rec.other)
			}
			return f.putLock(&rec)
		}
	case partRange:
		rec := r.rangeRecord()
		put = func() error { return f.addRange(&rec) }
	default:
		r.bad = r.bad || p.Name != "" || f.head
		put = func() error { f.head = true; return nil }
	}
	if r.bad || r.short || len(r.rest) != 0 {
		return fault("file record, part %q is damaged", p.Name)
	}
	return put()
}

// addRange is putRange for a range that comes from the store: it may collide
// with one of its own owner.
func (f *File) addRange(r *rangeRecord) error {
	if l := f.locks.get(r.other, lockKey); l != nil {
		free := true
		within(l.owner.ranges, r.start, r.last, func(*span) { free = false })
		if !free {
			return fault("range %x %d overlaps another of its owner", r.other, r.start)
		}
	}
	return f.putRange(r)
}

// consistent checks that nothing on the file excludes something else on it.
func (f *File) consistent() error {
	var err error
	f.opens.each(func(o *open) {
		f.count(o, -1)
		if o.access&mask(f.denied) != 0 || o.deny&mask(f.accessed) != 0 {
			err = fault("open %x conflicts with another", o.other)
		}
		f.count(o, 1)
	})
	overlapping(f.writes, 0, maxOffset, func(w *span) bool {
		alone := func(s *span) bool { return s.lock.owner == w.lock.owner }
		if !overlapping(f.writes, w.start, w.last, alone) || !overlapping(f.reads, w.start, w.last, alone) {
			err = fault("range %x %d conflicts with another", w.lock.other, w.start)
		}
		return err == nil
	})
	return err
}

// A partReader reads one part. What it reads is of no use if short or bad is
// true at the end.
type partReader struct {
	name  string
	rest  []byte
	short bool // the part ends too early
	bad   bool // a value that no writer writes
}

func (r *partReader) take(n int) []byte {
	if len(r.rest) < n {
		r.short = true
		r.rest = nil
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *partReader) byte() byte     { return r.take(1)[0] }
func (r *partReader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *partReader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *partReader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *partReader) other() Other   { return Other(r.take(nfs4.OtherSize)) }

// key returns the stateid in the part's name, which has more bytes after it.
func (r *partReader) key(more int) (other Other) {
	if len(r.name) != 1+nfs4.OtherSize+more {
		r.bad = true
		return other
	}
	copy(other[:], r.name[1:])
	return other
}

func (r *partReader) seqid() uint32 {
	s := r.uint32()
	r.bad = r.bad || s == 0
	return s
}

func (r *partReader) client() ClientID {
	c := r.uint64()
	r.bad = r.bad || c == 0
	return ClientID(c)
}

// ownerName reads the name that ends the part.
func (r *partReader) ownerName() string {
	n := int(r.uint16())
	if n > nfs4.OpaqueLimit || n != len(r.rest) {
		r.bad = true
		return ""
	}
	return string(r.take(n))
}

func (r *partReader) open() (rec openRecord) {
	rec.other = r.key(0)
	flags := r.byte()
	rec.confirmed = flags&flagConfirmed != 0
	rec.seqid = r.seqid()
	rec.owner.client = r.client()
	rec.access, rec.deny = r.byte(), r.byte()
	rec.accesses, rec.denies = r.byte(), r.byte()
	rec.uid = r.uint32()
	rec.owner.name = r.ownerName()
	r.bad = r.bad || flags&^flagConfirmed != 0 ||
		!composable(rec.access, rec.accesses) || !composable(rec.deny, rec.denies) ||
		!validShare(uint32(rec.access), uint32(rec.deny)) || rec.accesses&^0xe != 0 || rec.denies&^0xf != 0
	return rec
}

func (r *partReader) lock() (rec lockRecord) {
	rec.other = r.key(0)
	rec.seqid = r.seqid()
	rec.owner.client = r.client()
	rec.open = r.other()
	rec.owner.name = r.ownerName()
	return rec
}

func (r *partReader) rangeKey() (k rangeKey) {
	k.other = r.key(8)
	if !r.bad {
		k.start = binary.BigEndian.Uint64([]byte(r.name[1+nfs4.OtherSize:]))
	}
	return k
}

func (r *partReader) rangeRecord() (rec rangeRecord) {
	rec.rangeKey = r.rangeKey()
	kind := r.byte()
	rec.write = kind == 1
	rec.last = r.uint64()
	r.bad = r.bad || kind > 1
	return rec
}
