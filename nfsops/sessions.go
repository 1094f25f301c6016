package nfsops

import (
	"context"
	"errors"
	"unicode/utf8"

	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// implementation is nfs_impl_id4 of this server.
const (
	implDomain = "holdfast.example"
	implName   = "Holdfast"
)

// maxProtectOps bounds a bitmap of state_protect_ops4 in words.
const maxProtectOps = 8

// opExchangeID is EXCHANGE_ID (RFC 8881 §18.35). State protection other than
// SP4_NONE needs RPCSEC_GSS, which is not offered: it is refused with
// NFS4ERR_ENCR_ALG_UNSUPP or, for SP4_MACH_CRED, granted as SP4_NONE is not
// possible, NFS4ERR_INVAL.
func opExchangeID(c *compound) nfs4.Status {
	args := statesync.ExchangeIDArgs{Verifier: nfs4.DecodeVerifier(&c.r), Principal: c.principal(), Minor: c.minor}
	args.Owner = c.r.Opaque(nfs4.OpaqueLimit)
	args.Flags = c.r.Uint32()
	how := c.r.Uint32()
	noAlgorithm := false
	switch how {
	case nfs4.SP4None:
	case nfs4.SP4MachCred:
		skipProtectOps(&c.r)
	case nfs4.SP4SSV:
		skipProtectOps(&c.r)
		for range 2 { // hash and encryption algorithms
			n := c.r.Count(16, 4)
			noAlgorithm = noAlgorithm || n == 0
			for range n {
				c.r.Opaque(nfs4.OpaqueLimit)
			}
		}
		c.r.Uint32() // window
		c.r.Uint32() // GSS handles
	default:
		return nfs4.ErrBadXDR
	}
	for range c.r.Count(1, 8) {
		c.r.Opaque(nfs4.OpaqueLimit)
		args.ImplName = string(c.r.Opaque(nfs4.OpaqueLimit))
		nfs4.DecodeTime(&c.r)
	}
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if args.Flags&^uint32(nfs4.ExchgMaskArg) != 0 {
		return nfs4.ErrInval
	}
	switch how {
	case nfs4.SP4MachCred:
		// Possible only where the machine credential is RPCSEC_GSS (RFC 8881 §2.10.8.3).
		return nfs4.ErrInval
	case nfs4.SP4SSV:
		if noAlgorithm {
			return nfs4.ErrInval
		}
		return nfs4.ErrEncrAlgUnsupp
	}
	args.Remote = c.call.Remote.String()
	res, err := c.srv.node.ExchangeID(c.ctx, &args)
	if err != nil {
		return c.fail(err)
	}
	id := c.srv.node.Identity()
	w := c.w
	w.Uint64(uint64(res.Client))
	w.Uint32(res.Sequence)
	w.Uint32(res.Flags)
	w.Uint32(nfs4.SP4None)
	w.Uint64(0) // so_minor_id
	w.Opaque(id.ServerOwner)
	w.Opaque(id.Scope)
	w.Uint32(1)
	w.String(implDomain)
	w.String(implName)
	nfs4.Time{}.Encode(w)
	return nfs4.OK
}

func skipProtectOps(r *xdr.Reader) {
	for range 2 {
		for range r.Count(maxProtectOps, 4) {
			r.Uint32()
		}
	}
}

func decodeChannel(r *xdr.Reader) (a statesync.ChannelAttrs) {
	a.HeaderPad = r.Uint32()
	a.MaxRequest = r.Uint32()
	a.MaxReply = r.Uint32()
	a.MaxCached = r.Uint32()
	a.MaxOps = r.Uint32()
	a.MaxSlots = r.Uint32()
	for range r.Count(1, 4) { // RDMA
		r.Uint32()
	}
	return a
}

func encodeChannel(w *xdr.Writer, a *statesync.ChannelAttrs) {
	for _, v := range [...]uint32{a.HeaderPad, a.MaxRequest, a.MaxReply, a.MaxCached, a.MaxOps, a.MaxSlots, 0} {
		w.Uint32(v)
	}
}

// callbackSec reads callback_sec_parms4<> and returns its bytes. gss says that
// they name a handle of RPCSEC_GSS, of which this server has given none.
func callbackSec(r *xdr.Reader) (parms []byte, gss bool) {
	from := r.Offset()
	for range r.Count(16, 4) {
		switch Flavor(r.Uint32()) {
		case AuthNone:
		case AuthSys:
			r.Uint32()    // stamp
			r.Opaque(255) // machine
			r.Uint32()    // uid
			r.Uint32()    // gid
			for range r.Count(16, 4) {
				r.Uint32()
			}
		case 6: // RPCSEC_GSS
			gss = true
			r.Uint32()
			r.Opaque(nfs4.OpaqueLimit)
			r.Opaque(nfs4.OpaqueLimit)
		default:
			r.Fail(xdr.ErrValue)
		}
	}
	if r.Err() != nil {
		return nil, false
	}
	return r.Bytes()[from:r.Offset()], gss
}

// opCreateSession is CREATE_SESSION (RFC 8881 §18.36).
func opCreateSession(c *compound) nfs4.Status {
	args := statesync.CreateSessionArgs{Client: statesync.ClientID(c.r.Uint64()), Principal: c.principal()}
	args.Sequence = c.r.Uint32()
	args.Flags = c.r.Uint32()
	args.Fore = decodeChannel(&c.r)
	args.Back = decodeChannel(&c.r)
	args.CallbackProgram = c.r.Uint32()
	var gss bool
	args.CallbackSec, gss = callbackSec(&c.r)
	switch {
	case c.r.Err() != nil:
		return nfs4.ErrBadXDR
	case gss:
		return nfs4.ErrNoEnt
	}
	if args.Flags&^uint32(nfs4.CreateSessionPersist|nfs4.CreateSessionConnBackChan|nfs4.CreateSessionConnRDMA) != 0 {
		return nfs4.ErrInval
	}
	res, err := c.srv.node.CreateSession(c.ctx, &args)
	if err != nil {
		return c.fail(err)
	}
	c.call.Conn.Bind(res.Session, res.Flags&nfs4.CreateSessionConnBackChan != 0)
	res.Session.Encode(c.w)
	c.w.Uint32(res.Sequence)
	c.w.Uint32(res.Flags)
	encodeChannel(c.w, &res.Fore)
	encodeChannel(c.w, &res.Back)
	return nfs4.OK
}

// opSequence is SEQUENCE (RFC 8881 §18.46). A connection that is not bound to
// the session yet is bound by it, as SP4_NONE allows: that is all a client
// does when it reconnects.
func opSequence(c *compound) nfs4.Status {
	args := statesync.SequenceArgs{Session: nfs4.DecodeSessionID(&c.r)}
	args.Sequence = c.r.Uint32()
	args.Slot = c.r.Uint32()
	args.Highest = c.r.Uint32()
	args.CacheThis = c.r.Bool()
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	// SEQUENCE itself is left out: a client that sends a request again may say
	// another highest slot (Linux encodes it anew).
	args.Checksum = c.checksum(c.r.Offset())
	args.Operations, args.RequestBytes = uint32(c.nops), uint32(len(c.call.Body))
	c.cacheThis = args.CacheThis
	req, err := c.srv.node.Sequence(c.ctx, &args, c)
	switch {
	case err == nil:
	case errors.Is(err, statesync.ErrDelay), errors.Is(err, context.DeadlineExceeded):
		// Whether the request ran is not known, so nothing is said: the client sends it again.
		c.gone = c.unanswered(err)
		return nfs4.ErrDelay
	default:
		return c.fail(err)
	}
	c.req = req
	req.Lazily()
	c.call.Conn.Bind(args.Session, false)
	if c.admitted() {
		return c.status
	}
	fore := &req.Session.Fore
	c.maxReply = int(fore.MaxReply) - rpcReplyHeader
	if args.CacheThis {
		c.maxReply = min(c.maxReply, int(fore.MaxCached)-rpcReplyHeader)
	}
	args.Session.Encode(c.w)
	c.w.Uint32(args.Sequence)
	c.w.Uint32(args.Slot)
	c.w.Uint32(req.Highest)
	c.w.Uint32(req.TargetHighest)
	c.w.Uint32(req.StatusFlags)
	return nfs4.OK
}

// rpcReplyHeader is the size of an accepted RPC reply's header, which counts
// towards ca_maxresponsesize.
const rpcReplyHeader = 24

// opDestroySession is DESTROY_SESSION (RFC 8881 §18.37).
func opDestroySession(c *compound) nfs4.Status {
	id := nfs4.DecodeSessionID(&c.r)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if c.req != nil && c.req.Session != nil && c.req.Session.ID == id {
		if c.index != c.nops-1 {
			return nfs4.ErrNotOnlyOp
		}
		// The session must live until the reply of this very request is kept.
		c.endsSession = true
	}
	return c.fail(c.srv.node.DestroySession(c.ctx, id))
}

// opDestroyClientID is DESTROY_CLIENTID (RFC 8881 §18.50).
func opDestroyClientID(c *compound) nfs4.Status {
	id := statesync.ClientID(c.r.Uint64())
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	return c.fail(c.srv.node.DestroyClientID(c.ctx, id))
}

// opBindConnToSession is BIND_CONN_TO_SESSION (RFC 8881 §18.34).
func opBindConnToSession(c *compound) nfs4.Status {
	id := nfs4.DecodeSessionID(&c.r)
	dir := c.r.Uint32()
	c.r.Bool() // RDMA mode is never used
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	var got uint32
	switch dir {
	case nfs4.CDFCFore:
		got = nfs4.CDFSFore
	case nfs4.CDFCBack:
		got = nfs4.CDFSBack
	case nfs4.CDFCForeOrBoth, nfs4.CDFCBackOrBoth:
		got = nfs4.CDFSBoth
	default:
		return nfs4.ErrBadXDR
	}
	if _, err := c.srv.node.Session(c.ctx, id); err != nil {
		return c.fail(err)
	}
	c.call.Conn.Bind(id, got != nfs4.CDFSFore)
	id.Encode(c.w)
	c.w.Uint32(got)
	c.w.Bool(false)
	return nfs4.OK
}

// opBackchannelCtl is BACKCHANNEL_CTL (RFC 8881 §18.33). No callback is sent, so
// that there is nothing to remember beyond checking it.
func opBackchannelCtl(c *compound) nfs4.Status {
	c.r.Uint32() // program
	_, gss := callbackSec(&c.r)
	switch {
	case c.r.Err() != nil:
		return nfs4.ErrBadXDR
	case gss:
		return nfs4.ErrNoEnt
	}
	return nfs4.OK
}

// opSetSSV is SET_SSV (RFC 8881 §18.47). No client has state protection by SSV.
func opSetSSV(c *compound) nfs4.Status {
	c.r.Opaque(nfs4.OpaqueLimit)
	c.r.Opaque(nfs4.OpaqueLimit)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	return nfs4.ErrInval
}

// opReclaimComplete is RECLAIM_COMPLETE (RFC 8881 §18.51).
func opReclaimComplete(c *compound) nfs4.Status {
	oneFS := c.r.Bool()
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if oneFS {
		if status := c.current(); status != nfs4.OK {
			return status
		}
	}
	return c.fail(c.srv.node.ReclaimComplete(c.ctx, c.req, oneFS))
}

// opSetClientID is SETCLIENTID (RFC 7530 §16.33).
func opSetClientID(c *compound) nfs4.Status {
	args := statesync.SetClientIDArgs{Verifier: nfs4.DecodeVerifier(&c.r), Principal: c.principal()}
	args.ID = c.r.Opaque(nfs4.OpaqueLimit)
	args.CallbackProgram = c.r.Uint32()
	netid := c.r.Opaque(nfs4.OpaqueLimit)
	addr := c.r.Opaque(nfs4.OpaqueLimit)
	args.CallbackIdent = c.r.Uint32()
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if !utf8.Valid(netid) || !utf8.Valid(addr) {
		return nfs4.ErrInval
	}
	args.CallbackNetID, args.CallbackAddr = string(netid), string(addr)
	args.Remote = c.call.Remote.String()
	res, err := c.srv.node.SetClientID(c.ctx, &args)
	if err != nil {
		if errors.Is(err, statesync.ErrClientIDInUse) {
			c.keepBody = true
			c.w.String(res.InUseNetID)
			c.w.String(res.InUseAddr)
		}
		return c.fail(err)
	}
	c.w.Uint64(uint64(res.Client))
	res.Confirm.Encode(c.w)
	return nfs4.OK
}

// opSetClientIDConfirm is SETCLIENTID_CONFIRM (RFC 7530 §16.34).
func opSetClientIDConfirm(c *compound) nfs4.Status {
	id := statesync.ClientID(c.r.Uint64())
	confirm := nfs4.DecodeVerifier(&c.r)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	return c.fail(c.srv.node.SetClientIDConfirm(c.ctx, id, confirm, c.principal()))
}

// opRenew is RENEW (RFC 7530 §16.30).
func opRenew(c *compound) nfs4.Status {
	id := statesync.ClientID(c.r.Uint64())
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	return c.fail(c.srv.node.Renew(c.ctx, id, c.principal()))
}
