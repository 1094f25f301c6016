package gateway

import (
	"net"

	"golang.org/x/sys/unix"
)

// unacked returns how many bytes sent on nc its peer has not acknowledged.
func unacked(nc *net.TCPConn) (int, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	var ioErr error
	if err := raw.Control(func(fd uintptr) { n, ioErr = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return 0, err
	}
	return n, ioErr
}
