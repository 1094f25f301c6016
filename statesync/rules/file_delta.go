package rules

import "holdfast/durable"

// A Delta is what a rule changes of a File: parts to put and parts to delete.
// A nil Delta changes nothing.
type Delta struct {
	head       headChange
	opened     int // how many of putOpens are new
	dropRanges []rangeKey
	dropLocks  []gone
	dropOpens  []gone
	putOpens   []openRecord
	putLocks   []lockRecord
	putRanges  []rangeRecord
	made       []gone // the stateids that are new
	more       int    // ranges of the client that asked

	// Where the slices begin: a usual change takes no more.
	room struct {
		lock   [1]lockRecord
		ranges [2]rangeRecord
		drop   [2]rangeKey
	}
}

// gone is a stateid and its client.
type gone struct {
	other  Other
	client ClientID
}

type headChange uint8

const (
	headKept headChange = iota
	headPut
	headDrop
)

func newDelta() *Delta {
	d := &Delta{}
	d.putLocks = d.room.lock[:0]
	d.putRanges = d.room.ranges[:0]
	d.dropRanges = d.room.drop[:0]
	return d
}

// done completes a change with what it means to the head.
func (f *File) done(d *Delta) *Delta {
	opens := f.opens.len() + d.opened - len(d.dropOpens)
	switch {
	case opens > 0 && !f.head:
		d.head = headPut
	case opens == 0 && f.head:
		d.head = headDrop
	}
	return d
}

// Writes appends the change, as writes to the parts of the group with this key.
// Every part is written at most once.
func (d *Delta) Writes(ws []durable.Write, key string) []durable.Write {
	if d == nil {
		return ws
	}
	del := func(name string) { ws = append(ws, durable.Write{Key: key, Name: name}) }
	put := func(name string, value []byte) {
		ws = append(ws, durable.Write{Key: key, Name: name, Value: value})
	}
	switch d.head {
	case headPut:
		put("", encodeHead())
	case headDrop:
		del("")
	}
	for _, k := range d.dropRanges {
		del(k.part())
	}
	for _, k := range d.dropLocks {
		del(partName(partLock, k.other))
	}
	for _, k := range d.dropOpens {
		del(partName(partOpen, k.other))
	}
	for i := range d.putOpens {
		put(partName(partOpen, d.putOpens[i].other), d.putOpens[i].encode())
	}
	for i := range d.putLocks {
		put(partName(partLock, d.putLocks[i].other), d.putLocks[i].encode())
	}
	for i := range d.putRanges {
		put(d.putRanges[i].part(), d.putRanges[i].encode())
	}
	return ws
}

// Stateids calls fn for every stateid that the change makes or drops.
func (d *Delta) Stateids(fn func(c ClientID, other Other, made bool)) {
	if d == nil {
		return
	}
	for _, k := range d.made {
		fn(k.client, k.other, true)
	}
	for _, k := range d.dropLocks {
		fn(k.client, k.other, false)
	}
	for _, k := range d.dropOpens {
		fn(k.client, k.other, false)
	}
}

// Len returns how many parts the change writes.
func (d *Delta) Len() int {
	if d == nil {
		return 0
	}
	n := len(d.dropRanges) + len(d.dropLocks) + len(d.dropOpens) +
		len(d.putOpens) + len(d.putLocks) + len(d.putRanges)
	if d.head != headKept {
		n++
	}
	return n
}

// RangesMore returns by how many locked ranges the client that asked has more
// (negative: less) on this file. Those of dead clients that the change drops do
// not count.
func (d *Delta) RangesMore() int {
	if d == nil {
		return 0
	}
	return d.more
}

// The changes as a rule notes them.

func (d *Delta) addOpen(r openRecord, made bool) {
	d.putOpens = append(d.putOpens, r)
	if made {
		d.opened++
		d.made = append(d.made, gone{r.other, r.owner.client})
	}
}

func (d *Delta) addLock(r lockRecord, made bool) {
	d.putLocks = append(d.putLocks, r)
	if made {
		d.made = append(d.made, gone{r.other, r.owner.client})
	}
}

// addRange puts a range; replaces says that one with the same key is there and
// not cut.
func (d *Delta) addRange(other Other, start, last uint64, write, replaces bool) {
	if !replaces {
		d.more++
	}
	d.putRanges = append(d.putRanges, rangeRecord{rangeKey{other, start}, last, write})
}

func (d *Delta) cutRange(s *span) {
	d.more--
	d.dropRanges = append(d.dropRanges, rangeKey{s.lock.other, s.start})
}

// cutLock drops a lock stateid with its ranges.
func (d *Delta) cutLock(l *lockState) {
	if l.ranges > 0 {
		within(l.owner.ranges, 0, maxOffset, func(s *span) {
			if s.lock == l {
				d.cutRange(s)
			}
		})
	}
	d.dropLocks = append(d.dropLocks, gone{l.other, l.owner.client})
}

// cutOpen drops an open with all that hangs on it.
func (d *Delta) cutOpen(o *open) {
	for l := o.locks; l != nil; l = l.next {
		d.cutLock(l)
	}
	d.dropOpens = append(d.dropOpens, gone{o.other, o.owner.client})
}

func (f *File) cutClient(d *Delta, c ClientID) {
	if fc := f.clients.get(c, fileClientKey); fc != nil {
		for o := fc.opens; o != nil; o = o.next {
			d.cutOpen(o)
		}
	}
}

// cutDead drops all that dead clients have on the file.
func (f *File) cutDead(d *Delta, dead []ClientID) {
	more := d.more
	for _, c := range dead {
		f.cutClient(d, c)
	}
	d.more = more
}
