package suite

import (
	"slices"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
)

// lacking ends the test as unsupported if the status says that the server lacks
// an operation that it need not have.
func (e *Env) lacking(op nfs4.Op, s nfs4.Status) {
	if s == nfs4.ErrNotSupp && optionalOp(op) {
		e.Unsupportedf("the server does not support %v, which is optional", op)
	}
}

// destroyedBefore says whether a reply is that to a request sent again whose
// first run destroyed what it names. Outside of a session nothing keeps the first
// reply: "a client that retries the request may receive an error in reply to the
// retry, even though the original request was successful" (RFC 8881 §18.37.3).
func (e *Env) destroyedBefore(p *client.Reply, want []nfs4.Status) bool {
	if !slices.Contains(want, nfs4.OK) || len(p.Results) != 1 {
		return false
	}
	gone := map[nfs4.Op]nfs4.Status{nfs4.OpDestroySession: nfs4.ErrBadSession, nfs4.OpDestroyClientID: nfs4.ErrStaleClientID}
	s, ok := gone[p.Results[0].Op]
	return ok && s == p.Status && e.resent(p.XID)
}

// resent says whether a call of the test was sent again because its connection
// broke.
func (e *Env) resent(xid uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.carriers, func(c *carrier) bool { return c.wasResent(xid) })
}
