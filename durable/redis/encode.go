package redis

import (
	"encoding/binary"
	"strconv"

	"holdfast/durable"
)

// A batch goes to the server-side function as one MessagePack value, which Redis
// reads at once instead of argument by argument:
//
//	[ keys, fence, fence version, [ group, … ] ]
//
//	keys           how many of the call's keys are the batch's
//	fence          which of them is the fence, from 1; 0: none
//	group i        [ check, what, puts, deletes ], its key is the i-th of the batch
//	check          the version demanded, decimal; "" for none
//	what           "w" written, "f" forgotten, "" only checked
//	puts           [ [ field, value, field, value, … ], … ]
//	deletes        [ [ field, … ], … ]
//
// A group occurs once. The writes of a batch are reduced to the last one of
// each part here, which costs the gateway what would else cost the server.

// maxFields bounds one command inside the function: Lua passes no more than
// some 8000 arguments.
const maxFields = 1000

// maxRelease is how many bytes a commit may put that releases something while
// the server's memory is full, as in the embedded store.
const maxRelease = 8 << 10

// pack is a batch on its way to the server.
type pack struct {
	keys  []string // of Redis
	names []string // of the groups, for conflicts
	blob  []byte
	// releases says that the batch may go on while memory is full.
	releases bool
}

func (p *pack) size() int {
	n := len(p.blob)
	for _, key := range p.keys {
		n += len(key)
	}
	return n
}

// member is one group of a batch.
type member struct {
	name    string
	check   string
	written bool
	forgot  bool
	last    map[string]int // the last write of each part, if there are many
	writes  []int          // of the batch, one per part
	dels    int
}

// encode makes a pack of a valid batch. prefix is that of a group's key.
func encode(b *durable.Batch, prefix string) *pack {
	groups := gather(b)
	p := &pack{keys: make([]string, 0, len(groups)+1), names: make([]string, len(groups))}
	size := 64
	puts, releases := 0, len(b.Forget)
	for i := range b.Writes {
		w := &b.Writes[i]
		size += len(w.Name) + len(w.Value) + 12
		if w.Value == nil {
			releases++
		} else {
			puts += len(w.Key) + len(w.Name) + len(w.Value)
		}
	}
	p.releases = puts == 0 || releases > 0 && puts <= maxRelease
	fence := 0
	for i := range groups {
		p.keys = append(p.keys, prefix+groups[i].name)
		p.names[i] = groups[i].name
		size += 32
		if b.Fence.Key == groups[i].name {
			fence = i + 1
		}
	}
	if b.Fence.Key != "" && fence == 0 {
		p.keys = append(p.keys, prefix+b.Fence.Key)
		fence = len(p.keys)
	}
	m := packer{make([]byte, 0, size)}
	m.array(4)
	m.uint(len(p.keys))
	m.uint(fence)
	m.text(strconv.FormatUint(b.Fence.Version, 10))
	m.array(len(groups))
	for i := range groups {
		m.group(b, &groups[i])
	}
	p.blob = m.b
	return p
}

// manyGroups is from where on a map finds a group faster than a look at all.
const manyGroups = 16

// gather reduces a batch to its groups.
func gather(b *durable.Batch) []member {
	groups := make([]member, 0, len(b.Checks)+2)
	var index map[string]int
	refer := func(name string) *member {
		if index != nil {
			if i, ok := index[name]; ok {
				return &groups[i]
			}
		} else {
			for i := range groups {
				if groups[i].name == name {
					return &groups[i]
				}
			}
		}
		groups = append(groups, member{name: name})
		if index != nil {
			index[name] = len(groups) - 1
		} else if len(groups) > manyGroups {
			index = make(map[string]int, 4*manyGroups)
			for i := range groups {
				index[groups[i].name] = i
			}
		}
		return &groups[len(groups)-1]
	}
	for _, c := range b.Checks {
		g, want := refer(c.Key), strconv.FormatUint(c.Version, 10)
		if g.check != "" && g.check != want {
			want = "never" // two versions at once
		}
		g.check = want
	}
	for i := range b.Writes {
		refer(b.Writes[i].Key).write(b.Writes, i)
	}
	for _, name := range b.Forget {
		refer(name).forgot = true
	}
	return groups
}

// write notes that write i of a batch is of this group.
func (g *member) write(writes []durable.Write, i int) {
	g.written = true
	name := writes[i].Name
	if g.last == nil {
		for k, j := range g.writes {
			if writes[j].Name == name {
				g.replace(writes, k, i)
				return
			}
		}
	} else if k, ok := g.last[name]; ok {
		g.replace(writes, k, i)
		return
	}
	g.writes = append(g.writes, i)
	if writes[i].Value == nil {
		g.dels++
	}
	if g.last != nil {
		g.last[name] = len(g.writes) - 1
	} else if len(g.writes) > manyGroups {
		g.last = make(map[string]int, 4*manyGroups)
		for k, j := range g.writes {
			g.last[writes[j].Name] = k
		}
	}
}

func (g *member) replace(writes []durable.Write, k, i int) {
	if writes[g.writes[k]].Value == nil {
		g.dels--
	}
	if writes[i].Value == nil {
		g.dels++
	}
	g.writes[k] = i
}

// packer appends MessagePack values.
type packer struct{ b []byte }

func (m *packer) array(n int) {
	switch {
	case n < 16:
		m.b = append(m.b, 0x90|byte(n))
	case n < 1<<16:
		m.b = binary.BigEndian.AppendUint16(append(m.b, 0xdc), uint16(n))
	default:
		m.b = binary.BigEndian.AppendUint32(append(m.b, 0xdd), uint32(n))
	}
}

func (m *packer) uint(n int) {
	if n < 128 {
		m.b = append(m.b, byte(n))
	} else {
		m.b = binary.BigEndian.AppendUint32(append(m.b, 0xce), uint32(n))
	}
}

func (m *packer) length(n int) {
	switch {
	case n < 32:
		m.b = append(m.b, 0xa0|byte(n))
	case n < 1<<8:
		m.b = append(m.b, 0xd9, byte(n))
	case n < 1<<16:
		m.b = binary.BigEndian.AppendUint16(append(m.b, 0xda), uint16(n))
	default:
		m.b = binary.BigEndian.AppendUint32(append(m.b, 0xdb), uint32(n))
	}
}

func (m *packer) text(s string) {
	m.length(len(s))
	m.b = append(m.b, s...)
}

// field is the field of a part in its group's hash.
func (m *packer) field(name string) {
	m.length(1 + len(name))
	m.b = append(m.b, fieldPart)
	m.b = append(m.b, name...)
}

func (m *packer) value(v []byte) {
	m.length(len(v))
	m.b = append(m.b, v...)
}

func (m *packer) group(b *durable.Batch, g *member) {
	m.array(4)
	m.text(g.check)
	switch {
	case g.forgot:
		m.text("f")
		m.array(0)
		m.array(0)
		return
	case !g.written:
		m.text("")
		m.array(0)
		m.array(0)
		return
	}
	m.text("w")
	m.lists(len(g.writes)-g.dels, 2, g.writes, func(i int) bool {
		w := &b.Writes[i]
		if w.Value != nil {
			m.field(w.Name)
			m.value(w.Value)
		}
		return w.Value != nil
	})
	m.lists(g.dels, 1, g.writes, func(i int) bool {
		w := &b.Writes[i]
		if w.Value == nil {
			m.field(w.Name)
		}
		return w.Value == nil
	})
}

// lists appends n of the writes, those that put says it has appended, in lists
// of a bounded length; each of them has width elements.
func (m *packer) lists(n, width int, writes []int, put func(int) bool) {
	m.array((n + maxFields - 1) / maxFields)
	at := 0
	for done := 0; done < n; {
		some := min(n-done, maxFields)
		m.array(some * width)
		for ; some > 0; at++ {
			if put(writes[at]) {
				some--
				done++
			}
		}
	}
}
