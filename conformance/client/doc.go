// Package client is an NFSv4.0, 4.1 and 4.2 client for tests and load
// generation. It speaks the protocol and hides nothing of it: whatever a real
// client could send, rightly or wrongly, can be sent, and a test sees the
// reply as it came.
//
// Four layers, each usable alone:
//
//	Conn     one RPC connection: pipelined calls matched by xid, callbacks
//	         answered, raw bytes, a drop before the reply
//	Request  one encoded call that can be patched and sent again, byte by byte
//	         the same, on any Conn
//	Op       an operation of COMPOUND; builders for all of 4.0 to 4.2, and
//	         typed results in Reply
//	Client   an established client: SETCLIENTID or EXCHANGE_ID, Session with
//	         its slots, open files, locks
//
// The hot path of a load generator is Conn.RoundTrip: encode a compound once,
// then patch xid, slot and sequence in place, send it, look at the reply's
// bytes. It allocates nothing in the steady state.
package client
