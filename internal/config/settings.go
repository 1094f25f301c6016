package config

import (
	"math"
	"time"
)

// A setting is one thing that can be configured. Its name is the key in the
// file and, after "--", the flag.
type setting[T any] struct {
	name  string
	kind  string // what a value looks like, for people
	help  string
	value func(*T) value
}

// top are the settings at the top of the file.
var top = []setting[Config]{
	{"listen", "ADDR", "where to serve NFS: ADDRESS:PORT, several times if need be; :PORT is all addresses of IPv4 and IPv6",
		func(c *Config) value { return addressesValue{&c.Listen} }},
	{"state", "DIR", "where the protocol state is kept: a local directory outside every export; default /var/lib/holdfast for root, else $XDG_STATE_HOME/holdfast or ~/.local/state/holdfast",
		func(c *Config) value { return textValue{&c.State} }},
	{"lease", "TIME", "how long a client's opens and locks are safe without a sign of it, 1s to 1h",
		func(c *Config) value { return durationValue{&c.Lease, time.Second, time.Hour} }},
	{"courtesy", "TIME", "how long the state of a client whose lease ran out is kept while it is in nobody's way, 1s to 720h",
		func(c *Config) value { return durationValue{&c.Courtesy, time.Second, 720 * time.Hour} }},
	{"nfsv3", "", "serve NFSv3 and its MOUNT protocol on the same port as well, with the limits that the README tells",
		func(c *Config) value { return flagValue{&c.NFSv3} }},
	{"names", "", "show owners and groups as names of this system's user database, not as numbers",
		func(c *Config) value { return flagValue{&c.Names} }},
	{"domain", "NAME", "what stands after the @ of owners with names; default: the clients' own domain is taken as it comes",
		func(c *Config) value { return textValue{&c.Domain} }},
	{"admin", "SOCKET", "the socket for status, clients, locks, drain, evict and metrics; default admin.sock in the state directory",
		func(c *Config) value { return textValue{&c.Admin} }},
	{"metrics", "ADDR", "serve /metrics, /healthz and /readyz on this address over plain HTTP as well",
		func(c *Config) value { return addressValue{&c.Metrics} }},
	{"drain-time", "TIME", "how long to let requests finish when told to leave, 0s to 1h",
		func(c *Config) value { return durationValue{&c.DrainTime, 0, time.Hour} }},
	{"log-level", "LEVEL", "debug, info, warn or error",
		func(c *Config) value { return choiceValue{&c.LogLevel, []string{"debug", "info", "warn", "error"}} }},
	{"log-format", "FORMAT", "text or json",
		func(c *Config) value { return choiceValue{&c.LogFormat, []string{"text", "json"}} }},
	{"name", "NAME", "what this gateway is called among several: each another name, and the same after a restart; default the host's name",
		func(c *Config) value { return nameValue{&c.Name} }},
	{"store", "URL", "the Redis that several gateways share their state in: redis://[USER:PASSWORD@]HOST[:PORT], rediss:// with TLS, redis+sentinel://HOST,HOST/MASTER; default a store of its own in the state directory",
		func(c *Config) value { return storeValue{&c.Store} }},
	{"peers", "URL", "the NATS over which the gateways tell each other what makes them faster: nats://[USER:PASSWORD@]HOST[:PORT][,HOST...], tls://; ?ca=FILE&cert=FILE&key=FILE&creds=FILE; default none",
		func(c *Config) value { return peersValue{&c.Peers} }},
	{"state-domain", "NAME", "which gateways belong together, where one Redis serves several clusters",
		func(c *Config) value { return nameValue{&c.StateDomain} }},
	{"gateway-lease", "TIME", "how long after the store heard of a gateway for the last time the others take over what it was doing, 500ms to 1m; the same on all gateways",
		func(c *Config) value { return durationValue{&c.GatewayLease, 500 * time.Millisecond, time.Minute} }},
	{"store-outage", "TIME", "how long the gateways serve what is open while none of them reaches the store, if they have peers: nine tenths of it, 0s to 1h; with less than gateway-lease they stop when their leases end",
		func(c *Config) value { return durationValue{&c.StoreOutage, 0, time.Hour} }},
	{"allow-volatile-store", "", "serve although the Redis may lose what it acknowledged: clients then lose opens and locks with it",
		func(c *Config) value { return flagValue{&c.AllowVolatile} }},
	{"fence-hook", "COMMAND", "run by /bin/sh before another gateway is declared dead, with its name, instance and machine's address as $1, $2, $3 and in $HOLDFAST_GATEWAY, $HOLDFAST_INSTANCE, $HOLDFAST_ADDRESS: must cut it off from the files, and fail if it could not; then it is run again",
		func(c *Config) value { return textValue{&c.FenceHook} }},
	{"lifeline", "ADDR", "where the other gateways hold a connection to this one, whose end tells them at once that its process has ended: ADDRESS:PORT, auto (the address that the store sees, any port) or off",
		func(c *Config) value { return lifelineValue{&c.Lifeline} }},
	{"proxy-protocol", "NET", "the balancers' addresses or networks: connections from there must begin with the PROXY protocol, version 2, and count as the client's own",
		func(c *Config) value { return networksValue{&c.Proxies} }},
}

// perExport are the settings of one entry of "exports".
var perExport = []setting[Export]{
	{"path", "PATH", "where clients find it, such as /data; / if there is only one export",
		func(e *Export) value { return textValue{&e.Path} }},
	{"dir", "DIR", "the directory to serve",
		func(e *Export) value { return textValue{&e.Dir} }},
	{"billy", "KIND", "serve it through a go-billy file system: memory (needs no dir, and is gone when the program ends) or osfs (needs dir)",
		func(e *Export) value { return choiceValue{&e.Billy, []string{BillyMemory, BillyOSFS}} }},
	{"clients", "NET", "the addresses or networks that may use it; default all",
		func(e *Export) value { return networksValue{&e.Clients} }},
	{"access", "rw|ro", "whether it can be changed",
		func(e *Export) value { return choiceValue{&e.Access, []string{AccessRW, AccessRO}} }},
	{"squash", "WHO", "whose identity becomes the anonymous one: root, none or all",
		func(e *Export) value { return choiceValue{&e.Squash, []string{SquashRoot, SquashNone, SquashAll}} }},
	{"anonuid", "UID", "the user that the squashed become",
		func(e *Export) value { return countValue[uint32]{&e.AnonUID, 0, math.MaxUint32 - 1} }},
	{"anongid", "GID", "the group that the squashed become",
		func(e *Export) value { return countValue[uint32]{&e.AnonGID, 0, math.MaxUint32 - 1} }},
	{"async", "", "answer changes before they are on stable storage: faster, and a crash of the machine loses what clients were told is done",
		func(e *Export) value { return flagValue{&e.Async} }},
	{"sole-writer", "", "a promise that nothing but this gateway changes the directory; spares clients some requests",
		func(e *Export) value { return flagValue{&e.SoleWriter} }},
	{"fsid", "N", "the export's number in filehandles; default from path and dir. Set it to keep clients' handles when dir moves, or where gateways see it at different places",
		func(e *Export) value { return countValue[uint32]{&e.FSID, 1, math.MaxUint32} }},
}

// limits are the settings under "limits"; their flag is --limit NAME=VALUE.
var limits = []setting[Limits]{
	{"connections", "N", "connections at once; 0 for as many as the system's limit of open files allows",
		func(l *Limits) value { return countValue[int]{&l.Connections, 0, 10_000_000} }},
	{"connections-per-address", "N", "connections from one address (IPv6: one /64), 0 for no such limit",
		func(l *Limits) value { return countValue[int]{&l.ConnectionsPerAddress, 0, 10_000_000} }},
	{"requests-per-connection", "N", "requests of one connection that run at once; more wait",
		func(l *Limits) value { return countValue[int]{&l.RequestsPerConnection, 1, 65536} }},
	{"request-memory", "SIZE", "what all requests and replies hold at once; 0 for a quarter of the machine's memory, at most 4GiB",
		func(l *Limits) value { return sizeValue{&l.RequestMemory, 0, 1 << 50} }},
	{"first-call", "TIME", "how soon after connecting a client must have sent a call",
		func(l *Limits) value { return durationValue{&l.FirstCall, time.Second, time.Hour} }},
	{"stuck", "TIME", "how long a client may leave a request half sent or a reply half taken",
		func(l *Limits) value { return durationValue{&l.Stuck, time.Second, time.Hour} }},
	{"slots", "N", "requests of one session that run at once",
		func(l *Limits) value { return countValue[int]{&l.Slots, 1, 1024} }},
	{"sessions", "N", "sessions of one client",
		func(l *Limits) value { return countValue[int]{&l.Sessions, 1, 65536} }},
	{"opens", "N", "open files of one client",
		func(l *Limits) value { return countValue[int]{&l.Opens, 1, 100_000_000} }},
	{"locks", "N", "byte-range locks of one client",
		func(l *Limits) value { return countValue[int]{&l.Locks, 1, 1_000_000_000} }},
	{"operations", "N", "operations in one COMPOUND",
		func(l *Limits) value { return countValue[int]{&l.Operations, 8, 1024} }},
	{"io", "SIZE", "bytes of one READ or WRITE",
		func(l *Limits) value { return sizeValue{&l.IO, 4 << 10, 4 << 20} }},
	{"tag", "SIZE", "bytes of a COMPOUND's tag",
		func(l *Limits) value { return sizeValue{&l.Tag, 16, 64 << 10} }},
	{"cached-reply", "SIZE", "bytes of a reply that is kept to be sent again",
		func(l *Limits) value { return sizeValue{&l.CachedReply, 1 << 10, 64 << 10} }},
	{"open-files", "N", "files that are kept open between requests",
		func(l *Limits) value { return countValue[int]{&l.OpenFiles, 16, 10_000_000} }},
}
