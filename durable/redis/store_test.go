package redis_test

import (
	"os"
	"testing"

	"holdfast/durable"
	"holdfast/durable/redis"
	"holdfast/durable/storetest"
)

func TestStore(t *testing.T) {
	server := startRedis(t, durableArgs...)
	domain := make(map[durable.Store]string)
	open := func(t testing.TB, name string) durable.Store {
		s := open(t, server.url(), redis.Options{Domain: name})
		domain[s] = name
		return s
	}
	storetest.Run(t, storetest.Subject{
		Open: func(t testing.TB) durable.Store { return open(t, newDomain()) },
		Reopen: func(t testing.TB, s durable.Store, crash bool) durable.Store {
			if crash {
				server.kill()
				server.restart()
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, domain[s])
		},
	})
}

func TestMain(m *testing.M) {
	redis.LogLibrary(nil)
	os.Exit(m.Run())
}
