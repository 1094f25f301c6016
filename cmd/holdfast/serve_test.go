package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/conformance/client"
	"holdfast/gateway/admin"
	"holdfast/internal/nfs4"
)

// The tests run the program as a user does: this test binary is the program if
// the environment says so.
const asProgram = "HOLDFAST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// command runs a short-lived command and returns what it printed, and its
// error with what it printed as that.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := program(args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errOut.String())
	}
	return out.String(), nil
}

// daemon is a running "holdfast serve".
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	addr  string
	said  string // until it served
	log   bytes.Buffer
	ended chan error
}

var listening = regexp.MustCompile(`Listening on ([^ ,]+?)[.,] `)

// start runs "holdfast serve" and waits until it serves.
func start(t *testing.T, args ...string) *daemon {
	t.Helper()
	return launch(t, program(append([]string{"serve"}, args...)...))
}

// startWith is start with a listening socket handed over as systemd does.
func startWith(t *testing.T, socket *os.File, args ...string) *daemon {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`, "sh", os.Args[0], "serve"}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.ExtraFiles = []*os.File{socket}
	return launch(t, cmd)
}

func launch(t *testing.T, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: cmd, ended: make(chan error, 1)}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stderr = &d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		d.said += lines.Text() + "\n"
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			d.addr = m[1]
		}
		if strings.Contains(lines.Text(), "mount -t nfs4") {
			break
		}
	}
	go func() {
		io.Copy(io.Discard, out)
		d.ended <- d.cmd.Wait()
	}()
	if d.addr == "" {
		t.Fatalf("it does not serve: %v\n%s%s", <-d.ended, d.said, d.log.String())
	}
	return d
}

// kill ends it as a crash does.
func (d *daemon) kill() {
	if d.cmd.Process != nil {
		d.cmd.Process.Kill()
	}
	select {
	case err := <-d.ended:
		d.ended <- err
	case <-time.After(time.Minute):
		d.t.Error("the program survived SIGKILL")
	}
}

// leaves waits until it has left by itself, without an error.
func (d *daemon) leaves() {
	d.t.Helper()
	select {
	case err := <-d.ended:
		d.ended <- err
		if err != nil {
			d.t.Errorf("it left with %v\n%s", err, d.log.String())
		}
	case <-time.After(time.Minute):
		d.t.Fatal("it does not leave")
	}
}

func (d *daemon) mount(minor uint32) *client.Client {
	d.t.Helper()
	c, err := client.New(context.Background(), client.Config{
		Minor:   minor,
		Options: client.Options{Cred: client.SysAuth(uint32(os.Getuid()), uint32(os.Getgid()))},
		Dial:    client.TCP(d.addr),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.Close)
	return c
}

// place is a directory to serve and one for state.
func place(t *testing.T) (dir, state string) {
	t.Helper()
	tmp := t.TempDir()
	return filepath.Join(tmp, "data"), filepath.Join(tmp, "state")
}

func TestServeStatusAndLeave(t *testing.T) {
	dir, state := place(t)
	d := start(t, dir, "--state", state, "--listen", "127.0.0.1:0", "--no-root-squash")
	if !strings.Contains(d.said, "Made the directory "+dir) {
		t.Errorf("it does not say that it made the directory:\n%s", d.said)
	}
	for _, minor := range []uint32{0, 1, 2} {
		c := d.mount(minor)
		root, err := c.Root()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.CreateFile(root, fmt.Sprintf("by-4.%d", minor)); err != nil {
			t.Fatalf("4.%d: %v", minor, err)
		}
		if _, err := os.Stat(filepath.Join(dir, fmt.Sprintf("by-4.%d", minor))); err != nil {
			t.Error(err)
		}
	}

	var status admin.Status
	printed, err := command(t, "status", "--state", state, "--json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(printed), &status); err != nil {
		t.Fatal(err)
	}
	if status.Ready != "yes" || status.PID != d.cmd.Process.Pid || status.Exports[0].Source != dir || status.Gateway.Connections != 3 || status.Gateway.Compounds == 0 {
		t.Errorf("%+v", status)
	}
	for cmd, wants := range map[string][]string{
		"status":  {"yes", dir, "3 now"},
		"clients": {"4.0", "4.1", "4.2", "127.0.0.1"},
		"locks":   {"open", "rw"},
	} {
		printed, err := command(t, cmd, "--state", state)
		if err != nil {
			t.Error(err)
		}
		for _, want := range wants {
			if !strings.Contains(printed, want) {
				t.Errorf("%s does not show %q:\n%s", cmd, want, printed)
			}
		}
	}

	d.cmd.Process.Signal(syscall.SIGTERM)
	d.leaves()
	if _, err := command(t, "status", "--state", state); err == nil || !strings.Contains(err.Error(), "no gateway answers") {
		t.Errorf("status of a gateway that left: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(state, "admin.sock")); err == nil {
		t.Error("the socket was left behind")
	}
}

// A gateway that is killed and started again goes on with the session, the
// open file and the lock of its client.
func TestKilledAndStartedAgain(t *testing.T) {
	dir, state := place(t)
	args := []string{dir, "--state", state, "--listen", "127.0.0.1:0", "--no-root-squash"}
	d := start(t, args...)
	c := d.mount(2)
	root, err := c.Root()
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.CreateFile(root, "f")
	if err != nil {
		t.Fatal(err)
	}
	before := c.Session.ID
	d.kill()

	d = start(t, args...)
	c.Config.Dial = client.TCP(d.addr)
	if err := c.Reconnect(context.Background()); err != nil {
		t.Fatal(err)
	}
	p, err := c.Compound(client.PutFH(f.FH), client.Write(f.Stateid, 0, nfs4.FileSync, []byte("after")))
	if err != nil || p.Status != nfs4.OK {
		t.Fatalf("%v, %v", p, err)
	}
	if c.Session.ID != before {
		t.Error("another session")
	}
	if got, err := os.ReadFile(filepath.Join(dir, "f")); string(got) != "after" {
		t.Errorf("%q, %v", got, err)
	}
}

// With an inherited socket a client that reconnects while no gateway runs is
// not refused: it is served by the next one. So it is after a kill, and after a
// drain.
func TestInheritedSocketOutlivesTheProcess(t *testing.T) {
	dir, state := place(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	l.Close()
	args := []string{dir, "--state", state, "--no-root-squash"}
	d := startWith(t, socket, args...)
	if d.addr != l.Addr().String() {
		t.Fatalf("it listens on %s, not on %s", d.addr, l.Addr())
	}
	c := d.mount(1)
	root, err := c.Root()
	if err != nil {
		t.Fatal(err)
	}
	for i, end := range []func(){
		d.kill,
		func() {
			d.cmd.Process.Signal(syscall.SIGTERM)
			d.leaves()
		},
	} {
		end()
		if err := c.Reconnect(context.Background()); err != nil {
			t.Fatalf("round %d: refused while no gateway runs: %v", i, err)
		}
		d = startWith(t, socket, args...)
		if _, err := c.CreateFile(root, fmt.Sprint("f", i)); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
}

func TestDrainAndEvictCommands(t *testing.T) {
	dir, state := place(t)
	d := start(t, dir, "--state", state, "--listen", "127.0.0.1:0", "--no-root-squash")
	c := d.mount(1)
	root, err := c.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateFile(root, "f"); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, "evict", "xyz", "--state", state); err == nil || !strings.Contains(err.Error(), "no client id") {
		t.Errorf("evict of nonsense: %v", err)
	}
	if _, err := command(t, "evict", fmt.Sprintf("%x", c.ClientID), "--state", state); err != nil {
		t.Fatal(err)
	}
	printed, err := command(t, "locks", "--state", state, "--json")
	if err != nil || strings.TrimSpace(printed) != "[]" {
		t.Errorf("after the eviction: %s, %v", printed, err)
	}
	if _, err := command(t, "drain", "--state", state); err != nil {
		t.Fatal(err)
	}
	d.leaves()
}

// What keeps the program from serving is said, and its exit status is not 0.
func TestRefusals(t *testing.T) {
	dir, state := place(t)
	d := start(t, dir, "--state", state, "--listen", "127.0.0.1:0")
	other := t.TempDir()
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"state in use", []string{dir, "--state", state, "--listen", "127.0.0.1:0"}, "in use by another holdfast"},
		{"address in use", []string{dir, "--state", filepath.Join(other, "state"), "--listen", d.addr}, "address already in use"},
		{"bad flag", []string{dir, "--lease", "never"}, `--lease: "never" is not allowed here`},
		{"unknown flag", []string{dir, "--leese", "90s"}, "unknown flag: --leese"},
		{"nothing", nil, "nothing to serve"},
		{"state in the export", []string{dir, "--state", filepath.Join(dir, "s")}, "is inside the export"},
	} {
		if _, err := command(t, append([]string{"serve"}, tc.args...)...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	d.kill()
	// Another program's version of the store.
	format := filepath.Join(state, "store", "FORMAT")
	if err := os.WriteFile(format, []byte("somebody else's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, "serve", dir, "--state", state, "--listen", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "the state in "+state) {
		t.Errorf("another store: %v", err)
	}
}

// A configuration file with two exports, one of them in memory; metrics over
// TCP; a log for machines.
func TestConfigurationFile(t *testing.T) {
	dir, state := place(t)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "holdfast.yaml")
	text := fmt.Sprintf("listen: 127.0.0.1:0\nstate: %s\nmetrics: 127.0.0.1:0\nnfsv3: true\nexports:\n- {path: /data, dir: %s, squash: none}\n- {path: /memory, billy: memory, anonuid: %d}\n", state, dir, os.Getuid())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d := start(t, "--config", file)
	c := d.mount(2)
	for _, path := range []string{"/data", "/memory"} {
		fh, err := c.Walk(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := c.CreateFile(fh, "f"); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "f")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(d.said, "NFSv3 clients") || !strings.Contains(d.said, "in memory") {
		t.Errorf("not said:\n%s", d.said)
	}
	web := admin.Dial(filepath.Join(state, "admin.sock"))
	metrics, err := web.Get(context.Background(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`holdfast_operation_seconds_count{op="OPEN"} 2`, "holdfast_connections 1", "holdfast_compound_seconds_count"} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if _, err := web.Get(context.Background(), "/readyz"); err != nil {
		t.Error(err)
	}
}
