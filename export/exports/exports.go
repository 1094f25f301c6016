// Package exports is the set of served file systems under one pseudo root, and
// the sealed filehandles by which clients name their objects.
//
// A filehandle on the wire:
//
//	┌─────────┬───────────┬──────────────────────┬─────────┐
//	│ version │ export id │ handle               │ seal    │
//	│ 1 byte  │ 4 bytes   │ of the FS, 1 to 96   │ 8 bytes │
//	└─────────┴───────────┴──────────────────────┴─────────┘
//
// The seal is SipHash-2-4 under the cluster's key over all that precedes it, so
// that a client can only present handles that some gateway gave out. Every
// gateway gives the same bytes for the same object.
package exports

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/dchest/siphash"

	"holdfast/export"
)

// Squash says whose identity is replaced by the anonymous one.
type Squash uint8

// The choices of Squash. The zero value is the default.
const (
	SquashRoot Squash = iota // uid 0 and gid 0
	SquashNone
	SquashAll
)

// Nobody is the default anonymous uid and gid.
const Nobody = 65534

// PseudoID is the export id of the pseudo file system.
const PseudoID = 0

// An Export is one file system and who may use it how. It is not changed
// after it was given to New.
type Export struct {
	// ID is part of every filehandle: it must be the same after a restart and
	// on every gateway. 0 lets New derive it from Path.
	ID uint32

	// Path is where the export is in the pseudo file system, such as
	// "/data/a"; "/" makes it the root, and then it is the only one.
	Path string

	FS       export.FS
	ReadOnly bool

	Squash           Squash
	AnonUID, AnonGID uint32

	// Clients are the networks that may use the export; none means all.
	Clients []netip.Prefix
}

// Pseudo says that the export is the pseudo file system.
func (e *Export) Pseudo() bool { return e.ID == PseudoID }

// Allows says whether a client at addr may use the export.
func (e *Export) Allows(addr netip.Addr) bool {
	if len(e.Clients) == 0 {
		return true
	}
	addr = addr.Unmap().WithZone("") // a prefix contains none with a zone
	for _, p := range e.Clients {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Apply sets dst to the identity under which a caller with identity src works in
// the export. dst's Groups may share memory with those of src, or be
// overwritten.
func (e *Export) Apply(src, dst *export.Creds) {
	dst.UID, dst.GID = src.UID, src.GID
	switch {
	case e.Squash == SquashAll:
		dst.UID, dst.GID, dst.Groups = e.AnonUID, e.AnonGID, dst.Groups[:0]
	case e.Squash == SquashRoot && (src.UID == 0 || src.GID == 0 || slices.Contains(src.Groups, 0)):
		if src.UID == 0 {
			dst.UID = e.AnonUID
		}
		if src.GID == 0 {
			dst.GID = e.AnonGID
		}
		groups := make([]uint32, 0, len(src.Groups))
		for _, g := range src.Groups {
			if g == 0 {
				g = e.AnonGID
			}
			groups = append(groups, g)
		}
		dst.Groups = groups
	default:
		dst.Groups = src.Groups
	}
}

// A Set is the exports of a gateway. Its methods may be called from any number
// of goroutines.
type Set struct {
	byID   map[uint32]*Export
	pseudo *pseudoFS // nil if one export is the root
	root   *Export
	k0, k1 uint64
}

// New returns the set of the given exports, with filehandles sealed under key.
// Paths must be absolute and clean, and none may be inside another.
func New(key [16]byte, list []*Export) (*Set, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("exports: nothing to export")
	}
	s := &Set{
		byID: make(map[uint32]*Export, len(list)+1),
		k0:   binary.LittleEndian.Uint64(key[:8]),
		k1:   binary.LittleEndian.Uint64(key[8:]),
	}
	for _, e := range list {
		if e.FS == nil {
			return nil, fmt.Errorf("exports: %s has no file system", e.Path)
		}
		if !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path {
			return nil, fmt.Errorf("exports: path %q must be absolute and clean, such as /data", e.Path)
		}
		if n := len(e.FS.Root()); n == 0 || n > export.MaxHandle {
			return nil, fmt.Errorf("exports: %s: handle of %d bytes, allowed are 1 to %d", e.Path, n, export.MaxHandle)
		}
		if e.ID == PseudoID {
			e.ID = derivedID(e.Path)
		}
		if other := s.byID[e.ID]; other != nil {
			return nil, fmt.Errorf("exports: %s and %s have the same id %d; give one of them another fsid", other.Path, e.Path, e.ID)
		}
		for _, other := range s.byID {
			if within(other.Path, e.Path) || within(e.Path, other.Path) {
				return nil, fmt.Errorf("exports: %s and %s: one may not be inside the other", other.Path, e.Path)
			}
		}
		s.byID[e.ID] = e
	}
	if len(list) == 1 && list[0].Path == "/" {
		s.root = list[0]
		return s, nil
	}
	s.pseudo = newPseudoFS(list)
	s.root = &Export{ID: PseudoID, Path: "/", FS: s.pseudo, ReadOnly: true, AnonUID: Nobody, AnonGID: Nobody}
	s.byID[PseudoID] = s.root
	return s, nil
}

func derivedID(p string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(p))
	if id := h.Sum32(); id != PseudoID {
		return id
	}
	return 1
}

// within says whether path inner is outer or below it.
func within(inner, outer string) bool {
	return inner == outer || outer == "/" || strings.HasPrefix(inner, outer+"/")
}

// Root returns the export of the root filehandle.
func (s *Set) Root() *Export { return s.root }

// All returns the exports without the pseudo file system, sorted by path.
func (s *Set) All() []*Export {
	var all []*Export
	for _, e := range s.byID {
		if !e.Pseudo() {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *Export) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// Export returns the export with an id, or nil.
func (s *Set) Export(id uint32) *Export { return s.byID[id] }

// Cross goes from a mount point in the pseudo file system to the root of what
// is exported there. ok is false if (e, h) is no mount point.
func (s *Set) Cross(e *Export, h []byte) (root *Export, ok bool) {
	if !e.Pseudo() {
		return nil, false
	}
	n := s.pseudo.node(h)
	if n == nil || n.export == nil {
		return nil, false
	}
	return n.export, true
}

// MountPoint is the way back: the object of the pseudo file system under the
// root of export e, with its attributes. ok is false if e is the root itself.
func (s *Set) MountPoint(e *Export, attr *export.Attr) (h []byte, ok bool) {
	if s.pseudo == nil || e.Pseudo() {
		return nil, false
	}
	n := s.pseudo.byPath[e.Path]
	n.attr(attr)
	return n.handle, true
}

// ParentOfRoot returns the pseudo directory that holds the mount point of e;
// ok is false if e is the root itself.
func (s *Set) ParentOfRoot(e *Export) (h []byte, ok bool) {
	if s.pseudo == nil || e.Pseudo() {
		return nil, false
	}
	return s.pseudo.byPath[e.Path].parent.handle, true
}

const (
	sealVersion = 1
	sealBytes   = 8
	headerBytes = 5
)

// Seal appends the filehandle of object h of e to dst.
func (s *Set) Seal(dst []byte, e *Export, h []byte) []byte {
	at := len(dst)
	dst = append(dst, sealVersion)
	dst = binary.BigEndian.AppendUint32(dst, e.ID)
	dst = append(dst, h...)
	return binary.BigEndian.AppendUint64(dst, siphash.Hash(s.k0, s.k1, dst[at:]))
}

// Open returns what a filehandle names. The handle aliases fh. The error is
// export.ErrBadHandle, or export.ErrStale for an export that is no more.
func (s *Set) Open(fh []byte) (*Export, []byte, error) {
	if len(fh) <= headerBytes+sealBytes || len(fh) > headerBytes+export.MaxHandle+sealBytes || fh[0] != sealVersion {
		return nil, nil, export.ErrBadHandle
	}
	body := fh[:len(fh)-sealBytes]
	if siphash.Hash(s.k0, s.k1, body) != binary.BigEndian.Uint64(fh[len(body):]) {
		return nil, nil, export.ErrBadHandle
	}
	e := s.byID[binary.BigEndian.Uint32(fh[1:])]
	if e == nil {
		return nil, nil, export.ErrStale
	}
	return e, body[headerBytes:], nil
}
