package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"holdfast/internal/nfs4"
)

// A Config says how a Client connects and establishes itself. Zero values mean
// something sensible.
type Config struct {
	// Dial makes the transport; it is used again by Reconnect.
	Dial func(ctx context.Context) (net.Conn, error)
	// Minor is the minor version, 0 to 2.
	Minor uint32
	// Owner is the client owner's or nfs_client_id4's id; "" is a random one.
	Owner string
	// Verifier tells boot instances apart; zero is a random one.
	Verifier nfs4.Verifier
	// Options of the connections. Its Callbacks make CREATE_SESSION ask for a
	// backchannel.
	Options Options
	// Patience is how long New asks again while the server answers
	// NFS4ERR_DELAY; 0 is not at all.
	Patience time.Duration
	// Flags of EXCHANGE_ID.
	Flags uint32
	// SessionFlags of CREATE_SESSION, beside the backchannel's.
	SessionFlags uint32
	// Fore and Back are asked of CREATE_SESSION; zero is DefaultFore/Back.
	Fore, Back ChannelAttrs
	// NoReclaimComplete leaves out RECLAIM_COMPLETE at the end.
	NoReclaimComplete bool
	// CallbackServer is where an NFSv4.0 server may call back; nil is nowhere.
	CallbackServer *CallbackServer
	// Via, if not nil, sends what Compound is given, instead of the client's
	// connection.
	Via func(ops ...Op) (*Reply, error)
}

// TCP returns a Dial function for an address.
func TCP(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
}

// A Client is an established NFSv4 client. Its methods may be called by
// several goroutines at once, except that an owner belongs to one at a time.
type Client struct {
	Config   Config
	ClientID uint64
	// Session is nil before NFSv4.1.
	Session *Session
	// Exchange is what EXCHANGE_ID answered.
	Exchange *ExchangeIDRes

	mu    sync.Mutex
	conn  *Conn
	extra []*Conn
}

// NewVerifier returns a random verifier.
func NewVerifier() (v nfs4.Verifier) {
	_, _ = rand.Read(v[:])
	return v
}

// UniqueName returns prefix with random letters after it.
func UniqueName(prefix string) string { return prefix + rand.Text()[:12] }

// New connects and establishes a client: SETCLIENTID and its confirmation, or
// EXCHANGE_ID, CREATE_SESSION and RECLAIM_COMPLETE.
func New(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Owner == "" {
		cfg.Owner = UniqueName("conformance/")
	}
	if cfg.Verifier == (nfs4.Verifier{}) {
		cfg.Verifier = NewVerifier()
	}
	if cfg.Fore == (ChannelAttrs{}) {
		cfg.Fore = DefaultFore
	}
	if cfg.Back == (ChannelAttrs{}) {
		cfg.Back = DefaultBack
	}
	c := &Client{Config: cfg}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.conn = conn
	establish := c.establish40
	if cfg.Minor > 0 {
		establish = c.establish41
	}
	err = Patiently(ctx, cfg.Patience, establish)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("establishing client %q for NFSv4.%d: %w", cfg.Owner, cfg.Minor, err)
	}
	return c, nil
}

// Patiently does what NFS4ERR_DELAY asks for (RFC 8881 §15.1.1.3), for so long:
// it waits and tries again. It returns how the last try ended.
func Patiently(ctx context.Context, long time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := try()
		if s, ok := Status(err); !ok || s != nfs4.ErrDelay {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func (c *Client) dial(ctx context.Context) (*Conn, error) {
	nc, err := c.Config.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return NewConn(nc, c.Config.Options), nil
}

// Conn returns the client's current connection.
func (c *Client) Conn() *Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// AddConn opens one more connection, closed with the client. A session may be
// used on it at once where no state protection forbids it.
func (c *Client) AddConn(ctx context.Context) (*Conn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extra = append(c.extra, conn)
	return conn, nil
}

// Reconnect replaces the client's connection by a new one, and that is all: no
// operation is sent.
func (c *Client) Reconnect(ctx context.Context) error {
	old, err := c.Replace(ctx)
	if err != nil {
		return err
	}
	return old.Close()
}

// Replace is Reconnect, but leaves the connection before open and to the caller.
func (c *Client) Replace(ctx context.Context) (old *Conn, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	return c.swap(conn), nil
}

// SetConn makes the client's requests take another connection, of which the
// caller takes care. The one before stays open until the client is closed.
func (c *Client) SetConn(conn *Conn) {
	old := c.swap(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extra = append(c.extra, old)
}

func (c *Client) swap(conn *Conn) (old *Conn) {
	c.mu.Lock()
	old, c.conn = c.conn, conn
	c.mu.Unlock()
	if c.Session != nil {
		c.Session.SetConn(conn)
	}
	return old
}

// Close closes the connections and leaves the server's state as it is.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.Close()
	for _, e := range c.extra {
		_ = e.Close()
	}
}

// Destroy gives the state back, as far as the protocol lets, and closes the
// connections.
func (c *Client) Destroy() error {
	defer c.Close()
	if c.Session == nil {
		return nil // NFSv4.0 leaves it to the lease
	}
	p, err := c.Conn().Compound(c.Config.Minor, DestroySession(c.Session.ID))
	if err != nil {
		return err
	}
	if p.Status != nfs4.OK {
		return p.Err()
	}
	p, err = c.Conn().Compound(c.Config.Minor, DestroyClientID(c.ClientID))
	if err != nil {
		return err
	}
	return p.Err()
}

func (c *Client) establish40() error {
	a := SetClientIDArgs{Verifier: c.Config.Verifier, ID: c.Config.Owner, CBProgram: nfs4.CBProgram, NetID: "tcp", UAddr: "0.0.0.0.0.0"}
	if c.Config.CallbackServer != nil {
		a.NetID, a.UAddr = c.Config.CallbackServer.Universal()
	}
	p, err := Check(c.conn.Compound(0, SetClientID(a)))
	if err != nil {
		return err
	}
	res := Get[SetClientIDRes](p)
	if _, err := Check(c.conn.Compound(0, SetClientIDConfirm(res.ClientID, res.Confirm))); err != nil {
		return err
	}
	c.ClientID = res.ClientID
	return nil
}

func (c *Client) establish41() error {
	minor := c.Config.Minor
	p, err := Check(c.conn.Compound(minor, ExchangeID(ExchangeIDArgs{
		Verifier: c.Config.Verifier, Owner: c.Config.Owner, Flags: c.Config.Flags,
	})))
	if err != nil {
		return err
	}
	c.Exchange = Get[ExchangeIDRes](p)
	c.ClientID = c.Exchange.ClientID
	if c.Session, err = c.NewSession(c.Exchange.Seq); err != nil {
		return err
	}
	if c.Config.NoReclaimComplete {
		return nil
	}
	p, err = c.Session.Compound(ReclaimComplete(false))
	if err != nil {
		return err
	}
	if p.Status != nfs4.OK && p.Status != nfs4.ErrCompleteAlready {
		return p.Err()
	}
	return nil
}

// NewSession creates one more session with the given CREATE_SESSION sequence.
func (c *Client) NewSession(seq uint32) (*Session, error) {
	flags := c.Config.SessionFlags
	if c.Config.Options.Callbacks != nil {
		flags |= nfs4.CreateSessionConnBackChan
	}
	conn := c.Conn()
	p, err := Check(conn.Compound(c.Config.Minor, CreateSession(CreateSessionArgs{
		ClientID: c.ClientID, Seq: seq, Flags: flags, Fore: c.Config.Fore, Back: c.Config.Back, CBProgram: nfs4.CBProgram,
	})))
	if err != nil {
		return nil, err
	}
	return NewSession(conn, c.Config.Minor, c.ClientID, Get[CreateSessionRes](p)), nil
}

// Compound sends the operations, behind a SEQUENCE from NFSv4.1 on.
func (c *Client) Compound(ops ...Op) (*Reply, error) {
	if c.Config.Via != nil {
		return c.Config.Via(ops...)
	}
	if c.Session != nil {
		return c.Session.Compound(ops...)
	}
	return c.Conn().Compound(0, ops...)
}

// Check turns a compound that failed into an error, an *OpError.
func Check(p *Reply, err error) (*Reply, error) {
	if err != nil {
		return p, err
	}
	return p, p.Err()
}

// Status returns the status that an error of this package stands for: OK for
// nil, an OpError's, and ok = false for anything else.
func Status(err error) (s nfs4.Status, ok bool) {
	if err == nil {
		return nfs4.OK, true
	}
	var oe *OpError
	if errors.As(err, &oe) {
		return oe.Status, true
	}
	return 0, false
}

// Root returns the root's filehandle.
func (c *Client) Root() (FH, error) { return c.Walk("") }

// Walk looks up a path below the root, its names separated by slashes, and
// returns the filehandle.
func (c *Client) Walk(path string) (FH, error) {
	ops := []Op{PutRootFH()}
	for name := range strings.SplitSeq(path, "/") {
		if name != "" {
			ops = append(ops, Lookup(name))
		}
	}
	return c.fh(append(ops, GetFH())...)
}

// LookupFH returns the filehandle of a name in a directory.
func (c *Client) LookupFH(dir FH, name string) (FH, error) {
	return c.fh(PutFH(dir), Lookup(name), GetFH())
}

// MkdirFH makes a directory and returns its filehandle.
func (c *Client) MkdirFH(dir FH, name string) (FH, error) {
	return c.fh(PutFH(dir), Mkdir(name), GetFH())
}

func (c *Client) fh(ops ...Op) (FH, error) {
	p, err := Check(c.Compound(ops...))
	if err != nil {
		return nil, err
	}
	return Get[GetFHRes](p).FH, nil
}

// Attrs gets attributes of a filehandle.
func (c *Client) Attrs(fh FH, attrs ...nfs4.Attr) (*Attrs, error) {
	p, err := Check(c.Compound(PutFH(fh), GetAttr(attrs...)))
	if err != nil {
		return nil, err
	}
	return Get[GetAttrRes](p).Attrs, nil
}

// List reads a whole directory with several READDIRs of maxCount bytes and the
// given attributes. A server that comes to a cookie again is an error: it would be
// read forever.
func (c *Client) List(dir FH, maxCount uint32, attrs ...nfs4.Attr) ([]Entry, error) {
	a := ReadDirArgs{DirCount: maxCount, MaxCount: maxCount, Attrs: nfs4.BitmapOf(attrs...)}
	var all []Entry
	begins := make(map[uint64]bool) // cookies where a page began
	for {
		if begins[a.Cookie] {
			return all, fmt.Errorf("READDIR goes in circles: it comes to cookie %d again", a.Cookie)
		}
		begins[a.Cookie] = true
		p, err := Check(c.Compound(PutFH(dir), ReadDir(a)))
		if err != nil {
			return all, err
		}
		d := Get[ReadDirRes](p)
		all = append(all, d.Entries...)
		if d.EOF {
			return all, nil
		}
		if len(d.Entries) == 0 {
			return all, fmt.Errorf("READDIR gives no entry and no end: %v", p)
		}
		a.Cookie, a.Verifier = d.Entries[len(d.Entries)-1].Cookie, d.Verifier
	}
}
