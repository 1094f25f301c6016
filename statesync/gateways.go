package statesync

import (
	"slices"
	"strings"
	"time"
)

// GatewayInfo describes another gateway to an administrator, as this one sees it.
type GatewayInfo struct {
	Name     string
	Instance uint64
	Address  string        // of its machine; empty if it does not tell
	Silent   time.Duration // since its lease was seen renewed

	// Lifeline says why its lifeline is not held; empty: it is.
	Lifeline string

	// Fencing, if not nil, says that it is dead and has to be cut off from the files.
	Fencing *FencingInfo
}

// FencingInfo says what became of the fencing hook.
type FencingInfo struct {
	Since time.Duration // how long ago it began
	Tries int           // that failed
	Error string        // of the last one
}

// Gateways returns the other gateways of the cluster, by name.
func (n *Node) Gateways() []GatewayInfo {
	m := &n.members
	m.mu.Lock()
	defer m.mu.Unlock()
	now := n.clock()
	all := make([]GatewayInfo, 0, len(m.peers))
	for name, p := range m.peers {
		g := GatewayInfo{
			Name: name, Instance: p.instance, Address: p.address,
			Silent: time.Duration(now - p.since), Lifeline: m.whyNoLine(name, p),
		}
		if f := m.fencings[name]; f != nil && f.Instance == p.instance {
			g.Fencing = &FencingInfo{Since: time.Duration(now - f.since), Tries: f.tries}
			if f.err != nil {
				g.Fencing.Error = f.err.Error()
			}
		}
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b GatewayInfo) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// whyNoLine says why a lifeline is not held. m.mu is held.
func (m *membership) whyNoLine(name string, p *peer) string {
	l := m.lines[name]
	switch {
	case p.lifeline == "":
		return "it holds none"
	case l == nil || l.instance != p.instance || !l.held && l.err == nil:
		return "not yet"
	case !l.held:
		return l.err.Error()
	}
	return ""
}
