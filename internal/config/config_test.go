package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the reference of docs/configuration.md anew")

// parse reads a command line; "FILE" stands for a file with the given text and
// "TMP" for the test's directory.
func parse(t *testing.T, yaml, dir string, args ...string) (*Config, error) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("XDG_STATE_HOME", filepath.Join(tmp, "state"))
	file := filepath.Join(tmp, "holdfast.yaml")
	if err := os.MkdirAll(filepath.Join(tmp, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(tmp, "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(s string) string { return strings.NewReplacer("FILE", file, "TMP", tmp).Replace(s) }
	if err := os.WriteFile(file, []byte(put(yaml)), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = put(args[i])
	}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f := NewFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	c, err := f.Config(put(dir))
	if err != nil {
		// So that expectations need not know where the file is.
		text := strings.ReplaceAll(err.Error(), tmp, "TMP")
		return c, Problems{{What: strings.ReplaceAll(text, "TMP/holdfast.yaml", "FILE")}}
	}
	return c, nil
}

func TestDirAlone(t *testing.T) {
	c, err := parse(t, "", "TMP/a")
	if err != nil {
		t.Fatal(err)
	}
	e := c.Exports[0]
	if len(c.Exports) != 1 || e.Path != "/" || filepath.Base(e.Dir) != "a" || e.Squash != SquashRoot || e.Access != AccessRW ||
		e.AnonUID != 65534 || e.Async || c.Listen[0] != ":2049" || c.Lease != 90*time.Second || c.Admin != filepath.Join(c.State, "admin.sock") {
		t.Fatalf("%+v, %+v", c, e)
	}
}

func TestFlagsOfTheExport(t *testing.T) {
	c, err := parse(t, "", "TMP/new", "--no-root-squash", "--read-only", "--async", "--anonuid=7", "--anongid", "8", "--fsid=9",
		"--clients=192.0.2.0/24,2001:db8::1", "--clients", "127.0.0.1", "--path=/data")
	if err != nil {
		t.Fatal(err)
	}
	e := c.Exports[0]
	if e.Squash != SquashNone || e.Access != AccessRO || !e.Async || e.AnonUID != 7 || e.AnonGID != 8 || e.FSID != 9 || e.Path != "/data" ||
		len(e.Clients) != 3 || e.Clients[1].String() != "2001:db8::1/128" || !e.MakeDir {
		t.Fatalf("%+v", e)
	}
}

func TestFile(t *testing.T) {
	c, err := parse(t, `
# everything once
listen: ["127.0.0.1:2049", "[::1]:2049"]
state: TMP/state
lease: 45s
nfsv3: true
log-format: json
exports:
  - path: /a
    dir: TMP/a
    clients:
      - 192.0.2.0/24
    access: ro
    squash: all
    anonuid: 1000
  - {path: /m, billy: memory, async: true}
limits:
  connections: 100_000
  request-memory: 512MiB
  stuck: 2m
`, "", "--config=FILE", "--lease=50s", "--limit=slots=128", "--listen=:3049")
	if err != nil {
		t.Fatal(err)
	}
	if c.Lease != 50*time.Second || len(c.Listen) != 1 || c.Listen[0] != ":3049" || !c.NFSv3 || c.LogFormat != "json" ||
		c.Limits.Connections != 100_000 || c.Limits.RequestMemory != 512<<20 || c.Limits.Stuck != 2*time.Minute || c.Limits.Slots != 128 ||
		c.Limits.Opens != 100_000 {
		t.Fatalf("%+v", c)
	}
	a, m := c.Exports[0], c.Exports[1]
	if a.Path != "/a" || a.Access != AccessRO || a.Squash != SquashAll || a.AnonUID != 1000 || a.AnonGID != 65534 || len(a.Clients) != 1 {
		t.Fatalf("%+v", a)
	}
	if m.Billy != BillyMemory || !m.Async || m.Dir != "" {
		t.Fatalf("%+v", m)
	}
}

func TestCluster(t *testing.T) {
	c, err := parse(t, "name: gw1\nstore: rediss://user:secret@store.example:6380/2\nstate-domain: blue\npeers: \"nats://user:secret@n1:4222,n2\"\ngateway-lease: 2s\nstore-outage: 30s\nlifeline: \":2050\"\nproxy-protocol: [192.0.2.0/24, 198.51.100.7]\nexports:\n- {path: /a, dir: TMP/a}\n", "", "--config=FILE", "--fence-hook=echo $HOLDFAST_GATEWAY")
	if err != nil {
		t.Fatal(err)
	}
	if !c.Shared() || c.Name != "gw1" || c.StateDomain != "blue" || c.GatewayLease != 2*time.Second || c.StoreOutage != 30*time.Second || c.Lifeline != ":2050" || c.AllowVolatile ||
		c.Peers != "nats://user:secret@n1:4222,n2" ||
		c.FenceHook != "echo $HOLDFAST_GATEWAY" || len(c.Proxies) != 2 || c.Proxies[1].Bits() != 32 {
		t.Errorf("%+v", c)
	}
	if c, err = parse(t, "", "TMP/a"); err != nil || c.Shared() || c.Name != "gateway" || c.Lifeline != LifelineAuto {
		t.Errorf("alone: %+v, %v", c, err)
	}
}

// Each mistake is told with its place, what is wrong, and what is allowed; and
// all of them at once.
func TestMistakes(t *testing.T) {
	for _, tc := range []struct {
		name, yaml, dir string
		args            []string
		want            []string // the lines of the error
	}{
		{"many at once", "lease: soon\nlog-level: loud\nexports:\n- path: a\n  dir: TMP/a\n  squash: maybe\n  anonuid: -1\nlisten: here\n", "", []string{"--config=FILE"}, []string{
			`FILE:1: "soon" is not allowed here: a duration of 1s to 1h, such as 90s or 2m`,
			`FILE:2: "loud" is not allowed here: debug, info, warn or error`,
			`FILE:6: "maybe" is not allowed here: root, none or all`,
			`FILE:7: "-1" is not allowed here: a whole number from 0 to 4294967294`,
			`FILE:8: "here" is not allowed here: ADDRESS:PORT such as 192.0.2.1:2049, [2001:db8::1]:2049, or :2049 for all addresses`,
			`FILE:4: "a" is not allowed here: an absolute path without //, . and .., such as /data`,
		}},
		{"unknown keys", "leese: 90s\nlog_level: info\nexports:\n- path: /a\n  dir: TMP/a\n  client: 10.0.0.0/8\nlimits:\n  lock: 4\n", "", []string{"--config=FILE"}, []string{
			`FILE:1: the configuration has no key "leese"; did you mean "lease"?`,
			`FILE:2: the configuration has no key "log_level"; did you mean "log-level"?`,
			`FILE:6: an export has no key "client"; did you mean "clients"?`,
			`FILE:8: limits has no key "lock"; did you mean "locks"?`,
		}},
		{"not YAML", "a: [1\n", "", []string{"--config=FILE"}, []string{`FILE:1: not YAML: `}},
		{"twice", "lease: 1s\nlease: 2s\n", "", []string{"--config=FILE"}, []string{`FILE:2: not YAML: mapping key "lease" already defined`}},
		{"wrong shapes", "lease: [1s]\nexports: TMP/a\nlimits: 3\n", "", []string{"--config=FILE"}, []string{
			`FILE:1: one value is expected here, not a list or a mapping`,
			`FILE:2: exports must be a list`,
			`FILE:3: limits must be a mapping of these keys`,
		}},
		{"two documents", "lease: 1s\n---\nlease: 2s\n", "", []string{"--config=FILE"}, []string{`FILE:3: a second document begins here`}},
		{"nothing", "", "", nil, []string{"nothing to serve"}},
		{"no file", "", "", []string{"--config=TMP/none.yaml"}, []string{"configuration: stat TMP/none.yaml"}},
		{"both", "exports:\n- {path: /a, dir: TMP/a}\n", "TMP/b", []string{"--config=FILE"}, []string{"TMP/b: FILE has exports already"}},
		{"flag of no export", "exports:\n- {path: /a, dir: TMP/a}\n", "", []string{"--config=FILE", "--read-only"}, []string{"--read-only: is about the DIR"}},
		{"flag value", "", "TMP/a", []string{"--lease=0s", "--limit=lokcs=3", "--async=perhaps"}, []string{
			`--lease: "0s" is not allowed here`, `--limit: "lokcs=3" is not allowed here: NAME=VALUE; did you mean "locks"?`, `--async: "perhaps" is not allowed here`,
		}},
		{"missing directory", "exports:\n- path: /a\n  dir: TMP/none\n", "", []string{"--config=FILE"}, []string{"FILE:3: cannot be served: stat TMP/none: no such file"}},
		{"a file", "exports:\n- path: /a\n  dir: FILE\n", "", []string{"--config=FILE"}, []string{"FILE:3: FILE is not a directory"}},
		{"parent missing", "", "TMP/none/deeper", nil, []string{"DIR: TMP/none/deeper does not exist"}},
		{"same path", "exports:\n- {path: /a, dir: TMP/a}\n- {path: /a/b, dir: TMP/b}\n", "", []string{"--config=FILE"}, []string{"FILE:3: the export /a/b and the export /a: one may not be inside the other"}},
		{"same fsid", "exports:\n- {path: /a, dir: TMP/a, fsid: 5}\n- {path: /b, dir: TMP/b, fsid: 5}\n", "", []string{"--config=FILE"}, []string{"FILE:3: /b and /a have the same fsid 5"}},
		{"no dir", "exports:\n- path: /a\n", "", []string{"--config=FILE"}, []string{"FILE:2: an export needs a dir"}},
		{"no path", "exports:\n- {path: /a, dir: TMP/a}\n- dir: TMP/b\n", "", []string{"--config=FILE"}, []string{"FILE:3: an export needs a path"}},
		{"host bits", "", "TMP/a", []string{"--clients=192.0.2.7/24"}, []string{`--clients: "192.0.2.7/24" has address bits beyond its length: 192.0.2.0/24 is the network`}},
		{"state inside", "", "TMP/a", []string{"--state=TMP/a/state"}, []string{"DIR: the state directory TMP/a/state is inside the export TMP/a"}},
		{"state default inside", "", "TMP", []string{"--state=TMP/state"}, []string{"DIR: the state directory TMP/state is inside the export TMP"}},
		{"no such store", "", "TMP/a", []string{"--store=http://u:secret@host:1/", "--name=a/b", "--peers=http://u:secret@host", "--gateway-lease=1ms", "--proxy-protocol=balancer"}, []string{
			`--store: the store must be redis://HOST:PORT, rediss:// for TLS, or redis+sentinel://HOST,HOST/MASTER`,
			`--name: "a/b" is not allowed here: 1 to 64 letters, digits, and - _ .`,
			`--peers: the peers must be nats://[USER:PASSWORD@]HOST[:PORT][,HOST...], or tls://`,
			`--gateway-lease: "1ms" is not allowed here: a duration of 500ms to 1m, such as 90s or 2m`,
			`--proxy-protocol: "balancer" is not allowed here: an address or a network`,
		}},
		{"hook for nobody", "", "TMP/a", []string{"--fence-hook=true"}, []string{"fence-hook: without a shared store there is no other gateway"}},
		{"peers of nobody", "", "TMP/a", []string{"--peers=nats://127.0.0.1"}, []string{"peers: without a shared store there is no other gateway"}},
		{"billy among several", "store: redis://127.0.0.1:6379\nname: a\nexports:\n- {path: /a, billy: memory}\n", "", []string{"--config=FILE"}, []string{"FILE:4: several gateways cannot serve the same files through go-billy"}},
		{"long socket", "", "TMP/a", []string{"--admin=/" + strings.Repeat("x", 110)}, []string{"admin: "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(t, tc.yaml, tc.dir, tc.args...)
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if strings.HasPrefix(tc.want[0], "FILE:1: not YAML") {
				lines = lines[:1] // the library shows the source below
			}
			if len(lines) < len(tc.want) {
				t.Fatalf("got\n%s\nwant\n%s", err, strings.Join(tc.want, "\n"))
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("line %d is\n%s\nwant\n%s", i, lines[i], want)
				}
			}
			if len(lines) != len(tc.want) {
				t.Errorf("%d lines, want %d:\n%s", len(lines), len(tc.want), err)
			}
		})
	}
}

// A link that leads into the export does not hide that the state is there.
func TestStateInsideThroughLink(t *testing.T) {
	tmp := t.TempDir()
	if err := os.Mkdir(filepath.Join(tmp, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(tmp, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(t, "", filepath.Join(tmp, "a"), "--state="+tmp+"/link/state"); err == nil {
		t.Fatal("no error")
	}
}

// Every setting of the file can be said by a flag, and its default is one that
// it takes itself.
func TestTwins(t *testing.T) {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	NewFlags(fs)
	c := Default()
	for _, s := range top {
		if fs.Lookup(s.name) == nil {
			t.Errorf("no flag --%s", s.name)
		}
		v := s.value(c)
		if def := v.String(); def != "" {
			if err := setFlag(v, def, true); err != nil || v.String() != def {
				t.Errorf("%s: default %q: %v", s.name, def, err)
			}
		}
	}
	for _, s := range perExport {
		if s.name != "billy" && exportFlag(s.name) == "" {
			t.Errorf("no flag says what %q of an export says", s.name)
		}
	}
	for _, s := range limits {
		v := s.value(&c.Limits)
		if def := v.String(); v.Set(def) != nil || v.String() != def {
			t.Errorf("%s: default %q", s.name, def)
		}
	}
}

// docs/configuration.md holds the reference as it is now; -update writes it.
func TestReferenceIsUpToDate(t *testing.T) {
	const file, begin, end = "../../docs/configuration.md", "<!-- begin of the reference -->\n", "<!-- end of the reference -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("no marks for the reference")
	}
	want := head + begin + Reference() + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Error("the reference is not that of the settings: run go test ./internal/config -update")
	}
}
