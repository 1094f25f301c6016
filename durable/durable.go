// Package durable is the store under the shared protocol state: one small
// interface and its implementations.
//
// The store holds groups of records. A group ("file/…", "client/…", one slot)
// is the unit of conflict: it has one version, which rises by one with every
// committed batch that changes the group. A group's records are its parts, so
// that a commit writes what changed and not the whole group.
//
//	group ──┬── version   uint64, 0 while the group does not exist
//	        ├── part ""   the head, by convention
//	        └── part "…"  one open, one lock owner, …
//
// A group whose last part is deleted stays known with its version until its
// batch says Forget, so that a late writer cannot mistake a new group for the
// old one.
package durable

import (
	"context"
	"errors"
	"fmt"
)

// A Part is one named record of a group.
type Part struct {
	Name  string
	Value []byte
}

// A Group is the content of one group at one version. Parts are sorted by
// name. The caller must not change Values: they may be shared.
type Group struct {
	Key     string
	Version uint64
	Parts   []Part
}

// A Check demands that a group still has a version; 0 demands that it does not
// exist.
type Check struct {
	Key     string
	Version uint64
}

// A Write puts or, with a nil Value, deletes one part. An empty part has a
// non-nil Value of length 0.
type Write struct {
	Key   string
	Name  string
	Value []byte
}

// A Batch is what Commit does atomically: if every Check holds, do every Write
// and drop every group in Forget. Every group written or forgotten should also be
// checked; a group written without a check is written blindly. Each written
// group's version rises by exactly one, however many of its parts are written.
//
// Writes are done in their order: the last one to a part counts. Deleting a
// part that does not exist is a write like any other, and brings its group into
// being. Forgetting comes after all writes, so a group that is both written
// and forgotten does not exist afterwards; forgetting a group that does not
// exist does nothing. A group made after it was forgotten starts at version 1.
// A batch that changes nothing is allowed: it only checks.
type Batch struct {
	Checks []Check
	Writes []Write
	Forget []string

	// Fence, if its Key is not empty, is a check of another kind: the record
	// that says that the writer may still write. If it does not hold the batch
	// is refused with ErrFencedOut, whatever else stands in its way: trying
	// again does not help.
	Fence Check
}

// A Conflict is the error of a Commit whose checks did not all hold. Nothing
// was written.
type Conflict struct {
	// Groups holds the present content of each group whose check failed.
	Groups []Group
}

func (c *Conflict) Error() string {
	if len(c.Groups) == 0 {
		return "durable: conflict"
	}
	return fmt.Sprintf("durable: conflict on %q, now at version %d", c.Groups[0].Key, c.Groups[0].Version)
}

var (
	// ErrFull says that the store has no space left for a change. Nothing was
	// written; reads, and changes that only delete, may go on.
	ErrFull = errors.New("durable: store is full")

	// ErrUnavailable says that the store cannot be reached or does not answer.
	// Nothing was written.
	ErrUnavailable = errors.New("durable: store is unavailable")

	// ErrUnknown says that the outcome of a commit is not known: the caller
	// must read before it goes on.
	ErrUnknown = errors.New("durable: outcome of the commit is not known")

	// ErrDamaged says that the store's content cannot be trusted.
	ErrDamaged = errors.New("durable: store is damaged")

	// ErrFormat says that the store was written by a newer, or an unknown,
	// program.
	ErrFormat = errors.New("durable: store has an unknown format")

	// ErrInUse says that another process has the store open.
	ErrInUse = errors.New("durable: store is in use")

	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("durable: store is closed")

	// ErrWiped says that the store is not the one that was opened, or has
	// lost what it had acknowledged: it was emptied, replaced, or set back to
	// an older state. Nothing was written, unless the error is ErrUnknown too,
	// and nothing that was read may be believed.
	ErrWiped = errors.New("durable: store was wiped or replaced")

	// ErrFencedOut says that the fence of a batch did not hold: the writer was
	// declared dead. Nothing was written.
	ErrFencedOut = errors.New("durable: writer is fenced out")
)

// An Ack waits for a committed batch to be durable.
type Ack interface {
	// Wait returns nil when the batch, and every batch whose Commit returned
	// before it, survives the loss of this process and of this machine. It
	// must be called exactly once. An error is ErrUnknown, possibly wrapped:
	// the batch may or may not survive.
	Wait() error
}

// A Store keeps groups of versioned records. All methods may be called at the
// same time from any number of goroutines.
type Store interface {
	// Load returns the named groups, in the order of keys; a group that does
	// not exist has Version 0 and no Parts. Each group is read atomically.
	// Load sees every batch whose Commit has returned, durable or not yet.
	Load(ctx context.Context, keys ...string) ([]Group, error)

	// LoadParts is Load of one group with only those of its parts that are
	// named, each once, as far as they exist: it costs the same however big
	// the group is.
	LoadParts(ctx context.Context, key string, names ...string) (Group, error)

	// Commit does b atomically. When it returns without error the batch is
	// decided and ordered: later Loads and Commits see it. It is durable when
	// the Ack says so. The error is *Conflict, ErrFull, ErrUnavailable,
	// ErrUnknown, ErrDamaged, ErrLimit, ErrWiped, ErrFencedOut or ErrClosed,
	// possibly wrapped. A ctx that is done before anything was written gives
	// ErrUnavailable.
	//
	// Commit keeps no reference to b or its Values after it returns.
	Commit(ctx context.Context, b *Batch) (Ack, error)

	// Scan calls fn for each existing group whose key begins with prefix,
	// until fn returns false. Groups that change meanwhile may be seen in
	// either state, or not at all if they are made or dropped meanwhile. The
	// order is not defined.
	Scan(ctx context.Context, prefix string, fn func(Group) bool) error

	// Close makes everything committed durable and releases the store.
	Close() error
}
