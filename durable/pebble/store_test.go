package pebble_test

import (
	"os"
	"testing"

	"holdfast/durable"
	"holdfast/durable/pebble"
	"holdfast/durable/storetest"
)

func TestMain(m *testing.M) {
	storetest.Main(m, func(dir string) (durable.Store, error) { return pebble.Open(dir, pebble.Options{}) })
}

// reopener opens stores in directories, and remembers which is where.
type reopener struct {
	options pebble.Options
	dirs    map[durable.Store]string
}

func (r *reopener) subject() storetest.Subject {
	r.dirs = make(map[durable.Store]string)
	return storetest.Subject{
		Open: func(t testing.TB) durable.Store { return r.open(t, t.TempDir()) },
		Reopen: func(t testing.TB, s durable.Store, crash bool) durable.Store {
			if crash {
				s.(*pebble.Store).Crash()
			} else if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return r.open(t, r.dirs[s])
		},
	}
}

func (r *reopener) open(t testing.TB, dir string) durable.Store {
	t.Helper()
	s, err := pebble.Open(dir, r.options)
	if err != nil {
		t.Fatal(err)
	}
	r.dirs[s] = dir
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, (&reopener{}).subject()) }

// With a cache that holds next to nothing every check reads the database.
func TestStoreWithoutCache(t *testing.T) {
	storetest.Run(t, (&reopener{options: pebble.Options{CacheBytes: 1}}).subject())
}

// After a kill everything that was waited for is there, batches are whole, and
// no batch is there without all before it.
func TestKill(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	storetest.Kill(t, rounds, func(dir string) (durable.Store, error) { return pebble.Open(dir, pebble.Options{CheckBytes: -1}) })
}

func mustOpen(t testing.TB, dir string) *pebble.Store {
	t.Helper()
	s, err := pebble.Open(dir, pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
