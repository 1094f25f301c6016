package statesync

import (
	"bytes"
	"context"
	"testing"
)

// TestIntroduced: a gateway that served only after it was introduced is asked by the others, although no
// beat has come since it joined; so a request that the store knows nothing of is not run twice.
func TestIntroduced(t *testing.T) {
	ctx := context.Background()
	url, _, _ := natsServer(t)
	ws, _ := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	a := ws[0]
	c := a.client41("c")
	late, _ := a.withPeers(t, url, 0, "late")
	send := func(w *world) *Request {
		t.Helper()
		r, err := w.n.Sequence(ctx, &SequenceArgs{Session: c.session, Slot: 1, Sequence: 1, Checksum: 7, CacheThis: true}, &fakeCompound{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if a.sees("late") || ws[1].sees("late") {
		t.Fatal("the others have seen it without being told")
	}
	eventually(t, "the others have seen it", func() bool {
		late.n.Introduce(ctx)
		return a.sees("late") && ws[1].sees("late")
	})
	send(late).Finish([]byte("run there"))
	if r := send(a); !bytes.Equal(r.Replay, []byte("run there")) {
		t.Errorf("sent again, to a gateway that was there before: replay %q", r.Replay)
	}
}

// sees says whether a gateway has seen another one in the store.
func (w *world) sees(name string) bool {
	w.n.members.mu.Lock()
	defer w.n.members.mu.Unlock()
	return w.n.members.peers[name] != nil
}

// TestIntroducedToTheDeaf: who does not answer keeps nobody from serving, nor the others from being told.
func TestIntroducedToTheDeaf(t *testing.T) {
	url, _, _ := natsServer(t)
	ws, chs := gatewaysWithPeers(t, url, 0, "a", "deaf")
	hearEachOther(t, ws)
	chs[1].Close()
	late, _ := ws[0].withPeers(t, url, 0, "late")
	eventually(t, "the other one has seen it", func() bool {
		late.n.Introduce(context.Background())
		return ws[0].sees("late")
	})
	if ws[1].sees("late") {
		t.Error("the deaf one has heard it")
	}
	if err := late.n.MayServe(); err != nil {
		t.Error(err)
	}
}
