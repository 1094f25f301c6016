package rules

import (
	"bytes"
	"math"
)

// A span is a locked range. It is in two balanced (AVL) trees: one of the
// file's, by its type, and its owner's. The trees are threaded through the
// spans themselves, which keeps a lock at 80 bytes.
type span struct {
	start, last uint64
	max         uint64 // greatest last in the file's tree from here down
	lock        *lockState
	links       [2]link
	height      [2]int8
	write       bool
}

type link struct{ left, right *span }

// The trees that a span is in.
const (
	ofFile  = iota // all reads or all writes of the file: ordered by start, then stateid
	ofOwner        // all of one lock-owner, which exclude each other
)

const maxOffset = math.MaxUint64

func before(a, b *span) bool {
	if a.start != b.start {
		return a.start < b.start
	}
	return bytes.Compare(a.lock.other[:], b.lock.other[:]) < 0
}

func height(s *span, in int) int8 {
	if s == nil {
		return 0
	}
	return s.height[in]
}

// fix computes what a span knows of its subtree.
func fix(s *span, in int) {
	l := &s.links[in]
	s.height[in] = 1 + max(height(l.left, in), height(l.right, in))
	if in == ofFile {
		s.fixMax()
	}
}

func (s *span) fixMax() {
	s.max = s.last
	if l := s.links[ofFile].left; l != nil && l.max > s.max {
		s.max = l.max
	}
	if r := s.links[ofFile].right; r != nil && r.max > s.max {
		s.max = r.max
	}
}

func rotateRight(s *span, in int) *span {
	top := s.links[in].left
	s.links[in].left, top.links[in].right = top.links[in].right, s
	fix(s, in)
	fix(top, in)
	return top
}

func rotateLeft(s *span, in int) *span {
	top := s.links[in].right
	s.links[in].right, top.links[in].left = top.links[in].left, s
	fix(s, in)
	fix(top, in)
	return top
}

// balance restores the tree at s, of which one side grew or shrank by one.
func balance(s *span, in int) *span {
	l := &s.links[in]
	switch height(l.left, in) - height(l.right, in) {
	case 2:
		if k := &l.left.links[in]; height(k.left, in) < height(k.right, in) {
			l.left = rotateLeft(l.left, in)
		}
		return rotateRight(s, in)
	case -2:
		if k := &l.right.links[in]; height(k.right, in) < height(k.left, in) {
			l.right = rotateRight(l.right, in)
		}
		return rotateLeft(s, in)
	}
	fix(s, in)
	return s
}

// insert adds s to the tree and returns the tree's new root.
func insert(root, s *span, in int) *span {
	if root == nil {
		s.links[in] = link{}
		fix(s, in)
		return s
	}
	if l := &root.links[in]; before(s, root) {
		l.left = insert(l.left, s, in)
	} else {
		l.right = insert(l.right, s, in)
	}
	return balance(root, in)
}

// remove takes s, which must be there, from the tree and returns the tree's
// new root.
func remove(root, s *span, in int) *span {
	l := &root.links[in]
	switch {
	case root == s:
		if l.left == nil {
			return l.right
		}
		if l.right == nil {
			return l.left
		}
		rest, first := removeFirst(l.right, in)
		first.links[in] = link{l.left, rest}
		return balance(first, in)
	case before(s, root):
		l.left = remove(l.left, s, in)
	default:
		l.right = remove(l.right, s, in)
	}
	return balance(root, in)
}

func removeFirst(root *span, in int) (rest, first *span) {
	l := &root.links[in]
	if l.left == nil {
		return l.right, root
	}
	l.left, first = removeFirst(l.left, in)
	return balance(root, in), first
}

// touch makes the file's tree aware that the last byte of s, which is there,
// changed.
func touch(root, s *span) {
	if root != s {
		if l := &root.links[ofFile]; before(s, root) {
			touch(l.left, s)
		} else {
			touch(l.right, s)
		}
	}
	root.fixMax()
}

// overlapping calls fn for the spans of the file's tree that have a byte in
// common with start to last, in order, until fn returns false.
func overlapping(s *span, start, last uint64, fn func(*span) bool) bool {
	if s == nil || s.max < start {
		return true
	}
	if !overlapping(s.links[ofFile].left, start, last, fn) {
		return false
	}
	if s.start > last {
		return true
	}
	if s.last >= start && !fn(s) {
		return false
	}
	return overlapping(s.links[ofFile].right, start, last, fn)
}

// within calls fn for the spans of an owner's tree that have a byte in common
// with start to last, in order.
func within(s *span, start, last uint64, fn func(*span)) {
	if s == nil {
		return
	}
	if s.start > start {
		within(s.links[ofOwner].left, start, last, fn)
	}
	if s.start > last {
		return
	}
	if s.last >= start {
		fn(s)
	}
	if s.last < last {
		within(s.links[ofOwner].right, start, last, fn)
	}
}

// at returns the owner's range that starts at start, nil if there is none.
func (own *lockOwner) at(start uint64) *span {
	s := own.ranges
	for s != nil && s.start != start {
		if start < s.start {
			s = s.links[ofOwner].left
		} else {
			s = s.links[ofOwner].right
		}
	}
	return s
}

// extent returns the last byte of a range of LOCK, LOCKT or LOCKU. The error is
// ErrInval (RFC 8881 §18.10.3).
func extent(offset, length uint64) (last uint64, err error) {
	switch {
	case length == 0:
		return 0, ErrInval
	case length == maxOffset:
		return maxOffset, nil
	case length > maxOffset-offset:
		return 0, ErrInval
	}
	return offset + length - 1, nil
}

// length is the inverse of extent.
func length(start, last uint64) uint64 {
	if last == maxOffset {
		return maxOffset
	}
	return last - start + 1
}
