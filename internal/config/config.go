// Package config is the one configuration of the program: a YAML file, the
// flags of "holdfast serve", and what is checked of both.
//
// Every flag has a twin in the file with the same name. Both are entries of one
// table (settings.go), and so is the reference that users read. What is wrong
// is told all at once, each with its place, what is wrong there, and what is
// allowed.
package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Config is a checked configuration.
type Config struct {
	Listen      []string
	State       string // absolute
	Exports     []*Export
	Lease       time.Duration
	Courtesy    time.Duration
	NFSv3       bool
	Names       bool
	Domain      string
	Admin       string // path of the socket, absolute
	Metrics     string // host:port, or empty
	DrainTime   time.Duration
	LogLevel    string
	LogFormat   string
	Limits      Limits
	CreatedFrom string // the file, or empty

	// Of a gateway among several.
	Name          string
	Store         string // URL of the shared store; empty: embedded in State
	Peers         string // URL of the NATS between the gateways, or empty
	StateDomain   string
	GatewayLease  time.Duration
	StoreOutage   time.Duration
	AllowVolatile bool
	FenceHook     string // shell command, or empty
	Lifeline      string // LifelineAuto, LifelineOff or ADDRESS:PORT
	Proxies       []netip.Prefix
}

// Shared says that other gateways use the same state.
func (c *Config) Shared() bool { return c.Store != "" }

// An Export is one served file system.
type Export struct {
	Path    string // in the pseudo file system
	Dir     string // absolute; empty for BillyMemory
	Billy   string // "", BillyMemory or BillyOSFS
	FSID    uint32 // 0: from Path and Dir
	Clients []netip.Prefix
	Access  string // AccessRW or AccessRO
	Squash  string // SquashRoot, SquashNone or SquashAll
	AnonUID uint32
	AnonGID uint32
	Async   bool

	SoleWriter bool

	MakeDir  bool // Dir may be made: it was named on the command line
	position map[string]string
}

// The values of Export.Billy, Export.Access and Export.Squash.
const (
	BillyMemory = "memory"
	BillyOSFS   = "osfs"

	AccessRW = "rw"
	AccessRO = "ro"

	SquashRoot = "root"
	SquashNone = "none"
	SquashAll  = "all"
)

// The values of Config.Lifeline that are no address.
const (
	LifelineAuto = "auto"
	LifelineOff  = "off"
)

// Limits bound what clients can take.
type Limits struct {
	Connections           int // 0: as many as descriptors allow
	ConnectionsPerAddress int // 0: unlimited
	RequestsPerConnection int
	RequestMemory         int64 // bytes, 0: from the machine's memory
	FirstCall             time.Duration
	Stuck                 time.Duration
	Slots                 int
	Sessions              int
	Opens                 int
	Locks                 int
	Operations            int
	IO                    int64 // bytes
	Tag                   int64 // bytes
	CachedReply           int64 // bytes
	OpenFiles             int
}

const nobody = 65534

// Default is the configuration of which nothing was said.
func Default() *Config {
	return &Config{
		Listen:    []string{":2049"},
		Lease:     90 * time.Second,
		Courtesy:  24 * time.Hour,
		DrainTime: 30 * time.Second,
		LogLevel:  "info",
		LogFormat: "text",

		StateDomain:  "default",
		GatewayLease: 5 * time.Second,
		StoreOutage:  time.Minute,
		Lifeline:     LifelineAuto,
		Limits: Limits{
			RequestsPerConnection: 256,
			FirstCall:             30 * time.Second,
			Stuck:                 time.Minute,
			Slots:                 64,
			Sessions:              64,
			Opens:                 100_000,
			Locks:                 2_000_000,
			Operations:            128,
			IO:                    1 << 20,
			Tag:                   1024,
			CachedReply:           8 << 10,
			OpenFiles:             4096,
		},
	}
}

func newExport() *Export {
	return &Export{
		Access:   AccessRW,
		Squash:   SquashRoot,
		AnonUID:  nobody,
		AnonGID:  nobody,
		position: map[string]string{},
	}
}

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	Where string // "file:line", or "--flag"
	What  string
}

func (p Problem) String() string {
	if p.Where == "" {
		return p.What
	}
	return p.Where + ": " + p.What
}

// Problems is the error of a configuration that cannot be used: everything
// that is wrong with it.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(where, format string, args ...any) {
	*p = append(*p, Problem{where, fmt.Sprintf(format, args...)})
}

func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// DefaultState is where the state is kept if nothing was said: the system's
// place for root, the user's otherwise.
func DefaultState() string {
	if os.Geteuid() == 0 {
		return "/var/lib/holdfast"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "holdfast")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), fmt.Sprintf("holdfast-%d", os.Geteuid()))
	}
	return filepath.Join(home, ".local", "state", "holdfast")
}

// SocketName is the name of the admin socket in the state directory.
const SocketName = "admin.sock"
