package gateway

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/oncrpc"
)

// badConnections is how many connections do no good in
// TestTenThousandBadConnections. They are another process's, so that each
// process needs that many descriptors only.
const badConnections = 10_000

const badClientsEnv = "HOLDFAST_TEST_BAD_CLIENTS"

func TestMain(m *testing.M) {
	if addr := os.Getenv(badClientsEnv); addr != "" {
		if err := badClients(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// badClients connects, says so on standard output, and stays until standard
// input ends.
func badClients(addr string) error {
	if err := raiseFiles(badConnections + 200); err != nil {
		return err
	}
	garbage := make([]byte, 512)
	for i := range garbage {
		garbage[i] = byte(rand.Uint32())
	}
	half := record(header(1), make([]uint32, 200)...)
	announce := append(binary.BigEndian.AppendUint32(nil, 1<<20|oncrpc.LastFragment), half[4:200]...)
	conns := make([]net.Conn, badConnections)
	for i := range conns {
		// Several source addresses, so that ephemeral ports suffice.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		conns[i] = c
		switch i % 4 {
		case 1:
			c.Write(half[:len(half)/2])
		case 2:
			c.Write(garbage)
		case 3:
			c.Write(announce)
		}
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
	return nil
}

// raiseFiles raises the limit of descriptors to at least n.
func raiseFiles(n uint64) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	if lim.Cur >= n {
		return nil
	}
	want := syscall.Rlimit{Cur: n, Max: max(n, lim.Max)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
		return fmt.Errorf("needs %d descriptors, the limit is %d: %w", n, lim.Max, err)
	}
	return nil
}

// 10,000 connections that send nothing, half a record or garbage do not hurt
// the others: those are answered all the time, memory stays bounded, and the
// bad ones are closed when their time is over.
func TestTenThousandBadConnections(t *testing.T) {
	if err := raiseFiles(badConnections + 500); err != nil {
		t.Skip(err)
	}
	s := start(t, Config{Handler: newTestHandler()})
	good := dial(t, s)
	good.echo(1)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), badClientsEnv+"="+s.Addrs()[0].String())
	child.Stderr = os.Stderr
	hold, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer hold.Close()
	ready := make(chan string, 1)
	go func() {
		text := make([]byte, 64)
		n, _ := out.Read(text)
		ready <- string(text[:n])
	}()
	for i := uint32(0); ; i++ {
		good.echo(i) // while they come
		select {
		case said := <-ready:
			if !strings.HasPrefix(said, "ready") {
				t.Fatalf("the bad clients failed: %q", said)
			}
		default:
			continue
		}
		break
	}
	until(t, "all are accepted", func() bool { return s.Stats().Accepted == badConnections+1 })
	for i := range uint32(1000) {
		good.echo(i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / badConnections
	t.Logf("%d connections open, %d bytes for each", s.Stats().Connections, each)
	if each > 48<<10 {
		t.Errorf("%d bytes for each bad connection", each)
	}
	s.sweep(time.Now().Add(2 * time.Minute))
	until(t, "the bad ones are closed", func() bool { return s.Stats().Connections == 1 })
	good.echo(7)
}

// Half records bigger than the memory for all of them: the ones stuck longest
// are closed, and a client that means well is served.
func TestMemoryIsBounded(t *testing.T) {
	const limit = 4 << 20
	s := start(t, Config{Handler: newTestHandler(), Limits: Limits{Memory: limit}})
	good := dial(t, s)
	body := make([]byte, 1<<20-8)
	var wg sync.WaitGroup
	for range 64 {
		c := dial(t, s)
		wg.Go(func() {
			c.c.Write(binary.BigEndian.AppendUint32(nil, 1<<20|oncrpc.LastFragment))
			c.c.Write(body)
		})
	}
	until(t, "all of them are stuck", func() bool { // before the good client sends: who is stuck longest goes first
		partial := 0
		for _, c := range s.snapshot() {
			if c.partialSince.Load() != 0 {
				partial++
			}
		}
		return partial+int(s.Stats().ClosedMemory) >= 64 // one that is being closed is in both
	})
	big := record(header(5), append([]uint32{doEcho}, make([]uint32, 100_000)...)...)
	for range 20 {
		good.send(big)
		if rep, rest := good.recv(); !rep.OK() || len(rest) != 400_004 {
			t.Fatalf("%v, %d bytes", &rep, len(rest))
		}
	}
	wg.Wait()
	if s.Stats().ClosedMemory == 0 {
		t.Error("no stuck connection was closed")
	}
	// Each connection may hold what comes in without asking, and one read.
	if used := s.memory.used.Load(); used > limit+64*(2*partialFree) {
		t.Errorf("%d bytes held, limit %d", used, limit)
	}
}

// A client that does not take its replies is held back, and closed after a
// while; it costs no more than what may be queued.
func TestClientThatDoesNotRead(t *testing.T) {
	s := start(t, Config{Handler: newTestHandler()})
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		for i := uint32(0); ; i++ {
			if _, err := c.Write(record(header(i), doBig, 256<<10)); err != nil {
				return
			}
		}
	}()
	until(t, "a write is stuck", func() bool {
		for _, c := range s.snapshot() {
			if c.writingSince.Load() != 0 && c.s.Stats().MemoryUsed > maxQueued {
				return true
			}
		}
		return false
	})
	good := dial(t, s)
	for i := range uint32(100) {
		good.echo(i)
	}
	if used := s.Stats().MemoryUsed; used > maxQueued+256*(300<<10) {
		t.Errorf("%d bytes queued", used)
	}
	s.sweep(time.Now().Add(2 * time.Minute))
	until(t, "it is closed", func() bool { return s.Stats().Connections == 1 })
	until(t, "its memory is given back", func() bool { return s.Stats().MemoryUsed == 0 })
	if got := s.Stats().ClosedStuck; got != 1 {
		t.Errorf("closed as stuck: %d", got)
	}
}

// When there are too many connections, one that has said nothing makes room;
// those that have are not touched.
func TestConnectionLimit(t *testing.T) {
	s := start(t, Config{Handler: newTestHandler(), Limits: Limits{Connections: 3}})
	a, b := dial(t, s), dial(t, s)
	a.echo(1)
	b.echo(2)
	silent := dial(t, s)
	until(t, "three are connected", func() bool { return s.Stats().Connections == 3 })
	c := dial(t, s)
	c.echo(3)
	silent.closed()
	until(t, "three are connected", func() bool { return s.Stats().Connections == 3 })
	refused(t, s)
	for i, x := range []*client{a, b, c} {
		x.echo(uint32(10 + i))
	}
	a.c.Close()
	until(t, "one has left", func() bool { return s.Stats().Connections == 2 })
	dial(t, s).echo(4)
}

func TestPerAddressLimit(t *testing.T) {
	s := start(t, Config{Handler: newTestHandler(), Limits: Limits{PerAddress: 2}})
	dial(t, s).echo(1)
	dial(t, s).echo(2)
	refused(t, s)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	nc, err := d.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write(record(header(3), doEcho))
	if _, err := io.ReadFull(nc, make([]byte, 32)); err != nil {
		t.Error("another address is refused as well:", err)
	}
}
