package pebble

import (
	"encoding/binary"
	"errors"
	"strings"
)

const (
	groupSpace = 'g'

	escaped  = 0xff // after 00: a zero byte of the group's name
	headMark = 0x01 // after 00: the head record
	partMark = 0x02 // after 00: a part follows

	// maxInline is the longest head part that is kept in the head record.
	maxInline = 1 << 10
)

const (
	flagInline byte = 1 << iota // part "" is in the head record
	flagOwn                     // part "" has a record of its own
	flagParts                   // other parts exist, or have existed
)

var errRecord = errors.New("record cannot be read")

// appendGroup appends the beginning that all keys of a group share.
func appendGroup(dst []byte, group string) []byte {
	return appendEscaped(append(dst, groupSpace), group)
}

func appendEscaped(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		dst = append(dst, 0, escaped)
		s = s[i+1:]
	}
}

func appendHeadKey(dst []byte, group string) []byte {
	return append(appendGroup(dst, group), 0, headMark)
}

func appendPartKey(dst []byte, group, name string) []byte {
	dst = append(appendGroup(dst, group), 0, partMark)
	return append(dst, name...)
}

// appendGroupEnd appends the first key that is after all keys of a group.
func appendGroupEnd(dst []byte, group string) []byte {
	return append(appendGroup(dst, group), 0, partMark+1)
}

// prefixBounds returns the keys between which all groups lie whose names begin
// with prefix.
func prefixBounds(prefix string) (lower, upper []byte) {
	lower = appendGroup(nil, prefix)
	upper = append([]byte(nil), lower...)
	for i := len(upper) - 1; i >= 0; i-- {
		if upper[i] != 0xff {
			upper[i]++
			return lower, upper[:i+1]
		}
	}
	return lower, nil
}

// A splitKey is a key taken apart.
type splitKey struct {
	group []byte // escaped
	head  bool
	name  []byte // of the part, when not head
}

// parseKey takes a key apart. The parts alias key.
func parseKey(key []byte) (splitKey, error) {
	if len(key) < 1 || key[0] != groupSpace {
		return splitKey{}, errRecord
	}
	for i := 1; i+1 < len(key); i++ {
		if key[i] != 0 {
			continue
		}
		switch key[i+1] {
		case escaped:
			i++
		case headMark:
			if len(key) != i+2 {
				return splitKey{}, errRecord
			}
			return splitKey{group: key[1:i], head: true}, nil
		case partMark:
			return splitKey{group: key[1:i], name: key[i+2:]}, nil
		default:
			return splitKey{}, errRecord
		}
	}
	return splitKey{}, errRecord
}

// unescape undoes appendEscaped on what parseKey found.
func unescape(group []byte) string {
	var b strings.Builder
	b.Grow(len(group))
	for i := 0; i < len(group); i++ {
		b.WriteByte(group[i])
		if group[i] == 0 {
			i++
		}
	}
	return b.String()
}

// A head is a head record.
type head struct {
	flags   byte
	version uint64
	inline  []byte
}

func headSize(h head) int {
	var buf [binary.MaxVarintLen64]byte
	return 1 + binary.PutUvarint(buf[:], h.version) + len(h.inline)
}

// putHead writes h to dst, which has headSize(h) bytes.
func putHead(dst []byte, h head) {
	dst[0] = h.flags
	n := 1 + binary.PutUvarint(dst[1:len(dst):len(dst)], h.version)
	copy(dst[n:], h.inline)
}

// parseHead reads a head record. inline aliases value.
func parseHead(value []byte) (head, error) {
	if len(value) < 2 {
		return head{}, errRecord
	}
	h := head{flags: value[0]}
	v, n := binary.Uvarint(value[1:])
	if n <= 0 || v == 0 || h.flags&^(flagInline|flagOwn|flagParts) != 0 ||
		h.flags&flagInline != 0 && h.flags&flagOwn != 0 {
		return head{}, errRecord
	}
	h.version = v
	h.inline = value[1+n:]
	if h.flags&flagInline == 0 && len(h.inline) > 0 || len(h.inline) > maxInline {
		return head{}, errRecord
	}
	return h, nil
}
