// Package admin is what an administrator sees of a running gateway: JSON over
// HTTP on a local socket, and its client.
//
//	GET  /v1/status          what is served, and how it goes
//	GET  /v1/connections
//	GET  /v1/clients
//	GET  /v1/locks           ?client=ID&after=CURSOR&limit=N: opens and byte-range locks
//	POST /v1/evict           ?client=ID: revoke all state of a client
//	POST /v1/drain           leave in good order
//	GET  /metrics            for Prometheus
//	GET  /healthz            200 while the program can answer
//	GET  /readyz             200 while it serves, 503 before and while it leaves
//	GET  /debug/pprof/       profiles of the program
//
// The socket belongs to the user that runs the gateway and lets nobody else in.
// /metrics, /healthz and /readyz may be served over TCP as well, which tells no names and
// changes nothing.
package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdfast/gateway"
	"holdfast/statesync"
)

// State is the shared protocol state as an administrator needs it;
// *statesync.Node is one.
type State interface {
	Clients(ctx context.Context) ([]statesync.ClientInfo, error)
	Locks(ctx context.Context) ([]statesync.LockInfo, error)
	Evict(ctx context.Context, c statesync.ClientID) error
	Stats() statesync.Stats
	Gateways() []statesync.GatewayInfo
}

// Config is what New needs.
type Config struct {
	Server *gateway.Server
	State  State

	// Describe says what is served; it is called for each status.
	Describe func() Service

	// Path names a file for people: a path, or "" if it is not known.
	Path func(statesync.FileKey) string

	// Drain makes the program leave; it returns at once.
	Drain func()

	// Ready says why the gateway does not serve, or nil.
	Ready func() error

	Registry *prometheus.Registry
	Logger   *slog.Logger
}

// A Service is what a gateway serves.
type Service struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Listen  []string  `json:"listen"`
	State   string    `json:"state_dir"`
	Lease   string    `json:"lease"`
	Exports []Export  `json:"exports"`
	Notes   []string  `json:"notes,omitempty"` // what the administrator should know

	// Of a gateway among several.
	Name         string `json:"name,omitempty"`
	Store        string `json:"store,omitempty"`
	GatewayLease string `json:"gateway_lease,omitempty"`
}

// An Export is one served file system.
type Export struct {
	Path    string   `json:"path"`
	Source  string   `json:"source"`
	Access  string   `json:"access"`
	Squash  string   `json:"squash"`
	Clients []string `json:"clients,omitempty"` // none: all
	Async   bool     `json:"async,omitempty"`
}

// An Other is another gateway of the cluster, as the one that is asked sees it.
type Other struct {
	Name     string `json:"name"`
	Instance uint64 `json:"instance"`
	Address  string `json:"address,omitempty"`
	Silent   string `json:"silent"`            // since its lease was seen renewed
	Lifeline string `json:"lifeline"`          // "held" or why not
	Fencing  string `json:"fencing,omitempty"` // what became of the fencing hook, if it is to be fenced
}

// Status is the answer of /v1/status.
type Status struct {
	Service
	Others  []Other         `json:"others,omitempty"`
	Ready   string          `json:"ready"` // "yes" or why not
	Gateway gateway.Stats   `json:"gateway"`
	Shared  statesync.Stats `json:"state"`
}

// A Client is an NFSv4 client.
type Client struct {
	ID        string    `json:"id"` // hexadecimal
	Owner     string    `json:"owner"`
	Remote    string    `json:"remote,omitempty"` // where it was seen last
	Impl      string    `json:"implementation,omitempty"`
	Principal string    `json:"principal,omitempty"`
	Version   string    `json:"version"` // "4.0", "4.1" or "4.2"
	Confirmed bool      `json:"confirmed"`
	Courtesy  bool      `json:"courtesy"` // its lease ran out
	Renewed   time.Time `json:"renewed"`
	Sessions  int       `json:"sessions"`
	Opens     int       `json:"opens"`
	Locks     int       `json:"locks"`
}

// A Lock is an open or a byte-range lock.
type Lock struct {
	Kind   string  `json:"kind"` // "open" or "lock"
	File   string  `json:"file"` // its filehandle in hexadecimal
	Path   string  `json:"path,omitempty"`
	Client string  `json:"client"`
	Owner  string  `json:"owner"`
	Access string  `json:"access,omitempty"` // of an open: "r", "w" or "rw"
	Deny   string  `json:"deny,omitempty"`
	Type   string  `json:"type,omitempty"` // of a lock: "read" or "write"
	Offset uint64  `json:"offset"`
	Length *uint64 `json:"length,omitempty"` // of a lock; none: to the end
}

// A LockPage is the answer of /v1/locks.
type LockPage struct {
	Locks []Lock `json:"locks"`
	Total int    `json:"total"`          // that match
	Next  string `json:"next,omitempty"` // cursor of the next page
}

// maxPage bounds the locks in one answer.
const maxPage = 10_000

type handler struct {
	cfg Config
	log *slog.Logger
}

// New returns the handler of the local socket.
func New(cfg Config) http.Handler {
	h := newHandler(cfg)
	mux := http.NewServeMux()
	h.public(mux)
	mux.HandleFunc("GET /v1/status", h.status)
	mux.HandleFunc("GET /v1/connections", func(w http.ResponseWriter, r *http.Request) { h.answer(w, cfg.Server.Connections()) })
	mux.HandleFunc("GET /v1/clients", h.clients)
	mux.HandleFunc("GET /v1/locks", h.locks)
	mux.HandleFunc("POST /v1/evict", h.evict)
	mux.HandleFunc("POST /v1/drain", h.drain)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// Public returns the handler of what anybody may see: /metrics, /healthz and
// /readyz.
func Public(cfg Config) http.Handler {
	mux := http.NewServeMux()
	newHandler(cfg).public(mux)
	return mux
}

func newHandler(cfg Config) *handler {
	h := &handler{cfg: cfg, log: cfg.Logger}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

func (h *handler) public(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.cfg.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

func (h *handler) ready() error {
	if h.cfg.Ready != nil {
		if err := h.cfg.Ready(); err != nil {
			return err // it may be why the gateway is leaving
		}
	}
	if h.cfg.Server.Draining() {
		return errors.New("the gateway is leaving")
	}
	return nil
}

func (h *handler) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		h.log.Debug("admin: answer not sent", "error", err)
	}
}

func (h *handler) fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	s := Status{Service: h.cfg.Describe(), Ready: "yes", Gateway: h.cfg.Server.Stats(), Shared: h.cfg.State.Stats()}
	if err := h.ready(); err != nil {
		s.Ready = err.Error()
	}
	for _, g := range h.cfg.State.Gateways() {
		s.Others = append(s.Others, other(&g))
	}
	h.answer(w, s)
}

func other(g *statesync.GatewayInfo) Other {
	o := Other{Name: g.Name, Instance: g.Instance, Address: g.Address, Silent: g.Silent.Round(time.Millisecond).String(), Lifeline: "held"}
	if g.Lifeline != "" {
		o.Lifeline = g.Lifeline
	}
	if f := g.Fencing; f != nil {
		o.Fencing = fmt.Sprintf("to be fenced since %s", f.Since.Round(time.Second))
		if f.Tries > 0 {
			o.Fencing += fmt.Sprintf(", %d tries, the last one: %s", f.Tries, f.Error)
		}
	}
	return o
}

func (h *handler) clients(w http.ResponseWriter, r *http.Request) {
	infos, err := h.cfg.State.Clients(r.Context())
	if err != nil {
		h.fail(w, http.StatusInternalServerError, err)
		return
	}
	slices.SortFunc(infos, func(a, b statesync.ClientInfo) int { return cmp.Compare(a.ID, b.ID) })
	list := make([]Client, len(infos))
	for i, c := range infos {
		list[i] = Client{
			ID:        clientID(c.ID),
			Owner:     readable(c.Owner),
			Remote:    c.Remote,
			Impl:      c.Impl,
			Principal: c.Principal,
			Version:   "4." + strconv.Itoa(int(c.Minor)),
			Confirmed: c.Confirmed,
			Courtesy:  c.Courtesy,
			Renewed:   c.Renewed,
			Sessions:  c.Sessions,
			Opens:     c.Opens,
			Locks:     c.Locks,
		}
	}
	h.answer(w, list)
}

func (h *handler) evict(w http.ResponseWriter, r *http.Request) {
	id, err := parseClientID(r.FormValue("client"))
	if err != nil {
		h.fail(w, http.StatusBadRequest, err)
		return
	}
	if err := h.cfg.State.Evict(r.Context(), id); err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, statesync.ErrStaleClientID) {
			code = http.StatusNotFound
		}
		h.fail(w, code, fmt.Errorf("client %s: %w", clientID(id), err))
		return
	}
	h.log.Warn("client evicted by the administrator", "client", clientID(id))
	h.answer(w, struct{}{})
}

func (h *handler) drain(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusAccepted)
	h.answer(w, struct{}{})
	h.cfg.Drain()
}

func clientID(id statesync.ClientID) string { return fmt.Sprintf("%016x", uint64(id)) }

func parseClientID(s string) (statesync.ClientID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no client id: up to 16 hexadecimal digits, as in the list of clients", s)
	}
	return statesync.ClientID(n), nil
}

// readable shows bytes as text if they are that, and in hexadecimal if not.
func readable(b []byte) string {
	if !utf8.Valid(b) {
		return fmt.Sprintf("%x", b)
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("%x", b)
		}
	}
	return string(b)
}
