package nfsops

import (
	"container/list"
	"sync"
	"time"

	"holdfast/export"
)

// fileTable keeps files open between requests, so that READ and WRITE cost one
// system call. A file is kept as long as it is used and there is room; nothing
// depends on its being kept, for it can be opened again.
//
// Its mutex is never held while a file is opened, read or closed.
//
// Where there are other gateways, one of them may remove a file that is kept here
// and that nobody has open: what was not used for a while is closed then, so that
// the file's space is freed and its filehandle becomes stale.
type fileTable struct {
	mu   sync.Mutex
	max  int
	open map[fileID]*openFile
	idle list.List // of *openFile without users, the one used last at the front

	// inUse says whether memory knows that somebody has the file open; it is called with mu held,
	// which comes before the mutexes of state. opened asks the store.
	inUse, opened func(key string) bool

	ages  bool        // files that are not in use are not kept without end
	aging *time.Timer // not nil while some file is idle that may have to be closed
}

// idleFor is how long a file that nobody has open is kept where there are other
// gateways.
const idleFor = time.Second

// fileID names one way of having a file open. key is a filehandle.
type fileID struct {
	key   string
	write bool
}

// An openFile is a file that is open, with the count of those who use it.
type openFile struct {
	export.File
	table *fileTable
	id    fileID
	users int
	gone  bool          // dropped: closed with its last user
	elem  *list.Element // in idle, if there is no user
	since time.Time     // when it became idle, if that matters
	ready chan struct{} // closed when File or err is set
	err   error
}

func newFileTable(max int) *fileTable {
	return &fileTable{max: max, open: make(map[fileID]*openFile)}
}

// get returns the open file of id, opened by open if it is not kept. Callers at
// the same time share one call of open. The caller must release the file.
func (t *fileTable) get(key []byte, write bool, open func() (export.File, error)) (*openFile, error) {
	t.mu.Lock()
	f := t.open[fileID{string(key), write}] // does not allocate
	if f == nil && !write {
		f = t.open[fileID{string(key), true}] // open for both
	}
	if f != nil {
		t.pin(f)
		t.mu.Unlock()
		<-f.ready
		if f.err != nil {
			err := f.err
			t.release(f)
			return nil, err
		}
		return f, nil
	}
	f = &openFile{table: t, id: fileID{string(key), write}, users: 1, ready: make(chan struct{})}
	t.open[f.id] = f
	evicted := t.evict()
	t.mu.Unlock()
	closeAll(evicted)

	f.File, f.err = open()
	if f.err != nil {
		err := f.err
		t.mu.Lock()
		t.remove(f)
		t.mu.Unlock()
		close(f.ready)
		t.release(f)
		return nil, err
	}
	close(f.ready)
	return f, nil
}

// keepAs adds a file that was opened elsewhere, for reading or, if write is
// true, for both; it has one user. If one is kept already, file is closed with its
// last user.
func (t *fileTable) keepAs(key []byte, write bool, file export.File) *openFile {
	ready := make(chan struct{})
	close(ready)
	f := &openFile{File: file, table: t, id: fileID{string(key), write}, users: 1, ready: ready}
	t.mu.Lock()
	if t.open[f.id] != nil {
		f.gone = true
	} else {
		t.open[f.id] = f
	}
	evicted := t.evict()
	t.mu.Unlock()
	closeAll(evicted)
	return f
}

// drop stops keeping the files of a filehandle, unless it is in use: the space of one
// without a name is freed then.
func (t *fileTable) drop(key []byte) {
	var pinned []*openFile
	t.mu.Lock()
	for _, write := range [...]bool{false, true} {
		if f := t.open[fileID{string(key), write}]; f != nil {
			t.pin(f)
			pinned = append(pinned, f)
		}
	}
	t.mu.Unlock()
	t.retire(pinned)
}

// pin makes the caller a user of f. The mutex is held.
func (t *fileTable) pin(f *openFile) {
	f.users++
	if f.elem != nil {
		t.idle.Remove(f.elem)
		f.elem = nil
	}
}

// retire ends the use of files, and stops keeping those that are not in use. An open that
// is committed meanwhile either is seen or finds nothing kept. What has no name any
// more could not be opened again: of that the store is asked, since memory may not
// know that it is open.
func (t *fileTable) retire(files []*openFile) {
	for _, f := range files {
		<-f.ready
		if f.err == nil && !(unlinked(f.File) && t.opened(f.id.key)) {
			t.mu.Lock()
			if !t.inUse(f.id.key) {
				t.remove(f)
			}
			t.mu.Unlock()
		}
		t.release(f)
	}
}

func unlinked(f export.File) bool {
	var attr export.Attr
	return f.Getattr(&attr) == nil && attr.Nlink == 0
}

// forget is drop of what must not be used any more, whoever has it open.
func (t *fileTable) forget(key []byte) {
	t.mu.Lock()
	closing := t.removeAll(key)
	t.mu.Unlock()
	closeAll(closing)
}

// removeAll forgets the files of a filehandle and returns those to be closed. The mutex
// is held.
func (t *fileTable) removeAll(key []byte) (closing []*openFile) {
	for _, write := range [...]bool{false, true} {
		if f := t.open[fileID{string(key), write}]; f != nil {
			t.remove(f)
			if f.users == 0 {
				closing = append(closing, f)
			}
		}
	}
	return closing
}

func (t *fileTable) release(f *openFile) {
	t.mu.Lock()
	f.users--
	closing := f.users == 0 && f.gone
	if f.users == 0 && !f.gone {
		f.elem = t.idle.PushFront(f)
		if t.ages {
			f.since = time.Now()
			if t.aging == nil {
				t.aging = time.AfterFunc(idleFor, t.age)
			}
		}
	}
	t.mu.Unlock()
	if closing {
		closeAll([]*openFile{f})
	}
}

// remove forgets f. The mutex is held.
func (t *fileTable) remove(f *openFile) {
	if f.gone {
		return
	}
	f.gone = true
	delete(t.open, f.id)
	if f.elem != nil {
		t.idle.Remove(f.elem)
		f.elem = nil
	}
}

// evict makes room; it returns what is to be closed. The mutex is held.
func (t *fileTable) evict() (closing []*openFile) {
	for len(t.open) > t.max && t.idle.Len() > 0 {
		f := t.idle.Back().Value.(*openFile)
		t.remove(f)
		closing = append(closing, f)
	}
	return closing
}

func closeAll(files []*openFile) {
	for _, f := range files {
		if f.File != nil {
			f.File.Close()
		}
	}
}

// age stops keeping what was idle for long enough and is not in use.
func (t *fileTable) age() {
	var old []*openFile
	t.mu.Lock()
	var next *list.Element
	for e := t.idle.Back(); e != nil; e = next {
		next = e.Prev()
		f := e.Value.(*openFile)
		if time.Since(f.since) < idleFor {
			break
		}
		if !t.inUse(f.id.key) {
			t.pin(f)
			old = append(old, f)
		}
	}
	t.mu.Unlock()
	t.retire(old)
	t.mu.Lock()
	t.aging = nil
	if t.ages && t.idle.Len() > 0 {
		t.aging = time.AfterFunc(idleFor, t.age)
	}
	t.mu.Unlock()
}

// close closes what nobody uses; what is used is closed by its last user.
func (t *fileTable) close() {
	var closing []*openFile
	t.mu.Lock()
	t.ages = false
	if t.aging != nil {
		t.aging.Stop()
	}
	for _, f := range t.open {
		t.remove(f)
		if f.users == 0 {
			closing = append(closing, f)
		}
	}
	t.mu.Unlock()
	closeAll(closing)
}

// release ends the use of the file.
func (f *openFile) release() { f.table.release(f) }

// unkept wraps a file that is used once and not kept.
func unkept(t *fileTable, file export.File) *openFile {
	return &openFile{File: file, table: t, users: 1, gone: true}
}
