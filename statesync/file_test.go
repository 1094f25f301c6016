package statesync

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"holdfast/internal/nfs4"
)

// TestManyFilesAtOnce: I/O without state on very many files does not fill the
// memory until the next sweep.
func TestManyFilesAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client41("a")
	s := c.mustOpen("kept")
	most := 0
	for i := range 130 * shedEvery {
		w.clock.advance(1)
		if err := w.n.ConflictsWithDeny(context.Background(), FileKey(fmt.Sprint("f", i)), 1); err != nil {
			t.Fatal(err)
		}
		if i%shedEvery == 0 {
			most = max(most, w.n.Stats().Files)
		}
	}
	if most > 100*shedEvery {
		t.Errorf("%d files were in memory", most)
	}
	if !w.n.InUse("kept") {
		t.Error("an open file left the memory")
	}
	if _, err := w.n.CheckIO(context.Background(), c.id, "kept", s, 2, 0); err != nil {
		t.Error(err)
	}
}

func TestTooManyClients(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Clients = 3 })
	ctx := context.Background()
	for i := range 3 {
		w.client41(fmt.Sprint(i))
	}
	exchange := func(owner string, v byte) error {
		_, err := w.n.ExchangeID(ctx, &ExchangeIDArgs{Owner: []byte(owner), Verifier: nfs4.Verifier{v}, Principal: "p", Minor: 1})
		return err
	}
	if err := exchange("new", 1); !errors.Is(err, ErrResource) {
		t.Errorf("the fourth client: %v", err)
	}
	if err := exchange("1", 1); err != nil {
		t.Errorf("one that is known: %v", err)
	}
}

// TestStateidHints: a stateid leads to its file and says whose it is.
func TestStateidHints(t *testing.T) {
	w := newWorld(t, nil)
	f := w.n.file("some file")
	for _, lock := range []bool{false, true} {
		o := w.n.newOther(f, 0xabcdef, lock)
		if fileHash(o) != hashOf("some file") || !hints(o, 0xff_abcdef) || hints(o, 0xabcdee) || isLock(o) != lock {
			t.Errorf("%x", o)
		}
	}
}
