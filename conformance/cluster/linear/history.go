package linear

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// An Op is one operation as a client saw it: LockOp, OpenOp or NameOp.
type Op interface {
	// object says which file or directory it is about: what is about different ones is independent.
	object() string
	// step returns whether the operation may have this result in a state, and the state after it. A nil state is that
	// in which nothing is there.
	step(state any) (ok bool, next any)
	fmt.Stringer
}

// A History is what clients did and saw. Its methods may be called from any number of goroutines.
type History struct {
	start time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

// NewHistory returns an empty History.
func NewHistory() *History { return &History{start: time.Now()} }

// Begin notes that a client begins an operation. The function that it returns must be called when the result is there; an
// operation of which it is not called did not take place.
func (h *History) Begin(client int) (end func(Op)) {
	call := time.Since(h.start)
	return func(op Op) {
		done := time.Since(h.start)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: op, Call: int64(call), Return: int64(done)})
	}
}

// Len returns how many operations have ended.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// Check returns nil if the history is linearizable. It gives up after the limit, with an error.
func (h *History) Check(limit time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	objects := make(map[string][]porcupine.Operation)
	for _, op := range h.ops {
		key := op.Input.(Op).object()
		objects[key] = append(objects[key], op)
	}
	end := time.Now().Add(limit)
	for key, ops := range objects {
		switch result, info := porcupine.CheckOperationsVerbose(model, ops, max(time.Until(end), time.Nanosecond)); result {
		case porcupine.Illegal:
			return fmt.Errorf("%s: no order of these operations explains what the clients saw:\n%s", key, explain(ops, info))
		case porcupine.Unknown:
			return fmt.Errorf("%s: %d operations were not checked within %v", key, len(ops), limit)
		}
	}
	return nil
}

var model = porcupine.Model{
	Init:  func() any { return nil },
	Step:  func(state, input, _ any) (bool, any) { return input.(Op).step(state) },
	Equal: func(a, b any) bool { return a == b },
}

// around is how many operations beside the one that cannot be placed are told.
const around = 12

// explain tells where the longest order that is right ends.
func explain(ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	var b strings.Builder
	tell := func(op porcupine.Operation) {
		fmt.Fprintf(&b, "  %12.6f to %12.6f  client %d  %v\n", float64(op.Call)/1e9, float64(op.Return)/1e9, op.ClientId, op.Input)
	}
	fmt.Fprintf(&b, "the longest order that is right has %d of %d; it ends with\n", len(longest), len(ops))
	for _, op := range longest[max(0, len(longest)-around):] {
		tell(op)
	}
	placed := make(map[porcupine.Operation]int)
	for _, op := range longest {
		placed[op]++
	}
	rest := slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool {
		placed[op]--
		return placed[op] >= 0
	})
	slices.SortFunc(rest, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	b.WriteString("and these cannot follow:\n")
	for _, op := range rest[:min(len(rest), around)] {
		tell(op)
	}
	return b.String()
}
