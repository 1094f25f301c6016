// Package suite is a conformance suite for NFSv4.0, 4.1 and 4.2 servers.
//
// Each Test has a code such as LOCK12, names the section of the RFC it checks
// and says the sentence in its own words. The suite needs nothing but a way to
// connect and a directory in which it may work: it runs against an address, over a
// pipe, or against a cluster that fails over meanwhile.
//
//	suite.Run(t, suite.Target{Dial: client.TCP("127.0.0.1:2049"), Path: "export"})
//
// Beside what a test asks for, every reply is held against the tables of
// errors that an operation may give (RFC 7530 §13.2, RFC 8881 §15.2,
// RFC 7862 §11.2), and NFS4ERR_SERVERFAULT is always a failure.
//
// A test that does not apply skips itself and says why; skips are counted and
// never hidden. Tests do not depend on each other and leave the server without
// files of theirs.
package suite
