package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/conformance/client"
	"holdfast/conformance/cluster"
	"holdfast/conformance/cluster/linear"
	"holdfast/internal/nfs4"
)

// A board is what the players of a linearizability check play on.
type board struct {
	history *linear.History
	root    client.FH
	locked  []string    // files for byte-range locks
	shared  []string    // files for share reservations
	dirs    []client.FH // directories for names
	spare   client.FH   // a file to make links to
	owners  map[string]int
}

// A player is one client; its number is that of its owners in the models.
type player struct {
	*cluster.Rover
	n     int
	board *board
	rand  *rand.Rand
	locks []*playerLocks
	opens []*playerOpen
	maker *client.StateOwner // opens what it makes
}

type playerLocks struct {
	*client.Locks
	used bool
}

type playerOpen struct {
	owner *client.StateOwner
	file  *client.OpenFile // nil while it is closed
	more  bool             // opened twice, the second time with more
	first linear.OpenOp
}

// newBoard makes the files and directories of a board, and players at different gateways.
func newBoard(c *cluster.Cluster, name string, players, objects int) (*board, []*player, error) {
	b := &board{history: linear.NewHistory(), owners: map[string]int{}}
	var all []*player
	for i := range players {
		r, err := c.Rover(uint32(i%3), i/3%len(c.Gateways))
		if err != nil {
			return nil, nil, err
		}
		all = append(all, &player{Rover: r, n: i, board: b, rand: rand.New(rand.NewPCG(uint64(i), 3)), maker: client.NewOwner()})
	}
	if err := b.lay(all[0], name, objects); err != nil {
		return nil, all, err
	}
	for _, p := range all {
		if err := p.prepare(); err != nil {
			return nil, all, fmt.Errorf("player %d: %w", p.n, err)
		}
	}
	return b, all, nil
}

func (b *board) lay(p *player, name string, objects int) error {
	root, err := p.Root()
	if err != nil {
		return err
	}
	if b.root, err = p.MkdirFH(root, name); err != nil {
		return err
	}
	for i := range objects {
		b.locked = append(b.locked, fmt.Sprint("locked", i))
		b.shared = append(b.shared, fmt.Sprint("shared", i))
		dir, err := p.MkdirFH(b.root, fmt.Sprint("names", i))
		if err != nil {
			return err
		}
		b.dirs = append(b.dirs, dir)
	}
	for _, name := range append(slices.Concat(b.locked, b.shared), "spare") {
		f, err := p.CreateFile(b.root, name)
		if err != nil {
			return err
		}
		b.spare = f.FH
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// prepare opens what the player locks, and makes its owners known: in NFSv4.0 the first OPEN of an owner takes two requests.
func (p *player) prepare() error {
	for _, name := range p.board.locked {
		f, err := p.CreateFile(p.board.root, name)
		if err != nil {
			return err
		}
		owner := client.NewOwner()
		p.board.owners[owner.Name] = p.n
		p.locks = append(p.locks, &playerLocks{Locks: f.Locks(owner)})
	}
	for range p.board.shared {
		p.opens = append(p.opens, &playerOpen{owner: client.NewOwner()})
	}
	for _, owner := range append([]*client.StateOwner{p.maker}, ownersOf(p.opens)...) {
		f, err := p.Open(owner, p.board.root, client.OpenArgs{Access: nfs4.ShareAccessRead, Name: "spare"})
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func ownersOf(opens []*playerOpen) (all []*client.StateOwner) {
	for _, o := range opens {
		all = append(all, o.owner)
	}
	return all
}

// play does operations until it is told to stop, or something is wrong.
func (p *player) play(t *testing.T, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := p.move(); err != nil {
			t.Errorf("player %d, NFSv4.%d: %v", p.n, p.Config.Minor, err)
			return
		}
	}
}

// move does one operation of some kind.
func (p *player) move() error {
	switch p.rand.IntN(3) {
	case 0:
		return p.moveLock()
	case 1:
		return p.moveOpen()
	}
	return p.moveName()
}

// again does something until the answer is not NFS4ERR_DELAY. The error is that of no answer at all.
func again(do func() (*client.Reply, error)) (*client.Reply, error) {
	for {
		p, err := do()
		if p == nil || p.Status != nfs4.ErrDelay {
			if _, answered := client.Status(err); answered && p != nil {
				err = nil
			}
			return p, err
		}
	}
}

func unexpected(op linear.Op, p *client.Reply) error {
	return fmt.Errorf("%v: the answer is %v", op, p)
}

func (p *player) moveLock() error {
	i := p.rand.IntN(len(p.locks))
	l := p.locks[i]
	all := []string{linear.LockRead, linear.LockWrite, linear.Unlock, linear.Unlock, linear.TestRead, linear.TestWrite}
	op := linear.LockOp{File: p.board.locked[i], Owner: p.n, Do: all[p.rand.IntN(len(all))], From: p.rand.IntN(linear.Bytes)}
	op.To = op.From + 1 + p.rand.IntN(linear.Bytes-op.From)
	if op.Do == linear.Unlock && !l.used {
		op.Do = linear.LockWrite
	}
	return p.lock(l, op)
}

// lock does a LockOp and notes it.
func (p *player) lock(l *playerLocks, op linear.LockOp) error {
	typ := uint32(nfs4.WriteLT)
	if op.Do == linear.LockRead || op.Do == linear.TestRead {
		typ = nfs4.ReadLT
	}
	from, length := uint64(op.From), uint64(op.To-op.From)
	end := p.board.history.Begin(p.n)
	reply, err := again(func() (*client.Reply, error) {
		switch op.Do {
		case linear.Unlock:
			return l.UnlockReply(from, length)
		case linear.TestRead, linear.TestWrite:
			return l.TestReply(typ, from, length)
		}
		return l.LockReply(typ, from, length)
	})
	switch {
	case err != nil:
		return err
	case reply.Status == nfs4.ErrDenied:
		d := client.Get[client.DeniedRes](reply)
		op.Denied = true
		owner, known := p.board.owners[string(d.Owner)]
		if !known {
			return fmt.Errorf("%v: denied because of the unknown owner %s", op, d.Owner)
		}
		op.Because = linear.Held{Owner: owner, Write: d.Type == nfs4.WriteLT, From: int(min(d.Offset, linear.Bytes)), To: int(min(d.Offset+d.Length, linear.Bytes))}
	case reply.Status != nfs4.OK:
		return unexpected(op, reply)
	case op.Do == linear.LockRead || op.Do == linear.LockWrite:
		l.used = true
	}
	end(op)
	return nil
}

func (p *player) moveOpen() error {
	i := p.rand.IntN(len(p.opens))
	o := p.opens[i]
	op := linear.OpenOp{File: p.board.shared[i], Owner: p.n, Do: linear.Open, Access: 1 + p.rand.Uint32N(3), Deny: p.rand.Uint32N(4)}
	switch {
	case o.file != nil && p.rand.IntN(3) > 0:
		op = linear.OpenOp{File: op.File, Owner: p.n, Do: linear.Close}
	case o.more:
		op = o.first
		op.Do = linear.Downgrade
	}
	end := p.board.history.Begin(p.n)
	var opened *client.OpenFile
	reply, err := again(func() (reply *client.Reply, err error) {
		switch op.Do {
		case linear.Close:
			return o.file.CloseReply()
		case linear.Downgrade:
			return o.file.DowngradeReply(op.Access, op.Deny)
		}
		opened, reply, err = p.OpenReply(o.owner, p.board.root, client.OpenArgs{Access: op.Access, Deny: op.Deny, Name: op.File})
		return reply, err
	})
	switch {
	case err != nil:
		return err
	case op.Do == linear.Open && reply.Status == nfs4.ErrShareDenied:
		op.Refused = true
	case reply.Status != nfs4.OK:
		return unexpected(op, reply)
	}
	end(op)
	switch {
	case op.Refused:
	case op.Do == linear.Close:
		o.file, o.more = nil, false
	case op.Do == linear.Downgrade:
		o.more = false
	case o.file == nil:
		o.file, o.first = opened, op
	default:
		o.file, o.more = opened, true
	}
	return nil
}

func (p *player) moveName() error {
	i := p.rand.IntN(len(p.board.dirs))
	dir := p.board.dirs[i]
	all := []string{linear.Make, linear.Make, linear.Link, linear.Remove, linear.Rename, linear.Look}
	op := linear.NameOp{In: fmt.Sprint("names", i), Do: all[p.rand.IntN(len(all))], Name: p.rand.IntN(linear.Names), To: p.rand.IntN(linear.Names)}
	op.Dir = op.Do == linear.Make && p.rand.IntN(2) == 0
	name, to := fmt.Sprint(op.Name), fmt.Sprint(op.To)
	ops := []client.Op{client.PutFH(dir)}
	var opened *client.OpenFile
	do := func() (*client.Reply, error) { return p.Compound(ops...) }
	switch {
	case op.Dir:
		ops = append(ops, client.Mkdir(name), client.GetFH())
	case op.Do == linear.Make:
		do = func() (reply *client.Reply, err error) {
			opened, reply, err = p.OpenReply(p.maker, dir, p.exclusive(name))
			return reply, err
		}
	case op.Do == linear.Link:
		op.Object = p.board.spare.String()
		ops = append(ops, client.PutFH(p.board.spare), client.SaveFH(), client.PutFH(dir), client.Link(name))
	case op.Do == linear.Remove:
		ops = append(ops, client.Remove(name))
	case op.Do == linear.Rename:
		ops = append(ops, client.SaveFH(), client.Rename(name, to))
	default:
		ops = append(ops, client.Lookup(name), client.GetFH())
	}
	end := p.board.history.Begin(p.n)
	reply, err := again(do)
	if err != nil {
		return err
	}
	switch reply.Status {
	case nfs4.OK:
		op.Result = linear.Done
		if got := client.Get[client.GetFHRes](reply); got != nil {
			op.Object = got.FH.String()
		}
	case nfs4.ErrExist:
		op.Result = linear.Exists
	case nfs4.ErrNoEnt:
		op.Result = linear.Absent
	default:
		return unexpected(op, reply)
	}
	end(op)
	if opened == nil {
		return nil
	}
	reply, err = again(opened.CloseReply)
	if err == nil && reply.Status != nfs4.OK && reply.Status != nfs4.ErrStale { // somebody has removed it
		return fmt.Errorf("CLOSE of what was made: %v", reply)
	}
	return err
}

func (p *player) exclusive(name string) client.OpenArgs {
	a := client.OpenArgs{Access: nfs4.ShareAccessRead, How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive, Verifier: client.NewVerifier(), Name: name}
	if p.Config.Minor > 0 {
		a.Mode, a.Attrs = nfs4.CreateExclusive41, new(client.Attrs).SetMode(0o644)
	}
	return a
}
