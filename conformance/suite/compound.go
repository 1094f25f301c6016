package suite

import (
	"strings"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

func compoundTests() []Test {
	return []Test{
		{Code: "COMP1", minors: all, RFC: "RFC 8881 §16.2.3", Says: "a COMPOUND without operations succeeds", run: compEmpty},
		{Code: "COMP2", minors: all, RFC: "RFC 8881 §16.2.3", Says: "the reply carries the request's tag", run: compTag},
		{Code: "COMP3", minors: all, RFC: "RFC 8881 §16.2.3", Says: "a minor version that is not supported is NFS4ERR_MINOR_VERS_MISMATCH with no results", run: compMinor},
		{Code: "COMP4", minors: all, RFC: "RFC 8881 §16.2.3, §15.1.3.4", Says: "an operation number not defined is answered as OP_ILLEGAL with NFS4ERR_OP_ILLEGAL, or the call does not decode", run: compIllegal},
		{Code: "COMP5", minors: all, RFC: "RFC 8881 §16.2.3", Says: "nothing is carried out after the first operation that fails", run: compStops},
		{Code: "COMP6", minors: v0 | v1, RFC: "RFC 8881 §16.2.3, §15.1.3.4, RFC 8178 §4.4", Says: "an operation of a later minor version is one not defined", run: compLater},
		{Code: "COMP7", minors: v12, RFC: "RFC 8881 §17, §20.11", Says: "operations that NFSv4.1 made mandatory not to implement are NFS4ERR_NOTSUPP", run: compObsolete},
		{Code: "COMP10", minors: v12, RFC: "RFC 8881 §18.46.3", Says: "SEQUENCE anywhere but first is NFS4ERR_SEQUENCE_POS", run: compSequencePos},
		{Code: "COMP11", minors: v12, RFC: "RFC 8881 §18.36.3", Says: "more operations than ca_maxoperations are NFS4ERR_TOO_MANY_OPS", run: compTooMany},
		{Code: "COMP13", minors: all, RFC: "RFC 8881 §16.2.3", Flags: extra, Says: "a tag of 1024 bytes comes back", run: compLongTag},
		{Code: "COMP14", minors: v0, RFC: "RFC 7530 §15.2.4", Says: "a long COMPOUND is carried out or refused with NFS4ERR_RESOURCE, in order and completely up to there", run: compLong},
		{Code: "COMP15", minors: all, RFC: "RFC 8881 §16.2.3", Says: "the results of the operations before a failed one are returned", run: compPartial},
	}
}

func compEmpty(e *Env) {
	c := e.Conn()
	p := e.WantRaw(c, is(nfs4.OK))
	if len(p.Results) != 0 {
		e.Errorf("results %v", p)
	}
}

func compTag(e *Env) {
	c := e.Conn()
	for _, tag := range []string{"", "a", "four", "a longer tag: grüße"} {
		p := e.reply(c.Do(client.NewCompound(c.Cred(), e.Minor, tag)))
		if p.Tag != tag {
			e.Errorf("tag %q comes back as %q", tag, p.Tag)
		}
	}
}

func compLongTag(e *Env) {
	c := e.Conn()
	tag := strings.Repeat("t", 1024)
	p := e.reply(c.Do(client.NewCompound(c.Cred(), e.Minor, tag)))
	if p.Tag != tag {
		e.Errorf("a tag of 1024 bytes comes back with %d", len(p.Tag))
	}
}

func compMinor(e *Env) {
	c := e.Conn()
	for _, minor := range []uint32{3, 77, 0xffffffff} {
		p := e.reply(c.Compound(minor, client.PutRootFH()))
		e.Expect(p, is(nfs4.ErrMinorVersMismatch))
		if len(p.Results) != 0 {
			e.Errorf("minor version %d: results %v", minor, p)
		}
	}
}

func compIllegal(e *Env) {
	for _, num := range []uint32{0, 1, 2, 200, 10044, 0xffffffff} {
		e.illegal(client.Illegal(num))
	}
}

// illegal requires that an operation is not known: that it is answered as
// OP_ILLEGAL or, "where … the replier pre-parses all operations for a Compound
// procedure before doing any operation execution", that the call did not decode
// (RFC 7530 §13.1.3.3, RFC 8881 §15.1.3.4).
func (e *Env) illegal(op client.Op) {
	p, err := e.Client().Compound(client.PutRootFH(), op)
	if err != nil {
		e.Refused(err, "GARBAGE_ARGS", garbage)
		return
	}
	e.Expect(e.reply(p, nil), is(nfs4.ErrOpIllegal))
	if p.Last().Op != nfs4.OpIllegal {
		e.Errorf("operation %d is answered as %v", op.Num, p.Last().Op)
	}
}

func compStops(e *Env) {
	dir := e.Dir()
	e.Want(e.Client(), is(nfs4.OK), client.PutFH(dir), client.Mkdir("before"))
	p := e.Do(e.Client(), client.PutFH(dir), client.Lookup("missing"), client.PutFH(dir), client.Mkdir("after"))
	e.Expect(p, is(nfs4.ErrNoEnt))
	if names := e.Names(e.Client(), dir); len(names) != 1 {
		e.Errorf("the directory holds %v", names)
	}
}

func compPartial(e *Env) {
	dir := e.Dir()
	p := e.Do(e.Client(), client.PutFH(dir), client.GetAttr(nfs4.AttrType), client.GetFH(), client.Lookup("missing"))
	e.Expect(p, is(nfs4.ErrNoEnt))
	if a := get[client.GetAttrRes](e, p); a.Type != nfs4.TypeDir {
		e.Errorf("GETATTR before the failure: %v", a)
	}
	if fh := get[client.GetFHRes](e, p).FH; string(fh) != string(dir) {
		e.Errorf("GETFH before the failure: %v", fh)
	}
}

func compLater(e *Env) {
	first := nfs4.OpAllocate
	if e.Minor == 0 {
		first = nfs4.OpBackchannelCtl
	}
	for op := first; op <= nfs4.OpLast; op++ {
		e.illegal(client.Op{Num: op, Args: make([]byte, 64)})
	}
}

func compObsolete(e *Env) {
	c := e.Client()
	for _, op := range []client.Op{
		client.SetClientID(client.SetClientIDArgs{ID: "x", NetID: "tcp", UAddr: "0.0.0.0.0.0"}),
		client.SetClientIDConfirm(1, nfs4.Verifier{}),
		client.Renew(c.ClientID),
		client.ReleaseLockOwner(client.Owner{ClientID: c.ClientID, Name: "x"}),
	} {
		e.Want(c, is(nfs4.ErrNotSupp), op)
	}
	e.Want(c, is(nfs4.ErrNotSupp), client.PutRootFH(), client.OpenConfirm(nfs4.Stateid{}, 1))
}

func compSequencePos(e *Env) {
	c := e.Client()
	e.Want(c, is(nfs4.ErrSequencePos), client.PutRootFH(), client.Sequence(c.Session.ID, 1, 1, 1, false))
	e.Want(c, is(nfs4.ErrSequencePos), client.Sequence(c.Session.ID, 1, 1, 1, false))
}

func compTooMany(e *Env) {
	c := e.NewClient(func(cfg *client.Config) {
		cfg.Fore = client.DefaultFore
		cfg.Fore.MaxOps = 8
	})
	n := int(c.Session.Granted.Fore.MaxOps)
	ops := make([]client.Op, n)
	for i := range ops {
		ops[i] = client.PutRootFH()
	}
	e.OK(c, ops[:n-1]...) // SEQUENCE counts too
	e.Expect(e.Do(c, ops...), is(nfs4.ErrTooManyOps))
}

func compLong(e *Env) {
	ops := make([]client.Op, 60)
	for i := range ops {
		ops[i] = client.PutRootFH()
	}
	p := e.Do(e.Client(), ops...)
	e.Expect(p, is(nfs4.OK, nfs4.ErrResource))
	if p.Status == nfs4.OK && len(p.Results) != len(ops) {
		e.Errorf("%d results", len(p.Results))
	}
}
