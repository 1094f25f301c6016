// Package nfs4 holds the numbers and small types of NFSv4.0, 4.1 and 4.2:
// RFC 7530/7531, RFC 8881/5662, RFC 7862/7863 and the extensions RFC 8275
// (mode_umask), RFC 8276 (extended attributes) and RFC 9754 (delegations).
//
// It knows the wire and nothing of a server's or client's behaviour. Its types
// are plain values; none needs a lock.
package nfs4
