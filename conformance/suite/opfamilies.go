package suite

import (
	"fmt"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// opTests are families of tests that say one sentence of every operation it
// applies to. A test is numbered by its operation's number in the protocol.
func opTests() []Test {
	var tests []Test
	add := func(o opCase, family, says string, run func(e *Env, o opCase)) {
		tests = append(tests, Test{
			Code: o.code(family), minors: o.minors(), RFC: o.rfc(), Says: fmt.Sprintf(says, o.num), run: func(e *Env) { run(e, o) },
		})
	}
	for _, o := range opCases() {
		if o.needFH {
			add(o, "NOFH", "%v without a current filehandle is NFS4ERR_NOFILEHANDLE", opNoFH)
		}
	}
	for _, o := range opCases() {
		if len(o.make(exampleClient).Args) > 0 {
			add(o, "CUT", "the arguments of %v, cut short anywhere, are NFS4ERR_BADXDR", opCut)
		}
	}
	tests = append(tests, goneTests()...)
	for _, o := range opCases() {
		if o.minors()&v12 != 0 && needsSession(o.num) {
			o := o
			t := Test{
				Code: o.code("NOSES"), minors: o.minors() & v12, RFC: "RFC 8881 §2.10.2.1, §15.1.3.5", run: func(e *Env) { opNoSession(e, o) },
				Says: fmt.Sprintf("%v as the first operation of a COMPOUND, without SEQUENCE, is NFS4ERR_OP_NOT_IN_SESSION", o.num),
			}
			tests = append(tests, t)
		}
	}
	for _, o := range opCases() {
		if o.minors()&v12 != 0 && !needsSession(o.num) && o.num != nfs4.OpSequence {
			add(o, "ALONE", "%v without SEQUENCE must be the only operation: NFS4ERR_NOT_ONLY_OP", opAlone)
		}
	}
	return tests
}

// exampleClient stands for any client where only the shape of an operation is
// asked for.
var exampleClient = &client.Client{Session: &client.Session{}}

func opNoFH(e *Env, o opCase) {
	e.Want(e.Client(), o.orNotSupp(nfs4.ErrNoFileHandle), o.make(e.Client()))
}

// opCut sends each prefix of the arguments as the last operation of a request,
// where nothing follows that could be taken for the rest.
func opCut(e *Env, o opCase) {
	c := e.Client()
	whole := o.make(c).Args
	for n := 0; n < len(whole); n += 4 {
		cut := client.Op{Num: o.num, Args: whole[:n]}
		var p *client.Reply
		var err error
		switch {
		case o.minors()&v12 != 0 && e.Minor > 0 && !needsSession(o.num):
			p, err = c.Conn().Compound(e.Minor, cut)
		case o.needFH:
			p, err = c.Compound(client.PutRootFH(), cut)
		default:
			p, err = c.Compound(cut)
		}
		if err == nil && p.Status == nfs4.ErrNotSupp && optionalOp(o.num) {
			continue
		}
		e.badXDR(p, err)
	}
	e.OK(c, client.PutRootFH())
}

// needsSession says whether an operation of NFSv4.1 may not begin a COMPOUND
// (RFC 8881 §2.10.2.1).
func needsSession(num nfs4.Op) bool {
	switch num {
	case nfs4.OpSequence, nfs4.OpExchangeID, nfs4.OpCreateSession, nfs4.OpBindConnToSession, nfs4.OpDestroySession, nfs4.OpDestroyClientID:
		return false
	}
	return true
}

func opNoSession(e *Env, o opCase) {
	p := e.WantRaw(e.Conn(), is(nfs4.ErrOpNotInSession), o.make(exampleClient))
	if len(p.Results) > 1 { // the status may be the compound's own
		e.Errorf("%v", p)
	}
}

func opAlone(e *Env, o opCase) {
	c := e.Client()
	e.WantRaw(e.Conn(), is(nfs4.ErrNotOnlyOp), o.make(c), client.PutRootFH())
	e.OK(c, client.PutRootFH()) // the session lives, so it had no effect
}
