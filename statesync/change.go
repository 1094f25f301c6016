package statesync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/durable"
	"holdfast/internal/moment"
	"holdfast/internal/nfs4"
	"holdfast/statesync/rules"
)

// A change is one transaction over the state of one file. It carries the
// request's place in its COMPOUND, so that the change and the knowledge that it
// was made are one.
type change struct {
	file  FileKey
	owner ClientID     // whose state it is; 0: the client of the stateid
	state nfs4.Stateid // the stateid of the request, if it has one
	req   *Request     // nil: nobody's request
	turn  *Turn

	// decide runs a rule and remembers its result for encode. It may be called
	// again, with another state.
	decide func(ctx *deciding) (*rules.Delta, error)

	// encode appends the result to the reply. It may be called again after
	// Compound.Rewind.
	encode func()

	// confirm says that the open owner is confirmed by this.
	confirm bool

	told   []byte // for the peers, once it is durable
	closed bool   // nothing is open on the file any more
	mark   int    // where the result begins in the reply
}

// deciding is what a rule is run on.
type deciding struct {
	file   *file
	state  *rules.File
	client *client
	dead   func(ClientID) bool
}

// ref is a request's stateid as the rules want it.
func (x *change) ref() rules.Ref {
	return rules.Ref{Stateid: x.state, Client: x.owner, Minor0: x.minor0()}
}

func (x *change) minor0() bool { return x.req != nil && x.req.client == nil }

// errAgain says that a transaction is to be tried again.
var errAgain = errors.New("try the transaction again")

// run runs the transaction. On an error nothing was changed and nothing is left
// in the reply. If it is ErrFenced nothing may be said: the request had begun to
// change files, or may have run on another gateway.
func (n *Node) run(ctx context.Context, x *change) error {
	err := n.runOnce(ctx, x)
	if x.req != nil {
		return x.req.unsaid(err)
	}
	return err
}

func (n *Node) runOnce(ctx context.Context, x *change) error {
	begun := x.req != nil && x.req.Holds()
	if begun {
		ctx = context.WithoutCancel(ctx) // what happened to the files cannot be unsaid
	}
	f, err := n.takeFile(ctx, x.file)
	if err != nil {
		return err
	}
	ack, err := n.insist(ctx, x, f, begun)
	f.turn.give()
	if err == nil && x.req.owe(ack, f) {
		return nil
	}
	if err == nil {
		if err = n.wait(ack); err == nil {
			x.turn.Release()
			if x.req != nil {
				x.req.open = false
			}
			if x.told != nil {
				n.publish(x.told)
			}
			if x.closed {
				n.publish(encodeClosed(x.file))
			}
			return nil
		}
		n.unknown(f)
		n.unsure(x)
		if x.req != nil {
			x.req.c.Rewind(x.mark)
		}
		err = storeError(err)
	}
	if begun && errors.Is(err, durable.ErrUnknown) {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return err
}

// insist tries the transaction until it is decided. The caller has the file's
// turn.
func (n *Node) insist(ctx context.Context, x *change, f *file, begun bool) (durable.Ack, error) {
	reread := false
	pause := time.Millisecond
	for {
		ack, err := n.try(ctx, x, f)
		switch {
		case errors.Is(err, errAgain):
		case n.cfg.Shared && !reread && maybeStale(err):
			// Another gateway may have changed the file, or run the request.
			reread = true
			if err := x.elsewhere(ctx, n, f); err != nil {
				return nil, err
			}
		case begun && (errors.Is(err, durable.ErrUnavailable) || errors.Is(err, durable.ErrFull)):
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
		default:
			return ack, err
		}
		if f.state == nil {
			if err := n.loadFile(ctx, f); err != nil {
				return nil, err
			}
		}
	}
}

// maybeStale says that an error may come from a state in memory that is not the
// latest.
func maybeStale(err error) bool {
	var denied *rules.LockDenied
	var share *rules.ShareConflict
	return errors.Is(err, ErrBadStateid) || errors.Is(err, ErrOldStateid) || errors.Is(err, ErrExpired) ||
		errors.Is(err, ErrOpenMode) || errors.Is(err, ErrInval) || errors.Is(err, ErrLocksHeld) ||
		errors.As(err, &denied) || errors.As(err, &share)
}

// elsewhere looks whether the request ran on another gateway, and loads the
// file again. It returns nil if the transaction is worth another try.
func (x *change) elsewhere(ctx context.Context, n *Node, f *file) error {
	keys := []string{f.group}
	if x.req != nil {
		keys = append(keys, x.req.entry.key)
	}
	asOf := moment.Now()
	groups, err := n.loadAll(ctx, keys...)
	if err != nil {
		return storeError(err)
	}
	if len(groups) > 1 {
		if err := x.req.verify(groups[1]); err != nil {
			return err
		}
	}
	return n.fill(f, groups[0], asOf)
}

// try is one try of the transaction. The caller has the file's turn.
func (n *Node) try(ctx context.Context, x *change, f *file) (durable.Ack, error) {
	c, err := n.holder(ctx, x, f)
	if err != nil {
		return nil, err
	}
	d, err := n.apply(ctx, x, f, c)
	if err != nil {
		return nil, err
	}
	if err := n.withinLimits(ctx, c, d); err != nil {
		return nil, err
	}

	var rec *rules.Slot
	b := &durable.Batch{Checks: make([]durable.Check, 0, 6), Writes: make([]durable.Write, 0, 8)}
	b.Checks = append(b.Checks, durable.Check{Key: f.group, Version: f.version})
	b.Writes = d.Writes(b.Writes, f.group)
	stateWrites(b, f.key, c, d)
	if c != nil {
		c.check(b)
	}
	var owners [2]rules.Owner
	if r := x.req; r != nil {
		x.mark = r.c.Mark()
		x.encode()
		rec = r.record()
		if err := r.add(b, rec); err != nil {
			r.c.Rewind(x.mark)
			return nil, err
		}
		r.freeNames(b)
		owners = x.turn.add(b, &rec.Progress, x.confirm)
	}
	asOf := moment.Now()
	ack, err := n.commit(ctx, b)
	if err != nil {
		if x.req != nil {
			x.req.c.Rewind(x.mark)
		}
		return nil, n.failed(x, f, c, asOf, err)
	}
	n.took(x, f, c, d, asOf)
	if d.Len() > 0 && n.hasPeers() {
		m := warm{file: f.key, version: f.version, writes: d.Writes(nil, f.group)}
		if c != nil {
			m.client = c.id
		}
		x.told = m.encode()
		x.closed = f.state != nil && f.state.Opens() == 0
	}
	if r := x.req; r != nil {
		r.took(rec)
		x.turn.took(owners)
		r.freed()
		r.letGo()
	}
	return ack, nil
}

// holder returns the client whose state is to be changed. In NFSv4.0 a
// stateid alone says who that is.
func (n *Node) holder(ctx context.Context, x *change, f *file) (*client, error) {
	if x.req != nil && x.req.client != nil {
		if c := x.req.client; c.gone.Load() {
			return nil, c.ended()
		}
		return x.req.client, nil
	}
	id := x.owner
	if id == 0 {
		st, ok := f.state.Find(x.state.Other)
		if !ok {
			return nil, n.unknownAnywhere(ctx, x.state.Other)
		}
		id = st.Client
	}
	if x.req == nil {
		return nil, nil
	}
	c, err := n.live40(ctx, id)
	if x.owner == 0 && errors.Is(err, ErrStaleClientID) {
		err = ErrExpired
	}
	return c, err
}

// unknownAnywhere is unknownState where another gateway may have taken up the
// client: this one meets it first.
func (n *Node) unknownAnywhere(ctx context.Context, other [nfs4.OtherSize]byte) error {
	if n.cfg.Shared {
		if err := n.meet(ctx, other); err != nil {
			return err
		}
	}
	return n.unknownState(other)
}

// unknownState is the error for an NFSv4.0 stateid of which nothing is known:
// of a client that went, or of none.
func (n *Node) unknownState(other [nfs4.OtherSize]byte) error {
	if (nfs4.Stateid{Other: other}).IsSpecial() {
		return ErrBadStateid
	}
	for _, c := range n.clients.all() {
		if hints(other, c.id) {
			return ErrBadStateid
		}
	}
	return ErrExpired
}

// apply runs the rule. Clients that are late give way.
func (n *Node) apply(ctx context.Context, x *change, f *file, c *client) (*rules.Delta, error) {
	for {
		d, err := x.decide(&deciding{file: f, state: f.state, client: c, dead: n.dead})
		late, err2 := n.giveWay(ctx, inTheWay(err))
		if err2 != nil {
			return nil, err2
		}
		if !late {
			return d, err
		}
	}
}

// inTheWay returns the clients that an error is about.
func inTheWay(err error) []ClientID {
	var denied *rules.LockDenied
	var share *rules.ShareConflict
	switch {
	case errors.As(err, &denied):
		return []ClientID{denied.Client}
	case errors.As(err, &share):
		return share.Clients
	}
	return nil
}

// stateWrites adds to a batch where a client's stateids are.
func stateWrites(b *durable.Batch, f FileKey, mine *client, d *rules.Delta) {
	d.Stateids(func(c ClientID, other [nfs4.OtherSize]byte, made bool) {
		w := durable.Write{Name: statePart(other)}
		if mine != nil && mine.id == c {
			w.Key = mine.states
		} else {
			w.Key = statesKey(c)
		}
		if made {
			w.Value = []byte(f)
		}
		b.Writes = append(b.Writes, w)
	})
}

// took notes a commit. The caller has the file's turn.
func (n *Node) took(x *change, f *file, c *client, d *rules.Delta, asOf uint64) {
	f.mu.Lock()
	f.asOf = asOf // its version was checked
	var err error
	if d.Len() > 0 {
		err = f.state.Apply(d)
		f.version++
		if err != nil {
			f.state = nil
		}
	}
	f.mu.Unlock()
	if err != nil {
		n.log.Error("state of a file in memory does not take a change", "error", err)
	}
	if c != nil {
		c.ranges.Add(int64(d.RangesMore()))
	}
	n.countStates(d)
}

// failed deals with a commit that was refused. errAgain says that it is worth
// another try.
func (n *Node) failed(x *change, f *file, c *client, asOf uint64, err error) error {
	conflict, ok := errors.AsType[*durable.Conflict](err)
	if !ok {
		if errors.Is(err, durable.ErrUnknown) {
			n.clear(f)
			n.unsure(x)
		}
		return storeError(err)
	}
	if x.req != nil {
		if err := x.req.conflict(conflict.Groups); err != nil {
			return err
		}
	}
	if err := x.turn.conflict(conflict.Groups); err != nil {
		return err
	}
	for _, g := range conflict.Groups {
		switch {
		case g.Key == f.group:
			if err := n.fill(f, g, asOf); err != nil {
				return err
			}
		case c != nil && g.Key == c.key:
			there, err := n.reload(c, g)
			if err != nil {
				return err
			}
			if !there {
				return c.ended()
			}
		}
	}
	return errAgain
}

// unsure notes that it is not known whether a commit holds.
func (n *Node) unsure(x *change) {
	if x.req != nil {
		x.req.entry.unknown()
	}
	x.turn.unknown()
}
