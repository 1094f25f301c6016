package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

// A decoder reads one file into a Config and notes what is wrong.
type decoder struct {
	file     string
	problems Problems
}

// readFile sets in c what the file says.
func readFile(file string, c *Config) Problems {
	d := &decoder{file: file}
	st, err := os.Stat(file)
	if err == nil && st.Size() > maxFile {
		err = fmt.Errorf("%s: larger than %s", file, sizeText(maxFile))
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		d.problems.add("", "configuration: %v", err)
		return d.problems
	}
	d.decode(text, c)
	return d.problems
}

func (d *decoder) decode(text []byte, c *Config) {
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		where := d.file
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
			where = fmt.Sprintf("%s:%d", d.file, syntax.Token.Position.Line)
			d.problems.add(where, "not YAML: %s", syntax.Message)
			return
		}
		d.problems.add(where, "not YAML: %v", err)
		return
	}
	var body ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			d.problems.add(d.at(doc.Body), "a second document begins here; only one is allowed")
			return
		}
		body = doc.Body
	}
	if body == nil {
		return
	}
	known := append(names(top), "exports", "limits")
	d.mapping(body, "the configuration", known, func(key string, n ast.Node) {
		switch key {
		case "exports":
			d.exports(n, c)
		case "limits":
			d.mapping(n, "limits", names(limits), func(key string, n ast.Node) { d.set(find(limits, key).value(&c.Limits), n) })
		default:
			d.set(find(top, key).value(c), n)
		}
	})
}

func (d *decoder) exports(n ast.Node, c *Config) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problems.add(d.at(n), "exports must be a list: each entry begins with \"- path:\"")
		return
	}
	for _, item := range seq.Values {
		e := newExport()
		e.position[""] = d.at(item)
		d.mapping(item, "an export", names(perExport), func(key string, n ast.Node) {
			e.position[key] = d.at(n)
			d.set(find(perExport, key).value(e), n)
		})
		c.Exports = append(c.Exports, e)
	}
}

// mapping calls fn for each known key of a mapping.
func (d *decoder) mapping(n ast.Node, what string, known []string, fn func(key string, n ast.Node)) {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return
	default:
		d.problems.add(d.at(n), "%s must be a mapping of these keys: %s", what, strings.Join(known, ", "))
		return
	}
	for _, p := range pairs {
		key := p.Key.String()
		if k, ok := p.Key.(*ast.StringNode); ok {
			key = k.Value
		}
		if !slices.Contains(known, key) {
			d.problems.add(d.at(p.Key), "%s has no key %q%s", what, key, suggest(key, known))
			continue
		}
		fn(key, p.Value)
	}
}

// set gives a value the text of a scalar, or of each element of a list.
func (d *decoder) set(v value, n ast.Node) {
	if l, ok := v.(listValue); ok {
		l.clear()
		if seq, ok := n.(*ast.SequenceNode); ok {
			for _, item := range seq.Values {
				d.setOne(v, item)
			}
			return
		}
	}
	d.setOne(v, n)
}

func (d *decoder) setOne(v value, n ast.Node) {
	text, ok := scalar(n)
	if !ok {
		d.problems.add(d.at(n), "one value is expected here, not a list or a mapping")
		return
	}
	if err := v.Set(text); err != nil {
		d.problems.add(d.at(n), "%v", err)
	}
}

// scalar returns a scalar as it is written.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.NullNode:
		return "", true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// at says where a node is.
func (d *decoder) at(n ast.Node) string {
	if n == nil {
		return d.file
	}
	t := n.GetToken()
	// The token of a mapping is the colon of its first key, that of a list
	// its first dash: both are on the line meant.
	if t == nil || t.Position == nil {
		return d.file
	}
	return fmt.Sprintf("%s:%d", d.file, t.Position.Line)
}

func names[T any](list []setting[T]) []string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = s.name
	}
	return all
}

func find[T any](list []setting[T], name string) *setting[T] {
	for i := range list {
		if list[i].name == name {
			return &list[i]
		}
	}
	return nil
}

// suggest names the known name nearest to a wrong one.
func suggest(wrong string, known []string) string {
	best, least := "", 1+len(wrong)/2
	for _, k := range known {
		if n := distance(strings.ToLower(wrong), k); n < least {
			best, least = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; known are " + strings.Join(known, ", ")
}

// distance is how many letters must be put in, taken out or changed to make b
// of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] || a[i-1] == '_' && b[j-1] == '-' {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
