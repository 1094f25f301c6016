package rules

import (
	"bytes"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// An Intent is a file operation that was begun and of which it is not known
// whether it took place.
type Intent struct {
	Op       nfs4.Op
	Names    []Name
	Evidence []byte // the caller's: what was true of Names before

	// Settled says that Outcome is known, because somebody else needed the
	// names: then they are no longer held.
	Settled bool
	Outcome Outcome

	// Made is the filehandle of the object that the operation made, if it took
	// place and made one: from when it is settled anybody may give the object
	// another name, or none.
	Made []byte
}

// Outcome says whether an operation took place.
type Outcome uint8

// The outcomes.
const (
	OutcomeUnknown Outcome = iota
	OutcomeDone
	OutcomeNotDone
)

// What a record says of whether an intent is settled.
const (
	unsettled   = 0
	settledOnly = 1
	settledMade = 2
)

func (in *Intent) settled() uint32 {
	switch {
	case !in.Settled:
		return unsettled
	case len(in.Made) == 0:
		return settledOnly
	}
	return settledMade
}

// Keys returns the keys of the names' groups.
func (in *Intent) Keys() []string {
	keys := make([]string, len(in.Names))
	for i, n := range in.Names {
		keys[i] = n.Key()
	}
	return keys
}

// Progress is where a COMPOUND stands: enough for any gateway to go on.
type Progress struct {
	Op      uint32 // index of the operation to run next, or of the one begun
	Offset  uint32 // where its arguments begin (the opnum), in bytes of the COMPOUND's body
	OpStart uint32 // where the result of the last operation run begins in Reply
	Status  nfs4.Status
	Reply   []byte // results so far (nfs_resop4s, without the COMPOUND's header)

	Current, Saved               []byte // filehandles as on the wire, nil if not set
	CurrentStateid, SavedStateid nfs4.Stateid
}

// A Slot is what the store knows of a request that changed something: of the
// last one in a session's slot, in group slot/<session>/<n>, or of one in
// NFSv4.0's duplicate-request cache, in group drc/<hash>. Part "":
//
//	u32 format · u32 sequence · u64 checksum · opaque gateway · u64 instance
//	u32 op · u32 offset · u32 op start · u32 status · opaque reply
//	opaque current · opaque saved · stateid current · stateid saved
//	u32 begun: 0, or 1 and
//	  u32 operation · n × (opaque directory · opaque name) · opaque evidence
//	  u32 settled: 0, 1, or 2 with made · u32 outcome · opaque made
//
// A filehandle that is not set is empty.
type Slot struct {
	Sequence uint32 // 0 in the duplicate-request cache
	Checksum uint64

	// Gateway and Instance say who wrote the record.
	Gateway  string
	Instance uint64

	Progress Progress
	Begun    *Intent // the operation at Progress.Op was begun
}

// The bounds of a slot's record.
const (
	slotFormat  = 1
	maxReply    = 900 << 10 // within durable.MaxValue, with all else
	maxGateway  = 64
	maxHandle   = nfs4.FHSize
	maxEvidence = 128 << 10
)

// Fits says whether the record can be written at all.
func (s *Slot) Fits() bool {
	if len(s.Progress.Reply) > maxReply {
		return false
	}
	return s.Begun == nil || len(s.Begun.Evidence) <= maxEvidence && len(s.Begun.Names) <= maxNames
}

// Unsettled says whether the record's operation was begun, nobody knows yet
// whether it took place, and it holds the name with this key.
func (s *Slot) Unsettled(name string) bool {
	if s.Begun == nil || s.Begun.Settled {
		return false
	}
	for _, n := range s.Begun.Names {
		if n.Key() == name {
			return true
		}
	}
	return false
}

// Append appends the record to b.
func (s *Slot) Append(b []byte) []byte {
	w := xdr.NewWriter(b)
	w.Uint32(slotFormat)
	w.Uint32(s.Sequence)
	w.Uint64(s.Checksum)
	w.String(s.Gateway)
	w.Uint64(s.Instance)
	p := &s.Progress
	w.Uint32(p.Op)
	w.Uint32(p.Offset)
	w.Uint32(p.OpStart)
	w.Uint32(uint32(p.Status))
	w.Opaque(p.Reply)
	w.Opaque(p.Current)
	w.Opaque(p.Saved)
	p.CurrentStateid.Encode(&w)
	p.SavedStateid.Encode(&w)
	if s.Begun == nil {
		w.Uint32(0)
		return w.Bytes()
	}
	in := s.Begun
	w.Uint32(1)
	w.Uint32(uint32(in.Op))
	w.Uint32(uint32(len(in.Names)))
	for _, n := range in.Names {
		n.encode(&w)
	}
	w.Opaque(in.Evidence)
	w.Uint32(in.settled())
	w.Uint32(uint32(in.Outcome))
	if in.settled() == settledMade {
		w.Opaque(in.Made)
	}
	return w.Bytes()
}

// DecodeSlot reads a record that Append wrote. The error is ErrServerFault.
// Nothing in it aliases b.
func DecodeSlot(b []byte) (*Slot, error) {
	r := xdr.NewReader(b)
	if err := checkFormat(&r, "slot", slotFormat); err != nil {
		return nil, err
	}
	s := &Slot{Sequence: r.Uint32(), Checksum: r.Uint64(), Gateway: string(r.Opaque(maxGateway)), Instance: r.Uint64()}
	p := &s.Progress
	p.Op = r.Uint32()
	p.Offset = r.Uint32()
	p.OpStart = r.Uint32()
	p.Status = nfs4.Status(r.Uint32())
	p.Reply = bytes.Clone(r.Opaque(maxReply))
	p.Current = handle(&r)
	p.Saved = handle(&r)
	p.CurrentStateid = nfs4.DecodeStateid(&r)
	p.SavedStateid = nfs4.DecodeStateid(&r)
	if r.Uint32() != 0 {
		in := &Intent{Op: nfs4.Op(r.Uint32())}
		for range r.Count(maxNames, 8) {
			var n Name
			n.decode(&r)
			in.Names = append(in.Names, n)
		}
		in.Evidence = bytes.Clone(r.Opaque(maxEvidence))
		settled := r.Uint32()
		in.Settled = settled != unsettled
		in.Outcome = Outcome(r.Uint32())
		if settled == settledMade {
			in.Made = handle(&r)
		}
		s.Begun = in
	}
	if err := checkEnd(&r, "slot"); err != nil {
		return nil, err
	}
	return s, nil
}

// handle reads a filehandle, nil if it is not set.
func handle(r *xdr.Reader) []byte {
	b := r.Opaque(maxHandle)
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

// Clone returns a copy that shares no memory with s that a caller may reuse.
func (p *Progress) Clone() Progress {
	q := *p
	q.Reply = bytes.Clone(p.Reply)
	q.Current = bytes.Clone(p.Current)
	q.Saved = bytes.Clone(p.Saved)
	return q
}

// Admission says what a sequence number means to a slot.
type Admission uint8

// What a request can be.
const (
	NewRequest Admission = iota
	Retry
	Misordered
)

// Admit decides whether sequence seq of a slot is the next request or the last
// one again (RFC 8881 §2.10.6.1). If it is not known exactly which one was
// last, because requests that changed nothing are not recorded, a forward jump is
// believed: a client only advances after a reply.
func Admit(last uint32, exact bool, seq uint32) Admission {
	switch {
	case seq == last:
		return Retry
	case seq == last+1:
		return NewRequest
	case !exact && int32(seq-last) > 0:
		return NewRequest
	}
	return Misordered
}
