// Package rules decides what the shared protocol state becomes: pure functions
// from records and a request to a result and the records that change.
//
// There is no clock here, no I/O, no goroutine and no randomness; what of these
// a rule needs is an argument. Nothing here is safe for use by several
// goroutines that change it; any number may read at the same time.
//
// # The state of a file
//
// What is open and locked on one file is one group of the store, in parts, so
// that a commit writes what changed. All numbers are big-endian.
//
//	group "file/" + FileKey
//
//	""                    head      u8 format
//	"o" other             open      u8 format · u8 flags (1 confirmed) · u32 seqid · u64 client
//	                                u8 access · u8 deny · u8 accesses seen · u8 denies seen
//	                                u32 uid · opaque open-owner
//	"l" other             lock      u8 format · u32 seqid · u64 client
//	                                other of the open · opaque lock-owner
//	"r" other start(u64)  range     u8 format · u8 type (0 read, 1 write) · u64 last byte
//
//	other   12 bytes of a stateid          opaque  u16 length · bytes, the rest of the part
//
// A lock stateid hangs on an open, a range on a lock stateid; a group with
// parts has a head and at least one open. A range that goes to the end of the
// file has 2^64-1 as its last byte.
//
// In memory it is a File. A rule leaves the File as it is and returns a Delta;
// File.Apply makes the change after the Delta was committed:
//
//	parts ─DecodeFile─▶ File ─rule(request)─▶ result, Delta ─Writes─▶ commit ─▶ Apply
//
//	   writes (read)        all ranges, ordered by start: the writes exclude each
//	     ▲                  other, the reads are an interval tree
//	     │ range ──▶ lock stateid ──▶ open
//	     ▼              │
//	   lock-owner ◀─────┘   its ranges, ordered by start: they exclude each other too
//
// So every rule costs O(log n) in what is open and locked on the file, and
// what it changes.
package rules

import (
	"fmt"

	"holdfast/internal/nfs4"
)

// An Other is what identifies a stateid for its whole life.
type Other = [nfs4.OtherSize]byte

// A File is what is open and locked on one file. The zero File has nothing.
type File struct {
	head bool // there is a head in the store

	opens     table[Other, *open]
	openOwner table[owner, *open]
	locks     table[Other, *lockState]
	lockOwner table[owner, *lockOwner]
	clients   table[ClientID, *fileClient]

	// How many opens have each bit of access and deny: read, write.
	accessed, denied [2]int

	reads, writes *span
	ranges        int
}

// An owner names an open-owner or a lock-owner.
type owner struct {
	client ClientID
	name   string
}

// An openRecord is the part of an open.
type openRecord struct {
	other  Other
	seqid  uint32
	owner  owner
	access uint8
	deny   uint8

	// The values of access and deny that the OPENs had which are in effect,
	// as bitmaps: bit v is set for the value v.
	accesses, denies uint8

	uid       uint32
	confirmed bool
}

type open struct {
	openRecord
	locks      *lockState // those that hang on it
	prev, next *open      // of the same client
}

// A lockRecord is the part of a lock stateid.
type lockRecord struct {
	other Other
	seqid uint32
	open  Other
	owner owner
}

type lockState struct {
	other      Other
	seqid      uint32
	ranges     int
	open       *open
	owner      *lockOwner
	prev, next *lockState // of the same open
	sibling    *lockState // of the same owner
}

// A lockOwner is a lock-owner on this file. It has one lock stateid for each
// open through which it locked, and its ranges exclude each other whichever
// stateid they hang on (RFC 8881 §9.5).
type lockOwner struct {
	owner
	states *lockState
	ranges *span
}

// A rangeKey names a range.
type rangeKey struct {
	other Other
	start uint64
}

// A rangeRecord is the part of a range.
type rangeRecord struct {
	rangeKey
	last  uint64
	write bool
}

type fileClient struct {
	id    ClientID
	opens *open
}

func openKey(o *open) Other                { return o.other }
func openOwnerKey(o *open) owner           { return o.owner }
func lockKey(l *lockState) Other           { return l.other }
func lockOwnerKey(o *lockOwner) owner      { return o.owner }
func fileClientKey(c *fileClient) ClientID { return c.id }

// record returns what is stored of a lock stateid.
func (l *lockState) record() lockRecord {
	return lockRecord{other: l.other, seqid: l.seqid, open: l.open.other, owner: l.owner.owner}
}

// Empty says that nothing is open on the file: there is nothing to store.
func (f *File) Empty() bool { return f.opens.len() == 0 }

// Opens returns the number of opens.
func (f *File) Opens() int { return f.opens.len() }

// Ranges returns the number of locked ranges.
func (f *File) Ranges() int { return f.ranges }

// HasClient says whether a client has the file open.
func (f *File) HasClient(c ClientID) bool { return f.clients.get(c, fileClientKey) != nil }

// Apply makes a change that a rule of this File in its present state decided.
// The error is ErrServerFault; then the File is of no use any more, and its
// parts must be loaded again.
func (f *File) Apply(d *Delta) error {
	if d == nil {
		return nil
	}
	for _, k := range d.dropRanges {
		if err := f.dropRange(k); err != nil {
			return err
		}
	}
	for _, k := range d.dropLocks {
		if err := f.dropLock(k.other); err != nil {
			return err
		}
	}
	for _, k := range d.dropOpens {
		if err := f.dropOpen(k.other); err != nil {
			return err
		}
	}
	for i := range d.putOpens {
		if err := f.putOpen(&d.putOpens[i]); err != nil {
			return err
		}
	}
	for i := range d.putLocks {
		if err := f.putLock(&d.putLocks[i]); err != nil {
			return err
		}
	}
	for i := range d.putRanges {
		if err := f.putRange(&d.putRanges[i]); err != nil {
			return err
		}
	}
	switch d.head {
	case headPut:
		f.head = true
	case headDrop:
		f.head = false
	}
	return nil
}

func fault(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrServerFault, fmt.Sprintf(format, args...))
}

func (f *File) count(o *open, n int) {
	for bit := range 2 {
		f.accessed[bit] += n * int(o.access>>bit&1)
		f.denied[bit] += n * int(o.deny>>bit&1)
	}
}

func (f *File) putOpen(r *openRecord) error {
	if o := f.opens.get(r.other, openKey); o != nil {
		if o.owner != r.owner {
			return fault("open %x changes its owner", r.other)
		}
		f.count(o, -1)
		name := o.owner
		o.openRecord = *r
		o.owner = name // one copy of it
		f.count(o, 1)
		return nil
	}
	if f.locks.get(r.other, lockKey) != nil || f.openOwner.get(r.owner, openOwnerKey) != nil {
		return fault("open %x: stateid or owner is there already", r.other)
	}
	o := &open{openRecord: *r}
	f.opens.put(o, openKey)
	f.openOwner.put(o, openOwnerKey)
	f.count(o, 1)
	c := f.clients.get(o.owner.client, fileClientKey)
	if c == nil {
		c = &fileClient{id: o.owner.client}
		f.clients.put(c, fileClientKey)
	}
	if o.next = c.opens; o.next != nil {
		o.next.prev = o
	}
	c.opens = o
	return nil
}

func (f *File) dropOpen(k Other) error {
	o := f.opens.get(k, openKey)
	if o == nil || o.locks != nil {
		return fault("open %x cannot be dropped", k)
	}
	f.count(o, -1)
	f.opens.drop(o, openKey)
	f.openOwner.drop(o, openOwnerKey)
	if o.next != nil {
		o.next.prev = o.prev
	}
	if o.prev != nil {
		o.prev.next = o.next
		return nil
	}
	c := f.clients.get(o.owner.client, fileClientKey)
	if c.opens = o.next; c.opens == nil {
		f.clients.drop(c, fileClientKey)
	}
	return nil
}

func (f *File) putLock(r *lockRecord) error {
	if l := f.locks.get(r.other, lockKey); l != nil {
		if l.owner.owner != r.owner || l.open.other != r.open {
			return fault("lock %x changes its owner", r.other)
		}
		l.seqid = r.seqid
		return nil
	}
	o := f.opens.get(r.open, openKey)
	if o == nil || o.owner.client != r.owner.client || f.opens.get(r.other, openKey) != nil {
		return fault("lock %x hangs on no open of its client", r.other)
	}
	own := f.lockOwner.get(r.owner, lockOwnerKey)
	if own == nil {
		own = &lockOwner{owner: r.owner}
		f.lockOwner.put(own, lockOwnerKey)
	} else if own.through(o) != nil {
		return fault("lock %x: the owner has another on the same open", r.other)
	}
	l := &lockState{other: r.other, seqid: r.seqid, open: o, owner: own, sibling: own.states}
	own.states = l
	if l.next = o.locks; l.next != nil {
		l.next.prev = l
	}
	o.locks = l
	f.locks.put(l, lockKey)
	return nil
}

// through returns the owner's lock stateid that hangs on o, nil if there is
// none.
func (own *lockOwner) through(o *open) *lockState {
	for l := own.states; l != nil; l = l.sibling {
		if l.open == o {
			return l
		}
	}
	return nil
}

func (f *File) dropLock(k Other) error {
	l := f.locks.get(k, lockKey)
	if l == nil || l.ranges != 0 {
		return fault("lock %x cannot be dropped", k)
	}
	f.locks.drop(l, lockKey)
	if l.next != nil {
		l.next.prev = l.prev
	}
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		l.open.locks = l.next
	}
	at := &l.owner.states
	for *at != l {
		at = &(*at).sibling
	}
	if *at = l.sibling; l.owner.states == nil {
		f.lockOwner.drop(l.owner, lockOwnerKey)
	}
	return nil
}

func (f *File) putRange(r *rangeRecord) error {
	l := f.locks.get(r.other, lockKey)
	if l == nil {
		return fault("range %x %d hangs on no lock", r.other, r.start)
	}
	if r.last < r.start {
		return fault("range %x %d ends before it starts", r.other, r.start)
	}
	if s := l.owner.at(r.start); s != nil {
		if s.lock != l {
			return fault("range %x %d is of another stateid", r.other, r.start)
		}
		if s.write == r.write {
			s.last = r.last
			touch(*f.tree(s), s)
			return nil
		}
		f.unlink(s)
		s.last, s.write = r.last, r.write
		f.link(s)
		return nil
	}
	s := &span{start: r.start, last: r.last, lock: l, write: r.write}
	f.link(s)
	l.owner.ranges = insert(l.owner.ranges, s, ofOwner)
	l.ranges++
	f.ranges++
	return nil
}

func (f *File) dropRange(k rangeKey) error {
	l := f.locks.get(k.other, lockKey)
	if l == nil {
		return fault("range %x %d hangs on no lock", k.other, k.start)
	}
	s := l.owner.at(k.start)
	if s == nil || s.lock != l {
		return fault("range %x %d is not there", k.other, k.start)
	}
	f.unlink(s)
	l.owner.ranges = remove(l.owner.ranges, s, ofOwner)
	l.ranges--
	f.ranges--
	return nil
}

// tree returns the tree of all ranges in which s belongs.
func (f *File) tree(s *span) **span {
	if s.write {
		return &f.writes
	}
	return &f.reads
}

func (f *File) link(s *span) {
	t := f.tree(s)
	*t = insert(*t, s, ofFile)
}

func (f *File) unlink(s *span) {
	t := f.tree(s)
	*t = remove(*t, s, ofFile)
}
