// Package rooms holds the rules of the house as tests: which room may import
// which, how large a file may be, what the pure rules of the state may not use.
package rooms
