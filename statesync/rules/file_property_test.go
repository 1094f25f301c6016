package rules

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"holdfast/durable"
	"holdfast/internal/nfs4"
)

// world runs the rules and the oracle side by side.
type world struct {
	t     testing.TB
	rnd   *rand.Rand
	f     *File
	there *File // of another gateway, which receives every change
	o     *oracle
	store map[string][]byte // the parts that the deltas wrote
	next  uint32
	log   []string
	did   map[string]int // operations by outcome, to see that the run had all of them
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), f: &File{}, there: &File{}, o: newOracle(),
		store: map[string][]byte{}, did: map[string]int{},
	}
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	from := max(0, len(w.log)-12)
	w.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(w.log[from:], "\n"))
}

func (w *world) other() (other Other) {
	w.next++
	// Not in order, so that trees and lists see all of them.
	binary.BigEndian.PutUint32(other[:], w.next*2654435761)
	binary.BigEndian.PutUint32(other[8:], w.next)
	return other
}

// parts returns what the store holds.
func (w *world) parts() []durable.Part {
	var parts []durable.Part
	for _, name := range slices.Sorted(maps.Keys(w.store)) {
		parts = append(parts, durable.Part{Name: name, Value: w.store[name]})
	}
	return parts
}

// commit writes a delta, applies it, and checks that the File is what the store
// says and what the oracle says.
func (w *world) commit(d *Delta) {
	w.t.Helper()
	if !sameParts(w.f.Parts(), w.parts()) {
		w.fatalf("a rule changed the File")
	}
	opens, locks := w.f.opens.len(), w.f.locks.len()
	written := map[string]bool{}
	writes := d.Writes(nil, "file/x")
	if len(writes) != d.Len() {
		w.fatalf("%d writes, Len %d", len(writes), d.Len())
	}
	for _, wr := range writes {
		if wr.Key != "file/x" || written[wr.Name] {
			w.fatalf("part %q of %q written twice", wr.Name, wr.Key)
		}
		written[wr.Name] = true
		if _, there := w.store[wr.Name]; wr.Value == nil && !there {
			w.fatalf("part %q deleted and not there", wr.Name)
		}
		if wr.Value == nil {
			delete(w.store, wr.Name)
		} else {
			w.store[wr.Name] = wr.Value
		}
	}
	if err := w.f.Apply(d); err != nil {
		w.fatalf("Apply: %v", err)
	}
	d.Stateids(func(_ ClientID, _ Other, made bool) {
		if made {
			opens++
		} else {
			opens--
		}
	})
	w.receive(d, writes)
	if opens+locks != w.f.opens.len()+w.f.locks.len() {
		w.fatalf("Stateids tells of %d, there are %d", opens+locks, w.f.opens.len()+w.f.locks.len())
	}
	w.check()
}

// receive has the other gateway receive the writes of a change.
func (w *world) receive(d *Delta, writes []durable.Write) {
	w.t.Helper()
	received, err := w.there.Received(writes)
	if err == nil {
		err = w.there.Apply(received)
	}
	if err != nil {
		w.fatalf("received: %v", err)
	}
	if !sameParts(w.there.Parts(), w.parts()) {
		w.fatalf("what received the change is not what the store holds")
	}
	told := func(d *Delta) map[gone]bool {
		m := map[gone]bool{}
		d.Stateids(func(c ClientID, other Other, made bool) { m[gone{other, c}] = made })
		return m
	}
	if !maps.Equal(told(d), told(received)) {
		w.fatalf("the change tells of the stateids %v, received of %v", told(d), told(received))
	}
	w.checkIndexes(w.there)
	w.checkOracle(w.there)
}

func sameParts(a, b []durable.Part) bool {
	return slices.EqualFunc(a, b, func(a, b durable.Part) bool {
		return a.Name == b.Name && bytes.Equal(a.Value, b.Value)
	})
}

func (w *world) check() {
	w.t.Helper()
	stored := w.parts()
	if !sameParts(w.f.Parts(), stored) {
		w.fatalf("the File's parts are not those of the store")
	}
	again, err := DecodeFile(stored)
	if err != nil {
		w.fatalf("DecodeFile: %v", err)
	}
	if !sameParts(again.Parts(), stored) {
		w.fatalf("decoded and encoded again, the parts differ")
	}
	for _, f := range []*File{w.f, again} {
		w.checkIndexes(f)
		w.checkOracle(f)
	}
	if w.rnd.IntN(8) == 0 {
		w.f = again // as after a restart
	}
}

// checkIndexes checks what the parts do not show.
func (w *world) checkIndexes(f *File) {
	w.t.Helper()
	n := 0
	for i, tree := range []*span{f.reads, f.writes} {
		k, err := checkTree(tree, ofFile)
		if err != nil {
			w.fatalf("tree %d: %v", i, err)
		}
		n += k
	}
	owned, hung := 0, 0
	f.lockOwner.each(func(own *lockOwner) {
		k, err := checkTree(own.ranges, ofOwner)
		if err != nil {
			w.fatalf("owner %v: %v", own.owner, err)
		}
		owned += k
	})
	f.locks.each(func(l *lockState) {
		hung += l.ranges
		if l.owner.through(l.open) != l {
			w.fatalf("lock %x is not its owner's", l.other)
		}
	})
	if n != f.ranges || owned != n || hung != n {
		w.fatalf("%d ranges, %d in the file's trees, %d in owners' trees, %d in lock stateids", f.ranges, n, owned, hung)
	}
	if f.opens.len() != f.openOwner.len() {
		w.fatalf("%d opens of %d owners", f.opens.len(), f.openOwner.len())
	}
	var accessed, denied [2]int
	f.opens.each(func(o *open) {
		for bit := range 2 {
			accessed[bit] += int(o.access >> bit & 1)
			denied[bit] += int(o.deny >> bit & 1)
		}
	})
	if accessed != f.accessed || denied != f.denied {
		w.fatalf("access %v and deny %v are counted as %v and %v", accessed, denied, f.accessed, f.denied)
	}
	opens := 0
	f.clients.each(func(c *fileClient) {
		for p := c.opens; p != nil; p = p.next {
			opens++
			if p.owner.client != c.id || p.next != nil && p.next.prev != p {
				w.fatalf("list of client %d is broken", c.id)
			}
		}
	})
	if opens != f.opens.len() {
		w.fatalf("%d opens, %d in clients' lists", f.opens.len(), opens)
	}
}

// checkTree checks order, balance and maxima, and counts.
func checkTree(s *span, in int) (n int, err error) {
	if s == nil {
		return 0, nil
	}
	l := s.links[in]
	a, err := checkTree(l.left, in)
	if err != nil {
		return 0, err
	}
	b, err := checkTree(l.right, in)
	if err != nil {
		return 0, err
	}
	hl, hr := height(l.left, in), height(l.right, in)
	switch {
	case l.left != nil && !before(l.left, s), l.right != nil && !before(s, l.right):
		return 0, fmt.Errorf("out of order at %d", s.start)
	case hl-hr > 1 || hr-hl > 1 || s.height[in] != 1+max(hl, hr):
		return 0, fmt.Errorf("out of balance at %d", s.start)
	}
	if in == ofFile {
		m := s.last
		for _, k := range []*span{l.left, l.right} {
			if k != nil {
				m = max(m, k.max)
			}
		}
		if m != s.max {
			return 0, fmt.Errorf("max at %d", s.start)
		}
	}
	return a + b + 1, nil
}

func (w *world) checkOracle(f *File) {
	w.t.Helper()
	if f.Opens() != len(w.o.opens) || f.locks.len() != len(w.o.locks) {
		w.fatalf("%d opens and %d locks, oracle has %d and %d", f.Opens(), f.locks.len(), len(w.o.opens), len(w.o.locks))
	}
	for _, p := range w.o.opens {
		s, ok := f.Find(p.other)
		if !ok || s.Kind != KindOpen || s.Stateid.Seqid != p.seqid || s.Client != p.owner.client ||
			string(s.Owner) != p.owner.name || s.Access != p.access || s.Deny != p.deny ||
			s.UID != p.uid || s.Confirmed == p.unconfirmed {
			w.fatalf("open %+v is %+v", *p, s)
		}
	}
	for _, l := range w.o.locks {
		s, ok := f.Find(l.other)
		if !ok || s.Kind != KindLock || s.Stateid.Seqid != l.seqid || s.Client != l.owner.client ||
			string(s.Owner) != l.owner.name || s.Open.Other != l.open {
			w.fatalf("lock %+v is %+v", *l, s)
		}
	}
	ranges := 0
	for i := range cells {
		for k, b := range w.o.bytes[i] {
			if i == 0 || w.o.bytes[i-1][k] != b {
				ranges++
			}
		}
	}
	if f.Ranges() != ranges {
		w.fatalf("%d ranges, oracle has %d", f.Ranges(), ranges)
	}
	for i := range cells {
		n := 0
		for _, tree := range []*span{f.reads, f.writes} {
			overlapping(tree, cellStart(i), cellEnd(i), func(s *span) bool {
				n++
				if b := w.o.bytes[i][s.lock.owner.owner]; b.other != s.lock.other || b.write != s.write ||
					s.start > cellStart(i) || s.last < cellEnd(i) {
					w.fatalf("cell %d: range %d to %d of %v, write %t", i, s.start, s.last, s.lock.owner.owner, s.write)
				}
				return true
			})
		}
		if n != len(w.o.bytes[i]) {
			w.fatalf("cell %d is in %d ranges, oracle has %d", i, n, len(w.o.bytes[i]))
		}
	}
}

// same checks the results of rules and oracle, and notes them.
func (w *world) same(op string, got, want any, gotErr, wantErr error) bool {
	w.t.Helper()
	w.log = append(w.log, fmt.Sprintf("%s: %v, %v", op, want, wantErr))
	if !sameError(gotErr, wantErr) {
		w.fatalf("error %v, oracle has %v", gotErr, wantErr)
	}
	if wantErr == nil && got != want {
		w.fatalf("result %+v, oracle has %+v", got, want)
	}
	kind, _, _ := strings.Cut(op, " ")
	outcome := "ok"
	var denied *LockDenied
	if errors.As(wantErr, &denied) {
		outcome = "denied"
	} else if wantErr != nil {
		outcome = wantErr.Error()
	}
	w.did[kind+" "+outcome]++
	return wantErr == nil
}

// ref returns a stateid: mostly one that is good.
func (w *world) ref(locks bool) Ref {
	var ref Ref
	n := len(w.o.opens)
	if locks {
		n = len(w.o.locks)
	}
	if w.rnd.IntN(20) == 0 || n == 0 {
		ref.Stateid.Other = w.other() // unknown
		ref.Stateid.Seqid = w.rnd.Uint32N(3)
		ref.Client = 1
		return ref
	}
	if locks {
		l := w.o.locks[w.rnd.IntN(n)]
		ref = Ref{Stateid: nfs4.Stateid{Seqid: l.seqid, Other: l.other}, Client: l.owner.client}
	} else {
		p := w.o.opens[w.rnd.IntN(n)]
		ref = Ref{Stateid: nfs4.Stateid{Seqid: p.seqid, Other: p.other}, Client: p.owner.client}
	}
	switch w.rnd.IntN(24) {
	case 0:
		ref.Stateid.Seqid++
	case 1:
		if ref.Stateid.Seqid > 1 {
			ref.Stateid.Seqid--
		}
	case 2:
		ref.Client = ClientID(w.rnd.IntN(5))
	case 3, 4, 5:
		ref.Stateid.Seqid = 0
		ref.Minor0 = w.rnd.IntN(4) == 0
	}
	return ref
}

// cells returns a range of cells, as cells, as offset and as length.
func (w *world) cells() (from, to int, offset, length uint64) {
	from = w.rnd.IntN(cells)
	to = from + w.rnd.IntN(cells-from)
	if w.rnd.IntN(2) == 0 {
		to = min(cells-1, from+w.rnd.IntN(4))
	}
	offset = cellStart(from)
	if from == 0 && to == cells-2 {
		to-- // its length would mean to the end
	}
	if to == cells-1 {
		return from, to, offset, maxOffset
	}
	return from, to, offset, cellEnd(to) - offset + 1
}

func (w *world) step(shares bool) {
	w.t.Helper()
	client := ClientID(1 + w.rnd.IntN(4))
	name := []byte{'a' + byte(w.rnd.IntN(3))}
	deadMask := 0
	if w.rnd.IntN(30) == 0 {
		deadMask = w.rnd.IntN(32)
	}
	dead := func(c ClientID) bool { return deadMask>>c&1 != 0 }
	alive := func(c ClientID) { deadMask &^= 1 << c }
	switch n := w.rnd.IntN(100); {
	case n < 12:
		req := &OpenRequest{
			Client: client, Owner: name, Access: 1 + w.rnd.Uint32N(3),
			UID: 1000 + uint32(client), Unconfirmed: w.rnd.IntN(8) == 0, NewOther: w.other(),
		}
		if shares {
			req.Deny = w.rnd.Uint32N(4) & w.rnd.Uint32N(4)
		}
		if w.rnd.IntN(10) == 0 {
			req.UID++
		}
		alive(client)
		st, live, wantErr := w.o.Open(req, dead)
		res, d, err := w.f.Open(req, dead)
		if w.same(fmt.Sprintf("open %+v", *req), res.Stateid, st, err, wantErr) {
			w.commit(d)
		} else if c := new(ShareConflict); !errors.As(err, &c) || !slices.Equal(c.Clients, live) {
			w.fatalf("conflict %v, oracle has clients %v", err, live)
		}
	case n < 16:
		ref := w.ref(w.rnd.IntN(10) == 0)
		st, wantErr := w.o.Confirm(ref)
		res, d, err := w.f.Confirm(ref)
		if w.same(fmt.Sprintf("confirm %+v", ref), res.Stateid, st, err, wantErr) {
			w.commit(d)
		}
	case n < 20:
		ref := w.ref(w.rnd.IntN(10) == 0)
		access, deny := 1+w.rnd.Uint32N(3), w.rnd.Uint32N(4)
		st, wantErr := w.o.Downgrade(ref, access, deny)
		res, d, err := w.f.Downgrade(ref, access, deny)
		if w.same(fmt.Sprintf("downgrade %+v %d %d", ref, access, deny), res.Stateid, st, err, wantErr) {
			w.commit(d)
		}
	case n < 24:
		ref := w.ref(w.rnd.IntN(10) == 0)
		st, wantErr := w.o.Close(ref)
		res, d, err := w.f.Close(ref)
		if w.same(fmt.Sprintf("close %+v", ref), res.Stateid, st, err, wantErr) {
			w.commit(d)
		}
	case n < 60:
		from, to, offset, length := w.cells()
		req := &LockRequest{
			Ref: w.ref(n < 40), New: n >= 40, Owner: name, Write: w.rnd.IntN(3) == 0,
			Offset: offset, Length: length, NewOther: w.other(),
		}
		if w.rnd.IntN(20) == 0 {
			req.New = !req.New
		}
		if s, ok := w.f.Find(req.Stateid.Other); ok {
			alive(s.Client)
		}
		before := w.rangesOf(w.clientOf(req.Stateid.Other))
		st, wantErr := w.o.Lock(req, from, to, dead)
		got, d, err := w.f.Lock(req, dead)
		if w.same(fmt.Sprintf("lock %+v", *req), got, st, err, wantErr) {
			w.commit(d)
			if more := w.rangesOf(w.clientOf(st.Other)) - before; more != d.RangesMore() {
				w.fatalf("%d ranges more, RangesMore says %d", more, d.RangesMore())
			}
		}
	case n < 80:
		from, to, offset, length := w.cells()
		ref := w.ref(w.rnd.IntN(20) != 0)
		before := w.rangesOf(w.clientOf(ref.Stateid.Other))
		st, wantErr := w.o.Unlock(ref, from, to)
		got, d, err := w.f.Unlock(ref, offset, length)
		if w.same(fmt.Sprintf("unlock %+v %d %d", ref, offset, length), got, st, err, wantErr) {
			w.commit(d)
			if more := w.rangesOf(w.clientOf(st.Other)) - before; more != d.RangesMore() {
				w.fatalf("%d ranges more, RangesMore says %d", more, d.RangesMore())
			}
		}
	case n < 86:
		from, to, offset, length := w.cells()
		alive(client)
		req := &TestRequest{Client: client, Owner: name, Write: w.rnd.IntN(2) == 0, Offset: offset, Length: length}
		var wantErr error
		if denied, _ := w.o.denied(owner{client, string(name)}, from, to, req.Write, dead); denied != nil {
			wantErr = denied
		}
		w.same(fmt.Sprintf("test %+v", *req), nil, nil, w.f.TestLock(req, dead), wantErr)
	case n < 92:
		ref := w.ref(w.rnd.IntN(2) == 0)
		switch w.rnd.IntN(6) {
		case 0:
			ref.Stateid = nfs4.AnonymousStateid
		case 1:
			ref.Stateid = nfs4.BypassStateid
		}
		access := 1 + w.rnd.Uint32N(3)
		want, wantErr := w.o.CheckIO(ref, access, dead)
		got, err := w.f.CheckIO(ref, access, dead)
		w.same(fmt.Sprintf("io %+v %d", ref, access), got, want, err, wantErr)
	case n < 96:
		ref := w.ref(w.rnd.IntN(5) != 0)
		wantErr := w.o.FreeStateid(ref)
		d, err := w.f.FreeStateid(ref)
		if w.same(fmt.Sprintf("free %+v", ref), nil, nil, err, wantErr) {
			w.commit(d)
		}
	case n < 98:
		wantErr := w.o.ReleaseLockOwner(owner{client, string(name)})
		d, err := w.f.ReleaseLockOwner(client, name)
		if w.same(fmt.Sprintf("release %d %s", client, name), nil, nil, err, wantErr) {
			w.commit(d)
		}
	case n < 99 && w.rnd.IntN(3) == 0:
		had := w.f.HasClient(client)
		w.o.dropClient(client)
		d := w.f.DropClient(client)
		if had != (d != nil) {
			w.fatalf("client %d has something: %t, DropClient changes: %t", client, had, d != nil)
		}
		w.log = append(w.log, fmt.Sprintf("dropclient %d", client))
		w.did["dropclient ok"]++
		w.commit(d)
	case w.rnd.IntN(3) == 0:
		ref := w.ref(false)
		w.o.dropOpen(ref.Stateid.Other)
		w.log = append(w.log, fmt.Sprintf("dropopen %x", ref.Stateid.Other))
		w.did["dropopen ok"]++
		w.commit(w.f.DropOpen(ref.Stateid.Other))
	}
}

func (w *world) clientOf(other Other) ClientID {
	s, _ := w.f.Find(other)
	return s.Client
}

func (w *world) rangesOf(c ClientID) (n int) {
	w.f.Each(func(i Info) bool {
		if i.Lock && i.Client == c {
			n++
		}
		return true
	})
	return n
}

func TestLongSequencesAgainstOracle(t *testing.T) {
	seeds, steps := 40, 1500
	if testing.Short() {
		seeds, steps = 8, 500
	}
	did := map[string]int{}
	for seed := range uint64(seeds) {
		w := newWorld(t, seed)
		for range steps {
			w.step(seed%2 == 0)
		}
		for k, n := range w.did {
			did[k] += n
		}
	}
	for _, k := range []string{
		"open ok", "open share reservation denied", "confirm ok", "confirm bad stateid", "downgrade ok",
		"downgrade invalid argument", "close ok", "close bad stateid", "close old stateid", "lock ok", "lock denied",
		"lock bad stateid", "lock old stateid", "lock file not open for this access", "unlock ok",
		"unlock bad stateid", "test ok", "test denied", "io ok", "io conflicts with a share reservation",
		"io bad stateid", "io file not open for this access", "free ok", "free locks are held", "release ok",
		"release locks are held", "dropclient ok", "dropopen ok",
	} {
		if did[k] == 0 {
			t.Errorf("no run had %q", k)
		}
	}
	t.Log(did)
}
