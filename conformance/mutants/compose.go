package mutants

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// Variable is the environment variable that chooses the fault of a program
// built by Build; without it there is none.
const Variable = "HOLDFAST_MUTANT"

// chosen is the name of the package variable that holds the chosen fault.
const chosen = "mutant__"

// Compose puts faults of one file beside each other into its source: each
// function that a fault changes is there in every form, and a function of its
// name and signature calls the one that is chosen.
//
//	func (f *File) Lock(p0 *LockRequest) error {
//		switch mutant__ {
//		case "read-locks-ignored":
//			return self.Lock__read_locks_ignored(p0)
//		}
//		return self.Lock__right(p0)
//	}
func Compose(source string, faults []Fault) (string, error) {
	right, err := functions(source)
	if err != nil {
		return "", err
	}
	forms := make(map[string][]form)
	for _, f := range faults {
		text, err := f.Apply(source)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
		wrong, err := functions(text)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
		if right.rest != wrong.rest || len(right.byName) != len(wrong.byName) {
			return "", fmt.Errorf("%s changes more than the insides of functions", f.Name)
		}
		for name, fn := range wrong.byName {
			if fn.text != right.byName[name].text {
				forms[name] = append(forms[name], form{f.Name, fn})
			}
		}
	}
	var out strings.Builder
	at := 0
	for _, name := range right.inOrder {
		fn := right.byName[name]
		if len(forms[name]) == 0 {
			continue
		}
		out.WriteString(source[at:fn.from])
		out.WriteString(fn.dispatch(forms[name]))
		at = fn.from + len(fn.text)
	}
	out.WriteString(source[at:])
	return out.String(), nil
}

// A form is a function as a fault has it.
type form struct {
	fault string
	function
}

// A function is a declaration in a source.
type function struct {
	from int    // offset of "func"
	text string // from there to the closing brace
	name string
	at   int // where in text the name stands

	receiver   string   // its type, or ""
	params     []string // their types
	results    string   // with parentheses if there are several
	returns    bool
	isVariadic bool
}

type declarations struct {
	byName  map[string]function // by receiver and name
	inOrder []string
	rest    string // the source without the functions
}

func functions(source string) (d declarations, err error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", source, parser.SkipObjectResolution)
	if err != nil {
		return d, err
	}
	d.byName = make(map[string]function)
	offset := func(p token.Pos) int { return set.Position(p).Offset }
	text := func(n ast.Node) string { return source[offset(n.Pos()):offset(n.End())] }
	at := 0
	for _, decl := range file.Decls {
		fd, ok := decl.(*ast.FuncDecl)
		if !ok || fd.Type.TypeParams != nil {
			continue
		}
		fn := function{from: offset(fd.Pos()), text: text(fd), name: fd.Name.Name, at: offset(fd.Name.Pos()) - offset(fd.Pos())}
		if fd.Recv != nil {
			fn.receiver = text(fd.Recv.List[0].Type)
		}
		for _, p := range fd.Type.Params.List {
			_, variadic := p.Type.(*ast.Ellipsis)
			fn.isVariadic = fn.isVariadic || variadic
			for range max(len(p.Names), 1) {
				fn.params = append(fn.params, text(p.Type))
			}
		}
		if r := fd.Type.Results; r != nil {
			fn.results, fn.returns = text(r), true
		}
		key := fn.receiver + "." + fn.name
		d.byName[key] = fn
		d.inOrder = append(d.inOrder, key)
		d.rest += source[at:fn.from]
		at = fn.from + len(fn.text)
	}
	d.rest += source[at:]
	return d, nil
}

// as returns the function's text under another name.
func (fn *function) as(name string) string {
	return fn.text[:fn.at] + name + fn.text[fn.at+len(fn.name):]
}

// dispatch returns the function in all its forms.
func (fn *function) dispatch(forms []form) string {
	slices.SortFunc(forms, func(a, b form) int { return strings.Compare(a.fault, b.fault) })
	var params, args []string
	for i, typ := range fn.params {
		params = append(params, fmt.Sprintf("p%d %s", i, typ))
		args = append(args, fmt.Sprintf("p%d", i))
	}
	given := strings.Join(args, ", ")
	if fn.isVariadic {
		given += "..."
	}
	receiver, self := "", ""
	if fn.receiver != "" {
		receiver, self = fmt.Sprintf("(self %s) ", fn.receiver), "self."
	}
	var b, bodies strings.Builder
	call := func(name string) {
		if fn.returns {
			fmt.Fprintf(&b, "\t\treturn %s%s(%s)\n", self, name, given)
		} else {
			fmt.Fprintf(&b, "\t\t%s%s(%s)\n", self, name, given)
		}
	}
	fmt.Fprintf(&b, "func %s%s(%s) %s {\n\tswitch %s {\n", receiver, fn.name, strings.Join(params, ", "), fn.results, chosen)
	for _, f := range forms {
		name := fn.name + "__" + strings.ReplaceAll(f.fault, "-", "_")
		fmt.Fprintf(&b, "\tcase %q:\n", f.fault)
		call(name)
		bodies.WriteString("\n" + f.as(name) + "\n")
	}
	b.WriteString("\tdefault:\n")
	call(fn.name + "__right")
	b.WriteString("\t}\n}\n")
	return b.String() + "\n" + fn.as(fn.name+"__right") + "\n" + bodies.String()
}
