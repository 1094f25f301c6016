package containers_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/conformance/kernel"
)

// engine is a Docker daemon on a host of its own, and a project of docker compose on it.
type engine struct {
	host    *kernel.Host
	lab     *kernel.Lab
	daemon  *kernel.Process
	socket  string
	compose []string // docker compose, or docker-compose
}

// newEngine starts a daemon that ends with the test, and everything that it runs with it.
func newEngine(t *testing.T, lab *kernel.Lab) *engine {
	t.Helper()
	kernel.Need(t, "dockerd", "docker", "iptables", "unshare", "ldd")
	e := &engine{lab: lab, host: lab.Host(t, "engine"), socket: filepath.Join(lab.Dir, "docker.sock")}
	if e.compose = []string{"docker", "compose"}; exec.Command("docker", "compose", "version").Run() != nil {
		kernel.Need(t, "docker-compose")
		e.compose = []string{"docker-compose"}
	}
	data := filepath.Join(lab.Dir, "docker")
	group := fmt.Sprintf("/holdfast-%d", os.Getpid())
	t.Cleanup(func() { removeGroup(group) })
	// What has a process and a mount namespace of its own leaves neither behind when it is killed.
	e.daemon = e.host.Process(t, "dockerd", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"dockerd", "--log-level", "error", "--cgroup-parent", group, "--data-root", filepath.Join(data, "data"), "--exec-root", filepath.Join(data, "run"),
		"--pidfile", filepath.Join(data, "pid"), "--host", "unix://"+e.socket)
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	e.daemon.Start(t)
	e.until(t, "the engine does not answer", func() bool { return e.docker("version").Run() == nil })
	// Guests are not on this host; without this only the containers reach each other.
	run(t, e.host.Command("iptables", "--insert", "DOCKER-USER", "--jump", "ACCEPT"))
	return e
}

// removeGroup removes a control group and those in it, as far as they are empty.
func removeGroup(name string) {
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		for _, sub := range []string{"/*", ""} {
			all, _ := filepath.Glob(top + name + sub)
			for _, dir := range all {
				_ = os.Remove(dir) // one of a container that was killed may still be in use
			}
		}
	}
}

// docker is a command of the engine's own client.
func (e *engine) docker(args ...string) *exec.Cmd {
	return e.command(append([]string{"docker"}, args...))
}

// inProject is a command of compose in the project's folder.
func (e *engine) inProject(args ...string) *exec.Cmd {
	cmd := e.command(append(e.compose, args...))
	cmd.Dir = top
	return cmd
}

func (e *engine) command(argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+e.socket, "COMPOSE_PROJECT_NAME=holdfast")
	return cmd
}

// run runs a command to its end and returns what it printed. The test fails at once unless it ends well.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// until waits for something that nobody announces.
func (e *engine) until(t *testing.T, otherwise string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(e.lab.Limit); !f(); time.Sleep(50 * time.Millisecond) {
		if !e.daemon.Alive() {
			t.Fatalf("the engine has ended: %s", e.daemon.Log())
		}
		if time.Now().After(end) {
			t.Fatalf("%s within %v", otherwise, e.lab.Limit)
		}
	}
}

var serves = regexp.MustCompile(`(?m)^serving +yes`)

// serving waits until a gateway says that it serves.
func (e *engine) serving(t *testing.T, gateway string) {
	t.Helper()
	e.until(t, gateway+" does not serve", func() bool {
		out, err := e.inProject("exec", "-T", gateway, "/holdfast", "status").CombinedOutput()
		return err == nil && serves.Match(out)
	})
}
