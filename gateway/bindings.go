package gateway

import (
	"sync"
	"sync/atomic"

	"holdfast/internal/nfs4"
)

// maxBindings is how many sessions one connection may serve. A client uses one;
// this only bounds memory.
const maxBindings = 64

// bindings are the sessions that use a connection.
type bindings struct {
	last atomic.Pointer[binding]

	mu  sync.Mutex
	all []*binding
}

type binding struct {
	session nfs4.SessionID
	back    bool
}

// Bind implements nfsops.Conn. It takes no lock for the session that was bound
// last, which is that of nearly every call.
func (c *conn) Bind(session nfs4.SessionID, back bool) {
	b := &c.sessions
	if l := b.last.Load(); l != nil && l.session == session && (l.back || !back) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, known := range b.all {
		if known.session != session {
			continue
		}
		if back && !known.back {
			b.all[i] = &binding{session, true}
		}
		b.last.Store(b.all[i])
		return
	}
	if len(b.all) == maxBindings {
		b.all = append(b.all[:0], b.all[1:]...)
	}
	fresh := &binding{session, back}
	b.all = append(b.all, fresh)
	b.last.Store(fresh)
}

// list returns the sessions bound to the connection.
func (b *bindings) list() []binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]binding, len(b.all))
	for i, k := range b.all {
		all[i] = *k
	}
	return all
}
