package rules

import (
	"errors"
	"reflect"
	"testing"

	"holdfast/internal/nfs4"
)

func conf41(id ClientID, v byte, principal string) *Client {
	return &Client{ID: id, Owner: []byte("o"), Verifier: nfs4.Verifier{v}, Principal: principal, Minor: 1, Confirmed: true, Sequence: 1}
}

func unconf41(id ClientID, v byte, principal string) *Client {
	c := conf41(id, v, principal)
	c.Confirmed, c.Sequence, c.Created = false, 0, Created{Err: CreatedMisordered}
	return c
}

// TestExchangeID goes through the cases of RFC 8881 §18.35.4.
func TestExchangeID(t *testing.T) {
	const fresh = 99
	for _, tc := range []struct {
		name      string
		known     Known
		verifier  byte
		principal string
		update    bool

		err       error
		id        ClientID
		confirmed bool
		unchanged bool
		ident     Ident
		drop      []ClientID
	}{
		{name: "1 new owner", verifier: 1, principal: "p", id: fresh, ident: Ident{Unconfirmed: fresh}},
		{name: "2 non-update on existing", known: Known{Confirmed: conf41(5, 1, "p")}, verifier: 1, principal: "p",
			id: 5, confirmed: true, unchanged: true},
		{name: "3 collision with state", known: Known{Confirmed: conf41(5, 1, "q")}, verifier: 1, principal: "p",
			err: ErrClientIDInUse},
		{name: "3 collision without state", known: Known{Confirmed: conf41(5, 1, "q"), Idle: true}, verifier: 2, principal: "p",
			id: fresh, ident: Ident{Unconfirmed: fresh}, drop: []ClientID{5}},
		{name: "4 replacement of unconfirmed", known: Known{Unconfirmed: unconf41(6, 1, "p")}, verifier: 1, principal: "p",
			id: fresh, ident: Ident{Unconfirmed: fresh}, drop: []ClientID{6}},
		{name: "4 replacement by another principal", known: Known{Unconfirmed: unconf41(6, 1, "q")}, verifier: 2, principal: "p",
			id: fresh, ident: Ident{Unconfirmed: fresh}, drop: []ClientID{6}},
		{name: "5 client restart", known: Known{Confirmed: conf41(5, 1, "p")}, verifier: 2, principal: "p",
			id: fresh, ident: Ident{Confirmed: 5, Unconfirmed: fresh}},
		{name: "5 client restart again", known: Known{Confirmed: conf41(5, 1, "p"), Unconfirmed: unconf41(6, 2, "p")}, verifier: 3, principal: "p",
			id: fresh, ident: Ident{Confirmed: 5, Unconfirmed: fresh}, drop: []ClientID{6}},
		{name: "6 update", known: Known{Confirmed: conf41(5, 1, "p")}, verifier: 1, principal: "p", update: true,
			id: 5, confirmed: true, ident: Ident{Confirmed: 5}},
		{name: "7 update, none confirmed", known: Known{Unconfirmed: unconf41(6, 1, "p")}, verifier: 1, principal: "p", update: true,
			err: ErrNoEnt},
		{name: "8 update, wrong verifier", known: Known{Confirmed: conf41(5, 1, "q")}, verifier: 2, principal: "p", update: true,
			err: ErrNotSame},
		{name: "9 update, wrong principal", known: Known{Confirmed: conf41(5, 1, "q")}, verifier: 1, principal: "p", update: true,
			err: ErrPermission},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, ch, err := ExchangeID(tc.known, &Exchange{
				Owner: []byte("o"), Verifier: nfs4.Verifier{tc.verifier}, Principal: tc.principal, Minor: 1, Update: tc.update, New: fresh,
			})
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err != nil {
				if ch != nil {
					t.Fatal("an error changed records")
				}
				return
			}
			if c.ID != tc.id || c.Confirmed != tc.confirmed {
				t.Fatalf("client %d confirmed %v, want %d %v", c.ID, c.Confirmed, tc.id, tc.confirmed)
			}
			if (ch == nil) != tc.unchanged {
				t.Fatalf("change %+v", ch)
			}
			if ch == nil {
				return
			}
			if ch.Ident != tc.ident || !reflect.DeepEqual(ch.Drop, tc.drop) {
				t.Fatalf("ident %+v drop %v, want %+v %v", ch.Ident, ch.Drop, tc.ident, tc.drop)
			}
		})
	}
}

var lim = SessionLimits{Slots: 64, Sessions: 2, Operations: 128, RequestBytes: 1 << 20, ReplyBytes: 1 << 20, CachedBytes: 8192}

var channel = ChannelAttrs{HeaderPad: 4, MaxRequest: 2 << 20, MaxReply: 2 << 20, MaxCached: 16384, MaxOps: 8, MaxSlots: 180}

func newSession(seq uint32, id byte) *NewSession {
	return &NewSession{ID: nfs4.SessionID{id}, Sequence: seq, Flags: nfs4.CreateSessionPersist | nfs4.CreateSessionConnRDMA,
		Fore: channel, Back: channel, Principal: "p"}
}

// TestCreateSession goes through the phases of RFC 8881 §18.36.4.
func TestCreateSession(t *testing.T) {
	c := unconf41(6, 2, "p")
	k := Known{Confirmed: conf41(5, 1, "p"), Unconfirmed: c}

	if _, _, _, err := CreateSession(Known{}, nil, newSession(1, 1), lim); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("phase 1, no such client: %v", err)
	}
	if created, _, ch, err := CreateSession(k, c, newSession(0, 1), lim); err != nil || ch != nil || !errors.Is(created.Err.Error(), ErrSeqMisordered) {
		t.Errorf("phase 2, sequence before the first: %+v %v %v", created, ch, err)
	}
	if _, _, _, err := CreateSession(k, c, newSession(2, 1), lim); !errors.Is(err, ErrSeqMisordered) {
		t.Errorf("phase 2, a later sequence: %v", err)
	}
	other := newSession(1, 1)
	other.Principal = "q"
	if _, _, ch, err := CreateSession(k, c, other, lim); !errors.Is(err, ErrClientIDInUse) || ch != nil {
		t.Errorf("phase 3, another principal: %v", err)
	}

	created, s, ch, err := CreateSession(k, c, newSession(1, 1), lim)
	if err != nil || s == nil {
		t.Fatalf("first session: %v", err)
	}
	if ch.Ident != (Ident{Confirmed: 6}) || !reflect.DeepEqual(ch.Drop, []ClientID{5}) {
		t.Errorf("confirmation: %+v drops %v; the old incarnation must go", ch.Ident, ch.Drop)
	}
	if s.Flags != nfs4.CreateSessionPersist {
		t.Errorf("flags %#x", s.Flags)
	}
	want := ChannelAttrs{MaxRequest: 1 << 20, MaxReply: 1 << 20, MaxCached: 8192, MaxOps: 8, MaxSlots: 64}
	if s.Fore != want {
		t.Errorf("fore channel %+v, want %+v", s.Fore, want)
	}
	if back := (ChannelAttrs{MaxRequest: 2 << 20, MaxReply: 2 << 20, MaxCached: 16384, MaxOps: 8, MaxSlots: 180}); s.Back != back {
		t.Errorf("back channel %+v, want %+v", s.Back, back)
	}

	next := ch.Put[0]
	k = Known{Confirmed: next}
	again, _, ch, err := CreateSession(k, next, newSession(1, 77), lim)
	if err != nil || ch != nil || again != created {
		t.Errorf("a retry must get the first result: %+v %v %v", again, ch, err)
	}

	small := newSession(2, 3)
	small.Fore.MaxRequest = 10
	res, s, ch, err := CreateSession(k, next, small, lim)
	if err != nil || s != nil || !errors.Is(res.Err.Error(), ErrTooSmall) {
		t.Fatalf("too small: %+v %v", res, err)
	}
	next = ch.Put[0]
	if res, _, ch, _ := CreateSession(Known{Confirmed: next}, next, small, lim); ch != nil || !errors.Is(res.Err.Error(), ErrTooSmall) {
		t.Errorf("a retry of a failed one must fail alike: %+v", res)
	}
	_, _, ch, err = CreateSession(Known{Confirmed: next}, next, newSession(3, 4), lim)
	if err != nil || len(ch.Put[0].Sessions) != 2 {
		t.Fatalf("second session: %v", err)
	}
	next = ch.Put[0]
	if res, _, _, _ := CreateSession(Known{Confirmed: next}, next, newSession(4, 5), lim); !errors.Is(res.Err.Error(), ErrResource) {
		t.Errorf("beyond the limit of sessions: %+v", res)
	}
	if left := DestroySession(next, nfs4.SessionID{1}); len(left.Sessions) != 1 || len(next.Sessions) != 2 {
		t.Errorf("destroying leaves %d, and the old record %d", len(left.Sessions), len(next.Sessions))
	}
}

func conf40(id ClientID, v byte, principal string) *Client {
	return &Client{ID: id, Owner: []byte("x"), Verifier: nfs4.Verifier{v}, Principal: principal, Confirmed: true,
		Confirm: nfs4.Verifier{v, 's'}, Callback: Callback{Addr: "old"}}
}

// TestSetClientID goes through the cases of RFC 7530 §16.33.5.
func TestSetClientID(t *testing.T) {
	unconf := conf40(6, 2, "p")
	unconf.Confirmed = false
	set := func(k Known, v byte, principal string) (*Client, *Change, error) {
		c, confirm, ch, err := SetClientID(k, &SetID{ID: []byte("x"), Verifier: nfs4.Verifier{v}, Principal: principal,
			Callback: Callback{Addr: "new"}, New: 99, Confirm: nfs4.Verifier{'t'}})
		if err == nil && confirm != (nfs4.Verifier{'t'}) {
			t.Errorf("confirm verifier %v", confirm)
		}
		return c, ch, err
	}

	c, ch, err := set(Known{Confirmed: conf40(5, 1, "p")}, 1, "p")
	if err != nil || c.ID != 5 || ch.Ident != (Ident{Confirmed: 5}) || len(ch.Drop) != 0 {
		t.Fatalf("callback update: %+v %v", ch, err)
	}
	if c.Callback.Addr != "old" || c.Pending == nil || c.Pending.Callback.Addr != "new" {
		t.Error("callback update: the new callback must wait for its confirmation")
	}
	if _, _, err := set(Known{Confirmed: conf40(5, 1, "q")}, 1, "p"); !errors.Is(err, ErrClientIDInUse) {
		t.Errorf("another principal: %v", err)
	}
	if c, ch, err := set(Known{Confirmed: conf40(5, 1, "q"), Idle: true}, 1, "p"); err != nil || c.ID != 99 || !reflect.DeepEqual(ch.Drop, []ClientID{5}) {
		t.Errorf("another principal, no state: %v", err)
	}
	if c, ch, err := set(Known{}, 1, "p"); err != nil || c.ID != 99 || ch.Ident != (Ident{Unconfirmed: 99}) {
		t.Errorf("new: %v", err)
	}
	if c, ch, err := set(Known{Unconfirmed: unconf}, 3, "p"); err != nil || c.ID != 99 || ch.Ident != (Ident{Unconfirmed: 99}) || !reflect.DeepEqual(ch.Drop, []ClientID{6}) {
		t.Errorf("instead of an unconfirmed one: %v", err)
	}
	if c, ch, err := set(Known{Confirmed: conf40(5, 1, "p"), Unconfirmed: unconf}, 3, "p"); err != nil || c.ID != 99 ||
		ch.Ident != (Ident{Confirmed: 5, Unconfirmed: 99}) || !reflect.DeepEqual(ch.Drop, []ClientID{6}) {
		t.Errorf("client restart: %v", err)
	}
}

// TestSetClientIDConfirm goes through the cases of RFC 7530 §16.34.5.
func TestSetClientIDConfirm(t *testing.T) {
	pending := conf40(5, 1, "p")
	pending.Pending = &PendingCallback{Confirm: nfs4.Verifier{'t'}, Callback: Callback{Addr: "new"}}
	k := Known{Confirmed: pending}

	ch, err := SetClientIDConfirm(k, pending, nfs4.Verifier{'t'}, "p")
	if err != nil || ch.Put[0].Callback.Addr != "new" || ch.Put[0].Pending != nil || len(ch.Drop) != 0 {
		t.Errorf("confirming a callback: %+v %v", ch, err)
	}
	if _, err := SetClientIDConfirm(k, pending, nfs4.Verifier{'t'}, "q"); !errors.Is(err, ErrClientIDInUse) {
		t.Errorf("confirming a callback as another principal: %v", err)
	}
	if ch, err := SetClientIDConfirm(k, pending, pending.Confirm, "p"); err != nil || ch != nil {
		t.Errorf("a retry: %+v %v", ch, err)
	}
	if _, err := SetClientIDConfirm(k, pending, pending.Confirm, "q"); !errors.Is(err, ErrClientIDInUse) {
		t.Errorf("a retry as another principal: %v", err)
	}
	unconf := conf40(6, 2, "p")
	unconf.Confirmed = false
	k = Known{Confirmed: conf40(5, 1, "p"), Unconfirmed: unconf}
	ch, err = SetClientIDConfirm(k, unconf, unconf.Confirm, "p")
	if err != nil || !ch.Put[0].Confirmed || ch.Ident != (Ident{Confirmed: 6}) || !reflect.DeepEqual(ch.Drop, []ClientID{5}) {
		t.Errorf("confirming a restarted client: %+v %v", ch, err)
	}
	if _, err := SetClientIDConfirm(k, unconf, unconf.Confirm, "q"); !errors.Is(err, ErrClientIDInUse) {
		t.Errorf("confirming as another principal: %v", err)
	}
	if _, err := SetClientIDConfirm(k, unconf, nfs4.Verifier{'?'}, "p"); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("another verifier: %v", err)
	}
	if _, err := SetClientIDConfirm(Known{}, nil, nfs4.Verifier{}, "p"); !errors.Is(err, ErrStaleClientID) {
		t.Errorf("no such client: %v", err)
	}
}

func TestReclaimComplete(t *testing.T) {
	c := conf41(5, 1, "p")
	next, err := ReclaimComplete(c, "slot 1")
	if err != nil || !next.ReclaimComplete || c.ReclaimComplete {
		t.Fatalf("%+v %v", next, err)
	}
	if again, err := ReclaimComplete(next, "slot 1"); err != nil || again != nil {
		t.Errorf("the same request again: %v", err)
	}
	if _, err := ReclaimComplete(next, "slot 2"); !errors.Is(err, ErrCompleteAlready) {
		t.Errorf("another request: %v", err)
	}
}

func TestAdmit(t *testing.T) {
	for _, tc := range []struct {
		last  uint32
		exact bool
		seq   uint32
		want  Admission
	}{
		{5, true, 5, Retry}, {5, true, 6, NewRequest}, {5, true, 7, Misordered}, {5, true, 4, Misordered},
		{5, false, 5, Retry}, {5, false, 6, NewRequest}, {5, false, 70, NewRequest}, {5, false, 4, Misordered},
		{0xffffffff, true, 0, NewRequest}, {0xfffffffe, false, 3, NewRequest},
	} {
		if got := Admit(tc.last, tc.exact, tc.seq); got != tc.want {
			t.Errorf("Admit(%d, %v, %d) = %d, want %d", tc.last, tc.exact, tc.seq, got, tc.want)
		}
	}
}
