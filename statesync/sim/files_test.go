package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync"
	"holdfast/statesync/rules"
)

var (
	errExist   = errors.New("name exists")
	errNoEnt   = errors.New("no such name")
	errBlocked = errors.New("gateway is fenced from the files")
)

// files is the shared file system: one directory of names, each with the
// identity of what it names.
type files struct {
	mu      sync.Mutex
	names   map[string]uint64
	next    uint64
	made    map[effect]int
	refused map[effect]bool // answered with an error
	members []*gateway
}

// An effect is that of one request.
type effect struct {
	client int
	seq    uint32
}

func newFiles() *files {
	return &files{names: map[string]uint64{}, made: map[effect]int{}, refused: map[effect]bool{}}
}

func (f *files) add(g *gateway) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members = append(f.members, g)
}

// block is what a fence hook does: the file system takes nothing any more from
// those processes of a gateway that the store refuses, however late the hook
// runs.
func (f *files) block(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.members {
		g.w.mu.Lock()
		joined := g.up
		g.w.mu.Unlock()
		if g.name == name && joined && g.w.declaredDead(g) {
			g.blocked = g.w.rule != ruleHook
		}
	}
}

// evidence is what a request's intent records.
func (f *files) evidence(m *request) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, there := f.names[m.name]
	if m.op == nfs4.OpCreate {
		if there {
			return nil, errExist
		}
		return []byte{}, nil
	}
	if !there {
		return nil, errNoEnt
	}
	if _, there := f.names[m.target]; m.op == nfs4.OpRename && there {
		return nil, errExist
	}
	return binary.BigEndian.AppendUint64(nil, id), nil
}

// begins looks at a commit that has just been taken: if an operation is begun by
// it, what it says about the names must be true, or nobody can tell later
// whether it took place.
func (w *world) begins(task string, b *durable.Batch) {
	holds := slices.ContainsFunc(b.Checks, func(x durable.Check) bool { return strings.HasPrefix(x.Key, "name/") })
	for _, x := range b.Writes {
		if !holds || x.Value == nil || !strings.HasPrefix(x.Key, "slot/") {
			continue
		}
		rec, err := rules.DecodeSlot(x.Value)
		if err != nil || rec.Begun == nil || rec.Begun.Settled {
			continue
		}
		in := rec.Begun
		now, err := w.fs.evidence(&request{op: in.Op, name: in.Names[0].Name, target: in.Names[len(in.Names)-1].Name})
		if err != nil || !bytes.Equal(now, in.Evidence) {
			w.violated(task, "G3: %s of %q is begun with evidence that is not true any more: %v", in.Op, in.Names[0].Name, err)
		}
	}
}

func (f *files) resolve(in *statesync.Intent) (statesync.Outcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, there := f.names[in.Names[0].Name]
	took := there
	if in.Op != nfs4.OpCreate {
		took = !there || id != binary.BigEndian.Uint64(in.Evidence)
	}
	if took {
		return statesync.OutcomeDone, nil
	}
	return statesync.OutcomeNotDone, nil
}

// do is the change itself.
func (f *files) do(g *gateway, m *request) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := g.w
	if g.blocked && w.rule != ruleFence {
		return errBlocked
	}
	if w.resolvable(g) {
		w.violated(g.process, "G6: it changes files after it was declared dead: %s", m)
	}
	id, there := f.names[m.name]
	switch {
	case m.op == nfs4.OpCreate && there:
		return errExist
	case m.op != nfs4.OpCreate && !there:
		return errNoEnt
	}
	switch m.op {
	case nfs4.OpCreate:
		f.next++
		f.names[m.name] = f.next
	case nfs4.OpRemove:
		delete(f.names, m.name)
	case nfs4.OpRename:
		if _, there := f.names[m.target]; there {
			return errExist
		}
		delete(f.names, m.name)
		f.names[m.target] = id
	}
	w.note(g.process, "EFFECT of %s", m)
	if f.refused[effect{m.c.index, m.seq}] {
		w.violated(g.process, "G3: %s takes effect after it was refused", m)
	}
	e := effect{m.c.index, m.seq}
	f.made[e]++
	if f.made[e] > 1 {
		w.violated(g.process, "G3: %s took effect %d times", m, f.made[e])
	}
	return nil
}

// effects returns how often a request took effect that is answered now.
func (f *files) effects(m *request, status nfs4.Status) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused[effect{m.c.index, m.seq}] = status != nfs4.OK
	return f.made[effect{m.c.index, m.seq}]
}

func (f *files) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for name := range f.names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// States of a gateway's record: statesync/gatewayrecord.go.
const (
	gatewayServes = 1
	gatewayDead   = 2
)

// declaredDead says whether the store knows that a process may do nothing any
// more, and takes nothing of it.
func (w *world) declaredDead(g *gateway) bool {
	instance, state := w.gatewayRecord(g.name)
	return g.instance != 0 && (instance != g.instance || state != gatewayServes)
}

// resolvable says whether others may resolve what a process had begun. One that is
// only to be fenced may still be in the midst of a change: that it is not is what the
// hook is for.
func (w *world) resolvable(g *gateway) bool {
	instance, state := w.gatewayRecord(g.name)
	return g.instance != 0 && (instance != g.instance || state == gatewayDead)
}

// gatewayRecord reads the store as nobody in the simulation can.
func (w *world) gatewayRecord(name string) (instance uint64, state uint32) {
	groups, err := w.store.Load(w.beyond(), "gateway/"+name)
	if err != nil || len(groups[0].Parts) == 0 {
		return 0, 0
	}
	b := groups[0].Parts[0].Value // format, instance, state: statesync/gatewayrecord.go
	return binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint32(b[12:])
}

func (m *request) String() string {
	what := ""
	switch m.op {
	case nfs4.OpOpen:
		what = fmt.Sprintf("%s access %d deny %d", m.file, m.access, m.deny)
	case nfs4.OpLock, nfs4.OpLockU:
		what = fmt.Sprintf("%s [%d,%d) write %v", m.file, m.from, m.to, m.write)
	case nfs4.OpClose:
		what = string(m.file)
	default:
		what = m.name
		if m.target != "" {
			what += " to " + m.target
		}
	}
	return fmt.Sprintf("%s of c%d, seq %d: %s", m.op, m.c.index, m.seq, what)
}
