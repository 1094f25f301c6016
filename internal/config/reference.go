package config

import (
	"fmt"
	"slices"
	"strings"
)

// Reference is the table of all settings in Markdown, as docs/configuration.md
// shows it.
func Reference() string {
	var b strings.Builder
	defaults := Default()
	b.WriteString("## At the top of the file\n\n| key and flag | value | default | meaning |\n|---|---|---|---|\n")
	for _, s := range top {
		row(&b, fmt.Sprintf("`%s`, `--%s`", s.name, s.name), s.kind, s.value(defaults).String(), s.help)
	}
	b.WriteString("\n## `exports:`, a list\n\nThe flags are about the directory of the command line.\n\n| key | flag | value | default | meaning |\n|---|---|---|---|---|\n")
	export := newExport()
	for _, s := range perExport {
		row(&b, fmt.Sprintf("`%s` | %s", s.name, exportFlag(s.name)), s.kind, s.value(export).String(), s.help)
	}
	b.WriteString("\n## `limits:`, a mapping\n\nOn the command line: `--limit NAME=VALUE`.\n\n| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, s := range limits {
		row(&b, "`"+s.name+"`", s.kind, s.value(&defaults.Limits).String(), s.help)
	}
	return b.String()
}

func row(b *strings.Builder, name, kind, def, help string) {
	if kind == "" {
		kind = "true\\|false"
	}
	if def == "" {
		def = " "
	} else {
		def = "`" + def + "`"
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, strings.ReplaceAll(kind, "rw|ro", "rw\\|ro"), def, help)
}

// exportFlag names the flags that say what the key of an export says.
func exportFlag(key string) string {
	var flags []string
	for _, sw := range switches {
		if sw.key == key {
			flags = append(flags, "`--"+sw.name+"`")
		}
	}
	switch {
	case slices.Contains(byFlag, key):
		flags = append(flags, "`--"+key+"`")
	case key == "dir":
		flags = append(flags, "the argument DIR")
	}
	return strings.Join(flags, ", ")
}
