package statesync

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/durable/memory"
	"holdfast/internal/nfs4"
)

// TestClientRestart: RFC 8881 §18.35.4 case 5 and §18.36.4: the old
// incarnation lives until the new one is confirmed, and dies then.
func TestClientRestart(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	old := w.client41("a")
	exchange := func(v byte) ExchangeIDResult {
		t.Helper()
		x, err := w.n.ExchangeID(ctx, &ExchangeIDArgs{Owner: []byte("a"), Verifier: nfs4.Verifier{v}, Principal: "p", Minor: 2})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if x := exchange(1); x.Client != old.id || x.Flags&nfs4.ExchgConfirmedR == 0 {
		t.Errorf("a probe: %+v", x)
	}
	x := exchange(2)
	if x.Client == old.id || x.Flags&nfs4.ExchgConfirmedR != 0 {
		t.Fatalf("a restarted client: %+v", x)
	}
	r, fc := old.begin(0)
	r.Finish(fc.reply)
	w.restart()
	fresh := &client41{w: w, id: x.Client}
	fresh.session = fresh.newSession(x.Sequence)
	if _, err := old.send(ctx, 0, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Errorf("the old incarnation after the new one was confirmed: %v", err)
	}
	if _, err := w.n.CreateSession(ctx, &CreateSessionArgs{Client: old.id, Sequence: 2, Principal: "p"}); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("a session for the old incarnation: %v", err)
	}
	if err := w.n.sweepAll(ctx); err != nil {
		t.Fatal(err)
	}
	for _, g := range w.store.(*memory.Store).Dump() {
		if bytes.HasPrefix([]byte(g.Key), []byte(prefixGone)) || g.Key == sessionKey(old.session) {
			t.Errorf("%q is left", g.Key)
		}
	}
}

// TestPrincipalCollision: RFC 8881 §18.35.4 case 3.
func TestPrincipalCollision(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	w.client41("a")
	other := &ExchangeIDArgs{Owner: []byte("a"), Verifier: nfs4.Verifier{1}, Principal: "q", Minor: 1}
	if _, err := w.n.ExchangeID(ctx, other); !errors.Is(err, ErrClientIDInUse) {
		t.Errorf("with state: %v", err)
	}
	w.clock.advance(11 * time.Second)
	if x, err := w.n.ExchangeID(ctx, other); err != nil || x.Flags&nfs4.ExchgConfirmedR != 0 {
		t.Errorf("once its lease ran out: %+v %v", x, err)
	}
}

func TestUnconfirmedClientDies(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	x, err := w.n.ExchangeID(ctx, &ExchangeIDArgs{Owner: []byte("a"), Minor: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.restart() // it survives that
	w.clock.advance(9 * time.Second)
	if err := w.n.sweepAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.n.client(ctx, x.Client); err != nil {
		t.Fatalf("too early: %v", err)
	}
	w.clock.advance(2 * time.Second)
	if err := w.n.sweepAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.n.client(ctx, x.Client); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("after a lease: %v", err)
	}
}

func TestCourtesyEnds(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Courtesy = time.Minute })
	ctx := context.Background()
	c := w.client41("a")
	w.clock.advance(50 * time.Second)
	if err := w.n.sweepAll(ctx); err != nil {
		t.Fatal(err)
	}
	r, fc := c.begin(0)
	r.Finish(fc.reply)
	w.clock.advance(71 * time.Second)
	if err := w.n.sweepAll(ctx); err != nil {
		t.Fatal(err)
	}
	c.seq[0]++
	if _, err := c.send(ctx, 0, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Errorf("after lease and courtesy: %v", err)
	}
	if n := w.n.Stats(); n.Revoked != 1 || n.Clients != 0 || n.Sessions != 0 {
		t.Errorf("%+v", n)
	}
}

func (w *world) client40(id string) ClientID {
	w.t.Helper()
	ctx := context.Background()
	res, err := w.n.SetClientID(ctx, &SetClientIDArgs{ID: []byte(id), Verifier: nfs4.Verifier{1}, Principal: "p", CallbackAddr: "here"})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.n.SetClientIDConfirm(ctx, res.Client, res.Confirm, "p"); err != nil {
		w.t.Fatal(err)
	}
	return res.Client
}

func TestSetClientID(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	id := w.client40("a")
	if err := w.n.Renew(ctx, id, "p"); err != nil {
		t.Error(err)
	}
	if err := w.n.Renew(ctx, id+1, "p"); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("RENEW of nobody: %v", err)
	}
	// The owner must have state to be protected from another principal.
	w.clock.advance(time.Second)
	update, err := w.n.SetClientID(ctx, &SetClientIDArgs{ID: []byte("a"), Verifier: nfs4.Verifier{1}, Principal: "p", CallbackAddr: "there"})
	if err != nil || update.Client != id {
		t.Fatalf("callback update: %+v %v", update, err)
	}
	w.restart()
	if err := w.n.SetClientIDConfirm(ctx, id, update.Confirm, "p"); err != nil {
		t.Error(err)
	}
	c, err := w.n.client(ctx, id)
	if err != nil || c.view.Load().rec.Callback.Addr != "there" {
		t.Errorf("callback after the update: %v", err)
	}
	if err := w.n.SetClientIDConfirm(ctx, id, nfs4.Verifier{}, "p"); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("confirming with another verifier: %v", err)
	}
	restarted, err := w.n.SetClientID(ctx, &SetClientIDArgs{ID: []byte("a"), Verifier: nfs4.Verifier{2}, Principal: "p"})
	if err != nil || restarted.Client == id {
		t.Fatalf("client restart: %+v %v", restarted, err)
	}
	if err := w.n.SetClientIDConfirm(ctx, restarted.Client, restarted.Confirm, "p"); err != nil {
		t.Fatal(err)
	}
	if err := w.n.Renew(ctx, id, "p"); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("the old incarnation: %v", err)
	}
	// One that was revoked is told so.
	w.clock.advance(25 * time.Hour)
	if err := w.n.sweepAll(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.n.Renew(ctx, restarted.Client, "p"); !errors.Is(err, ErrExpired) {
		t.Errorf("RENEW after revocation: %v", err)
	}
	w.clock.advance(25 * time.Hour)
	if err := w.n.sweepAll(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.n.Renew(ctx, restarted.Client, "p"); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("RENEW long after revocation: %v", err)
	}
}

func TestReclaimCompleteOnce(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	c := w.client41("a")
	r, _ := c.begin(0)
	if err := w.n.ReclaimComplete(ctx, r, true); err != nil {
		t.Errorf("for one file system: %v", err)
	}
	if err := w.n.ReclaimComplete(ctx, r, false); !errors.Is(err, ErrCompleteAlready) {
		t.Errorf("again: %v", err)
	}
	r.Finish(nil)
}

// TestIdentityStays: a restart changes nothing that a client could see but the
// write verifier.
func TestIdentityStays(t *testing.T) {
	w := newWorld(t, nil)
	id, v := w.n.Identity(), w.n.WriteVerifier()
	c := w.client41("a")
	w.restart()
	again := w.n.Identity()
	if !bytes.Equal(id.ServerOwner, again.ServerOwner) || !bytes.Equal(id.Scope, again.Scope) || id.HandleKey != again.HandleKey {
		t.Error("another identity")
	}
	if v == w.n.WriteVerifier() {
		t.Error("the same write verifier")
	}
	s, err := w.n.Session(context.Background(), c.session)
	if err != nil || s.Client != c.id || s.Fore.MaxSlots != 8 {
		t.Errorf("session %+v %v", s, err)
	}
}

func TestJoinRefuses(t *testing.T) {
	ctx := context.Background()
	for what, tc := range map[string]struct {
		value []byte
		want  error
	}{
		"newer":   {[]byte{0, 0, 0, 9, 1, 2, 3}, durable.ErrFormat},
		"damaged": {[]byte{0, 0, 0, 1, 1, 2, 3}, durable.ErrDamaged},
		"empty":   {[]byte{}, durable.ErrDamaged},
	} {
		store := memory.New()
		ack, err := store.Commit(ctx, &durable.Batch{Writes: []durable.Write{{Key: keyCluster, Value: tc.value}}})
		if err == nil {
			err = ack.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Join(ctx, Config{Store: store, Name: "g"}); !errors.Is(err, tc.want) {
			t.Errorf("%s cluster record: %v", what, err)
		}
	}
	if _, err := Join(ctx, Config{Store: memory.New()}); err == nil {
		t.Error("a gateway without a name joined")
	}
	if _, err := Join(ctx, Config{Store: memory.New(), Name: "g", Lease: time.Millisecond}); err == nil {
		t.Error("a lease of a millisecond was accepted")
	}
}
