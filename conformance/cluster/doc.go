// Package cluster runs several gateways that share their state, with all that belongs to them, inside a test: a real Redis, a
// balancer, each on a host of its own, as far as the network goes, and real Linux clients.
//
//	guests ── br0 ──┬── balancer 10.77.0.2  (HAProxy, TCP mode, health checks)
//	                ├── gw1 10.77.0.4 ──┐
//	                ├── gw2 10.77.0.5 ──┼── br1 ── store (Redis, every write synced)
//	                └── gw3 10.77.0.6 ──┘
//
// Gateways can be killed, paused, drained, cut off from the store or from the clients, and started again; so can the store and
// the balancer. All gateways serve one directory of the host.
package cluster
