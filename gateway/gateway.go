package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
	"holdfast/nfsops"
)

// Program and version of NFSv4 (RFC 8881 §1.2), and of what NFSv3 needs
// (RFC 1813 §2.4 and appendix I).
const (
	ProgramNFS   = 100003
	ProgramMount = 100005
	version4     = 4
	version3     = 3
)

// A Handler carries out COMPOUND calls. Compound is called at the same time
// by many goroutines.
type Handler interface {
	// Compound appends the COMPOUND4res of call to w. It keeps neither
	// argument after it returned. An error means that there is no result:
	// nfsops.ErrGarbage becomes GARBAGE_ARGS, nfsops.ErrGone a reset of the
	// connection, any other SYSTEM_ERR (RFC 5531 §9).
	// ctx ends when the gateway is closed by force, not when the client's
	// connection does: what a client has asked for is carried out.
	Compound(ctx context.Context, call *nfsops.Call, w *xdr.Writer) error
}

// A Forecaster is a Handler that can tell from its arguments what a call will
// take. A wrong answer costs time only.
type Forecaster interface {
	// Forecast says whether the call will probably neither wait for anything
	// nor take long, and how many bytes the result will take (0: not known).
	Forecast(body []byte) (quick bool, reply int)
}

// A ConnServer serves whole connections of another protocol.
type ConnServer interface {
	// ServeConn serves c until the client or c ends and then closes it.
	ServeConn(c net.Conn)
}

// Limits bound what clients can take. 0 means the default.
type Limits struct {
	Connections int           // at once; default 65,536
	PerAddress  int           // connections from one address; default unlimited
	InFlight    int           // requests running for one connection; default 256
	Record      int           // bytes of one request; default 2 MiB
	Memory      int64         // bytes of all requests and replies; default a quarter of the memory, at most 4 GiB
	FirstCall   time.Duration // from connect to the first complete call; default 30 s
	Stuck       time.Duration // for half a record, or replies that are not taken; default 60 s
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&l.Connections, 65536)
	set(&l.InFlight, 256)
	set(&l.Record, 2<<20)
	if l.Memory <= 0 {
		l.Memory = defaultMemory()
	}
	if l.FirstCall <= 0 {
		l.FirstCall = 30 * time.Second
	}
	if l.Stuck <= 0 {
		l.Stuck = time.Minute
	}
	return l
}

// Config says what a Server serves and where.
type Config struct {
	// Listen are the addresses, host:port. An empty host means all addresses
	// of IPv4 and IPv6. Port 0 lets the system choose.
	Listen []string

	// Listeners, if there are any, are served instead of Listen: TCP sockets
	// that somebody else made and keeps open when this process ends. The
	// Server closes them.
	Listeners []net.Listener

	// Proxies are the networks of balancers: a connection from there must
	// begin with a header of the PROXY protocol, version 2, and is taken for one
	// of the client that the header names.
	Proxies []netip.Prefix

	Handler Handler

	// NFSv3, if not nil, gets the connections whose first call is for NFSv3
	// or MOUNT.
	NFSv3 ConnServer

	// Standstill is for how long the process may not have run before it is taken
	// that its clients went to another gateway: connections from before are reset then, and
	// what came in on them is not run any more. It must be shorter than a balancer takes
	// to notice. 0: there is no other gateway.
	Standstill time.Duration

	Limits Limits
	Logger *slog.Logger
}

// A Server is one front-end. Its methods may be called at the same time.
type Server struct {
	cfg      Config
	limits   Limits
	log      *slog.Logger
	forecast func(body []byte) (bool, int)

	ctx    context.Context // of running requests
	cancel context.CancelFunc

	pool     oncrpc.Pool
	requests sync.Pool // *request
	workers  workers
	memory   ledger
	made     time.Time
	watch    watch
	still    standstill
	stats    counters

	listeners []net.Listener
	nextID    atomic.Uint64
	greeting  atomic.Int64 // proxied connections whose header has not come
	draining  atomic.Bool
	drained   chan struct{}
	loops     sync.WaitGroup // accept loops and the watch
	stop      chan struct{}
	stopOnce  sync.Once

	// mu guards what follows. It is taken alone.
	mu        sync.Mutex
	conns     map[*conn]struct{}
	byAddress map[addressKey]int
	gone      chan struct{} // closed and replaced when a connection ends
}

// New returns a Server that listens: connections are accepted by the system
// and served once Serve is called.
func New(cfg Config) (*Server, error) {
	if cfg.Handler == nil {
		return nil, errors.New("gateway: no handler")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Listen)+len(cfg.Listeners) == 0 {
		return nil, errors.New("gateway: no address to listen on")
	}
	s := &Server{
		cfg:       cfg,
		limits:    cfg.Limits.withDefaults(),
		log:       cfg.Logger,
		made:      time.Now(),
		drained:   make(chan struct{}),
		stop:      make(chan struct{}),
		conns:     map[*conn]struct{}{},
		byAddress: map[addressKey]int{},
		gone:      make(chan struct{}),
	}
	s.forecast = func([]byte) (bool, int) { return false, 0 }
	if f, ok := cfg.Handler.(Forecaster); ok {
		s.forecast = f.Forecast
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.requests.New = func() any { return new(request) }
	s.memory.init(s.limits.Memory)
	s.workers.max = 64 * runtime.GOMAXPROCS(0)
	s.watch.init()
	s.still.limit = int64(cfg.Standstill)
	s.stats.init()
	if s.listeners = cfg.Listeners; len(s.listeners) > 0 {
		return s, nil
	}
	for _, l := range listenPlan(cfg.Listen) {
		ln, err := listen(s.ctx, l)
		if err != nil {
			s.closeListeners()
			return nil, fmt.Errorf("listen on %s: %w", l.address, err)
		}
		s.listeners = append(s.listeners, ln)
	}
	return s, nil
}

// Addrs returns the addresses that are listened on, in the order of
// Config.Listen or Config.Listeners.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Sockets returns duplicates of the listening sockets, which stay open when the
// Server closes its own: clients that connect meanwhile wait for whoever
// takes them over. The caller closes them.
func (s *Server) Sockets() ([]*os.File, error) {
	var all []*os.File
	for _, l := range s.listeners {
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			continue
		}
		f, err := tcp.File()
		if err != nil {
			for _, f := range all {
				f.Close()
			}
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// Serve serves until Drain or Close is called, and returns nil then. It is called
// once.
func (s *Server) Serve() error {
	s.loops.Go(s.sweepLoop)
	s.loops.Go(s.watchLoop)
	if s.still.limit > 0 {
		s.still.ticked.Store(s.clock())
		s.loops.Go(s.stillLoop)
	}
	for _, l := range s.listeners {
		s.loops.Go(func() { s.accept(l) })
	}
	s.loops.Wait()
	return nil
}

// Draining says whether Drain or Close was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Disconnect resets all connections and goes on serving: clients connect
// again, here or elsewhere. Replies not yet sent are lost.
func (s *Server) Disconnect(why error) {
	for _, c := range s.snapshot() {
		c.kill(why)
	}
}

// Close ends everything at once: running requests see their context end, and
// replies not yet sent are lost. After a Drain it only lets go of what is left.
func (s *Server) Close() {
	s.draining.Store(true)
	s.closeListeners()
	s.cancel()
	s.stopOnce.Do(func() { close(s.stop) })
	for _, c := range s.snapshot() {
		c.kill(errClosing)
	}
	s.workers.close()
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.Close()
	}
}

func (s *Server) snapshot() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

var (
	errClosing  = errors.New("gateway is closing")
	errFull     = errors.New("too many connections")
	errPanic    = errors.New("a panic in the gateway")
	errNoCall   = errors.New("no call came in time")
	errStuck    = errors.New("half a record, or replies not taken, for too long")
	errPressure = errors.New("memory is short and this connection was stuck for longest")
)
