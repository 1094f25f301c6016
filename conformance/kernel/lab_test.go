package kernel_test

import (
	"os"
	"strings"
	"testing"

	"holdfast/conformance/kernel"
)

// TestHarness checks the harness itself, without any NFS server: what tests rely on when they blame the server.
func TestHarness(t *testing.T) {
	t.Parallel()
	lab := kernel.New(t)
	g := lab.Boot(t, "a", "b")
	a, b := g[0], g[1]

	t.Run("a job's status and output come back", func(t *testing.T) {
		status, out := a.Start(t, `echo one; echo two >&2; exit 7`).Result(t)
		if status != 7 || out != "one\ntwo\n" {
			t.Errorf("status %d, output %q", status, out)
		}
	})
	t.Run("a failing command ends a job", func(t *testing.T) {
		status, out := a.Start(t, `x=$(false); echo not reached`).Result(t)
		if status == 0 || strings.Contains(out, "not reached") {
			t.Errorf("status %d, output %q", status, out)
		}
	})
	t.Run("jobs of two guests and the test wait for each other", func(t *testing.T) {
		ja := a.Start(t, `await go; say "$(hostname)" went; posted go`)
		jb := b.Start(t, `! posted go; await go; say "$(hostname)" went`)
		a.Post(t, "go")
		ja.Expect(t, "a went")
		if !jb.Running() {
			t.Error("a post to one guest reached the other")
		}
		b.Post(t, "go")
		jb.Expect(t, "b went")
		ja.Wait(t)
		jb.Wait(t)
	})
	t.Run("guests reach each other until one is unplugged", func(t *testing.T) {
		ping := `ping -c 1 -w 20 ` + b.Addr.String() + ` && ping -c 1 -w 20 ` + b.Addr6.String()
		a.Run(t, ping)
		b.Unplug(t)
		if status, out := a.Start(t, `ping -c 1 -w 1 `+b.Addr.String()).Result(t); status != 1 {
			t.Errorf("an unplugged guest answers: %s", out)
		}
		b.Plug(t)
		a.Run(t, ping)
	})
	t.Run("a guest cannot write to the host outside the lab", func(t *testing.T) {
		a.Run(t, `refused "Read-only file system" touch /etc/holdfast-was-here; echo shared > $LAB/from-guest`)
		if text, err := os.ReadFile(lab.Dir + "/from-guest"); err != nil || string(text) != "shared\n" {
			t.Errorf("the host sees %q, %v", text, err)
		}
	})
	t.Run("a halted guest is gone", func(t *testing.T) {
		b.Halt()
		if status, out := a.Start(t, `ping -c 1 -w 1 `+b.Addr.String()).Result(t); status != 1 {
			t.Errorf("a halted guest answers: %s", out)
		}
	})
}
