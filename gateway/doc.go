// Package gateway is one front-end: listeners, connections, RPC records,
// credentials, draining. It turns bytes from clients into calls of a Handler
// and the Handler's replies into bytes; what the calls mean it does not know.
//
// # The way of a request
//
//	socket ─▶ reader ──┬─▶ answered at once (NULL, refusals)──┐
//	         1 per     ├─▶ run by the reader itself ──┬───────┼─▶ replies ─▶ socket
//	         connection└─▶ run by a worker ───────────┤───────┘   gathered, one
//	                                                  │       ▲   system call
//	                                                  └ owed ─┘
//
// A request that promises to be quick (Forecaster) is run by the reader: no
// goroutine is woken, and the replies to requests that came together go out
// together. Should it turn out slow after all, the watch takes the role of the
// reader away from its goroutine and gives it to a new one, so nothing waits
// behind a slow request for more than a few milliseconds.
//
// A reply that tells of what is not on stable storage yet is owed (ErrOwed): its
// request has run and holds no goroutine. When the reader has no more requests at
// hand, one worker settles all that the connection owes, so that requests that came
// together share a sync, a wake-up and a system call.
//
// # What a client can cost
//
// A connection that says nothing costs its descriptor and about 16 KiB. It is
// closed if no call has come within Limits.FirstCall, and is the first to go
// when there are too many. A record costs memory as its bytes arrive. What all
// requests and replies hold together is bounded by Limits.Memory: beyond it
// readers wait, and the connection that has been stuck for longest (half a
// record, replies not taken) is closed. Requests in flight on one connection
// are bounded as well; beyond that TCP holds the client back.
//
// # Leaving
//
// Drain stops listening, finishes what runs, sees the replies acknowledged by the
// client's TCP, leaves it the time to send what it sends next, and then resets each
// connection: a client that sees a reset reconnects at once, and what it had sent but
// not been answered it sends again.
package gateway
