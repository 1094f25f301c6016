package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"holdfast/export"
	"holdfast/internal/oncrpc"
	"holdfast/nfsops"
)

func TestNullProcedureIsAnswered(t *testing.T) {
	c := dial(t, start(t, Config{Handler: newTestHandler()}))
	h := header(1)
	h.Proc = 0
	if rep, rest := c.call(h); !rep.OK() || len(rest) != 0 {
		t.Fatalf("%v, %x", &rep, rest)
	}
}

// RFC 5531 §9: how calls that are not carried out are answered. The
// connection goes on after each.
func TestRefusals(t *testing.T) {
	c := dial(t, start(t, Config{Handler: newTestHandler()}))
	for _, tc := range []struct {
		name string
		edit func(h *oncrpc.Call)
		want string
	}{
		{"another program", func(h *oncrpc.Call) { h.Prog = 100004 }, "PROG_UNAVAIL"},
		{"mount without NFSv3", func(h *oncrpc.Call) { h.Prog, h.Vers = ProgramMount, 3 }, "PROG_UNAVAIL"},
		{"version 3", func(h *oncrpc.Call) { h.Vers = 3 }, "PROG_MISMATCH (4 to 4)"},
		{"version 5", func(h *oncrpc.Call) { h.Vers = 5 }, "PROG_MISMATCH (4 to 4)"},
		{"procedure 2", func(h *oncrpc.Call) { h.Proc = 2 }, "PROC_UNAVAIL"},
		{"RPCSEC_GSS", func(h *oncrpc.Call) { h.Cred.Flavor = oncrpc.RPCSecGSS }, "denied: AUTH_BADCRED"},
		{"RPCSEC_GSS NULL", func(h *oncrpc.Call) { h.Cred.Flavor, h.Proc = oncrpc.RPCSecGSS, 0 }, "denied: AUTH_BADCRED"},
		{"AUTH_TLS", func(h *oncrpc.Call) { h.Cred.Flavor, h.Proc = oncrpc.AuthTLS, 0 }, "denied: AUTH_BADCRED"},
		{"AUTH_SYS cut short", func(h *oncrpc.Call) { h.Cred = oncrpc.Auth{Flavor: oncrpc.AuthSys, Body: make([]byte, 8)} }, "denied: AUTH_BADCRED"},
		{"undecodable arguments", func(h *oncrpc.Call) {}, "GARBAGE_ARGS"},
	} {
		h := header(9)
		tc.edit(&h)
		rep, rest := c.call(h, doGarbage)
		if got := rep.String(); got != tc.want || len(rest) != 0 {
			t.Errorf("%s: %s with %d bytes, want %s", tc.name, got, len(rest), tc.want)
		}
	}
	b := record(header(10))
	binary.BigEndian.PutUint32(b[12:], 3)
	c.send(b)
	if rep, _ := c.recv(); rep.String() != "denied: RPC_MISMATCH (2 to 2)" {
		t.Errorf("RPC version 3: %v", &rep)
	}
	c.echo(11)
}

func TestStrayReplyIsIgnored(t *testing.T) {
	c := dial(t, start(t, Config{Handler: newTestHandler()}))
	b := record(header(1))
	binary.BigEndian.PutUint32(b[8:], oncrpc.MsgReply)
	c.send(b)
	c.echo(2)
}

// A panic and an error of the handler become SYSTEM_ERR; what the handler had
// written before is not in the reply, and the connection goes on.
func TestPanicAndErrorAreSystemErr(t *testing.T) {
	for _, quick := range []bool{false, true} {
		var log bytes.Buffer
		h := newTestHandler()
		h.quick = quick
		s := start(t, Config{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		c := dial(t, s)
		for _, what := range []uint32{doPanic, doFail} {
			rep, rest := c.call(header(what), what)
			if rep.Stat != oncrpc.SystemErr || len(rest) != 0 {
				t.Errorf("quick=%v, %d: %v with %d bytes", quick, what, &rep, len(rest))
			}
		}
		c.echo(3)
		if s.Stats().Panics != 1 || !strings.Contains(log.String(), "Compound") {
			t.Errorf("quick=%v: %d panics, log without stack: %s", quick, s.Stats().Panics, log.String())
		}
	}
}

// A request that must not be answered ends the connection, so that the client
// sends it again.
func TestGoneResetsTheConnection(t *testing.T) {
	for _, quick := range []bool{false, true} {
		h := newTestHandler()
		h.quick = quick
		s := start(t, Config{Handler: h})
		c := dial(t, s)
		c.echo(1)
		c.send(record(header(2), doGone))
		if err := c.closed(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("quick=%v: the connection ends with %v, want a reset", quick, err)
		}
		until(t, "it is forgotten", func() bool { return s.Stats().Connections == 0 && s.Stats().MemoryUsed == 0 })
		dial(t, s).echo(3)
	}
}

func TestCredentialsReachTheHandler(t *testing.T) {
	h := newTestHandler()
	c := dial(t, start(t, Config{Handler: h}))
	for i := range 20 {
		sys := oncrpc.SysCred{Machine: []byte("host"), UID: uint32(1000 + i%10), GID: 50}
		sys.SetGroups([]uint32{7, uint32(i % 10)})
		head := header(uint32(i))
		head.Cred = sys.Auth()
		if rep, _ := c.call(head, doEcho); !rep.OK() {
			t.Fatal(&rep)
		}
		got := h.last.Load()
		want := export.Creds{UID: uint32(1000 + i%10), GID: 50, Groups: []uint32{7, uint32(i % 10)}}
		if got.Flavor != nfsops.AuthSys || got.Machine != "host" || got.Creds.UID != want.UID || got.Creds.GID != want.GID ||
			!slices.Equal(got.Creds.Groups, want.Groups) || got.XID != uint32(i) || !got.Remote.IsLoopback() || got.Conn == nil {
			t.Fatalf("%d: %+v", i, got)
		}
	}
	c.echo(99)
	if got := h.last.Load(); got.Flavor != nfsops.AuthNone {
		t.Fatalf("AUTH_NONE: %+v", got)
	}
}

// A slow request holds up nothing behind it, whether it was forecast to be slow
// or wrongly to be quick.
func TestSlowRequestHoldsUpNobody(t *testing.T) {
	for _, quick := range []bool{false, true} {
		h := newTestHandler()
		h.quick = quick
		s := start(t, Config{Handler: h})
		c := dial(t, s)
		c.send(slices.Concat(record(header(1), doBlock), record(header(2), doBlock), record(header(3), doEcho)))
		if rep, _ := c.recv(); rep.XID != 3 {
			t.Fatalf("quick=%v: reply to %d came first", quick, rep.XID)
		}
		c.echo(4)
		close(h.gate)
		a, _ := c.recv()
		b, _ := c.recv()
		if a.XID+b.XID != 3 || !a.OK() || !b.OK() {
			t.Fatalf("quick=%v: %v and %v", quick, &a, &b)
		}
		c.echo(5)
	}
}

// Many requests at once over several connections: each gets its own answer,
// once. Run with the race detector this also checks the hand-over of the
// reader's role.
func TestManyRequestsAtOnce(t *testing.T) {
	for _, quick := range []bool{false, true} {
		h := newTestHandler()
		h.quick = quick
		s := start(t, Config{Handler: h, Limits: Limits{InFlight: 16}})
		var wg sync.WaitGroup
		for range 4 {
			c := dial(t, s)
			const n = 3000
			wg.Go(func() {
				for i := range uint32(n) {
					if _, err := c.c.Write(record(header(i), doEcho, i)); err != nil {
						t.Error(err)
						return
					}
				}
			})
			wg.Go(func() {
				seen := make([]bool, n)
				for range n {
					buf, err := c.rd.Next(&c.p)
					if err != nil {
						t.Error(err)
						return
					}
					xid := binary.BigEndian.Uint32(buf.B)
					if got := binary.BigEndian.Uint32(buf.B[len(buf.B)-4:]); got != xid || seen[xid] {
						t.Errorf("reply to %d (seen before: %v) holds %d", xid, seen[xid], got)
						return
					}
					seen[xid] = true
					buf.Free()
				}
			})
		}
		wg.Wait()
		if used := s.memory.used.Load(); used != 0 {
			until(t, "all memory is given back", func() bool { return s.memory.used.Load() == 0 })
		}
	}
}

// At most InFlight requests of a connection run; the rest waits in TCP and is
// carried out later.
func TestInFlightIsBounded(t *testing.T) {
	h := newTestHandler()
	s := start(t, Config{Handler: h, Limits: Limits{InFlight: 8}})
	c := dial(t, s)
	other := dial(t, s)
	const n = 50
	for i := range uint32(n) {
		c.send(record(header(i), doBlock))
	}
	until(t, "eight requests run", func() bool { return h.blocked.Load() == 8 })
	for i := range uint32(100) {
		other.echo(i)
	}
	if got := h.blocked.Load(); got != 8 {
		t.Fatalf("%d requests run", got)
	}
	close(h.gate)
	for range n {
		if rep, _ := c.recv(); !rep.OK() {
			t.Fatal(&rep)
		}
	}
}

func TestMultipleFragments(t *testing.T) {
	c := dial(t, start(t, Config{Handler: newTestHandler()}))
	whole := record(header(5), doEcho, 5)[4:]
	for i := 0; i < len(whole); i += 4 {
		m := uint32(4)
		if i+4 == len(whole) {
			m |= oncrpc.LastFragment
		}
		c.send(append(binary.BigEndian.AppendUint32(nil, m), whole[i:i+4]...))
	}
	if rep, _ := c.recv(); rep.XID != 5 || !rep.OK() {
		t.Fatal(&rep)
	}
}

func TestTooLargeRecordEndsTheConnection(t *testing.T) {
	c := dial(t, start(t, Config{Handler: newTestHandler(), Limits: Limits{Record: 64 << 10}}))
	c.send(binary.BigEndian.AppendUint32(nil, 64<<10+1|oncrpc.LastFragment))
	if c.closed() == nil {
		t.Fatal("closed with FIN, want a reset")
	}
}

func TestBothAddressFamilies(t *testing.T) {
	probe, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	probe.Close()
	port := func(s *Server) string {
		_, p, _ := net.SplitHostPort(s.Addrs()[0].String())
		return p
	}
	for _, plan := range [][]string{{":0"}, {"[::]:0"}, {"127.0.0.1:0", "[::1]:0"}} {
		s := start(t, Config{Handler: newTestHandler(), Listen: plan})
		if len(plan) == 1 {
			dialAddr(t, "127.0.0.1:"+port(s)).echo(1)
			dialAddr(t, "[::1]:"+port(s)).echo(2)
			continue
		}
		for i, a := range s.Addrs() {
			dialAddr(t, a.String()).echo(uint32(i))
		}
	}
	// Both wildcards with the same port are two sockets.
	s := start(t, Config{Handler: newTestHandler(), Listen: []string{":0"}})
	p := port(s)
	s.Close()
	start(t, Config{Handler: newTestHandler(), Listen: []string{"[::]:" + p, "0.0.0.0:" + p}})
	dialAddr(t, "127.0.0.1:"+p).echo(3)
	dialAddr(t, "[::1]:"+p).echo(4)
}
