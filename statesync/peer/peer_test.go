package peer

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An ear notes what one gateway hears of another.
type ear struct {
	mu   sync.Mutex
	got  []string
	lost int
}

func (e *ear) hear(_ string, msg []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if msg == nil {
		e.lost++
		return
	}
	e.got = append(e.got, string(msg))
}

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got)
}

func (e *ear) has(msg string) bool { return slices.Contains(e.heard(), msg) }

// connect makes a channel; change may change its options.
func connect(t testing.TB, url, name string, change func(*Options)) *Channel {
	t.Helper()
	opt := Options{URL: url, Name: name, Domain: "d", Beat: 20 * time.Millisecond, Patience: time.Minute}
	if change != nil {
		change(&opt)
	}
	c, err := Connect(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pair is a gateway that speaks and one that hears it already.
func pair(t testing.TB, url string, change func(*Options)) (*Channel, *Channel, *ear) {
	t.Helper()
	e := &ear{}
	b := connect(t, url, "b", nil)
	if err := b.Subscribe(e.hear); err != nil {
		t.Fatal(err)
	}
	until(t, "connected", b.nc.IsConnected)
	if err := b.nc.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	a := connect(t, url, "a", change)
	if err := a.Subscribe(func(string, []byte) {}); err != nil {
		t.Fatal(err)
	}
	until(t, "heard at all", func() bool {
		b.hearing.Lock()
		defer b.hearing.Unlock()
		return b.senders["a"] != nil
	})
	return a, b, e
}

// inOrder checks that exactly the messages 0 to n-1 came, in their order.
func inOrder(t *testing.T, e *ear, n int) {
	t.Helper()
	until(t, "all that was said is heard", func() bool { return e.has(text(n - 1)) })
	got := e.heard()
	if len(got) != n {
		t.Fatalf("%d messages heard, %d said", len(got), n)
	}
	for i, m := range got {
		if m != text(i) {
			t.Fatalf("message %d is %q", i, m)
		}
	}
}

func TestOrder(t *testing.T) {
	a, _, e := pair(t, startBroker(t).url(), nil)
	for i := range 1000 {
		a.Publish([]byte(text(i)))
	}
	inOrder(t, e, 1000)
}

// TestGapsAreRepaired: whatever is lost, of what is said, of questions and of
// answers, comes after all, once and in its order.
func TestGapsAreRepaired(t *testing.T) {
	for _, every := range []uint64{3, 5, 7} {
		var n atomic.Uint64
		a, b, e := pair(t, startBroker(t).url(), func(o *Options) {
			o.lose = func(byte) bool { return n.Add(1)%every == 0 }
		})
		for i := range 500 {
			a.Publish([]byte(text(i)))
		}
		inOrder(t, e, 500)
		if b.Stats().Repaired == 0 {
			t.Errorf("every %d-th message was lost and none repaired: %+v", every, b.Stats())
		}
	}
}

// TestTheLastIsMissed: a message after which nothing comes is found missing,
// too.
func TestTheLastIsMissed(t *testing.T) {
	var deaf atomic.Bool
	a, _, e := pair(t, startBroker(t).url(), func(o *Options) {
		o.lose = func(kind byte) bool { return kind == kindSaid && deaf.Load() }
	})
	deaf.Store(true)
	a.Publish([]byte("last"))
	until(t, "the last message", func() bool { return e.has("last") })
}

// TestBeyondTheRing: what a sender does not have any more is given up, and the
// receiver told.
func TestBeyondTheRing(t *testing.T) {
	var deaf atomic.Bool
	a, b, e := pair(t, startBroker(t).url(), func(o *Options) {
		o.Ring = 8
		o.lose = func(kind byte) bool { return kind != kindResync && kind != kindAgain && deaf.Load() }
	})
	deaf.Store(true)
	for i := range 100 {
		a.Publish([]byte(text(i)))
	}
	until(t, "all is sent, or dropped", func() bool { return len(a.queue) == 0 })
	deaf.Store(false)
	a.Publish([]byte("after"))
	until(t, "what came after", func() bool { return e.has("after") })
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lost == 0 || b.Stats().Lost == 0 {
		t.Fatalf("nothing lost: %+v", b.Stats())
	}
	if len(e.got) > 9 {
		t.Fatalf("%d messages out of a ring of 8", len(e.got))
	}
}

// TestAnotherRun: a gateway that starts again is numbered anew.
func TestAnotherRun(t *testing.T) {
	url := startBroker(t).url()
	a, b, e := pair(t, url, nil)
	for i := range 10 {
		a.Publish([]byte(text(i)))
	}
	inOrder(t, e, 10)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again := connect(t, url, "a", nil)
	if again.instance <= a.instance {
		t.Fatal("a later run has a lesser instance")
	}
	again.Publish([]byte("anew"))
	until(t, "the second run", func() bool { return e.has("anew") })
	if s := b.Stats(); s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

// TestBrokerGone: without NATS nobody waits and nothing fails; when it comes
// back the channel goes on by itself, and what was said meanwhile is asked for.
func TestBrokerGone(t *testing.T) {
	br := startBroker(t)
	a, b, e := pair(t, br.url(), nil)
	a.Publish([]byte(text(0)))
	inOrder(t, e, 1)
	br.kill()
	until(t, "the loss is noticed", func() bool { return !a.Stats().Connected && !b.Stats().Connected })
	for i := 1; i < 2000; i++ {
		a.Publish([]byte(text(i)))
	}
	until(t, "what cannot be sent is dropped", func() bool { return a.Stats().Dropped > 0 })
	if !br.start() {
		t.Fatal("nats-server does not start again")
	}
	inOrder(t, e, 2000)
}

// TestNobodyThere: a gateway may start before NATS does.
func TestNobodyThere(t *testing.T) {
	br := startBroker(t)
	br.kill()
	e := &ear{}
	b := connect(t, br.url(), "b", nil)
	if err := b.Subscribe(e.hear); err != nil {
		t.Fatal(err)
	}
	a := connect(t, br.url(), "a", nil)
	for range 3 * queueLen {
		a.Publish([]byte("lost"))
	}
	if !br.start() {
		t.Fatal("nats-server does not start again")
	}
	until(t, "heard", func() bool {
		a.Publish([]byte("now"))
		return e.has("now")
	})
}

// TestStrangeMessages: nothing that somebody else writes does harm.
func TestStrangeMessages(t *testing.T) {
	a, b, e := pair(t, startBroker(t).url(), nil)
	whole := [][]byte{
		numbered(kindSaid, 1, 1, []byte("x")), ask(a.instance, 1, 1<<63, "b"), ask(a.instance, 9, 3, "b"),
		reply(kindAgain, a.instance, 1<<60, "a", nil), reply(kindResync, 1, 2, "nobody", nil), {0}, {99, 1, 2}, nil,
	}
	for _, subject := range []string{a.from("z"), a.to("a"), a.to("b"), "holdfast.d.from.!", "holdfast.d.from."} {
		for _, m := range whole {
			for cut := 0; cut <= len(m); cut++ {
				if !strings.HasSuffix(subject, ".") {
					_ = b.nc.Publish(subject, m[:cut])
					_ = a.nc.Publish(subject, m[:cut])
				}
			}
		}
	}
	a.Publish([]byte("sense"))
	until(t, "sense", func() bool { return e.has("sense") })
}

// TestTLSAndPassword: the URL says it all.
func TestTLSAndPassword(t *testing.T) {
	cert, key := certificate(t)
	br := startBroker(t, "--tls", "--tlscert", cert, "--tlskey", key, "--tlscacert", cert, "--tlsverify", "--user", "gw", "--pass", "secret")
	url := "tls://gw:secret@" + br.addr + "?ca=" + cert + "&cert=" + cert + "&key=" + key
	a, _, e := pair(t, url, nil)
	a.Publish([]byte("hello"))
	until(t, "hello", func() bool { return e.has("hello") })

	bare := connect(t, "nats://"+br.addr, "c", nil)
	if bare.Stats().Connected {
		t.Error("connected without certificate and password")
	}
}

func TestURLs(t *testing.T) {
	for _, good := range []string{"nats://h", "nats://u:p@h:4222,h2:1", "tls://h?ca=/x&creds=/y"} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "nats://", "http://h", "nats://u:secret@h/x", "nats://u:secret@h,", "nats://h?secret=1&x=y", "nats://h?cert=/x"} {
		err := CheckURL(bad)
		if err == nil {
			t.Errorf("%q is taken", bad)
		} else if strings.Contains(err.Error(), "secret@") {
			t.Errorf("%q: the error shows the password: %v", bad, err)
		}
	}
}
