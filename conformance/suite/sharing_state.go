package suite

import (
	"fmt"
	"slices"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func shrReaddir(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	var want, got []string
	for i := range 60 {
		name := fmt.Sprintf("name-%02d", i)
		want = append(want, name)
		e.Mkdir(c, dir, name)
	}
	sides := []*client.Client{c, e.ClientAt(there)}
	a := client.ReadDirArgs{DirCount: 512, MaxCount: 512}
	for i := 0; ; i++ {
		d := get[client.ReadDirRes](e, e.OK(sides[i%2], client.PutFH(dir), client.ReadDir(a)))
		for _, en := range d.Entries {
			got = append(got, en.Name)
			a.Cookie = en.Cookie
		}
		if d.EOF {
			break
		}
		if len(d.Entries) == 0 {
			e.Fatalf("READDIR gives no entry and no end")
		}
		a.Verifier = d.Verifier
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		e.Errorf("listed are %v", got)
	}
}

func shrUpgrade(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	e.Closed(c, dir, "f", "x")
	o := client.NewOwner()
	f, err := c.Open(o, dir, client.OpenArgs{Access: 1, Name: "f"})
	e.Must(err)
	e.move(c, there)
	g, err := c.Open(o, dir, client.OpenArgs{Access: 2, Name: "f"})
	e.Must(err)
	if f.Stateid.Other != g.Stateid.Other || g.Stateid.Seqid != f.Stateid.Seqid+1 {
		e.Errorf("opened here as %v, upgraded there to %v", f.Stateid, g.Stateid)
	}
	e.OK(c, client.PutFH(g.FH), client.Write(g.Stateid, 0, nfs4.FileSync, []byte("y")))
	e.move(c, here)
	e.Must(g.Downgrade(1, 0))
	e.Want(c, is(nfs4.ErrOpenMode), client.PutFH(g.FH), client.Write(g.Stateid, 0, nfs4.FileSync, []byte("z")))
	e.move(c, there)
	e.Want(c, is(nfs4.ErrOpenMode), client.PutFH(g.FH), client.Write(g.Stateid, 0, nfs4.FileSync, []byte("z")))
	e.Must(g.Close())
}

func shrClosed(e *Env) {
	c := e.ClientAt(here)
	f := e.File(c, e.Dir(), "f", "x")
	e.move(c, there)
	e.Must(f.Close())
	e.move(c, here)
	want := is(nfs4.ErrBadStateid)
	if e.Minor == 0 {
		want = is(nfs4.ErrBadStateid, nfs4.ErrOldStateid)
	}
	e.Want(c, want, client.PutFH(f.FH), client.Write(f.Stateid, 0, nfs4.FileSync, []byte("y")))
}

func shrCreateSession(e *Env) {
	a, b := e.ConnAt(here), e.ConnAt(there)
	r := e.exchange(a, owner())
	create := client.CreateSession(sessionArgs(r))
	p := e.WantRaw(b, is(nfs4.OK), create)
	q := e.WantRaw(a, is(nfs4.OK), create)
	if x, y := get[client.CreateSessionRes](e, p), get[client.CreateSessionRes](e, q); *x != *y {
		e.Errorf("there %+v\nhere %+v", x, y)
	}
	s := client.NewSession(a, e.Minor, r.ClientID, get[client.CreateSessionRes](e, p))
	e.Expect(e.reply(s.Compound(client.ReclaimComplete(false))), is(nfs4.OK))
	s.SetConn(b)
	e.Expect(e.reply(s.Compound(client.PutRootFH())), is(nfs4.OK))
}

func shrReclaimComplete(e *Env) {
	c := e.ClientAt(here)
	e.move(c, there)
	e.Want(c, is(nfs4.ErrCompleteAlready), client.ReclaimComplete(false))
	e.File(c, e.Dir(), "f", "x")
}

func shrDestroyClient(e *Env) {
	a, b := e.ConnAt(here), e.ConnAt(there)
	r := e.exchange(a, owner())
	s := e.confirm(a, r)
	e.WantRaw(b, is(nfs4.ErrClientIDBusy), client.DestroyClientID(r.ClientID))
	e.WantRaw(b, is(nfs4.OK), client.DestroySession(s.ID))
	e.WantRaw(b, is(nfs4.OK), client.DestroyClientID(r.ClientID))
	e.WantRaw(a, is(nfs4.ErrStaleClientID), client.DestroyClientID(r.ClientID))
	e.WantRaw(a, is(nfs4.ErrStaleClientID), client.CreateSession(sessionArgs(r)))
}

func shrBind(e *Env) {
	c := e.ClientAt(here)
	other := e.ConnAt(there)
	r := get[client.BindConnRes](e, e.WantRaw(other, is(nfs4.OK), client.BindConnToSession(c.Session.ID, nfs4.CDFCFore)))
	if r.Dir != nfs4.CDFSFore || r.Session != c.Session.ID {
		e.Errorf("%+v", r)
	}
	c.SetConn(other)
	e.OK(c, client.PutRootFH())
}

func shrAlternate(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	sl := e.Slot(c.Session, 1)
	sides := []*client.Conn{c.Conn(), e.ConnAt(there)}
	for i := range 20 {
		conn := sides[i%2]
		ops := []client.Op{client.PutFH(dir), client.Mkdir(fmt.Sprint("d", i)), client.GetFH()}
		if i%3 == 0 {
			ops = []client.Op{client.PutFH(dir), client.GetAttr(nfs4.AttrChange)}
		}
		e.Expect(e.reply(sl.Send(conn, sl.Request(true, ops...))), is(nfs4.OK))
	}
	if names := e.Names(c, dir); len(names) != 13 {
		e.Errorf("the directory holds %v", names)
	}
}

func shrSeqid(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	f := e.File(c, dir, "f", "contents")
	twice := func(ops ...client.Op) (p, q *client.Reply) {
		e.move(c, here)
		p = e.Expect(e.Do(c, ops...), is(nfs4.OK))
		e.move(c, there)
		q = e.Expect(e.Do(c, ops...), is(nfs4.OK))
		return p, q
	}
	p, q := twice(client.PutFH(dir), openAgain(c, f, "f", 1), client.GetFH())
	if a, b := get[client.OpenRes](e, p).Stateid, get[client.OpenRes](e, q).Stateid; a != b {
		e.Errorf("OPEN: %v here, %v there", a, b)
	}
	sid := get[client.OpenRes](e, p).Stateid
	p, q = twice(client.PutFH(f.FH), client.Lock(client.LockArgs{
		Type: nfs4.WriteLT, Length: 10, New: true, OpenSeqid: f.Owner.Seqid + 1, OpenStateid: sid,
		Owner: client.Owner{ClientID: c.ClientID, Name: "l"},
	}))
	if a, b := get[client.LockRes](e, p).Stateid, get[client.LockRes](e, q).Stateid; a != b {
		e.Errorf("LOCK: %v here, %v there", a, b)
	}
	p, q = twice(client.PutFH(f.FH), client.LockU(nfs4.WriteLT, 1, get[client.LockRes](e, p).Stateid, 0, 10))
	if a, b := get[client.LockURes](e, p).Stateid, get[client.LockURes](e, q).Stateid; a != b {
		e.Errorf("LOCKU: %v here, %v there", a, b)
	}
	p, q = twice(client.PutFH(f.FH), client.Close(f.Owner.Seqid+2, sid))
	if a, b := get[client.CloseRes](e, p).Stateid, get[client.CloseRes](e, q).Stateid; a != b {
		e.Errorf("CLOSE: %v here, %v there", a, b)
	}
	e.Want(c, is(nfs4.ErrBadSeqid), client.PutFH(dir), openAgain(c, f, "f", 1))
}

func shrRenew(e *Env) {
	c := e.ClientAt(here)
	f := e.File(c, e.Dir(), "f", "x")
	e.move(c, there)
	e.OK(c, client.Renew(c.ClientID))
	e.Must(f.Close())
}

func shrConfirm(e *Env) {
	c := e.ClientAt(here)
	dir := e.Dir()
	e.Closed(c, dir, "f", "x")
	o := client.Owner{ClientID: c.ClientID, Name: client.UniqueName("o")}
	p := e.OK(c, client.PutFH(dir), client.Open(client.OpenArgs{Access: 1, Owner: o, Name: "f"}), client.GetFH())
	r, fh := get[client.OpenRes](e, p), get[client.GetFHRes](e, p).FH
	if r.Flags&nfs4.OpenResultConfirm == 0 {
		e.Unsupportedf("the server asks for no confirmation of a new owner, as it may (RFC 7530 §16.18.5)")
	}
	e.move(c, there)
	q := e.OK(c, client.PutFH(fh), client.OpenConfirm(r.Stateid, 1))
	e.move(c, here)
	e.OK(c, client.PutFH(fh), client.Close(2, get[client.OpenConfirmRes](e, q).Stateid))
}

func shrSetClientID(e *Env) {
	a, b := e.ConnAt(here), e.ConnAt(there)
	args := client.SetClientIDArgs{Verifier: client.NewVerifier(), ID: client.UniqueName("id-"), CBProgram: nfs4.CBProgram, NetID: "tcp", UAddr: "0.0.0.0.0.0"}
	r := get[client.SetClientIDRes](e, e.WantRaw(a, is(nfs4.OK), client.SetClientID(args)))
	e.WantRaw(b, is(nfs4.OK), client.SetClientIDConfirm(r.ClientID, r.Confirm))
	e.WantRaw(a, is(nfs4.OK), client.Renew(r.ClientID))
}

func shrReleaseOwner(e *Env) {
	c := e.ClientAt(here)
	f := e.File(c, e.Dir(), "f", "x")
	l := f.Locks(client.NewOwner())
	e.Must(l.Lock(nfs4.WriteLT, 0, 10))
	o := client.Owner{ClientID: c.ClientID, Name: l.Owner.Name}
	e.move(c, there)
	e.Want(c, is(nfs4.ErrLocksHeld), client.ReleaseLockOwner(o))
	e.Must(l.Unlock(0, 10))
	e.OK(c, client.ReleaseLockOwner(o))
	e.move(c, here)
	e.OK(c, client.ReleaseLockOwner(o))
}

func raceTests() []Test {
	const rfc = "RFC 8881 §2.10.5"
	return []Test{
		{Code: "SHR30", minors: all, RFC: rfc, Says: "of two that make the same directory at two addresses at once one succeeds", run: raceMkdir},
		{Code: "SHR31", minors: all, RFC: rfc, Says: "of two that create the same file exclusively at two addresses at once one succeeds", run: raceExclusive},
		{Code: "SHR32", minors: all, RFC: rfc, Says: "of two that rename the same file at two addresses at once one succeeds", run: raceRename},
		{Code: "SHR33", minors: all, RFC: rfc, Says: "of two that link to the same name at two addresses at once one succeeds", run: raceLink},
		{Code: "SHR34", minors: all, RFC: rfc, Says: "of two that remove the same name at two addresses at once one succeeds", run: raceRemove},
		{Code: "SHR35", minors: all, RFC: rfc, Says: "of two that lock the same range at two addresses at once one succeeds", run: raceLock},
		{Code: "SHR36", minors: all, RFC: rfc, Says: "of two opens that deny each other at two addresses at once one succeeds", run: raceDeny},
	}
}

const raceRounds = 15

// race lets two clients at two addresses send something at the same time, and
// requires that one succeeds and the other is told the loser's status. It
// returns the number of the winner. The functions run beside each other and must
// not use the Env.
func (e *Env) race(loser nfs4.Status, a, b func() (*client.Reply, error)) int {
	type answer struct {
		p   *client.Reply
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		p, err := b()
		ch <- answer{p, err}
	}()
	p, err := a()
	y := <-ch
	first, second := e.reply(p, err), e.reply(y.p, y.err)
	e.invalid = ""
	switch {
	case first.Status == nfs4.OK && second.Status == loser:
		return 0
	case second.Status == nfs4.OK && first.Status == loser:
		return 1
	}
	e.Fatalf("one has to succeed and one to be told %v:\n    %v\n    %v", loser, first, second)
	return 0
}

// eager returns what sends operations until the answer is not NFS4ERR_DELAY, or
// has been that for long.
func eager(c *client.Client, ops ...client.Op) func() (*client.Reply, error) {
	return func() (*client.Reply, error) {
		for end := time.Now().Add(crowded); ; {
			p, err := c.Compound(ops...)
			if err != nil || p.Status != nfs4.ErrDelay || time.Now().After(end) {
				return p, err
			}
		}
	}
}

func raceMkdir(e *Env) {
	a, b, dir := e.ClientAt(here), e.ClientAt(there), e.Dir()
	for i := range raceRounds {
		mkdir := []client.Op{client.PutFH(dir), client.Mkdir(fmt.Sprint("d", i))}
		e.race(nfs4.ErrExist, eager(a, mkdir...), eager(b, mkdir...))
	}
}

func raceExclusive(e *Env) {
	dir := e.Dir()
	a, b := e.ClientAt(here), e.ClientAt(there)
	create := func(c *client.Client, name string) func() (*client.Reply, error) {
		args := client.OpenArgs{Access: 3, How: nfs4.OpenCreate, Mode: nfs4.CreateExclusive, Verifier: client.NewVerifier(), Name: name}
		if e.Minor > 0 {
			args.Mode = nfs4.CreateExclusive41
		}
		return func() (*client.Reply, error) {
			_, p, err := c.OpenReply(client.NewOwner(), dir, args)
			if p != nil {
				err = nil // the status tells
			}
			return p, err
		}
	}
	for i := range raceRounds {
		name := fmt.Sprint("f", i)
		e.race(nfs4.ErrExist, create(a, name), create(b, name))
	}
}

func raceRename(e *Env) {
	a, b, dir := e.ClientAt(here), e.ClientAt(there), e.Dir()
	for i := range raceRounds {
		name := fmt.Sprint("d", i)
		e.Mkdir(a, dir, name)
		rename := func(to string) []client.Op {
			return []client.Op{client.PutFH(dir), client.SaveFH(), client.Rename(name, name+to)}
		}
		won := e.race(nfs4.ErrNoEnt, eager(a, rename("-a")...), eager(b, rename("-b")...))
		e.OK(a, client.PutFH(dir), client.Lookup(name+[]string{"-a", "-b"}[won]))
		e.Want(a, is(nfs4.ErrNoEnt), client.PutFH(dir), client.Lookup(name+[]string{"-b", "-a"}[won]))
	}
}

func raceLink(e *Env) {
	a, b, dir := e.ClientAt(here), e.ClientAt(there), e.Dir()
	x, y := e.Closed(a, dir, "x", "x"), e.Closed(a, dir, "y", "y")
	for i := range raceRounds {
		name := fmt.Sprint("l", i)
		link := func(fh client.FH) []client.Op {
			return []client.Op{client.PutFH(fh), client.SaveFH(), client.PutFH(dir), client.Link(name)}
		}
		won := e.race(nfs4.ErrExist, eager(a, link(x)...), eager(b, link(y)...))
		fh, err := a.LookupFH(dir, name)
		e.Must(err)
		if got := e.Contents(a, fh); got != []string{"x", "y"}[won] {
			e.Errorf("the link leads to %q", got)
		}
	}
}

func raceRemove(e *Env) {
	a, b, dir := e.ClientAt(here), e.ClientAt(there), e.Dir()
	for i := range raceRounds {
		name := fmt.Sprint("d", i)
		e.Mkdir(a, dir, name)
		remove := []client.Op{client.PutFH(dir), client.Remove(name)}
		e.race(nfs4.ErrNoEnt, eager(a, remove...), eager(b, remove...))
	}
}

func raceLock(e *Env) {
	a, b, dir := e.ClientAt(here), e.ClientAt(there), e.Dir()
	f, g := e.File(a, dir, "f", "x"), e.File(b, dir, "f", "x")
	for range raceRounds {
		sides := []*client.Locks{f.Locks(client.NewOwner()), g.Locks(client.NewOwner())}
		lock := func(l *client.Locks) func() (*client.Reply, error) {
			return func() (*client.Reply, error) { return l.LockReply(nfs4.WriteLT, 0, 10) }
		}
		won := e.race(nfs4.ErrDenied, lock(sides[0]), lock(sides[1]))
		e.Must(sides[won].Unlock(0, 10))
	}
}

func raceDeny(e *Env) {
	a, b, dir := e.ClientAt(here), e.ClientAt(there), e.Dir()
	e.Closed(a, dir, "f", "x")
	var files [2]*client.OpenFile
	open := func(n int, c *client.Client) func() (*client.Reply, error) {
		return func() (p *client.Reply, err error) {
			files[n], p, err = c.OpenReply(client.NewOwner(), dir, client.OpenArgs{Access: 3, Deny: 2, Name: "f"})
			if p != nil {
				err = nil // the status tells
			}
			return p, err
		}
	}
	for range raceRounds {
		won := e.race(nfs4.ErrShareDenied, open(0, a), open(1, b))
		e.Must(files[won].Close())
	}
}
