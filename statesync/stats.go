package statesync

import "sync/atomic"

// Stats counts what a Node did since Join, and what it has in memory.
type Stats struct {
	Clients, Sessions, Files int // in memory

	Requests    uint64 // SEQUENCE, and NFSv4.0 requests that may change something
	Replays     uint64 // answered from memory
	Resumed     uint64 // went on from a record in the store
	Loads       uint64 // reads of the store
	Commits     uint64
	Conflicts   uint64 // commits that another one had come before
	StoreErrors uint64
	Resolved    uint64 // intents of dead gateways
	Revoked     uint64 // clients whose state was taken away

	// Of the peer channel: messages, and files in memory that one brought up
	// to date or had dropped.
	Published, Received, Missed uint64
	Warmed, Cooled              uint64
}

type counters struct {
	requests, replays, resumed, loads, commits, conflicts, storeErrors, resolved, revoked atomic.Uint64
}

// Stats returns the counters at this moment.
func (n *Node) Stats() Stats {
	c, ch := &n.stats, &n.channel
	return Stats{
		Clients: n.clients.len(), Sessions: n.sessions.len(), Files: n.files.len(),
		Requests: c.requests.Load(), Replays: c.replays.Load(), Resumed: c.resumed.Load(),
		Loads: c.loads.Load(), Commits: c.commits.Load(), Conflicts: c.conflicts.Load(),
		StoreErrors: c.storeErrors.Load(), Resolved: c.resolved.Load(), Revoked: c.revoked.Load(),
		Published: ch.published.Load(), Received: ch.received.Load(), Missed: ch.lost.Load(),
		Warmed: ch.warmed.Load(), Cooled: ch.cooled.Load(),
	}
}
