package statesync

import (
	"context"

	"holdfast/internal/nfs4"
)

type file struct{}
type holdings struct{}

func (n *Node) startOver(ctx context.Context, o *owner) error { return nil }

func (n *Node) ReleaseLockOwner(ctx context.Context, req *Request, c ClientID, owner []byte) error {
	return ErrDelay
}

func (n *Node) StateTurn(ctx context.Context, req *Request, f FileKey, s nfs4.Stateid, seqid uint32) (*Turn, error) {
	return nil, ErrDelay
}
func (n *Node) LockOwnerTurn(ctx context.Context, req *Request, f FileKey, open nfs4.Stateid, openSeqid uint32, c ClientID, owner []byte, lockSeqid uint32) (*Turn, error) {
	return nil, ErrDelay
}

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

func (n *Node) prune(ctx context.Context, f FileKey) error { return nil }
func (n *Node) sweepFiles() error                          { return nil }
