package rules

import (
	"bytes"
	"errors"
	"math"
	"slices"

	"holdfast/internal/nfs4"
)

// The oracle knows nothing of trees and parts: it has a list of opens, a list
// of lock stateids and one cell for each byte of the file. The file has 33
// cells: 24 bytes at its start, 8 at the end of what offsets can express, and
// one cell for all between.
const cells = 33

func cellStart(i int) uint64 {
	if i <= 24 {
		return uint64(i)
	}
	return math.MaxUint64 - uint64(cells-1-i)
}

func cellEnd(i int) uint64 {
	if i == cells-1 {
		return math.MaxUint64
	}
	return cellStart(i+1) - 1
}

type oracleOpen struct {
	other        Other
	seqid        uint32
	owner        owner
	access, deny uint32
	accesses     []uint32 // of the OPENs in effect
	denies       []uint32
	uid          uint32
	unconfirmed  bool
}

type oracleLock struct {
	other Other
	seqid uint32
	open  Other
	owner owner
}

type oracleByte struct {
	other Other
	write bool
}

type oracle struct {
	opens []*oracleOpen
	locks []*oracleLock
	bytes [cells]map[owner]oracleByte
}

func newOracle() *oracle {
	o := &oracle{}
	for i := range o.bytes {
		o.bytes[i] = map[owner]oracleByte{}
	}
	return o
}

func (o *oracle) open(other Other) *oracleOpen {
	for _, p := range o.opens {
		if p.other == other {
			return p
		}
	}
	return nil
}

func (o *oracle) lock(other Other) *oracleLock {
	for _, l := range o.locks {
		if l.other == other {
			return l
		}
	}
	return nil
}

// holds says whether a lock stateid has a byte.
func (o *oracle) holds(other Other) bool {
	for _, cell := range o.bytes {
		for _, b := range cell {
			if b.other == other {
				return true
			}
		}
	}
	return false
}

func (o *oracle) dropLock(other Other) {
	for _, cell := range o.bytes {
		for k, b := range cell {
			if b.other == other {
				delete(cell, k)
			}
		}
	}
	o.locks = slices.DeleteFunc(o.locks, func(l *oracleLock) bool { return l.other == other })
}

func (o *oracle) dropOpen(other Other) {
	for _, l := range slices.Clone(o.locks) {
		if l.open == other {
			o.dropLock(l.other)
		}
	}
	o.opens = slices.DeleteFunc(o.opens, func(p *oracleOpen) bool { return p.other == other })
}

func (o *oracle) dropClient(c ClientID) {
	for _, p := range slices.Clone(o.opens) {
		if p.owner.client == c {
			o.dropOpen(p.other)
		}
	}
}

// shareConflicts is the pseudo-code of RFC 8881 §9.7, open by open.
func (o *oracle) shareConflicts(access, deny uint32, void *oracleOpen) (clients []ClientID) {
	for _, p := range o.opens {
		if p != void && (access&p.deny != 0 || deny&p.access != 0) {
			clients = append(clients, p.owner.client)
		}
	}
	slices.Sort(clients)
	return slices.Compact(clients)
}

func split(clients []ClientID, dead func(ClientID) bool) (live, gone []ClientID) {
	for _, c := range clients {
		if dead(c) {
			gone = append(gone, c)
		} else {
			live = append(live, c)
		}
	}
	return live, gone
}

func (o *oracle) Open(req *OpenRequest, dead func(ClientID) bool) (st nfs4.Stateid, live []ClientID, err error) {
	var own, void *oracleOpen
	name := owner{req.Client, string(req.Owner)}
	for _, p := range o.opens {
		if p.owner == name {
			own = p
		}
	}
	if own != nil && own.unconfirmed && req.Unconfirmed {
		own, void = nil, own
	}
	live, gone := split(o.shareConflicts(req.Access, req.Deny, void), dead)
	if len(live) > 0 {
		return st, live, ErrShareDenied
	}
	for _, c := range gone {
		o.dropClient(c)
	}
	if void != nil {
		o.dropOpen(void.other)
	}
	if own == nil {
		own = &oracleOpen{other: req.NewOther, owner: name, uid: req.UID, unconfirmed: req.Unconfirmed}
		o.opens = append(o.opens, own)
	}
	if own.uid != req.UID {
		own.uid = NoUID
	}
	own.unconfirmed = own.unconfirmed && req.Unconfirmed
	own.access |= req.Access
	own.deny |= req.Deny
	own.accesses = append(own.accesses, req.Access)
	own.denies = append(own.denies, req.Deny)
	own.seqid++
	return nfs4.Stateid{Seqid: own.seqid, Other: own.other}, nil, nil
}

// seqids are small in the oracle's runs, so it compares them as numbers.
func (o *oracle) find(ref Ref) (p *oracleOpen, l *oracleLock, err error) {
	var seqid uint32
	if l = o.lock(ref.Stateid.Other); l != nil {
		p, seqid = o.open(l.open), l.seqid
	} else if p = o.open(ref.Stateid.Other); p != nil {
		seqid = p.seqid
	} else {
		return nil, nil, ErrBadStateid
	}
	if ref.Client != 0 && p.owner.client != ref.Client {
		return nil, nil, ErrBadStateid
	}
	if ref.Stateid.Seqid == 0 && !ref.Minor0 {
		return p, l, nil
	}
	if ref.Stateid.Seqid > seqid {
		return nil, nil, ErrBadStateid
	}
	if ref.Stateid.Seqid < seqid {
		return nil, nil, ErrOldStateid
	}
	return p, l, nil
}

func (o *oracle) findOpen(ref Ref) (*oracleOpen, error) {
	p, l, err := o.find(ref)
	if err == nil && (l != nil || p.unconfirmed) {
		err = ErrBadStateid
	}
	return p, err
}

func (o *oracle) findLock(ref Ref) (*oracleLock, error) {
	_, l, err := o.find(ref)
	if err == nil && l == nil {
		err = ErrBadStateid
	}
	return l, err
}

func (o *oracle) Confirm(ref Ref) (st nfs4.Stateid, err error) {
	p, l, err := o.find(ref)
	if err != nil {
		return st, err
	}
	if l != nil || !p.unconfirmed {
		return st, ErrBadStateid
	}
	p.unconfirmed = false
	p.seqid++
	return nfs4.Stateid{Seqid: p.seqid, Other: p.other}, nil
}

// union says, by trying all, whether some of the values make up bits.
func union(bits uint32, values []uint32) bool {
	values = slices.Clone(values)
	slices.Sort(values)
	values = slices.Compact(values)
	for set := 1; set < 1<<len(values); set++ {
		sum := uint32(0)
		for i, v := range values {
			if set>>i&1 != 0 {
				sum |= v
			}
		}
		if sum == bits {
			return true
		}
	}
	return false
}

func (o *oracle) Downgrade(ref Ref, access, deny uint32) (st nfs4.Stateid, err error) {
	p, err := o.findOpen(ref)
	if err != nil {
		return st, err
	}
	if !union(access, p.accesses) || !union(deny, p.denies) {
		return st, ErrInval
	}
	p.access, p.deny = access, deny
	p.accesses = slices.DeleteFunc(p.accesses, func(v uint32) bool { return v&^access != 0 })
	p.denies = slices.DeleteFunc(p.denies, func(v uint32) bool { return v&^deny != 0 })
	p.seqid++
	return nfs4.Stateid{Seqid: p.seqid, Other: p.other}, nil
}

func (o *oracle) Close(ref Ref) (st nfs4.Stateid, err error) {
	p, err := o.findOpen(ref)
	if err != nil {
		return st, err
	}
	o.dropOpen(p.other)
	return nfs4.Stateid{Seqid: p.seqid + 1, Other: p.other}, nil
}

// denied looks for the conflicting range that starts first, byte by byte.
func (o *oracle) denied(asks owner, from, to int, write bool, dead func(ClientID) bool) (*LockDenied, []ClientID) {
	type found struct {
		start, end int
		owner      owner
		oracleByte
	}
	var all []found
	for i := from; i <= to; i++ {
		for k, b := range o.bytes[i] {
			if k == asks || !write && !b.write {
				continue
			}
			start, end := i, i
			for start > 0 && o.bytes[start-1][k] == b {
				start--
			}
			for end < cells-1 && o.bytes[end+1][k] == b {
				end++
			}
			all = append(all, found{start, end, k, b})
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return bytes.Compare(a.other[:], b.other[:])
	})
	var gone []ClientID
	for _, b := range all {
		if dead(b.owner.client) {
			gone = append(gone, b.owner.client)
			continue
		}
		d := &LockDenied{Offset: cellStart(b.start), Write: b.write, Client: b.owner.client, Owner: []byte(b.owner.name)}
		if d.Length = cellEnd(b.end) - d.Offset + 1; b.end == cells-1 {
			d.Length = math.MaxUint64
		}
		return d, nil
	}
	return nil, gone
}

// Lock and Unlock take cells for the range; the rules take offset and length.
func (o *oracle) Lock(req *LockRequest, from, to int, dead func(ClientID) bool) (st nfs4.Stateid, err error) {
	var p *oracleOpen
	var l *oracleLock
	if req.New {
		if p, err = o.findOpen(req.Ref); err != nil {
			return st, err
		}
		for _, m := range o.locks {
			if m.open == p.other && m.owner == (owner{p.owner.client, string(req.Owner)}) {
				l = m
			}
		}
	} else {
		if l, err = o.findLock(req.Ref); err != nil {
			return st, err
		}
		p = o.open(l.open)
	}
	need := uint32(nfs4.ShareAccessRead)
	if req.Write {
		need = nfs4.ShareAccessWrite
	}
	if p.access&need == 0 {
		return st, ErrOpenMode
	}
	if l == nil {
		l = &oracleLock{other: req.NewOther, open: p.other, owner: owner{p.owner.client, string(req.Owner)}}
	}
	denied, gone := o.denied(l.owner, from, to, req.Write, dead)
	if denied != nil {
		return st, denied
	}
	for _, c := range gone {
		o.dropClient(c)
	}
	if l.seqid == 0 {
		o.locks = append(o.locks, l)
	}
	for i := from; i <= to; i++ {
		o.bytes[i][l.owner] = oracleByte{l.other, req.Write}
	}
	l.seqid++
	return nfs4.Stateid{Seqid: l.seqid, Other: l.other}, nil
}

func (o *oracle) Unlock(ref Ref, from, to int) (st nfs4.Stateid, err error) {
	l, err := o.findLock(ref)
	if err != nil {
		return st, err
	}
	for i := from; i <= to; i++ {
		delete(o.bytes[i], l.owner)
	}
	l.seqid++
	return nfs4.Stateid{Seqid: l.seqid, Other: l.other}, nil
}

func (o *oracle) CheckIO(ref Ref, access uint32, dead func(ClientID) bool) (IO, error) {
	if ref.Stateid == nfs4.BypassStateid && access == nfs4.ShareAccessRead {
		return IO{Special: true}, nil
	}
	if ref.Stateid == nfs4.BypassStateid || ref.Stateid == nfs4.AnonymousStateid {
		if live, _ := split(o.shareConflicts(access, 0, nil), dead); len(live) > 0 {
			return IO{}, ErrLocked
		}
		return IO{Special: true}, nil
	}
	p, _, err := o.find(ref)
	if err != nil {
		return IO{}, err
	}
	if p.unconfirmed {
		return IO{}, ErrBadStateid
	}
	if p.access&access != access {
		return IO{}, ErrOpenMode
	}
	return IO{Client: p.owner.client, UID: p.uid, Access: p.access}, nil
}

func (o *oracle) FreeStateid(ref Ref) error {
	_, l, err := o.find(ref)
	if err != nil {
		return err
	}
	if l == nil || o.holds(l.other) {
		return ErrLocksHeld
	}
	o.dropLock(l.other)
	return nil
}

func (o *oracle) ReleaseLockOwner(name owner) error {
	for _, l := range o.locks {
		if l.owner == name && o.holds(l.other) {
			return ErrLocksHeld
		}
	}
	for _, l := range slices.Clone(o.locks) {
		if l.owner == name {
			o.dropLock(l.other)
		}
	}
	return nil
}

// sameError says whether two errors are the same to a client.
func sameError(a, b error) bool {
	var da, db *LockDenied
	if errors.As(a, &da) && errors.As(b, &db) {
		return da.Offset == db.Offset && da.Length == db.Length && da.Write == db.Write &&
			da.Client == db.Client && bytes.Equal(da.Owner, db.Owner)
	}
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return errors.Is(a, b)
}
