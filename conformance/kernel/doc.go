// Package kernel runs real Linux NFS clients against a server, inside a test.
//
// A client is a user-mode Linux: Debian's unmodified kernel as an ordinary process, booted in about two seconds.
// Servers and guests live in a network namespace that the test makes, so nothing reaches any other network, and
// several tests may run at once with the same addresses.
//
//	        network namespace of one Lab
//	┌──────────────────────────────────────────────┐
//	│ server 10.77.0.1   server 10.77.0.2    …     │  ordinary processes, started with nsenter
//	│        └────── br0 ──────┘                   │
//	│         tap101      tap102                   │
//	│           │           │                      │
//	│ guest 10.77.0.101   guest 10.77.0.102  …     │  each a Linux 6.1 with its own NFS client
//	└──────────────────────────────────────────────┘
//
// # A new test in five minutes
//
//	func TestHello(t *testing.T) {
//		lab := kernel.New(t)                                  // skips with a reason where it cannot run
//		srv := lab.Serve(t, kernel.Holdfast{Binary: path}, kernel.Export{})
//		g := lab.Boot(t, "a", "b")                            // two clients, booted side by side
//		mnt := g[0].Mount(t, srv, "vers=4.2")
//		g[1].Mount(t, srv, "vers=4.2")
//
//		g[0].Run(t, `cd `+mnt+`; echo hello > greeting; same hello "$(cat greeting)" "what was read back"`)
//
//		job := g[1].Start(t, `cd `+mnt+`; exec 5> out; say open; await go; echo late >&5`)
//		job.Expect(t, "open")                                 // the guest has said so
//		srv.Kill(t)                                           // kill -9
//		srv.Start(t)
//		g[1].Post(t, "go")                                    // wakes the guest
//		job.Wait(t)                                           // fails the test unless the job ended with 0
//	}
//
// A job is a bash script with `set -euo pipefail`; assets/lib.sh lists what it can say besides the programs that the
// host has installed: say, await, posted, die, same, refused, as. The program nfstool (assets/nfstool.c) does what a
// shell cannot: byte-range locks, mmap, holes, sockets. When a job fails, its output is in the test's log; when it
// hangs, so are the guest's processes, its mounts' counters and its kernel log.
//
// Inside a guest the host's whole root is there to read, so a job uses git, fio or go as installed. Only three places
// can be written: /mnt (memory of its own), the mounts under /mnt, and the lab's folder ($LAB), which host and guests
// share; heavy inputs such as a source tree go there. Programs must not use AVX (see assets/init.sh).
//
// # Clean up
//
// All processes are ended by the id they were started with when the test ends, and by the kernel when the test
// program dies before that. Namespaces left by a test program that died are removed by the next one that runs.
package kernel
