package statesync

import (
	"fmt"

	"holdfast/durable"
)

// A debt is a commit of a request that nobody has waited for yet. Whatever the
// request commits later is durable later too, so a COMPOUND with several changes
// waits once, and who runs COMPOUNDs need not stand still meanwhile:
//
//	commit ─▶ next operations ─▶ Settle: durable ─▶ Finish ─▶ the reply leaves
//	            │                   └ failed ─▶ Abort: nothing is said
//	            └ what goes to the file system settles first (Begin)
type debt struct {
	ack  durable.Ack
	file *file // whose state in memory is ahead of the store's if the commit fails; may be nil
}

// owe puts off the wait for a commit of the request, if that may be. With several
// gateways it may not: there a failure is survived, and has an answer. Nor in
// NFSv4.0, where the owners' turns last until then.
func (r *Request) owe(ack durable.Ack, f *file) bool {
	if r == nil || r.client == nil || !r.lazy || !r.n.Prompt() {
		return false
	}
	if r.debts == nil {
		r.debts = r.room[:0]
	}
	r.debts = append(r.debts, debt{ack, f})
	return true
}

// Prompt says that a commit takes memory only, and that Settle does the waiting.
func (n *Node) Prompt() bool { return !n.cfg.Shared }

// Lazily says that Settle will be called before Finish: until then the request
// need not wait for what it commits.
func (r *Request) Lazily() { r.lazy = true }

// Owes says that Settle has something to wait for.
func (r *Request) Owes() bool { return len(r.debts) > 0 }

// Settle waits until all that the request committed is durable. The error is
// ErrFenced: nothing may be said then, and the request must end with Abort.
func (r *Request) Settle() error {
	if len(r.debts) == 0 {
		return nil
	}
	var failed error
	debts := r.debts
	r.debts = nil
	for i := range debts {
		d := &debts[i]
		if err := r.n.wait(d.ack); err != nil {
			failed = err
			r.entry.unknown()
			if d.file != nil {
				r.n.unknown(d.file)
			}
		}
	}
	if failed != nil {
		return fmt.Errorf("%w: %w", ErrFenced, failed)
	}
	r.open = false
	return nil
}
