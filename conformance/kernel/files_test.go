package kernel_test

import "testing"

func TestFiles(t *testing.T) {
	everyVersion(t, func(t *testing.T, s *site) {
		dir, _ := s.dir(t, "basic")
		s.a.Run(t, `cd `+dir+`; echo hello > f; same hello "$(cat f)" "read back"`)
		s.b.Run(t, `cd `+dir+`; same hello "$(cat f)" "read by another client"`)
		t.Log(s.a.Counters(t, s.mnt))
	})
}
