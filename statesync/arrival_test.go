package statesync

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// trips notes what is loaded from a store, a line for each time that it is asked.
type trips struct {
	durable.Store
	mu     sync.Mutex
	loads  [][]string
	loaded func(keys []string) // not nil: called before each load
}

func (s *trips) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	s.mu.Lock()
	s.loads = append(s.loads, keys)
	loaded := s.loaded
	s.mu.Unlock()
	if loaded != nil {
		loaded(keys)
	}
	return s.Store.Load(ctx, keys...)
}

// TestArrivalAsksOnce: what the first request of a client at a gateway needs is read at one go, and the first one of another
// slot needs that slot only.
func TestArrivalAsksOnce(t *testing.T) {
	a, b, _, lb := twoGateways(t)
	store := &trips{Store: lb.Store}
	lb.Store = store
	c := a.client41("a")
	r, fc := c.begin(0)
	if _, err := a.create(r, fc, "name"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.n.readRenewals(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.loads = nil
	moved := c.elsewhere(b)
	for _, slot := range []uint32{0, 1} {
		r, fc := moved.begin(slot)
		r.Finish(fc.reply)
	}
	want := [][]string{
		{sessionKey(c.session), slotKey(c.session, 0), clientKey(c.id)},
		{slotKey(c.session, 1)},
	}
	if !slices.EqualFunc(store.loads, want, slices.Equal) {
		t.Errorf("loaded were %q, want %q", store.loads, want)
	}
}

// TestArrivalOfRetry: the record of a slot that is read along with the session says what the request is.
func TestArrivalOfRetry(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	c := a.client41("a")
	r, fc := c.begin(2)
	if _, err := a.create(r, fc, "name"); err != nil {
		t.Fatal(err)
	}
	r, fc = c.elsewhere(b).again(2)
	if r.Resume == nil {
		t.Fatal("the request that was carried out runs again")
	}
	if status, err := b.create(r, fc, "name"); err != nil || status != nfs4.OK {
		t.Errorf("sent again it is %v, %v", status, err)
	}
}

// TestOlderSessionID: a session whose ID does not tell of its client, as those that older programs made.
func TestOlderSessionID(t *testing.T) {
	a, b, _, _ := twoGateways(t)
	c := a.client41("a")
	made := c.session
	for i := range c.session[:8] {
		c.session[i] ^= 0xff
	}
	groups, err := a.store.Load(t.Context(), sessionKey(made), clientKey(c.id))
	if err != nil {
		t.Fatal(err)
	}
	session, err := rules.DecodeSession(head(groups[0]))
	if err != nil {
		t.Fatal(err)
	}
	client, err := rules.DecodeClient(head(groups[1]))
	if err != nil {
		t.Fatal(err)
	}
	session.ID, client.Sessions = c.session, []nfs4.SessionID{c.session}
	ack, err := a.store.Commit(t.Context(), &durable.Batch{Writes: []durable.Write{
		{Key: sessionKey(c.session), Value: session.Encode()}, {Key: clientKey(c.id), Value: client.Encode()},
	}})
	if err == nil {
		err = ack.Wait()
	}
	if err != nil {
		t.Fatal(err)
	}
	moved := c.elsewhere(b)
	moved.seq = [8]uint32{}
	r, fc := moved.begin(1)
	if r.Client != c.id {
		t.Errorf("the request is of client %x, want %x", r.Client, c.id)
	}
	r.Finish(fc.reply)
	moved.session[15] ^= 0xff
	if _, err := moved.send(t.Context(), 1, fc); !errors.Is(err, ErrBadSession) {
		t.Errorf("a session that is none: %v", err)
	}
}

// TestBackBesideSlot: a client that may count as late is noted in the store while the slot is read.
func TestBackBesideSlot(t *testing.T) {
	a, b, la, _ := twoGateways(t)
	late, _ := late(t, a, b)
	a.mustSession(late)
	store := &trips{Store: la.Store}
	la.Store = store
	read := make(chan struct{})
	var once sync.Once
	store.loaded = func(keys []string) {
		if slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, prefixSlot) }) {
			once.Do(func() { close(read) })
		}
	}
	la.before = func(batch *durable.Batch) {
		if slices.ContainsFunc(batch.Writes, func(w durable.Write) bool { return w.Key == keyRenewed }) {
			select {
			case <-read:
			case <-time.After(10 * time.Second):
				t.Error("the slot is not read before the client is noted")
			}
		}
	}
	there := late.elsewhere(a)
	there.seq[5]++
	req, err := there.send(t.Context(), 5, &fakeCompound{})
	if err != nil {
		t.Fatal(err)
	}
	req.Finish(nil)
}

// mustSession brings a client's session into memory.
func (w *world) mustSession(c *client41) {
	w.t.Helper()
	if _, err := w.n.session(context.Background(), c.session, 0); err != nil {
		w.t.Fatal(err)
	}
}
