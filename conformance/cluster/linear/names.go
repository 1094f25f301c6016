package linear

import "fmt"

// Names is how many names of a directory the model knows.
const Names = 4

// What a NameOp does, and how it may end.
const (
	Make   = "make" // an object that is a file, or a directory if Dir is set
	Link   = "link"
	Remove = "remove"
	Rename = "rename"
	Look   = "look up"

	Done   = "ok"
	Exists = "exists"
	Absent = "absent"
)

// A NameOp is an exclusive create, MKDIR, LINK, REMOVE, RENAME or LOOKUP in a directory of which all subdirectories are empty.
type NameOp struct {
	In       string // the directory
	Do       string
	Name, To int // To is RENAME's target

	// Object is what was made, linked or found: its filehandle. Dir says that it is a directory.
	Object string
	Dir    bool

	Result string
}

func (o NameOp) object() string { return "names in " + o.In }

// String tells the operation and its result.
func (o NameOp) String() string {
	what := fmt.Sprint(o.Name)
	if o.Do == Rename {
		what = fmt.Sprintf("%d to %d", o.Name, o.To)
	}
	return fmt.Sprintf("%s %s in %s: %s %s", o.Do, what, o.In, o.Result, o.Object)
}

// nameTable is what the names are.
type nameTable [Names]entry

type entry struct {
	object string // "" if the name is not there
	dir    bool
}

func (o NameOp) step(state any) (bool, any) {
	t, _ := state.(nameTable)
	e := &t[o.Name]
	switch o.Do {
	case Look:
		if e.object == "" || o.Result != Done {
			return o.Result == Absent && e.object == "", t
		}
		return e.object == o.Object, t
	case Make, Link:
		if e.object != "" || o.Result != Done {
			return o.Result == Exists && e.object != "", t
		}
		*e = entry{o.Object, o.Dir}
		return o.Object != "", t
	case Remove:
		if e.object == "" || o.Result != Done {
			return o.Result == Absent && e.object == "", t
		}
		*e = entry{}
		return true, t
	}
	return o.rename(t)
}

// rename is RENAME (RFC 8881 §18.26.3): it replaces what is of the same kind, and leaves two names of one object alone.
func (o NameOp) rename(t nameTable) (bool, any) {
	from, to := &t[o.Name], &t[o.To]
	want := Done
	switch {
	case from.object == "":
		want = Absent
	case to.object != "" && from.dir != to.dir:
		want = Exists
	}
	if o.Result != Done || want != Done {
		return o.Result == want, t
	}
	if from.object != to.object {
		*from, *to = entry{}, *from
	}
	return true, t
}
