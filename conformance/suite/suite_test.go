package suite

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"holdfast/internal/nfs4"
)

// Every test can be found, cited and read.
func TestTestsAreDescribed(t *testing.T) {
	code := regexp.MustCompile(`^[A-Z][A-Z0-9]*[0-9A-Z]$`)
	rfc := regexp.MustCompile(`^RFC (8881|7530|7862|8276|8275|5531|4506)`)
	seen := make(map[string]bool)
	runs := 0
	for _, test := range All() {
		if !code.MatchString(test.Code) || seen[test.Code] {
			t.Errorf("the code %q is malformed or used twice", test.Code)
		}
		seen[test.Code] = true
		if !rfc.MatchString(test.RFC) || len(test.Says) < 20 || test.run == nil || test.minors == 0 || test.minors&^all != 0 {
			t.Errorf("%s is not described: %q %q", test.Code, test.RFC, test.Says)
		}
		for m := range uint32(3) {
			if test.Minor(m) {
				runs++
			}
		}
	}
	t.Logf("%d tests, %d runs over the minor versions", len(seen), runs)
}

// The lists of flags name tests that exist.
func TestFlagsAreOfTests(t *testing.T) {
	codes, families := make(map[string]bool), make(map[string]bool)
	for _, test := range All() {
		codes[test.Code], families[test.Family()] = true, true
	}
	for _, code := range slices.Concat(slices.Collect(maps.Keys(codeFlags)), slices.Collect(maps.Keys(strictCodes))) {
		if !codes[code] {
			t.Errorf("there is no test %s to be flagged", code)
		}
	}
	for family := range topics {
		if !families[family] {
			t.Errorf("there is no family %s to be flagged", family)
		}
	}
}

// The tables know every operation and only statuses that exist.
func TestErrorTables(t *testing.T) {
	names := make(map[string]bool)
	for s := nfs4.Status(1); s <= nfs4.ErrXattr2Big; s++ {
		names[s.String()] = true
	}
	ops := make(map[string]bool)
	for op := nfs4.OpFirst; op <= nfs4.OpLast; op++ {
		ops[op.String()] = true
	}
	for key := range errorTable() {
		if !ops[key.op] {
			t.Errorf("there is no operation %s", key.op)
		}
		if !names[key.err] || regexp.MustCompile(`ERR_\d`).MatchString(key.err) {
			t.Errorf("there is no status %s", key.err)
		}
	}
	for minor := range uint32(3) {
		for op := nfs4.OpFirst; op <= nfs4.OpLast; op++ {
			if op.In(minor) && op != nfs4.OpIllegal && !allowed(op, nfs4.ErrBadXDR, minor) {
				t.Errorf("NFSv4.%d has no errors of %v", minor, op)
			}
		}
	}
	if allowed(nfs4.OpGetAttr, nfs4.ErrNotEmpty, 1) || !allowed(nfs4.OpRemove, nfs4.ErrNotEmpty, 0) {
		t.Error("the tables are not applied")
	}
}
