package suite

import (
	"bytes"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// Where the RFCs leave a server a choice that several tests meet, it is
// written down here once.

// unknown40 is the answer to a client ID of NFSv4.0 that stands for no client.
// One whose lease was cancelled is NFS4ERR_EXPIRED (RFC 7530 §9.6.3.2,
// §13.1.5.3), and a server that forgets such clients cannot tell their IDs
// from those that it never gave.
func unknown40() []nfs4.Status { return is(nfs4.ErrStaleClientID, nfs4.ErrExpired) }

// eventually requires that something comes true: a server may still finish what
// it began, such as closing a file that was removed meanwhile.
func (e *Env) eventually(what string, done func() bool) {
	for range 50 {
		if done() {
			return
		}
		select {
		case <-e.ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	e.Errorf("not within 5 s: %s", what)
}

// neverGiven returns a stateid that has no byte in common with the given one.
// One that differs in a single byte is no good for tests of what is
// said about it: a server may hold that byte to be of no meaning.
func neverGiven(s nfs4.Stateid) nfs4.Stateid {
	for i := range s.Other {
		s.Other[i] ^= 0xff
	}
	return s
}

// The place of three words in a reply whose first result is SEQUENCE's: they
// follow the RPC header, status, tag, count, operation, status, session ID,
// sequence and slot.
const recomputed = 3 * 4

// sameReply requires that two replies differ in nothing but the xid. Highest
// slot, target highest slot and status flags of SEQUENCE may be told anew
// (RFC 8881 §2.10.6.1.1).
func (e *Env) sameReply(p, q *client.Reply) {
	a, b := bytes.Clone(p.Raw[4:]), bytes.Clone(q.Raw[4:])
	for r, raw := range map[*client.Reply][]byte{p: a, q: b} {
		if s := client.Get[client.SequenceRes](r); s != nil {
			at := bytes.Index(raw, s.Session[:])
			if at < 0 || len(raw) < at+len(s.Session)+8+recomputed {
				e.Fatalf("SEQUENCE's result is not where it should be in %v", r)
			}
			clear(raw[at+len(s.Session)+8:][:recomputed])
		}
	}
	if !bytes.Equal(a, b) {
		e.Errorf("the reply was\n    %v\nand to the retry\n    %v", p, q)
	}
}
