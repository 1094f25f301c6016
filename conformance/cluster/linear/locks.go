package linear

import "fmt"

// Bytes is how many bytes of a file the model of locks knows, and Owners how many lock owners.
const (
	Bytes  = 8
	Owners = 16
)

// What a LockOp does.
const (
	LockRead  = "read lock"
	LockWrite = "write lock"
	Unlock    = "unlock"
	TestRead  = "test for a read lock"
	TestWrite = "test for a write lock"
)

// A LockOp is LOCK, LOCKU or LOCKT on the bytes From to To, exclusively, of a file. Each owner has the locks of one client.
type LockOp struct {
	File     string
	Owner    int
	Do       string
	From, To int

	// Denied says that the answer was NFS4ERR_DENIED, because of a lock that another owner has.
	Denied  bool
	Because Held
}

// Held is the lock that an answer names: of an owner, on bytes, as far as the model knows them.
type Held struct {
	Owner    int
	Write    bool
	From, To int
}

func (o LockOp) object() string { return "locks of " + o.File }

// String tells the operation and its result.
func (o LockOp) String() string {
	result := "ok"
	if o.Denied {
		kind := "reads"
		if o.Because.Write {
			kind = "writes"
		}
		result = fmt.Sprintf("denied, owner %d %s [%d,%d)", o.Because.Owner, kind, o.Because.From, o.Because.To)
	}
	return fmt.Sprintf("owner %d: %s [%d,%d) of %s: %s", o.Owner, o.Do, o.From, o.To, o.File, result)
}

// lockTable is who has which byte: bit 2·owner to read, bit 2·owner+1 to write.
type lockTable [Bytes]uint32

func readBit(owner int) uint32  { return 1 << (2 * owner) }
func writeBit(owner int) uint32 { return 2 << (2 * owner) }

const everyWriter = 0xaaaaaaaa

// inTheWay says whether a byte is locked against an owner.
func inTheWay(b uint32, owner int, write bool) bool {
	others := b &^ (readBit(owner) | writeBit(owner))
	if write {
		return others != 0
	}
	return others&everyWriter != 0
}

func (o LockOp) step(state any) (bool, any) {
	t, _ := state.(lockTable)
	write := o.Do == LockWrite || o.Do == TestWrite
	conflict := false
	for i := o.From; i < o.To; i++ {
		conflict = conflict || inTheWay(t[i], o.Owner, write)
	}
	switch {
	case o.Do == Unlock:
		conflict = false
	case o.Denied != conflict:
		return false, state
	case o.Denied:
		return o.reason(&t, write), t
	case o.Do == TestRead || o.Do == TestWrite:
		return true, t
	}
	for i := o.From; i < o.To; i++ {
		t[i] &^= readBit(o.Owner) | writeBit(o.Owner)
		switch o.Do {
		case LockRead:
			t[i] |= readBit(o.Owner)
		case LockWrite:
			t[i] |= writeBit(o.Owner)
		}
	}
	return !o.Denied, t
}

// reason says whether the lock that the answer names is there and in the way.
func (o LockOp) reason(t *lockTable, write bool) bool {
	h := o.Because
	if h.Owner == o.Owner || !write && !h.Write || h.From >= o.To || h.To <= o.From || h.From >= h.To {
		return false
	}
	bit := readBit(h.Owner)
	if h.Write {
		bit = writeBit(h.Owner)
	}
	for i := h.From; i < h.To; i++ {
		if t[i]&bit == 0 {
			return false
		}
	}
	return true
}
