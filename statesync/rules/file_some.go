package rules

import (
	"holdfast/durable"
)

// IOParts returns the names of the parts that say whether I/O with a stateid may go on: the head, and the open or lock that it
// stands for. Of a lock the open is needed too: OpenPart.
func IOParts(other Other) []string {
	return []string{"", partName(partOpen, other), partName(partLock, other)}
}

// OpenPart returns the name of the part of the open that a lock among the parts hangs on, "" if there is no lock.
func OpenPart(parts []durable.Part) string {
	for i := range parts {
		if kindOf(&parts[i]) == partLock {
			r := partReader{name: parts[i].Name, rest: parts[i].Value}
			r.byte() // format
			return partName(partOpen, r.lock().open)
		}
	}
	return ""
}
