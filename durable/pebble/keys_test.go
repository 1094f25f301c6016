package pebble

import (
	"bytes"
	"cmp"
	"strings"
	"testing"
)

// Keys sort as their groups and parts do, and can be taken apart again.
func FuzzKeys(f *testing.F) {
	f.Add("a", "", "a\x00", "p")
	f.Add("a\x00\xff", "x", "a", "\xff\x02")
	f.Add("\x00\x01", "", "\x00\x02", "")
	f.Fuzz(func(t *testing.T, group1, name1, group2, name2 string) {
		key1, key2 := appendPartKey(nil, group1, name1), appendPartKey(nil, group2, name2)
		want := cmp.Or(strings.Compare(group1, group2), strings.Compare(name1, name2))
		if got := bytes.Compare(key1, key2); got != want {
			t.Errorf("(%q, %q) and (%q, %q) compare as %d, their keys as %d", group1, name1, group2, name2, want, got)
		}
		k, err := parseKey(key1)
		if err != nil || k.head || unescape(k.group) != group1 || string(k.name) != name1 {
			t.Errorf("(%q, %q) comes back as %+v: %v", group1, name1, k, err)
		}
		headKey, end := appendHeadKey(nil, group1), appendGroupEnd(nil, group1)
		if bytes.Compare(headKey, key1) >= 0 || bytes.Compare(key1, end) >= 0 {
			t.Errorf("the key of (%q, %q) is outside of its group", group1, name1)
		}
		if k, err := parseKey(headKey); err != nil || !k.head || unescape(k.group) != group1 {
			t.Errorf("the head key of %q comes back as %+v: %v", group1, k, err)
		}
		if group1 != group2 && bytes.Compare(key2, headKey) >= 0 && bytes.Compare(key2, end) < 0 {
			t.Errorf("the key of (%q, %q) is inside of group %q", group2, name2, group1)
		}
		lower, upper := prefixBounds(group2)
		inside := bytes.Compare(key1, lower) >= 0 && (upper == nil || bytes.Compare(key1, upper) < 0)
		if inside != strings.HasPrefix(group1, group2) {
			t.Errorf("group %q is inside of the bounds of prefix %q: %v", group1, group2, inside)
		}
	})
}

// What the disk holds, whatever it is, is read or refused; what is read is
// written as it was.
func FuzzHead(f *testing.F) {
	for _, h := range []head{{version: 1}, {flags: flagInline, version: 1 << 40, inline: []byte("reply")}, {flags: flagOwn | flagParts, version: 7}} {
		value := make([]byte, headSize(h))
		putHead(value, h)
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		h, err := parseHead(value)
		if err != nil {
			return
		}
		again := make([]byte, headSize(h))
		putHead(again, h)
		h2, err := parseHead(again)
		if err != nil || h2.version != h.version || h2.flags != h.flags || !bytes.Equal(h2.inline, h.inline) {
			t.Errorf("%+v comes back as %+v: %v", h, h2, err)
		}
		parseKey(value)
		parseClaim(append(value, make([]byte, slotSize)...)[:slotSize])
	})
}
