package kernel_test

import "testing"

// testRangeLocks: fcntl locks of two clients exclude each other byte by byte, and end with their process.
func testRangeLocks(t *testing.T, s *site) {
	dir, _ := s.dir(t, "locks")
	f := dir + "/f"
	s.a.Run(t, "truncate -s 1000 "+f)

	holder := s.a.Start(t, `nfstool hold `+f+` w 100 100 bash -c '. $LAB/lib.sh; say held; await release'`)
	holder.Expect(t, "held")
	s.b.Run(t, `
		same busy "$(nfstool trylock `+f+` w 100 100)" "the same range"
		same busy "$(nfstool trylock `+f+` w 199 1)" "the last byte"
		same busy "$(nfstool trylock `+f+` r 0 0)" "the whole file, shared"
		same taken "$(nfstool trylock `+f+` w 0 100)" "the range before"
		same taken "$(nfstool trylock `+f+` w 200 0)" "all that follows"
		same "w 100 100" "$(nfstool getlk `+f+` w 0 0)" "who is in the way"
		same free "$(nfstool getlk `+f+` w 200 0)" "who is in the way behind"`)
	waiter := s.b.Start(t, `say waiting; nfstool hold `+f+` w 150 10 bash -c '. $LAB/lib.sh; say got; await done'`)
	waiter.Expect(t, "waiting")
	s.a.Post(t, "release")
	holder.Wait(t)
	waiter.Expect(t, "got")
	s.a.Run(t, `same "w 150 10" "$(nfstool getlk `+f+` r 0 0)" "who is in the way now"`)
	s.b.Post(t, "done")
	waiter.Wait(t)

	// Shared locks share, and keep writers out.
	one := s.a.Start(t, `nfstool hold `+f+` r 0 0 bash -c '. $LAB/lib.sh; say held; await r1'`)
	one.Expect(t, "held")
	two := s.b.Start(t, `nfstool hold `+f+` r 0 0 bash -c '. $LAB/lib.sh; say held; await r2'`)
	two.Expect(t, "held")
	s.b.Run(t, `same busy "$(nfstool trylock `+f+` w 5 1)" "a writer among readers"`)
	s.a.Post(t, "r1")
	one.Wait(t)
	s.a.Run(t, `same busy "$(nfstool trylock `+f+` w 5 1)" "a writer, one reader left"`)
	s.b.Post(t, "r2")
	two.Wait(t)
	s.a.Run(t, `same taken "$(nfstool trylock `+f+` w 5 1)" "a writer when all readers left"`)

	// A killed process holds nothing.
	doomed := s.a.Start(t, `nfstool hold `+f+` w 0 0 bash -c '. $LAB/lib.sh; say held; kill -9 $$'`)
	doomed.Expect(t, "held")
	doomed.Result(t)
	s.b.Run(t, `nfstool hold `+f+` w 0 0 true`)
}

// testFlock: flock(2) locks exclude each other between clients.
func testFlock(t *testing.T, s *site) {
	dir, _ := s.dir(t, "flock")
	f := dir + "/f"
	holder := s.a.Start(t, `exec 5> `+f+`; flock -x 5; say held; await unflock; flock -u 5; say freed; await end`)
	holder.Expect(t, "held")
	s.b.Run(t, `exec 5>> `+f+`
		if flock -n 5; then die "took a lock that another client holds"; fi
		exec 6< `+f+`
		if flock -n -s 6; then die "shares a lock that another client holds alone"; fi`)
	waiter := s.b.Start(t, `exec 5>> `+f+`; say waiting; flock -x 5; say got`)
	waiter.Expect(t, "waiting")
	s.a.Post(t, "unflock")
	holder.Expect(t, "freed")
	waiter.Expect(t, "got")
	waiter.Wait(t)
	s.a.Post(t, "end")
	holder.Wait(t)
	// Shared among clients.
	share := s.a.Start(t, `exec 5< `+f+`; flock -s 5; say held; await unshare`)
	share.Expect(t, "held")
	s.b.Run(t, `exec 5< `+f+`; flock -n -s 5 || die "a shared lock is not shared"`)
	s.a.Post(t, "unshare")
	share.Wait(t)
}

// testCounter: two clients and two processes on one of them add to a number in a file under a lock; no increment is lost.
func testCounter(t *testing.T, s *site) {
	dir, _ := s.dir(t, "counter")
	f := dir + "/n"
	script := `await count; nfstool counter ` + f + ` 100 & nfstool counter ` + f + ` 100 & wait %1; wait %2`
	ja, jb := s.a.Start(t, script), s.b.Start(t, script)
	s.a.Post(t, "count")
	s.b.Post(t, "count")
	ja.Wait(t)
	jb.Wait(t)
	s.a.Run(t, `same 400 "$(cat `+f+` | tr -d ' ')" "the counter"`)
}
