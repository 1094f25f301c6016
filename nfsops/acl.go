package nfsops

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// POSIX access control lists as NFSv4 ones and back (RFC 8881 §6).
//
// From POSIX the translation is exact for what is read, written and executed: a
// DENY stands where a class would otherwise get from a later entry what POSIX
// refuses it. For a plain mode there is none:
//
//	rw-r--r--   A::OWNER@:rw  A::GROUP@:r  A::EVERYONE@:r
//	rw----r--   A::OWNER@:rw  D::GROUP@:r  A::EVERYONE@:r
//
// To POSIX the result is never less strict than what was asked for. A default
// list is the inheritable entries, and back.

// maxACEs bounds the entries of an ACL: each of the at most 1,024 of a POSIX list
// may take two.
const maxACEs = 2 * 1024

// What is granted beyond reading, writing and executing: to all, and to the
// owner.
const (
	aceAnyone = nfs4.ACEReadAttributes | nfs4.ACEReadACL | nfs4.ACESynchronize
	aceOwner  = nfs4.ACEWriteAttributes | nfs4.ACEWriteACL

	aceKnownMask = nfs4.ACEReadData | nfs4.ACEWriteData | nfs4.ACEAppendData | nfs4.ACEReadNamedAttrs |
		nfs4.ACEWriteNamedAttrs | nfs4.ACEExecute | nfs4.ACEDeleteChild | nfs4.ACEReadAttributes |
		nfs4.ACEWriteAttributes | nfs4.ACEWriteRetention | nfs4.ACEWriteRetentionHold | nfs4.ACEDelete |
		nfs4.ACEReadACL | nfs4.ACEWriteACL | nfs4.ACEWriteOwner | nfs4.ACESynchronize
	aceKnownFlags   = 0xff
	aceInheritFlags = nfs4.ACEFileInherit | nfs4.ACEDirectoryInherit
)

// Permissions of an export.ACLEntry.
const (
	permRead    = 4
	permWrite   = 2
	permExecute = 1
)

// An ace is an nfsace4 about someone that a POSIX list can name.
type ace struct {
	deny bool
	tag  export.ACLTag // ACLOther stands for EVERYONE@
	id   uint32
	perm uint8
}

// modeACL is the list that a mode says.
func modeACL(mode uint32) []export.ACLEntry {
	return []export.ACLEntry{
		{Tag: export.ACLUserObj, Perm: uint8(mode >> 6 & 7)},
		{Tag: export.ACLGroupObj, Perm: uint8(mode >> 3 & 7)},
		{Tag: export.ACLOther, Perm: uint8(mode & 7)},
	}
}

// toACEs translates a POSIX list.
func toACEs(list []export.ACLEntry) []ace {
	mask := uint8(7)
	var owner, other, group uint8
	groups := uint8(0) // what any group entry grants
	for _, e := range list {
		if e.Tag == export.ACLMask {
			mask = e.Perm
		}
	}
	for _, e := range list {
		switch e.Tag {
		case export.ACLUserObj:
			owner = e.Perm
		case export.ACLOther:
			other = e.Perm
		case export.ACLGroupObj:
			group = e.Perm & mask
			groups |= group
		case export.ACLGroup:
			groups |= e.Perm & mask
		}
	}
	users := uint8(0) // what any named user is granted
	for _, e := range list {
		if e.Tag == export.ACLUser {
			users |= e.Perm & mask
		}
	}
	aces := make([]ace, 0, 2*len(list))
	add := func(tag export.ACLTag, id uint32, perm, later uint8) {
		if deny := later &^ perm; deny != 0 {
			aces = append(aces, ace{deny: true, tag: tag, id: id, perm: deny})
		}
		aces = append(aces, ace{tag: tag, id: id, perm: perm})
	}
	add(export.ACLUserObj, 0, owner, users|groups|other)
	for _, e := range list {
		if e.Tag == export.ACLUser {
			add(export.ACLUser, e.ID, e.Perm&mask, groups|other)
		}
	}
	// Of several groups of a caller one that grants is enough, so that all
	// grants come before the refusals.
	add2 := func(deny bool) {
		put := func(tag export.ACLTag, id uint32, perm uint8) {
			if !deny {
				aces = append(aces, ace{tag: tag, id: id, perm: perm})
			} else if other&^perm != 0 {
				aces = append(aces, ace{deny: true, tag: tag, id: id, perm: other &^ perm})
			}
		}
		put(export.ACLGroupObj, 0, group)
		for _, e := range list {
			if e.Tag == export.ACLGroup {
				put(export.ACLGroup, e.ID, e.Perm&mask)
			}
		}
	}
	add2(false)
	add2(true)
	return append(aces, ace{tag: export.ACLOther, perm: other})
}

// encodeACL appends the nfsace4<> of o.
func (c *compound) encodeACL(w *xdr.Writer, o *object, a *export.Attr) error {
	access, err := readACL(o, a, false)
	if err != nil {
		return err
	}
	at := w.Len()
	w.Uint32(0)
	n := c.encodeACEs(w, access, 0, a.Type)
	if a.Type == export.Directory {
		defaults, err := readACL(o, a, true)
		if err != nil {
			return err
		}
		if len(defaults) > 0 {
			n += c.encodeACEs(w, defaults, aceInheritFlags|nfs4.ACEInheritOnly, a.Type)
		}
	}
	w.PutUint32(at, uint32(n))
	return nil
}

// readACL returns a list of o. A file system that has ACLs may hold objects
// that have none, such as symbolic links: then the mode is the list.
func readACL(o *object, a *export.Attr, defaults bool) ([]export.ACLEntry, error) {
	acls, ok := o.fs().(export.ACLs)
	if ok && a.Type != export.Symlink {
		list, err := acls.GetACL(o.h, defaults)
		if err == nil || !errors.Is(err, export.ErrNotSupp) {
			return list, err
		}
	}
	if defaults {
		return nil, nil
	}
	return modeACL(a.Mode), nil
}

// encodeACEs appends the entries of a POSIX list and returns their number.
func (c *compound) encodeACEs(w *xdr.Writer, list []export.ACLEntry, flags uint32, t export.FileType) int {
	aces := toACEs(list)
	for _, e := range aces {
		var bits uint32
		if e.perm&permRead != 0 {
			bits |= nfs4.ACEReadData
		}
		if e.perm&permWrite != 0 {
			bits |= nfs4.ACEWriteData | nfs4.ACEAppendData
			if t == export.Directory {
				bits |= nfs4.ACEDeleteChild
			}
		}
		if e.perm&permExecute != 0 {
			bits |= nfs4.ACEExecute
		}
		kind, flag := uint32(nfs4.ACEDenied), flags
		if !e.deny {
			kind = nfs4.ACEAllowed
			bits |= aceAnyone
			if e.tag == export.ACLUserObj {
				bits |= aceOwner
			}
		}
		if e.tag == export.ACLGroup || e.tag == export.ACLGroupObj {
			flag |= nfs4.ACEIdentifierGroup
		}
		w.Uint32(kind)
		w.Uint32(flag)
		w.Uint32(bits)
		switch e.tag {
		case export.ACLUserObj:
			w.String(nfs4.WhoOwner)
		case export.ACLGroupObj:
			w.String(nfs4.WhoGroup)
		case export.ACLOther:
			w.String(nfs4.WhoEveryone)
		default:
			c.srv.owners.encode(w, e.id, e.tag == export.ACLGroup)
		}
	}
	return len(aces)
}

// decodeACL reads an nfsace4<> into s.
func (c *compound) decodeACL(r *xdr.Reader, s *settable) nfs4.Status {
	n := r.Count(r.Remaining(), 16)
	if r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	var access, inherited posixList
	s.haveACL = true
	status := nfs4.OK
	if n > maxACEs {
		status = nfs4.ErrAttrNotSupp
	}
	for range n {
		kind, flags, bits := r.Uint32(), r.Uint32(), r.Uint32()
		who := r.Opaque(nfs4.OpaqueLimit)
		if r.Err() != nil {
			return nfs4.ErrBadXDR
		}
		if status != nfs4.OK {
			continue // the rest must still be XDR
		}
		var e ace
		if e, status = c.decodeACE(kind, flags, bits, who); status != nfs4.OK {
			continue
		}
		if flags&nfs4.ACEInheritOnly == 0 && !access.apply(e, bits) ||
			flags&aceInheritFlags != 0 && !inherited.apply(e, bits) {
			status = nfs4.ErrAttrNotSupp
		}
	}
	s.acl = access.entries(nil)
	if inherited.used {
		s.defaults = inherited.entries(s.acl)
	}
	return status
}

// decodeACE checks one entry.
func (c *compound) decodeACE(kind, flags, bits uint32, who []byte) (e ace, status nfs4.Status) {
	switch {
	case kind > nfs4.ACEAlarm || bits&^uint32(aceKnownMask) != 0 || flags&^uint32(aceKnownFlags) != 0:
		return e, nfs4.ErrInval
	case kind > nfs4.ACEDenied || flags&nfs4.ACENoPropagateInherit != 0:
		return e, nfs4.ErrAttrNotSupp
	case flags&nfs4.ACEInheritOnly != 0 && flags&aceInheritFlags == 0:
		return e, nfs4.ErrInval
	}
	e.deny = kind == nfs4.ACEDenied
	if bits&nfs4.ACEReadData != 0 {
		e.perm |= permRead
	}
	if bits&nfs4.ACEExecute != 0 {
		e.perm |= permExecute
	}
	// POSIX has one permission to write: it takes both to grant it, and one to refuse it (RFC 8881
	// §6.2.1.3.1).
	const write = nfs4.ACEWriteData | nfs4.ACEAppendData
	if bits&write == write || e.deny && bits&(write|nfs4.ACEDeleteChild) != 0 {
		e.perm |= permWrite
	}
	switch string(who) {
	case nfs4.WhoOwner:
		e.tag = export.ACLUserObj
	case nfs4.WhoGroup:
		e.tag = export.ACLGroupObj
	case nfs4.WhoEveryone:
		e.tag = export.ACLOther
	case nfs4.WhoInteractive, nfs4.WhoNetwork, nfs4.WhoDialup, nfs4.WhoBatch, nfs4.WhoAnonymous,
		nfs4.WhoAuthenticated, nfs4.WhoService:
		return e, nfs4.ErrAttrNotSupp
	default:
		group := flags&nfs4.ACEIdentifierGroup != 0
		e.tag = export.ACLUser
		if group {
			e.tag = export.ACLGroup
		}
		e.id, status = c.srv.owners.parse(who, group)
	}
	return e, status
}

// A posixList is a POSIX list in the making: what each class is granted and
// refused by the NFSv4 entries so far.
type posixList struct {
	owner, group, other, everyone class
	named                         []namedClass
	ownerAttrs                    uint32 // of aceOwner, what the owner was granted
	used                          bool
	sawOwner, sawGroup, sawOther  bool
}

type class struct{ allow, deny uint8 }

type namedClass struct {
	tag export.ACLTag
	id  uint32
	class
}

func (p *class) add(deny bool, perm uint8) {
	if deny {
		p.deny |= perm &^ p.allow
	} else {
		p.allow |= perm &^ p.deny
	}
}

// apply takes in the next entry. It returns false if the entry refuses what
// POSIX never does: reading attributes, and the owner's right to change them.
func (l *posixList) apply(e ace, bits uint32) bool {
	l.used = true
	if e.deny && bits&(nfs4.ACEReadAttributes|nfs4.ACEReadACL) != 0 {
		return false
	}
	if e.tag == export.ACLUserObj || e.tag == export.ACLOther {
		if e.deny && bits&aceOwner&^l.ownerAttrs != 0 {
			return false
		}
		l.ownerAttrs |= bits & aceOwner
	}
	switch e.tag {
	case export.ACLUserObj:
		l.sawOwner = true
		l.owner.add(e.deny, e.perm)
	case export.ACLOther:
		l.sawOwner, l.sawGroup, l.sawOther = true, true, true
		l.all(e.deny, e.perm)
	case export.ACLUser:
		l.find(e.tag, e.id).add(e.deny, e.perm)
		if e.deny {
			l.owner.add(true, e.perm) // who may be that user
		}
	case export.ACLGroupObj:
		l.sawGroup = true
		l.group.add(e.deny, e.perm)
		if e.deny {
			l.members(e.perm)
		}
	case export.ACLGroup:
		l.find(e.tag, e.id).add(e.deny, e.perm)
		if e.deny {
			l.members(e.perm)
		}
	}
	return true
}

// members refuses something to all who may be members of a group.
func (l *posixList) members(perm uint8) {
	l.owner.add(true, perm)
	l.group.add(true, perm)
	l.everyone.add(true, perm)
	for i := range l.named {
		l.named[i].add(true, perm)
	}
}

func (l *posixList) all(deny bool, perm uint8) {
	for _, p := range []*class{&l.owner, &l.group, &l.other, &l.everyone} {
		p.add(deny, perm)
	}
	for i := range l.named {
		l.named[i].add(deny, perm)
	}
}

// find returns the class of a named user or group, which begins with what
// everyone got before.
func (l *posixList) find(tag export.ACLTag, id uint32) *class {
	for i := range l.named {
		if l.named[i].tag == tag && l.named[i].id == id {
			return &l.named[i].class
		}
	}
	l.named = append(l.named, namedClass{tag, id, l.everyone})
	return &l.named[len(l.named)-1].class
}

// entries returns the list, in the order in which Linux keeps it. A default
// list says nothing about owner, group or others if no inheritable entry does:
// they are then those of access, as setfacl(1) has it, since a new object would else
// be out of its owner's reach.
func (l *posixList) entries(access []export.ACLEntry) []export.ACLEntry {
	pick := func(tag export.ACLTag, saw bool, p class) uint8 {
		if !saw {
			for _, e := range access {
				if e.Tag == tag {
					return e.Perm
				}
			}
		}
		return p.allow
	}
	slices.SortFunc(l.named, func(a, b namedClass) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id))
	})
	list := make([]export.ACLEntry, 0, len(l.named)+4)
	add := func(tag export.ACLTag) {
		for _, n := range l.named {
			if n.tag == tag {
				list = append(list, export.ACLEntry{Tag: tag, ID: n.id, Perm: n.allow})
			}
		}
	}
	group := pick(export.ACLGroupObj, l.sawGroup, l.group)
	list = append(list, export.ACLEntry{Tag: export.ACLUserObj, Perm: pick(export.ACLUserObj, l.sawOwner, l.owner)})
	add(export.ACLUser)
	list = append(list, export.ACLEntry{Tag: export.ACLGroupObj, Perm: group})
	add(export.ACLGroup)
	if len(l.named) > 0 {
		mask := group
		for _, n := range l.named {
			mask |= n.allow
		}
		list = append(list, export.ACLEntry{Tag: export.ACLMask, Perm: mask})
	}
	return append(list, export.ACLEntry{Tag: export.ACLOther, Perm: pick(export.ACLOther, l.sawOther, l.other)})
}

// setACL sets the lists of s on o. Inheritable entries mean nothing on what is
// no directory.
func (c *compound) setACL(o *object, s *settable) error {
	acls, ok := o.fs().(export.ACLs)
	if !ok {
		return errAttrNotSupp
	}
	var a export.Attr
	if err := o.fs().Getattr(o.h, &a); err != nil {
		return err
	}
	if a.Type == export.Symlink {
		return errAttrNotSupp
	}
	err := acls.SetACL(c.credsFor(o), o.h, false, s.acl)
	if err == nil && a.Type == export.Directory {
		err = acls.SetACL(c.credsFor(o), o.h, true, s.defaults)
	}
	if errors.Is(err, export.ErrNotSupp) {
		return fmt.Errorf("%w: %w", errAttrNotSupp, err)
	}
	return err
}
