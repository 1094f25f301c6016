package faults_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/conformance/kernel"
)

// inGuestEnv tells this test's binary that it runs in the guest.
const inGuestEnv = "HOLDFAST_FAULTS_GUEST"

// Users' quotas, and the space that a file system reserves for root, bind
// clients also where the kernel would let root have it all: in a kernel that has
// such quotas and in which root lacks no right, which that of this machine need
// not be. The server and this package's tests run in a guest of their own.
func TestQuotaWhereRootMayAll(t *testing.T) {
	if os.Getenv(inGuestEnv) != "" {
		t.Skip("it is the guest")
	}
	if built.err != nil {
		t.Fatal(built.err)
	}
	lab := kernel.New(t)
	kernel.Need(t, "setquota", "quotaon", "mkfs.ext4")
	// Without the race detector, which cannot run in the guest's address space.
	tests := filepath.Join(lab.Dir, "faults.test")
	run(t, "go", "test", "-c", "-o", tests, "holdfast/conformance/faults")
	program := filepath.Join(lab.Dir, "holdfast")
	run(t, "cp", built.path, program)
	out := lab.Boot(t, "quota")[0].Run(t, fmt.Sprintf(`
		/run/modprobe -a loop ext4 quota_v2
		cd /mnt
		TMPDIR=/mnt HOLDFAST_BINARY=%s %s=1 %s -test.v -test.run 'TestReservedSpace|TestQuota/ext4' 2>&1
	`, program, inGuestEnv, tests))
	for _, name := range []string{"TestReservedSpace", "TestQuota/ext4/4.0", "TestQuota/ext4/4.1", "TestQuota/ext4/4.2"} {
		if !strings.Contains(out, "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass in the guest:\n%s", name, out)
		}
	}
}
