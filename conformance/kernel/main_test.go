package kernel_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/conformance/kernel"
)

// peer chooses the server under test: empty for this project's gateway, "ganesha" for NFS-Ganesha. The second is for
// whoever writes a job and wants to know what another server answers; tests of promises that only Holdfast makes skip.
var peer = os.Getenv("HOLDFAST_KERNEL_SERVER")

// built is the path of the program under test, or why there is none.
var built struct {
	path string
	err  error
}

// scratch is a folder for what all tests share; removed in the end.
var scratch string

// HOLDFAST_BUILD holds flags for the build of the gateway, such as -race.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "holdfast-build-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		if peer == "" && os.Getuid() == 0 {
			built.path = filepath.Join(scratch, "holdfast")
			args := append([]string{"build", "-o", built.path}, strings.Fields(os.Getenv("HOLDFAST_BUILD"))...)
			if out, err := exec.Command("go", append(args, "holdfast/cmd/holdfast")...).CombinedOutput(); err != nil {
				built.err = fmt.Errorf("go build holdfast/cmd/holdfast: %w\n%s", err, out)
			}
		}
		return m.Run()
	}())
}

// program returns the server to test.
func program(t *testing.T) kernel.Program {
	t.Helper()
	switch peer {
	case "ganesha":
		kernel.Need(t, "ganesha.nfsd")
		return kernel.Ganesha{}
	case "":
		if built.err != nil {
			t.Fatal(built.err)
		}
		return kernel.Holdfast{Binary: built.path}
	default:
		t.Fatalf("HOLDFAST_KERNEL_SERVER=%s: no such server", peer)
		return nil
	}
}

// site is a lab with one server and two clients that have mounted it.
type site struct {
	lab  *kernel.Lab
	srv  *kernel.Server
	vers string
	a, b *kernel.Guest
	mnt  string // the same in both guests, /mnt/nfs
}

// everyVersion runs a test once for each minor version, each with a lab, a server and two clients of its own.
func everyVersion(t *testing.T, f func(t *testing.T, s *site)) {
	for _, vers := range []string{"4.0", "4.1", "4.2"} {
		t.Run("vers="+vers, func(t *testing.T) {
			t.Parallel()
			lab := kernel.New(t)
			s := &site{lab: lab, srv: lab.Serve(t, program(t), kernel.Export{}), vers: vers}
			g := lab.Boot(t, "a", "b")
			s.a, s.b = g[0], g[1]
			s.mnt = s.a.Mount(t, s.srv, "vers="+vers)
			s.b.Mount(t, s.srv, "vers="+vers)
			f(t, s)
		})
	}
}

// dir makes a new folder on the export and returns its path in the guests and on the host.
func (s *site) dir(t *testing.T, name string) (guest, host string) {
	t.Helper()
	host = filepath.Join(s.srv.Dir, name)
	if err := os.Mkdir(host, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(s.mnt, name), host
}

// hostRun runs a program on the host and returns its output.
func hostRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	kernel.Need(t, name)
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// quiet checks that the guest's kernel had nothing to complain about.
func quiet(t *testing.T, g *kernel.Guest) {
	t.Helper()
	for _, line := range g.Complaints(t) {
		t.Errorf("kernel log of guest %s: %s", g.Name, line)
	}
}
