package nfsops_test

import (
	"context"
	"testing"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// TestStoreAway: while a gateway among several cannot reach the store, what needs nothing of it is answered, what changes nothing
// and needs it is told to come back, and what could change something gets no answer, since it may have taken effect at
// another gateway. SEQUENCE is never answered with NFS4ERR_DELAY: the client would not know whether its request ran.
func TestStoreAway(t *testing.T) {
	for _, minor := range []uint32{1, 2} {
		p := newPair(t)
		s := &stage{world: p.a, Client: p.a.client(minor)}
		var err error
		s.root, err = s.Root()
		s.must(err)
		s.open("f")
		door := p.doors["b"]

		door.away.Store(true)
		s.moveTo(p.b.dial)
		if p, err := s.Compound(client.PutRootFH()); err == nil {
			t.Fatalf("4.%d: a session that the gateway cannot look up: %v", minor, p)
		}
		door.away.Store(false)
		s.must(s.Reconnect(context.Background()))
		_, err = client.Check(s.Compound(client.PutFH(s.root), client.GetAttr(nfs4.AttrSize)))
		s.must(err)

		door.away.Store(true)
		_, err = client.Check(s.Compound(client.PutFH(s.root), client.GetAttr(nfs4.AttrSize)))
		s.must(err)
		q, err := s.Compound(client.PutFH(s.file.FH), client.LockT(nfs4.WriteLT, 0, 1, client.Owner{ClientID: s.ClientID, Name: "o"}))
		s.must(err)
		if q.Status != nfs4.ErrDelay || len(q.Results) != 3 {
			t.Errorf("4.%d: LOCKT of a file that the gateway cannot look up: %v", minor, q)
		}
		if q, err := s.Compound(client.PutFH(s.root), client.Mkdir("d")); err == nil {
			t.Errorf("4.%d: MKDIR: %v", minor, q)
		}
		if absent(s, "d") != nil {
			t.Errorf("4.%d: MKDIR took place", minor)
		}
		door.away.Store(false)
		s.must(s.Reconnect(context.Background()))
		_, err = client.Check(s.Compound(client.PutFH(s.root), client.Mkdir("d")))
		s.must(err)
	}
}
