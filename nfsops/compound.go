package nfsops

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// A compound is one COMPOUND while it runs. It is used by one goroutine.
//
// In the reply:
//
//	start            base                     opStart
//	│ status tag n   │ op status body │ … │   │ op status body
//	└ COMPOUND4res   └ results                └ of the operation that runs
type compound struct {
	srv   *Server
	ctx   context.Context
	call  *Call
	r     xdr.Reader
	w     *xdr.Writer
	minor uint32

	start, base, opStart int
	nops, index          int
	opOffset             int // of the running operation in call.Body
	op                   nfs4.Op
	first                nfs4.Op

	// done says that the running operation's result is encoded, so that Progress
	// is the place after it; before that it is the operation's own place.
	done bool

	// keepBody says that the result has a body although its status is an error.
	keepBody bool

	// jumped says that the running operation went to another place: that of
	// an earlier run of the request.
	jumped bool

	cur, saved    object
	sid, savedSid nfs4.Stateid
	cacheThis     bool
	req           *statesync.Request
	finished      bool
	gone          error // the request must not be answered
	maxReply      int   // bytes of COMPOUND4res
	status        nfs4.Status
	squashed      export.Creds // the caller as cur's export sees it
	attr          export.Attr  // scratch
	fresh         bool         // attr is that of cur, and only reading came since
	statfs        export.Statfs
	squashedFor   uint32
	squashedValid bool
	unsaved       bool // an effect must not be repeated and no commit has recorded it
	endsSession   bool // DESTROY_SESSION of the request's own session ran
}

func (c *compound) begin(s *Server, ctx context.Context, call *Call, w *xdr.Writer) {
	c.srv, c.ctx, c.call, c.w = s, ctx, call, w
	c.r = xdr.NewReader(call.Body)
	c.start = w.Len()
	c.maxReply = s.cfg.MaxIO + 64<<10
}

func (c *compound) reset() { *c = compound{} }

// run is COMPOUND (RFC 8881 §16.2, RFC 7530 §15.2).
func (c *compound) run() error {
	tag := c.r.Opaque(len(c.call.Body))
	c.minor = c.r.Uint32()
	n := c.r.Uint32()
	if c.r.Err() != nil {
		return ErrGarbage
	}
	c.header(tag)
	switch {
	case c.minor > 2:
		return c.end(nfs4.ErrMinorVersMismatch)
	case len(tag) > c.srv.cfg.MaxTag:
		c.w.Truncate(c.start)
		c.header(nil)
		return c.end(c.pick(nfs4.ErrResource, nfs4.ErrReqTooBig))
	case !utf8.Valid(tag):
		return c.end(nfs4.ErrInval)
	case n > uint32(c.srv.cfg.MaxOps) && c.minor == 0:
		return c.end(nfs4.ErrResource)
	case uint64(n)*4 > uint64(c.r.Remaining()):
		return ErrGarbage
	}
	c.nops = int(n)
	for {
		for c.index < c.nops && c.status == nfs4.OK {
			c.status = c.step()
			if c.status != nfs4.OK && c.gone == nil && !c.finished && !c.jumped {
				c.refused()
			}
			if c.over() {
				return c.gone
			}
			c.index++
		}
		again := c.keep()
		if c.over() {
			return c.gone
		}
		if !again {
			return c.end(c.status)
		}
	}
}

// over says that the request needs no reply of its own any more: none may be sent,
// or a replay was.
func (c *compound) over() bool {
	if c.gone != nil && c.req != nil && !c.finished {
		c.finished = true
		c.req.Abort()
	}
	return c.gone != nil || c.finished
}

// pick chooses between a status of 4.0 and one of later versions.
func (c *compound) pick(v40, later nfs4.Status) nfs4.Status {
	if c.minor == 0 {
		return v40
	}
	return later
}

func (c *compound) header(tag []byte) {
	c.w.Uint32(0) // status
	c.w.Opaque(tag)
	c.w.Uint32(0) // number of results
	c.base = c.w.Len()
}

// noteEffect says, after an operation succeeded, whether its effect is to be
// recorded. A WRITE is the same when it is run again, and asks no store (G7).
func (c *compound) noteEffect() {
	switch c.op {
	case nfs4.OpAllocate, nfs4.OpDeallocate, nfs4.OpCopy, nfs4.OpClone, nfs4.OpWriteSame:
		c.unsaved = true
	}
}

// keep records the effects on data, when every operation ran. It returns true if the
// request also ran elsewhere, and the COMPOUND is to go on from there. While the store
// is out of reach the request is not answered.
func (c *compound) keep() (again bool) {
	if !c.unsaved || c.req == nil {
		return false
	}
	c.unsaved = false
	c.index-- // the place is that of the last operation
	done := c.done
	c.done, c.jumped = true, false
	err := c.req.Keep(c.ctx)
	c.done = done
	if errors.Is(err, statesync.ErrDuplicate) || errors.Is(err, statesync.ErrFenced) {
		c.fail(err)
	}
	c.index++
	return c.jumped
}

// end completes COMPOUND4res and gives it to the request for replays.
func (c *compound) end(status nfs4.Status) error {
	c.w.PutUint32(c.start, uint32(status))
	c.w.PutUint32(c.base-4, uint32(c.index))
	if c.req == nil || c.finished {
		return nil
	}
	if c.call.MayOwe && c.req.Owes() {
		return c.call.Owe(c.settleLater)
	}
	return c.settle()
}

// settle ends the request when what it changed is durable.
func (c *compound) settle() error {
	err := c.req.Settle()
	c.finished = true
	if err != nil {
		c.req.Abort()
		return c.unanswered(err)
	}
	c.req.Finish(c.w.Bytes()[c.start:])
	return nil
}

// replay sends the reply of an earlier run.
func (c *compound) replay(reply []byte) {
	c.w.Truncate(c.start)
	c.w.Raw(reply)
	c.finished = true
}

// resume puts the compound where an earlier run of the request, perhaps on
// another gateway, committed last.
func (c *compound) resume(p *statesync.Progress) {
	c.w.Truncate(c.base)
	c.w.Raw(p.Reply)
	c.r.Seek(int(p.Offset))
	c.index = int(p.Op) - 1 // the loop counts it up
	c.status = p.Status
	c.jumped = true
	c.cur.set(c, p.Current)
	c.saved.set(c, p.Saved)
	c.sid, c.savedSid = p.CurrentStateid, p.SavedStateid
}

// Progress implements statesync.Compound.
func (c *compound) Progress(p *statesync.Progress) {
	*p = statesync.Progress{
		Op:             uint32(c.index),
		Offset:         uint32(c.opOffset),
		OpStart:        uint32(c.opStart - c.base),
		Reply:          c.w.Bytes()[c.base:c.opStart],
		Current:        c.cur.wireOrNil(),
		Saved:          c.saved.wireOrNil(),
		CurrentStateid: c.sid,
		SavedStateid:   c.savedSid,
	}
	if c.done {
		p.Op++
		p.Offset = uint32(c.r.Offset())
		p.Reply = c.w.Bytes()[c.base:]
		p.Status = c.status
	}
}

// Mark implements statesync.Compound.
func (c *compound) Mark() int { return c.w.Len() }

// Rewind implements statesync.Compound.
func (c *compound) Rewind(mark int) {
	c.w.Truncate(mark)
	c.done = false
	c.status = nfs4.OK
}

// succeed begins the result of the running operation inside a transaction:
// the status NFS4_OK; the caller appends the body. After it Progress is the
// place after the operation.
func (c *compound) succeed() { c.conclude(nfs4.OK) }

// conclude is succeed for any status.
func (c *compound) conclude(status nfs4.Status) {
	c.w.Truncate(c.opStart + 8)
	c.w.PutUint32(c.opStart+4, uint32(status))
	c.status = status
	c.done = true
}

// step runs one operation and returns its status.
func (c *compound) step() nfs4.Status {
	c.opOffset = c.r.Offset()
	c.op = nfs4.Op(c.r.Uint32())
	c.done, c.keepBody, c.jumped = false, false, false
	c.opStart = c.w.Len()
	if c.r.Err() != nil {
		c.w.Uint32(uint32(nfs4.OpIllegal))
		c.w.Uint32(uint32(nfs4.ErrBadXDR))
		return nfs4.ErrBadXDR
	}
	var began time.Time
	if c.srv.cfg.Observe != nil {
		began = time.Now()
	}
	c.w.Uint32(uint32(c.op))
	c.w.Uint32(0)
	status := c.dispatch()
	if c.gone != nil || c.finished || c.jumped {
		return c.status
	}
	if c.srv.cfg.Observe != nil {
		c.srv.cfg.Observe(c.op, status, time.Since(began))
	}
	if status != nfs4.OK && !c.keepBody {
		c.w.Truncate(c.opStart + 8)
	}
	if status == nfs4.OK && !c.done && c.w.Len()-c.start > c.maxReply {
		status = c.tooBig()
		c.w.Truncate(c.opStart + 8)
	}
	if c.op == nfs4.OpSetAttr && c.w.Len() == c.opStart+8 {
		c.w.Uint32(0) // SETATTR4res has attrsset whatever the status
	}
	c.w.PutUint32(c.opStart+4, uint32(status))
	if status == nfs4.OK {
		c.noteEffect()
	}
	return status
}

// tooBig is the status of an operation whose result does not fit.
func (c *compound) tooBig() nfs4.Status {
	if c.minor == 0 {
		return nfs4.ErrResource
	}
	if c.cacheThis && c.maxReply < int(c.req.Session.Fore.MaxReply) {
		return nfs4.ErrRepTooBigToCache
	}
	return nfs4.ErrRepTooBig
}

// needs is how many bytes of the reply must be free before an operation runs that
// has an effect: its result must fit, for the effect cannot be undone. A CLOSE or
// WRITE is not refused for more than it needs.
func needs(op nfs4.Op) int {
	switch {
	case op == nfs4.OpClose:
		return nfs4.OtherSize + 4
	case op == nfs4.OpWrite:
		return 4 + 4 + nfs4.VerifierSize
	case changes[op]:
		return 256
	}
	return 0
}

// tooSmall is the status of a listing without room for one entry: the client's
// own limit is too small, or that of the session.
func (c *compound) tooSmall(maxcount int) nfs4.Status {
	if c.req != nil && c.space() < maxcount {
		return c.tooBig()
	}
	return nfs4.ErrTooSmall
}

// space is how many bytes the running operation's result may still take.
func (c *compound) space() int { return c.maxReply - (c.w.Len() - c.start) }

// dispatch checks whether the operation may stand where it stands and runs it.
func (c *compound) dispatch() nfs4.Status {
	if !c.op.Known(c.minor) {
		c.w.PutUint32(c.opStart, uint32(nfs4.OpIllegal))
		return nfs4.ErrOpIllegal
	}
	if c.index == 0 {
		c.first = c.op
	}
	if c.minor > 0 {
		if status := c.placed(); status != nfs4.OK {
			return status
		}
	}
	handler := operations[c.op]
	if !c.op.In(c.minor) || handler == nil {
		return nfs4.ErrNotSupp
	}
	if c.req != nil && c.space() < needs(c.op) {
		return c.tooBig()
	}
	c.fresh = c.fresh && (c.op == nfs4.OpGetFH || c.op == nfs4.OpGetAttr || c.op == nfs4.OpAccess)
	status := handler(c)
	if c.r.Err() != nil && !c.done {
		return nfs4.ErrBadXDR
	}
	return status
}

// placed checks the place of an operation in a COMPOUND of 4.1 or later (RFC
// 8881 §2.10.1 and the descriptions of the operations named here).
func (c *compound) placed() nfs4.Status {
	switch c.op {
	case nfs4.OpSequence:
		if c.index != 0 {
			return nfs4.ErrSequencePos
		}
	case nfs4.OpExchangeID, nfs4.OpCreateSession, nfs4.OpBindConnToSession:
		if c.nops != 1 && c.index == 0 {
			return nfs4.ErrNotOnlyOp
		}
		if c.index != 0 && c.op == nfs4.OpBindConnToSession {
			return nfs4.ErrNotOnlyOp
		}
	case nfs4.OpDestroySession, nfs4.OpDestroyClientID:
		if c.index == 0 && c.nops != 1 {
			return nfs4.ErrNotOnlyOp
		}
	default:
		if c.index == 0 {
			return nfs4.ErrOpNotInSession
		}
	}
	return nfs4.OK
}

// checksum tells the same request sent again from another one, by its body
// from a byte on. A large WRITE
// is told by its beginning and its length.
func (c *compound) checksum(from int) uint64 {
	b := c.call.Body[from:]
	const enough = 1024
	n := uint64(len(b))
	if len(b) > enough {
		b = b[:enough]
	}
	// Who asks is part of the request: nobody gets the reply of another user
	// (RFC 8881 §2.10.6.1.3.1).
	who := uint64(c.call.Flavor)<<32 | uint64(c.caller().UID)
	return xxhash.Sum64(b) ^ n*0x9e3779b97f4a7c15 ^ who*0xc2b2ae3d27d4eb4f
}

// admit must be called by each operation whose second run would not be
// harmless, after its arguments are decoded. In 4.0 it looks the request up
// among those seen before; in later versions SEQUENCE did. It returns false if
// the operation must return c.status at once, because the reply, or the place to go
// on from, is known.
func (c *compound) admit() bool {
	if c.r.Err() != nil {
		c.status = nfs4.ErrBadXDR
		return false
	}
	if c.minor == 0 && c.req == nil {
		req, err := c.srv.node.Legacy(c.ctx, c.call.XID, c.checksum(0), c.principal(), c)
		if err != nil {
			c.gone = c.unanswered(err)
			return false
		}
		c.req = req
		if c.admitted() {
			return false
		}
	}
	if err := c.mayAct(); err != nil {
		c.gone = c.unanswered(err)
		return false
	}
	return true
}

// mayAct returns statesync.ErrFenced when nothing may take effect here any more for
// this request.
func (c *compound) mayAct() error {
	if !c.call.Conn.Current() {
		return fmt.Errorf("%w: the request is from before a standstill", statesync.ErrFenced)
	}
	return c.srv.node.MayServe()
}

// admitted sends a replay or goes to where an earlier run stopped, if there
// was one.
func (c *compound) admitted() bool {
	switch {
	case c.req.Replay != nil:
		c.replay(c.req.Replay)
	case c.req.Resume != nil:
		c.resume(c.req.Resume)
	default:
		return false
	}
	return true
}

// unanswered says that the request gets no answer, because of err.
func (c *compound) unanswered(err error) error {
	return errors.Join(ErrGone, err)
}

// principal identifies the caller, not its address.
func (c *compound) principal() string {
	switch c.call.Flavor {
	case AuthSys:
		return sysPrincipal(c.call.Creds.UID)
	default:
		return "none"
	}
}

// creds is the caller as the export of the current filehandle sees it.
func (c *compound) creds() *export.Creds { return c.credsFor(&c.cur) }

// credsFor is creds for another object.
func (c *compound) credsFor(o *object) *export.Creds {
	if c.squashedValid && c.squashedFor == o.exp.ID {
		return &c.squashed
	}
	o.exp.Apply(c.caller(), &c.squashed)
	c.squashedFor, c.squashedValid = o.exp.ID, true
	return &c.squashed
}

// noCreds is the caller of AUTH_NONE before squashing.
var noCreds = export.Creds{UID: nobody, GID: nobody}

const nobody = 65534

func (c *compound) caller() *export.Creds {
	if c.call.Flavor == AuthSys {
		return &c.call.Creds
	}
	return &noCreds
}
