package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/gateway"
	"holdfast/internal/nfs4"
	"holdfast/internal/xdr"
	"holdfast/nfsops"
	"holdfast/statesync"
)

// lists is a State of which the tests know the content.
type lists struct {
	others  []statesync.GatewayInfo
	clients []statesync.ClientInfo
	locks   []statesync.LockInfo
}

func (l *lists) Clients(context.Context) ([]statesync.ClientInfo, error) { return l.clients, nil }
func (l *lists) Locks(context.Context) ([]statesync.LockInfo, error)     { return l.locks, nil }
func (l *lists) Gateways() []statesync.GatewayInfo                       { return l.others }
func (l *lists) Stats() statesync.Stats                                  { return statesync.Stats{} }
func (l *lists) Evict(_ context.Context, id statesync.ClientID) error {
	for i, c := range l.clients {
		if c.ID == id {
			l.clients = append(l.clients[:i:i], l.clients[i+1:]...)
			return nil
		}
	}
	return statesync.ErrStaleClientID
}

type noHandler struct{}

func (noHandler) Compound(context.Context, *nfsops.Call, *xdr.Writer) error { return nfsops.ErrGarbage }

// serve serves the admin socket over a gateway that nobody uses.
func serve(t *testing.T, state State, edit func(*Config)) *Remote {
	t.Helper()
	gw, err := gateway.New(gateway.Config{Listen: []string{"127.0.0.1:0"}, Handler: noHandler{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gw.Close)
	cfg := Config{Server: gw, State: state, Describe: func() Service { return Service{Version: "test"} }, Registry: prometheus.NewRegistry()}
	if edit != nil {
		edit(&cfg)
	}
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: New(cfg)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		web.Serve(l)
	}()
	t.Cleanup(func() {
		web.Close()
		<-done
	})
	return Dial(path)
}

// Pages cover all locks once each, in the same order, though locks come and go
// between two pages.
func TestLockPages(t *testing.T) {
	state := &lists{}
	for i := range 25 {
		state.locks = append(state.locks, statesync.LockInfo{
			File: statesync.FileKey(fmt.Sprint("file", i%3)), Client: statesync.ClientID(1 + i%2), Owner: []byte("o-w\x00ner"),
			Lock: i%5 != 0, Offset: uint64(i), Length: 1, Write: i%2 == 0,
		})
	}
	gw := serve(t, state, nil)
	seen := map[string]int{}
	after := ""
	for pages := 0; ; pages++ {
		p, err := gw.Locks(t.Context(), "", after, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p.Locks {
			seen[fmt.Sprint(l.File, l.Kind, l.Client, l.Offset)]++
		}
		if pages == 0 {
			// The lock that the cursor names goes, and one far ahead comes.
			last := p.Locks[len(p.Locks)-1]
			state.locks = slices.DeleteFunc(state.locks, func(l statesync.LockInfo) bool {
				return fmt.Sprintf("%x", string(l.File)) == last.File && clientID(l.Client) == last.Client && l.Lock == (last.Kind == "lock") && (!l.Lock || l.Offset == last.Offset)
			})
			state.locks = append(state.locks, statesync.LockInfo{File: "file9", Client: 9, Lock: true, Offset: 99, Length: math.MaxUint64})
		}
		if after = p.Next; after == "" {
			break
		}
	}
	for what, n := range seen {
		if n != 1 {
			t.Errorf("%s was listed %d times", what, n)
		}
	}
	if len(seen) != 26 {
		t.Errorf("%d locks were listed, want 26", len(seen))
	}
	p, err := gw.Locks(t.Context(), "9", "", 10)
	if err != nil || p.Total != 1 || p.Locks[0].Length != nil || p.Locks[0].Type != "read" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := gw.Locks(t.Context(), "", "nonsense", 10); err == nil || !strings.Contains(err.Error(), "cursor") {
		t.Errorf("a cursor that is none: %v", err)
	}
	if _, err := gw.Locks(t.Context(), "", "", 1_000_000); err == nil {
		t.Error("a page of a million")
	}
}

func TestEvict(t *testing.T) {
	state := &lists{clients: []statesync.ClientInfo{{ID: 0xabc, Owner: []byte("Linux NFSv4.2 host"), Minor: 2, Confirmed: true}}}
	gw := serve(t, state, nil)
	list, err := gw.Clients(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != "0000000000000abc" || list[0].Owner != "Linux NFSv4.2 host" || list[0].Version != "4.2" {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := gw.Evict(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := gw.Evict(t.Context(), list[0].ID); err == nil || !strings.Contains(err.Error(), "stale clientid") {
		t.Errorf("evicted twice: %v", err)
	}
}

// readyz tells why the gateway does not serve.
func TestReadiness(t *testing.T) {
	why := errors.New("cut off from the store")
	var ready error
	var server *gateway.Server
	gw := serve(t, &lists{}, func(c *Config) {
		c.Ready = func() error { return ready }
		server = c.Server
	})
	if _, err := gw.Get(t.Context(), "/readyz"); err != nil {
		t.Error(err)
	}
	ready = why
	if _, err := gw.Get(t.Context(), "/readyz"); err == nil {
		t.Error("ready though it is not")
	}
	if s, err := gw.Status(t.Context()); err != nil || s.Ready != why.Error() {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := gw.Get(t.Context(), "/healthz"); err != nil {
		t.Error(err)
	}
	if err := server.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := gw.Status(t.Context()); err != nil || s.Ready != why.Error() {
		t.Errorf("leaving because of that: %+v, %v", s, err)
	}
	ready = nil
	if s, err := gw.Status(t.Context()); err != nil || !strings.Contains(s.Ready, "leaving") {
		t.Errorf("leaving: %+v, %v", s, err)
	}
}

// What a program that died left is replaced; a socket in use, or another file,
// is not.
func TestSocketInTheWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another program answers") {
		t.Errorf("a socket in use: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("a socket left behind: %v", err)
	}
	again.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("another file: %v", err)
	}
}

func TestNoGatewayAnswers(t *testing.T) {
	if _, err := Dial(filepath.Join(t.TempDir(), "none")).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no gateway answers") {
		t.Error(err)
	}
}

func TestOperations(t *testing.T) {
	o := NewOperations()
	o.Observe(nfs4.OpRead, nfs4.OK, 1000)
	o.Observe(nfs4.OpRead, nfs4.ErrStale, 1000)
	o.Observe(nfs4.OpIllegal, nfs4.ErrOpIllegal, 1000)
	r := prometheus.NewRegistry()
	r.MustRegister(o)
	gw := serve(t, &lists{}, func(c *Config) { c.Registry = r })
	text, err := gw.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`holdfast_operation_seconds_count{op="READ"} 2`,
		fmt.Sprintf(`holdfast_operation_errors_total{op="READ",status="%v"} 1`, nfs4.ErrStale),
		fmt.Sprintf(`holdfast_operation_errors_total{op="%v",status="%v"} 1`, nfs4.OpIllegal, nfs4.ErrOpIllegal),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s", want)
		}
	}
}
