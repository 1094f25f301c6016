package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"holdfast/conformance/client"
	"holdfast/internal/nfs4"
	"holdfast/internal/oncrpc"
)

var errStop = errors.New("suite: the test ends here")

// An Env is what a running test has at hand. Only the test's own goroutine may
// use it, except Errorf.
type Env struct {
	Target
	Minor uint32

	run  *Run
	home uint32 // the address of what is not spread
	ctx  context.Context

	mu          sync.Mutex // guards messages and failed
	messages    []string
	failed      bool
	skipped     bool
	unsupported bool
	trace       trace

	main    *client.Client
	clients []*client.Client
	conns   []*client.Conn
	work    client.FH // Target.Path
	dirs    []string  // made in work
	invalid string    // a status that no table allows, unless the test wanted it

	provoked []Provoked
	carriers []*carrier
}

// where returns file and line of the test's statement, for messages.
func where() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if base := filepath.Base(f.File); base != "env.go" && base != "suite.go" {
			return fmt.Sprintf("%s:%d", base, f.Line)
		}
		if !more {
			return "?"
		}
	}
}

// Errorf marks the test as failed and goes on.
func (e *Env) Errorf(format string, args ...any) {
	e.fail(where() + ": " + fmt.Sprintf(format, args...))
}

func (e *Env) fail(message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed = true
	e.messages = append(e.messages, message)
}

// Fatalf marks the test as failed and ends it.
func (e *Env) Fatalf(format string, args ...any) {
	e.fail(where() + ": " + fmt.Sprintf(format, args...))
	panic(errStop)
}

// Skipf ends the test as one that does not apply.
func (e *Env) Skipf(format string, args ...any) {
	e.skipped = true
	e.messages = append(e.messages, fmt.Sprintf(format, args...))
	panic(errStop)
}

// Unsupportedf ends the test because the server said that it lacks something that
// the RFC lets it lack.
func (e *Env) Unsupportedf(format string, args ...any) {
	e.unsupported = true
	e.messages = append(e.messages, fmt.Sprintf(format, args...))
	panic(errStop)
}

// patience is how long a reply is waited for.
func (e *Env) patience() time.Duration {
	if e.Timeout > 0 {
		return e.Timeout
	}
	return 20 * time.Second
}

// options are those of every connection.
func (e *Env) options() client.Options {
	return client.Options{Timeout: e.Timeout, Observe: e.trace.add}
}

// crowded is how long a server is asked again that answers NFS4ERR_DELAY to a new
// client or at the start: longer than a usual lease, as some have room for a
// client only when the lease of another has ended.
const crowded = 2 * time.Minute

// NewClient establishes one more client, changed by mod if it is not nil.
func (e *Env) NewClient(mod func(cfg *client.Config)) *client.Client {
	cfg := client.Config{Dial: e.Dial, Minor: e.Minor, Options: e.options()}
	if mod != nil {
		mod(&cfg)
	}
	c, err := client.New(e.ctx, cfg)
	if s, ok := client.Status(err); ok && s == nfs4.ErrDelay {
		e.run.crowded.Store(true)
		cfg.Patience = crowded
		c, err = client.New(e.ctx, cfg)
	}
	if s, ok := client.Status(err); ok && s == nfs4.ErrMinorVersMismatch {
		e.Unsupportedf("the server does not speak NFSv4.%d", e.Minor)
	}
	if err != nil {
		e.Fatalf("%v", err)
	}
	e.clients = append(e.clients, c)
	return c
}

// User establishes a client that calls with another user's credential.
func (e *Env) User(uid, gid uint32, groups ...uint32) *client.Client {
	return e.NewClient(func(cfg *client.Config) { cfg.Options.Cred = client.SysAuth(uid, gid, groups...) })
}

// Client returns the test's first client, root.
func (e *Env) Client() *client.Client {
	if e.main == nil {
		e.main = e.NewClient(nil)
	}
	return e.main
}

// Conn opens a bare connection, closed at the end of the test.
func (e *Env) Conn() *client.Conn {
	nc, err := e.Dial(e.ctx)
	if err != nil {
		e.Fatalf("%v", err)
	}
	c := client.NewConn(nc, e.options())
	e.conns = append(e.conns, c)
	return c
}

// Work returns the directory of the target's path.
func (e *Env) Work() client.FH {
	if e.work == nil {
		fh, err := e.Client().Walk(e.Path)
		if err != nil {
			e.Fatalf("target path %q: %v", e.Path, err)
		}
		e.work = fh
	}
	return e.work
}

// Dir makes a directory for this test, of mode 0777, removed with all that is
// in it when the test ends.
func (e *Env) Dir() client.FH {
	name := client.UniqueName("conformance-")
	work := e.Work()
	p := e.OK(e.Client(), client.PutFH(work), client.Create(client.CreateArgs{
		Type: nfs4.TypeDir, Name: name, Attrs: new(client.Attrs).SetMode(0o777),
	}), client.GetFH())
	e.dirs = append(e.dirs, name)
	return get[client.GetFHRes](e, p).FH
}

// Do sends a compound. It fails the test if there is no reply or one that
// breaks the protocol.
func (e *Env) Do(c *client.Client, ops ...client.Op) *client.Reply {
	p, err := c.Compound(ops...)
	return e.reply(p, err)
}

// Raw sends a compound on a bare connection.
func (e *Env) Raw(c *client.Conn, ops ...client.Op) *client.Reply {
	p, err := c.Compound(e.Minor, ops...)
	return e.reply(p, err)
}

// reply looks at what every reply must be.
func (e *Env) reply(p *client.Reply, err error) *client.Reply {
	if err != nil {
		e.Fatalf("%v", err)
	}
	e.settle()
	for _, r := range p.Results {
		if r.Status == nfs4.ErrServerFault {
			e.invalid = fmt.Sprintf("%v is never an answer: %v", r.Status, p)
		} else if !allowed(r.Op, r.Status, e.Minor) {
			e.invalid = fmt.Sprintf("%v is not a valid error of %v: %v", r.Status, r.Op, p)
		}
	}
	return p
}

// settle reports a status that is outside the tables and that the test did not
// name itself.
func (e *Env) settle() {
	if e.invalid != "" {
		e.Errorf("%s", e.invalid)
		e.invalid = ""
	}
}

// Expect requires one of the statuses of a reply, as the compound's.
func (e *Env) Expect(p *client.Reply, want []nfs4.Status) *client.Reply {
	if !slices.Contains(want, p.Status) && !e.destroyedBefore(p, want) {
		e.settle()
		e.lacking(p.Last().Op, p.Status)
		e.Fatalf("got %v, want %v: %v", p.Status, want, p)
	}
	e.invalid = ""
	e.provoke(p.Last().Op, p.Status, want)
	return p
}

// provoke notes an error that the test demanded.
func (e *Env) provoke(op nfs4.Op, got nfs4.Status, want []nfs4.Status) {
	x := Provoked{op, got}
	if got != nfs4.OK && !slices.Contains(want, nfs4.OK) && !slices.Contains(e.provoked, x) {
		e.provoked = append(e.provoked, x)
	}
}

// OK sends a compound that must succeed.
func (e *Env) OK(c *client.Client, ops ...client.Op) *client.Reply {
	return e.Expect(e.Do(c, ops...), is(nfs4.OK))
}

// Want sends a compound that must end with one of the statuses, in its last
// operation.
func (e *Env) Want(c *client.Client, want []nfs4.Status, ops ...client.Op) *client.Reply {
	p := e.Expect(e.Do(c, ops...), want)
	n := len(ops)
	if c.Session != nil {
		n++
	}
	if len(p.Results) != n {
		e.Fatalf("%d results for %d operations: %v", len(p.Results), n, p)
	}
	return p
}

// WantRaw is Want on a bare connection.
func (e *Env) WantRaw(c *client.Conn, want []nfs4.Status, ops ...client.Op) *client.Reply {
	return e.Expect(e.Raw(c, ops...), want)
}

// Err requires that err stands for one of the statuses; OK is a nil error.
func (e *Env) Err(err error, want ...nfs4.Status) {
	s, ok := client.Status(err)
	if !ok {
		e.Fatalf("%v", err)
	}
	var oe *client.OpError
	errors.As(err, &oe)
	if !slices.Contains(want, s) {
		if oe != nil {
			e.lacking(oe.Op, s)
		}
		e.Fatalf("got %v, want %v", s, want)
	}
	if oe != nil {
		e.provoke(oe.Op, s, want)
	}
}

// Must requires that err is nil.
func (e *Env) Must(err error) {
	if err != nil {
		e.Fatalf("%v", err)
	}
}

// Refused requires that the RPC layer refused the call, as the predicate says.
func (e *Env) Refused(err error, what string, is func(r *oncrpc.Reply) bool) {
	var re *client.RPCError
	if !errors.As(err, &re) {
		e.Fatalf("got %v, want the RPC layer to refuse: %s", err, what)
	}
	if !is(&re.Reply) {
		e.Fatalf("got %v, want %s", &re.Reply, what)
	}
}

// File creates a file with the given contents and leaves it open for reading
// and writing.
func (e *Env) File(c *client.Client, dir client.FH, name, contents string) *client.OpenFile {
	f, err := c.CreateFile(dir, name)
	e.Must(err)
	if contents != "" {
		w, err := f.Write(0, nfs4.FileSync, []byte(contents))
		e.Must(err)
		if int(w.Count) != len(contents) {
			e.Fatalf("WRITE of %d bytes wrote %d", len(contents), w.Count)
		}
	}
	return f
}

// Closed creates a file with the given contents and returns its filehandle.
func (e *Env) Closed(c *client.Client, dir client.FH, name, contents string) client.FH {
	f := e.File(c, dir, name, contents)
	e.Must(f.Close())
	return f.FH
}

// Mkdir makes a directory.
func (e *Env) Mkdir(c *client.Client, dir client.FH, name string) client.FH {
	fh, err := c.MkdirFH(dir, name)
	e.Must(err)
	return fh
}

// Make creates an object that is not a regular file.
func (e *Env) Make(c *client.Client, dir client.FH, a client.CreateArgs) client.FH {
	p := e.OK(c, client.PutFH(dir), client.Create(a), client.GetFH())
	return get[client.GetFHRes](e, p).FH
}

// Contents reads a whole small file without an open.
func (e *Env) Contents(c *client.Client, fh client.FH) string {
	p := e.OK(c, client.PutFH(fh), client.Read(nfs4.AnonymousStateid, 0, 1<<16))
	return string(get[client.ReadRes](e, p).Data)
}

// Attrs gets attributes.
func (e *Env) Attrs(c *client.Client, fh client.FH, attrs ...nfs4.Attr) *client.Attrs {
	return get[client.GetAttrRes](e, e.OK(c, client.PutFH(fh), client.GetAttr(attrs...))).Attrs
}

// Names lists a directory's names, sorted.
func (e *Env) Names(c *client.Client, dir client.FH) []string {
	entries, err := c.List(dir, 32<<10)
	e.Must(err)
	names := make([]string, 0, len(entries))
	for _, en := range entries {
		names = append(names, en.Name)
	}
	slices.Sort(names)
	return names
}

// Supported says whether the server supports an attribute on a filehandle.
func (e *Env) Supported(fh client.FH, a nfs4.Attr) bool {
	return e.Attrs(e.Client(), fh, nfs4.AttrSupported).Supported.Has(a)
}

// NeedAttr skips the test if the server lacks a recommended attribute.
func (e *Env) NeedAttr(fh client.FH, attrs ...nfs4.Attr) {
	s := e.Attrs(e.Client(), fh, nfs4.AttrSupported).Supported
	for _, a := range attrs {
		if !s.Has(a) {
			e.Unsupportedf("the server does not support the attribute %v", a)
		}
	}
}

// cleanup removes the test's directories and closes its clients. It fails
// nothing: what a test left open may still be in the way.
func (e *Env) cleanup() {
	if len(e.dirs) > 0 && e.main != nil {
		// The test may have dropped the main client's connection or lease.
		c, err := client.New(e.ctx, client.Config{Dial: e.Dial, Minor: e.Minor, Options: e.options(), Patience: crowded})
		if err == nil {
			for _, name := range e.dirs {
				removeTree(c, e.work, name)
			}
			_ = c.Destroy()
		}
	}
	for _, c := range e.clients {
		c.Close()
	}
	e.leave()
	for _, c := range e.conns {
		_ = c.Close()
	}
}

// leave ends the sessions of the test's clients, by a connection of its own, as
// the test may have broken theirs: a server that keeps replies for many sessions
// grants fewer and fewer slots. One without room has them forget their clients.
func (e *Env) leave() {
	if e.Minor == 0 || len(e.clients) == 0 {
		return
	}
	nc, err := e.Dial(e.ctx)
	if err != nil {
		return
	}
	conn := client.NewConn(nc, e.options())
	defer conn.Close()
	for _, c := range e.clients {
		if _, err := conn.Compound(e.Minor, client.DestroySession(c.Session.ID)); err != nil {
			return
		}
		if e.run.crowded.Load() {
			e.forget(c)
		}
	}
}

// forget takes away all that the server holds for a client: it comes back as one
// that was started anew, which ends what was (RFC 8881 §18.35.4), and leaves.
func (e *Env) forget(c *client.Client) {
	cfg := client.Config{Dial: e.Dial, Minor: e.Minor, Owner: c.Config.Owner, Options: e.options(), Patience: crowded}
	if again, err := client.New(e.ctx, cfg); err == nil {
		_ = again.Destroy()
	}
}

// removeTree removes name from dir with all below it.
func removeTree(c *client.Client, dir client.FH, name string) {
	p, err := c.Compound(client.PutFH(dir), client.Remove(name))
	if err != nil || (p.Status != nfs4.ErrNotEmpty && p.Status != nfs4.ErrExist) {
		return
	}
	fh, err := c.LookupFH(dir, name)
	if err != nil {
		return
	}
	entries, err := c.List(fh, 32<<10)
	if err != nil {
		return
	}
	for _, en := range entries {
		removeTree(c, fh, en.Name)
	}
	_, _ = c.Compound(client.PutFH(dir), client.Remove(name))
}
