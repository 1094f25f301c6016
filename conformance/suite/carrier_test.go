package suite

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast/internal/oncrpc"
)

// message is an RPC message of the given type with a body, behind its mark.
func message(xid, mtype uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, 1<<31|uint32(8+len(body)))
	b = binary.BigEndian.AppendUint32(b, xid)
	b = binary.BigEndian.AppendUint32(b, mtype)
	return append(b, body...)
}

// readMessage reads a message of one fragment.
func readMessage(r io.Reader) (xid, mtype uint32, body string, err error) {
	var head [12]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[:])&^(1<<31)-8)
	_, err = io.ReadFull(r, rest)
	return binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:]), string(rest), err
}

// A station is one address of a server. It notes what comes, and does with each
// message what the test says; false ends the connection.
type station struct {
	l    net.Listener
	does func(s *station, nc net.Conn, xid, mtype uint32, body string) bool

	mu   sync.Mutex
	came []uint32
}

func newStation(t *testing.T, does func(s *station, nc net.Conn, xid, mtype uint32, body string) bool) *station {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &station{l: l, does: does}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(nc)
		}
	}()
	return s
}

func (s *station) serve(nc net.Conn) {
	defer nc.Close()
	for {
		xid, mtype, body, err := readMessage(nc)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.came = append(s.came, xid)
		s.mu.Unlock()
		if !s.does(s, nc, xid, mtype, body) {
			return
		}
	}
}

func (s *station) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", s.l.Addr().String())
}

func (s *station) xids() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.came)
}

// echo answers each call with its own body.
func echo(_ *station, nc net.Conn, xid, _ uint32, body string) bool {
	_, err := nc.Write(message(xid, oncrpc.MsgReply, body))
	return err == nil
}

// hangUp ends the connection instead of answering.
func hangUp(*station, net.Conn, uint32, uint32, string) bool { return false }

func carrierOver(t *testing.T, legs int, resend bool, stations ...*station) *carrier {
	t.Helper()
	var dials []Dial
	for _, s := range stations {
		dials = append(dials, s.dial)
	}
	c, err := newCarrier(t.Context(), dials, legs, resend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// wantAnswers reads n replies and requires that they are the calls' own, each once.
func wantAnswers(t *testing.T, c *carrier, n int) {
	t.Helper()
	seen := make(map[uint32]bool)
	for range n {
		xid, mtype, body, err := readMessage(c)
		if err != nil {
			t.Fatal(err)
		}
		if mtype != oncrpc.MsgReply || body != "body" || seen[xid] {
			t.Errorf("message %d of type %d: %q, seen before: %v", xid, mtype, body, seen[xid])
		}
		seen[xid] = true
	}
}

// Consecutive calls take the legs in turn.
func TestCarrierSpreads(t *testing.T) {
	a, b, c := newStation(t, echo), newStation(t, echo), newStation(t, echo)
	car := carrierOver(t, 3, false, a, b, c)
	for xid := range uint32(7) {
		if _, err := car.Write(message(xid, oncrpc.MsgCall, "body")); err != nil {
			t.Fatal(err)
		}
		wantAnswers(t, car, 1)
	}
	for i, s := range []*station{a, b, c} {
		if got, want := s.xids(), [][]uint32{{0, 3, 6}, {1, 4}, {2, 5}}[i]; !slices.Equal(got, want) {
			t.Errorf("address %d got %v, want %v", i, got, want)
		}
	}
}

// A record is sent once it is whole, however it was written.
func TestCarrierWholeRecords(t *testing.T) {
	s := newStation(t, echo)
	car := carrierOver(t, 1, false, s)
	two := slices.Concat(message(1, oncrpc.MsgCall, "body"), message(2, oncrpc.MsgCall, "body"))
	for _, b := range two[:len(two)-1] {
		if _, err := car.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	wantAnswers(t, car, 1)
	if got := s.xids(); !slices.Equal(got, []uint32{1}) {
		t.Errorf("%v came before the second was whole", got)
	}
	if _, err := car.Write(two[len(two)-1:]); err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, car, 1)
}

// wholeRecord counts all fragments, and is 0 until the last is there.
func TestWholeRecord(t *testing.T) {
	fragments := []byte{0, 0, 0, 2, 'a', 'b', 0x80, 0, 0, 1, 'c'}
	for n := range fragments {
		if got := wholeRecord(fragments[:n]); got != 0 {
			t.Errorf("of %d bytes: %d", n, got)
		}
	}
	if got := wholeRecord(append(bytes.Clone(fragments), 0x80)); got != len(fragments) {
		t.Errorf("whole: %d", got)
	}
}

// What was not answered when the connection broke is sent once more by the next
// address, in its order and unchanged; what was answered is not.
func TestCarrierResends(t *testing.T) {
	dying := newStation(t, func(s *station, nc net.Conn, xid, mtype uint32, body string) bool {
		switch {
		case xid == 1:
			return echo(s, nc, xid, mtype, body)
		case xid < 4:
			return true // taken, and not answered
		}
		return false
	})
	next := newStation(t, echo)
	car := carrierOver(t, 1, true, dying, next)
	for xid := uint32(1); xid <= 4; xid++ {
		if _, err := car.Write(message(xid, oncrpc.MsgCall, "body")); err != nil {
			t.Fatal(err)
		}
		if xid == 1 {
			wantAnswers(t, car, 1)
		}
	}
	wantAnswers(t, car, 3)
	if got := next.xids(); !slices.Equal(got, []uint32{2, 3, 4}) {
		t.Errorf("the next address got %v", got)
	}
	for xid := uint32(1); xid <= 4; xid++ {
		if car.wasResent(xid) != (xid > 1) {
			t.Errorf("call %d: resent is %v", xid, car.wasResent(xid))
		}
	}
}

// A call that no address answers ends the carrier and is not sent forever.
func TestCarrierGivesUp(t *testing.T) {
	s := newStation(t, hangUp)
	car := carrierOver(t, 1, true, s)
	if _, err := car.Write(message(9, oncrpc.MsgCall, "body")); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := readMessage(car); err == nil {
		t.Error("an answer to what was never answered")
	}
	if n := len(s.xids()); n != carrierTries+1 {
		t.Errorf("sent %d times", n)
	}
}

// Without resending the end of a connection is the carrier's.
func TestCarrierEnds(t *testing.T) {
	car := carrierOver(t, 1, false, newStation(t, hangUp), newStation(t, echo))
	_, _ = car.Write(message(1, oncrpc.MsgCall, "body"))
	if _, _, _, err := readMessage(car); err == nil {
		t.Error("the call went elsewhere")
	}
	if _, err := car.Write(message(2, oncrpc.MsgCall, "body")); err == nil {
		t.Error("it can still be written to")
	}
}

// The answer to a callback goes where the callback came from.
func TestCarrierAnswersCallbacks(t *testing.T) {
	answered := make(chan uint32, 1)
	other := newStation(t, echo)
	caller := newStation(t, func(_ *station, nc net.Conn, xid, mtype uint32, _ string) bool {
		if mtype == oncrpc.MsgReply {
			answered <- xid
			return true
		}
		_, err := nc.Write(slices.Concat(message(77, oncrpc.MsgCall, "callback"), message(xid, oncrpc.MsgReply, "body")))
		return err == nil
	})
	car := carrierOver(t, 2, false, other, caller)
	for xid := range uint32(2) { // the second goes to the caller
		if _, err := car.Write(message(xid, oncrpc.MsgCall, "body")); err != nil {
			t.Fatal(err)
		}
		if xid == 0 {
			wantAnswers(t, car, 1)
		}
	}
	xid, mtype, body, err := readMessage(car)
	if err != nil || xid != 77 || mtype != oncrpc.MsgCall || body != "callback" {
		t.Fatalf("%d, %d, %q, %v", xid, mtype, body, err)
	}
	if _, err := car.Write(message(77, oncrpc.MsgReply, "done")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-answered:
		if got != 77 {
			t.Errorf("answered %d", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("the answer did not come back to its caller")
	}
}
