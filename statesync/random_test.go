package statesync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"holdfast/internal/nfs4"
)

// TestRandomCrashes lets three clients lock and unlock at random, and ends the
// gateway at random effects. A plain array of bytes says what each request
// must answer, also when it is sent again after a crash.
func TestRandomCrashes(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomCrashes(t, seed) })
	}
}

func randomCrashes(t *testing.T, seed uint64) {
	const bytes = 24
	rnd := rand.New(rand.NewPCG(seed, 7))
	w, store := arm(t)
	var owner [bytes]int // who has a byte; 0 is nobody
	type state struct {
		c          *client41
		open, lock nfs4.Stateid
	}
	var clients []*state
	for i := range 3 {
		c := w.client41(fmt.Sprint(i))
		clients = append(clients, &state{c: c, open: c.mustOpen("f")})
	}
	crashes := 0
	for step := range 120 {
		who := rnd.IntN(len(clients))
		s := clients[who]
		off := uint64(rnd.IntN(bytes - 1))
		length := 1 + uint64(rnd.IntN(bytes-int(off)))
		lock := s.lock == (nfs4.Stateid{}) || rnd.IntN(3) > 0
		free := true
		for i := off; i < off+length; i++ {
			free = free && (owner[i] == 0 || owner[i] == who+1)
		}
		store.left.Store(1 + rnd.Int64N(12))

		run := func(r *Request, fc *fakeCompound) (nfs4.Stateid, error) {
			if lock {
				a := &LockArgs{Client: s.c.id, File: "f", Write: true, Offset: off, Length: length, Stateid: s.lock}
				if s.lock == (nfs4.Stateid{}) {
					a.New, a.Owner, a.Stateid = true, []byte("l"), s.open
				}
				return w.lock41(r, fc, a)
			}
			if fc.index > 0 {
				r.Finish(fc.reply)
				return stateidOf(fc.reply), nil
			}
			fc.start(nfs4.OpLockU)
			err := w.n.Unlock(context.Background(), r, nil, s.c.id, "f", s.lock, off, length, fc.stateid)
			w.end(r, fc, err)
			if err != nil {
				return nfs4.Stateid{}, err
			}
			return stateidOf(fc.reply), nil
		}
		got, err := run(s.c.begin(0))
		for store.dead.Load() {
			crashes++
			w.crash(store)
			store = rearm(w)
			if rnd.IntN(4) == 0 {
				store.left.Store(1 + rnd.Int64N(3)) // and once more
			}
			got, err = run(s.c.again(0))
		}
		store.left.Store(0)

		var denied *LockDenied
		switch {
		case lock && !free:
			if !errors.As(err, &denied) {
				t.Fatalf("step %d: a lock in the way of another was answered with %v %v", step, got, err)
			}
		case err != nil:
			t.Fatalf("step %d: %v", step, err)
		default:
			want := s.lock.Seqid + 1
			if got.Seqid != want {
				t.Fatalf("step %d: seqid %d, want %d: the request ran twice", step, got.Seqid, want)
			}
			s.lock = got
			for i := off; i < off+length; i++ {
				if lock {
					owner[i] = who + 1
				} else if owner[i] == who+1 {
					owner[i] = 0
				}
			}
		}
	}
	if crashes < 5 {
		t.Errorf("only %d crashes", crashes)
	}
	infos, err := w.n.Locks(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var stored [bytes]int
	for _, i := range infos {
		for b := i.Offset; i.Lock && b < i.Offset+i.Length; b++ {
			for n, s := range clients {
				if s.c.id == i.Client {
					stored[b] = n + 1
				}
			}
		}
	}
	if stored != owner {
		t.Errorf("the store has %v, want %v", stored, owner)
	}
}

// rearm puts a new crasher before the store that survived, and lets the node go
// on with it.
func rearm(w *world) *crasher {
	w.t.Helper()
	c := &crasher{Store: w.store}
	_ = w.n.Close(context.Background())
	w.store = c
	w.join()
	return c
}
