package nfsops_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/conformance/faults"
	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
	"holdfast/nfsops"
)

// A wire sends COMPOUNDs about a scene to a server without a network.
//
// What a scene is known by differs from process to process. In the fuzzer's
// corpus marks of the same lengths stand for it.
type wire struct {
	h     *house
	c     *client.Client
	root  client.FH
	scene *faults.Scene
	n     int
}

func newWire(t testing.TB, h *house, minor uint32) *wire {
	w := &wire{h: h, c: h.client(minor, 0)}
	w.root = walk(t, w.c, "a")
	w.renew(t)
	return w
}

// renew makes a new scene, and drops the old one's files.
func (w *wire) renew(t testing.TB) {
	t.Helper()
	name := func() string { return fmt.Sprintf("scene-%d-%d", w.c.Config.Minor, w.n) }
	for _, f := range []string{"f", "g"} {
		os.Truncate(filepath.Join(w.h.a, name(), f), 0) // open, perhaps, for a while yet
	}
	os.RemoveAll(filepath.Join(w.h.a, name()))
	w.n++
	scene, err := faults.NewScene(w.c, w.root, name())
	if err != nil {
		t.Fatal(err)
	}
	w.scene = scene
}

// marks are pairs: what stands in the corpus, and what it stands for.
func (w *wire) marks() [][2][]byte {
	s := w.scene
	id := binary.BigEndian.AppendUint64(nil, s.ClientID)
	sid := func(s nfs4.Stateid) []byte {
		var x xdr.Writer
		s.Encode(&x)
		return x.Bytes()
	}
	mark := func(c byte, real []byte) [2][]byte {
		return [2][]byte{bytes.Repeat([]byte{c, 0xf5}, len(real)/2), real}
	}
	return [][2][]byte{
		mark('d', s.Dir), mark('f', s.File), mark('l', s.Link), mark('O', sid(s.Open)), mark('L', sid(s.Lock)),
		mark('S', s.Session[:]), mark('C', id), mark('W', []byte(s.OpenOwner)), mark('R', []byte(s.LockOwner)),
	}
}

// record makes corpus of what is about the scene, play the reverse.
func (w *wire) record(b []byte) []byte {
	for _, m := range w.marks() {
		if !bytes.Equal(m[1], make([]byte, len(m[1]))) {
			b = bytes.ReplaceAll(b, m[1], m[0])
		}
	}
	return b
}

func (w *wire) play(b []byte) []byte {
	for _, m := range w.marks() {
		b = bytes.ReplaceAll(b, m[0], m[1])
	}
	return b
}

// What the second argument of FuzzCompoundWire says beside the number of
// operations.
const (
	wireBare = 0x80 // no SEQUENCE is put in front
	wireRaw  = 0x40 // the bytes are COMPOUND4args as a whole
	wireOps  = 0x3f
)

// body is COMPOUND4args of n operations behind a SEQUENCE that fits.
func (w *wire) body(how byte, ops []byte) (body []byte, slot *client.Slot) {
	if how&wireRaw != 0 {
		return ops, nil
	}
	var x xdr.Writer
	x.Uint32(0)
	x.Uint32(w.c.Config.Minor)
	n := uint32(how & wireOps)
	if how&wireBare != 0 || w.c.Session == nil {
		x.Uint32(n)
	} else {
		slot = w.c.Session.Acquire()
		x.Uint32(n + 1)
		x.Uint32(uint32(nfs4.OpSequence))
		x.Raw(client.Sequence(w.c.Session.ID, slot.Seq, slot.N, 63, false).Args)
	}
	x.Raw(ops)
	return x.Bytes(), slot
}

// send runs COMPOUND4args and checks that the answer is one.
func (w *wire) send(t *testing.T, body []byte) *client.Reply {
	call := nfsops.Call{XID: w.c.Conn().NextXID(), Flavor: nfsops.AuthSys, Conn: testConn{}, Remote: netip.IPv6Loopback(), Body: body}
	var x xdr.Writer
	oncrpc.AppendAccepted(&x, call.XID, oncrpc.Success)
	err := w.h.srv.Compound(context.Background(), &call, &x)
	if errors.Is(err, nfsops.ErrGarbage) {
		return nil
	}
	if err != nil {
		t.Fatalf("%x: %v", body, err)
	}
	p, err := client.DecodeReply(x.Bytes())
	if err != nil {
		t.Fatalf("%x: %v, %v", body, p, err)
	}
	if p.Status == nfs4.ErrServerFault {
		t.Errorf("%x: %v", body, p)
	}
	if x.Len() > 2<<20 {
		t.Fatalf("%x: a reply of %d bytes", body, x.Len())
	}
	return p
}

// spoils says whether a reply means that the scene is not what it was.
func spoils(p *client.Reply) bool {
	for _, r := range p.Results {
		switch {
		case r.Status != nfs4.OK && r.Status != nfs4.ErrBadSession:
		case r.Op == nfs4.OpClose, r.Op == nfs4.OpOpenDowngrade, r.Op == nfs4.OpLock, r.Op == nfs4.OpLockU, r.Op == nfs4.OpFreeStateid,
			r.Op == nfs4.OpReleaseLockOwner, r.Op == nfs4.OpRemove, r.Op == nfs4.OpRename, r.Op == nfs4.OpSetAttr, r.Op == nfs4.OpOpen,
			r.Op == nfs4.OpAllocate, r.Op == nfs4.OpWrite, r.Op == nfs4.OpCopy, r.Op == nfs4.OpOpenConfirm:
			return true
		}
	}
	return false
}

// FuzzCompoundWire sends COMPOUNDs of which any byte may be wrong, beginning
// with a valid one for each operation of each minor version, about files, opens
// and locks that exist. Whatever it is, there is an answer that a client can
// read, nothing panics, and the server serves on.
func FuzzCompoundWire(f *testing.F) {
	h := newHouse(f)
	wires := [3]*wire{}
	for minor := range wires {
		w := newWire(f, h, uint32(minor))
		wires[minor] = w
		for _, r := range w.scene.Requests() {
			var x xdr.Writer
			for _, op := range r.Ops {
				x.Uint32(uint32(op.Num))
				x.Raw(op.Args)
			}
			how := byte(len(r.Ops))
			if r.Bare {
				how |= wireBare
			}
			f.Add(byte(minor), how, w.record(x.Bytes()))
		}
		f.Add(byte(minor), byte(wireRaw), []byte("\x00\x00\x00\x03tag\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x18\x00\x00\x00\x0a"))
	}
	bounded := boundFiles(f)
	f.Fuzz(func(t *testing.T, minor, how byte, ops []byte) {
		bounded()
		// The fuzzer itself does not notice that a request never ends.
		hung := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("no answer to %d, %#x, %x", minor, how, ops)) })
		defer hung.Stop()
		w := wires[minor%3]
		body, slot := w.body(how, w.play(ops))
		p := w.send(t, body)
		if slot != nil {
			if p != nil && len(p.Results) > 0 && p.Results[0].Op == nfs4.OpSequence && p.Results[0].Status == nfs4.OK {
				slot.Seq++
			}
			w.c.Session.Release(slot)
		}
		if p == nil || !spoils(p) {
			return
		}
		if _, err := w.c.Attrs(w.root, nfs4.AttrType); err != nil { // its client or session is gone
			w.c.Close()
			w.c = h.client(uint32(minor%3), 0)
		}
		w.renew(t)
	})
}

// boundFiles returns a function that bounds what one file can take of this
// machine's disk until the test ends: ALLOCATE and COPY do as they are told. The
// fuzzer itself needs a file of 100 MiB, before.
func boundFiles(f *testing.F) func() {
	const size = 128 << 20
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			f.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	})
	return sync.OnceFunc(func() {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: min(size, old.Max), Max: old.Max}); err != nil {
			panic(err)
		}
	})
}
