package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// firstInherited is the first descriptor of inherited sockets
// (sd_listen_fds(3)).
const firstInherited = 3

// keptSockets is the environment's list of descriptors by which a gateway that
// begins anew (rejoin) keeps its sockets.
const keptSockets = "HOLDFAST_SOCKETS"

// inherited returns the sockets that systemd, or whoever speaks its protocol,
// has opened for this process. Such a socket stays open when the process dies,
// so that a client that reconnects at once waits instead of being refused:
// Linux clients that are refused wait three seconds before they try again.
func inherited(getenv func(string) string, pid int) ([]net.Listener, error) {
	if list := getenv(keptSockets); list != "" {
		var fds []int
		for text := range strings.SplitSeq(list, ",") {
			fd, err := strconv.Atoi(text)
			if err != nil || fd < firstInherited {
				return nil, fmt.Errorf("%s=%q: a list of descriptors is expected", keptSockets, list)
			}
			fds = append(fds, fd)
		}
		return adopt(fds)
	}
	if getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 64 {
		return nil, fmt.Errorf("LISTEN_FDS=%q: a number of sockets is expected", getenv("LISTEN_FDS"))
	}
	fds := make([]int, n)
	for i := range fds {
		fds[i] = firstInherited + i
	}
	return adopt(fds)
}

// adopt takes over listening sockets.
func adopt(fds []int) ([]net.Listener, error) {
	var all []net.Listener
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "inherited socket "+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		// FileListener has a descriptor of its own.
		f.Close()
		if err == nil && l.Addr().Network() != "tcp" {
			err = fmt.Errorf("it listens on %s, not on TCP", l.Addr().Network())
		}
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, fmt.Errorf("inherited socket %d: %w", fd, err)
		}
		all = append(all, l)
	}
	return all, nil
}
