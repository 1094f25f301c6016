package client

import (
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

func sidRange(num nfs4.Op, sid nfs4.Stateid, offset, length uint64) Op {
	return op(num, func(w *xdr.Writer) {
		sid.Encode(w)
		w.Uint64(offset)
		w.Uint64(length)
	})
}

// Allocate builds ALLOCATE.
func Allocate(sid nfs4.Stateid, offset, length uint64) Op {
	return sidRange(nfs4.OpAllocate, sid, offset, length)
}

// Deallocate builds DEALLOCATE.
func Deallocate(sid nfs4.Stateid, offset, length uint64) Op {
	return sidRange(nfs4.OpDeallocate, sid, offset, length)
}

// CopyArgs are COPY's arguments, from the saved to the current filehandle.
// Servers are source servers' host names; none is a copy within the server.
type CopyArgs struct {
	Src, Dst                 nfs4.Stateid
	SrcOffset, DstOffset     uint64
	Count                    uint64
	Consecutive, Synchronous bool
	Servers                  []string
}

// Copy builds COPY.
func Copy(a CopyArgs) Op {
	return op(nfs4.OpCopy, func(w *xdr.Writer) {
		a.Src.Encode(w)
		a.Dst.Encode(w)
		w.Uint64(a.SrcOffset)
		w.Uint64(a.DstOffset)
		w.Uint64(a.Count)
		w.Bool(a.Consecutive)
		w.Bool(a.Synchronous)
		w.Uint32(uint32(len(a.Servers)))
		for _, s := range a.Servers {
			w.Uint32(nfs4.NetlocName)
			w.String(s)
		}
	})
}

// A Netloc is where a server is: a name, a URL, or a network address.
type Netloc struct {
	Kind uint32   // nfs4.NetlocName and so on
	Text []string // the name or URL, or netid and universal address
}

// SomeServer is a server that does not exist, by its address.
var SomeServer = Netloc{nfs4.NetlocNetaddr, []string{"tcp", "192.0.2.1.8.1"}}

// CopyNotify builds COPY_NOTIFY for a destination server.
func CopyNotify(src nfs4.Stateid, to Netloc) Op {
	return op(nfs4.OpCopyNotify, func(w *xdr.Writer) {
		src.Encode(w)
		w.Uint32(to.Kind)
		for _, s := range to.Text {
			w.String(s)
		}
	})
}

// IOAdvise builds IO_ADVISE.
func IOAdvise(sid nfs4.Stateid, offset, length uint64, hints nfs4.Bitmap) Op {
	return op(nfs4.OpIOAdvise, func(w *xdr.Writer) {
		sid.Encode(w)
		w.Uint64(offset)
		w.Uint64(length)
		hints.Encode(w)
	})
}

// LayoutError builds LAYOUTERROR with one error.
func LayoutError(offset, length uint64, sid nfs4.Stateid, dev DeviceID, status nfs4.Status, failed nfs4.Op) Op {
	return op(nfs4.OpLayoutError, func(w *xdr.Writer) {
		w.Uint64(offset)
		w.Uint64(length)
		sid.Encode(w)
		w.Uint32(1)
		w.Raw(dev[:])
		w.Uint32(uint32(status))
		w.Uint32(uint32(failed))
	})
}

// LayoutStatsArgs are LAYOUTSTATS's arguments.
type LayoutStatsArgs struct {
	Offset, Length                         uint64
	Stateid                                nfs4.Stateid
	Reads, ReadBytes, Writes, WrittenBytes uint64
	Device                                 DeviceID
	Type                                   uint32
	Body                                   []byte
}

// LayoutStats builds LAYOUTSTATS.
func LayoutStats(a LayoutStatsArgs) Op {
	return op(nfs4.OpLayoutStats, func(w *xdr.Writer) {
		w.Uint64(a.Offset)
		w.Uint64(a.Length)
		a.Stateid.Encode(w)
		w.Uint64(a.Reads)
		w.Uint64(a.ReadBytes)
		w.Uint64(a.Writes)
		w.Uint64(a.WrittenBytes)
		w.Raw(a.Device[:])
		w.Uint32(a.Type)
		w.Opaque(a.Body)
	})
}

// OffloadCancel builds OFFLOAD_CANCEL.
func OffloadCancel(sid nfs4.Stateid) Op { return op(nfs4.OpOffloadCancel, sid.Encode) }

// OffloadStatus builds OFFLOAD_STATUS.
func OffloadStatus(sid nfs4.Stateid) Op { return op(nfs4.OpOffloadStatus, sid.Encode) }

// ReadPlus builds READ_PLUS.
func ReadPlus(sid nfs4.Stateid, offset uint64, count uint32) Op {
	return op(nfs4.OpReadPlus, func(w *xdr.Writer) { sid.Encode(w); w.Uint64(offset); w.Uint32(count) })
}

// Seek builds SEEK for nfs4.ContentData or nfs4.ContentHole.
func Seek(sid nfs4.Stateid, offset uint64, what uint32) Op {
	return op(nfs4.OpSeek, func(w *xdr.Writer) { sid.Encode(w); w.Uint64(offset); w.Uint32(what) })
}

// WriteSame builds WRITE_SAME of count blocks of size bytes that hold pattern.
func WriteSame(sid nfs4.Stateid, stable uint32, offset, size, count uint64, pattern []byte) Op {
	return op(nfs4.OpWriteSame, func(w *xdr.Writer) {
		sid.Encode(w)
		w.Uint32(stable)
		w.Uint64(offset)
		w.Uint64(size)
		w.Uint64(count)
		w.Uint64(nfs4.Uint64Max) // no block numbers
		w.Uint32(0)
		w.Uint64(0)
		w.Opaque(pattern)
	})
}

// Clone builds CLONE, from the saved to the current filehandle.
func Clone(src, dst nfs4.Stateid, srcOffset, dstOffset, count uint64) Op {
	return op(nfs4.OpClone, func(w *xdr.Writer) {
		src.Encode(w)
		dst.Encode(w)
		w.Uint64(srcOffset)
		w.Uint64(dstOffset)
		w.Uint64(count)
	})
}

// GetXattr builds GETXATTR.
func GetXattr(name string) Op { return op(nfs4.OpGetXattr, func(w *xdr.Writer) { w.String(name) }) }

// SetXattr builds SETXATTR; option is nfs4.SetXattrEither and so on.
func SetXattr(option uint32, name string, value []byte) Op {
	return op(nfs4.OpSetXattr, func(w *xdr.Writer) {
		w.Uint32(option)
		w.String(name)
		w.Opaque(value)
	})
}

// ListXattrs builds LISTXATTRS.
func ListXattrs(cookie uint64, maxCount uint32) Op {
	return op(nfs4.OpListXattrs, func(w *xdr.Writer) { w.Uint64(cookie); w.Uint32(maxCount) })
}

// RemoveXattr builds REMOVEXATTR.
func RemoveXattr(name string) Op {
	return op(nfs4.OpRemoveXattr, func(w *xdr.Writer) { w.String(name) })
}
