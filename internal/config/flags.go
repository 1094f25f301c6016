package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Flags are those of "holdfast serve". They are collected while the command
// line is read, and win over the file when Config is called.
type Flags struct {
	file  string
	given []given
}

// given is a flag of the command line: apply sets it.
type given struct {
	flag   string
	export bool // is about the export of the command line
	apply  func(c *Config, e *Export) error
}

// flagged is one flag; its text is checked when all of it is known.
type flagged struct {
	f        *Flags
	name     string
	kind     string
	def      string
	export   bool
	apply    func(text string) func(c *Config, e *Export) error
	lastText string
}

// Set implements pflag.Value.
func (v *flagged) Set(text string) error {
	v.lastText = text
	v.f.given = append(v.f.given, given{"--" + v.name, v.export, v.apply(text)})
	return nil
}

// Type implements pflag.Value.
func (v *flagged) Type() string {
	if v.kind == "" {
		return "bool"
	}
	return v.kind
}

// String implements pflag.Value.
func (v *flagged) String() string {
	if v.lastText != "" {
		return v.lastText
	}
	return v.def
}

// switches are the flags of the command line's export that have another name
// than their twin in the file.
var switches = []struct{ name, key, value, help string }{
	{"read-only", "access", AccessRO, "nothing can be changed through this gateway (access: ro)"},
	{"no-root-squash", "squash", SquashNone, "root of a client is root here (squash: none)"},
	{"all-squash", "squash", SquashAll, "everybody is the anonymous user (squash: all)"},
}

// byFlag are the settings of an export that are flags of the same name.
var byFlag = []string{"path", "clients", "anonuid", "anongid", "async", "sole-writer", "fsid"}

// NewFlags defines the flags of "holdfast serve" in fs.
func NewFlags(fs *pflag.FlagSet) *Flags {
	f := &Flags{}
	fs.StringVar(&f.file, "config", "", "the configuration file; flags win over what it says")
	defaults := Default()
	for _, s := range top {
		cleared := false
		f.add(fs, s.name, s.kind, s.help, s.value(defaults).String(), false, func(text string) func(*Config, *Export) error {
			first := !cleared
			cleared = true
			return func(c *Config, _ *Export) error { return setFlag(s.value(c), text, first) }
		})
	}
	f.add(fs, "limit", "NAME=VALUE", "one of the limits: "+strings.Join(names(limits), ", "), "", false, func(text string) func(*Config, *Export) error {
		return func(c *Config, _ *Export) error {
			name, val, ok := strings.Cut(text, "=")
			l := find(limits, name)
			if l == nil || !ok {
				return fmt.Errorf("%q is not allowed here: NAME=VALUE%s", text, suggest(name, names(limits)))
			}
			return l.value(&c.Limits).Set(val)
		}
	})
	exportDefaults := newExport()
	for _, name := range byFlag {
		s := find(perExport, name)
		cleared := false
		f.add(fs, name, s.kind, "of DIR: "+s.help, s.value(exportDefaults).String(), true, func(text string) func(*Config, *Export) error {
			first := !cleared
			cleared = true
			return func(_ *Config, e *Export) error { return setFlag(s.value(e), text, first) }
		})
	}
	for _, sw := range switches {
		s := find(perExport, sw.key)
		f.add(fs, sw.name, "", "of DIR: "+sw.help, "", true, func(text string) func(*Config, *Export) error {
			return func(_ *Config, e *Export) error {
				on := false
				if err := (flagValue{&on}).Set(text); err != nil || !on {
					return err
				}
				return s.value(e).Set(sw.value)
			}
		})
	}
	return f
}

func (f *Flags) add(fs *pflag.FlagSet, name, kind, help, def string, export bool, apply func(string) func(*Config, *Export) error) {
	if def == "false" || def == "0" {
		def = ""
	}
	flag := fs.VarPF(&flagged{f: f, name: name, kind: kind, def: def, export: export, apply: apply}, name, "", help)
	flag.DefValue = def
	if kind == "" {
		flag.NoOptDefVal = "true"
	}
}

// setFlag sets v; the first flag of a list replaces what was there.
func setFlag(v value, text string, first bool) error {
	if l, ok := v.(listValue); ok && first {
		l.clear()
	}
	return v.Set(text)
}

// Config puts together what the file, the flags and the argument say, and
// checks all of it. dir is the directory of the command line, or empty. The
// error is Problems.
func (f *Flags) Config(dir string) (*Config, error) {
	c := Default()
	var problems Problems
	if f.file != "" {
		c.CreatedFrom = f.file
		problems = readFile(f.file, c)
	}
	one := newExport()
	if dir != "" {
		if len(c.Exports) > 0 {
			problems.add(dir, "%s has exports already: give a directory or a file with exports, not both", f.file)
		}
		one.Dir, one.MakeDir = dir, true
		one.position["dir"] = "DIR"
	}
	for _, g := range f.given {
		if g.export && dir == "" {
			problems.add(g.flag, "is about the DIR of the command line, and there is none; say it in the file, for each export")
			continue
		}
		if err := g.apply(c, one); err != nil {
			problems.add(g.flag, "%v", err)
		}
	}
	if dir != "" && len(c.Exports) == 0 {
		c.Exports = append(c.Exports, one)
	}
	c.check(&problems)
	return c, problems.err()
}
