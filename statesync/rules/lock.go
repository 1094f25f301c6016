package rules

import "holdfast/internal/nfs4"

// A LockRequest is a LOCK.
type LockRequest struct {
	Ref

	// New says that Ref is an open and Owner a lock-owner that locks through it,
	// perhaps not for the first time; otherwise Ref is a lock stateid.
	New   bool
	Owner []byte

	Write          bool
	Offset, Length uint64 // Length of 2^64-1: to the end

	// NewOther becomes the stateid's other if a new one is needed. It must
	// never have been used before.
	NewOther Other
}

// A TestRequest is a LOCKT.
type TestRequest struct {
	Client         ClientID
	Owner          []byte
	Write          bool
	Offset, Length uint64
}

// Lock locks a range: what the owner has there is replaced, ranges of one type
// that touch become one (RFC 8881 §9.2, §9.3, §18.10). Of clients of which dead
// says true everything that is in the way goes with the change; dead may be
// nil. It returns the lock stateid after the change.
//
// The error is *LockDenied, naming the conflicting range that starts first,
// ErrBadStateid, ErrOldStateid, ErrOpenMode, ErrInval, or ErrServerFault for a
// NewOther that is in use.
func (f *File) Lock(req *LockRequest, dead func(ClientID) bool) (nfs4.Stateid, *Delta, error) {
	last, err := extent(req.Offset, req.Length)
	if err != nil {
		return nfs4.Stateid{}, nil, err
	}
	rec, own, made, err := f.locker(req)
	if err != nil {
		return nfs4.Stateid{}, nil, err
	}
	gone, denied := f.denies(rec.owner, req.Offset, last, req.Write, dead)
	if denied != nil {
		return nfs4.Stateid{}, nil, denied
	}
	d := newDelta()
	f.cutDead(d, gone)
	d.addLock(rec, made)
	c := carving{d: d, start: req.Offset, last: last, into: &rec.other, write: req.Write}
	c.carve(own)
	return nfs4.Stateid{Seqid: rec.seqid, Other: rec.other}, f.done(d), nil
}

// locker returns the lock stateid of a LOCK as it will be, and its owner if it
// has locked on this file before.
func (f *File) locker(req *LockRequest) (rec lockRecord, own *lockOwner, made bool, err error) {
	var o *open
	var l *lockState
	if req.New {
		if len(req.Owner) > nfs4.OpaqueLimit {
			return rec, nil, false, ErrInval
		}
		if o, err = f.openOf(req.Ref); err != nil {
			return rec, nil, false, err
		}
		name := owner{o.owner.client, string(req.Owner)}
		if own = f.lockOwner.get(name, lockOwnerKey); own != nil {
			l = own.through(o)
		}
		if l == nil {
			if err := f.vacant(req.NewOther); err != nil {
				return rec, nil, false, err
			}
			rec = lockRecord{other: req.NewOther, open: o.other, owner: name}
		}
	} else {
		if l, err = f.lockOf(req.Ref); err != nil {
			return rec, nil, false, err
		}
		o, own = l.open, l.owner
	}
	if l != nil {
		rec = l.record()
	}
	rec.seqid = nextSeqid(rec.seqid)
	if need := accessFor(req.Write); o.access&need == 0 {
		return rec, nil, false, ErrOpenMode
	}
	return rec, own, l == nil, nil
}

// accessFor is what a POSIX file must be open for to be locked (fcntl).
func accessFor(write bool) uint8 {
	if write {
		return nfs4.ShareAccessWrite
	}
	return nfs4.ShareAccessRead
}

// denies returns the first range that excludes a lock of an owner, and the dead
// clients that it passed on the way.
func (f *File) denies(asks owner, start, last uint64, write bool, dead func(ClientID) bool) (gone []ClientID, denied error) {
	var first *span
	var known map[ClientID]bool
	look := func(s *span) bool {
		if s.lock.owner.owner == asks {
			return true
		}
		c := s.lock.owner.client
		if c != asks.client && dead != nil {
			void, asked := known[c]
			if !asked {
				if known == nil {
					known = make(map[ClientID]bool)
				}
				void = dead(c)
				if known[c] = void; void {
					gone = append(gone, c)
				}
			}
			if void {
				return true
			}
		}
		if first == nil || before(s, first) {
			first = s
		}
		return false
	}
	overlapping(f.writes, start, last, look)
	if write {
		overlapping(f.reads, start, last, look)
	}
	if first == nil {
		return gone, nil
	}
	return nil, &LockDenied{
		Offset: first.start, Length: length(first.start, first.last), Write: first.write,
		Client: first.lock.owner.client, Owner: []byte(first.lock.owner.name),
	}
}

// A carving takes the bytes from start to last from all ranges of an owner and,
// if into is set, gives them to that stateid.
type carving struct {
	d           *Delta
	start, last uint64
	into        *Other
	write       bool
}

func (c *carving) carve(own *lockOwner) {
	if c.into == nil {
		within(own.ranges, c.start, c.last, c.cut)
		return
	}
	// The ranges that touch on either side may become one with it.
	low, high := c.start, c.last
	from, to := low, high
	if from > 0 {
		from--
	}
	if to < maxOffset {
		to++
	}
	replaces := false
	var covers *span
	if own != nil {
		within(own.ranges, from, to, func(s *span) {
			mine := s.lock.other == *c.into
			switch {
			case mine && s.write == c.write:
				low, high = min(low, s.start), max(high, s.last)
				if s.start == low {
					replaces, covers = true, s
				} else {
					c.d.cutRange(s)
				}
			case s.start > c.last || s.last < c.start:
			case mine && s.start == low:
				replaces = true
				c.right(s)
			default:
				c.cut(s)
			}
		})
	}
	if covers != nil && covers.last == high {
		return // it was locked like this already
	}
	c.d.addRange(*c.into, low, high, c.write, replaces)
}

// cut takes the bytes from one range.
func (c *carving) cut(s *span) {
	if s.start < c.start {
		c.d.addRange(s.lock.other, s.start, c.start-1, s.write, true)
	} else {
		c.d.cutRange(s)
	}
	c.right(s)
}

// right keeps what a range has behind the bytes.
func (c *carving) right(s *span) {
	if s.last > c.last {
		c.d.addRange(s.lock.other, c.last+1, s.last, s.write, false)
	}
}

// Unlock takes a range from the owner of a lock stateid, through whichever
// stateid it was locked (RFC 8881 §9.5, §18.12). Unlocking what is not locked is
// no error. It returns the stateid after the change. The error is ErrInval,
// ErrBadStateid or ErrOldStateid.
func (f *File) Unlock(ref Ref, offset, length uint64) (nfs4.Stateid, *Delta, error) {
	last, err := extent(offset, length)
	if err != nil {
		return nfs4.Stateid{}, nil, err
	}
	l, err := f.lockOf(ref)
	if err != nil {
		return nfs4.Stateid{}, nil, err
	}
	rec := l.record()
	rec.seqid = nextSeqid(rec.seqid)
	d := newDelta()
	d.addLock(rec, false)
	c := carving{d: d, start: offset, last: last}
	c.carve(l.owner)
	return nfs4.Stateid{Seqid: rec.seqid, Other: rec.other}, f.done(d), nil
}

// TestLock says whether a LOCK would be granted (RFC 8881 §18.11). Dead clients
// deny nothing. The error is *LockDenied or ErrInval.
func (f *File) TestLock(req *TestRequest, dead func(ClientID) bool) error {
	last, err := extent(req.Offset, req.Length)
	if err != nil {
		return err
	}
	_, denied := f.denies(owner{req.Client, string(req.Owner)}, req.Offset, last, req.Write, dead)
	return denied
}

// ReleaseLockOwner drops the lock stateids of an owner that has nothing locked
// on the file (RFC 7530 §16.37). It returns nil if it has none. The error is
// ErrLocksHeld.
func (f *File) ReleaseLockOwner(c ClientID, name []byte) (*Delta, error) {
	own := f.lockOwner.get(owner{c, string(name)}, lockOwnerKey)
	if own == nil {
		return nil, nil
	}
	if own.ranges != nil {
		return nil, ErrLocksHeld
	}
	d := newDelta()
	for l := own.states; l != nil; l = l.sibling {
		d.cutLock(l)
	}
	return f.done(d), nil
}
