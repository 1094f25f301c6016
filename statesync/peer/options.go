package peer

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// CheckURL returns what is wrong with an Options.URL, without what is secret
// in it.
func CheckURL(text string) error {
	_, _, err := servers(text)
	return err
}

// servers takes the URL apart: for NATS, and the files that it names.
func servers(text string) (list string, files url.Values, err error) {
	text, query, _ := strings.Cut(text, "?")
	files, err = url.ParseQuery(query)
	if err != nil {
		return "", nil, errors.New("what follows the ? of the peers' URL cannot be read")
	}
	for key := range files {
		switch key {
		case "ca", "cert", "key", "creds":
		default:
			return "", nil, fmt.Errorf("%q is not known in the peers' URL: ca, cert, key and creds are", key)
		}
	}
	if files.Has("cert") != files.Has("key") {
		return "", nil, errors.New("the peers' URL needs cert and key, or neither")
	}
	scheme, rest, _ := strings.Cut(text, "://")
	if scheme != "nats" && scheme != "tls" || rest == "" {
		return "", nil, errors.New("the peers' URL must be nats://[USER:PASSWORD@]HOST[:PORT][,HOST…], or tls://")
	}
	var all []string
	for host := range strings.SplitSeq(rest, ",") {
		host = strings.TrimSuffix(strings.TrimPrefix(host, scheme+"://"), "/")
		u, err := url.Parse(scheme + "://" + host)
		if err != nil || u.Hostname() == "" || u.Path != "" {
			return "", nil, errors.New("the peers' URL names a server that is not [USER:PASSWORD@]HOST[:PORT]")
		}
		all = append(all, u.String())
	}
	return strings.Join(all, ","), files, nil
}

func prepare(opt Options) (*Channel, string, []nats.Option, error) {
	list, files, err := servers(opt.URL)
	if err != nil {
		return nil, "", nil, err
	}
	if len(opt.Name) < 1 || len(opt.Name) > 64 {
		return nil, "", nil, fmt.Errorf("gateway name of %d bytes, allowed are 1 to 64", len(opt.Name))
	}
	if opt.Domain == "" || strings.ContainsAny(opt.Domain, ".*> \t\r\n") {
		return nil, "", nil, fmt.Errorf("%q cannot be a domain", opt.Domain)
	}
	if opt.Ring <= 0 {
		opt.Ring = 4096
	}
	if opt.Beat <= 0 {
		opt.Beat = 200 * time.Millisecond
	}
	if opt.Patience <= 0 {
		opt.Patience = time.Second
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	log := opt.Logger
	c := &Channel{
		opt: opt, log: log, queue: make(chan outgoing, queueLen), stop: make(chan struct{}),
		next: 1, senders: make(map[string]*sender),
	}
	// Later runs of a gateway have greater instances, as long as its clock is not
	// set back; until it catches up, its hints are not believed.
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	c.instance = uint64(time.Now().UnixMicro())<<12 | uint64(binary.BigEndian.Uint16(b[:])>>4)
	c.ring.init(opt.Ring)
	options := []nats.Option{
		nats.Name("holdfast " + opt.Name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.ReconnectBufSize(-1), // what could not be sent is asked for, if it matters
		nats.Timeout(2 * time.Second),
		nats.FlusherTimeout(2 * time.Second),
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.NoEcho(),
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("peer channel connected", "server", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("peer channel connected again", "server", nc.ConnectedUrlRedacted())
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("peer channel lost: slower until it is back, and nothing worse", "error", plain(err))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			// Messages that were dropped are missed and asked for.
			log.Debug("peer channel", "error", plain(err))
		}),
	}
	if ca := files.Get("ca"); ca != "" {
		options = append(options, nats.RootCAs(ca))
	}
	if cert := files.Get("cert"); cert != "" {
		options = append(options, nats.ClientCert(cert, files.Get("key")))
	}
	if creds := files.Get("creds"); creds != "" {
		options = append(options, nats.UserCredentials(creds))
	}
	return c, list, options, nil
}

// plain is an error without a URL, which may hold a password.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
