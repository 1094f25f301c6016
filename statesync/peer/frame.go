package peer

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// The kinds of messages.
const (
	kindSaid byte = 1 + iota
	kindTail
	kindAsk
	kindAgain
	kindResync
)

// headerLen is that of kind, instance and number.
const headerLen = 1 + 8 + 8

func numbered(kind byte, instance, number uint64, rest []byte) []byte {
	b := make([]byte, 0, headerLen+len(rest))
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, instance)
	b = binary.BigEndian.AppendUint64(b, number)
	return append(b, rest...)
}

// ask is the question for the messages first to last.
func ask(instance, first, last uint64, who string) []byte {
	rest := binary.BigEndian.AppendUint64(nil, last)
	return numbered(kindAsk, instance, first, append(rest, who...))
}

// reply is an answer, which says from whom it is.
func reply(kind byte, instance, number uint64, from string, msg []byte) []byte {
	rest := append([]byte{byte(len(from))}, from...)
	return numbered(kind, instance, number, append(rest, msg...))
}

// frame is a message taken apart.
type frame struct {
	kind             byte
	instance, number uint64
	rest             []byte
}

func parse(b []byte) (f frame, ok bool) {
	if len(b) < headerLen {
		return f, false
	}
	f.kind = b[0]
	f.instance = binary.BigEndian.Uint64(b[1:])
	f.number = binary.BigEndian.Uint64(b[9:])
	f.rest = b[headerLen:]
	return f, f.kind >= kindSaid && f.kind <= kindResync
}

// splitReply takes the sender's name off an answer.
func splitReply(b []byte) (from string, msg []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

// token makes a name one token of a subject: dots and the like have a meaning
// there.
func token(name string) string {
	if name == "*" {
		return name
	}
	return base64.RawURLEncoding.EncodeToString([]byte(name))
}

// nameOf is the name at the end of a subject.
func nameOf(subject string) (string, bool) {
	i := strings.LastIndexByte(subject, '.')
	b, err := base64.RawURLEncoding.DecodeString(subject[i+1:])
	return string(b), err == nil && len(b) > 0 && len(b) <= 64
}

// A ring keeps what was said last, by number.
type ring struct {
	msgs  [][]byte
	first uint64 // number of the oldest that is there
	next  uint64 // one more than that of the newest
	bytes int
}

func (r *ring) init(size int) {
	r.msgs = make([][]byte, size)
	r.first, r.next = 1, 1
}

// put adds the message with the next number.
func (r *ring) put(number uint64, msg []byte) {
	for r.next > r.first && (r.next-r.first >= uint64(len(r.msgs)) || r.bytes+len(msg) > ringBytes) {
		r.drop()
	}
	r.msgs[number%uint64(len(r.msgs))] = msg
	r.next = number + 1
	r.bytes += len(msg)
}

func (r *ring) drop() {
	i := r.first % uint64(len(r.msgs))
	r.bytes -= len(r.msgs[i])
	r.msgs[i] = nil
	r.first++
}

func (r *ring) get(number uint64) ([]byte, bool) {
	if number < r.first || number >= r.next {
		return nil, false
	}
	return r.msgs[number%uint64(len(r.msgs))], true
}
