package statesync

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// The groups of the store. Ids are in hexadecimal, so that they have one length
// and a prefix names exactly one client's or session's groups.
const (
	keyCluster    = "cluster"
	prefixGateway = "gateway/"
	prefixClient  = "client/"
	prefixGone    = "gone/"
	prefixIdent   = "ident/"
	prefixSession = "session/"
	prefixSlot    = "slot/"
	prefixFile    = "file/"
	prefixStates  = "states/"
	prefixOwner   = "owner/"
	prefixDRC     = "drc/"
	prefixName    = "name/" // as rules.Name.Key makes it
)

// partHead is the part of a group's main record.
const partHead = ""

func hexID(prefix string, id ClientID) string {
	b := make([]byte, 0, 40)
	b = append(b, prefix...)
	return string(appendID(b, id))
}

func appendID(b []byte, id ClientID) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[id>>shift&15])
	}
	return b
}

func clientKey(id ClientID) string { return hexID(prefixClient, id) }
func goneKey(id ClientID) string   { return hexID(prefixGone, id) }
func statesKey(id ClientID) string { return hexID(prefixStates, id) }

// clientOf returns the client that a key made by hexID names.
func clientOf(prefix, key string) (ClientID, bool) {
	if len(key) != len(prefix)+16 {
		return 0, false
	}
	id, err := strconv.ParseUint(key[len(prefix):], 16, 64)
	return ClientID(id), err == nil
}

// identKey names the index record of a client owner. Owners of NFSv4.0 and of
// later versions are different things even if their bytes are the same.
func identKey(minor uint32, owner []byte) string {
	kind := "1/"
	if minor == 0 {
		kind = "0/"
	}
	return prefixIdent + kind + string(owner)
}

// newSessionID makes the ID of a new session. Whose it is it tells to those who have
// to read both.
//
//	u64 client ID · u64 random
func (n *Node) newSessionID(c ClientID) (id nfs4.SessionID) {
	binary.BigEndian.PutUint64(id[:8], uint64(c))
	n.cfg.Random(id[8:])
	return id
}

// sessionClient is the client that a session's ID tells of. The IDs that older programs
// made tell nothing: the session's record decides.
func sessionClient(id nfs4.SessionID) ClientID { return ClientID(binary.BigEndian.Uint64(id[:8])) }

func sessionKey(id nfs4.SessionID) string { return prefixSession + hex.EncodeToString(id[:]) }

func slotKey(id nfs4.SessionID, slot uint32) string {
	b := make([]byte, 0, len(prefixSlot)+32+1+10)
	b = append(b, prefixSlot...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, '/')
	return string(strconv.AppendUint(b, uint64(slot), 10))
}

func fileKey(f FileKey) string { return prefixFile + string(f) }

func ownerKey(c ClientID, kind rules.OwnerKind, owner []byte) string {
	b := make([]byte, 0, len(prefixOwner)+17+len(owner))
	b = append(b, prefixOwner...)
	b = appendID(b, c)
	b = append(b, byte(kind))
	return string(append(b, owner...))
}

// Parts of states/<client>: what a client has, so that it can be found without
// a walk over all files.
const (
	partState = 's' // s<other>: the file of a stateid
	partOwner = 'w' // w<kind><owner>: an owner with a record
	partEnded = 'e' // e<other>: the open owner whose last CLOSE ended this stateid
)

func endedPart(other [nfs4.OtherSize]byte) string {
	return string([]byte{partEnded}) + string(other[:])
}

func statePart(other [nfs4.OtherSize]byte) string {
	var b [1 + nfs4.OtherSize]byte
	b[0] = partState
	copy(b[1:], other[:])
	return string(b[:])
}

func ownerPart(kind rules.OwnerKind, owner []byte) string {
	return string([]byte{partOwner, byte(kind)}) + string(owner)
}
