package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/durable"
	"holdfast/internal/nfs4"
	"holdfast/statesync"
)

// A gateway is one process: from its start to its crash.
type gateway struct {
	w          *world
	index      int
	generation int
	name       string // of the gateway
	process    string // name and generation
	ctx        context.Context
	cancel     context.CancelFunc

	dead     bool      // guarded by w.mu
	renewed  time.Time // when the store took its lease last; guarded by w.mu
	up       bool      // guarded by w.mu
	node     *statesync.Node
	instance uint64 // as the store counts them; set with up
	peers    *channel
	blocked  bool // the file system takes nothing from it; guarded by fs.mu

	paused, cut time.Time // the scheduler's
}

func (w *world) newGateway(index, generation int) *gateway {
	g := &gateway{w: w, index: index, generation: generation, name: fmt.Sprintf("g%d", index)}
	g.process = fmt.Sprintf("%s#%d", g.name, generation)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.peers = newChannel(g)
	w.fs.add(g)
	return g
}

// boot joins, and keeps the lease from then on.
func (g *gateway) boot(after time.Duration) {
	w := g.w
	task := g.process + ".beat"
	if w.pause(task, g, after) == dead {
		return
	}
	seed := w.seed<<8 | uint64(g.index<<5) | uint64(g.generation&31)
	rng := rand.New(rand.NewPCG(seed, 7))
	var mu sync.Mutex
	cfg := statesync.Config{
		Store: &link{g: g}, Name: g.name, Lease: time.Hour, Shared: true, Manual: true,
		GatewayLease: w.plan.lease, StoreOutage: w.plan.outage,
		Random: func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
		},
	}
	if w.plan.hook {
		cfg.FenceHook = func(_ context.Context, who statesync.Fenced) error {
			w.fs.block(who.Gateway)
			return nil
		}
	}
	var n *statesync.Node
	for {
		var err error
		if n, err = statesync.Join(as(g.ctx, task), cfg); err == nil {
			break
		}
		if w.pause(task, g, 100*time.Millisecond) == dead {
			return
		}
	}
	instance, _ := w.gatewayRecord(g.name)
	n.SetResolver(func(_ context.Context, in *statesync.Intent) (statesync.Outcome, error) {
		if w.rule == ruleResolver {
			return statesync.OutcomeNotDone, nil
		}
		return w.fs.resolve(in)
	})
	if w.plan.peers {
		if err := n.UsePeers(g.peers); err != nil {
			w.violated(g.process, "%v", err)
		}
	}
	w.mu.Lock()
	g.node, g.instance = n, instance
	g.up = true
	w.mu.Unlock()
	w.note(g.process, "up")
	w.spawn(g.askLoop)
	for i := 0; ; i++ {
		if w.pause(task, g, w.plan.lease/5) == dead {
			break
		}
		ctx, cancel := context.WithTimeout(as(g.ctx, task), w.plan.lease)
		_ = n.Beat(ctx)
		_ = n.Settle(ctx)
		if i%8 == 7 {
			_ = n.Sweep(ctx)
		}
		cancel()
		select {
		case <-n.Deposed():
			w.note(g.process, "was declared dead, starts again")
			w.crash(g)
		default:
			continue
		}
		break
	}
	_ = n.Close(as(context.Background(), task))
}

func (w *world) serving(g *gateway) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return g.up && !g.dead
}

// A link is a gateway's way to the store.
type link struct{ g *gateway }

func (l *link) enter(ctx context.Context, what string) error {
	switch l.g.w.take(taskOf(ctx), l.g, toStore, what) {
	case dead:
		return durable.ErrClosed
	case cut:
		return fmt.Errorf("%w: cut off", durable.ErrUnavailable)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", durable.ErrUnavailable, err)
	}
	return nil
}

func (l *link) back(ctx context.Context, what string) error {
	if l.g.w.take(taskOf(ctx), l.g, fromStore, what) == dead {
		return durable.ErrClosed
	}
	return nil
}

func (l *link) Load(ctx context.Context, keys ...string) ([]durable.Group, error) {
	if err := l.enter(ctx, "loads"); err != nil {
		return nil, err
	}
	groups, err := l.g.w.store.Load(context.Background(), keys...)
	if err := l.back(ctx, "loaded"); err != nil {
		return nil, err
	}
	return groups, err
}

func (l *link) LoadParts(ctx context.Context, key string, names ...string) (durable.Group, error) {
	if err := l.enter(ctx, "loads parts"); err != nil {
		return durable.Group{}, err
	}
	g, err := l.g.w.store.LoadParts(context.Background(), key, names...)
	if err := l.back(ctx, "loaded"); err != nil {
		return durable.Group{}, err
	}
	return g, err
}

func (l *link) Commit(ctx context.Context, b *durable.Batch) (durable.Ack, error) {
	if err := l.enter(ctx, "commits "+kinds(b)); err != nil {
		return nil, err
	}
	dead := l.g.w.declaredDead(l.g)
	ack, err := l.g.w.store.Commit(context.Background(), l.g.w.rule.batch(l.g.w.store, b))
	if err == nil {
		l.g.w.begins(taskOf(ctx), b)
		if dead {
			l.g.w.violated(taskOf(ctx), "G6: the store takes a commit of %s, which was declared dead: %s", l.g.process, kinds(b))
		}
		if err := ack.Wait(); err != nil {
			return nil, err
		}
		if kinds(b) == "lease" {
			l.g.w.mu.Lock()
			l.g.renewed = time.Now()
			l.g.w.mu.Unlock()
		}
	}
	what := "committed"
	if err != nil {
		what = "was refused"
	}
	if err := l.back(ctx, what); err != nil {
		return nil, fmt.Errorf("%w: %w", durable.ErrUnknown, err)
	}
	if err != nil {
		return nil, err
	}
	return durably{}, nil
}

type durably struct{}

func (durably) Wait() error { return nil }

func (l *link) Scan(ctx context.Context, prefix string, fn func(durable.Group) bool) error {
	if err := l.enter(ctx, "scans "+prefix); err != nil {
		return err
	}
	var all []durable.Group
	err := l.g.w.store.Scan(context.Background(), prefix, func(g durable.Group) bool {
		all = append(all, g)
		return true
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b durable.Group) int { return strings.Compare(a.Key, b.Key) })
	if err := l.back(ctx, "scanned"); err != nil {
		return err
	}
	for _, g := range all {
		if l.g.w.rule == ruleJoiner && prefix == "lease/" {
			g = naming(g, l.g)
		}
		if !fn(g) {
			break
		}
	}
	return nil
}

func (l *link) Close() error { return nil }

// kinds says what a batch is about, without what differs from run to run.
func kinds(b *durable.Batch) string {
	var out []string
	add := func(key string) {
		kind, _, _ := strings.Cut(key, "/")
		if !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	for _, x := range b.Writes {
		add(x.Key)
	}
	for _, key := range b.Forget {
		add(key)
	}
	return strings.Join(out, "+")
}

// A compound is SEQUENCE and one operation; the reply is a status and a stateid.
type compound struct {
	reply   []byte
	done    bool
	started bool
	status  nfs4.Status
}

func (c *compound) conclude(status nfs4.Status, s nfs4.Stateid) {
	c.reply = binary.BigEndian.AppendUint32(c.reply[:0], uint32(status))
	c.reply = binary.BigEndian.AppendUint32(c.reply, s.Seqid)
	c.reply = append(c.reply, s.Other[:]...)
	c.status, c.done = status, true
}

func (c *compound) Progress(p *statesync.Progress) {
	*p = statesync.Progress{Op: 1, Offset: 1}
	if c.done {
		p.Op, p.Offset, p.Reply, p.Status = 2, 2, c.reply, c.status
	}
}

func (c *compound) Mark() int { return len(c.reply) }

func (c *compound) Rewind(mark int) {
	c.reply = c.reply[:mark]
	c.done, c.status = false, nfs4.OK
}

// resume returns true if all was done by an earlier run.
func (c *compound) resume(p *statesync.Progress) bool {
	if p.Op < 2 {
		return false
	}
	c.reply = slices.Clone(p.Reply)
	c.done, c.status = true, p.Status
	return true
}

var errGone = errors.New("no answer")

// serve is what nfsops does with a request. The error says that there is no
// answer.
func (g *gateway) serve(ctx context.Context, m *request) ([]byte, error) {
	w := g.w
	if !w.serving(g) {
		return nil, errGone
	}
	n := g.node
	c := &compound{}
	req, err := n.Sequence(ctx, &statesync.SequenceArgs{
		Session: m.c.session, Slot: 0, Sequence: m.seq, Highest: 0, Checksum: uint64(m.seq) * 31,
	}, c)
	switch {
	case errors.Is(err, statesync.ErrDelay):
		return []byte{}, nil // SEQUENCE answers DELAY
	case err != nil && g.status(err) == nfs4.OK:
		return nil, errGone
	case err != nil:
		c.conclude(g.status(err), nfs4.Stateid{})
		return c.reply, nil
	}
	for {
		if req.Replay != nil {
			return req.Replay, nil
		}
		if req.Resume != nil && c.resume(req.Resume) {
			req.Finish(c.reply)
			return c.reply, nil
		}
		if err := n.MayServe(); err != nil && w.rule != ruleFence {
			req.Abort()
			return nil, errGone
		}
		err := g.operate(ctx, req, c, m)
		if err != nil && g.status(err) != nfs4.OK {
			c.conclude(g.status(err), nfs4.Stateid{})
			if err = nil; w.rule != ruleRefusal {
				err = req.Refuse(ctx)
			}
			if g.status(err) != nfs4.OK && !errors.Is(err, statesync.ErrDuplicate) {
				err = nil // nobody else can do it either
			}
		}
		switch {
		case errors.Is(err, statesync.ErrDuplicate) && (req.Replay != nil || req.Resume != nil):
			c.Rewind(0)
			continue
		case err != nil:
			req.Abort()
			return nil, errGone
		}
		req.Finish(c.reply)
		return c.reply, nil
	}
}

// status is that of an operation's error, OK if it is one after which there is
// no answer.
func (g *gateway) status(err error) nfs4.Status {
	var denied *statesync.LockDenied
	switch {
	case err == nil, errors.Is(err, statesync.ErrFenced), errors.Is(err, context.Canceled), errors.Is(err, durable.ErrClosed),
		errors.Is(err, errGone), errors.Is(err, statesync.ErrDuplicate):
		return nfs4.OK
	case errors.As(err, &denied):
		return nfs4.ErrDenied
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	g.w.note(g.process, "fault: %v", err)
	return nfs4.ErrServerFault
}

var statuses = []struct {
	err    error
	status nfs4.Status
}{
	{statesync.ErrShareDenied, nfs4.ErrShareDenied},
	{statesync.ErrDelay, nfs4.ErrDelay},
	{context.DeadlineExceeded, nfs4.ErrDelay},
	{durable.ErrUnavailable, nfs4.ErrDelay},
	{durable.ErrUnknown, nfs4.ErrDelay},
	{errExist, nfs4.ErrExist},
	{errNoEnt, nfs4.ErrNoEnt},
	{statesync.ErrBadStateid, nfs4.ErrBadStateid},
	{statesync.ErrOldStateid, nfs4.ErrOldStateid},
	{statesync.ErrBadSession, nfs4.ErrBadSession},
	{statesync.ErrSeqMisordered, nfs4.ErrSeqMisordered},
	{statesync.ErrSeqFalseRetry, nfs4.ErrSeqFalseRetry},
}

// operate runs the request's operation.
func (g *gateway) operate(ctx context.Context, req *statesync.Request, c *compound, m *request) error {
	n := g.node
	done := func(s nfs4.Stateid) { c.conclude(nfs4.OK, s) }
	switch m.op {
	case nfs4.OpOpen:
		return n.Open(ctx, req, nil, &statesync.OpenArgs{
			Client: m.c.id, Owner: []byte("o"), File: m.file, Access: m.access, Deny: m.deny,
		}, func(r *statesync.OpenResult) { done(r.Stateid) })
	case nfs4.OpClose:
		return n.CloseFile(ctx, req, nil, m.c.id, m.file, m.stateid, func(*statesync.OpenResult) { done(nfs4.Stateid{}) })
	case nfs4.OpLock:
		return n.Lock(ctx, req, nil, &statesync.LockArgs{
			Client: m.c.id, File: m.file, Write: m.write, Offset: m.from, Length: m.to - m.from,
			New: m.fresh, Owner: []byte("l"), Stateid: m.stateid,
		}, done)
	case nfs4.OpLockU:
		return n.Unlock(ctx, req, nil, m.c.id, m.file, m.stateid, m.from, m.to-m.from, done)
	case nfs4.OpReclaimComplete:
		if err := n.ReclaimComplete(ctx, req, false); err != nil && !errors.Is(err, statesync.ErrCompleteAlready) {
			return err
		}
		done(nfs4.Stateid{})
		return nil
	}
	return g.change(ctx, req, c, m)
}

// change runs an operation on the file system, with an intent.
func (g *gateway) change(ctx context.Context, req *statesync.Request, c *compound, m *request) error {
	w := g.w
	fs := w.fs
	in := req.Begun()
	run := true
	var failed error
	if in != nil && in.Settled && in.Outcome == statesync.OutcomeDone {
		run = false
	} else {
		names := []statesync.Name{{Dir: "d", Name: m.name}}
		if m.op == nfs4.OpRename {
			names = append(names, statesync.Name{Dir: "d", Name: m.target})
		}
		if err := req.Begin(ctx, m.op, names, func() ([]byte, error) { return fs.evidence(m) }); err != nil {
			return err
		}
		if in != nil && !in.Settled {
			out, err := fs.resolve(in)
			if err != nil {
				return err
			}
			run = out != statesync.OutcomeDone
		}
	}
	if run {
		if w.plan.hook {
			// Any time may pass before the file system hears of it.
			if w.take(taskOf(ctx), g, local, "changes files") == dead {
				return errGone
			}
		}
		failed = fs.do(g, m)
		if errors.Is(failed, errBlocked) {
			return statesync.ErrFenced
		}
	}
	status := nfs4.OK
	switch {
	case errors.Is(failed, errExist):
		status = nfs4.ErrExist
	case errors.Is(failed, errNoEnt):
		status = nfs4.ErrNoEnt
	}
	return req.Done(ctx, func() { c.conclude(status, nfs4.Stateid{}) })
}
