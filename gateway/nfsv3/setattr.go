package nfsv3

import (
	"errors"
	"syscall"
	"time"

	nfs "github.com/willscott/go-nfs"

	"holdfast/export"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// setAttr is SETATTR (RFC 1813 §3.3.2). The library sets a size only in ways of
// its own.
func (h *handler) setAttr(xid uint32, args xdr.Reader) func(w *xdr.Writer) {
	fh := args.Opaque(MaxHandle)
	set := readAttributes(&args)
	var guard *time.Time
	if args.Bool() {
		t := readTime(&args)
		guard = &t
	}
	status := nfs.NFSStatusOk
	if err := h.apply(fh, set, guard); err != nil {
		status = statusOf(err)
	}
	return func(w *xdr.Writer) {
		oncrpc.AppendAccepted(w, xid, oncrpc.Success)
		w.Uint32(uint32(status))
		w.Bool(false) // attributes before
		w.Bool(false) // and after
	}
}

func (h *handler) apply(fh []byte, set *export.SetAttr, guard *time.Time) (err error) {
	defer h.guard(&err)
	e, handle, bad := h.find(fh)
	if bad != nil {
		return bad
	}
	v := h.view(e)
	var attr export.Attr
	if err := e.FS.Getattr(handle, &attr); err != nil {
		return v.fail("setattr", "", err)
	}
	// Clients of the library have seen the time of modification as both.
	if guard != nil && !guard.Equal(attr.Ctime) && !guard.Equal(attr.Mtime) {
		return &nfs.NFSStatusError{NFSStatus: nfs.NFSStatusNotSync, WrappedErr: errors.New("changed meanwhile")}
	}
	return v.alter("setattr", "", func(m export.Mutable) error { return m.Setattr(v.cred, handle, nil, set) })
}

// readAttributes reads sattr3, which has been checked.
func readAttributes(r *xdr.Reader) *export.SetAttr {
	set := &export.SetAttr{}
	number := func(dst **uint32) {
		if r.Bool() {
			n := r.Uint32()
			*dst = &n
		}
	}
	number(&set.Mode)
	number(&set.UID)
	number(&set.GID)
	if set.Mode != nil {
		*set.Mode &= 0o7777
	}
	if r.Bool() {
		n := r.Uint64()
		set.Size = &n
	}
	moment := func(how *export.TimeSet, t *time.Time) {
		switch r.Uint32() {
		case 1:
			*how = export.TimeNow
		case 2:
			*how, *t = export.TimeGiven, readTime(r)
		}
	}
	moment(&set.AtimeHow, &set.Atime)
	moment(&set.MtimeHow, &set.Mtime)
	return set
}

// readTime reads nfstime3.
func readTime(r *xdr.Reader) time.Time {
	sec := r.Uint32()
	return time.Unix(int64(sec), int64(r.Uint32()))
}

// statusOf makes an nfsstat3 of an error; their numbers are those of Unix.
func statusOf(err error) nfs.NFSStatus {
	var status *nfs.NFSStatusError
	var errno syscall.Errno
	switch {
	case errors.As(err, &status):
		return status.NFSStatus
	case !errors.As(err, &errno):
		return nfs.NFSStatusServerFault
	}
	switch errno {
	case syscall.EPERM, syscall.ENOENT, syscall.EIO, syscall.EACCES, syscall.EEXIST, syscall.EXDEV, syscall.ENOTDIR, syscall.EISDIR,
		syscall.EINVAL, syscall.ENOSPC, syscall.EROFS, syscall.EMLINK:
		return nfs.NFSStatus(errno)
	case syscall.ENAMETOOLONG:
		return nfs.NFSStatusNameTooLong
	case syscall.EDQUOT:
		return nfs.NFSStatusDQuot
	case syscall.ESTALE:
		return nfs.NFSStatusStale
	case syscall.ENOTSUP:
		return nfs.NFSStatusNotSupp
	}
	return nfs.NFSStatusIO
}
