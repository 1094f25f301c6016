package kernel

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed assets
var assets embed.FS

// NoSkip is the environment variable that turns "cannot run here" from a skip into a failure. `make test` sets it where
// the packages were installed, so that a missing install step cannot pass as a green run.
const NoSkip = "HOLDFAST_NO_SKIP"

// Skip ends the test as skipped, or as failed when NoSkip is set.
func Skip(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv(NoSkip) != "" {
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}

// Need skips the test unless all programs are in PATH.
func Need(tb testing.TB, programs ...string) {
	tb.Helper()
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		Skip(tb, "not installed: %s (scripts/deps.sh installs what tests need)", strings.Join(missing, ", "))
	}
}

// needUML skips the test unless this machine can run guests.
func needUML(tb testing.TB) {
	tb.Helper()
	if os.Getuid() != 0 {
		Skip(tb, "kernel clients need root: network namespaces, taps and mounts")
	}
	Need(tb, "linux.uml", "ip", "nsenter", "modprobe", "mount.nfs4", "gcc", "setpriv", "stty", "ping")
	if _, err := os.Stat("/usr/lib/uml/modules"); err != nil {
		Skip(tb, "modules of user-mode Linux: %v", err)
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		Skip(tb, "tap devices: %v", err)
	} else {
		f.Close()
	}
}

// compile builds one of the embedded C programs and returns its path in the user's cache. The name of the folder holds
// the checksum of the source, so a changed source is built anew and an unchanged one never twice; several test programs
// may build the same at once.
func compile(source string, flags ...string) (string, error) {
	text, err := assets.ReadFile("assets/" + source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	name := strings.TrimSuffix(source, ".c")
	dir := filepath.Join(cache, "holdfast-kernel", fmt.Sprintf("%x", sha256.Sum256(text))[:16])
	binary := filepath.Join(dir, name)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	build, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(build)
	src, out := filepath.Join(build, source), filepath.Join(build, name)
	if err := os.WriteFile(src, text, 0o644); err != nil {
		return "", err
	}
	args := append([]string{"-O2", "-o", out}, flags...)
	if msg, err := exec.Command("gcc", append(args, src)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc %s: %w\n%s", source, err, msg)
	}
	return binary, os.Rename(out, binary)
}

// extract writes an embedded file into dir.
func extract(name, dir string, mode os.FileMode) error {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, mode)
}
