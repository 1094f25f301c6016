package kernel

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// nudges are how far apart frames to all guests are.
const nudges = 20 * time.Millisecond

// nudge sends a frame to all guests again and again, until stop is called. A frame that comes just when a guest's driver has found no more
// stays in the tap until the next one comes: TCP then takes it for lost and sends it again after 200 ms, which no real
// network card makes it do. The frames are of the type for local experiments, which every receiver drops.
func (l *Lab) nudge() (stop func(), err error) {
	fd, ifindex, err := l.rawSocket("br0")
	if err != nil {
		return nil, err
	}
	frame := make([]byte, 60)
	for i := range 6 {
		frame[i] = 0xff
	}
	copy(frame[6:], []byte{2, 0, 0, 0, 0, 2}) // locally administered
	const experiment = 0x88b5
	binary.BigEndian.PutUint16(frame[12:], experiment)
	to := &unix.SockaddrLinklayer{Ifindex: ifindex, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}

	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(nudges)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				// One that is not sent is made good by the next.
				_ = unix.Sendto(fd, frame, unix.MSG_DONTWAIT, to)
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		running.Wait()
		unix.Close(fd)
	}, nil
}

// rawSocket opens a socket that sends frames in the lab's network, and finds the interface there.
func (l *Lab) rawSocket(name string) (fd, ifindex int, err error) {
	var opened sync.WaitGroup
	opened.Go(func() {
		if err = l.enter(); err != nil {
			return
		}
		// Protocol 0: nothing is received.
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			err = fmt.Errorf("packet socket: %w", err)
			return
		}
		var req *unix.Ifreq
		if req, err = unix.NewIfreq(name); err == nil {
			err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
		}
		if err != nil {
			unix.Close(fd)
			err = fmt.Errorf("interface %s: %w", name, err)
			return
		}
		ifindex = int(req.Uint32())
	})
	opened.Wait()
	return fd, ifindex, err
}
