package statesync

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"holdfast/durable"
	"holdfast/internal/xdr"
)

// The cluster's record, made by the first gateway and never changed:
//
//	u32 format · opaque server owner · opaque scope · 16 bytes handle key · u64 epoch
//
// Its format stands for that of the whole store: a program that changes any
// record in a way that an older one would misread raises it.
//
// A gateway's record (membership.go) counts its instances.
const (
	clusterFormat = 1
	gatewayFormat = 1
)

func encodeCluster(id Identity, epoch uint64) []byte {
	w := xdr.NewWriter(nil)
	w.Uint32(clusterFormat)
	w.Opaque(id.ServerOwner)
	w.Opaque(id.Scope)
	w.Raw(id.HandleKey[:])
	w.Uint64(epoch)
	return w.Bytes()
}

func decodeCluster(b []byte) (id Identity, epoch uint64, err error) {
	r := xdr.NewReader(b)
	if format := r.Uint32(); r.Err() == nil && format != clusterFormat {
		return id, 0, fmt.Errorf("%w: the store has format %d, this program knows %d", durable.ErrFormat, format, clusterFormat)
	}
	id.ServerOwner = append([]byte(nil), r.Opaque(1024)...)
	id.Scope = append([]byte(nil), r.Opaque(1024)...)
	copy(id.HandleKey[:], r.Fixed(len(id.HandleKey)))
	epoch = r.Uint64()
	if r.Err() != nil || r.Remaining() > 0 || len(id.ServerOwner) == 0 {
		return id, 0, fmt.Errorf("%w: cluster record of %d bytes", durable.ErrDamaged, len(b))
	}
	return id, epoch, nil
}

// loadIdentity reads the cluster's record or, in a new store, makes it.
func (n *Node) loadIdentity(ctx context.Context) error {
	for {
		g, err := n.load(ctx, keyCluster)
		if err != nil {
			return err
		}
		if g.Version > 0 {
			n.identity, _, err = decodeCluster(head(g))
			return err
		}
		var id [16]byte
		n.cfg.Random(id[:])
		name := []byte("holdfast-" + hex.EncodeToString(id[:]))
		fresh := Identity{ServerOwner: name, Scope: name}
		n.cfg.Random(fresh.HandleKey[:])
		err = n.commitNow(ctx, &durable.Batch{
			Checks: []durable.Check{{Key: keyCluster}},
			Writes: []durable.Write{{Key: keyCluster, Value: encodeCluster(fresh, 1)}},
		})
		if conflict := (*durable.Conflict)(nil); err != nil && !errors.As(err, &conflict) {
			return err
		}
	}
}

// nextInstance counts this start of the gateway. Whatever an earlier instance
// of the same name had begun, nobody runs any more.
func (n *Node) nextInstance(ctx context.Context) error {
	key := gatewayKey(n.cfg.Name)
	for {
		g, err := n.load(ctx, key)
		if err != nil {
			return err
		}
		var instance uint64
		if g.Version > 0 {
			if instance, _, err = decodeGateway(n.cfg.Name, head(g)); err != nil {
				return err
			}
		}
		err = n.commitNow(ctx, &durable.Batch{
			Checks: []durable.Check{{Key: key, Version: g.Version}},
			Writes: []durable.Write{{Key: key, Value: encodeGateway(instance+1, gatewayAlive)}},
		})
		if err == nil {
			n.instance = instance + 1
			if n.cfg.Shared {
				n.members.fence = g.Version + 1
			}
			return nil
		}
		if errors.Is(err, durable.ErrFull) && g.Version > 0 && !n.cfg.Shared {
			// Nobody else asks which instance this is, and files that are open
			// can be read and written without the store.
			n.log.Warn("the state store is full: clients are served, and get no new state until it has space")
			n.instance = instance
			return nil
		}
		if conflict := (*durable.Conflict)(nil); !errors.As(err, &conflict) {
			return err
		}
	}
}

// head returns the value of a group's main record, nil if it has none.
func head(g durable.Group) []byte { return part(g, partHead) }

func part(g durable.Group, name string) []byte {
	for i := range g.Parts {
		if g.Parts[i].Name == name {
			return g.Parts[i].Value
		}
	}
	return nil
}
