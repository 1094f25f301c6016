package rules

import (
	"bytes"
	"slices"

	"holdfast/internal/nfs4"
)

// A Client is the record of one client: in group client/<id>, part "".
//
//	u32 format · u64 id · opaque owner · verifier · opaque principal · u32 minor
//	u32 flags (1 confirmed, 2 reclaim complete, 4 pending callback)
//	opaque implementation · opaque remote
//	4.1: u32 sequence · created · n × sessionid · opaque reclaimed-by
//	4.0: verifier confirm · callback · [verifier confirm · callback]
type Client struct {
	ID        ClientID
	Owner     []byte
	Verifier  nfs4.Verifier
	Principal string
	Minor     uint32 // the minor version that made it; 0 is a client of its own kind
	Confirmed bool
	Impl      string // for people
	Remote    string // for people

	// Sequence is that of the last CREATE_SESSION, Created its result.
	Sequence uint32
	Created  Created
	Sessions []nfs4.SessionID

	// ReclaimComplete says that the client said RECLAIM_COMPLETE for all file
	// systems; ReclaimedBy names the request that did, so that its retry is
	// not an error.
	ReclaimComplete bool
	ReclaimedBy     string

	// NFSv4.0: the callback in force and the verifier that confirms it, and
	// those that wait for SETCLIENTID_CONFIRM.
	Confirm  nfs4.Verifier
	Callback Callback
	Pending  *PendingCallback
}

// Callback is where an NFSv4.0 client wants to be called (cb_client4).
type Callback struct {
	Program     uint32
	NetID, Addr string
	Ident       uint32
}

// A PendingCallback is a callback that was not confirmed yet.
type PendingCallback struct {
	Confirm  nfs4.Verifier
	Callback Callback
}

// Clone returns a copy that shares no memory that is changed in place.
func (c *Client) Clone() *Client {
	d := *c
	d.Sessions = slices.Clone(c.Sessions)
	if c.Pending != nil {
		p := *c.Pending
		d.Pending = &p
	}
	return &d
}

// An Ident is the record that leads from a client owner to its clients: at
// most one confirmed and one unconfirmed (RFC 8881 §18.35.4). 0 is none. In
// group ident/<kind>/<owner>, part "".
type Ident struct {
	Confirmed, Unconfirmed ClientID
}

// Known is what is known of a client owner before a request.
type Known struct {
	Confirmed, Unconfirmed *Client

	// Idle says that the confirmed client has no state, or that its lease ran out:
	// another principal may take the owner over.
	Idle bool
}

// Change is what a request does to the records of a client owner.
type Change struct {
	Ident Ident
	Put   []*Client
	Drop  []ClientID // clients that go, with all their state

	// Revoked says that those that go lose state that they may still count on.
	Revoked bool
}

// Exchange is an EXCHANGE_ID.
type Exchange struct {
	Owner     []byte
	Verifier  nfs4.Verifier
	Principal string
	Minor     uint32
	Update    bool // EXCHGID4_FLAG_UPD_CONFIRMED_REC_A
	Impl      string
	Remote    string
	New       ClientID // an id never used before
}

// FirstSequence is the csa_sequence that a new client begins with.
const FirstSequence = 1

// ExchangeID decides an EXCHANGE_ID by the cases of RFC 8881 §18.35.4. It
// returns the client that the result names. A nil Change changes nothing.
func ExchangeID(k Known, a *Exchange) (*Client, *Change, error) {
	conf := k.Confirmed
	same := conf != nil && conf.Verifier == a.Verifier
	if a.Update {
		switch {
		case conf == nil: // 7
			return nil, nil, ErrNoEnt
		case !same: // 8
			return nil, nil, ErrNotSame
		case conf.Principal != a.Principal: // 9
			return nil, nil, ErrPermission
		}
		next := conf.Clone() // 6
		next.Impl, next.Remote = a.Impl, a.Remote
		ch := &Change{Ident: k.ident(), Put: []*Client{next}}
		return next, ch, nil
	}

	ch := &Change{}
	switch {
	case conf == nil: // 1
	case conf.Principal != a.Principal: // 3
		if !k.Idle {
			return nil, nil, ErrClientIDInUse
		}
		ch.Drop = append(ch.Drop, conf.ID)
	case same: // 2
		return conf, nil, nil
	default: // 5
		ch.Ident.Confirmed = conf.ID
	}
	if k.Unconfirmed != nil { // 4
		ch.Drop = append(ch.Drop, k.Unconfirmed.ID)
	}
	c := &Client{
		ID: a.New, Owner: bytes.Clone(a.Owner), Verifier: a.Verifier, Principal: a.Principal, Minor: a.Minor,
		Impl: a.Impl, Remote: a.Remote,
		Sequence: FirstSequence - 1, Created: Created{Err: CreatedMisordered},
	}
	ch.Ident.Unconfirmed = c.ID
	ch.Put = []*Client{c}
	return c, ch, nil
}

func (k Known) ident() (id Ident) {
	if k.Confirmed != nil {
		id.Confirmed = k.Confirmed.ID
	}
	if k.Unconfirmed != nil {
		id.Unconfirmed = k.Unconfirmed.ID
	}
	return id
}

// SetID is a SETCLIENTID.
type SetID struct {
	ID                []byte
	Verifier          nfs4.Verifier
	Callback          Callback
	Principal, Remote string
	New               ClientID      // an id never used before
	Confirm           nfs4.Verifier // likewise
}

// SetClientID decides a SETCLIENTID by the cases of RFC 7530 §16.33.5. It
// returns the client and the verifier that the result names.
func SetClientID(k Known, a *SetID) (*Client, nfs4.Verifier, *Change, error) {
	conf := k.Confirmed
	ch := &Change{Ident: k.ident()}
	if conf != nil && conf.Principal != a.Principal {
		if !k.Idle {
			return nil, nfs4.Verifier{}, nil, ErrClientIDInUse
		}
		ch.Drop = append(ch.Drop, conf.ID)
		ch.Ident.Confirmed = 0
		conf = nil
	}
	if conf != nil && conf.Verifier == a.Verifier {
		// Only the callback changes, once it is confirmed.
		next := conf.Clone()
		next.Pending = &PendingCallback{Confirm: a.Confirm, Callback: a.Callback}
		next.Remote = a.Remote
		ch.Put = []*Client{next}
		return next, a.Confirm, ch, nil
	}
	if k.Unconfirmed != nil {
		ch.Drop = append(ch.Drop, k.Unconfirmed.ID)
	}
	c := &Client{
		ID: a.New, Owner: bytes.Clone(a.ID), Verifier: a.Verifier, Principal: a.Principal, Remote: a.Remote,
		Confirm: a.Confirm, Callback: a.Callback,
	}
	ch.Ident.Unconfirmed = c.ID
	ch.Put = []*Client{c}
	return c, a.Confirm, ch, nil
}

// SetClientIDConfirm decides a SETCLIENTID_CONFIRM of client c, one of k, by
// the cases of RFC 7530 §16.34.5. A nil Change changes nothing.
func SetClientIDConfirm(k Known, c *Client, confirm nfs4.Verifier, principal string) (*Change, error) {
	ch := &Change{Ident: k.ident()}
	switch {
	case c == nil:
		return nil, ErrStaleClientID
	case c.Confirmed && c.Pending != nil && c.Pending.Confirm == confirm:
		if c.Principal != principal {
			return nil, ErrClientIDInUse
		}
		next := c.Clone()
		next.Confirm, next.Callback = c.Pending.Confirm, c.Pending.Callback
		next.Pending = nil
		ch.Put = []*Client{next}
		return ch, nil
	case c.Confirmed && c.Confirm == confirm:
		if c.Principal != principal {
			return nil, ErrClientIDInUse
		}
		return nil, nil // the reply to the first was lost
	case !c.Confirmed && c.Confirm == confirm:
		if c.Principal != principal {
			return nil, ErrClientIDInUse
		}
		next := c.Clone()
		next.Confirmed = true
		ch.Put = []*Client{next}
		ch.Ident = Ident{Confirmed: c.ID}
		if old := k.Confirmed; old != nil {
			if old.Principal != principal && !k.Idle {
				return nil, ErrClientIDInUse
			}
			ch.Drop = append(ch.Drop, old.ID)
		}
		return ch, nil
	}
	return nil, ErrStaleClientID
}

// Remove decides that c, one of k, goes: by DESTROY_CLIENTID or age, or because
// its state is revoked.
func Remove(k Known, c *Client, revoked bool) *Change {
	ch := &Change{Ident: k.ident(), Drop: []ClientID{c.ID}, Revoked: revoked}
	if ch.Ident.Confirmed == c.ID {
		ch.Ident.Confirmed = 0
	}
	if ch.Ident.Unconfirmed == c.ID {
		ch.Ident.Unconfirmed = 0
	}
	return ch
}

// Keep is the change that only replaces one of k's records.
func Keep(k Known, next *Client) *Change {
	return &Change{Ident: k.ident(), Put: []*Client{next}}
}
