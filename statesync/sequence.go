package statesync

import "context"

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
		if s, err = n.session(ctx, a.Session); err != nil {
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
	if err := n.back(ctx, s.client); err != nil {
		return nil, err
	}
	r := &Request{
		Client: s.client.id, Session: &s.info, Highest: slots - 1, TargetHighest: slots - 1,
		n: n, c: c, client: s.client, entry: s.slot(a.Slot),
		sequence: a.Sequence, sum: a.Checksum, cacheThis: a.CacheThis,
	}
	if err := n.admit(ctx, r.entry, r); err != nil {
		return nil, err
	}
	return r, nil
}
