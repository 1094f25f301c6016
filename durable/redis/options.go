package redis

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Options are what Open can be told. The zero value is right for a gateway.
type Options struct {
	// Log gets what an operator should know; nil: nothing is logged.
	Log *slog.Logger

	// Domain names the state domain, so that several clusters can share a
	// server. At most 64 bytes, no braces, no white space; "": "default".
	Domain string

	// AllowVolatile takes a server that may lose what it acknowledged when it
	// fails. Even then a loss that can be seen is ErrWiped.
	AllowVolatile bool

	// Epoch, if not empty, is the epoch that the store must have; else Open is
	// ErrWiped. A store is made only if it is empty.
	Epoch string

	// AcceptLoss opens a store of which it is known that acknowledged commits
	// are missing, and makes a new epoch. Nobody else may still use it.
	AcceptLoss bool

	// TLS overrides what the URL says of TLS; nil: the URL alone counts.
	TLS *tls.Config

	// Patience is how long a call waits for a server that cannot be reached or
	// does not answer, before it is ErrUnavailable or ErrUnknown; 0: 5 s.
	// A ctx that ends sooner ends it sooner.
	Patience time.Duration

	// Timeout is how long the server may take for one answer before the
	// connection counts as lost; 0: 2 s.
	Timeout time.Duration

	// Lanes is how many calls may be under way at the same time; 0: 2.
	Lanes int
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Domain == "" {
		o.Domain = "default"
	}
	if o.Patience <= 0 {
		o.Patience = 5 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Lanes <= 0 {
		o.Lanes = 2
	}
	return o
}

func (o Options) validate() error {
	if len(o.Domain) > 64 || strings.ContainsAny(o.Domain, "{} \t\r\n\x00") {
		return fmt.Errorf("state domain %q: at most 64 bytes, without braces and white space", o.Domain)
	}
	return nil
}
