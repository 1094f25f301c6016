package exporttest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"holdfast/export"
)

var modelChecks = []check{
	{name: "random changes agree with a map of names to objects", run: func(e *env) {
		for seed := range uint64(6) {
			runModel(e, rand.New(rand.NewPCG(seed, 99)), 500)
		}
	}},
}

// A node is an object of the model.
type node struct {
	kind    export.FileType
	content string
	target  string
	handle  string
	names   map[string]*node // of a directory
	parent  *node
	links   int
}

// model is a tree that is right because it is simple.
type model struct {
	*env
	rnd  *rand.Rand
	root *node
	dirs []*node
	gone []string // handles of what is no more
}

func runModel(e *env, rnd *rand.Rand, steps int) {
	top := e.dir(e.root(), fmt.Sprint("model", rnd.Uint32()))
	m := &model{env: e, rnd: rnd, root: &node{kind: export.Directory, handle: string(top), names: map[string]*node{}}}
	m.dirs = []*node{m.root}
	_, noLinks := e.cfg.Lacks[HardLinks]
	for i := range steps {
		switch op := rnd.IntN(12); {
		case op < 4:
			m.makeOne()
		case op < 6:
			m.removeOne()
		case op < 9:
			m.renameOne()
		case op < 10 && !noLinks:
			m.linkOne()
		default:
			m.writeOne()
		}
		if i%50 == 49 {
			m.compare(m.root)
			if e.Reopen != nil && rnd.IntN(3) == 0 {
				e.reopen()
			}
		}
	}
	m.compare(m.root)
	for _, h := range m.gone {
		var a export.Attr
		e.want(e.FS.Getattr([]byte(h), &a), "getattr of what was removed", export.ErrStale)
	}
}

func (m *model) dir() *node { return m.dirs[m.rnd.IntN(len(m.dirs))] }

func (m *model) name() string {
	return string(rune('a'+m.rnd.IntN(8))) + []string{"", "b", "bc"}[m.rnd.IntN(3)]
}

// pick chooses a name that is in a directory, or now and then any.
func (m *model) pick(d *node) string {
	if len(d.names) == 0 || m.rnd.IntN(10) == 0 {
		return m.name()
	}
	names := slices.Sorted(maps.Keys(d.names))
	return names[m.rnd.IntN(len(names))]
}

func (m *model) agree(what string, err error, wanted ...error) bool {
	m.Helper()
	if len(wanted) == 0 {
		m.must(err, "%s", what)
		return true
	}
	m.want(err, what, wanted...)
	return false
}

func (m *model) makeOne() {
	d, name := m.dir(), m.name()
	kinds := []export.FileType{export.Regular, export.Directory, export.Symlink}
	if _, lacks := m.cfg.Lacks[Symlinks]; lacks {
		kinds = kinds[:2]
	}
	kind := kinds[m.rnd.IntN(len(kinds))]
	target := ""
	if kind == export.Symlink {
		target = m.name()
	}
	h, _, _, err := m.m.Make(m.owner(), []byte(d.handle), name, &export.MakeArgs{Type: kind, Target: target}, false, nil)
	if d.names[name] != nil {
		m.agree("make", err, export.ErrExist)
		return
	}
	if m.agree("make", err) {
		n := &node{kind: kind, target: target, handle: string(h), links: 1}
		if kind == export.Directory {
			n.names, n.parent = map[string]*node{}, d
			m.dirs = append(m.dirs, n)
		}
		d.names[name] = n
	}
}

func (m *model) drop(n *node) {
	if n.links--; n.links > 0 {
		return
	}
	m.gone = append(m.gone, n.handle)
	if n.kind == export.Directory {
		m.dirs = slices.DeleteFunc(m.dirs, func(d *node) bool { return d == n })
	}
}

func (m *model) removeOne() {
	d := m.dir()
	name := m.pick(d)
	n := d.names[name]
	_, err := m.m.Remove(m.owner(), []byte(d.handle), name)
	switch {
	case n == nil:
		m.agree("remove", err, export.ErrNotExist)
	case len(n.names) > 0:
		m.agree("remove", err, export.ErrNotEmpty)
	default:
		m.agree("remove", err)
		delete(d.names, name)
		m.drop(n)
	}
}

func (m *model) renameOne() {
	from, to := m.dir(), m.dir()
	oldName, newName := m.pick(from), m.pick(to)
	if m.rnd.IntN(2) == 0 {
		newName = m.name()
	}
	n, target := from.names[oldName], to.names[newName]
	_, _, err := m.m.Rename(m.owner(), []byte(from.handle), oldName, []byte(to.handle), newName)
	inside := false
	for d := to; d != nil; d = d.parent {
		inside = inside || d == n
	}
	switch {
	case n == nil:
		m.agree("rename of nothing", err, export.ErrNotExist)
	case n == target:
		m.agree("rename to itself", err)
	case inside && n.kind == export.Directory:
		m.agree("rename into itself", err, export.ErrInval)
	case target != nil && contains(target, from):
		m.agree("rename over what holds it", err, export.ErrNotEmpty, export.ErrExist)
	case target != nil && (target.kind == export.Directory) != (n.kind == export.Directory):
		m.agree("rename to another kind", err, export.ErrExist)
	case target != nil && len(target.names) > 0:
		m.agree("rename over entries", err, export.ErrNotEmpty)
	default:
		m.agree("rename", err)
		delete(from.names, oldName)
		if target != nil {
			m.drop(target)
		}
		to.names[newName] = n
		if n.kind == export.Directory {
			n.parent = to
		}
	}
}

// contains says whether d is n or below it.
func contains(n, d *node) bool {
	for ; d != nil; d = d.parent {
		if d == n {
			return true
		}
	}
	return false
}

func (m *model) linkOne() {
	from, to := m.dir(), m.dir()
	n := from.names[m.pick(from)]
	if n == nil || n.kind == export.Directory {
		return
	}
	name := m.name()
	_, err := m.m.Link(m.owner(), []byte(n.handle), []byte(to.handle), name)
	if to.names[name] != nil {
		m.agree("link", err, export.ErrExist)
		return
	}
	if m.agree("link", err) {
		to.names[name] = n
		n.links++
	}
}

func (m *model) writeOne() {
	d := m.dir()
	n := d.names[m.pick(d)]
	if n == nil || n.kind != export.Regular {
		return
	}
	f, err := m.FS.Open(m.owner(), []byte(n.handle), export.OpenRead|export.OpenWrite)
	m.must(err, "open")
	defer f.Close()
	text := fmt.Sprint("text ", m.rnd.Uint32N(1000))
	m.must(m.m.Setattr(m.owner(), []byte(n.handle), f, &export.SetAttr{Size: ptr(uint64(0))}), "truncate")
	_, err = f.WriteAt([]byte(text), 0)
	m.must(err, "write")
	n.content = text
}

// compare checks a directory and all below it.
func (m *model) compare(d *node) {
	m.Helper()
	got := m.entries([]byte(d.handle), 7)
	if !slices.Equal(names(got), slices.Sorted(maps.Keys(d.names))) {
		m.Fatalf("has %v, want %v", names(got), slices.Sorted(maps.Keys(d.names)))
	}
	for _, entry := range got {
		n := d.names[entry.Name]
		if string(entry.Handle) != n.handle || entry.Attr.Type != n.kind {
			m.Fatalf("%s is another object", entry.Name)
		}
		if _, noLinks := m.cfg.Lacks[HardLinks]; !noLinks && n.kind == export.Regular && int(entry.Attr.Nlink) != n.links {
			m.Fatalf("%s has %d links, want %d", entry.Name, entry.Attr.Nlink, n.links)
		}
		switch n.kind {
		case export.Regular:
			if c := m.content(entry.Handle); c != n.content {
				m.Fatalf("%s: content %q, want %q", entry.Name, c, n.content)
			}
		case export.Symlink:
			if target, err := m.FS.Readlink(m.owner(), entry.Handle); err != nil || target != n.target {
				m.Fatalf("%s: target %q %v, want %q", entry.Name, target, err, n.target)
			}
		case export.Directory:
			parent, err := m.FS.Parent(m.owner(), entry.Handle)
			m.must(err, "parent")
			if string(parent) != d.handle {
				m.Fatalf("%s has another parent", entry.Name)
			}
			m.compare(n)
		}
	}
}
