package rules

import (
	"slices"

	"holdfast/internal/nfs4"
)

// A Ref is a stateid in a request, as the one who sent it means it.
type Ref struct {
	Stateid nfs4.Stateid

	// Client is who sent it; 0, in NFSv4.0, says that the request does not tell.
	Client ClientID

	// Minor0 says that the request is of NFSv4.0, where a seqid of 0 does not
	// stand for the latest one.
	Minor0 bool
}

// Kind is what a stateid stands for.
type Kind uint8

// The kinds.
const (
	KindOpen Kind = 1 + iota
	KindLock
)

// A State is what a stateid stands for at present.
type State struct {
	Kind    Kind
	Stateid nfs4.Stateid
	Client  ClientID
	Owner   []byte // the open-owner or the lock-owner
	Ranges  int    // of a lock stateid

	// The open itself, or the one that the lock stateid hangs on.
	Open         nfs4.Stateid
	OpenOwner    []byte
	Access, Deny uint32
	UID          uint32
	Confirmed    bool
}

// Find returns what a stateid stands for, whatever its seqid.
func (f *File) Find(other Other) (State, bool) {
	if o := f.opens.get(other, openKey); o != nil {
		s := o.state()
		s.Kind = KindOpen
		s.Stateid = s.Open
		s.Owner = s.OpenOwner
		return s, true
	}
	if l := f.locks.get(other, lockKey); l != nil {
		s := l.open.state()
		s.Kind = KindLock
		s.Stateid = nfs4.Stateid{Seqid: l.seqid, Other: l.other}
		s.Owner = []byte(l.owner.name)
		s.Ranges = l.ranges
		return s, true
	}
	return State{}, false
}

func (o *open) state() State {
	return State{
		Client: o.owner.client, Open: o.stateid(), OpenOwner: []byte(o.owner.name),
		Access: uint32(o.access), Deny: uint32(o.deny), UID: o.uid, Confirmed: o.confirmed,
	}
}

// Lookup returns what a stateid stands for and checks it (RFC 8881 §8.2.4,
// RFC 7530 §9.1.4.2). The error is ErrBadStateid or ErrOldStateid. Special
// stateids are ErrBadStateid.
func (f *File) Lookup(ref Ref) (State, error) {
	if _, _, err := f.resolve(ref); err != nil {
		return State{}, err
	}
	s, _ := f.Find(ref.Stateid.Other)
	return s, nil
}

// resolve finds and checks a stateid: for one of a lock it returns the lock,
// and in every case the open.
func (f *File) resolve(ref Ref) (*open, *lockState, error) {
	var seqid uint32
	l := f.locks.get(ref.Stateid.Other, lockKey)
	var o *open
	if l != nil {
		o, seqid = l.open, l.seqid
	} else if o = f.opens.get(ref.Stateid.Other, openKey); o != nil {
		seqid = o.seqid
	}
	if o == nil || ref.Client != 0 && ref.Client != o.owner.client {
		return nil, nil, ErrBadStateid
	}
	return o, l, checkSeqid(ref, seqid)
}

// checkSeqid compares the seqid of a request with the present one. Seqids wrap
// around, so that of two the newer one is less than 2^31 ahead.
func checkSeqid(ref Ref, now uint32) error {
	asked := ref.Stateid.Seqid
	switch {
	case asked == now, asked == 0 && !ref.Minor0:
		return nil
	case asked != 0 && int32(asked-now) > 0:
		return ErrBadStateid
	}
	return ErrOldStateid
}

// openOf finds and checks the stateid of an open that was confirmed.
func (f *File) openOf(ref Ref) (*open, error) {
	o, l, err := f.resolve(ref)
	if err != nil {
		return nil, err
	}
	if l != nil || !o.confirmed {
		return nil, ErrBadStateid
	}
	return o, nil
}

// lockOf finds and checks a lock stateid.
func (f *File) lockOf(ref Ref) (*lockState, error) {
	_, l, err := f.resolve(ref)
	if err == nil && l == nil {
		err = ErrBadStateid
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// nextSeqid returns the seqid after s: 0 is none (RFC 8881 §8.2.2).
func nextSeqid(s uint32) uint32 {
	if s++; s == 0 {
		s = 1
	}
	return s
}

// vacant says whether a stateid that the caller made may become a new one.
func (f *File) vacant(other Other) error {
	if (nfs4.Stateid{Other: other}).IsSpecial() ||
		f.opens.get(other, openKey) != nil || f.locks.get(other, lockKey) != nil {
		return fault("stateid %x cannot be given out", other)
	}
	return nil
}

// FreeStateid frees a lock stateid without ranges (RFC 8881 §18.38). The error
// is ErrBadStateid, ErrOldStateid or, for all that stands for something,
// ErrLocksHeld.
func (f *File) FreeStateid(ref Ref) (*Delta, error) {
	_, l, err := f.resolve(ref)
	if err != nil {
		return nil, err
	}
	if l == nil || l.ranges > 0 {
		return nil, ErrLocksHeld
	}
	d := newDelta()
	d.cutLock(l)
	return f.done(d), nil
}

// DropOpen drops an open with all that hangs on it, whoever asks: NFSv4.0 cancels
// an open that its owner did not confirm (RFC 7530 §16.18.5). It returns nil if
// there is no such open.
func (f *File) DropOpen(other Other) *Delta {
	o := f.opens.get(other, openKey)
	if o == nil {
		return nil
	}
	d := newDelta()
	d.cutOpen(o)
	return f.done(d)
}

// DropClient drops all that a client has on the file, or returns nil if it has
// nothing.
func (f *File) DropClient(c ClientID) *Delta {
	if !f.HasClient(c) {
		return nil
	}
	d := newDelta()
	f.cutClient(d, c)
	return f.done(d)
}

// An Info describes an open or a locked range to an administrator.
type Info struct {
	Client         ClientID
	Owner          []byte
	Lock           bool // a locked range; otherwise an open
	Access, Deny   uint32
	Offset, Length uint64
	Write          bool
}

// Each calls fn for the opens, in the order of their stateids, and for the
// locked ranges, reads before writes, in the order of their starts, until fn
// returns false.
func (f *File) Each(fn func(Info) bool) {
	opens := make([]*open, 0, f.opens.len())
	f.opens.each(func(o *open) { opens = append(opens, o) })
	slices.SortFunc(opens, func(a, b *open) int { return slices.Compare(a.other[:], b.other[:]) })
	for _, o := range opens {
		if !fn(Info{
			Client: o.owner.client, Owner: []byte(o.owner.name),
			Access: uint32(o.access), Deny: uint32(o.deny),
		}) {
			return
		}
	}
	for _, tree := range []*span{f.reads, f.writes} {
		if !overlapping(tree, 0, maxOffset, func(s *span) bool {
			return fn(Info{
				Client: s.lock.owner.client, Owner: []byte(s.lock.owner.name), Lock: true,
				Offset: s.start, Length: length(s.start, s.last), Write: s.write,
			})
		}) {
			return
		}
	}
}
