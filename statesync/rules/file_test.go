package rules

import (
	"bytes"
	"encoding/binary"
	"errors"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"holdfast/durable"
	"holdfast/internal/nfs4"
)

// The rules are pure: what would make them depend on anything but their
// arguments is not there to use.
func TestRulesImportNothingImpure(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		checked++
		for _, imp := range file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			room, _, _ := strings.Cut(path, "/")
			switch {
			case path == "holdfast/durable", strings.HasPrefix(path, "holdfast/internal/"):
			case room == "holdfast" || strings.Contains(room, "."),
				room == "time", room == "os", room == "net", room == "sync", room == "context", room == "log",
				room == "syscall", room == "unsafe", room == "runtime",
				strings.HasPrefix(path, "math/rand"), path == "crypto/rand", path == "hash/maphash",
				room == "io":
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
	if checked < 8 {
		t.Fatalf("only %d files were looked at", checked)
	}
}

func TestTableAgainstMap(t *testing.T) {
	type item struct{ k int }
	key := func(v *item) int { return v.k }
	rnd := rand.New(rand.NewPCG(1, 2))
	var table table[int, *item]
	want := map[int]*item{}
	for i := range 20_000 {
		k := rnd.IntN(12)
		if i/500%2 == 0 {
			k = rnd.IntN(100)
		}
		v := table.get(k, key)
		if v != want[k] {
			t.Fatalf("step %d: key %d is %v, want %v", i, k, v, want[k])
		}
		if v == nil {
			v = &item{k}
			table.put(v, key)
			want[k] = v
		} else {
			table.drop(v, key)
			delete(want, k)
		}
		n := 0
		table.each(func(v *item) {
			if n++; want[v.k] != v {
				t.Fatalf("step %d: each has %v", i, v)
			}
		})
		if n != len(want) || table.len() != n {
			t.Fatalf("step %d: %d elements, len %d, want %d", i, n, table.len(), len(want))
		}
	}
}

// someFile returns a file with two opens and locks of both types.
func someFile(t testing.TB) *File {
	t.Helper()
	f := &File{}
	for i := range 2 {
		open := benchOther('o', i)
		_, d, err := f.Open(&OpenRequest{
			Client: ClientID(1 + i), Owner: []byte("opener"), Access: 3, UID: 7, NewOther: open,
		}, nil)
		must(t, f, d, err)
		for j := range 3 {
			_, d, err := f.Lock(&LockRequest{
				Ref: Ref{Stateid: nfs4.Stateid{Other: open}}, New: true, Owner: []byte("locker"),
				Write: j == 0, Offset: uint64(100*i + 10*j), Length: 5, NewOther: benchOther('l', i),
			}, nil)
			must(t, f, d, err)
		}
	}
	return f
}

func TestDecodeFileRefusesDamage(t *testing.T) {
	open0, lock0 := partName(partOpen, benchOther('o', 0)), partName(partLock, benchOther('l', 0))
	open1, lock1 := partName(partOpen, benchOther('o', 1)), partName(partLock, benchOther('l', 1))
	range0 := rangeKey{benchOther('l', 0), 0}.part()
	cases := []struct {
		what   string
		damage func(map[string][]byte)
	}{
		{"no head", func(m map[string][]byte) { delete(m, "") }},
		{"head of a newer format", func(m map[string][]byte) { m[""] = []byte{fileFormat + 1} }},
		{"head of format 0", func(m map[string][]byte) { m[""] = []byte{0} }},
		{"head without anything open", func(m map[string][]byte) {
			for k := range m {
				if k != "" {
					delete(m, k)
				}
			}
		}},
		{"long head", func(m map[string][]byte) { m[""] = []byte{fileFormat, 0} }},
		{"empty part", func(m map[string][]byte) { m[open0] = nil }},
		{"part of an unknown kind", func(m map[string][]byte) { m["x"] = []byte{fileFormat} }},
		{"short open", func(m map[string][]byte) { m[open0] = m[open0][:len(m[open0])-1] }},
		{"long open", func(m map[string][]byte) { m[open0] = append(bytes.Clone(m[open0]), 0) }},
		{"open of a newer format", func(m map[string][]byte) { m[open0][0]++ }},
		{"unknown flag", func(m map[string][]byte) { m[open0][1] |= 2 }},
		{"seqid 0", func(m map[string][]byte) { clear(m[open0][2:6]) }},
		{"client 0", func(m map[string][]byte) { clear(m[open0][6:14]) }},
		{"access 0", func(m map[string][]byte) { m[open0][14] = 0 }},
		{"access 4", func(m map[string][]byte) { m[open0][14] = 4 }},
		{"deny 4", func(m map[string][]byte) { m[open0][15] = 4 }},
		{"access that no OPENs make up", func(m map[string][]byte) { m[open0][16] = 1 << 1 }},
		{"impossible access in effect", func(m map[string][]byte) { m[open0][16] |= 1 << 5 }},
		{"opens that exclude each other", func(m map[string][]byte) { m[open0][15], m[open0][17] = 2, 1<<2 }},
		{"name of an open too long", func(m map[string][]byte) { m[open0+"x"] = m[open0] }},
		{"two opens of an owner", func(m map[string][]byte) { m[partName(partOpen, benchOther('o', 9))] = m[open0] }},
		{"open-owner too long", func(m map[string][]byte) {
			b := binary.BigEndian.AppendUint16(bytes.Clone(m[open0][:22]), nfs4.OpaqueLimit+1)
			m[open0] = append(b, make([]byte, nfs4.OpaqueLimit+1)...)
		}},
		{"lock without its open", func(m map[string][]byte) { delete(m, open0) }},
		{"lock on another client's open", func(m map[string][]byte) {
			copy(m[lock0][13:], open1[1:])
		}},
		{"two locks of an owner through one open", func(m map[string][]byte) {
			m[partName(partLock, benchOther('l', 9))] = m[lock0]
		}},
		{"lock with an open's stateid", func(m map[string][]byte) { m["l"+open1[1:]] = m[lock0] }},
		{"range without its lock", func(m map[string][]byte) { delete(m, lock1) }},
		{"range of an unknown type", func(m map[string][]byte) { m[range0][1] = 2 }},
		{"range that ends before it starts", func(m map[string][]byte) {
			m[rangeKey{benchOther('l', 0), 90}.part()] = m[range0]
		}},
		{"range over another of its owner", func(m map[string][]byte) {
			binary.BigEndian.PutUint64(m[range0][2:], 12)
		}},
		{"range over another client's", func(m map[string][]byte) {
			b := bytes.Clone(m[range0])
			binary.BigEndian.PutUint64(b[2:], 300)
			m[rangeKey{benchOther('l', 0), 90}.part()] = b
		}},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			m := map[string][]byte{}
			for _, p := range someFile(t).Parts() {
				m[p.Name] = p.Value
			}
			c.damage(m)
			var parts []durable.Part
			for k, v := range m {
				parts = append(parts, durable.Part{Name: k, Value: v})
			}
			if f, err := DecodeFile(parts); !errors.Is(err, ErrServerFault) || f != nil {
				t.Fatalf("DecodeFile: %v, %v, want ErrServerFault", f, err)
			}
		})
	}
	parts := someFile(t).Parts()
	for _, p := range parts {
		if _, err := DecodeFile(append(parts[:len(parts):len(parts)], p)); !errors.Is(err, ErrServerFault) {
			t.Errorf("part %q twice: %v", p.Name, err)
		}
	}
}

// A change that was decided for another state of the file is refused, not
// half understood.
func TestApplyRefusesForeignChange(t *testing.T) {
	f := someFile(t)
	_, d, err := f.Close(Ref{Stateid: nfs4.Stateid{Other: benchOther('o', 0)}})
	must(t, f, d, err)
	if err := f.Apply(d); !errors.Is(err, ErrServerFault) {
		t.Fatalf("the same change again: %v", err)
	}
	if err := (&File{}).Apply(d); !errors.Is(err, ErrServerFault) {
		t.Fatalf("a change of another file: %v", err)
	}
}

func TestNilDeltaChangesNothing(t *testing.T) {
	f := someFile(t)
	before := f.Parts()
	var d *Delta
	if err := f.Apply(d); err != nil || d.Len() != 0 || d.RangesMore() != 0 || d.Writes(nil, "k") != nil {
		t.Fatalf("Apply %v, Len %d", err, d.Len())
	}
	d.Stateids(func(ClientID, Other, bool) { t.Error("a stateid") })
	if !sameParts(f.Parts(), before) {
		t.Error("the file changed")
	}
}

// FuzzDecodeFile decodes parts cut out of the input: u8 length of name, u16
// length of value, name, value.
func FuzzDecodeFile(f *testing.F) {
	pack := func(parts []durable.Part) (b []byte) {
		for _, p := range parts {
			b = append(b, byte(len(p.Name)))
			b = binary.BigEndian.AppendUint16(b, uint16(len(p.Value)))
			b = append(b, p.Name...)
			b = append(b, p.Value...)
		}
		return b
	}
	f.Add(pack(someFile(f).Parts()))
	f.Add(pack((&File{}).Parts()))
	w := newWorld(f, 77)
	for range 300 {
		w.step(true)
	}
	f.Add(pack(w.f.Parts()))
	f.Fuzz(func(t *testing.T, in []byte) {
		var parts []durable.Part
		for len(in) >= 3 {
			n, v := int(in[0]), int(binary.BigEndian.Uint16(in[1:]))
			in = in[3:]
			n = min(n, len(in))
			name := string(in[:n])
			in = in[n:]
			v = min(v, len(in))
			parts = append(parts, durable.Part{Name: name, Value: in[:v:v]})
			in = in[v:]
		}
		file, err := DecodeFile(parts)
		if err != nil {
			if !errors.Is(err, ErrServerFault) {
				t.Fatalf("error %v", err)
			}
			return
		}
		// What was accepted is what is written again, and a file that works.
		out := file.Parts()
		want := map[string]string{}
		for _, p := range parts {
			want[p.Name] = string(p.Value)
		}
		if len(out) != len(want) {
			t.Fatalf("%d parts, then %d", len(want), len(out))
		}
		for _, p := range out {
			if want[p.Name] != string(p.Value) {
				t.Fatalf("part %q is %x, was %x", p.Name, p.Value, want[p.Name])
			}
		}
		for c := range file.clientIDs() {
			d := file.DropClient(c)
			if err := file.Apply(d); err != nil {
				t.Fatal(err)
			}
		}
		if !file.Empty() || file.Ranges() != 0 || file.Parts() != nil || file.reads != nil || file.writes != nil {
			t.Fatalf("%d opens and %d ranges are left", file.Opens(), file.Ranges())
		}
	})
}

func (f *File) clientIDs() map[ClientID]bool {
	ids := map[ClientID]bool{}
	f.clients.each(func(c *fileClient) { ids[c.id] = true })
	return ids
}
