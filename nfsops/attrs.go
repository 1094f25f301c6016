package nfsops

import (
	"fmt"

	"holdfast/export"
	"holdfast/export/exports"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
)

// The attributes by what they need (RFC 8881 §5.6 and §5.7, RFC 7862 §12,
// RFC 8275, RFC 8276).
var (
	// attrsAlways are supported by every file system.
	attrsAlways = nfs4.BitmapOf(
		nfs4.AttrSupported, nfs4.AttrType, nfs4.AttrFHExpireType, nfs4.AttrChange, nfs4.AttrSize,
		nfs4.AttrLinkSupport, nfs4.AttrSymlinkSupport, nfs4.AttrNamedAttr, nfs4.AttrFSID,
		nfs4.AttrUniqueHandles, nfs4.AttrLeaseTime, nfs4.AttrRDAttrError, nfs4.AttrACLSupport,
		nfs4.AttrCanSetTime, nfs4.AttrCaseInsensitive, nfs4.AttrCasePreserving, nfs4.AttrChownRestricted,
		nfs4.AttrFilehandle, nfs4.AttrFileID, nfs4.AttrFilesAvail, nfs4.AttrFilesFree, nfs4.AttrFilesTotal,
		nfs4.AttrHomogeneous, nfs4.AttrMaxFileSize, nfs4.AttrMaxLink, nfs4.AttrMaxName, nfs4.AttrMaxRead,
		nfs4.AttrMaxWrite, nfs4.AttrMode, nfs4.AttrNoTrunc, nfs4.AttrNumLinks, nfs4.AttrOwner,
		nfs4.AttrOwnerGroup, nfs4.AttrRawDev, nfs4.AttrSpaceAvail, nfs4.AttrSpaceFree, nfs4.AttrSpaceTotal,
		nfs4.AttrSpaceUsed, nfs4.AttrTimeAccess, nfs4.AttrTimeAccessSet, nfs4.AttrTimeCreate, nfs4.AttrTimeDelta,
		nfs4.AttrTimeMetadata, nfs4.AttrTimeModify, nfs4.AttrTimeModifySet, nfs4.AttrMountedOnFileID,
		nfs4.AttrSuppAttrExclCreat, nfs4.AttrFSCharsetCap, nfs4.AttrFSLayoutTypes,
		nfs4.AttrCloneBlkSize, nfs4.AttrChangeAttrType, nfs4.AttrModeUmask, nfs4.AttrXattrSupport)

	// attrsACL need export.ACLs.
	attrsACL = nfs4.BitmapOf(nfs4.AttrACL, nfs4.AttrDACL)

	// attrsStatfs cost a look at the whole file system.
	attrsStatfs = nfs4.BitmapOf(
		nfs4.AttrCaseInsensitive, nfs4.AttrFilesAvail, nfs4.AttrFilesFree, nfs4.AttrFilesTotal,
		nfs4.AttrMaxFileSize, nfs4.AttrMaxLink, nfs4.AttrMaxName, nfs4.AttrSpaceAvail, nfs4.AttrSpaceFree,
		nfs4.AttrSpaceTotal, nfs4.AttrTimeDelta)

	// attrsSettable may be set; those in attrsWriteOnly can only be set.
	attrsSettable = nfs4.BitmapOf(
		nfs4.AttrSize, nfs4.AttrACL, nfs4.AttrMode, nfs4.AttrOwner, nfs4.AttrOwnerGroup,
		nfs4.AttrTimeAccessSet, nfs4.AttrTimeModifySet, nfs4.AttrDACL, nfs4.AttrModeUmask)
	attrsWriteOnly = nfs4.BitmapOf(nfs4.AttrTimeAccessSet, nfs4.AttrTimeModifySet, nfs4.AttrModeUmask)

	// attrsNotExclusive cannot come with an exclusive create: the times hold its
	// verifier (RFC 8881 §18.16.3).
	attrsNotExclusive = nfs4.BitmapOf(nfs4.AttrTimeAccessSet, nfs4.AttrTimeModifySet)

	// attrsOfMinor are those that a minor version defines.
	attrsOfMinor = func() (of [3]nfs4.Bitmap) {
		for minor := range of {
			for a := nfs4.Attr(0); a <= nfs4.AttrLast; a++ {
				if a.Known(uint32(minor)) {
					of[minor].Set(a)
				}
			}
		}
		return of
	}()
)

// supported returns the attributes that export e supports in the compound's
// minor version: supported_attrs.
func (c *compound) supported(e *exports.Export) nfs4.Bitmap {
	b := attrsAlways
	if _, ok := e.FS.(export.ACLs); ok {
		b = b.Or(attrsACL)
	}
	return b.And(attrsOfMinor[c.minor])
}

// readable returns the attributes that an object with attributes a has a value
// of. A file system either keeps the time of creation or does not.
func (c *compound) readable(e *exports.Export, a *export.Attr) nfs4.Bitmap {
	b := c.supported(e).AndNot(attrsWriteOnly)
	if a.Btime.IsZero() {
		b.Clear(nfs4.AttrTimeCreate)
	}
	return b
}

// encodeAttrs appends the fattr4 of o for the attributes of mask that are
// supported and can be read. a holds o's attributes. It takes no memory of its
// own for anything but ACLs. On an error the reply must be cut back to where it
// was.
func (c *compound) encodeAttrs(w *xdr.Writer, mask nfs4.Bitmap, o *object, a *export.Attr) error {
	mask = mask.And(c.readable(o.exp, a))
	if !mask.And(attrsStatfs).Empty() {
		if err := o.exp.FS.Statfs(o.h, &c.statfs); err != nil {
			return fmt.Errorf("space of the file system: %w", err)
		}
	}
	mask.Encode(w)
	at := w.Len()
	w.Uint32(0)
	for attr, ok := mask.Next(0); ok; attr, ok = mask.Next(attr + 1) {
		if err := c.encodeAttr(w, attr, o, a); err != nil {
			return err
		}
	}
	w.PutUint32(at, uint32(w.Len()-at-4))
	return nil
}

// encodeAttr appends the value of one attribute.
func (c *compound) encodeAttr(w *xdr.Writer, attr nfs4.Attr, o *object, a *export.Attr) error {
	st := &c.statfs
	switch attr {
	case nfs4.AttrSupported:
		b := c.supported(o.exp)
		if a.Btime.IsZero() {
			b.Clear(nfs4.AttrTimeCreate)
		}
		b.Encode(w)
	case nfs4.AttrType:
		w.Uint32(uint32(fileType(a.Type)))
	case nfs4.AttrFHExpireType:
		w.Uint32(nfs4.FHPersistent)
	case nfs4.AttrChange:
		w.Uint64(a.Change)
	case nfs4.AttrSize:
		w.Uint64(a.Size)
	case nfs4.AttrLinkSupport, nfs4.AttrSymlinkSupport:
		_, ok := o.exp.FS.(export.Mutable)
		w.Bool(ok)
	case nfs4.AttrNamedAttr:
		w.Bool(false)
	case nfs4.AttrFSID:
		w.Uint64(uint64(o.exp.ID))
		w.Uint64(a.FSID)
	case nfs4.AttrUniqueHandles, nfs4.AttrCanSetTime, nfs4.AttrCasePreserving, nfs4.AttrChownRestricted,
		nfs4.AttrHomogeneous, nfs4.AttrNoTrunc:
		w.Bool(true)
	case nfs4.AttrLeaseTime:
		w.Uint32(uint32(c.srv.node.Lease().Seconds()))
	case nfs4.AttrRDAttrError:
		w.Uint32(uint32(nfs4.OK))
	case nfs4.AttrACL:
		return c.encodeACL(w, o, a)
	case nfs4.AttrDACL:
		w.Uint32(0) // no aclflag4
		return c.encodeACL(w, o, a)
	case nfs4.AttrACLSupport:
		if _, ok := o.exp.FS.(export.ACLs); ok {
			w.Uint32(nfs4.ACLSupportAllow | nfs4.ACLSupportDeny)
		} else {
			w.Uint32(0)
		}
	case nfs4.AttrCaseInsensitive:
		w.Bool(st.CaseInsensitive)
	case nfs4.AttrFilehandle:
		w.Opaque(o.wire())
	case nfs4.AttrFileID:
		w.Uint64(a.FileID)
	case nfs4.AttrMountedOnFileID:
		w.Uint64(c.mountedOn(o, a))
	case nfs4.AttrFilesAvail:
		w.Uint64(st.FilesAvail)
	case nfs4.AttrFilesFree:
		w.Uint64(st.FilesFree)
	case nfs4.AttrFilesTotal:
		w.Uint64(st.FilesTotal)
	case nfs4.AttrMaxFileSize:
		w.Uint64(st.MaxFileSize)
	case nfs4.AttrMaxLink:
		w.Uint32(st.MaxLink)
	case nfs4.AttrMaxName:
		w.Uint32(st.MaxName)
	case nfs4.AttrMaxRead, nfs4.AttrMaxWrite:
		w.Uint64(uint64(c.srv.cfg.MaxIO))
	case nfs4.AttrMode:
		w.Uint32(a.Mode & nfs4.ModeMask)
	case nfs4.AttrNumLinks:
		w.Uint32(a.Nlink)
	case nfs4.AttrOwner:
		c.srv.owners.encode(w, a.UID, false)
	case nfs4.AttrOwnerGroup:
		c.srv.owners.encode(w, a.GID, true)
	case nfs4.AttrRawDev:
		w.Uint32(a.Major)
		w.Uint32(a.Minor)
	case nfs4.AttrSpaceAvail:
		w.Uint64(st.Avail)
	case nfs4.AttrSpaceFree:
		w.Uint64(st.Free)
	case nfs4.AttrSpaceTotal:
		w.Uint64(st.Total)
	case nfs4.AttrSpaceUsed:
		w.Uint64(a.Used)
	case nfs4.AttrTimeAccess:
		encodeTime(w, a.Atime)
	case nfs4.AttrTimeCreate:
		encodeTime(w, a.Btime)
	case nfs4.AttrTimeDelta:
		nfs4.Time{Sec: int64(st.TimeDelta / 1e9), Nsec: uint32(st.TimeDelta % 1e9)}.Encode(w)
	case nfs4.AttrTimeMetadata:
		encodeTime(w, a.Ctime)
	case nfs4.AttrTimeModify:
		encodeTime(w, a.Mtime)
	case nfs4.AttrFSLayoutTypes:
		w.Uint32(0) // no pNFS
	case nfs4.AttrSuppAttrExclCreat:
		c.settableAt(o.exp).AndNot(attrsNotExclusive).Encode(w)
	case nfs4.AttrFSCharsetCap:
		w.Uint32(nfs4.CharsetContainsNonUTF8)
	case nfs4.AttrCloneBlkSize:
		w.Uint32(cloneBlock)
	case nfs4.AttrChangeAttrType:
		// Though change is made from ctime, a clock that is set back takes it
		// back as well. Clients that were told TIME_METADATA or more take an
		// attribute set with a lower change for an old one and ignore it, and go
		// on serving stale data until the clock has caught up.
		w.Uint32(nfs4.ChangeIsUndefined)
	case nfs4.AttrXattrSupport:
		_, ok := o.exp.FS.(export.Xattrs)
		w.Bool(ok)
	default:
		return fmt.Errorf("attribute %s is supported but has no encoding", attr)
	}
	return nil
}

// cloneBlock is clone_blksize: the granularity of sharing that file systems
// with reflinks have at least.
const cloneBlock = 4096

// settableAt returns the supported attributes that can be set.
func (c *compound) settableAt(e *exports.Export) nfs4.Bitmap {
	return c.supported(e).And(attrsSettable)
}

// mountedOn is mounted_on_fileid: at the root of an export the fileid of the
// directory below it (RFC 8881 §5.8.2.23).
func (c *compound) mountedOn(o *object, a *export.Attr) uint64 {
	if o.isRoot() {
		var below export.Attr
		if _, ok := c.srv.exports.MountPoint(o.exp, &below); ok {
			return below.FileID
		}
	}
	return a.FileID
}

// isRoot says whether o is the root of its export.
func (o *object) isRoot() bool { return string(o.h) == string(o.exp.FS.Root()) }

var fileTypes = [...]nfs4.FileType{
	export.Regular: nfs4.TypeReg, export.Directory: nfs4.TypeDir, export.BlockDevice: nfs4.TypeBlk,
	export.CharDevice: nfs4.TypeChr, export.Symlink: nfs4.TypeLnk, export.Socket: nfs4.TypeSock, export.FIFO: nfs4.TypeFIFO,
}

func fileType(t export.FileType) nfs4.FileType {
	if int(t) < len(fileTypes) {
		return fileTypes[t]
	}
	return 0
}

// changeInfo appends a change_info4.
func changeInfo(w *xdr.Writer, d export.DirChange) {
	w.Bool(d.Atomic)
	w.Uint64(d.Before)
	w.Uint64(d.After)
}

// opGetAttr is GETATTR (RFC 8881 §18.7).
func opGetAttr(c *compound) nfs4.Status {
	mask := nfs4.DecodeBitmap(&c.r)
	if c.r.Err() != nil {
		return nfs4.ErrBadXDR
	}
	if status := c.current(); status != nfs4.OK {
		return status
	}
	if c.asksWriteOnly(mask) {
		return nfs4.ErrInval
	}
	if err := c.look(); err != nil {
		return c.fail(err)
	}
	return c.fail(c.encodeAttrs(c.w, mask, &c.cur, &c.attr))
}

// look makes c.attr the attributes of the current filehandle. What LOOKUP or
// ACCESS just saw in the same request is not asked for again.
func (c *compound) look() error {
	if c.fresh {
		return nil
	}
	err := c.cur.fs().Getattr(c.cur.h, &c.attr)
	c.fresh = err == nil
	return err
}

// asksWriteOnly says whether a client wants to read what can only be set, for
// which it gets NFS4ERR_INVAL (RFC 8881 §5.5).
func (c *compound) asksWriteOnly(mask nfs4.Bitmap) bool {
	return !mask.And(attrsWriteOnly).And(attrsOfMinor[c.minor]).Empty()
}
