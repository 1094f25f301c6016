package redis_test

import (
	"strings"
	"testing"

	"holdfast/durable/redis"
)

func TestURL(t *testing.T) {
	for in, want := range map[string]string{
		"redis://h":                                 "redis://h:6379",
		"redis://h:1":                               "redis://h:1",
		"redis://h:1/":                              "redis://h:1",
		"redis://h:1/7":                             "redis://h:1/7",
		"redis://[::1]":                             "redis://[::1]:6379",
		"redis://[::1]:77/2":                        "redis://[::1]:77/2",
		"redis://user:p%40ss@h":                     "redis://h:6379",
		"redis://:p/a?s@s@h":                        "",
		"rediss://:pass@h?servername=x":             "rediss://h:6379",
		"redis+sentinel://a,b:5,[::2]/mymaster":     "redis+sentinel://a:26379,b:5,[::2]:26379/mymaster",
		"redis+sentinel://u:p@a/m/3?replicas=2":     "redis+sentinel://a:26379/m/3",
		"rediss+sentinel://a/m?sentinel_username=x": "rediss+sentinel://a:26379/m",
	} {
		got, err := redis.ParseURL(in)
		if want == "" {
			if err == nil {
				t.Errorf("%s was taken as %s", in, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
}

// What is wrong with a URL is said, and no password with it.
func TestURLErrors(t *testing.T) {
	for in, word := range map[string]string{
		"":                                         "redis://",
		"localhost:6379":                           "redis://",
		"http://u:secret@h":                        "http",
		"redis://":                                 "host is missing",
		"redis://u:secret@":                        "host is missing",
		"redis://u:secret@:6379":                   "host is missing",
		"redis://u:secret@h:port":                  "HOST:PORT",
		"redis://u:secret@h:0":                     "HOST:PORT",
		"redis://u:secret@h:65536":                 "HOST:PORT",
		"redis://u:sec%ret@h":                      "percent-encoded",
		"redis://u:secret@a,b":                     "several hosts",
		"redis://u:secret@h/x":                     "database",
		"redis://u:secret@h/-1":                    "database",
		"redis://u:secret@h?nonsense=1":            "nonsense",
		"redis://u:secret@h?replicas=17":           "replicas",
		"redis://u:secret@h?replicas=1&replicas=2": "more than once",
		"redis://u:secret@h?appendfsync=no":        "appendfsync",
		"redis://u:secret@h?ca=/x":                 "rediss://",
		"redis://u:secret@h?x=%zz":                 "parameters",
		"rediss://u:secret@h?cert=/x":              "cert and key",
		"rediss://u:secret@h?ca=/nowhere/ca":       "no such file",
		"redis+sentinel://u:secret@h":              "master's name",
		"redis+sentinel://u:secret@h,,i/m":         "host is missing",
		"redis+sentinel://u:secret@h/m/x":          "database",
	} {
		got, err := redis.ParseURL(in)
		if err == nil {
			t.Errorf("%s was taken as %s", in, got)
		} else if !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", in, err)
		}
	}
}
