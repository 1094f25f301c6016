package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Listen makes the local socket. What a program that died left in its place is
// removed; a socket that somebody answers on is not. It must be called before the
// process has other goroutines that make files, since it changes the umask for
// a moment.
func Listen(path string) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, 2*time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("admin socket %s: another program answers there", path)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("admin socket %s: the file there is not a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin socket: %w", err)
		}
	}
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return l, nil
}

// A Remote is a running gateway, seen through its socket.
type Remote struct {
	path string
	http http.Client
}

// Dial returns the gateway whose socket is at path. It does not connect yet.
func Dial(path string) *Remote {
	return &Remote{path: path, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// Status asks for the status.
func (r *Remote) Status(ctx context.Context) (*Status, error) {
	var s Status
	return &s, r.do(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Clients asks for the clients.
func (r *Remote) Clients(ctx context.Context) (list []Client, err error) {
	err = r.do(ctx, http.MethodGet, "/v1/clients", nil, &list)
	return list, err
}

// Locks asks for a page of opens and locks. client and after may be empty.
func (r *Remote) Locks(ctx context.Context, client, after string, limit int) (*LockPage, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if client != "" {
		q.Set("client", client)
	}
	if after != "" {
		q.Set("after", after)
	}
	var p LockPage
	return &p, r.do(ctx, http.MethodGet, "/v1/locks", q, &p)
}

// Evict revokes all state of a client.
func (r *Remote) Evict(ctx context.Context, client string) error {
	return r.do(ctx, http.MethodPost, "/v1/evict", url.Values{"client": {client}}, nil)
}

// Drain tells the gateway to leave and returns at once.
func (r *Remote) Drain(ctx context.Context) error {
	return r.do(ctx, http.MethodPost, "/v1/drain", nil, nil)
}

// Get returns what a path answers with, at most 16 MiB of it.
func (r *Remote) Get(ctx context.Context, path string) ([]byte, error) {
	var text []byte
	err := r.do(ctx, http.MethodGet, path, nil, &text)
	return text, err
}

// do makes a request and decodes the answer into what into points to: text as
// it is into a []byte, JSON into anything else.
func (r *Remote) do(ctx context.Context, method, path string, q url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := r.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no gateway answers at %s: is it running, and is this its socket? (--admin)", r.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied: run this as the user that runs the gateway", r.path)
	case err != nil:
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		var e struct {
			Error string `json:"error"`
		}
		text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		if json.Unmarshal(text, &e) == nil && e.Error != "" {
			return errors.New(e.Error)
		}
		return fmt.Errorf("the gateway answered %s", res.Status)
	}
	if into == nil {
		return nil
	}
	if text, ok := into.(*[]byte); ok {
		*text, err = io.ReadAll(io.LimitReader(res.Body, 16<<20))
		return err
	}
	return json.NewDecoder(res.Body).Decode(into)
}
