package statesync

import "context"

// Beat is one turn of keeping this gateway's lease and looking after those of
// the others, for a driver that set Config.Manual. Several calls run one after
// the other. The error is ErrFenced or that of the store; the next turn tries
// again.
func (n *Node) Beat(ctx context.Context) error { return n.beat(ctx) }

// Ask is one turn of having the other gateways vouch for this one while it cannot
// renew its lease, for a driver that set Config.Manual.
func (n *Node) Ask() { n.ask() }

// Sweep does once what is done now and then in the background, for a driver that
// set Config.Manual. The error is that of the store; what is left is done the
// next time.
func (n *Node) Sweep(ctx context.Context) error { return n.sweepAll(ctx) }

// Settle finds out what became of requests that ended without a result, for a
// driver that set Config.Manual. The error is that of the store; what is left is
// done the next time.
func (n *Node) Settle(ctx context.Context) error { return n.settleAbandoned(ctx) }
