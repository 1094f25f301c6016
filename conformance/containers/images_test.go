package containers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// recipe makes an image that stands in for one of a registry.
type recipe struct {
	programs []string // that PATH has
	config   []string // in the words of a Dockerfile
	more     func(t *testing.T, root string)
}

// recipes are by the image's name without a tag.
var recipes = map[string]recipe{
	"redis":   {programs: []string{"redis-server"}, config: []string{"WORKDIR /data", `CMD ["redis-server"]`}},
	"nats":    {programs: []string{"nats-server"}, config: []string{`CMD ["nats-server"]`}},
	"haproxy": {programs: []string{"haproxy"}, config: []string{`CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]`}},
	"golang": {
		programs: []string{"sh"},
		config:   []string{"ENV PATH=/usr/local/go/bin:/usr/bin", "ENV HOME=/root", "ENV GOPROXY=file:///modules"},
		more:     toolchain,
	},
}

// named finds the images that a compose file or a Dockerfile names.
var named = regexp.MustCompile(`(?m)^(?:FROM| *image:) +(([a-z]+):\S+)`)

// makeImages makes what the files of the project name and the engine would pull.
func makeImages(t *testing.T, e *engine, project string) {
	t.Helper()
	for _, file := range []string{"docker-compose.yml", "Dockerfile"} {
		text, err := os.ReadFile(filepath.Join(project, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			r, ok := recipes[m[2]]
			if !ok {
				t.Fatalf("%s: nothing stands in for image %s here", file, m[1])
			}
			makeImage(t, e, m[1], r)
		}
	}
}

func makeImage(t *testing.T, e *engine, name string, r recipe) {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"etc", "root", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.programs {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		copyFile(t, path, filepath.Join(root, "usr/bin", p))
		for _, lib := range libraries(t, path) {
			copyFile(t, lib, filepath.Join(root, lib))
		}
	}
	if r.more != nil {
		r.more(t, root)
	}
	args := []string{"import"}
	for _, c := range r.config {
		args = append(args, "--change", c)
	}
	tar := exec.Command("tar", "-c", "-C", root, ".")
	load := e.docker(append(args, "-", name)...)
	stream, err := tar.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	load.Stdin = stream
	if err := tar.Start(); err != nil {
		t.Fatal(err)
	}
	run(t, load)
	if err := tar.Wait(); err != nil {
		t.Fatalf("tar: %v", err)
	}
}

// libraries returns what a program is linked with, its loader included.
func libraries(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command("ldd", program).CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "not a dynamic executable") {
			return nil
		}
		t.Fatalf("ldd %s: %v\n%s", program, err, out)
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "/") {
				all = append(all, word)
			}
		}
	}
	return all
}

// toolchain puts Go into an image, and the modules that the program is made of.
func toolchain(t *testing.T, root string) {
	t.Helper()
	env := func(name string) string { return strings.TrimSpace(run(t, exec.Command("go", "env", name))) }
	if err := os.MkdirAll(filepath.Join(root, "usr/local"), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("cp", "-r", env("GOROOT"), filepath.Join(root, "usr/local/go")))
	// Only those that the build needs, of all that this user has ever used.
	mods := t.TempDir()
	download := exec.Command("go", "mod", "download")
	download.Dir = top
	download.Env = append(os.Environ(), "GOMODCACHE="+mods, "GOFLAGS=-modcacherw",
		"GOPROXY=file://"+filepath.Join(env("GOMODCACHE"), "cache", "download")+","+env("GOPROXY"))
	run(t, download)
	if err := os.Rename(filepath.Join(mods, "cache", "download"), filepath.Join(root, "modules")); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o755); err != nil {
		t.Fatal(err)
	}
}
