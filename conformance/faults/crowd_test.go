package faults_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
)

// crowdSize is how many connections do no good at once. They are another
// process's, so that it and the server need that many descriptors and the test
// does not.
const crowdSize = 10_000

// crowdEnv makes the test's own binary the crowd: address and kind.
const crowdEnv = "HOLDFAST_TEST_CROWD"

// kinds are what a connection of the crowd sends.
var kinds = []struct {
	name string
	data func() []byte
	loop bool // again and again, as fast as the server takes it
}{
	{"nothing", func() []byte { return nil }, false},
	{"half a mark", func() []byte { return []byte{0x80, 0} }, false},
	{"half a record", func() []byte { r := lookRecord(); return r[:len(r)/2] }, false},
	{"an announcement", func() []byte { return append(mark(1<<20), lookRecord()[4:]...) }, false},
	{"garbage", garbage, false},
	{"an oversized mark", func() []byte { return mark(1<<31 - 1) }, false},
	{"a mark of no length", func() []byte { return mark(0) }, false},
	{"fragments of no length", func() []byte { return make([]byte, 4<<10) }, true},
}

func mark(n uint32) []byte {
	return binary.BigEndian.AppendUint32(nil, n|oncrpc.LastFragment)
}

// lookRecord is a valid call.
func lookRecord() []byte {
	q := client.NewCompound(*client.SysAuth(0, 0), 0, "", client.PutRootFH(), client.GetAttr(nfs4.AttrType))
	rec := q.Bytes()
	binary.BigEndian.PutUint32(rec, uint32(len(rec)-4)|oncrpc.LastFragment)
	return rec
}

func garbage() []byte {
	b := make([]byte, 512)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// crowd is the other process. It connects, says so on standard output, and
// stays until standard input ends. Who sends without end connects again when
// the server has had enough.
func crowd(addr string) error {
	if err := raiseFiles(crowdSize + 200); err != nil {
		return err
	}
	dial := func(i int) (net.Conn, error) {
		// Several source addresses, so that ports suffice.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%8))}}
		return d.Dial("tcp", addr)
	}
	conns := make([]net.Conn, crowdSize)
	var loops []int
	for i := range conns {
		c, err := dial(i)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		conns[i] = c
		kind := kinds[i%len(kinds)]
		if kind.loop {
			loops = append(loops, i)
		}
		c.Write(kind.data()) // if it was closed already, so be it
	}
	for mine := range slices.Chunk(loops, len(loops)/4+1) {
		go func() {
			for i := 0; ; i++ {
				at := mine[i%len(mine)]
				conns[at].SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
				if _, err := conns[at].Write(kinds[at%len(kinds)].data()); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					continue
				}
				conns[at].Close()
				if c, err := dial(at); err == nil {
					conns[at] = c
				}
			}
		}()
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

// A worker is a client that means well: it does real work, notes how long each
// operation took, and counts what failed.
type worker struct {
	c    *client.Client
	dir  client.FH
	f    *client.OpenFile
	took []time.Duration
	err  error
}

func (w *worker) work(n int) {
	data := pattern(byte(n), 4096)
	do := func(what string, err error) bool {
		if err != nil && w.err == nil {
			w.err = fmt.Errorf("round %d, %s: %w", n, what, err)
		}
		return err == nil
	}
	begin := time.Now()
	defer func() { w.took = append(w.took, time.Since(begin)) }()
	off := uint64(n%16) * 4096
	if _, err := w.f.Write(off, nfs4.Unstable, data); !do("WRITE", err) {
		return
	}
	res, err := w.f.Read(off, 4096)
	if !do("READ", err) {
		return
	}
	if string(res.Data) != string(data) {
		do("READ", fmt.Errorf("other data than was written"))
		return
	}
	if _, err := w.c.Attrs(w.f.FH, nfs4.AttrSize); !do("GETATTR", err) {
		return
	}
	name := fmt.Sprintf("n%d", n)
	f, err := w.c.CreateFile(w.dir, name)
	if !do("OPEN", err) {
		return
	}
	l := f.Locks(client.NewOwner())
	do("LOCK", l.Lock(nfs4.WriteLT, 0, 10))
	do("LOCKU", l.Unlock(0, 10))
	do("CLOSE", f.Close())
	_, err = client.Check(w.c.Compound(client.PutFH(w.dir), client.Remove(name)))
	do("REMOVE", err)
}

// rounds works on all workers at once, until stop says so.
func rounds(workers []*worker, stop func(n int) bool) []time.Duration {
	var wg sync.WaitGroup
	for _, w := range workers {
		w.took = nil
		wg.Go(func() {
			for n := 0; !stop(n); n++ {
				w.work(n)
			}
		})
	}
	wg.Wait()
	var all []time.Duration
	for _, w := range workers {
		all = append(all, w.took...)
	}
	slices.Sort(all)
	return all
}

// 10,000 connections that send nothing, half a record, garbage, oversized marks
// or fragments of no length without end do not hurt the others: every operation
// of clients that mean well succeeds, before they lose patience; the server's memory stays
// bounded; and its descriptors come back when the crowd leaves.
func TestTenThousandBadConnections(t *testing.T) {
	needRoot(t)
	if err := raiseFiles(crowdSize + 500); err != nil {
		skip(t, "%v", err)
	}
	// Room for the crowd beside the files that may be kept open.
	s := serve(t, "", "", "--limit", "open-files=256", "--limit", "first-call=10m", "--limit", "stuck=10m")
	var workers []*worker
	for i := range 6 {
		w := &worker{c: s.client(uint32(i%3), 0)}
		var err error
		if w.dir, err = w.c.MkdirFH(root(t, w.c), fmt.Sprintf("w%d", i)); err != nil {
			t.Fatal(err)
		}
		w.f = create(t, w.c, w.dir, "f")
		workers = append(workers, w)
	}
	alone := rounds(workers, func(n int) bool { return n == 50 })
	memory, files := s.memory(), s.files()

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crowdEnv+"="+s.addr)
	child.Stderr = os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	hold, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // Pdeathsig is about this thread
	defer runtime.UnlockOSThread()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { hold.Close(); child.Wait() }()
	var ready atomic.Bool
	said := make(chan string, 1)
	go func() {
		text := make([]byte, 64)
		n, _ := out.Read(text)
		ready.Store(true)
		said <- string(text[:n])
	}()
	during := rounds(workers, func(int) bool { return ready.Load() })
	if text := <-said; !strings.HasPrefix(text, "ready") {
		t.Fatalf("the crowd failed: %q", text)
	}
	opened := s.files() - files
	with := rounds(workers, func(n int) bool { return n == 80 })
	grown := s.memory() - memory
	for i, w := range workers {
		if w.err != nil {
			t.Errorf("worker %d (4.%d): %v", i, w.c.Config.Minor, w.err)
		}
	}
	report := func(what string, d []time.Duration) {
		t.Logf("%-22s %5d rounds, median %v, 99 of 100 in %v, longest %v", what, len(d), d[len(d)/2], d[len(d)*99/100], d[len(d)-1])
	}
	report("alone:", alone)
	report("while the crowd came:", during)
	report("with the crowd:", with)
	t.Logf("%d connections stay open, %d MiB for them", opened, grown>>20)
	// Garbage and oversized marks are refused; who is silent, or slow, stays.
	if opened < crowdSize*4/10 {
		t.Errorf("%d connections are open of %d: the crowd is not there", opened, crowdSize)
	}
	if grown > 1<<30 {
		t.Errorf("the server grew by %d bytes", grown)
	}
	hold.Close()
	child.Wait()
	until(t, "the descriptors come back", func() bool { return s.files() <= files+16 })
	s.client(1, 0)
	s.alive()
}
