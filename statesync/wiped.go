package statesync

import (
	"errors"
	"fmt"

	"holdfast/durable"
)

// errWiped is why a gateway does not serve any more once its store has turned out not to be what it was.
var errWiped = fmt.Errorf("%w: %w: it was emptied, replaced or set back, so that what was granted is not known any more; "+
	"bring the right data back and start all gateways again", ErrFenced, durable.ErrWiped)

// heard looks at an error of the store. When that was wiped, nothing may be granted by what it says, nor served
// by what memory says: another gateway may have begun anew on what is there. That stays so whatever the store says
// later.
func (n *Node) heard(err error) {
	if errors.Is(err, durable.ErrWiped) && !n.wiped.Swap(true) {
		n.log.Error("the shared state was wiped, replaced or set back: nothing more is served", "error", err)
	}
}
