// Package sim is a deterministic simulation of several gateways, their store,
// a file system, a network and clients, on virtual time. It has no code but its
// tests, and runs the statesync package as it is:
//
//	client ─▶ network ─▶ gateway (statesync.Node) ─▶ store
//	             │           │                  └──▶ file system
//	           step        step                      step
//
// Every arrow is a step: whoever wants to take one waits until the scheduler lets
// it. When all wait, the scheduler chooses by its seed who goes on, moves the
// clock, loses or repeats a message, crashes, pauses or cuts off a gateway. Between
// two steps one thing runs at a time, so the same seed gives the same run.
//
// The store is as Redis with appendfsync always: what is committed is durable, and
// a commit whose answer is lost is asked for again when the store can be
// reached. The names in the sentences of the checks are those of ARCHITECTURE.md's
// guarantees.
package sim
