package rules

import (
	"encoding/binary"

	"holdfast/internal/xdr"
)

// A Name is a directory entry.
type Name struct {
	Dir  FileKey
	Name string
}

// maxNames bounds the names that one operation holds: RENAME has two.
const maxNames = 4

// maxName bounds one name in bytes. File systems stop long before.
const maxName = 1024

// Key returns the key of the group that says who holds the name:
//
//	"name/" u16 length of directory · directory · name
func (n Name) Key() string {
	b := make([]byte, 0, len("name/")+2+len(n.Dir)+len(n.Name))
	b = append(b, "name/"...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(n.Dir)))
	b = append(b, n.Dir...)
	b = append(b, n.Name...)
	return string(b)
}

// Less orders names: whoever takes several takes them in this order.
func (n Name) Less(m Name) bool {
	if n.Dir != m.Dir {
		return n.Dir < m.Dir
	}
	return n.Name < m.Name
}

// Valid says whether the name can be held.
func (n Name) Valid() bool { return len(n.Name) <= maxName && len(n.Dir) <= 1024 }

func (n Name) encode(w *xdr.Writer) {
	w.String(string(n.Dir))
	w.String(n.Name)
}

func (n *Name) decode(r *xdr.Reader) {
	n.Dir = FileKey(r.Opaque(1024))
	n.Name = string(r.Opaque(maxName))
}
