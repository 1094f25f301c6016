package statesync

import (
	"fmt"

	"holdfast/durable"
	"holdfast/internal/xdr"
)

// Peers is the channel between the gateways of a cluster. What goes over it is
// low in the table of priorities: none of it is needed, and all of it may be
// lost, late or there twice.
type Peers interface {
	// Publish sends a message to all other gateways. It never waits: what
	// cannot be sent is dropped and counted. The channel keeps msg. It may be
	// called from any number of goroutines.
	Publish(msg []byte)

	// Subscribe has fn called with each message of another gateway, those of
	// one sender in the order in which they were sent. A nil msg says that some
	// of the sender's were lost. fn is called by one goroutine at a time, must
	// not wait for the channel, and may keep msg. It is called once.
	Subscribe(fn func(from string, msg []byte)) error
}

// A message begins with its format and its kind:
//
//	renewed  u32 format · u32 1 · n × u64 client        clients heard of just now
//	ended    u32 format · u32 2 · u64 version           "ended" has, or will have, this version; 0: another one
//	carried  u32 format · u32 3 · u64 instance · u64 version   this gateway carried out "ended" up to here
//	file     u32 format · u32 4 · opaque file · u64 version · u64 client · u32 n
//	         · n × (opaque part · u32 there · opaque value)    what the commit wrote
//	alive    u32 format · u32 5 · u64 instance          this gateway runs
//	leaving  u32 format · u32 6 · u64 instance          it left in good order
//	died     u32 format · u32 7 · u64 instance          the sender declared this instance of another one dead
//	ask      u32 format · u32 8 · u64 instance · u64 number   this gateway asks the others to vouch for it
//	vouch    u32 format · u32 9 · u64 instance · opaque gateway · u64 its instance · u64 number
//	                                                    the answer to its question of that number
//	closed   u32 format · u32 10 · opaque file          nothing is open on the file any more
//	slot-ask   u32 format · u32 11 · u64 instance · n × (u64 number · sessionid · u32 slot)
//	slot-tell  u32 format · u32 12 · opaque gateway · u64 its instance · n × (u64 its number
//	           · u32 sequence · u64 checksum · u32 running · u32 kept · opaque reply · u64 instance)
//	joined   u32 format · u32 13 · u64 instance         the sender is about to serve: who knows of it?
//	known    u32 format · u32 14 · u64 instance · opaque gateway · u64 its instance   the sender does
type messageKind uint32

const (
	msgRenewed messageKind = 1 + iota
	msgEnded
	msgCarried
	msgFile
	msgAlive
	msgLeaving
	msgDied
	msgAsk
	msgVouch
	msgClosed
	msgSlotAsk
	msgSlotTell
	msgJoined
	msgKnown
)

const (
	messageFormat = 1

	// maxWarm bounds the writes of a commit that are sent; of a larger one the
	// peers are told only that it was.
	maxWarm = 256

	// maxMessage bounds a message in bytes, so that every channel takes it.
	maxMessage = 256 << 10
)

func (k messageKind) String() string {
	switch k {
	case msgRenewed:
		return "renewed"
	case msgEnded:
		return "ended"
	case msgCarried:
		return "carried"
	case msgFile:
		return "file"
	case msgAlive:
		return "alive"
	case msgLeaving:
		return "leaving"
	case msgDied:
		return "died"
	case msgAsk:
		return "ask"
	case msgVouch:
		return "vouch"
	case msgClosed:
		return "closed"
	case msgSlotAsk:
		return "slot-ask"
	case msgSlotTell:
		return "slot-tell"
	case msgJoined:
		return "joined"
	case msgKnown:
		return "known"
	}
	return fmt.Sprintf("message kind %d", uint32(k))
}

// encodeMessage makes a message of numbers, which most are.
func encodeMessage(kind messageKind, numbers ...uint64) []byte {
	w := xdr.NewWriter(make([]byte, 0, 8+8*len(numbers)))
	w.Uint32(messageFormat)
	w.Uint32(uint32(kind))
	for _, v := range numbers {
		w.Uint64(v)
	}
	return w.Bytes()
}

func encodeClosed(f FileKey) []byte {
	w := xdr.NewWriter(make([]byte, 0, 16+len(f)))
	w.Uint32(messageFormat)
	w.Uint32(uint32(msgClosed))
	w.String(string(f))
	return w.Bytes()
}

// A warm is what a commit wrote to the group of a file.
type warm struct {
	file    FileKey
	version uint64 // after it
	client  ClientID
	writes  []durable.Write // none: too many to tell
}

func (m *warm) encode() []byte {
	size := 64 + len(m.file)
	for i := range m.writes {
		size += 16 + len(m.writes[i].Name) + len(m.writes[i].Value) + 6
	}
	writes := m.writes
	if len(writes) > maxWarm || size > maxMessage {
		writes = nil
	}
	w := xdr.NewWriter(make([]byte, 0, min(size, maxMessage)))
	w.Uint32(messageFormat)
	w.Uint32(uint32(msgFile))
	w.String(string(m.file))
	w.Uint64(m.version)
	w.Uint64(uint64(m.client))
	w.Uint32(uint32(len(writes)))
	for i := range writes {
		w.String(writes[i].Name)
		w.Bool(writes[i].Value != nil)
		w.Opaque(writes[i].Value)
	}
	return w.Bytes()
}

func decodeWarm(r *xdr.Reader) (*warm, error) {
	m := &warm{file: FileKey(r.Opaque(durable.MaxKey)), version: r.Uint64(), client: ClientID(r.Uint64())}
	for range r.Count(maxWarm, 12) {
		w := durable.Write{Name: string(r.Opaque(durable.MaxName))}
		there := r.Bool()
		value := r.Opaque(maxMessage)
		if there {
			w.Value = append([]byte{}, value...)
		}
		m.writes = append(m.writes, w)
	}
	if r.Err() != nil || r.Remaining() > 0 {
		return nil, fmt.Errorf("%w: message about a file", durable.ErrDamaged)
	}
	return m, nil
}
