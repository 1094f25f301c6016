package linear

import "fmt"

// What an OpenOp does.
const (
	Open      = "open"
	Downgrade = "downgrade"
	Close     = "close"
)

// An OpenOp is OPEN of a file that exists, OPEN_DOWNGRADE or CLOSE. What an owner opens twice it has open once, with all
// access and deny of both.
type OpenOp struct {
	File         string
	Owner        int
	Do           string
	Access, Deny uint32 // 1 reading, 2 writing

	Refused bool // NFS4ERR_SHARE_DENIED
}

func (o OpenOp) object() string { return "opens of " + o.File }

// String tells the operation and its result.
func (o OpenOp) String() string {
	result := "ok"
	if o.Refused {
		result = "refused"
	}
	return fmt.Sprintf("owner %d: %s of %s, access %d, deny %d: %s", o.Owner, o.Do, o.File, o.Access, o.Deny, result)
}

// openTable is access and deny of each owner: no access is not open.
type openTable [Owners]struct{ access, deny uint8 }

func (o OpenOp) step(state any) (bool, any) {
	t, _ := state.(openTable)
	mine := &t[o.Owner]
	access, deny := uint8(o.Access), uint8(o.Deny)
	switch o.Do {
	case Close:
		if mine.access == 0 {
			return false, state
		}
		*mine = openTable{}[0]
		return true, t
	case Downgrade:
		if access&^mine.access != 0 || deny&^mine.deny != 0 {
			return false, state
		}
		mine.access, mine.deny = access, deny
		return true, t
	}
	conflict := false
	for _, open := range t { // its own, too (RFC 8881 §9.7)
		conflict = conflict || access&open.deny != 0 || deny&open.access != 0
	}
	if o.Refused || conflict {
		return o.Refused == conflict, t
	}
	mine.access |= access
	mine.deny |= deny
	return true, t
}
