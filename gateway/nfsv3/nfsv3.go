// Package nfsv3 serves NFSv3 and its MOUNT protocol to old clients, through
// github.com/willscott/go-nfs over the exports.
//
// The library keeps no credentials after MOUNT, no reply cache, and knows files
// by path. So here:
//
//   - every request runs as the anonymous user of its export, whoever asks;
//   - every WRITE is synced before it is answered (unless the export is async);
//   - filehandles are those of NFSv4: sealed, and good across renames, restarts
//     and gateways. A handle becomes the path of a file and back by names that
//     no client can send (see split);
//   - a connection only reaches the library call by call, each checked against
//     the grammar of RFC 1813 before (filter.go).
//
// A request that is sent again is carried out again (a repeated REMOVE answers
// NOENT), and neither share reservations nor locks of NFSv4 clients hold
// back an NFSv3 client. There is no lock manager: mount with nolock.
package nfsv3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/go-git/go-billy/v5"
	nfs "github.com/willscott/go-nfs"

	"holdfast/export"
	"holdfast/export/exports"
)

// MaxHandle is the largest filehandle in bytes (RFC 1813 §2.4).
const MaxHandle = 64

// Config is what New needs.
type Config struct {
	Exports *exports.Set

	// Async says whether changes of an export may be answered before they are
	// on stable storage; nil: never.
	Async func(*exports.Export) bool

	// Restart is sent as write verifier: it must differ between two runs of
	// the program.
	Restart [8]byte

	Logger *slog.Logger
}

// A Server serves NFSv3 connections. It implements gateway.ConnServer.
type Server struct {
	cfg      Config
	log      *slog.Logger
	listings listings
}

// New returns a Server.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Async == nil {
		cfg.Async = func(*exports.Export) bool { return false }
	}
	return &Server{cfg: cfg, log: cfg.Logger}
}

// ServeConn serves c until its end and closes it.
func (s *Server) ServeConn(c net.Conn) {
	h := &handler{s: s}
	filtered := newFilter(c, h.local, s.log)
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		h.remote = a.AddrPort().Addr().Unmap()
	}
	l := &single{conn: filtered, done: filtered.done}
	srv := &nfs.Server{Handler: h, ID: s.cfg.Restart, Context: context.Background()}
	if err := srv.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Debug("NFSv3 connection ends", "remote", h.remote, "error", err)
	}
	filtered.Close()
}

// single is a listener to which one connection comes.
type single struct {
	mu   sync.Mutex
	conn net.Conn
	done chan struct{}
}

func (l *single) Accept() (net.Conn, error) {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return &net.TCPAddr{} }

// handler answers the library's questions for one connection.
type handler struct {
	s      *Server
	remote netip.Addr
}

var (
	_ nfs.Handler        = (*handler)(nil)
	_ nfs.CachingHandler = (*handler)(nil)
)

// guard turns a panic below a callback of the library into an error.
func (h *handler) guard(err *error) {
	if p := recover(); p != nil {
		h.s.log.Error("panic in an NFSv3 request", "remote", h.remote, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = errors.New("nfsv3: panic")
	}
}

// Mount answers MNT: the directory must be an export, or below one.
func (h *handler) Mount(_ context.Context, _ net.Conn, req nfs.MountRequest) (nfs.MountStatus, billy.Filesystem, []nfs.AuthFlavor) {
	want := path.Clean("/" + string(req.Dirpath))
	for _, e := range h.s.cfg.Exports.All() {
		if e.Path != want {
			continue
		}
		if !e.Allows(h.remote) {
			return nfs.MountStatusErrAcces, nil, nil
		}
		if len(h.s.cfg.Exports.Seal(nil, e, e.FS.Root())) > MaxHandle {
			return nfs.MountStatusErrNotSupp, nil, nil
		}
		return nfs.MountStatusOk, h.view(e), []nfs.AuthFlavor{nfs.AuthFlavorUnix, nfs.AuthFlavorNull}
	}
	return nfs.MountStatusErrNoEnt, nil, nil
}

func (h *handler) view(e *exports.Export) *view {
	return &view{h: h, e: e, cred: &export.Creds{UID: e.AnonUID, GID: e.AnonGID}, async: h.s.cfg.Async(e)}
}

// Change implements nfs.Handler.
func (h *handler) Change(fs billy.Filesystem) billy.Change {
	v, ok := fs.(*view)
	if !ok || v.change() != nil {
		return nil
	}
	return v
}

// FSStat implements nfs.Handler.
func (h *handler) FSStat(_ context.Context, fs billy.Filesystem, out *nfs.FSStat) (err error) {
	defer h.guard(&err)
	v, ok := fs.(*view)
	if !ok {
		return errForeign
	}
	var st export.Statfs
	if err := v.e.FS.Statfs(v.e.FS.Root(), &st); err != nil {
		return v.fail("statfs", "", err)
	}
	out.TotalSize, out.FreeSize, out.AvailableSize = st.Total, st.Free, st.Avail
	out.TotalFiles, out.FreeFiles, out.AvailableFiles = st.FilesTotal, st.FilesFree, st.FilesAvail
	return nil
}

// ToHandle implements nfs.Handler. An empty handle says that there is none.
func (h *handler) ToHandle(fs billy.Filesystem, parts []string) (fh []byte) {
	var err error
	defer h.guard(&err)
	v, ok := fs.(*view)
	if !ok {
		return nil
	}
	var attr export.Attr
	handle, err := v.resolve(v.Join(parts...), &attr)
	if err != nil {
		return nil
	}
	if fh = h.s.cfg.Exports.Seal(nil, v.e, handle); len(fh) > MaxHandle {
		return nil
	}
	return fh
}

// FromHandle implements nfs.Handler. The path it returns is made of names that
// stand for handles; see split.
func (h *handler) FromHandle(fh []byte) (fs billy.Filesystem, parts []string, err error) {
	defer h.guard(&err)
	e, handle, bad := h.find(fh)
	if bad != nil {
		return nil, nil, bad
	}
	v := h.view(e)
	if string(handle) == string(e.FS.Root()) {
		return v, []string{}, nil
	}
	var attr export.Attr
	if err := e.FS.Getattr(handle, &attr); err != nil {
		return nil, nil, &nfs.NFSStatusError{NFSStatus: nfs.NFSStatusStale, WrappedErr: err}
	}
	return v, join(handle), nil
}

// find returns what a filehandle names, if this client may use it.
func (h *handler) find(fh []byte) (*exports.Export, []byte, *nfs.NFSStatusError) {
	e, handle, err := h.s.cfg.Exports.Open(fh)
	switch {
	case errors.Is(err, export.ErrStale):
		return nil, nil, &nfs.NFSStatusError{NFSStatus: nfs.NFSStatusStale, WrappedErr: err}
	case err != nil:
		return nil, nil, &nfs.NFSStatusError{NFSStatus: nfs.NFSStatusBadHandle, WrappedErr: err}
	case e.Pseudo() || !e.Allows(h.remote):
		return nil, nil, &nfs.NFSStatusError{NFSStatus: nfs.NFSStatusStale, WrappedErr: errors.New("not exported to this client")}
	}
	return e, handle, nil
}

// InvalidateHandle implements nfs.Handler: there is nothing kept.
func (h *handler) InvalidateHandle(billy.Filesystem, []byte) error { return nil }

// HandleLimit implements nfs.Handler: handles cost nothing.
func (h *handler) HandleLimit() int { return 1 << 30 }

const (
	parentMark = "\x00p"
	objectMark = "\x00h"
)

var errForeign = errors.New("nfsv3: not a file system of this server")

// join returns the path that stands for a handle: a name for "its parent" and a
// name for "it". NUL begins both, which no name of a file has. The library goes
// to the parent of a directory by leaving the last name out.
func join(handle []byte) []string {
	return []string{parentMark + fmt.Sprintf("%x", handle), objectMark + fmt.Sprintf("%x", handle)}
}

// split returns the handle that a path begins with, or nil for the root,
// whether its parent is meant, and the names below. Marks count only where join
// puts them.
func split(p string) (handle []byte, parent bool, names []string, err error) {
	parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
	if len(parts) == 0 || !strings.HasPrefix(parts[0], parentMark) {
		return nil, false, parts, nil
	}
	code := parts[0][len(parentMark):]
	if _, err := fmt.Sscanf(code, "%x", &handle); err != nil {
		return nil, false, nil, errForeign
	}
	if len(parts) == 1 {
		return handle, true, nil, nil
	}
	if parts[1] != objectMark+code {
		return nil, false, nil, errForeign
	}
	return handle, false, parts[2:], nil
}
