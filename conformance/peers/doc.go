// Package peers runs the conformance suite against other servers, as a check of
// the suite: where a server that many trust fails a test, either the test asks
// for more than the RFC does, or the server has a fault. Each failure is argued
// from the text in docs/conformance.md; one that is not is a failure here.
//
//	linux      Linux' own server in a user-mode Linux, on ext4
//	ganesha    NFS-Ganesha as Debian packages it, on the file system of the lab's folder
//
// It takes many minutes and is no part of `make test`: `make conformance-peers`.
package peers
