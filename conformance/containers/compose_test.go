package containers_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"holdfast/conformance/kernel"
)

// top is the top folder of the project, which the compose file builds.
const top = "../.."

// TestCompose does what the compose file says can be done, with the file as it is.
func TestCompose(t *testing.T) {
	lab := kernel.New(t)
	lab.Limit = 10 * time.Minute // of which the image's build takes most
	e := newEngine(t, lab)
	makeImages(t, e, top)
	run(t, e.inProject("config", "--quiet"))
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := e.inProject("logs", "--tail", "50").CombinedOutput()
			t.Logf("%s", out)
		}
	})
	run(t, e.inProject("up", "--build", "--detach"))
	address := addresses(t)
	gateways := []string{"gw1", "gw2", "gw3"}
	for _, g := range gateways {
		e.serving(t, g)
	}

	guests := lab.Boot(t, "a", "b")
	const mnt = "/mnt/nfs"
	first := make([]kernel.Counters, len(guests))
	for _, g := range guests {
		g.Run(t, "ip route add "+netip.PrefixFrom(address["balancer"], 24).Masked().String()+" via "+e.host.Front.String())
		g.MountFrom(t, address["balancer"], "/", mnt, "vers=4.2")
	}

	guests[0].Run(t, "cd "+mnt+"; mkdir a b; head -c 8M /dev/urandom > /mnt/whole")
	pulse := make([]*kernel.Job, len(guests))
	for i, g := range guests {
		first[i] = g.Counters(t, mnt)
		pulse[i] = g.Start(t, "nfstool pulse "+mnt+"/"+g.Name+" end")
	}
	holder := guests[0].Start(t, "cd "+mnt+"; nfstool hold lock w 0 10 bash -c '. $LAB/lib.sh; say held; await end'")
	holder.Expect(t, "held")
	watcher := guests[1].Start(t, "nfstool watchlock "+mnt+"/lock 0 10 end")
	watcher.Expect(t, "watching")

	goesOn := func(after string) {
		t.Helper()
		for i, p := range pulse {
			p.Drain()
			t.Logf("after %s, client %s: pulse %s", after, guests[i].Name, p.Expect(t, "pulse"))
			p.Expect(t, "pulse")
		}
		guests[0].Run(t, "cd "+mnt+"; cp /mnt/whole copy; sync copy; cmp /mnt/whole copy; rm copy")
	}
	goesOn("the start")
	for _, c := range []struct{ verb, back string }{{"kill", "start"}, {"stop", "start"}, {"restart", ""}, {"pause", "unpause"}} {
		for _, g := range gateways {
			run(t, e.inProject(c.verb, g))
			goesOn(c.verb + " " + g)
			if c.back != "" {
				run(t, e.inProject(c.back, g))
			}
			e.serving(t, g)
		}
	}
	for _, s := range []string{"redis", "nats", "balancer"} {
		run(t, e.inProject("restart", s))
		goesOn("restart " + s)
	}

	for _, g := range guests {
		g.Post(t, "end")
	}
	holder.Wait(t)
	t.Logf("attempts on the lock: %s", watcher.Wait(t))
	for i, g := range guests {
		pulse[i].Wait(t)
		if again := first[i].Recovery(g.Counters(t, mnt)); len(again) > 0 {
			t.Errorf("client %s made itself known again: %q", g.Name, again)
		}
		if log := g.Complaints(t); len(log) > 0 {
			t.Errorf("client %s: %q", g.Name, log)
		}
		g.Run(t, "umount "+mnt)
	}
	status := run(t, e.inProject("exec", "-T", "gw1", "/holdfast", "status"))
	if !strings.Contains(status, "redis://"+address["redis"].String()) {
		t.Errorf("status:\n%s", status)
	}
	run(t, e.inProject("down", "--volumes"))
	if left := run(t, e.docker("ps", "--all", "--quiet")); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

// addresses are those that the compose file gives to the services.
func addresses(t *testing.T) map[string]netip.Addr {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Networks map[string]struct {
				Address netip.Addr `yaml:"ipv4_address"`
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]netip.Addr)
	for name, s := range file.Services {
		for _, n := range s.Networks {
			all[name] = n.Address
		}
	}
	if i := slices.IndexFunc([]string{"gw1", "gw2", "gw3", "balancer", "redis"}, func(s string) bool { return !all[s].IsValid() }); i >= 0 {
		t.Fatalf("the services have the addresses %v", all)
	}
	return all
}
