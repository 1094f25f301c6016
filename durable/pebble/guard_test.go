package pebble

import (
	"bytes"
	"io"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A log is filled ahead with zeros, and never what was written to it, also when
// there was no room for that in between.
func TestFill(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	sp := newSpace(log, "", limits{reserve: 1})
	sp.budget.Store(1 << 40) // the level is the test's
	g := &guard{FS: vfs.NewMem(), health: newHealth(log), space: sp}
	f, err := g.openVital(kindLog, 1, func() (vfs.File, error) { return g.FS.Create("1.log", "") })
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i, level := range []int32{roomy, tight, roomy, full, full, roomy, roomy, tight, roomy} {
		sp.level.Store(level)
		for n := range 3 {
			p := bytes.Repeat([]byte{byte(1 + i*3 + n)}, fillStep/3+i)
			want = append(want, p...)
			if _, err := f.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		r, err := g.FS.Open("1.log")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) < len(want) || !bytes.Equal(got[:len(want)], want) {
			t.Fatalf("step %d: what was written is not there", i)
		}
		if rest := got[len(want):]; len(rest) > fillStep || !bytes.Equal(rest, make([]byte, len(rest))) {
			t.Fatalf("step %d: %d bytes follow that are not all zero", i, len(rest))
		} else if level == roomy && len(rest) == 0 && len(want)%fillStep != 0 {
			t.Fatalf("step %d: nothing is filled ahead", i)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
