package statesync

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Sequence is SEQUENCE (RFC 8881 §18.46). It waits while the same request
// still runs, and returns its reply as Replay then. With neither Replay nor
// Resume set the request is a new one, or one that changed nothing and whose
// reply was not kept: it runs (again).
//
// The errors are ErrBadSession, ErrBadSlot, ErrBadHighSlot, ErrSeqMisordered,
// ErrSeqFalseRetry, ErrTooManyOps, ErrRequestTooBig, ErrDelay, and that of ctx.
// The slot is then as it was.
func (n *Node) Sequence(ctx context.Context, a *SequenceArgs, c Compound) (*Request, error) {
	n.stats.requests.Add(1)
	s := n.sessions.get(a.Session)
	if s == nil || s.gone.Load() {
		var err error
		if s, err = n.session(ctx, a.Session, a.Slot); err != nil {
			return nil, err
		}
	}
	slots := uint32(len(s.slots))
	if a.Slot >= slots {
		return nil, ErrBadSlot
	}
	if a.Highest >= slots {
		return nil, ErrBadHighSlot
	}
	if s.client.gone.Load() {
		return nil, ErrBadSession
	}
	switch {
	case a.Operations > s.info.Fore.MaxOps:
		return nil, ErrTooManyOps
	case a.RequestBytes > s.info.Fore.MaxRequest:
		return nil, ErrRequestTooBig
	}
	r := &Request{
		Client: s.client.id, Session: &s.info, Highest: slots - 1, TargetHighest: slots - 1,
		n: n, c: c, client: s.client, entry: s.slot(a.Slot),
		sequence: a.Sequence, sum: a.Checksum, cacheThis: a.CacheThis,
	}
	if err := n.admitBack(ctx, r); err != nil {
		return nil, err
	}
	return r, nil
}

// admitBack is back of the request's client, and admit. Where the one has to wait for the store, it
// does not wait for the other.
func (n *Node) admitBack(ctx context.Context, r *Request) error {
	if n.proven(r.client) {
		n.renew(r.client)
		return n.admit(ctx, r.entry, r)
	}
	back := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				n.log.Error("panic while a client came back", "panic", v, "stack", string(debug.Stack()))
				back <- fmt.Errorf("%w: panic: %v", ErrServerFault, v)
			}
		}()
		back <- n.back(ctx, r.client)
	}()
	err := n.admit(ctx, r.entry, r)
	if gone := <-back; gone != nil {
		if err == nil && r.Replay == nil {
			r.Abort()
		}
		return gone
	}
	return err
}
