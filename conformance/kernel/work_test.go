package kernel_test

import (
	"path/filepath"
	"sync"
	"testing"

	"holdfast/conformance/kernel"
)

// loads share what they are made of.
var loads = sync.OnceValue(func() []kernel.Load { return kernel.Loads(scratch) })

// startLoad starts the load's jobs.
func startLoad(t *testing.T, s *site, l *kernel.Load, script string) []*kernel.Job {
	t.Helper()
	jobs := []*kernel.Job{s.a.Start(t, script)}
	if l.Both {
		jobs = append(jobs, s.b.Start(t, script))
	}
	return jobs
}

// TestWork runs the programs that people run.
func TestWork(t *testing.T) {
	everyVersion(t, func(t *testing.T, s *site) {
		s.lab.Inputs(t)
		for _, l := range loads() {
			t.Run(l.Name, func(t *testing.T) {
				for _, job := range startLoad(t, s, &l, l.Once(filepath.Join(s.mnt, l.Dir(t, s.srv.Dir)))) {
					job.Wait(t)
				}
			})
		}
		quiet(t, s.a)
		quiet(t, s.b)
	})
}
