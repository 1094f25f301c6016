// Package pebble is the embedded durable.Store: one directory on a local disk,
// kept by a Pebble database. It needs no server, and it is the store of a
// single gateway.
//
// # Directory
//
//	FORMAT     what this directory is, and the version of this layout
//	LOCK       flock'ed while a process has the store open
//	WITNESS    how much of the log and of the manifest is known to be synced
//	BALLAST    space that is given back when the disk is full
//	db/        the Pebble database
//
// # Records
//
// A group is one head record and one record per further part. Keys sort by
// group, then by part, and no key of a group is a prefix of another group's:
// zero bytes of the group's name are escaped, so that the terminator
// cannot occur in it.
//
//	'g' escape(group) 00 01          → head record
//	'g' escape(group) 00 02 name     → value of the part
//
//	escape(s): each 00 becomes 00 FF
//
//	head record:  flags (1) | version (uvarint) | value of part "" if inline
//	      flags:  1  part "" exists and is inline
//	              2  part "" exists and has a record of its own
//	              4  other parts exist, or have existed
//
// The head part is inline up to 1 KiB. So a group of one small part, such as a
// reply slot, is one record: one key per commit, one lookup per load, one
// tombstone when it is forgotten. Forget deletes every record of a group; its
// version goes with them.
//
// # Commits
//
// A commit locks the shards of its groups, checks versions, and hands one batch
// to Pebble, which orders it in its log and makes it visible. The locks are
// released then. Ack.Wait has the log synced: all who wait at the same time share
// one sync. Order in the log is the order in which Commits return, so what
// survives a crash is always a prefix.
//
// # Damage
//
// Pebble takes an unreadable record in its newest log for the torn end of an
// unfinished write, and an unreadable record in its manifest for the end of the
// manifest: a flipped bit there would silently drop what was acknowledged. The
// WITNESS file closes this: after each fsync of a log or manifest, and before
// anybody is told of it, the synced length is noted there. It is written but,
// for a log, not itself synced: it survives the death of the process always,
// and the death of the machine up to its last write-back, and it never claims
// too much. Open refuses a store whose files are not intact up to the length
// noted.
//
// # Full and failing disks
//
// Pebble cannot survive a failed write to its log or manifest. So the file
// system under it (guard) never lets it see one. Long before the disk is full,
// commits are refused with durable.ErrFull; should another program take the
// last of the space all the same, the ballast is given back and the write is
// tried until it succeeds. Any other error ends the store: nothing is written
// from then on, every call returns durable.ErrUnavailable, and Failed tells: what
// holds is only known when the store is opened anew.
package pebble
