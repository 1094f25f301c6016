// Package linear holds what several clients saw of a server against what one server, that does one thing after the other,
// could have shown them (linearizability): every operation must seem to take place at one moment between its call and its
// return.
//
//	clients ──▶ History ──▶ Check ──┬─ locks   byte ranges of a file         locks.go
//	                                ├─ opens   share reservations of a file  opens.go
//	                                └─ names   entries of a directory        names.go
//
// Each kind of operation has a sequential model, a pure function from a state, an operation and its result to whether that
// result is right and the state after it. Files and directories are independent of each other and checked one by one.
package linear
