// Package yourserver shows how a server in another module is checked: its test
// starts the server and hands its address to the conformance suite. A module
// outside of this tree replaces holdfast by where it has a copy of it.
package yourserver
