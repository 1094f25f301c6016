package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Program is a kind of NFS server that the lab can run.
type Program interface {
	// Command returns the command line that serves s.Dir at s.Addr, port 2049, with its state in s.State; it may write
	// configuration there. The process must stay in the foreground.
	Command(s *Server) ([]string, error)
	// Root is the path that a client mounts to get s.Dir.
	Root() string
}

// Export is what a server serves.
type Export struct {
	Dir        string // host folder; a new one in the lab when empty
	RootSquash bool   // root of a client is nobody
	ReadOnly   bool
	IPv6       bool // served at an IPv6 address instead of an IPv4 one
}

// Server is a server process at an address of its own. Kill, Stop and Start may follow each other any number of times;
// they must not be called side by side.
type Server struct {
	Export
	Addr  netip.Addr
	Root  string // what to mount
	State string // folder for the server's own files; survives Kill

	lab     *Lab
	program Program
	log     string
	cmd     *exec.Cmd
	gone    chan struct{} // closed when the current process has ended
}

// Serve starts a server at a new address of the lab and returns when it takes connections. It is killed when the test
// ends; when the test has failed, the end of the server's log goes to the test's log.
func (l *Lab) Serve(tb testing.TB, p Program, e Export) *Server {
	tb.Helper()
	addr, err := l.newServerAddr(e.IPv6)
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{Export: e, Addr: addr, Root: p.Root(), lab: l, program: p}
	s.State = filepath.Join(l.Dir, "state-"+addr.String())
	s.log = filepath.Join(l.Dir, "log-"+addr.String())
	if s.Dir == "" {
		s.Dir = filepath.Join(l.Dir, "export-"+addr.String())
	}
	for _, dir := range []string{s.State, s.Dir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() {
		s.end(syscall.SIGKILL)
		if tb.Failed() {
			tb.Logf("log of the server at %s:\n%s", s.Addr, s.Log())
		}
	})
	s.Start(tb)
	return s
}

// Start starts the server, again after Kill or Stop, and returns when it takes connections.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.Launch(tb)
	ctx, cancel := context.WithTimeout(context.Background(), s.lab.Limit)
	defer cancel()
	address := netip.AddrPortFrom(s.Addr, 2049).String()
	for {
		conn, err := s.lab.Dial(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-s.gone:
			tb.Fatalf("the server at %s ended at its start:\n%s", s.Addr, s.Log())
		case <-ctx.Done():
			tb.Fatalf("the server at %s takes no connection: %v\n%s", s.Addr, err, s.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Launch is Start without waiting for anything.
func (s *Server) Launch(tb testing.TB) {
	tb.Helper()
	argv, err := s.program.Command(s)
	if err != nil {
		tb.Fatal(err)
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	cmd := s.lab.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = s.State
	if err := s.lab.launch.start(cmd); err != nil {
		tb.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		cmd.Wait()
		close(gone)
	}()
	s.cmd, s.gone = cmd, gone
}

// Kill ends the server as a crash does (SIGKILL) and returns when it is gone.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if !s.Alive() {
		tb.Fatalf("the server at %s had ended before it was killed:\n%s", s.Addr, s.Log())
	}
	s.end(syscall.SIGKILL)
}

// Stop asks the server to leave (SIGTERM) and returns when it is gone.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.Signal(tb, syscall.SIGTERM)
	select {
	case <-s.gone:
	case <-time.After(s.lab.Limit):
		tb.Fatalf("the server at %s does not end on SIGTERM:\n%s", s.Addr, s.Log())
	}
}

// Signal sends a signal to the server, for example SIGSTOP.
func (s *Server) Signal(tb testing.TB, sig os.Signal) {
	tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		tb.Fatalf("signal the server at %s: %v", s.Addr, err)
	}
}

// Alive tells whether the server's process runs.
func (s *Server) Alive() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(sig); errors.Is(err, os.ErrProcessDone) {
		return
	}
	<-s.gone
}

// Log returns the end of what the server wrote.
func (s *Server) Log() string { return tail(s.log) }

// Holdfast runs this project's gateway.
type Holdfast struct {
	Binary string   // host path of the built program
	Args   []string // further flags of `holdfast serve`
}

// Command implements Program.
func (h Holdfast) Command(s *Server) ([]string, error) {
	argv := []string{h.Binary, "serve", s.Dir, "--listen", netip.AddrPortFrom(s.Addr, 2049).String(), "--state", s.State}
	if !s.RootSquash {
		argv = append(argv, "--no-root-squash")
	}
	if s.ReadOnly {
		argv = append(argv, "--read-only")
	}
	return append(argv, h.Args...), nil
}

// Root implements Program.
func (Holdfast) Root() string { return "/" }

// Ganesha runs NFS-Ganesha, a peer to compare with: it tells whether a job asks for what Linux and the RFCs promise, or for
// what only our gateway does.
type Ganesha struct{}

// Command implements Program.
func (Ganesha) Command(s *Server) ([]string, error) {
	if s.IPv6 {
		return nil, errors.New("an IPv6 address cannot be bound in the configuration of NFS-Ganesha")
	}
	squash, access := "No_Root_Squash", "RW"
	if s.RootSquash {
		squash = "Root_Squash"
	}
	if s.ReadOnly {
		access = "RO"
	}
	conf := filepath.Join(s.State, "ganesha.conf")
	text := fmt.Sprintf(`LOG { Default_Log_Level = CRIT; }
NFS_CORE_PARAM {
	NFS_Port = 2049;
	Bind_addr = %s;
	NFS_Protocols = 4;
	Enable_NLM = false;
	Enable_RQUOTA = false;
}
NFSv4 {
	Grace_Period = 5;
	Lease_Lifetime = 30;
	Minor_Versions = 0, 1, 2;
	Only_Numeric_Owners = true;
	RecoveryBackend = fs;
	RecoveryRoot = %s;
}
EXPORT {
	Export_Id = 1;
	Path = %s;
	Pseudo = /export;
	Protocols = 4;
	Access_Type = %s;
	Squash = %s;
	Disable_ACL = false;
	SecType = sys;
	FSAL { Name = VFS; }
}
`, s.Addr, s.State, s.Dir, access, squash)
	if err := os.WriteFile(conf, []byte(strings.TrimLeft(text, "\n")), 0o644); err != nil {
		return nil, err
	}
	return []string{"ganesha.nfsd", "-F", "-f", conf, "-L", "STDERR", "-p", filepath.Join(s.State, "pid")}, nil
}

// Root implements Program.
func (Ganesha) Root() string { return "/export" }
