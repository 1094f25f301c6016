package rules

import (
	"errors"
	"reflect"
	"testing"

	"holdfast/internal/nfs4"
)

func sampleSlots() []*Slot {
	return []*Slot{
		{Gateway: "g", Progress: Progress{Reply: []byte{}}},
		{
			Sequence: 7, Checksum: 9, Gateway: "g", Instance: 3,
			Progress: Progress{Op: 2, Offset: 40, OpStart: 8, Status: nfs4.ErrExist, Reply: []byte("results"),
				Current: []byte("cur"), Saved: []byte("saved"), CurrentStateid: nfs4.Stateid{Seqid: 1, Other: [12]byte{4}}},
			Begun: &Intent{Op: nfs4.OpRename, Names: []Name{{"d", "a"}, {"e", "b"}}, Evidence: []byte("ev"), Settled: true, Outcome: OutcomeDone, Made: []byte("handle")},
		},
	}
}

func TestSlotRecord(t *testing.T) {
	for _, s := range sampleSlots() {
		b := s.Append(nil)
		got, err := DecodeSlot(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, want %+v", got, s)
		}
	}
}

// encodings are one of each record that this file's family writes.
func encodings() map[string][]byte {
	c := conf40(5, 1, "p")
	c.Pending = &PendingCallback{Confirm: nfs4.Verifier{9}, Callback: Callback{NetID: "tcp"}}
	c.Sessions = []nfs4.SessionID{{1}, {2}}
	s := &Session{ID: nfs4.SessionID{3}, Client: 5, Fore: channel, Back: channel, CallbackSec: []byte("sec.")}
	return map[string][]byte{
		"client":  c.Encode(),
		"ident":   Ident{1, 2}.Encode(),
		"session": s.Encode(),
		"slot":    sampleSlots()[1].Append(nil),
		"owner":   (&Owner{Sequence: 3, Confirmed: true, Op: nfs4.OpOpen, Reply: []byte("body"), FH: []byte("fh")}).Encode(),
	}
}

func decodeAs(kind string, b []byte) (any, error) {
	switch kind {
	case "client":
		return DecodeClient(b)
	case "ident":
		return DecodeIdent(b)
	case "session":
		return DecodeSession(b)
	case "slot":
		return DecodeSlot(b)
	}
	return DecodeOwner(b)
}

// TestRecordsDamaged: a record cut short or of a newer format is refused.
func TestRecordsDamaged(t *testing.T) {
	for kind, b := range encodings() {
		if _, err := decodeAs(kind, b); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for n := range b {
			if _, err := decodeAs(kind, b[:n]); !errors.Is(err, ErrServerFault) {
				t.Errorf("%s cut to %d of %d bytes: %v", kind, n, len(b), err)
			}
		}
		if _, err := decodeAs(kind, append(append([]byte(nil), b...), 0, 0, 0, 0)); !errors.Is(err, ErrServerFault) {
			t.Errorf("%s with bytes too many: %v", kind, err)
		}
		newer := append([]byte(nil), b...)
		newer[3] = 200
		if _, err := decodeAs(kind, newer); !errors.Is(err, ErrServerFault) {
			t.Errorf("%s of a newer format: %v", kind, err)
		}
	}
}

func TestClientRecord(t *testing.T) {
	c := conf41(7, 3, "uid=0")
	c.Sessions = []nfs4.SessionID{{1}}
	c.ReclaimComplete, c.ReclaimedBy = true, "slot/x 1"
	c.Created = Created{Session: nfs4.SessionID{1}, Sequence: 1, Flags: 1, Fore: channel, Back: channel}
	got, err := DecodeClient(c.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("got %+v, want %+v", got, c)
	}
}

func FuzzRecords(f *testing.F) {
	kinds := []string{"client", "ident", "session", "slot", "owner"}
	for kind, b := range encodings() {
		for i, k := range kinds {
			if k == kind {
				f.Add(byte(i), b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		k := kinds[int(kind)%len(kinds)]
		v, err := decodeAs(k, b)
		if err != nil && !errors.Is(err, ErrServerFault) {
			t.Fatalf("%s: error %v is not ErrServerFault", k, err)
		}
		if s, ok := v.(*Slot); ok && err == nil {
			if again, err := DecodeSlot(s.Append(nil)); err != nil || !reflect.DeepEqual(again, s) {
				t.Fatalf("slot does not survive encoding: %+v %v", again, err)
			}
		}
	})
}

// TestNameKeys: no two names have one key.
func TestNameKeys(t *testing.T) {
	a, b := Name{"ab", "c"}, Name{"a", "bc"}
	if a.Key() == b.Key() {
		t.Error("different names, one key")
	}
	if !b.Less(a) || a.Less(b) || a.Less(a) {
		t.Error("names have no order")
	}
}
