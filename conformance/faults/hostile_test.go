package faults_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdfast/conformance/client"
	"holdfast/conformance/faults"
	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
)

// An attacker has a scene at a server, and sends what it likes about it.
type attacker struct {
	t     *testing.T
	s     *server
	c     *client.Client
	scene *faults.Scene
	root  client.FH
	n     int
}

func newAttacker(t *testing.T, minor uint32) *attacker {
	t.Helper()
	// A small disk bounds what ALLOCATE and the like can do to this machine.
	s := serve(t, newDisk(t, "ext4", 64, "-m", "0").top, "")
	a := &attacker{t: t, s: s, c: s.client(minor, 0)}
	a.root = root(t, a.c)
	a.renew()
	return a
}

// renew makes a new scene. The old one takes no more space.
func (a *attacker) renew() {
	a.t.Helper()
	if old := filepath.Join(a.s.dir, fmt.Sprintf("scene-%d", a.n)); a.n > 0 {
		for _, f := range []string{"f", "g"} {
			if err := os.Truncate(filepath.Join(old, f), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				a.t.Fatal(err)
			}
		}
		if err := os.RemoveAll(old); err != nil {
			a.t.Fatal(err)
		}
	}
	a.n++
	scene, err := faults.NewScene(a.c, a.root, fmt.Sprintf("scene-%d", a.n))
	if err != nil {
		a.t.Fatal(err)
	}
	a.scene = scene
}

// send sends COMPOUND arguments that change makes of those of a valid request,
// and returns what came back: a reply or an RPC error. That there is neither
// fails the test. offset is where the operations begin, behind SEQUENCE.
func (a *attacker) send(r faults.Request, change func(body []byte, offset int) []byte) (*client.Reply, *client.RPCError) {
	a.t.Helper()
	var q *client.Request
	var slot *client.Slot
	conn, first := a.c.Conn(), 0
	if r.Bare || a.c.Session == nil {
		q = client.NewCompound(conn.Cred(), a.scene.Minor, "", r.Ops...)
	} else {
		slot = a.c.Session.Acquire()
		defer a.c.Session.Release(slot)
		q = slot.Request(false, r.Ops...)
		first = 1
	}
	begin := q.ArgsAt(0) - 16 // tag, minor version, count, operation
	body := change(slices.Clone(q.Bytes()[begin:]), q.ArgsAt(first)-4-begin)
	call := client.NewCall(conn.Cred(), nfs4.ProcCompd, body)
	var p *client.Reply
	var err error
	if slot != nil {
		p, err = slot.Send(conn, call)
	} else {
		p, err = conn.Do(call)
	}
	var refused *client.RPCError
	if err != nil && !errors.As(err, &refused) {
		a.s.alive()
		a.t.Fatalf("%v, %x: %v, %v", r.Op, body, p, err)
	}
	return p, refused
}

// unharmed checks that another client is served.
func (a *attacker) unharmed(honest *client.Client) {
	a.t.Helper()
	must(a.t, honest, client.PutFH(a.root), client.GetAttr(nfs4.AttrType))
}

// Every operation of a minor version has a request to make hostile ones of,
// and the server has an answer to it that is not the protocol's for nonsense.
func TestRequestsAreValid(t *testing.T) {
	needRoot(t)
	eachMinor(t, func(t *testing.T, minor uint32) {
		a := newAttacker(t, minor)
		seen := map[nfs4.Op]bool{}
		for _, r := range a.scene.Requests() {
			seen[r.Op] = true
			p, refused := a.send(r, func(b []byte, _ int) []byte { return b })
			switch {
			case refused != nil:
				t.Errorf("%v: %v", r.Op, refused)
			case p.Last().Op != r.Op || p.Status == nfs4.ErrBadXDR || p.Status == nfs4.ErrServerFault:
				t.Errorf("%v: %v", r.Op, p)
			}
			t.Logf("%v", p.Last().Op.String()+" "+p.Status.String())
		}
		for op := nfs4.OpFirst; op <= nfs4.OpLast; op++ {
			if op.In(minor) && !seen[op] {
				t.Errorf("%v: there is no request", op)
			}
		}
		a.s.alive()
	})
}

// A COMPOUND that ends too soon, wherever, is refused, as RFC 5531 and RFC 8881
// say, and has no effect beyond the operations that were complete.
func TestTruncated(t *testing.T) {
	needRoot(t)
	eachMinor(t, func(t *testing.T, minor uint32) {
		a := newAttacker(t, minor)
		honest := a.s.client(minor, 0)
		requests := a.scene.Requests()
		before := listing(t, a.s.dir)
		sent := 0
		for _, r := range requests {
			for cut, more := 0, true; more; cut++ {
				p, refused := a.send(r, func(b []byte, _ int) []byte {
					more = cut < len(b)-1
					return b[:cut]
				})
				sent++
				switch {
				case refused != nil && !refused.Reply.Denied && refused.Reply.Stat == oncrpc.GarbageArgs:
				case refused != nil:
					t.Fatalf("%v cut to %d bytes: %v", r.Op, cut, refused)
				case p.Status == nfs4.OK:
					t.Fatalf("%v cut to %d bytes: %v", r.Op, cut, p)
				case p.Status != nfs4.ErrBadXDR && p.Status != nfs4.ErrNotSupp:
					t.Errorf("%v cut to %d bytes: %v", r.Op, cut, p)
				}
			}
			a.unharmed(honest)
		}
		if after := listing(t, a.s.dir); after != before {
			t.Errorf("truncated requests changed\n%s\nto\n%s", before, after)
		}
		t.Logf("%d requests", sent)
		a.s.alive()
	})
}

// Whatever stands for a length, a count, a selector or a number in a request is
// made too large, too small or strange: there is an answer to each, others are
// served, and memory stays bounded.
func TestWrongWords(t *testing.T) {
	needRoot(t)
	eachMinor(t, func(t *testing.T, minor uint32) {
		a := newAttacker(t, minor)
		honest := a.s.client(minor, 0)
		sent, ok := 0, 0
		for i := range a.scene.Requests() {
			a.renew()
			for _, v := range []uint32{math.MaxUint32, math.MaxInt32, 1 << 31, 1 << 20, 401, 3, 0} {
				r := a.scene.Requests()[i]
				for at, more := 0, true; more; at += 4 {
					skip := false
					p, _ := a.send(r, func(b []byte, ops int) []byte {
						more = at+8 <= len(b)
						// The session's own SEQUENCE is as it should be, but for
						// its length.
						skip = at >= 12 && at < ops
						if !skip && at+4 <= len(b) {
							binary.BigEndian.PutUint32(b[at:], v)
						}
						return b
					})
					sent++
					if p != nil && p.Status == nfs4.OK {
						ok++
					}
					if p != nil && p.Status == nfs4.ErrServerFault {
						t.Errorf("%v with %#x at %d: %v", r.Op, v, at, p)
					}
				}
			}
			a.unharmed(honest)
		}
		t.Logf("%d requests, %d of them found fine; the server has %d MiB", sent, ok, a.s.memory()>>20)
		if got := a.s.memory(); got > 512<<20 {
			t.Errorf("the server takes %d bytes", got)
		}
		a.s.alive()
	})
}

// Operations that no minor version knows are OP_ILLEGAL, those of a later one
// as well.
func TestUnknownOperations(t *testing.T) {
	needRoot(t)
	eachMinor(t, func(t *testing.T, minor uint32) {
		a := newAttacker(t, minor)
		numbers := []uint32{0, 1, 2, uint32(nfs4.OpLast) + 1, 100, 1 << 16, uint32(nfs4.OpIllegal), math.MaxInt32, math.MaxUint32}
		for op := nfs4.OpFirst; op <= nfs4.OpLast; op++ {
			if !op.Known(minor) {
				numbers = append(numbers, uint32(op))
			}
		}
		for _, n := range numbers {
			p, err := a.c.Compound(client.PutFH(a.root), client.Illegal(n), client.GetFH())
			if err != nil {
				t.Fatal(err)
			}
			if last := p.Last(); p.Status != nfs4.ErrOpIllegal || last.Op != nfs4.OpIllegal || last.Status != nfs4.ErrOpIllegal {
				t.Errorf("operation %d: %v", n, p)
			}
		}
	})
}

// COMPOUNDs as long as they may be, and longer, and such as ask for more than a
// reply holds.
func TestLargeCompounds(t *testing.T) {
	needRoot(t)
	eachMinor(t, func(t *testing.T, minor uint32) {
		a := newAttacker(t, minor)
		honest := a.s.client(minor, 0)
		most := 128
		if minor > 0 {
			most = int(a.c.Session.Granted.Fore.MaxOps) - 1
		}
		deep := make([]client.Op, most)
		for i := range deep {
			deep[i] = []client.Op{client.PutFH(a.root), client.SaveFH(), client.RestoreFH(), client.GetFH()}[i%4]
		}
		must(t, a.c, deep...)
		tooMany := nfs4.ErrTooManyOps
		if minor == 0 {
			tooMany = nfs4.ErrResource
		}
		gives(t, a.c, "one operation more", tooMany, append(deep, client.GetFH())...)
		long := make([]client.Op, 100_000)
		for i := range long {
			long[i] = client.PutRootFH()
		}
		gives(t, a.c, "100,000 operations", tooMany, long...)

		// A claim of many operations without them.
		for _, n := range []uint32{math.MaxUint32, math.MaxInt32, 1 << 28, uint32(most)} {
			p, refused := a.send(faults.Request{Op: nfs4.OpPutRootFH, Ops: []client.Op{client.PutRootFH()}}, func(b []byte, _ int) []byte {
				binary.BigEndian.PutUint32(b[8:], n)
				return b
			})
			if refused == nil && p.Status == nfs4.OK {
				t.Errorf("%d operations announced, and one there: %v", n, p)
			}
		}

		// Each READ is allowed; together they exceed any reply.
		f := create(t, a.c, a.root, "big")
		if _, err := f.Write(0, nfs4.FileSync, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		var reads []client.Op
		for range most / 2 {
			reads = append(reads, client.PutFH(f.FH), client.Read(f.Stateid, 0, math.MaxUint32))
		}
		before := a.s.memory()
		for range 50 {
			p, err := a.c.Compound(reads...)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Raw) > 2<<20 {
				t.Fatalf("a reply of %d bytes", len(p.Raw))
			}
			if p.Status == nfs4.OK {
				continue // each READ gave what fitted
			}
			want := nfs4.ErrRepTooBig
			if minor == 0 {
				want = nfs4.ErrResource
			}
			if p.Status != want {
				t.Fatalf("%v, want %v", p.Status, want)
			}
		}
		if grown := a.s.memory() - before; grown > 128<<20 {
			t.Errorf("the server grew by %d bytes", grown)
		}
		a.unharmed(honest)
		a.s.alive()
	})
}

// Attribute masks of any length and with any bits.
func TestBadBitmaps(t *testing.T) {
	needRoot(t)
	eachMinor(t, func(t *testing.T, minor uint32) {
		a := newAttacker(t, minor)
		bitmap := func(count uint32, words ...uint32) []byte {
			b := binary.BigEndian.AppendUint32(nil, count)
			for _, w := range words {
				b = binary.BigEndian.AppendUint32(b, w)
			}
			return b
		}
		type kind int
		const (
			fine kind = iota
			badXDR
			either // the protocol leaves it open
		)
		many := make([]uint32, 100_000)
		last := slices.Clone(many[:40])
		last[39] = math.MaxUint32
		for what, m := range map[string]struct {
			mask []byte
			kind kind
		}{
			"no words":                     {bitmap(0), fine},
			"empty words":                  {bitmap(5, 0, 0, 0, 0, 0), fine},
			"all bits of three words":      {bitmap(3, math.MaxUint32, math.MaxUint32, math.MaxUint32), either},
			"unknown bits of a fourth":     {bitmap(4, 1<<1, 0, 0, math.MaxUint32), fine},
			"unknown bits far behind":      {bitmap(40, last...), either},
			"100,000 words":                {bitmap(uint32(len(many)), many...), either},
			"words announced, none there":  {bitmap(1), badXDR},
			"2^32-1 words announced":       {bitmap(math.MaxUint32), badXDR},
			"2^30 words, in bytes 0":       {bitmap(1<<30, 1), badXDR},
			"2^31 words and a few of them": {bitmap(1<<31, 1, 2, 3), badXDR},
		} {
			get := client.Op{Num: nfs4.OpGetAttr, Args: m.mask}
			readdir := client.Op{Num: nfs4.OpReadDir, Args: append(make([]byte, 8+8+3), 0xff, 0, 0, 0x20, 0)}
			readdir.Args = append(readdir.Args, m.mask...)
			set := client.Op{Num: nfs4.OpSetAttr, Args: append(make([]byte, 4+nfs4.OtherSize), m.mask...)}
			set.Args = append(set.Args, 0, 0, 0, 0)
			for _, op := range []client.Op{get, readdir, set} {
				p, err := a.c.Compound(client.PutFH(a.root), op)
				var refused *client.RPCError
				if errors.As(err, &refused) {
					if m.kind == fine {
						t.Errorf("%v with %s: %v", op.Num, what, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%v with %s: %v", op.Num, what, err)
				}
				switch {
				case m.kind == badXDR && p.Status != nfs4.ErrBadXDR,
					m.kind == fine && p.Status != nfs4.OK && op.Num != nfs4.OpSetAttr,
					p.Status == nfs4.ErrServerFault:
					t.Errorf("%v with %s: %v", op.Num, what, p)
				}
			}
		}
		a.s.alive()
	})
}

// The head of an RPC call, cut or with any word changed: an answer or the end of
// the connection, and nothing for others to notice.
func TestHostileCalls(t *testing.T) {
	needRoot(t)
	s := serve(t, "", "")
	honest := s.client(1, 0)
	call := client.NewCompound(*client.SysAuth(0, 0, 1, 2, 3), 0, "tag", client.PutRootFH(), client.GetFH())
	valid := call.Bytes()[oncrpc.MarkSize:]
	replies, closed := 0, 0
	try := func(rec []byte) {
		t.Helper()
		conn, err := client.Dial(t.Context(), s.addr, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		mark := binary.BigEndian.AppendUint32(nil, uint32(len(rec))|oncrpc.LastFragment)
		if err := conn.WriteRaw(append(mark, rec...)); err != nil {
			t.Fatal(err)
		}
		// The next call on the connection is answered, or the connection ends.
		if err := conn.Null(); err == nil {
			replies++
		} else if errors.Is(err, client.ErrClosed) {
			closed++
		} else {
			t.Errorf("%x: %v", rec, err)
		}
	}
	for n := range len(valid) {
		try(valid[:n])
	}
	for at := 0; at+4 <= len(valid); at += 4 {
		for _, v := range []uint32{math.MaxUint32, math.MaxInt32, 1 << 31, 401, 17, 3, 2, 1, 0} {
			rec := slices.Clone(valid)
			binary.BigEndian.PutUint32(rec[at:], v)
			try(rec)
		}
	}
	must(t, honest, client.PutRootFH())
	t.Logf("connections that went on: %d, that ended: %d", replies, closed)
	s.alive()
}
