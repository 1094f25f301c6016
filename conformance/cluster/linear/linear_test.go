package linear

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server answers operations one after the other, by the models. fault, if not nil, is asked before each whether something
// goes wrong, and may change the state or the result.
type server struct {
	mu     sync.Mutex
	states map[string]any
	made   int
	fault  func(n int, op Op, state any) (Op, any)
	n      int
}

// candidates are the results that an operation could have.
func candidates(op Op, s *server) []Op {
	switch o := op.(type) {
	case LockOp:
		all := []Op{o}
		o.Denied = true
		t, _ := s.states[o.object()].(lockTable)
		for i := o.From; i < o.To; i++ {
			for owner := range Owners {
				for _, write := range []bool{false, true} {
					o.Because = Held{owner, write, i, i + 1}
					if o.reason(&t, o.Do == LockWrite || o.Do == TestWrite) {
						all = append(all, o)
					}
				}
			}
		}
		return all
	case OpenOp:
		refused := o
		refused.Refused = true
		return []Op{o, refused}
	case NameOp:
		var all []Op
		t, _ := s.states[o.object()].(nameTable)
		for _, result := range []string{Done, Exists, Absent} {
			o.Result = result
			if o.Do == Look {
				o.Object = t[o.Name].object
			}
			all = append(all, o)
		}
		return all
	}
	panic("no such operation")
}

func (s *server) do(op Op) Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if o, ok := op.(NameOp); ok && (o.Do == Make || o.Do == Link) {
		s.made++
		o.Object = fmt.Sprint("object", s.made)
		op = o
	}
	key := op.object()
	for _, c := range candidates(op, s) {
		ok, next := c.step(s.states[key])
		if !ok {
			continue
		}
		s.states[key] = next
		if s.fault != nil {
			c, s.states[key] = s.fault(s.n, c, next)
		}
		return c
	}
	return op // it is beside itself
}

// player makes random operations of one kind; it knows what its owner has open.
type player struct {
	owner  int
	rand   *rand.Rand
	access uint32
}

func (p *player) next(kind string) Op {
	from := p.rand.IntN(Bytes)
	switch kind {
	case "locks":
		all := []string{LockRead, LockWrite, Unlock, TestRead, TestWrite}
		return LockOp{File: "f", Owner: p.owner, Do: all[p.rand.IntN(len(all))], From: from, To: from + 1 + p.rand.IntN(Bytes-from)}
	case "opens":
		switch {
		case p.access == 0:
			return OpenOp{File: "f", Owner: p.owner, Do: Open, Access: 1 + p.rand.Uint32N(3), Deny: p.rand.Uint32N(4)}
		case p.rand.IntN(3) == 0:
			return OpenOp{File: "f", Owner: p.owner, Do: Open, Access: 1 + p.rand.Uint32N(3), Deny: p.rand.Uint32N(4)}
		case p.rand.IntN(2) == 0:
			return OpenOp{File: "f", Owner: p.owner, Do: Downgrade, Access: p.access & -p.access, Deny: 0}
		}
		return OpenOp{File: "f", Owner: p.owner, Do: Close}
	}
	all := []string{Make, Link, Remove, Rename, Look}
	return NameOp{In: "d", Do: all[p.rand.IntN(len(all))], Name: p.rand.IntN(Names), To: p.rand.IntN(Names), Dir: p.rand.IntN(2) == 0}
}

func (p *player) saw(op Op) {
	switch o, _ := op.(OpenOp); {
	case o.Do == Open && !o.Refused:
		p.access |= o.Access
	case o.Do == Downgrade:
		p.access = o.Access
	case o.Do == Close:
		p.access = 0
	}
}

// play lets six clients work on a server at the same time.
func play(kind string, each int, s *server) *History {
	h := NewHistory()
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			p := &player{owner: i, rand: rand.New(rand.NewPCG(uint64(i), 7))}
			for range each {
				op := p.next(kind)
				end := h.Begin(i)
				runtime.Gosched()
				op = s.do(op)
				runtime.Gosched()
				end(op)
				p.saw(op)
			}
		})
	}
	all.Wait()
	return h
}

const limit = time.Minute

var kinds = []string{"locks", "opens", "names"}

// TestRight: what a server shows that does one thing after the other is linearizable.
func TestRight(t *testing.T) {
	for _, kind := range kinds {
		if err := play(kind, 1000, &server{states: map[string]any{}}).Check(limit); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestWrong: it is noticed when a server forgets what is held, and when answers are wrong, although most are right.
func TestWrong(t *testing.T) {
	const at = 2000
	flips := map[string]func(Op) Op{
		"locks": func(op Op) Op { o := op.(LockOp); o.Denied = false; return o },
		"opens": func(op Op) Op { o := op.(OpenOp); o.Refused = !o.Refused; return o },
		"names": func(op Op) Op { o := op.(NameOp); o.Object = "what nobody made"; return o },
	}
	// What is told of it: the operations that show it.
	shows := map[string]func(Op) bool{
		"locks": func(op Op) bool { return op.(LockOp).Denied },
		"opens": func(op Op) bool { return op.(OpenOp).Refused },
		"names": func(op Op) bool { o := op.(NameOp); return o.Do == Look && o.Result == Done },
	}
	for _, kind := range kinds {
		forgot, flipped := 0, 0
		forget := &server{states: map[string]any{}, fault: func(n int, op Op, state any) (Op, any) {
			if n < at || n%10 != 0 {
				return op, state
			}
			forgot++
			return op, nil
		}}
		flip := &server{states: map[string]any{}, fault: func(n int, op Op, state any) (Op, any) {
			if n < at || n%10 != 0 || !shows[kind](op) {
				return op, state
			}
			flipped++
			return flips[kind](op), state
		}}
		for name, s := range map[string]*server{"forgets what is held": forget, "gives wrong answers": flip} {
			err := play(kind, 1000, s).Check(limit)
			if err == nil || !strings.Contains(err.Error(), "no order") {
				t.Errorf("%s: a server that %s now and then: %v", kind, name, err)
			}
		}
		if forgot == 0 || flipped == 0 {
			t.Errorf("%s: nothing went wrong: %v, %v", kind, forgot, flipped)
		}
	}
}

// TestTwoHolders is the smallest history that must be refused: two clients have one lock.
func TestTwoHolders(t *testing.T) {
	h := NewHistory()
	for i := range 2 {
		h.Begin(i)(LockOp{File: "f", Owner: i, Do: LockWrite, From: 0, To: 1})
	}
	err := h.Check(limit)
	if err == nil {
		t.Fatal("two holders of one lock are taken for right")
	}
	if !strings.Contains(err.Error(), "owner 1: write lock") {
		t.Errorf("the report does not tell what is wrong: %v", err)
	}
	h = NewHistory()
	end := h.Begin(0) // both at the same time, and one gives it back before it ends
	h.Begin(1)(LockOp{File: "f", Owner: 1, Do: LockWrite, From: 0, To: 1})
	h.Begin(1)(LockOp{File: "f", Owner: 1, Do: Unlock, From: 0, To: 1})
	end(LockOp{File: "f", Owner: 0, Do: LockWrite, From: 0, To: 1})
	if err := h.Check(limit); err != nil {
		t.Errorf("a lock that was granted when it was free: %v", err)
	}
}
