package main

import (
	"fmt"
	"net"
	"net/netip"

	"holdfast/durable/redis"
	"holdfast/internal/config"
	"holdfast/statesync/lifeline"
)

// openLifeline listens for the other gateways' lifelines, and finds out where they
// find this one. It is never closed: the end of the process does that, and is what
// the others wait for.
func (g *whole) openLifeline() error {
	if !g.cfg.Shared() {
		return nil
	}
	here, err := towards(g.cfg.Store)
	if err != nil {
		g.notes = append(g.notes, fmt.Sprintf("the others are not told this gateway's address, which is not known: %v", err))
	} else {
		g.address = here.String()
	}
	addr := g.cfg.Lifeline
	switch {
	case addr == config.LifelineOff:
		return nil
	case addr == config.LifelineAuto && !here.IsValid():
		g.notes = append(g.notes, "no lifeline: should this gateway die, the others wait for the end of its lease")
		return nil
	case addr == config.LifelineAuto:
		addr = netip.AddrPortFrom(here, 0).String()
	}
	l, err := lifeline.Listen(addr)
	if err != nil {
		return fmt.Errorf("the lifeline cannot be held at %s; choose another address with --lifeline, or turn it off: %w", addr, err)
	}
	at := l.Addr()
	if at.Addr().IsUnspecified() {
		if !here.IsValid() {
			return fmt.Errorf("the lifeline at %s: name the address at which the other gateways reach this one", addr)
		}
		at = netip.AddrPortFrom(here, at.Port())
	}
	g.lifeline, g.lifelineAt = l, at.String()
	return nil
}

// towards returns this machine's address as a store at the URL sees it, if nothing
// changes it on the way. No packet is sent.
func towards(url string) (netip.Addr, error) {
	hosts, err := redis.Hosts(url)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, host := range hosts {
		var c net.Conn
		if c, err = net.Dial("udp", host); err != nil {
			continue
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
	}
	return netip.Addr{}, err
}
