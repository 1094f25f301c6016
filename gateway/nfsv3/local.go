package nfsv3

import (
	"math"

	nfs "github.com/willscott/go-nfs"

	"holdfast/export"
	"holdfast/export/exports"
	"holdfast/internal/oncrpc"
	"holdfast/internal/xdr"
)

// local answers the calls about which the library knows too little: it would
// promise READs and WRITEs of any size, and allow what the file system does not,
// or the other way round. Every other call it leaves to the library by returning
// nil. The arguments have been checked.
func (h *handler) local(call *oncrpc.Call, args *xdr.Reader) func(w *xdr.Writer) {
	if call.Prog != programNFS {
		return nil
	}
	var body func(e *exports.Export, handle []byte, w *xdr.Writer)
	switch nfs.NFSProcedure(call.Proc) {
	case nfs.NFSProcedureAccess:
		body = h.access(args)
	case nfs.NFSProcedureSetAttr:
		return h.setAttr(call.XID, *args)
	case nfs.NFSProcedureMkNod:
		return h.mkNod(call.XID, *args)
	case nfs.NFSProcedureLink:
		return h.link(call.XID, *args)
	case nfs.NFSProcedureFSInfo:
		body = fsInfo
	case nfs.NFSProcedurePathConf:
		body = pathConf
	default:
		return nil
	}
	seek := *args
	return func(w *xdr.Writer) {
		oncrpc.AppendAccepted(w, call.XID, oncrpc.Success)
		e, handle, err := h.find(seek.Opaque(MaxHandle))
		if err != nil {
			w.Uint32(uint32(err.NFSStatus))
			w.Bool(false) // no attributes
			return
		}
		w.Uint32(uint32(nfs.NFSStatusOk))
		w.Bool(false)
		body(e, handle, w)
	}
}

// access is ACCESS (RFC 1813 §3.3.4). The bits are those of package export.
func (h *handler) access(args *xdr.Reader) func(e *exports.Export, handle []byte, w *xdr.Writer) {
	r := *args
	r.Opaque(MaxHandle)
	want := r.Uint32()
	return func(e *exports.Export, handle []byte, w *xdr.Writer) {
		if e.ReadOnly {
			want &^= export.AccessModify | export.AccessExtend | export.AccessDelete
		}
		v := h.view(e)
		got, err := e.FS.Access(v.cred, handle, want)
		if err != nil {
			h.s.log.Debug("NFSv3 ACCESS failed", "export", e.Path, "error", err)
			got = 0
		}
		w.Uint32(got)
	}
}

// fsInfo is FSINFO (RFC 1813 §3.3.19).
func fsInfo(_ *exports.Export, _ []byte, w *xdr.Writer) {
	for range 2 { // READ, WRITE: most, preferred, multiple of
		w.Uint32(maxIO)
		w.Uint32(maxIO)
		w.Uint32(4096)
	}
	w.Uint32(32 << 10)      // preferred for READDIR
	w.Uint64(math.MaxInt64) // largest file
	w.Uint32(0)             // time_delta: a nanosecond
	w.Uint32(1)
	const link, symlink, homogeneous, canSetTime = 1, 2, 8, 16
	w.Uint32(link | symlink | homogeneous | canSetTime)
}

// pathConf is PATHCONF (RFC 1813 §3.3.20).
func pathConf(e *exports.Export, handle []byte, w *xdr.Writer) {
	st := export.Statfs{MaxLink: 1, MaxName: export.MaxName}
	if err := e.FS.Statfs(handle, &st); err != nil {
		st = export.Statfs{MaxLink: 1, MaxName: export.MaxName}
	}
	w.Uint32(st.MaxLink)
	w.Uint32(st.MaxName)
	w.Bool(true) // longer names are refused
	w.Bool(true) // only root gives files away
	w.Bool(st.CaseInsensitive)
	w.Bool(true) // case is kept
}

// link is LINK (RFC 1813 §3.3.15), of which the library's reply is cut short.
func (h *handler) link(xid uint32, args xdr.Reader) func(w *xdr.Writer) {
	file, dir := args.Opaque(MaxHandle), args.Opaque(MaxHandle)
	name := string(args.Opaque(export.MaxName))
	status := nfs.NFSStatusOk
	if err := h.addName(file, dir, name); err != nil {
		status = statusOf(err)
	}
	return func(w *xdr.Writer) {
		oncrpc.AppendAccepted(w, xid, oncrpc.Success)
		w.Uint32(uint32(status))
		for range 3 { // attributes of the file, and of the directory before and after
			w.Bool(false)
		}
	}
}

func (h *handler) addName(file, dir []byte, name string) (err error) {
	defer h.guard(&err)
	e, from, bad := h.find(file)
	if bad != nil {
		return bad
	}
	other, to, bad := h.find(dir)
	if bad != nil {
		return bad
	}
	v := h.view(e)
	return v.alter("link", name, func(m export.Mutable) error {
		if e != other {
			return export.ErrXDev
		}
		if err := checkName(name); err != nil {
			return err
		}
		_, err := m.Link(v.cred, from, to, name)
		return err
	})
}

// mkNod is MKNOD (RFC 1813 §3.3.11), which the library does not get right.
func (h *handler) mkNod(xid uint32, args xdr.Reader) func(w *xdr.Writer) {
	dir := args.Opaque(MaxHandle)
	name := string(args.Opaque(export.MaxName))
	make := &export.MakeArgs{}
	switch args.Uint32() {
	case 3:
		make.Type = export.BlockDevice
	case 4:
		make.Type = export.CharDevice
	case 6:
		make.Type = export.Socket
	case 7:
		make.Type = export.FIFO
	}
	status := nfs.NFSStatusBadType
	var made []byte
	if make.Type != 0 {
		make.Set = *readAttributes(&args)
		make.Set.Size = nil
		if make.Type == export.BlockDevice || make.Type == export.CharDevice {
			make.Major, make.Minor = args.Uint32(), args.Uint32()
		}
		var err error
		if made, err = h.makeNode(dir, name, make); err != nil {
			status = statusOf(err)
		} else {
			status = nfs.NFSStatusOk
		}
	}
	return func(w *xdr.Writer) {
		oncrpc.AppendAccepted(w, xid, oncrpc.Success)
		w.Uint32(uint32(status))
		if status == nfs.NFSStatusOk {
			w.Bool(made != nil)
			if made != nil {
				w.Opaque(made)
			}
			w.Bool(false) // attributes
		}
		w.Bool(false) // of the directory before
		w.Bool(false) // and after
	}
}

func (h *handler) makeNode(dir []byte, name string, args *export.MakeArgs) (fh []byte, err error) {
	defer h.guard(&err)
	e, handle, bad := h.find(dir)
	if bad != nil {
		return nil, bad
	}
	v := h.view(e)
	err = v.alter("mknod", name, func(m export.Mutable) error {
		if err := checkName(name); err != nil {
			return err
		}
		var attr export.Attr
		made, _, _, err := m.Make(v.cred, handle, name, args, false, &attr)
		if err == nil {
			fh = h.s.cfg.Exports.Seal(nil, e, made)
		}
		return err
	})
	if len(fh) > MaxHandle {
		fh = nil
	}
	return fh, err
}
