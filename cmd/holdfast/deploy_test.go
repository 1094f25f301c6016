package main

import (
	"bufio"
	"context"
	"debug/elf"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"

	"holdfast/durable/redis"
	"holdfast/internal/config"
)

// top is the top folder of the project.
const top = "../.."

// composeFile is what the tests look at in docker-compose.yml.
type composeFile struct {
	Services map[string]struct {
		Image    string
		Hostname string
		Command  []string
		Tmpfs    []string
		Volumes  []string
		Networks map[string]struct {
			Address string `yaml:"ipv4_address"`
		}
	}
}

func readCompose(t *testing.T) *composeFile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var c composeFile
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

// address returns that of a service.
func (c *composeFile) address(t *testing.T, service string) string {
	t.Helper()
	for _, n := range c.Services[service].Networks {
		if n.Address != "" {
			return n.Address
		}
	}
	t.Fatalf("service %q has no address", service)
	return ""
}

// TestComposeGateways reads the gateways' command lines with the program's own flags, and checks that they name the other containers.
func TestComposeGateways(t *testing.T) {
	c := readCompose(t)
	names := map[string]bool{}
	for service, s := range c.Services {
		if s.Image != "holdfast" {
			continue
		}
		names[s.Hostname] = true
		if len(s.Command) < 2 || s.Command[0] != "serve" {
			t.Fatalf("%s: command %q", service, s.Command)
		}
		fs := pflag.NewFlagSet(service, pflag.ContinueOnError)
		flags := config.NewFlags(fs)
		if err := fs.Parse(s.Command[1:]); err != nil {
			t.Fatalf("%s: %v", service, err)
		}
		if fs.NArg() != 1 {
			t.Fatalf("%s: arguments %q", service, fs.Args())
		}
		cfg, err := flags.Config(fs.Arg(0))
		if err != nil {
			t.Fatalf("%s: %v", service, err)
		}
		if want := "redis://" + c.address(t, "redis"); cfg.Store != want {
			t.Errorf("%s: store %s, want %s", service, cfg.Store, want)
		}
		if want := "nats://" + c.address(t, "nats"); cfg.Peers != want {
			t.Errorf("%s: peers %s, want %s", service, cfg.Peers, want)
		}
		balancer := netip.MustParseAddr(c.address(t, "balancer"))
		if !slices.ContainsFunc(cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(balancer) }) {
			t.Errorf("%s: the balancer %s is not among %v", service, balancer, cfg.Proxies)
		}
		if _, port, err := net.SplitHostPort(cfg.Metrics); err != nil || port != "9100" {
			t.Errorf("%s: metrics at %q: the balancer asks port 9100", service, cfg.Metrics)
		}
		if !slices.Contains(s.Volumes, "export:"+fs.Arg(0)) {
			t.Errorf("%s serves %s, which is none of its volumes %q", service, fs.Arg(0), s.Volumes)
		}
		// The image holds no folder that could be written.
		if !slices.Contains(s.Tmpfs, "/var/lib/holdfast") {
			t.Errorf("%s: no place for its state among %q", service, s.Tmpfs)
		}
	}
	if len(names) != 3 {
		t.Errorf("gateways called %v, want three names", names)
	}
	conf, err := os.ReadFile(filepath.Join(top, "deploy", "haproxy", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range names {
		if !strings.Contains(string(conf), "server "+name+" "+name+":2049") {
			t.Errorf("the balancer does not know gateway %s", name)
		}
	}
}

// TestComposeRedis starts Redis as the compose file does: a gateway accepts it as durable.
func TestComposeRedis(t *testing.T) {
	argv := readCompose(t).Services["redis"].Command
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	cmd := exec.Command(argv[0], append(slices.Clone(argv[1:]), "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir())...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		s, err := redis.Open(context.Background(), "redis://127.0.0.1:"+port, redis.Options{Domain: "test"})
		if err == nil {
			s.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestBalancerConfiguration has HAProxy read its configuration.
func TestBalancerConfiguration(t *testing.T) {
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command("haproxy", "-c", "-f", filepath.Join(top, "deploy", "haproxy", "haproxy.cfg")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDockerfile carries out the build step of the Dockerfile and checks that what it makes runs in an image that holds nothing else,
// with the command that the image has.
func TestDockerfile(t *testing.T) {
	steps := dockerfile(t)
	build := strings.Fields(steps["RUN"])
	i := slices.Index(build, "-o")
	if i < 0 || i+1 >= len(build) {
		t.Fatalf("what does %q make?", build)
	}
	made := build[i+1]
	if !strings.Contains(steps["COPY --from=build"], made) || steps["ENTRYPOINT"] != fmt.Sprintf("[%q]", made) {
		t.Errorf("%s is made, %s copied, %s run", made, steps["COPY --from=build"], steps["ENTRYPOINT"])
	}
	build[i+1] = filepath.Join(t.TempDir(), "holdfast")
	cmd := exec.Command("sh", "-c", strings.Join(build, " "))
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", build, err, out)
	}
	program, err := elf.Open(build[i+1])
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has a segment %v", p.Type)
		}
	}
	var argv []string
	if err := yaml.Unmarshal([]byte(steps["CMD"]), &argv); err != nil || len(argv) < 2 || argv[0] != "serve" {
		t.Fatalf("command %s: %v", steps["CMD"], err)
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags := config.NewFlags(fs)
	if err := fs.Parse(argv[1:]); err != nil {
		t.Fatal(err)
	}
	if _, err := flags.Config(fs.Arg(0)); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command(build[i+1], "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "serve") {
		t.Errorf("--help: %v\n%s", err, out)
	}
}

// dockerfile returns the Dockerfile's steps, the last of each kind.
func dockerfile(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(top, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	steps := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		verb, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if from, what, found := strings.Cut(rest, " "); found && strings.HasPrefix(from, "--") {
			verb, rest = verb+" "+from, what
		}
		steps[verb] = rest
	}
	return steps
}
