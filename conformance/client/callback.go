package client

import (
	"fmt"
	"net"
	"sync"

	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// A CBCall is one operation of a callback.
type CBCall struct {
	Op   nfs4.CBOp
	Args any // *CBRecallArgs and the like; nil where nothing is decoded
}

// Arguments of callback operations.
type (
	// CBSequenceArgs are CB_SEQUENCE's; referring calls are checked and dropped.
	CBSequenceArgs struct {
		Session           nfs4.SessionID
		Seq, Slot, High   uint32
		CacheThis         bool
		ReferringSessions int
	}
	// CBRecallArgs are CB_RECALL's.
	CBRecallArgs struct {
		Stateid  nfs4.Stateid
		Truncate bool
		FH       FH
	}
	// CBGetAttrArgs are CB_GETATTR's.
	CBGetAttrArgs struct {
		FH   FH
		Attr nfs4.Bitmap
	}
	// CBNotifyLockArgs are CB_NOTIFY_LOCK's.
	CBNotifyLockArgs struct {
		FH       FH
		ClientID uint64
		Owner    Data
	}
	// CBRecallAnyArgs are CB_RECALL_ANY's.
	CBRecallAnyArgs struct {
		Keep uint32
		Mask nfs4.Bitmap
	}
	// CBRecallSlotArgs are CB_RECALL_SLOT's.
	CBRecallSlotArgs struct{ TargetHighest uint32 }
	// CBOffloadArgs are CB_OFFLOAD's.
	CBOffloadArgs struct {
		FH      FH
		Stateid nfs4.Stateid
		Status  nfs4.Status
		Write   WriteResponse // if Status is OK
		Count   uint64        // else
	}
	// CBLayoutRecallArgs are CB_LAYOUTRECALL's, of a file.
	CBLayoutRecallArgs struct {
		Type, IOMode uint32
		Changed      bool
		Recall       uint32 // nfs4.LayoutReturnFile, …FSID or …All
		FH           FH
		Offset       uint64
		Length       uint64
		Stateid      nfs4.Stateid
		FSID         FSID
	}
)

// Callbacks answers what the server calls. Its methods may be called by
// several goroutines at once. The zero Callbacks answers everything it can
// decode with NFS4_OK.
type Callbacks struct {
	// Handle, if set, decides the status of each operation but CB_SEQUENCE.
	Handle func(CBCall) nfs4.Status
	// Seen, if set, receives every operation after it was answered; it must be
	// drained or have room.
	Seen chan CBCall
	// Attrs answers CB_GETATTR.
	Attrs func(CBGetAttrArgs) *Attrs

	mu    sync.Mutex
	nulls int
}

// Nulls returns how many CB_NULL calls were answered.
func (cb *Callbacks) Nulls() int {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	return cb.nulls
}

// answer appends the reply to a call to w.
func (cb *Callbacks) answer(msg []byte, w *xdr.Writer) {
	r := xdr.NewReader(msg)
	var call oncrpc.Call
	if call.Decode(&r) != nil {
		oncrpc.AppendAccepted(w, call.XID, oncrpc.GarbageArgs)
		return
	}
	switch {
	case cb == nil:
		oncrpc.AppendAccepted(w, call.XID, oncrpc.ProgUnavail)
	case call.Proc == nfs4.CBProcNull:
		cb.mu.Lock()
		cb.nulls++
		cb.mu.Unlock()
		oncrpc.AppendAccepted(w, call.XID, oncrpc.Success)
	case call.Proc == nfs4.CBProcCompd:
		cb.compound(call.XID, &r, w)
	default:
		oncrpc.AppendAccepted(w, call.XID, oncrpc.ProcUnavail)
	}
}

func (cb *Callbacks) compound(xid uint32, r *xdr.Reader, w *xdr.Writer) {
	start := w.Len()
	oncrpc.AppendAccepted(w, xid, oncrpc.Success)
	tag := r.Opaque(nfs4.OpaqueLimit)
	r.Uint32() // minor version
	r.Uint32() // callback_ident
	n := r.Count(64, 4)
	statusAt := w.Reserve(4)
	w.Opaque(tag)
	countAt := w.Reserve(4)
	done := uint32(0)
	var seen []CBCall
	for range n {
		c := CBCall{Op: nfs4.CBOp(r.Uint32())}
		c.Args = decodeCB(c.Op, r)
		if r.Err() != nil {
			w.Truncate(start)
			oncrpc.AppendAccepted(w, xid, oncrpc.GarbageArgs)
			return
		}
		status := cb.one(c, w)
		seen = append(seen, c)
		done++
		if status != nfs4.OK {
			w.PutUint32(statusAt, uint32(status))
			break
		}
	}
	w.PutUint32(countAt, done)
	if cb.Seen != nil {
		for _, c := range seen {
			cb.Seen <- c
		}
	}
}

// one answers one operation.
func (cb *Callbacks) one(c CBCall, w *xdr.Writer) nfs4.Status {
	w.Uint32(uint32(c.Op))
	status := nfs4.OK
	if c.Args == nil {
		status = nfs4.ErrNotSupp
	} else if cb.Handle != nil && c.Op != nfs4.CBSequence {
		status = cb.Handle(c)
	}
	w.Uint32(uint32(status))
	if status != nfs4.OK {
		return status
	}
	switch a := c.Args.(type) {
	case *CBSequenceArgs:
		a.Session.Encode(w)
		w.Uint32(a.Seq)
		w.Uint32(a.Slot)
		w.Uint32(a.High)
		w.Uint32(a.High)
	case *CBGetAttrArgs:
		attrs := &Attrs{}
		if cb.Attrs != nil {
			attrs = cb.Attrs(*a)
		}
		attrs.Encode(w)
	}
	return status
}

// decodeCB reads the arguments of a callback operation; nil for one that is
// not known, after which nothing can be read.
func decodeCB(op nfs4.CBOp, r *xdr.Reader) any {
	switch op {
	case nfs4.CBSequence:
		a := &CBSequenceArgs{Session: nfs4.DecodeSessionID(r), Seq: r.Uint32(), Slot: r.Uint32(), High: r.Uint32(), CacheThis: r.Bool()}
		a.ReferringSessions = r.Count(64, nfs4.SessionSize+4)
		for range a.ReferringSessions {
			nfs4.DecodeSessionID(r)
			for range r.Count(1024, 8) {
				r.Uint64()
			}
		}
		return a
	case nfs4.CBRecall:
		return &CBRecallArgs{Stateid: nfs4.DecodeStateid(r), Truncate: r.Bool(), FH: decodeFH(r)}
	case nfs4.CBGetAttr:
		return &CBGetAttrArgs{FH: decodeFH(r), Attr: nfs4.DecodeBitmap(r)}
	case nfs4.CBNotifyLock:
		return &CBNotifyLockArgs{FH: decodeFH(r), ClientID: r.Uint64(), Owner: clone(r.Opaque(nfs4.OpaqueLimit))}
	case nfs4.CBRecallAny:
		return &CBRecallAnyArgs{Keep: r.Uint32(), Mask: nfs4.DecodeBitmap(r)}
	case nfs4.CBRecallSlot:
		return &CBRecallSlotArgs{TargetHighest: r.Uint32()}
	case nfs4.CBOffload:
		a := &CBOffloadArgs{FH: decodeFH(r), Stateid: nfs4.DecodeStateid(r), Status: nfs4.Status(r.Uint32())}
		if a.Status == nfs4.OK {
			a.Write = decodeWriteResponse(r)
		} else {
			a.Count = r.Uint64()
		}
		return a
	case nfs4.CBLayoutRecall:
		a := &CBLayoutRecallArgs{Type: r.Uint32(), IOMode: r.Uint32(), Changed: r.Bool(), Recall: r.Uint32()}
		switch a.Recall {
		case nfs4.LayoutReturnFile:
			a.FH, a.Offset, a.Length, a.Stateid = decodeFH(r), r.Uint64(), r.Uint64(), nfs4.DecodeStateid(r)
		case nfs4.LayoutReturnFSID:
			a.FSID = FSID{r.Uint64(), r.Uint64()}
		}
		return a
	}
	return nil
}

// A CallbackServer accepts the connections that an NFSv4.0 server makes to its
// client.
type CallbackServer struct {
	l  net.Listener
	cb *Callbacks
	wg sync.WaitGroup

	mu    sync.Mutex // guards conns and done
	conns map[net.Conn]struct{}
	done  bool
}

// ListenCallbacks serves cb on a loopback port of its own.
func ListenCallbacks(cb *Callbacks) (*CallbackServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &CallbackServer{l: l, cb: cb, conns: make(map[net.Conn]struct{})}
	s.wg.Add(1)
	go s.accept()
	return s, nil
}

// Universal returns netid and universal address (RFC 5665) for SETCLIENTID.
func (s *CallbackServer) Universal() (netid, uaddr string) {
	a := s.l.Addr().(*net.TCPAddr)
	ip := a.IP.To4()
	return "tcp", fmt.Sprintf("%d.%d.%d.%d.%d.%d", ip[0], ip[1], ip[2], ip[3], a.Port>>8, a.Port&255)
}

// Close stops the server and its connections.
func (s *CallbackServer) Close() {
	_ = s.l.Close()
	s.mu.Lock()
	s.done = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *CallbackServer) accept() {
	defer s.wg.Done()
	for {
		nc, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.done {
			s.mu.Unlock()
			_ = nc.Close()
			return
		}
		s.conns[nc] = struct{}{}
		s.wg.Add(1)
		s.mu.Unlock()
		go s.serve(nc)
	}
}

func (s *CallbackServer) serve(nc net.Conn) {
	defer s.wg.Done()
	defer func() {
		_ = nc.Close()
		s.mu.Lock()
		delete(s.conns, nc)
		s.mu.Unlock()
	}()
	r := oncrpc.NewReader(nc, 1<<20)
	out := oncrpc.NewWriter(nc)
	var pool oncrpc.Pool
	for {
		buf, err := r.Next(&pool)
		if err != nil {
			return
		}
		var w xdr.Writer
		w.Reserve(oncrpc.MarkSize)
		s.cb.answer(buf.B, &w)
		buf.Free()
		if out.WriteRecord(w.Bytes()) != nil {
			return
		}
	}
}
