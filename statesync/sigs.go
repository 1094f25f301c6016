package statesync

import (
	"context"
	"errors"
	"time"

	"holdfast/internal/nfs4"
)

// ErrDuplicate says that a request turned out, only when it was about to
// change something, to be a duplicate of one that another gateway runs or ran:
// the Request's Replay or Resume now says how to go on.
var ErrDuplicate = errors.New("duplicate request")

// A SessionInfo describes a session.
type SessionInfo struct {
	ID         nfs4.SessionID
	Client     ClientID
	Minor      uint32
	Fore, Back ChannelAttrs
}

// A Node is this gateway's view of the shared state.
type Node struct{}

// A Request is one COMPOUND that is being run.
type Request struct {
	Client                 ClientID
	Session                *SessionInfo
	Highest, TargetHighest uint32
	StatusFlags            uint32
	Replay                 []byte
	Resume                 *Progress
}

// A Turn is one operation's place in the sequence of an NFSv4.0 owner.
type Turn struct {
	Replay   []byte
	ReplayFH []byte
}

// Stats counts what a Node does.
type Stats struct{}

func Join(ctx context.Context, cfg Config) (*Node, error) { return nil, ErrDelay }
func (n *Node) Close(ctx context.Context) error           { return nil }
func (n *Node) Identity() Identity                        { return Identity{} }
func (n *Node) Lease() time.Duration                      { return 0 }
func (n *Node) WriteVerifier() nfs4.Verifier              { return nfs4.Verifier{} }
func (n *Node) SetResolver(r Resolver)                    {}
func (n *Node) MayServe() error                           { return nil }
func (n *Node) ExchangeID(ctx context.Context, a *ExchangeIDArgs) (ExchangeIDResult, error) {
	return ExchangeIDResult{}, ErrDelay
}
func (n *Node) CreateSession(ctx context.Context, a *CreateSessionArgs) (CreateSessionResult, error) {
	return CreateSessionResult{}, ErrDelay
}
func (n *Node) DestroySession(ctx context.Context, id nfs4.SessionID) error { return ErrDelay }
func (n *Node) DestroyClientID(ctx context.Context, c ClientID) error       { return ErrDelay }
func (n *Node) ReclaimComplete(ctx context.Context, req *Request, oneFS bool) error {
	return ErrDelay
}
func (n *Node) Session(ctx context.Context, id nfs4.SessionID) (SessionInfo, error) {
	return SessionInfo{}, ErrDelay
}
func (n *Node) Sequence(ctx context.Context, a *SequenceArgs, c Compound) (*Request, error) {
	return nil, ErrDelay
}
func (r *Request) Begun() *Intent { return nil }
func (r *Request) Begin(ctx context.Context, op nfs4.Op, names []Name, evidence func() ([]byte, error)) error {
	return ErrDelay
}
func (r *Request) Done(ctx context.Context, encode func()) error { return ErrDelay }
func (r *Request) Abort()                                        {}
func (r *Request) Finish(reply []byte)                           {}
func (r *Request) Changed() bool                                 { return false }
func (n *Node) Legacy(ctx context.Context, xid uint32, checksum uint64, principal string, c Compound) (*Request, error) {
	return nil, ErrDelay
}
func (n *Node) SetClientID(ctx context.Context, a *SetClientIDArgs) (SetClientIDResult, error) {
	return SetClientIDResult{}, ErrDelay
}
func (n *Node) SetClientIDConfirm(ctx context.Context, c ClientID, confirm nfs4.Verifier, principal string) error {
	return ErrDelay
}
func (n *Node) Renew(ctx context.Context, c ClientID, principal string) error { return ErrDelay }
func (n *Node) ReleaseLockOwner(ctx context.Context, req *Request, c ClientID, owner []byte) error {
	return ErrDelay
}
func (n *Node) OpenOwnerTurn(ctx context.Context, req *Request, c ClientID, owner []byte, seqid uint32) (*Turn, error) {
	return nil, ErrDelay
}
func (n *Node) StateTurn(ctx context.Context, req *Request, f FileKey, s nfs4.Stateid, seqid uint32) (*Turn, error) {
	return nil, ErrDelay
}
func (n *Node) LockOwnerTurn(ctx context.Context, req *Request, f FileKey, open nfs4.Stateid, openSeqid uint32, c ClientID, owner []byte, lockSeqid uint32) (*Turn, error) {
	return nil, ErrDelay
}
func (t *Turn) Fail(ctx context.Context, encode func()) error { return ErrDelay }
func (t *Turn) Release()                                      {}
func (n *Node) Open(ctx context.Context, req *Request, t *Turn, a *OpenArgs, encode func(*OpenResult)) error {
	return ErrDelay
}
func (n *Node) OpenConfirm(ctx context.Context, req *Request, t *Turn, f FileKey, s nfs4.Stateid, encode func(*OpenResult)) error {
	return ErrDelay
}
func (n *Node) OpenDowngrade(ctx context.Context, req *Request, t *Turn, c ClientID, f FileKey, s nfs4.Stateid, access, deny uint32, encode func(*OpenResult)) error {
	return ErrDelay
}
func (n *Node) CloseFile(ctx context.Context, req *Request, t *Turn, c ClientID, f FileKey, s nfs4.Stateid, encode func(*OpenResult)) error {
	return ErrDelay
}
func (n *Node) Lock(ctx context.Context, req *Request, t *Turn, a *LockArgs, encode func(nfs4.Stateid)) error {
	return ErrDelay
}
func (n *Node) Unlock(ctx context.Context, req *Request, t *Turn, c ClientID, f FileKey, s nfs4.Stateid, off, length uint64, encode func(nfs4.Stateid)) error {
	return ErrDelay
}
func (n *Node) TestLock(ctx context.Context, a *LockArgs) error { return ErrDelay }
func (n *Node) CheckIO(ctx context.Context, c ClientID, f FileKey, s nfs4.Stateid, access uint32) (IOResult, error) {
	return IOResult{}, ErrDelay
}
func (n *Node) ConflictsWithDeny(ctx context.Context, f FileKey, access uint32) error {
	return ErrDelay
}
func (n *Node) TestStateid(ctx context.Context, c ClientID, s nfs4.Stateid) error { return ErrDelay }
func (n *Node) FreeStateid(ctx context.Context, req *Request, c ClientID, s nfs4.Stateid, encode func()) error {
	return ErrDelay
}
func (n *Node) InUse(f FileKey) bool                              { return false }
func (n *Node) Clients(ctx context.Context) ([]ClientInfo, error) { return nil, ErrDelay }
func (n *Node) Locks(ctx context.Context) ([]LockInfo, error)     { return nil, ErrDelay }
func (n *Node) Evict(ctx context.Context, c ClientID) error       { return ErrDelay }
func (n *Node) Stats() Stats                                      { return Stats{} }
