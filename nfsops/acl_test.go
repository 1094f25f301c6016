package nfsops

import (
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/export"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// A caller is someone who wants to use an object of user 10 and group 20.
type caller struct {
	uid    uint32
	groups []uint32
}

const fileOwner, fileGroup = 10, 20

var callers = func() (all []caller) {
	for _, uid := range []uint32{fileOwner, 1, 2, 3} {
		for _, groups := range [][]uint32{{99}, {fileGroup}, {21}, {22}, {fileGroup, 21}, {21, 22}, {22, fileGroup}} {
			all = append(all, caller{uid, groups})
		}
	}
	return all
}()

// posixAllows is the access check algorithm of POSIX.1e (acl(5)) for one
// permission.
func posixAllows(list []export.ACLEntry, c caller, want uint8) bool {
	find := func(tag export.ACLTag, id uint32) (uint8, bool) {
		for _, e := range list {
			if e.Tag == tag && e.ID == id {
				return e.Perm, true
			}
		}
		return 0, false
	}
	mask, masked := find(export.ACLMask, 0)
	if !masked {
		mask = 7
	}
	if c.uid == fileOwner {
		p, _ := find(export.ACLUserObj, 0)
		return p&want != 0
	}
	if p, ok := find(export.ACLUser, c.uid); ok {
		return p&mask&want != 0
	}
	member := false
	for _, e := range list {
		if e.Tag == export.ACLGroupObj && slices.Contains(c.groups, fileGroup) ||
			e.Tag == export.ACLGroup && slices.Contains(c.groups, e.ID) {
			member = true
			if e.Perm&mask&want != 0 {
				return true
			}
		}
	}
	if member {
		return false
	}
	p, _ := find(export.ACLOther, 0)
	return p&want != 0
}

// nfsAllows is the algorithm of RFC 8881 §6.2.1 for one permission.
func nfsAllows(aces []ace, c caller, want uint8) bool {
	for _, e := range aces {
		var match bool
		switch e.tag {
		case export.ACLUserObj:
			match = c.uid == fileOwner
		case export.ACLUser:
			match = c.uid == e.id
		case export.ACLGroupObj:
			match = slices.Contains(c.groups, fileGroup)
		case export.ACLGroup:
			match = slices.Contains(c.groups, e.id)
		case export.ACLOther:
			match = true
		}
		if match && e.perm&want != 0 {
			return !e.deny
		}
	}
	return false
}

func randomList(rnd *rand.Rand) []export.ACLEntry {
	perm := func() uint8 { return uint8(rnd.IntN(8)) }
	list := []export.ACLEntry{{Tag: export.ACLUserObj, Perm: perm()}}
	named := false
	for _, id := range []uint32{1, 2, fileOwner} {
		if rnd.IntN(2) == 0 {
			list, named = append(list, export.ACLEntry{Tag: export.ACLUser, ID: id, Perm: perm()}), true
		}
	}
	list = append(list, export.ACLEntry{Tag: export.ACLGroupObj, Perm: perm()})
	for _, id := range []uint32{fileGroup, 21, 22} {
		if rnd.IntN(2) == 0 {
			list, named = append(list, export.ACLEntry{Tag: export.ACLGroup, ID: id, Perm: perm()}), true
		}
	}
	if named {
		list = append(list, export.ACLEntry{Tag: export.ACLMask, Perm: perm()})
	}
	return append(list, export.ACLEntry{Tag: export.ACLOther, Perm: perm()})
}

// effective is a list with its mask applied, and the smallest mask.
func effective(list []export.ACLEntry) []export.ACLEntry {
	list = slices.Clone(list)
	at := slices.IndexFunc(list, func(e export.ACLEntry) bool { return e.Tag == export.ACLMask })
	if at < 0 {
		return list
	}
	var all uint8
	for i, e := range list {
		switch e.Tag {
		case export.ACLUser, export.ACLGroupObj, export.ACLGroup:
			list[i].Perm &= list[at].Perm
			all |= list[i].Perm
		}
	}
	list[at].Perm = all
	return list
}

// A wireACE is an nfsace4.
type wireACE struct {
	kind, flag, mask uint32
	who              string
}

func decodeWire(t *testing.T, aces ...wireACE) (settable, nfs4.Status) {
	t.Helper()
	var w xdr.Writer
	w.Uint32(uint32(len(aces)))
	for _, a := range aces {
		w.Uint32(a.kind)
		w.Uint32(a.flag)
		w.Uint32(a.mask)
		w.String(a.who)
	}
	r := xdr.NewReader(w.Bytes())
	c := &compound{srv: &Server{}}
	var s settable
	status := c.decodeACL(&r, &s)
	if r.Err() != nil || r.Remaining() != 0 {
		t.Fatalf("%d bytes left, %v", r.Remaining(), r.Err())
	}
	return s, status
}

func readWire(w *xdr.Writer, n int) (aces []wireACE) {
	r := xdr.NewReader(w.Bytes())
	for range n {
		aces = append(aces, wireACE{r.Uint32(), r.Uint32(), r.Uint32(), string(r.Opaque(100))})
	}
	return aces
}

// Whoever POSIX lets read, write or execute, the NFSv4 list lets, and nobody
// else; and a client that sets what it read changes nothing.
func TestPOSIXToNFSv4IsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	c := &compound{srv: &Server{}}
	for range 3000 {
		list := randomList(rnd)
		aces := toACEs(list)
		for _, who := range callers {
			for _, want := range []uint8{permRead, permWrite, permExecute} {
				if posixAllows(list, who, want) != nfsAllows(aces, who, want) {
					t.Fatalf("%v for %+v: POSIX %v\n%+v\n%+v", want, who, posixAllows(list, who, want), list, aces)
				}
			}
		}
		var w xdr.Writer
		n := c.encodeACEs(&w, list, 0, export.Directory)
		s, status := decodeWire(t, readWire(&w, n)...)
		if status != nfs4.OK || !slices.Equal(s.acl, effective(list)) || s.defaults != nil {
			t.Fatalf("%v came back as %v, %v, %v", effective(list), s.acl, s.defaults, status)
		}
	}
}

// RFC 8881 §6.2.1: "the server must not accept ACLs that appear to make access
// to the file more restrictive than it really is."
func TestNFSv4ToPOSIXIsAsStrict(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	whos := []ace{
		{tag: export.ACLUserObj}, {tag: export.ACLGroupObj}, {tag: export.ACLOther}, {tag: export.ACLUser, id: 1},
		{tag: export.ACLUser, id: 2}, {tag: export.ACLUser, id: fileOwner}, {tag: export.ACLGroup, id: fileGroup},
		{tag: export.ACLGroup, id: 21}, {tag: export.ACLGroup, id: 22},
	}
	for range 20000 {
		var aces []ace
		var l posixList
		for range 1 + rnd.IntN(8) {
			e := whos[rnd.IntN(len(whos))]
			e.deny, e.perm = rnd.IntN(3) == 0, uint8(rnd.IntN(8))
			aces = append(aces, e)
			l.apply(e, 0)
		}
		list := l.entries(nil)
		for _, who := range callers {
			for _, want := range []uint8{permRead, permWrite, permExecute} {
				if posixAllows(list, who, want) && !nfsAllows(aces, who, want) {
					t.Fatalf("%v for %+v\n%+v\n%+v", want, who, list, aces)
				}
			}
		}
	}
}

// A mode is three entries, as nfs4_getfacl(1) shows them, when no class gets less than a
// later one.
func TestModeAsACL(t *testing.T) {
	c := &compound{srv: &Server{}}
	const r, w = nfs4.ACEReadData, nfs4.ACEWriteData | nfs4.ACEAppendData
	for _, test := range []struct {
		mode uint32
		want []wireACE
	}{
		{0o640, []wireACE{
			{nfs4.ACEAllowed, 0, r | w | aceAnyone | aceOwner, "OWNER@"},
			{nfs4.ACEAllowed, nfs4.ACEIdentifierGroup, r | aceAnyone, "GROUP@"},
			{nfs4.ACEAllowed, 0, aceAnyone, "EVERYONE@"},
		}},
		{0o604, []wireACE{
			{nfs4.ACEAllowed, 0, r | w | aceAnyone | aceOwner, "OWNER@"},
			{nfs4.ACEAllowed, nfs4.ACEIdentifierGroup, aceAnyone, "GROUP@"},
			{nfs4.ACEDenied, nfs4.ACEIdentifierGroup, r, "GROUP@"},
			{nfs4.ACEAllowed, 0, r | aceAnyone, "EVERYONE@"},
		}},
	} {
		var out xdr.Writer
		n := c.encodeACEs(&out, modeACL(test.mode), 0, export.Regular)
		if got := readWire(&out, n); !slices.Equal(got, test.want) {
			t.Errorf("%o: %x", test.mode, got)
		}
	}
}

func TestSettingACLs(t *testing.T) {
	const rwx = nfs4.ACEReadData | nfs4.ACEWriteData | nfs4.ACEAppendData | nfs4.ACEExecute
	const inherit = nfs4.ACEFileInherit | nfs4.ACEDirectoryInherit
	base := []wireACE{{0, 0, rwx, "OWNER@"}, {0, 0, nfs4.ACEReadData, "GROUP@"}, {0, 0, 0, "EVERYONE@"}}
	for _, test := range []struct {
		name   string
		ace    wireACE
		status nfs4.Status
	}{
		{"a user", wireACE{0, 0, rwx, "7"}, nfs4.OK},
		{"a group", wireACE{0, nfs4.ACEIdentifierGroup, rwx, "7"}, nfs4.OK},
		{"an unknown user", wireACE{0, 0, rwx, "nobody-knows@example.org"}, nfs4.ErrBadOwner},
		{"no UTF-8", wireACE{0, 0, rwx, "\xff\xfe"}, nfs4.ErrInval},
		{"a special user that POSIX does not have", wireACE{0, 0, rwx, "NETWORK@"}, nfs4.ErrAttrNotSupp},
		{"audit", wireACE{nfs4.ACEAudit, 0, rwx, "EVERYONE@"}, nfs4.ErrAttrNotSupp},
		{"a type that does not exist", wireACE{4, 0, rwx, "EVERYONE@"}, nfs4.ErrInval},
		{"unknown permissions", wireACE{0, 0, 1 << 31, "EVERYONE@"}, nfs4.ErrInval},
		{"unknown flags", wireACE{0, 1 << 31, rwx, "EVERYONE@"}, nfs4.ErrInval},
		{"one level only", wireACE{0, inherit | nfs4.ACENoPropagateInherit, rwx, "7"}, nfs4.ErrAttrNotSupp},
		{"inherited by nothing", wireACE{0, nfs4.ACEInheritOnly, rwx, "7"}, nfs4.ErrInval},
		{"refusing to read attributes", wireACE{1, 0, nfs4.ACEReadAttributes, "7"}, nfs4.ErrAttrNotSupp},
		{"refusing the owner to write the ACL", wireACE{1, 0, nfs4.ACEWriteACL, "OWNER@"}, nfs4.ErrAttrNotSupp},
		{"refusing others to write the ACL", wireACE{1, 0, nfs4.ACEWriteACL, "7"}, nfs4.OK},
	} {
		if _, status := decodeWire(t, append(slices.Clone(base), test.ace)...); status != test.status {
			t.Errorf("%s: %v, want %v", test.name, status, test.status)
		}
	}
	many := make([]wireACE, maxACEs+1)
	for i := range many {
		many[i] = wireACE{0, 0, rwx, "7"}
	}
	if _, status := decodeWire(t, many...); status != nfs4.ErrAttrNotSupp {
		t.Errorf("%d entries: %v", len(many), status)
	}
}

// RFC 8881 §6.2.1.3.1: "if a client submits an ALLOW ACE where ACE4_APPEND_DATA
// is set but ACE4_WRITE_DATA is not (or vice versa), the server should either
// turn off ACE4_APPEND_DATA or reject the request".
func TestAppendAloneGrantsNothing(t *testing.T) {
	for _, bits := range []uint32{nfs4.ACEAppendData, nfs4.ACEWriteData} {
		s, status := decodeWire(t, wireACE{0, 0, bits | nfs4.ACEReadData, "OWNER@"})
		if status != nfs4.OK || s.acl[0].Perm != permRead {
			t.Errorf("%x: %v, %v", bits, s.acl, status)
		}
		s, status = decodeWire(t, wireACE{1, 0, bits, "OWNER@"},
			wireACE{0, 0, nfs4.ACEAppendData | nfs4.ACEWriteData, "EVERYONE@"})
		if status != nfs4.OK || s.acl[0].Perm != 0 {
			t.Errorf("refusing %x: %v, %v", bits, s.acl, status)
		}
	}
}

// Inheritable entries are the default list; what they do not say about owner,
// group and others is taken from the access list.
func TestInheritableEntries(t *testing.T) {
	const r = nfs4.ACEReadData
	const w = nfs4.ACEWriteData | nfs4.ACEAppendData
	s, status := decodeWire(t,
		wireACE{0, 0, r | w, "OWNER@"}, wireACE{0, 0, r, "GROUP@"}, wireACE{0, 0, 0, "EVERYONE@"},
		wireACE{0, nfs4.ACEFileInherit | nfs4.ACEDirectoryInherit | nfs4.ACEInheritOnly, r | w, "7"})
	want := []export.ACLEntry{
		{Tag: export.ACLUserObj, Perm: 6}, {Tag: export.ACLUser, ID: 7, Perm: 6}, {Tag: export.ACLGroupObj, Perm: 4},
		{Tag: export.ACLMask, Perm: 6}, {Tag: export.ACLOther},
	}
	if status != nfs4.OK || !slices.Equal(s.defaults, want) || !slices.Equal(s.acl, modeACL(0o640)) {
		t.Errorf("%v: access %v, default %v", status, s.acl, s.defaults)
	}
	s, _ = decodeWire(t, wireACE{0, nfs4.ACEFileInherit | nfs4.ACEDirectoryInherit, r, "EVERYONE@"})
	if !slices.Equal(s.acl, modeACL(0o444)) || !slices.Equal(s.defaults, modeACL(0o444)) {
		t.Errorf("access %v, default %v", s.acl, s.defaults)
	}
}

// Whatever bytes come, they are read without panic and without more entries than
// allowed.
func FuzzDecodeACL(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, '7', 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &compound{srv: &Server{}}
		r := xdr.NewReader(b)
		var s settable
		if c.decodeACL(&r, &s) == nfs4.OK && r.Err() == nil && len(s.acl) > maxACEs+4 {
			t.Fatalf("%d entries", len(s.acl))
		}
	})
}
