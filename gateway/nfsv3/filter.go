package nfsv3

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	nfs "github.com/willscott/go-nfs"

	"holdfast/export"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

const (
	programNFS   = 100003
	programMount = 100005
	version      = 3

	// maxIO bounds one READ or WRITE, maxCall a whole call.
	maxIO   = 1 << 20
	maxCall = maxIO + 4<<10
)

// A filter is a connection from which the library reads: whole calls in one
// fragment each, which obey the grammar of RFC 1813. Calls that do not are
// refused here, and some are answered here (local.go).
type filter struct {
	net.Conn
	rd   *oncrpc.Reader
	pool oncrpc.Pool
	log  *slog.Logger

	// local answers calls that the library would answer wrongly, or returns nil.
	local func(h *oncrpc.Call, args *xdr.Reader) func(w *xdr.Writer)

	call *oncrpc.Buf // being read by the library
	rest []byte

	once sync.Once
	done chan struct{}

	// mu guards what goes out: replies of the library, written in any pieces,
	// and our own between them.
	mu  sync.Mutex
	out boundary
	own []byte
}

func newFilter(c net.Conn, local func(*oncrpc.Call, *xdr.Reader) func(*xdr.Writer), log *slog.Logger) *filter {
	return &filter{Conn: c, rd: oncrpc.NewReader(c, maxCall), local: local, log: log, done: make(chan struct{})}
}

// Read implements io.Reader for the library.
func (f *filter) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if err := f.next(); err != nil {
			// The library need not notice.
			f.Close()
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// Write implements io.Writer for the library.
func (f *filter) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.Conn.Write(p)
	f.out.pass(p[:n])
	if err != nil {
		return n, err
	}
	return n, f.flush()
}

// reply sends a reply of our own as soon as none of the library's is under
// way.
func (f *filter) reply(fill func(w *xdr.Writer)) error {
	w := xdr.NewWriter(make([]byte, oncrpc.MarkSize, 128))
	fill(&w)
	rec := w.Bytes()
	binary.BigEndian.PutUint32(rec, uint32(len(rec)-oncrpc.MarkSize)|oncrpc.LastFragment)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.own = append(f.own, rec...)
	return f.flush()
}

// flush sends our own replies between two of the library's. The caller holds
// mu.
func (f *filter) flush() error {
	if len(f.own) == 0 || !f.out.between() {
		return nil
	}
	_, err := f.Conn.Write(f.own)
	f.own = f.own[:0]
	return err
}

// Close implements io.Closer.
func (f *filter) Close() error {
	f.once.Do(func() { close(f.done) })
	return f.Conn.Close()
}

// next takes the next call in: one for the library, or one answered here.
func (f *filter) next() error {
	f.call.Free()
	f.call = nil
	rec, err := f.rd.Next(&f.pool)
	if err != nil {
		return err
	}
	defer rec.Free()
	r := xdr.NewReader(rec.B)
	var h oncrpc.Call
	refuse, args, err := check(&h, &r)
	if err != nil {
		f.log.Debug("NFSv3 call refused", "remote", f.RemoteAddr(), "error", err)
		if refuse == nil {
			return io.ErrUnexpectedEOF
		}
		return f.reply(refuse)
	}
	r.Seek(args)
	if answer := f.local(&h, &r); answer != nil {
		return f.reply(answer)
	}
	marked := f.pool.Get(len(rec.B) + oncrpc.MarkSize)
	marked.B = binary.BigEndian.AppendUint32(marked.B, uint32(len(rec.B))|oncrpc.LastFragment)
	marked.B = append(marked.B, rec.B...)
	f.call, f.rest = marked, marked.B
	return nil
}

// A boundary follows a stream of records to know when one is complete.
type boundary struct {
	head  [oncrpc.MarkSize]byte
	heads int // bytes of head that are there
	left  int // bytes of the fragment still to come
	open  bool
	ends  bool // the fragment is the record's last
}

// between says that no record is under way.
func (b *boundary) between() bool { return !b.open && b.heads == 0 }

// pass follows p.
func (b *boundary) pass(p []byte) {
	for len(p) > 0 {
		if b.left == 0 {
			n := copy(b.head[b.heads:], p)
			b.heads += n
			p = p[n:]
			if b.heads < len(b.head) {
				return
			}
			m := binary.BigEndian.Uint32(b.head[:])
			b.heads, b.left = 0, int(m&^oncrpc.LastFragment)
			b.ends = m&oncrpc.LastFragment != 0
		}
		n := min(b.left, len(p))
		b.left -= n
		p = p[n:]
		b.open = b.left > 0 || !b.ends
	}
}

var errGrammar = errors.New("not a call of RFC 1813")

// check says whether a record is a call that the library may see, of which it
// reads the header into h. If not, it also returns how to refuse it, or nil if
// it makes no sense at all. args is where the arguments begin. Counts of READ are
// lowered to what is served at once.
func check(h *oncrpc.Call, r *xdr.Reader) (refuse func(w *xdr.Writer), args int, err error) {
	if err := h.Decode(r); err != nil {
		return nil, 0, err
	}
	args = r.Offset()
	with := func(stat oncrpc.AcceptStat) func(w *xdr.Writer) {
		return func(w *xdr.Writer) { oncrpc.AppendAccepted(w, h.XID, stat) }
	}
	var sys oncrpc.SysCred
	if h.Cred.Flavor != oncrpc.AuthNone && (h.Cred.Flavor != oncrpc.AuthSys || sys.Decode(h.Cred.Body) != nil) {
		return func(w *xdr.Writer) { oncrpc.AppendAuthError(w, h.XID, oncrpc.AuthBadCred) }, 0, fmt.Errorf("%w: credential", errGrammar)
	}
	last := uint32(nfs.NFSProcedureCommit)
	if h.Prog == programMount {
		last = mountLast
	}
	switch {
	case h.Prog != programMount && h.Prog != programNFS:
		return with(oncrpc.ProgUnavail), 0, fmt.Errorf("%w: program %d", errGrammar, h.Prog)
	case h.Vers != version:
		return func(w *xdr.Writer) { oncrpc.AppendProgMismatch(w, h.XID, version, version) }, 0, fmt.Errorf("%w: version %d", errGrammar, h.Vers)
	case h.Proc > last:
		return with(oncrpc.ProcUnavail), 0, fmt.Errorf("%w: procedure %d", errGrammar, h.Proc)
	}
	a := arguments{r}
	if h.Prog == programMount {
		a.mount(h.Proc)
	} else {
		a.nfs(nfs.NFSProcedure(h.Proc))
	}
	if r.Err() == nil && r.Remaining() != 0 {
		r.Fail(errGrammar)
	}
	if r.Err() != nil {
		return with(oncrpc.GarbageArgs), 0, r.Err()
	}
	return nil, args, nil
}

// arguments reads the arguments of calls only to see that they are there.
type arguments struct{ r *xdr.Reader }

// The procedures of MOUNT that have an argument (RFC 1813 §5.2).
const (
	mountMnt  = 1
	mountUmnt = 3
	mountLast = 5
)

func (a arguments) mount(proc uint32) {
	if proc == mountMnt || proc == mountUmnt {
		a.r.Opaque(1024)
	}
}

func (a arguments) nfs(proc nfs.NFSProcedure) {
	r := a.r
	switch proc {
	case nfs.NFSProcedureNull:
	case nfs.NFSProcedureGetAttr, nfs.NFSProcedureReadlink, nfs.NFSProcedureFSStat, nfs.NFSProcedureFSInfo, nfs.NFSProcedurePathConf:
		a.handle()
	case nfs.NFSProcedureSetAttr:
		a.handle()
		a.attributes()
		if r.Bool() { // guard
			r.Uint64()
		}
	case nfs.NFSProcedureLookup, nfs.NFSProcedureRemove, nfs.NFSProcedureRmDir:
		a.place()
	case nfs.NFSProcedureAccess:
		a.handle()
		r.Uint32()
	case nfs.NFSProcedureRead:
		a.handle()
		r.Uint64()
		a.lower(maxIO)
	case nfs.NFSProcedureWrite:
		a.handle()
		r.Uint64()
		count := r.Uint32()
		a.oneOf(2) // stable_how
		if n := len(r.Opaque(maxIO)); r.Err() == nil && uint32(n) != count {
			r.Fail(errGrammar)
		}
	case nfs.NFSProcedureCreate:
		a.place()
		if a.oneOf(2) == 2 { // EXCLUSIVE
			r.Fixed(8)
		} else {
			a.attributes()
		}
	case nfs.NFSProcedureMkDir:
		a.place()
		a.attributes()
	case nfs.NFSProcedureSymlink:
		a.place()
		a.attributes()
		r.Opaque(4096)
	case nfs.NFSProcedureMkNod:
		a.place()
		switch r.Uint32() {
		case 3, 4: // block and character devices
			a.attributes()
			r.Uint64()
		case 6, 7: // sockets and FIFOs
			a.attributes()
		}
	case nfs.NFSProcedureRename:
		a.place()
		a.place()
	case nfs.NFSProcedureLink:
		a.handle()
		a.place()
	case nfs.NFSProcedureReadDir:
		a.handle()
		r.Uint64()
		r.Fixed(8)
		a.lower(maxIO)
	case nfs.NFSProcedureReadDirPlus:
		a.handle()
		r.Uint64()
		r.Fixed(8)
		a.lower(maxIO)
		a.lower(maxIO)
	case nfs.NFSProcedureCommit:
		a.handle()
		r.Uint64()
		r.Uint32()
	}
}

func (a arguments) handle() { a.r.Opaque(MaxHandle) }

// place is diropargs3. Names that could mean a path are not passed on.
func (a arguments) place() {
	a.handle()
	for _, b := range a.r.Opaque(export.MaxName) {
		if b == '/' || b == 0 {
			a.r.Fail(errGrammar)
		}
	}
}

// oneOf is an enum of 0 to last.
func (a arguments) oneOf(last uint32) uint32 {
	v := a.r.Uint32()
	if v > last {
		a.r.Fail(errGrammar)
	}
	return v
}

// attributes is sattr3.
func (a arguments) attributes() {
	r := a.r
	for range 3 { // mode, uid, gid
		if r.Bool() {
			r.Uint32()
		}
	}
	if r.Bool() { // size
		r.Uint64()
	}
	for range 2 { // atime, mtime
		if a.oneOf(2) == 2 { // SET_TO_CLIENT_TIME
			r.Uint64()
		}
	}
}

// lower reads a count and lowers it in place to at most most.
func (a arguments) lower(most uint32) {
	at := a.r.Offset()
	if n := a.r.Uint32(); a.r.Err() == nil && n > most {
		binary.BigEndian.PutUint32(a.r.Bytes()[at:], most)
	}
}
