// Package redis is the durable.Store that several gateways share: a Redis
// server, version 7.0 or later, alone or kept available by Sentinel.
//
// # Records
//
// Everything of one state domain D has a key that begins with holdfast:{D}: —
// the braces are a hash tag, so that all of it lives in one slot.
//
//	holdfast:{D}:meta        hash    format   version of this layout
//	                                 epoch    name of this store's history
//	                                 seq      calls that were ever done
//	                                 lost     set when acknowledged calls are missing
//	                                 call:L   last call of lane L: "n unixtime results"
//	holdfast:{D}:index       zset    the names of all groups, each with score 0
//	holdfast:{D}:g:GROUP     hash    v        version, decimal
//	                                 pNAME    value of the part NAME
//
// A group is one hash, so that it is loaded whole by one command. The index is
// in the order of its bytes: Scan walks a range of it, some names at a time, and
// its cost does not grow with what has other prefixes. A group costs the index
// its name and about 100 bytes; it is touched only when a group is made or
// forgotten. SCAN, which would walk every key of the server, and KEYS, which
// would stop it, are not used.
//
// # Commits
//
// A lane is a goroutine that takes all batches that wait and sends them in one
// call of a server-side function. The function checks epoch and sequence once,
// then the versions of each batch, and does the batch or answers with what is
// there instead; one batch's conflict does not touch the others. Redis writes
// what a function did as one transaction to its log and syncs it before it
// answers (appendfsync always), and then, if so configured, WAIT confirms that
// replicas have it. So a Commit that returns is durable, and Ack.Wait does not
// wait. While one lane waits for its answer the other one gathers.
//
//	Commit ─┐           ┌─ lane 1 ── FCALL n   [batch batch batch] (WAIT r) ─▶ Redis
//	Commit ─┼── queue ──┤                                                      │ one fsync
//	Commit ─┘           └─ lane 2 ── FCALL n+1 [batch …]                       ▼ one answer
//
// # Lost answers
//
// Each call has a number, and the function leaves in the lane's call record
// which batches of it were done. When the answer does not come the lane asks for that
// record on another connection. If the call was not done the asking itself
// marks it as over, so that it is refused should it still arrive. So the
// outcome is always known as soon as the server can be reached, and nothing is
// done twice. Batches that were not done are sent again, until the caller's ctx or
// Options.Patience ends; only a caller who leaves while the outcome is open gets
// durable.ErrUnknown, and then Load waits until it is settled.
//
// # Wiped and set back
//
// Every call and every load checks the epoch: a store that was emptied or
// replaced is durable.ErrWiped at once. They also check that seq is not below
// the highest one that this store has had acknowledged. If it is, Redis was
// restored from an old backup or failed over to a replica that lagged: the
// function then writes "lost", and all gateways get durable.ErrWiped until
// somebody opens the store with Options.AcceptLoss.
//
// # What Redis must be like
//
// Open looks, says what is missing and how to mend it, and refuses a server
// that would lose acknowledged state, unless Options.AllowVolatile:
//
//	appendonly yes                  and
//	appendfsync always              and
//	no-appendfsync-on-rewrite no    or replicas confirmed by WAIT (?replicas=1)
//	maxmemory-policy noeviction     always
//
// It looks again at each new connection, for a restarted server may have
// another configuration. An ACL user needs the keys holdfast:{D}:* and the
// commands of Rights; one of a Sentinel +info besides what clients of Sentinel
// need. Where CONFIG GET cannot be allowed, INFO tells most of it; that
// appendfsync is "always" has then to be said by the operator
// (?appendfsync=always).
//
// # Sentinel
//
// Redis replicates after it has answered, so that a failover may lose what one
// fsync had made durable. With Sentinel each call is therefore confirmed by
// WAIT, from one replica unless configured otherwise. Acknowledged state is
// kept by a failover if
//
//   - a replica that confirmed the call is promoted. Sentinel takes the one with
//     the best replica-priority, and among equals the one that has most: so all
//     priorities must be equal, and then one confirmation is enough to survive
//     the loss of the master, and k the loss of the master and k-1 replicas;
//   - replicas write a log, too (appendonly yes), so that they outlive a restart;
//   - an old master that is cut off takes no writes: min-replicas-to-write 1.
//     Even if it did, they are not acknowledged without a replica.
//
// Loads wait for the same confirmation if they saw something that may not be
// replicated yet. What an old master cannot know is that it is one: a gateway that is
// cut off with it may for a while load state that is out of date, but gets
// nothing committed on it.
package redis
