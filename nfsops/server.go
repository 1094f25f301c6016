package nfsops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/export/exports"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/statesync"
)

// Config is what New needs.
type Config struct {
	Node    *statesync.Node
	Exports *exports.Set
	Logger  *slog.Logger

	// Observe is told of each operation that ran, if it is not nil. It is
	// called from many goroutines at once and must not block.
	Observe func(op nfs4.Op, status nfs4.Status, took time.Duration)

	// Names asks for owners as names of the system's user database, with
	// Domain after the '@'. Otherwise owners are numbers.
	Names  bool
	Domain string

	// MaxOpenFiles bounds the descriptors kept for open files; 0 means 4,096.
	MaxOpenFiles int

	// MaxOps bounds the operations of a COMPOUND, 8 to 1,024; 0 means 128. MaxTag bounds
	// its tag in bytes; 0 means 1,024. MaxIO bounds one READ or WRITE in bytes; 0 means 1 MiB.
	MaxOps int
	MaxTag int
	MaxIO  int
}

// A Server runs COMPOUNDs. Its methods may be called from any number of
// goroutines.
type Server struct {
	cfg     Config
	node    *statesync.Node
	exports *exports.Set
	log     *slog.Logger
	files   *fileTable
	owners  *owners // nil: owners are numbers
	pool    sync.Pool

	// syncFailures counts failed syncs. It is part of the write verifier: what
	// clients hold as unstable must be sent again (G5).
	syncFailures atomic.Uint64
}

// ErrGarbage says that the arguments are no COMPOUND4args: GARBAGE_ARGS.
var ErrGarbage = errors.New("nfsops: malformed COMPOUND")

// ErrGone says that the request must not be answered, because the gateway
// may not serve or the caller is gone: its connection is to be closed, so that
// the client sends the request again, elsewhere.
var ErrGone = errors.New("nfsops: request not answered")

// New returns a Server and makes it the Node's resolver of intents.
func New(cfg Config) (*Server, error) {
	if cfg.Node == nil || cfg.Exports == nil {
		return nil, errors.New("nfsops: Config needs Node and Exports")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&cfg.MaxOpenFiles, 4096)
	def(&cfg.MaxOps, 128)
	def(&cfg.MaxTag, 1024)
	def(&cfg.MaxIO, 1<<20)
	if cfg.MaxOps < 8 || cfg.MaxOps > 1024 {
		return nil, fmt.Errorf("nfsops: MaxOps is %d, allowed are 8 to 1024", cfg.MaxOps)
	}
	s := &Server{
		cfg:     cfg,
		node:    cfg.Node,
		exports: cfg.Exports,
		log:     cfg.Logger,
		files:   newFileTable(cfg.MaxOpenFiles),
	}
	s.files.inUse = func(key string) bool { return s.node.InUse(statesync.FileKey(key)) }
	s.files.opened = func(key string) bool { return s.node.Opened(statesync.FileKey(key)) }
	s.files.ages = s.node.Shared()
	if cfg.Names {
		s.owners = newOwners(cfg.Domain)
	}
	s.pool.New = func() any { return new(compound) }
	cfg.Node.SetResolver(s.resolve)
	if cfg.Node.Shared() {
		cfg.Node.OnClosed(func(key statesync.FileKey) {
			if !cfg.Node.InUse(key) { // mostly it is not even known here
				go s.files.drop([]byte(key)) // closing may take time
			}
		})
	}
	return s, nil
}

// Close closes the files that are kept open.
func (s *Server) Close() { s.files.close() }

// Compound runs one COMPOUND and appends COMPOUND4res to w. An error is
// ErrGarbage, ErrGone, ErrOwed, or says that the server failed. Until an ErrOwed is
// settled, ctx, call and w stay in use.
func (s *Server) Compound(ctx context.Context, call *Call, w *xdr.Writer) (err error) {
	c := s.pool.Get().(*compound)
	defer func() { err = c.leave(recover(), err) }()
	c.begin(s, ctx, call, w)
	return c.run()
}

// settleLater is what was put off when Compound returned ErrOwed.
func (c *compound) settleLater() (err error) {
	defer func() { err = c.leave(recover(), err) }()
	return c.settle()
}

// leave gives the compound back after it ran, or panicked. It returns the error of
// the run.
func (c *compound) leave(panicked any, err error) error {
	switch s := c.srv; {
	case panicked != nil:
		s.log.Error("operation panicked", "panic", panicked, "op", c.op.String(), "stack", string(debug.Stack()))
		if c.req != nil && c.req.Replay == nil && !c.finished {
			c.req.Abort()
		}
		return fmt.Errorf("nfsops: %s panicked", c.op) // the compound is not used again
	case err != ErrOwed:
		c.reset()
		s.pool.Put(c)
	}
	return err
}

// writeVerifier is the verifier of WRITE and COMMIT.
func (s *Server) writeVerifier() nfs4.Verifier {
	v := s.node.WriteVerifier()
	n := s.syncFailures.Load()
	for i := range 4 {
		v[7-i] ^= byte(n >> (8 * i))
	}
	return v
}
