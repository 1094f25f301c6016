package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"holdfast/statesync"
)

// TestPriorities: the table is printed whole, for people and for programs, where
// no gateway runs.
func TestPriorities(t *testing.T) {
	print := func(args ...string) []byte {
		var out bytes.Buffer
		cmd := rootCommand()
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"status", "--priorities", "--state", t.TempDir()}, args...))
		if err := cmd.Execute(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	text := string(print())
	for _, p := range statesync.Priorities() {
		if !strings.Contains(text, p.Change) || !strings.Contains(text, p.Why) {
			t.Errorf("%q is not printed", p.Change)
		}
	}
	var table []statesync.Priority
	if err := json.Unmarshal(print("--json"), &table); err != nil {
		t.Fatal(err)
	}
	if len(table) != len(statesync.Priorities()) || table[0].Level != statesync.High {
		t.Errorf("as JSON: %+v", table)
	}
}
