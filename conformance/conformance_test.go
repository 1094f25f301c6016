package conformance

import (
	"strings"
	"testing"
	"time"
)

// What a target leaves out has its documented value.
func TestPlan(t *testing.T) {
	target := Target{Servers: []string{"a:1", "b:2"}, Path: "/x/y/", Tests: []string{"LOCK2"}, Timeout: time.Second, Spread: SpreadRequest}
	s, tests, err := target.plan()
	if err != nil {
		t.Fatal(err)
	}
	if len(tests) != 1 || tests[0].Code != "LOCK2" {
		t.Errorf("the tests are %v", tests)
	}
	if len(s.Addresses) != 2 || s.Path != "x/y" || s.ChaosEvery != 20 || s.Timeout != time.Second || s.Spread != SpreadRequest {
		t.Errorf("the target is %+v", s)
	}
}

// A target of which nothing would be checked is an error, and does not pass.
func TestPlanOfNothing(t *testing.T) {
	server := []string{"127.0.0.1:2049"}
	for what, target := range map[string]Target{
		"no Servers":      {},
		"minor version 3": {Servers: server, Minors: []uint32{3}},
		"NOSUCH":          {Servers: server, Tests: []string{"NOSUCH"}},
		"spread":          {Servers: server, Spread: "packet"},
		"are no tests":    {Servers: server, Minors: []uint32{0}, Tests: []string{"EID1"}},
		`"!LOCK2"`:        {Servers: server, Tests: []string{"LOCK2", "!LOCK2"}},
	} {
		if _, _, err := target.plan(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
}
