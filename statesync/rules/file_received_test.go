package rules

import (
	"errors"
	"testing"

	"holdfast/durable"
)

// TestReceivedNonsense: writes that do not fit the file, or that nobody wrote,
// are refused, and the file stays as it was.
func TestReceivedNonsense(t *testing.T) {
	name := func(kind byte) string { return partName(kind, Other{1}) }
	for _, w := range []durable.Write{
		{Name: name(partOpen)}, {Name: name(partLock)}, {Name: name(partRange)}, {Name: "o"}, {Name: "?"}, {Name: "r12"},
		{Name: "", Value: []byte{}}, {Name: "", Value: []byte{9}}, {Name: "", Value: []byte{fileFormat, 1}}, {Name: "?", Value: []byte{fileFormat}},
		{Name: name(partOpen), Value: []byte{fileFormat}}, {Name: name(partLock), Value: []byte{fileFormat, 1}}, {Name: name(partRange), Value: []byte{fileFormat, 7}},
	} {
		f := &File{}
		if d, err := f.Received([]durable.Write{w}); !errors.Is(err, ErrServerFault) {
			t.Errorf("%+v: %+v, %v", w, d, err)
		}
		if !f.Empty() || len(f.Parts()) != 0 {
			t.Errorf("%+v changed the file", w)
		}
	}
}
