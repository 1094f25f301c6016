package config

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// check completes c and looks at what no single setting can tell.
func (c *Config) check(problems *Problems) {
	if len(c.Exports) == 0 {
		if len(*problems) == 0 {
			problems.add(c.CreatedFrom, "nothing to serve: give a directory, or a configuration file with exports")
		}
		return
	}
	if c.State == "" {
		c.State = DefaultState()
	}
	c.State = absolute(c.State)
	if c.Admin == "" {
		c.Admin = filepath.Join(c.State, SocketName)
	}
	c.Admin = absolute(c.Admin)
	// A socket's address holds 108 bytes, the last of them 0.
	if len(c.Admin) > 107 {
		problems.add("admin", "%s is too long for a socket: at most 107 bytes", c.Admin)
	}
	c.checkCluster(problems)
	for _, e := range c.Exports {
		e.check(c, problems)
	}
	for i, e := range c.Exports {
		for _, other := range c.Exports[:i] {
			if e.Path != "" && other.Path != "" && (inside(e.Path, other.Path) || inside(other.Path, e.Path)) {
				problems.add(e.at("path"), "the export %s and the export %s: one may not be inside the other", e.Path, other.Path)
			}
			if e.FSID != 0 && e.FSID == other.FSID {
				problems.add(e.at("fsid"), "%s and %s have the same fsid %d", e.Path, other.Path, e.FSID)
			}
		}
	}
}

// checkCluster completes and checks what is about several gateways.
func (c *Config) checkCluster(problems *Problems) {
	if c.Name == "" {
		c.Name = "gateway"
		if c.Shared() {
			host, err := os.Hostname()
			if err == nil {
				err = nameValue{&c.Name}.Set(host)
			}
			if err != nil {
				problems.add("name", "a gateway among several needs a name; the host's cannot be used: %v", err)
			}
		}
	}
	if !c.Shared() && c.FenceHook != "" {
		problems.add("fence-hook", "without a shared store there is no other gateway")
	}
	if !c.Shared() && c.Peers != "" {
		problems.add("peers", "without a shared store there is no other gateway: give --store too")
	}
	if !c.Shared() && c.Lifeline != LifelineAuto && c.Lifeline != LifelineOff {
		problems.add("lifeline", "without a shared store there is no other gateway")
	}
	for _, e := range c.Exports {
		if c.Shared() && e.Billy != "" {
			problems.add(e.at("billy"), "several gateways cannot serve the same files through go-billy: each would give them other handles")
		}
	}
}

func (e *Export) check(c *Config, problems *Problems) {
	switch {
	case e.Path == "" && len(c.Exports) == 1:
		e.Path = "/"
	case e.Path == "":
		problems.add(e.at("path"), "an export needs a path, such as /data, when there are several")
	case !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path:
		problems.add(e.at("path"), "%q is not allowed here: an absolute path without //, . and .., such as /data", e.Path)
	}
	switch {
	case e.Billy == BillyMemory:
		if e.Dir != "" {
			problems.add(e.at("dir"), "a file system in memory has no dir")
		}
		return
	case e.Dir == "":
		problems.add(e.at("dir"), "an export needs a dir, or \"billy: memory\"")
		return
	}
	e.Dir = absolute(e.Dir)
	st, err := os.Stat(e.Dir)
	switch {
	case err == nil && !st.IsDir():
		problems.add(e.at("dir"), "%s is not a directory", e.Dir)
		return
	case os.IsNotExist(err) && e.MakeDir:
		if p, perr := os.Stat(filepath.Dir(e.Dir)); perr != nil || !p.IsDir() {
			problems.add(e.at("dir"), "%s does not exist, and neither does the directory that it would be in", e.Dir)
			return
		}
	case err != nil:
		problems.add(e.at("dir"), "cannot be served: %v", err)
		return
	}
	// Clients could change, or lose, the state that protects them.
	if inside(resolved(c.State), resolved(e.Dir)) {
		problems.add(e.at("dir"), "the state directory %s is inside the export %s; choose another with --state", c.State, e.Dir)
	}
}

// at says where the setting, or else the export, is.
func (e *Export) at(name string) string {
	if p := e.position[name]; p != "" {
		return p
	}
	return e.position[""]
}

// absolute makes a path absolute; where the working directory is gone it stays
// as it is.
func absolute(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

// resolved follows the symbolic links of that part of p that exists.
func resolved(p string) string {
	rest := ""
	for dir := p; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == filepath.Dir(dir) {
			return p
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// inside says whether inner is outer or below it.
func inside(inner, outer string) bool {
	return inner == outer || outer == "/" || strings.HasPrefix(inner, outer+"/")
}
