// Package faults tests what becomes of the gateway, and of those who use it,
// when something under or around it fails: a disk without space, a quota, files
// that vanish, the state store's own disk, clients that send nonsense or nothing, a
// state directory that cannot be trusted.
//
// Each test runs the real program in a process of its own, with directories of
// its own, on a loopback port, and looks at it from outside: over the network
// as a client, and in /proc as an administrator. Small disks are real file
// systems on loop devices, which needs root.
//
// Requests has one valid COMPOUND for every operation: the material from which
// hostile ones are made.
package faults
