package statesync

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// An owner is an NFSv4.0 open or lock owner in memory. Everything but the
// first group is its turn's.
type owner struct {
	key    string
	client ClientID
	kind   rules.OwnerKind
	name   []byte
	turn   turn
	used   atomic.Int64 // by Node.clock

	loaded bool
	// exact says that rec.Sequence is the last one for certain. Where the store is
	// not shared it is not after a load: an operation that failed is not recorded.
	exact   bool
	exists  bool // rec means something
	rec     rules.Owner
	version uint64 // of the group in the store, 0 if it has none
	files   map[FileKey][nfs4.OtherSize]byte
	gone    bool // dropped from memory: look it up again

	// closed is the stateid that the last CLOSE of an open owner ended, so that
	// a retry of the CLOSE finds the owner.
	closed *[nfs4.OtherSize]byte
}

// The parts of an owner's group beside its record: partFile is the prefix of those
// that name its files; partClosed, where there are other gateways, is what closed
// says.
const (
	partFile   = "f"
	partClosed = "c"
)

// ownerTurn takes the turn of an owner, known or not.
func (n *Node) ownerTurn(ctx context.Context, c ClientID, kind rules.OwnerKind, name []byte) (*owner, error) {
	if len(name) > nfs4.OpaqueLimit {
		return nil, ErrInval
	}
	key := ownerKey(c, kind, name)
	for {
		o := n.owners.getOrMake(key, func() *owner {
			return &owner{key: key, client: c, kind: kind, name: bytes.Clone(name), turn: newTurn()}
		})
		if err := o.turn.take(ctx); err != nil {
			return nil, err
		}
		if o.gone {
			o.turn.give()
			continue
		}
		o.used.Store(n.clock())
		// Where there are other gateways, one of them may have served the owner since: a
		// seqid must not be judged, nor carried out, by what is out of date.
		if !o.loaded || n.cfg.Shared {
			g, err := n.load(ctx, key)
			if err == nil {
				err = o.take(g, n.cfg.Shared)
			}
			if err != nil {
				o.turn.give()
				return nil, storeError(err)
			}
		}
		return o, nil
	}
}

// take makes the owner what its group says. A sequence that memory knows to
// be later stays, unless all is in the store because that is shared.
func (o *owner) take(g durable.Group, shared bool) error {
	o.version = g.Version
	o.loaded = true
	o.files = nil
	if shared {
		o.closed = nil
	}
	for _, p := range g.Parts {
		if p.Name == partClosed && len(p.Value) == nfs4.OtherSize {
			other := [nfs4.OtherSize]byte(p.Value)
			o.closed = &other
		}
		if name, ok := strings.CutPrefix(p.Name, partFile); ok && len(p.Value) == nfs4.OtherSize {
			o.setFile(FileKey(name), [nfs4.OtherSize]byte(p.Value))
		}
	}
	if shared {
		o.rec, o.exists = rules.Owner{}, false
	}
	value := head(g)
	if value == nil {
		return nil
	}
	rec, err := rules.DecodeOwner(value)
	if err != nil {
		return fmt.Errorf("owner of client %016x: %w", uint64(o.client), err)
	}
	if !o.exists || int32(rec.Sequence-o.rec.Sequence) > 0 {
		o.rec, o.exists, o.exact = *rec, true, shared
	}
	o.rec.Confirmed = rec.Confirmed
	return nil
}

func (o *owner) setFile(f FileKey, other [nfs4.OtherSize]byte) {
	if o.files == nil {
		o.files = make(map[FileKey][nfs4.OtherSize]byte)
	}
	o.files[f] = other
}

// A Turn is one operation's place in the sequence of an NFSv4.0 owner, and of
// a lock owner besides when LOCK introduces one. Its methods do nothing on a
// nil Turn, which stands for NFSv4.1 and later.
type Turn struct {
	// Replay is the result (status and body) of the same operation before; then
	// the operation only sends it and, if ReplayFH is not nil, makes that the
	// current filehandle.
	Replay   []byte
	ReplayFH []byte

	n     *Node
	req   *Request
	held  [2]*owner // open owner or the only one; lock owner
	seqid [2]uint32

	// puts and drops are what the operation does to the owners' files.
	puts  [2]ownedFile
	drops [2]bool
}

type ownedFile struct {
	file  FileKey
	other [nfs4.OtherSize]byte
	set   bool
}

// sequence judges the seqid of op (RFC 7530 §9.1.7). A retry is of the same
// operation as before (§9.1.9): the result of another would not decode.
func (o *owner) sequence(op nfs4.Op, seqid uint32) (replay bool, err error) {
	if !o.exists {
		return false, nil
	}
	switch rules.Admit(o.rec.Sequence, o.exact, seqid) {
	case rules.Retry:
		if len(o.rec.Reply) == 0 || o.rec.Op != op {
			return false, ErrBadSeqid
		}
		return true, nil
	case rules.NewRequest:
		return false, nil
	}
	return false, ErrBadSeqid
}

// replay fills in the result of the owner's last operation.
func (t *Turn) replay(o *owner) {
	t.Replay = o.rec.Reply
	t.ReplayFH = o.rec.FH
	t.n.stats.replays.Add(1)
}

func (t *Turn) own(i int, o *owner, seqid uint32) { t.held[i], t.seqid[i] = o, seqid }

// OpenOwnerTurn takes the turn of an open owner for OPEN. The errors are
// ErrStaleClientID, ErrExpired, ErrBadSeqid, ErrInval, ErrDelay and that of
// ctx.
func (n *Node) OpenOwnerTurn(ctx context.Context, req *Request, c ClientID, name []byte, seqid uint32) (*Turn, error) {
	if _, err := n.live40(ctx, c); err != nil {
		return nil, err
	}
	o, err := n.ownerTurn(ctx, c, rules.OpenOwner, name)
	if err != nil {
		return nil, err
	}
	t := &Turn{n: n, req: req}
	t.own(0, o, seqid)
	replay, err := o.sequence(nfs4.OpOpen, seqid)
	switch {
	case o.exists && !o.rec.Confirmed && !replay:
		// Whatever the owner did before was not confirmed: it starts anew
		// (RFC 7530 §16.18.5).
		if err := n.startOver(ctx, o); err != nil {
			t.Release()
			return nil, err
		}
	case err != nil:
		t.Release()
		return nil, err
	case replay:
		t.replay(o)
	}
	return t, nil
}

// Fail notes the error result that encode appends to the reply: it advances
// the owner's sequence. That is kept in memory only, unless there are other
// gateways: if it is lost, the operation runs again when it is sent again, which
// is as good since it changed nothing, and a later sequence is believed. Other
// gateways are told by the store, with Refuse, until which the turn lasts.
//
// If the request had begun to change files, Fail is also its Done, with the
// same errors.
func (t *Turn) Fail(ctx context.Context, encode func()) error {
	if t == nil || t.held[0] == nil || t.Replay != nil {
		encode()
		return nil
	}
	defer t.Release()
	t.puts = [2]ownedFile{}
	if t.req.Holds() {
		return t.req.conclude(ctx, t, encode)
	}
	encode()
	if t.n.cfg.Shared {
		t.req.failing = &Turn{n: t.n, req: t.req, held: t.held, seqid: t.seqid}
		t.held = [2]*owner{}
		return nil
	}
	var p Progress
	t.req.c.Progress(&p)
	for i, o := range t.held {
		if o != nil {
			o.rec.Sequence = t.seqid[i]
			o.rec.Op, o.rec.Reply, o.rec.FH = opOf(&p), bytes.Clone(resultOf(&p)), nil
			o.exists, o.exact = true, true
		}
	}
	return nil
}

// Release ends the turn without a result. It does nothing after Fail or after
// the operation succeeded.
func (t *Turn) Release() {
	if t == nil {
		return
	}
	for i := len(t.held) - 1; i >= 0; i-- {
		if o := t.held[i]; o != nil {
			t.held[i] = nil
			o.turn.give()
		}
	}
}

// opOf and resultOf take the last nfs_resop4 apart: u32 operation, result.
func opOf(p *Progress) nfs4.Op {
	b := p.Reply[min(int(p.OpStart), len(p.Reply)):]
	if len(b) < 4 {
		return 0
	}
	return nfs4.Op(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
}

func resultOf(p *Progress) []byte { return p.Reply[min(int(p.OpStart)+4, len(p.Reply)):] }

// confirmed says whether the open owner was confirmed, so that its stateids may be
// used (RFC 7530 §9.1.11).
func (t *Turn) confirmed() bool {
	return t == nil || t.held[0] == nil || t.held[0].kind != rules.OpenOwner || t.held[0].rec.Confirmed
}

// add puts the owners' new records into a batch. p is the place after the
// operation.
func (t *Turn) add(b *durable.Batch, p *Progress, confirm bool) [2]rules.Owner {
	var next [2]rules.Owner
	if t == nil {
		return next
	}
	for i, o := range t.held {
		if o == nil {
			continue
		}
		rec := rules.Owner{
			Sequence: t.seqid[i], Confirmed: o.rec.Confirmed || confirm || o.kind == rules.LockOwner,
			Op: opOf(p), Reply: bytes.Clone(resultOf(p)),
		}
		if rec.Op == nfs4.OpOpen {
			rec.FH = p.Current
		}
		next[i] = rec
		b.Checks = append(b.Checks, durable.Check{Key: o.key, Version: o.version})
		b.Writes = append(b.Writes, durable.Write{Key: o.key, Value: rec.Encode()})
		if o.version == 0 {
			b.Writes = append(b.Writes, durable.Write{Key: statesKey(o.client), Name: ownerPart(o.kind, o.name), Value: []byte{}})
		}
		if f := t.puts[i]; f.set {
			b.Writes = append(b.Writes, durable.Write{Key: o.key, Name: partFile + string(f.file), Value: f.other[:]})
			if t.drops[i] {
				b.Writes[len(b.Writes)-1].Value = nil
				t.n.closedWrites(b, o, f.other)
			}
		}
	}
	return next
}

// took notes a commit that carried the owners' records.
func (t *Turn) took(next [2]rules.Owner) {
	if t == nil {
		return
	}
	for i, o := range t.held {
		if o == nil {
			continue
		}
		o.version++
		o.rec, o.exists, o.exact = next[i], true, true
		if f := t.puts[i]; f.set {
			if t.drops[i] {
				delete(o.files, f.file)
				t.n.keepClosed(o, f.other)
			} else {
				o.setFile(f.file, f.other)
			}
		}
	}
}

// forgetWrites adds to a batch that an owner's record goes.
func (o *owner) forgetWrites(b *durable.Batch) {
	b.Writes = append(b.Writes, durable.Write{Key: statesKey(o.client), Name: ownerPart(o.kind, o.name)})
	if o.closed != nil {
		b.Writes = append(b.Writes, durable.Write{Key: statesKey(o.client), Name: endedPart(*o.closed)})
	}
	b.Forget = append(b.Forget, o.key)
}

// conflict brings owners to what a failed check told.
func (t *Turn) conflict(groups []durable.Group) error {
	if t == nil {
		return nil
	}
	for _, g := range groups {
		for _, o := range t.held {
			if o != nil && g.Key == o.key {
				if err := o.take(g, t.n.cfg.Shared); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// overtaken is conflict of an operation that failed: whoever moved an owner on
// meanwhile did so with the same seqid or a later one, and the error is no result
// of the owner's any more. An owner that did not conflict stays.
func (t *Turn) overtaken(groups []durable.Group) error {
	if err := t.conflict(groups); err != nil || t == nil {
		return err
	}
	for _, g := range groups {
		for i, o := range t.held {
			if o != nil && g.Key == o.key {
				o.turn.give()
				t.held[i] = nil
			}
		}
	}
	return nil
}

// unknown notes that the store may hold something else than memory does.
func (t *Turn) unknown() {
	if t == nil {
		return
	}
	for _, o := range t.held {
		if o != nil {
			o.loaded, o.exact = false, false
		}
	}
}

// dropOwner takes an owner out of memory, once nobody has its turn.
func (n *Node) dropOwner(key string) {
	o := n.owners.get(key)
	if o == nil || o.turn.take(context.Background()) != nil {
		return
	}
	n.unload(o)
	o.turn.give()
}

// unload takes an owner out of memory. The caller has its turn.
func (n *Node) unload(o *owner) {
	o.gone = true
	if o.closed != nil {
		n.closed40.drop(*o.closed)
	}
	n.owners.dropIf(o.key, func(p *owner) bool { return p == o })
}

// sweepOwners drops owners that were not used for a lease from memory, and
// from the store if they have no file open or locked either.
func (n *Node) sweepOwners(ctx context.Context) error {
	now := n.clock()
	for _, o := range n.owners.all() {
		if now-o.used.Load() <= int64(n.cfg.Lease) || !o.turn.try() {
			continue
		}
		err := n.retire(ctx, o)
		o.turn.give()
		if err != nil {
			return err
		}
	}
	return nil
}

// tidy drops the files on which a lock owner has no stateid any more: CLOSE ends
// those of others without asking them. The caller has the owner's turn.
func (n *Node) tidy(ctx context.Context, o *owner) error {
	if o.kind != rules.LockOwner {
		return nil
	}
	for f, other := range o.files {
		found := false
		if err := n.viewNow(ctx, f, func(st *rules.File) { _, found = st.Find(other) }); err != nil {
			return err
		}
		if !found {
			delete(o.files, f)
		}
	}
	return nil
}

// retire ends an owner that is idle. The caller has its turn.
func (n *Node) retire(ctx context.Context, o *owner) error {
	if err := n.tidy(ctx, o); err != nil {
		return err
	}
	c := n.clients.get(o.client)
	if c != nil && !c.gone.Load() && o.loaded && o.version > 0 && len(o.files) == 0 {
		b := &durable.Batch{Checks: []durable.Check{{Key: o.key, Version: o.version}}}
		o.forgetWrites(b)
		err := n.commitNow(ctx, b)
		if err := n.tried(err); err != nil {
			return err
		}
	}
	n.unload(o)
	return nil
}
