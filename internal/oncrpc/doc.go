// Package oncrpc is ONC RPC version 2 over a byte stream (RFC 5531): record
// marking, call and reply headers, and the AUTH_NONE and AUTH_SYS flavors.
// It serves both sides: a server reads calls and writes replies, and does the
// opposite on a backchannel.
//
// A record (RFC 5531 §11) is one or more fragments, each behind a mark:
//
//	 31  30                                 0
//	+----+-----------------------------------+----------------
//	|last| length of the fragment in bytes   | fragment …
//	+----+-----------------------------------+----------------
//
// A call begins
//
//	xid | 0 | rpcvers=2 | prog | vers | proc | cred | verf | arguments …
//
// and a reply
//
//	xid | 1 | 0 accepted | verf | accept_stat | results …
//	xid | 1 | 1 denied   | reject_stat | …
//
// Nothing a peer claims about a length costs memory before the bytes are
// there: see Reader.
package oncrpc
