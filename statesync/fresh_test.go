package statesync

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"holdfast/durable"
	"holdfast/internal/moment"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync/rules"
)

// io is a request of the client that checks I/O at a gateway.
func (c *client41) io(t *testing.T, f FileKey, s nfs4.Stateid) error {
	t.Helper()
	req, fc := c.begin(0)
	defer func() { req.Finish(fc.reply) }()
	_, err := c.w.n.CheckIO(context.Background(), c.id, f, s, nfs4.ShareAccessRead, req.Since())
	return err
}

// TestClosedElsewhere: what a client did at another gateway is known as soon as it is
// back, and as long as it goes nowhere else no store is asked (G7).
func TestClosedElsewhere(t *testing.T) {
	ws := shared(t, 2)
	a, b := ws[0], ws[1]
	c := a.client41("c")
	s, err := c.opens(t, "f", "o", 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	other := b.client41("other")
	if _, err := other.opens(t, "f", "o", 1, 0); err != nil {
		t.Fatal(err) // the file's version in memory is not the latest
	}
	loads := a.n.Stats().Loads
	for range 3 {
		if err := c.io(t, "f", s); err != nil {
			t.Fatal(err)
		}
	}
	if more := a.n.Stats().Loads - loads; more != 0 {
		t.Errorf("%d loads while the client was nowhere else", more)
	}
	c = c.elsewhere(b)
	if err := c.io(t, "f", s); err != nil {
		t.Fatal(err)
	}
	c = c.elsewhere(a)
	if err := c.io(t, "f", s); err != nil {
		t.Fatalf("after a request elsewhere that changed nothing: %v", err)
	}
	c = c.elsewhere(b)
	req, fc := c.begin(0)
	fc.next()
	fc.start(nfs4.OpClose)
	if err := b.n.CloseFile(context.Background(), req, nil, c.id, "f", s, func(res *OpenResult) { fc.stateid(res.Stateid) }); err != nil {
		t.Fatal(err)
	}
	req.Finish(fc.reply)
	c = c.elsewhere(a)
	if err := c.io(t, "f", s); !errors.Is(err, ErrBadStateid) {
		t.Errorf("I/O under a stateid that the client closed elsewhere: %v", err)
	}
	req, fc = c.begin(0)
	defer func() { req.Finish(fc.reply) }()
	if err := a.n.TestStateid(context.Background(), c.id, s, req.Since()); !errors.Is(err, ErrBadStateid) {
		t.Errorf("TEST_STATEID: %v", err)
	}
}

// TestOthersAreSeen: what is about everybody's opens and locks is judged by what the
// store has, not by memory.
func TestOthersAreSeen(t *testing.T) {
	ctx := context.Background()
	ws := shared(t, 2)
	a, b := ws[0], ws[1]
	here, there := a.client41("here"), b.client41("there")
	_, err := here.opens(t, "f", "o", 3, 0)
	if err != nil {
		t.Fatal(err) // a has the file in memory
	}
	read := func() error {
		_, err := a.n.CheckIO(ctx, here.id, "g", nfs4.AnonymousStateid, nfs4.ShareAccessRead, 0)
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	if _, err := there.opens(t, "g", "o", 1, nfs4.ShareDenyRead); err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.Is(err, ErrLocked) {
		t.Errorf("READ with the anonymous stateid of what another gateway lets nobody read: %v", err)
	}
	test := &LockArgs{Client: here.id, File: "f", Owner: []byte("o"), Length: 10}
	if err := a.n.TestLock(ctx, test); err != nil {
		t.Fatal(err)
	}
	open, err := there.opens(t, "f", "o", 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	req, fc := there.begin(0)
	fc.next()
	fc.start(nfs4.OpLock)
	if err := b.n.Lock(ctx, req, nil, &LockArgs{Client: there.id, File: "f", Write: true, Length: 5, New: true, Owner: []byte("l"), Stateid: open}, fc.stateid); err != nil {
		t.Fatal(err)
	}
	req.Finish(fc.reply)
	var denied *LockDenied
	if err := a.n.TestLock(ctx, test); !errors.As(err, &denied) {
		t.Errorf("LOCKT of what is locked at another gateway: %v", err)
	}
	req, _ = here.begin(0)
	defer req.Abort()
	trunc := &OpenArgs{Client: here.id, Owner: []byte("o2"), File: "g", Access: 3}
	if err := a.n.TestOpen(ctx, req, nil, trunc); !errors.Is(err, ErrShareDenied) {
		t.Errorf("OPEN that is to truncate: %v", err)
	}
}

// TestOwnersElsewhere: the owners of NFSv4.0 are the same at every gateway: their
// sequence, what they were answered, and the stateid that they closed.
func TestOwnersElsewhere(t *testing.T) {
	ws := shared(t, 2)
	a, b := ws[0], ws[1]
	o := a.owner40("c", "owner")
	s := o.mustOpen("f")
	elsewhere := func() *owner40 { // the same owner, whose requests have xids of their own
		d := *o
		d.w, d.xid = b, o.xid+1<<20
		return &d
	}
	d := elsewhere()
	lock, err := d.lockNew("f", s, o.seq+1, "l", 1)
	if err != nil {
		t.Fatalf("LOCK at the other gateway, of an owner confirmed at the first: %v", err)
	}
	if again, err := o.lockNew("f", s, o.seq+1, "l", 1); err != nil || again != lock {
		t.Errorf("the LOCK sent again to the first: %v, %v; the first one gave %v", again, err, lock)
	}
	o.seq++
	if _, err := o.close("f", s, o.seq+5); !errors.Is(err, ErrBadSeqid) {
		t.Errorf("CLOSE with a seqid too far ahead: %v", err)
	}

	// A failure moves the sequence on, at every gateway.
	other := b.owner40("other", "other owner")
	other.xid += 1 << 24
	deny, _, err := other.open("h", 3, 3, other.seq)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.confirm("h", deny, other.seq+1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.open("h", 1, 0, o.seq+1); !errors.Is(err, ErrShareDenied) {
		t.Fatal(err)
	}
	failed := b.n.ownerNow(t, o.id, o.name)
	if failed.rec.Sequence != o.seq+1 || len(failed.rec.Reply) == 0 {
		t.Errorf("after a failure at the first gateway the other one has sequence %d with %d bytes of reply, want %d",
			failed.rec.Sequence, len(failed.rec.Reply), o.seq+1)
	}
	o.seq++

	if _, err := o.unlock("f", lock, 2); err != nil {
		t.Fatal(err)
	}
	o.seq++
	closed, err := o.close("f", s, o.seq)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := elsewhere().close("f", s, o.seq); err != nil || again != closed {
		t.Errorf("the CLOSE sent again to the other gateway: %v, %v; the first one gave %v", again, err, closed)
	}
}

// ownerNow returns what the node has of an open owner when it takes its turn.
func (n *Node) ownerNow(t *testing.T, id ClientID, name []byte) *owner {
	t.Helper()
	o, err := n.ownerTurn(context.Background(), id, rules.OpenOwner, name)
	if err != nil {
		t.Fatal(err)
	}
	defer o.turn.give()
	return o
}

// TestConnectionTells: of NFSv4.0 the connection says as of when a stateid has to be known.
func TestConnectionTells(t *testing.T) {
	ctx := context.Background()
	ws := shared(t, 2)
	a, b := ws[0], ws[1]
	o := a.owner40("c", "owner")
	s := o.mustOpen("f")
	since := moment.Next()
	if _, err := a.n.CheckIO(ctx, 0, "f", s, 1, since); err != nil {
		t.Fatal(err)
	}
	d := *o
	d.w, d.xid = b, o.xid+1<<20
	if _, err := d.close("f", s, o.seq+1); err != nil {
		t.Fatal(err)
	}
	if _, err := a.n.CheckIO(ctx, 0, "f", s, 1, moment.Next()); !errors.Is(err, ErrBadStateid) {
		t.Errorf("after a gap in the connection's calls: %v", err)
	}
}

// TestSlotsElsewhere: what a slot's last request was is asked of who ran it.
func TestSlotsElsewhere(t *testing.T) {
	ctx := context.Background()
	url, _, _ := natsServer(t)
	ws, _ := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	a, b := ws[0], ws[1]
	c := a.client41("c")
	send := func(w *world, sequence uint32, sum uint64) (*Request, error) {
		return w.n.Sequence(ctx, &SequenceArgs{Session: c.session, Slot: 1, Sequence: sequence, Highest: 7, Checksum: sum, CacheThis: true}, &fakeCompound{})
	}
	run := func(w *world, sequence uint32, reply string) {
		t.Helper()
		r, err := send(w, sequence, uint64(sequence))
		if err != nil || r.Replay != nil || r.Resume != nil {
			t.Fatalf("request %d: %v, replay %q", sequence, err, r.Replay)
		}
		r.Finish([]byte(reply))
	}
	run(a, 1, "one")
	run(a, 2, "two")
	if r, err := send(b, 2, 2); err != nil || !bytes.Equal(r.Replay, []byte("two")) {
		t.Errorf("the second request sent again to the other gateway: %v, %q", err, r.Replay)
	}
	if _, err := send(b, 2, 99); !errors.Is(err, ErrSeqFalseRetry) {
		t.Errorf("another request with its sequence: %v", err)
	}
	run(b, 3, "three")
	for _, bad := range []uint32{5, 6, 2, 1, 0} {
		if _, err := send(a, bad, 7); !errors.Is(err, ErrSeqMisordered) {
			t.Errorf("sequence %d after 3 at the other gateway: %v", bad, err)
		}
	}
	run(a, 4, "four")

	// Where it runs, a retry waits for its end.
	first, err := send(a, 5, 5)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 1)
	go func() {
		r, err := send(b, 5, 5)
		if err != nil {
			t.Error(err)
			got <- nil
			return
		}
		got <- r.Replay
	}()
	eventually(t, "the other gateway asked", func() bool {
		b.n.channel.mu.Lock()
		defer b.n.channel.mu.Unlock()
		return len(b.n.channel.inquiries) > 0
	})
	first.Finish([]byte("five"))
	if reply := <-got; !bytes.Equal(reply, []byte("five")) {
		t.Errorf("the retry beside the first run got %q", reply)
	}

	// What a gateway that ended knew is lost: the client is believed.
	run(b, 6, "six")
	if err := b.n.Close(ctx); err != nil {
		t.Fatal(err)
	}
	a.beat()
	if r, err := send(a, 9, 9); err != nil {
		t.Errorf("a sequence ahead, after a gateway ended that may have seen those before: %v", err)
	} else {
		r.Finish([]byte("nine"))
	}
}

// TestQuestionsTogether: who asks about a slot while others are about to does it in one message with them, and what is told of
// each is of the slot that was asked about, however many messages that takes.
func TestQuestionsTogether(t *testing.T) {
	ctx := context.Background()
	url, _, _ := natsServer(t)
	ws, _ := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	a, b := ws[0], ws[1]
	b.n.channel.answerIn = time.Hour
	c := a.client41("c")
	send := func(w *world, slot, sequence uint32) (*Request, error) {
		return w.n.Sequence(ctx, &SequenceArgs{Session: c.session, Slot: slot, Sequence: sequence, Highest: 7, Checksum: 1, CacheThis: true}, &fakeCompound{})
	}
	const slots = 8
	reply := func(slot uint32) []byte {
		return bytes.Repeat([]byte{byte('a' + slot)}, int(a.n.cfg.Limits.CachedBytes))
	}
	for slot := range uint32(slots) {
		r, err := send(a, slot, 1)
		if err != nil {
			t.Fatal(err)
		}
		r.Finish(reply(slot))
	}
	var wg sync.WaitGroup
	asks := &b.n.channel.questions
	before, sent := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		_ = asks.sends.Do(func() error {
			close(before)
			<-sent
			return nil
		})
	})
	<-before // what was asked earlier is being sent
	for slot := range uint32(slots) {
		wg.Go(func() {
			if r, err := send(b, slot, 1); err != nil || !bytes.Equal(r.Replay, reply(slot)) {
				t.Errorf("slot %d sent again to the other gateway: %v", slot, err)
			}
		})
	}
	eventually(t, "all wait to be sent", func() bool {
		asks.mu.Lock()
		defer asks.mu.Unlock()
		return len(asks.waiting) == slots
	})
	asked, told := listen(b), listen(a)
	close(sent)
	wg.Wait()
	if n := asked(msgSlotAsk); n != 1 {
		t.Errorf("%d questions in %d messages", slots, n)
	}
	if n := told(msgSlotTell); n < 2 {
		t.Errorf("%d answers of %d bytes in %d messages", slots, a.n.cfg.Limits.CachedBytes, n)
	}
}

// listen counts what a gateway says from now on.
func listen(w *world) func(messageKind) int {
	l := &listener{Peers: *w.n.channel.peers.Load(), said: make(map[messageKind]int)}
	var p Peers = l
	w.n.channel.peers.Store(&p)
	return func(kind messageKind) int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.said[kind]
	}
}

// A listener is a channel that counts what is published.
type listener struct {
	Peers
	mu   sync.Mutex
	said map[messageKind]int
}

func (l *listener) Publish(msg []byte) {
	r := xdr.NewReader(msg)
	r.Uint32()
	l.mu.Lock()
	l.said[messageKind(r.Uint32())]++
	l.mu.Unlock()
	l.Peers.Publish(msg)
}

// TestNoAnswerFromTheDead: who asks about a slot does not wait for a gateway that has ended or left, or does meanwhile.
func TestNoAnswerFromTheDead(t *testing.T) {
	ctx := context.Background()
	url, _, _ := natsServer(t)
	leaving := func(a, b *world) { a.n.receive("b", encodeMessage(msgLeaving, b.n.Instance())) }
	startedAgain := func(a, b *world) {
		l := leaseRecord{instance: b.n.Instance() + 1, lease: time.Minute}
		err := a.n.commitNow(ctx, &durable.Batch{Writes: []durable.Write{{Key: leaseKey("b"), Value: l.encode()}}})
		if err := errors.Join(err, a.n.observe(ctx)); err != nil {
			t.Error(err)
		}
	}
	nothing := func(a, b *world) {}
	for name, ends := range map[string]struct{ before, meanwhile func(a, b *world) }{
		"it was proven to have ended": {nothing, func(a, b *world) {
			if err := a.n.Ended(ctx, "b", b.n.Instance()); err != nil {
				t.Error(err)
			}
		}},
		"it left": {nothing, leaving},
		"it had left, and what it said before came after": {func(a, b *world) {
			leaving(a, b)
			a.n.receive("b", encodeMessage(msgAlive, b.n.Instance()))
		}, nil},
		"its lease is gone": {nothing, func(a, b *world) {
			if err := errors.Join(b.n.leave(ctx), a.n.observe(ctx)); err != nil {
				t.Error(err)
			}
		}},
		"it was started again":                          {nothing, startedAgain},
		"it is started again, and has said nothing yet": {startedAgain, nil},
	} {
		ws, chs := gatewaysWithPeers(t, url, 0, "a", "b")
		hearEachOther(t, ws)
		a, b := ws[0], ws[1]
		a.n.channel.answerIn = time.Hour
		c := a.client41("c")
		chs[1].Close() // it answers nobody
		ends.before(a, b)
		a.n.flushRenewals() // the question is what is published next
		published := a.n.channel.published.Load()
		ended := make(chan error, 1)
		go func() {
			r, err := a.n.Sequence(ctx, &SequenceArgs{Session: c.session, Slot: 1, Sequence: 1, Checksum: 7}, &fakeCompound{})
			if err == nil {
				r.Finish([]byte("reply"))
			}
			ended <- err
		}()
		if ends.meanwhile != nil {
			eventually(t, "it asks", func() bool { return a.n.channel.published.Load() > published })
			ends.meanwhile(a, b)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: it is waited for", name)
		}
	}
}

// TestOnlyTheLivingAnswer: what a process says of a slot that was declared dead, and does not know it yet, is
// not taken for the answer of the gateway that was started in its place.
func TestOnlyTheLivingAnswer(t *testing.T) {
	url, _, _ := natsServer(t)
	ws, chs := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	a := ws[0]
	a.n.channel.answerIn = time.Hour
	c := a.client41("c")
	chs[1].Close() // what b says is the test's
	const dead, now = 7, 8
	a.n.members.mu.Lock()
	a.n.members.peers["b"].instance = now
	a.n.members.mu.Unlock()
	a.n.receive("b", encodeMessage(msgAlive, now))
	ended := make(chan error, 1)
	go func() {
		r, err := a.n.Sequence(context.Background(), &SequenceArgs{Session: c.session, Slot: 1, Sequence: 3, Checksum: 7}, &fakeCompound{})
		if err == nil {
			r.Finish([]byte("reply"))
		}
		ended <- err
	}()
	var question uint64
	eventually(t, "it asks", func() bool {
		a.n.channel.mu.Lock()
		defer a.n.channel.mu.Unlock()
		question = a.n.channel.asked
		return len(a.n.channel.inquiries) > 0
	})
	for _, says := range []slotNews{{instance: dead, sequence: 7, sum: 7}, {instance: now, sequence: 2, sum: 2}} {
		w := slotTell("a", a.n.Instance())
		says.encode(&w, question)
		a.n.receive("b", w.Bytes())
	}
	if err := <-ended; err != nil {
		t.Errorf("the third request, after two elsewhere: %v", err)
	}
}

// TestJumpPastADeath: what a gateway knew that nobody had seen join, and that is declared
// dead while the others' instances are counted, is lost as well: the client is believed.
func TestJumpPastADeath(t *testing.T) {
	ctx := context.Background()
	a, b, la, _ := twoGateways(t)
	c := a.client41("c")
	r, fc := c.begin(1)
	r.Finish(fc.reply)
	c = c.elsewhere(b)
	for range 2 { // of which the store knows nothing
		r, fc := c.begin(1)
		r.Finish(fc.reply)
	}
	m := &a.n.members
	m.mu.Lock()
	delete(m.peers, "b")
	m.mu.Unlock()
	died := false
	la.scanned = func(prefix string) {
		if prefix != prefixGateway || died {
			return
		}
		died = true
		if err := a.n.Ended(ctx, "b", b.n.Instance()); err != nil {
			t.Error(err)
		}
	}
	r, fc = c.elsewhere(a).begin(1)
	r.Finish(fc.reply)
	if !died {
		t.Error("nobody counted the gateways' instances")
	}
}

// TestJumpsAreBelievedInTheEnd: a session that was seen to count right at many places
// costs no more questions.
func TestJumpsAreBelievedInTheEnd(t *testing.T) {
	url, _, _ := natsServer(t)
	ws, _ := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	c := ws[0].client41("c")
	for range enoughAsked + 2 {
		for _, w := range ws {
			c = c.elsewhere(w)
			r, fc := c.begin(2)
			r.Finish(fc.reply)
		}
	}
	asked := ws[0].n.channel.asked
	for range 10 {
		for _, w := range ws {
			c = c.elsewhere(w)
			r, fc := c.begin(2)
			r.Finish(fc.reply)
		}
	}
	if more := ws[0].n.channel.asked - asked; more != 0 {
		t.Errorf("%d questions more", more)
	}
}

// TestDestroyedElsewhere: a session that its client destroyed is served nowhere.
func TestDestroyedElsewhere(t *testing.T) {
	ctx := context.Background()
	url, _, _ := natsServer(t)
	ws, _ := gatewaysWithPeers(t, url, 0, "a", "b")
	hearEachOther(t, ws)
	c := ws[0].client41("c")
	d := c.elsewhere(ws[1])
	r, fc := d.begin(0)
	r.Finish(fc.reply)
	if err := ws[0].n.DestroySession(ctx, c.session); err != nil {
		t.Fatal(err)
	}
	d.seq[0]++
	if _, err := d.send(ctx, 0, &fakeCompound{}); !errors.Is(err, ErrBadSession) {
		t.Errorf("SEQUENCE at the other gateway: %v", err)
	}
}
