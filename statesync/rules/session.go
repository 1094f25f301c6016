package rules

import (
	"bytes"
	"slices"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// ChannelAttrs are channel_attrs4 without RDMA.
type ChannelAttrs struct {
	HeaderPad, MaxRequest, MaxReply, MaxCached, MaxOps, MaxSlots uint32
}

// A Session is the record of one session: in group session/<id>, part "".
//
//	u32 format · sessionid · u64 client · u32 flags · channel fore · channel back
//	u32 callback program · opaque callback security
//
// Its slots are groups of their own. A session is valid as long as its client
// lists it.
type Session struct {
	ID              nfs4.SessionID
	Client          ClientID
	Flags           uint32 // granted: CREATE_SESSION4_FLAG_…
	Fore, Back      ChannelAttrs
	CallbackProgram uint32
	CallbackSec     []byte

	// Ended is how many instances of gateways had ended when the session was made: if no more
	// have, what is known of its slots is known to somebody.
	Ended uint64
}

// UnknownEnded is Ended of a session made before that was recorded.
const UnknownEnded = ^uint64(0)

// Created is the result of a CREATE_SESSION, kept in the client's record
// (RFC 8881 §18.36.4, phase 2).
type Created struct {
	Err        CreatedError
	Session    nfs4.SessionID
	Sequence   uint32
	Flags      uint32
	Fore, Back ChannelAttrs
}

// CreatedError is an error of CREATE_SESSION that a retry gets again.
type CreatedError uint32

// The errors kept.
const (
	CreatedOK CreatedError = iota
	CreatedMisordered
	CreatedTooSmall
	CreatedResource
)

// Error returns the error that the number stands for.
func (e CreatedError) Error() error {
	switch e {
	case CreatedOK:
		return nil
	case CreatedMisordered:
		return ErrSeqMisordered
	case CreatedTooSmall:
		return ErrTooSmall
	case CreatedResource:
		return ErrResource
	}
	return ErrServerFault
}

// SessionLimits bound what a session gets.
type SessionLimits struct {
	Slots, Sessions, Operations, RequestBytes, ReplyBytes, CachedBytes uint32
}

// NewSession is a CREATE_SESSION.
type NewSession struct {
	ID              nfs4.SessionID // never used before
	Sequence        uint32
	Flags           uint32
	Fore, Back      ChannelAttrs
	CallbackProgram uint32
	CallbackSec     []byte
	Principal       string
	Ended           uint64
}

// The smallest channel that is of any use: SEQUENCE and one operation more.
const (
	minMessage = 256
	minOps     = 2
)

// CreateSession decides a CREATE_SESSION of client c, one of k, by the phases
// of RFC 8881 §18.36.4. The result is also the answer to a retry: then the
// Change is nil. The Session is nil if Created says that an error was kept.
func CreateSession(k Known, c *Client, a *NewSession, lim SessionLimits) (Created, *Session, *Change, error) {
	if c == nil || c.Minor == 0 {
		return Created{}, nil, nil, ErrStaleClientID
	}
	if c.Principal != a.Principal {
		return Created{}, nil, nil, ErrClientIDInUse
	}
	switch a.Sequence {
	case c.Sequence:
		return c.Created, nil, nil, nil
	case c.Sequence + 1:
	default:
		return Created{}, nil, nil, ErrSeqMisordered
	}

	next := c.Clone()
	next.Sequence = a.Sequence
	ch := &Change{Ident: k.ident(), Put: []*Client{next}}
	fail := func(e CreatedError) (Created, *Session, *Change, error) {
		next.Created = Created{Err: e}
		return next.Created, nil, ch, nil
	}
	if tooSmall(a.Fore) || a.Flags&nfs4.CreateSessionConnBackChan != 0 && a.Back.MaxRequest < minMessage {
		return fail(CreatedTooSmall)
	}
	if len(c.Sessions) >= int(lim.Sessions) {
		return fail(CreatedResource)
	}

	s := &Session{
		ID: a.ID, Client: c.ID,
		Flags:           a.Flags & (nfs4.CreateSessionPersist | nfs4.CreateSessionConnBackChan),
		Fore:            grant(a.Fore, lim),
		Back:            a.Back,
		CallbackProgram: a.CallbackProgram,
		CallbackSec:     bytes.Clone(a.CallbackSec),
		Ended:           a.Ended,
	}
	s.Back.HeaderPad = 0
	next.Created = Created{Session: s.ID, Sequence: a.Sequence, Flags: s.Flags, Fore: s.Fore, Back: s.Back}
	next.Sessions = append(next.Sessions, s.ID)
	if !c.Confirmed {
		next.Confirmed = true
		ch.Ident = Ident{Confirmed: c.ID}
		if k.Confirmed != nil {
			ch.Drop = append(ch.Drop, k.Confirmed.ID)
		}
	}
	return next.Created, s, ch, nil
}

func tooSmall(a ChannelAttrs) bool {
	return a.MaxRequest < minMessage || a.MaxReply < minMessage || a.MaxOps < minOps
}

func grant(a ChannelAttrs, lim SessionLimits) ChannelAttrs {
	return ChannelAttrs{
		MaxRequest: min(a.MaxRequest, lim.RequestBytes),
		MaxReply:   min(a.MaxReply, lim.ReplyBytes),
		MaxCached:  min(a.MaxCached, lim.CachedBytes),
		MaxOps:     min(a.MaxOps, lim.Operations),
		MaxSlots:   min(max(a.MaxSlots, 1), lim.Slots),
	}
}

// DestroySession returns c without the session.
func DestroySession(c *Client, id nfs4.SessionID) *Client {
	next := c.Clone()
	next.Sessions = slices.DeleteFunc(next.Sessions, func(s nfs4.SessionID) bool { return s == id })
	return next
}

// ReclaimComplete decides a RECLAIM_COMPLETE for all file systems (RFC 8881
// §18.51) by the request that by names. A nil Client changes nothing.
func ReclaimComplete(c *Client, by string) (*Client, error) {
	if c.ReclaimComplete {
		if by != "" && c.ReclaimedBy == by {
			return nil, nil
		}
		return nil, ErrCompleteAlready
	}
	next := c.Clone()
	next.ReclaimComplete = true
	next.ReclaimedBy = by
	return next, nil
}

const sessionFormat = 2

// Encode returns the record.
func (s *Session) Encode() []byte {
	w := xdr.NewWriter(make([]byte, 0, 128))
	w.Uint32(sessionFormat)
	s.ID.Encode(&w)
	w.Uint64(uint64(s.Client))
	w.Uint32(s.Flags)
	s.Fore.encode(&w)
	s.Back.encode(&w)
	w.Uint32(s.CallbackProgram)
	w.Opaque(s.CallbackSec)
	w.Uint64(s.Ended)
	return w.Bytes()
}

// DecodeSession reads a record that Encode wrote. The error is ErrServerFault.
func DecodeSession(b []byte) (*Session, error) {
	r := xdr.NewReader(b)
	peek := r
	format := peek.Uint32()
	if err := checkFormat(&r, "session", sessionFormat); err != nil {
		return nil, err
	}
	s := &Session{ID: nfs4.DecodeSessionID(&r), Client: ClientID(r.Uint64()), Flags: r.Uint32()}
	s.Fore.decode(&r)
	s.Back.decode(&r)
	s.CallbackProgram = r.Uint32()
	s.CallbackSec = bytes.Clone(r.Opaque(maxSecParms))
	if s.Ended = UnknownEnded; format > 1 {
		s.Ended = r.Uint64()
	}
	return s, checkEnd(&r, "session")
}

func (a *ChannelAttrs) encode(w *xdr.Writer) {
	for _, v := range [...]uint32{a.HeaderPad, a.MaxRequest, a.MaxReply, a.MaxCached, a.MaxOps, a.MaxSlots} {
		w.Uint32(v)
	}
}

func (a *ChannelAttrs) decode(r *xdr.Reader) {
	for _, v := range [...]*uint32{&a.HeaderPad, &a.MaxRequest, &a.MaxReply, &a.MaxCached, &a.MaxOps, &a.MaxSlots} {
		*v = r.Uint32()
	}
}

func (c *Created) encode(w *xdr.Writer) {
	w.Uint32(uint32(c.Err))
	c.Session.Encode(w)
	w.Uint32(c.Sequence)
	w.Uint32(c.Flags)
	c.Fore.encode(w)
	c.Back.encode(w)
}

func (c *Created) decode(r *xdr.Reader) {
	c.Err = CreatedError(r.Uint32())
	c.Session = nfs4.DecodeSessionID(r)
	c.Sequence = r.Uint32()
	c.Flags = r.Uint32()
	c.Fore.decode(r)
	c.Back.decode(r)
}
