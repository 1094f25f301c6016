package rules

import (
	"fmt"
	"slices"

	"holdfast/internal/nfs4"
)

// NoUID is the UID of an open to which several users contributed: it is no
// user's (RFC 8881 §9.9 joins the OPENs of an open-owner whoever sent them).
const NoUID = 0xffffffff

// An OpenRequest is an OPEN of the file.
type OpenRequest struct {
	Client ClientID
	Owner  []byte
	Access uint32 // nfs4.ShareAccess…, 1 to 3
	Deny   uint32 // nfs4.ShareDeny…, 0 to 3
	UID    uint32 // of the caller; kept for I/O

	// Unconfirmed says that an NFSv4.0 open-owner is new: the open is of no use
	// until OPEN_CONFIRM.
	Unconfirmed bool

	// NewOther becomes the stateid's other if the open is a new one. It must
	// never have been used before.
	NewOther Other
}

// An OpenState is what OPEN, OPEN_CONFIRM, OPEN_DOWNGRADE and CLOSE leave.
type OpenState struct {
	Stateid      nfs4.Stateid
	Access, Deny uint32
	NeedConfirm  bool // NFSv4.0: OPEN4_RESULT_CONFIRM
	Made         bool // there was no open of this owner on the file
}

// A ShareConflict is the error of Open and CheckIO when opens stand in the way.
// It is (errors.Is) ErrShareDenied after Open, ErrLocked after CheckIO.
type ShareConflict struct {
	Clients []ClientID // whose opens they are, ascending
	err     error
}

func (e *ShareConflict) Error() string {
	return fmt.Sprintf("%v by %d clients", e.err, len(e.Clients))
}

func (e *ShareConflict) Unwrap() error { return e.err }

func (o *open) stateid() nfs4.Stateid { return nfs4.Stateid{Seqid: o.seqid, Other: o.other} }

func (r *openRecord) result() OpenState {
	return OpenState{
		Stateid:     nfs4.Stateid{Seqid: r.seqid, Other: r.other},
		Access:      uint32(r.access),
		Deny:        uint32(r.deny),
		NeedConfirm: !r.confirmed,
	}
}

func validShare(access, deny uint32) bool {
	return access >= nfs4.ShareAccessRead && access <= nfs4.ShareAccessBoth && deny <= nfs4.ShareDenyBoth
}

// Open opens the file or upgrades the open that the owner has (RFC 8881 §9.7,
// §9.9, §18.16). Clients of which dead says true are in nobody's way: what those
// that would be have on the file goes with the change. dead may be nil.
//
// The error is *ShareConflict, ErrInval, or ErrServerFault for a NewOther that
// is in use.
func (f *File) Open(req *OpenRequest, dead func(ClientID) bool) (OpenState, *Delta, error) {
	if !validShare(req.Access, req.Deny) || len(req.Owner) > nfs4.OpaqueLimit || req.Client == 0 {
		return OpenState{}, nil, ErrInval
	}
	access, deny := uint8(req.Access), uint8(req.Deny)
	own := f.openOwner.get(owner{req.Client, string(req.Owner)}, openOwnerKey)
	var void *open
	if own != nil && !own.confirmed && req.Unconfirmed {
		// The OPEN before was never confirmed, so it goes (RFC 7530 §16.18.5).
		void, own = own, nil
	}
	live, gone := f.conflicts(access, deny, void, req.Client, dead)
	if len(live) > 0 {
		return OpenState{}, nil, &ShareConflict{Clients: live, err: ErrShareDenied}
	}
	d := newDelta()
	f.cutDead(d, gone)
	if void != nil {
		d.cutOpen(void)
	}
	var rec openRecord
	if own != nil {
		rec = own.openRecord
		rec.seqid = nextSeqid(rec.seqid)
		rec.access |= access
		rec.deny |= deny
		if rec.uid != req.UID {
			rec.uid = NoUID
		}
		rec.confirmed = rec.confirmed || !req.Unconfirmed
	} else {
		if err := f.vacant(req.NewOther); err != nil {
			return OpenState{}, nil, err
		}
		rec = newOpen(req)
	}
	rec.accesses |= 1 << access
	rec.denies |= 1 << deny
	d.addOpen(rec, own == nil)
	res := rec.result()
	res.Made = own == nil
	return res, f.done(d), nil
}

func newOpen(req *OpenRequest) openRecord {
	access, deny := uint8(req.Access), uint8(req.Deny)
	return openRecord{
		other: req.NewOther, seqid: 1, owner: owner{req.Client, string(req.Owner)},
		access: access, deny: deny, accesses: 1 << access, denies: 1 << deny,
		uid: req.UID, confirmed: !req.Unconfirmed,
	}
}

// conflicts returns the clients whose opens exclude the access or the deny of a
// new OPEN, those that are alive and those that are dead. The other opens of
// the owner that asks count as well (RFC 8881 §9.7, RFC 7530 §9.9), only one
// that is void does not.
func (f *File) conflicts(access, deny uint8, void *open, self ClientID, dead func(ClientID) bool) (live, gone []ClientID) {
	if access&mask(f.denied) == 0 && deny&mask(f.accessed) == 0 {
		return nil, nil
	}
	seen := make(map[ClientID]bool)
	f.opens.each(func(o *open) {
		c := o.owner.client
		if o == void || access&o.deny == 0 && deny&o.access == 0 || seen[c] {
			return
		}
		seen[c] = true
		if c != self && dead != nil && dead(c) {
			gone = append(gone, c)
		} else {
			live = append(live, c)
		}
	})
	slices.Sort(live)
	slices.Sort(gone)
	return live, gone
}

// mask returns the bits that are set in at least one open.
func mask(counts [2]int) (bits uint8) {
	for i, n := range counts {
		if n > 0 {
			bits |= 1 << i
		}
	}
	return bits
}

// Confirm makes an open of NFSv4.0 usable (RFC 7530 §16.18). The error is
// ErrBadStateid, also for an open that is confirmed, or ErrOldStateid.
func (f *File) Confirm(ref Ref) (OpenState, *Delta, error) {
	o, l, err := f.resolve(ref)
	if err == nil && (l != nil || o.confirmed) {
		err = ErrBadStateid
	}
	if err != nil {
		return OpenState{}, nil, err
	}
	rec := o.openRecord
	rec.seqid = nextSeqid(rec.seqid)
	rec.confirmed = true
	return f.rewrite(rec)
}

// Downgrade takes bits from an open (RFC 8881 §18.18, RFC 7530 §16.19). The
// error is ErrBadStateid, ErrOldStateid, or ErrInval if access or deny is not
// the union of those of some of the OPENs in effect.
func (f *File) Downgrade(ref Ref, access, deny uint32) (OpenState, *Delta, error) {
	if !validShare(access, deny) {
		return OpenState{}, nil, ErrInval
	}
	o, err := f.openOf(ref)
	if err != nil {
		return OpenState{}, nil, err
	}
	rec := o.openRecord
	rec.access, rec.deny = uint8(access), uint8(deny)
	rec.accesses = below(rec.access, rec.accesses)
	rec.denies = below(rec.deny, rec.denies)
	if !composable(rec.access, rec.accesses) || !composable(rec.deny, rec.denies) {
		return OpenState{}, nil, ErrInval
	}
	rec.seqid = nextSeqid(rec.seqid)
	return f.rewrite(rec)
}

// below returns those values of a bitmap that have no bit outside bits: the
// OPENs that may still be in effect.
func below(bits, values uint8) (kept uint8) {
	for v := uint8(0); v < 4; v++ {
		if values>>v&1 != 0 && v&^bits == 0 {
			kept |= 1 << v
		}
	}
	return kept
}

// composable says whether bits is the union of some of the values of a bitmap,
// of at least one. If so, it is that of all that have no bit outside it.
func composable(bits, values uint8) bool {
	union := uint8(0)
	kept := below(bits, values)
	for v := uint8(0); v < 4; v++ {
		if kept>>v&1 != 0 {
			union |= v
		}
	}
	return kept != 0 && union == bits
}

func (f *File) rewrite(rec openRecord) (OpenState, *Delta, error) {
	d := newDelta()
	d.addOpen(rec, false)
	return rec.result(), f.done(d), nil
}

// Close ends an open; the locks that hang on it go with it (RFC 8881 §9.8,
// §18.2). The result has the seqid after the last. The error is ErrBadStateid
// or ErrOldStateid.
func (f *File) Close(ref Ref) (OpenState, *Delta, error) {
	o, err := f.openOf(ref)
	if err != nil {
		return OpenState{}, nil, err
	}
	rec := o.openRecord
	rec.seqid = nextSeqid(rec.seqid)
	d := newDelta()
	d.cutOpen(o)
	return rec.result(), f.done(d), nil
}

// An IO is what a READ, a WRITE or a SETATTR of the size may rely on.
type IO struct {
	// Special is true for the anonymous and the READ-bypass stateid: nothing
	// was granted, the caller's rights must be checked.
	Special bool

	Client ClientID
	UID    uint32 // of who opened; NoUID if there were several
	Access uint32 // that was granted
}

// CheckIO says whether I/O with a stateid, or with a special one, may go on;
// access is nfs4.ShareAccessRead, …Write or both (RFC 8881 §8.2.3 and §9.1.2,
// RFC 7530 §9.1.6). Dead clients deny nothing.
//
// The error is ErrBadStateid, ErrOldStateid, ErrOpenMode or a *ShareConflict that
// is ErrLocked.
func (f *File) CheckIO(ref Ref, access uint32, dead func(ClientID) bool) (IO, error) {
	switch s := ref.Stateid; {
	case s == nfs4.BypassStateid && access == nfs4.ShareAccessRead:
		return IO{Special: true}, nil
	case s == nfs4.BypassStateid, s == nfs4.AnonymousStateid:
		live, _ := f.conflicts(uint8(access&nfs4.ShareAccessBoth), 0, nil, 0, dead)
		if len(live) > 0 {
			return IO{}, &ShareConflict{Clients: live, err: ErrLocked}
		}
		return IO{Special: true}, nil
	}
	o, _, err := f.resolve(ref)
	if err != nil {
		return IO{}, err
	}
	if !o.confirmed {
		return IO{}, ErrBadStateid
	}
	if access&^uint32(o.access) != 0 {
		return IO{}, ErrOpenMode
	}
	return IO{Client: o.owner.client, UID: o.uid, Access: uint32(o.access)}, nil
}
