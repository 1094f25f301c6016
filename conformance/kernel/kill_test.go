package kernel_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// kills is how often the server is killed at least for each minor version: 5, or as HOLDFAST_KILLS says.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("HOLDFAST_KILLS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("HOLDFAST_KILLS=%s: want a number", text)
	}
	return n
}

// TestKill kills the gateway (SIGKILL) in the midst of each load and starts it again at once. To the clients nothing may have
// happened but a lost connection: no load sees an error or wrong data, a byte-range lock stays where it is while another
// client tries to take it all the time, and no client introduces itself again or reclaims anything. The same when the gateway
// is asked to leave (SIGTERM) and started again.
func TestKill(t *testing.T) {
	if peer != "" {
		t.Skip("only Holdfast promises that a killed server costs its clients a reconnect and nothing else")
	}
	everyVersion(t, func(t *testing.T, s *site) {
		s.lab.Inputs(t)
		dir, _ := s.dir(t, "lock")
		holder := s.a.Start(t, `nfstool hold `+dir+`/f w 100 100 bash -c '. $LAB/lib.sh; say held; await release'`)
		holder.Expect(t, "held")
		watcher := s.b.Start(t, `nfstool watchlock `+dir+`/f 150 10 stop-watch`)
		watcher.Expect(t, "watching")
		beforeA, beforeB := s.a.Counters(t, s.mnt), s.b.Counters(t, s.mnt)
		if beforeA.Identified() == 0 || beforeB.Identified() == 0 {
			t.Fatalf("the counters do not show how the clients introduced themselves: %v; %v", beforeA, beforeB)
		}

		done := 0
		each := (kills(t) + len(loads()) - 1) / len(loads())
		for _, l := range loads() {
			t.Run(l.Name, func(t *testing.T) {
				stop := "stop-" + strconv.Itoa(done)
				jobs := startLoad(t, s, &l, l.Script(filepath.Join(s.mnt, l.Dir(t, s.srv.Dir)), stop))
				for i := range each {
					for _, job := range jobs {
						job.Expect(t, "begin")
					}
					// Anywhere in the round; the point is chance, nothing waits for it.
					time.Sleep(rand.N(600 * time.Millisecond))
					if i == each-1 {
						s.a.Post(t, stop) // the round that runs is the last one
						s.b.Post(t, stop)
					}
					s.srv.Kill(t)
					if i%3 == 2 {
						// Long enough for the clients to be refused a connection, too.
						time.Sleep(rand.N(700 * time.Millisecond))
					}
					s.srv.Start(t)
					for _, job := range jobs {
						job.Drain()
					}
					if i == each-1 {
						break
					}
					for _, job := range jobs {
						job.Expect(t, "end")
					}
				}
				for _, job := range jobs {
					job.Wait(t)
				}
				done += each
			})
			if t.Failed() {
				return // what follows would only tell the same again, at length
			}
		}

		t.Run("asked to leave", func(t *testing.T) {
			l := loads()[0]
			l.Name = "leaving"
			jobs := startLoad(t, s, &l, l.Script(filepath.Join(s.mnt, l.Dir(t, s.srv.Dir)), "stop-leaving"))
			for range 3 {
				s.srv.Stop(t)
				s.srv.Start(t)
				done++
				for _, job := range jobs {
					job.Drain()
					job.Expect(t, "end")
				}
			}
			s.a.Post(t, "stop-leaving")
			s.b.Post(t, "stop-leaving")
			for _, job := range jobs {
				job.Wait(t)
			}
		})

		s.b.Post(t, "stop-watch")
		t.Logf("%d restarts; the lock: %s", done, watcher.Wait(t))
		s.b.Run(t, `same "w 100 100" "$(nfstool getlk `+dir+`/f w 0 0)" "the lock after all kills"`)
		afterA, afterB := s.a.Counters(t, s.mnt), s.b.Counters(t, s.mnt)
		t.Logf("client a: %v", afterA)
		if ops := beforeA.Recovery(afterA); len(ops) > 0 {
			t.Errorf("client a had to recover: %v", ops)
		}
		if ops := beforeB.Recovery(afterB); len(ops) > 0 {
			t.Errorf("client b had to recover: %v", ops)
		}
		if n := afterA.Connects - beforeA.Connects; n < done {
			t.Errorf("client a reconnected %d times after %d restarts: were they noticed?", n, done)
		}
		quiet(t, s.a)
		quiet(t, s.b)
		s.a.Post(t, "release")
		holder.Wait(t)
		s.b.Run(t, `same taken "$(nfstool trylock `+dir+`/f w 150 10)" "the lock after its release"`)
	})
}
