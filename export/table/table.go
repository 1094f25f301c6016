// Package table remembers where the objects of a file system are, for file
// systems that cannot open an object by a handle: by which names in which
// directories an object was last seen. Objects and directories are named by
// keys, which the caller makes.
//
// With a path it is kept on disk as a log, written through at each change, so
// that a killed process loses nothing, and synced within a second; after a
// crash of the host what was learnt in the last second may be missing.
//
//	file:    "HFTABLE1" record…
//	record:  ┌─────────┬──────┬────────┬───────────┬─────────┬──────────┬─────┬────────┬──────┐
//	         │ crc32c  │ kind │ keylen │ parentlen │ namelen │ reserved │ key │ parent │ name │
//	         │ 4 bytes │ 1    │ 1      │ 1         │ 2       │ 1        │     │        │      │
//	         └─────────┴──────┴────────┴───────────┴─────────┴──────────┴─────┴────────┴──────┘
//
// The sum is over all that follows it. Kind 1 adds a name of an object, kind 2
// takes the name in the parent away (the key is empty), and so does kind 1 with
// a name that another object had. A record cut short at the end of the file is
// what a crash leaves, and is dropped; a wrong sum before the end is damage.
package table

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Limits of a table.
const (
	MaxKey  = 64  // bytes
	MaxName = 255 // bytes

	// MaxNames is how many names of one object are remembered; more are not, so
	// that an object can be lost if all of these are removed.
	MaxNames = 64

	maxDepth = 8192
)

// A Key names an object.
type Key string

type link struct {
	parent Key
	name   string
}

// Table is such a memory. Its methods may be called from any number of
// goroutines.
type Table struct {
	mu    sync.RWMutex
	names map[Key][]link
	child map[link]Key
	log   *log // nil: in memory only
}

// Open opens the table in the file at path, which is made if need be; with an
// empty path the table is in memory. One process at a time may have it open.
func Open(path string) (*Table, error) {
	t := &Table{names: make(map[Key][]link), child: make(map[link]Key)}
	if path == "" {
		return t, nil
	}
	var err error
	if t.log, err = openLog(path, t.apply); err != nil {
		return nil, fmt.Errorf("handle table %s: %w", path, err)
	}
	if t.log.records > 2*len(t.child)+1024 {
		if err := t.compact(); err != nil {
			t.log.close()
			return nil, fmt.Errorf("handle table %s: %w", path, err)
		}
	}
	return t, nil
}

// Close syncs and closes the table.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log == nil {
		return nil
	}
	return t.log.close()
}

// Len is the number of names in the table.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.child)
}

// errTooLong is for keys and names beyond the limits.
var errTooLong = errors.New("handle table: key or name too long")

// Put remembers that the object key has a name in parent. Another object that
// had it has lost it.
func (t *Table) Put(key, parent Key, name string) error {
	at := link{parent, name}
	t.mu.RLock()
	known := t.child[at] == key && key != ""
	t.mu.RUnlock()
	if known {
		return nil
	}
	if key == "" || len(key) > MaxKey || len(parent) > MaxKey || len(name) > MaxName {
		return errTooLong
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.change(record{kindAdd, key, parent, name})
}

// Remove forgets a name.
func (t *Table) Remove(parent Key, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.child[link{parent, name}]; !ok {
		return nil
	}
	return t.change(record{kindDrop, "", parent, name})
}

// Rename moves what has name from in fromParent to the name to in toParent.
func (t *Table) Rename(fromParent Key, from string, toParent Key, to string) error {
	if len(toParent) > MaxKey || len(to) > MaxName {
		return errTooLong
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key, ok := t.child[link{fromParent, from}]
	if !ok {
		if _, ok := t.child[link{toParent, to}]; ok { // what it was is not known
			return t.change(record{kindDrop, "", toParent, to})
		}
		return nil
	}
	// The new name first: a crash between the two leaves one too many.
	if err := t.change(record{kindAdd, key, toParent, to}); err != nil {
		return err
	}
	return t.change(record{kindDrop, "", fromParent, from})
}

// Child is the object that was last seen as name in parent.
func (t *Table) Child(parent Key, name string) (Key, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	key, ok := t.child[link{parent, name}]
	return key, ok
}

// Known says whether key has a name.
func (t *Table) Known(key Key) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.names[key]) > 0
}

// ParentOf is the directory of the name of key that was put last.
func (t *Table) ParentOf(key Key) (Key, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	l := t.names[key]
	if len(l) == 0 {
		return "", false
	}
	return l[len(l)-1].parent, true
}

// Paths are the paths from the object root to key, one for each name of key,
// the name put last first; "" is the root itself.
func (t *Table) Paths(root, key Key) []string {
	if root == key {
		return []string{""}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	var paths []string
	names := t.names[key]
	for i := len(names) - 1; i >= 0; i-- {
		if dir, ok := t.pathOf(root, names[i].parent); ok {
			paths = append(paths, dir+names[i].name)
		}
	}
	return paths
}

// pathOf is the path from root to a directory, ending in a slash unless it is
// the root.
func (t *Table) pathOf(root, dir Key) (string, bool) {
	var parts []string
	for depth := 0; dir != root; depth++ {
		names := t.names[dir]
		if len(names) == 0 || depth > maxDepth {
			return "", false
		}
		last := names[len(names)-1]
		parts = append(parts, last.name)
		dir = last.parent
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
		b.WriteByte('/')
	}
	return b.String(), true
}

// change logs a record and applies it. The mutex is held.
func (t *Table) change(r record) error {
	if t.log != nil {
		if err := t.log.append(r); err != nil {
			return fmt.Errorf("handle table: %w", err)
		}
	}
	t.apply(r)
	if t.log != nil && t.log.records > 4*len(t.child)+(1<<16) {
		if err := t.compact(); err != nil {
			return fmt.Errorf("handle table: %w", err)
		}
	}
	return nil
}

// apply makes the change that a record tells in memory.
func (t *Table) apply(r record) {
	at := link{r.parent, r.name}
	if old, ok := t.child[at]; ok {
		t.unlink(old, at)
	}
	if r.kind != kindAdd {
		return
	}
	names := t.names[r.key]
	if len(names) >= MaxNames {
		delete(t.child, names[0])
		names = append(names[:0], names[1:]...)
	}
	t.names[r.key] = append(names, at)
	t.child[at] = r.key
}

func (t *Table) unlink(key Key, at link) {
	delete(t.child, at)
	names := t.names[key]
	for i, l := range names {
		if l == at {
			names = append(names[:i], names[i+1:]...)
			break
		}
	}
	if len(names) == 0 {
		delete(t.names, key)
	} else {
		t.names[key] = names
	}
}

// compact writes the log anew. The mutex is held, or nobody has the table yet.
func (t *Table) compact() error {
	return t.log.rewrite(func(put func(record) error) error {
		for key, names := range t.names {
			for _, l := range names {
				if err := put(record{kindAdd, key, l.parent, l.name}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
