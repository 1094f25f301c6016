package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// An address says where the store is and how it is reached:
//
//	redis://[USER[:PASSWORD]@]HOST[:PORT][/DB][?…]                  port 6379
//	rediss://…                                                      with TLS
//	redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT],…/MASTER[/DB][?…]   port 26379
//	rediss+sentinel://…                                             with TLS to all
//
// Parameters:
//
//	password_file=PATH           the password, instead of one in the URL
//	replicas=N                   replicas that confirm each commit by WAIT (0 to 16)
//	appendfsync=always           the operator's word, where CONFIG GET is not allowed
//	ca=PATH                      the authorities that the server's certificate may be of
//	cert=PATH, key=PATH          the certificate of this client
//	servername=NAME              the name in the server's certificate, if not HOST
//	sentinel_username=NAME
//	sentinel_password_file=PATH  to log in to the Sentinels
type address struct {
	hosts    []string // host:port
	master   string   // of Sentinel; "" without
	db       int
	user     string
	password string
	replicas int
	// fsyncAlways is the operator's word that appendfsync is always.
	fsyncAlways bool
	tls         *tls.Config

	sentinelUser     string
	sentinelPassword string
}

// String is the address without its secrets.
func (a *address) String() string {
	scheme := "redis"
	if a.tls != nil {
		scheme = "rediss"
	}
	path := ""
	if a.master != "" {
		scheme += "+sentinel"
		path = "/" + a.master
	}
	if a.db != 0 {
		path += "/" + strconv.Itoa(a.db)
	}
	return scheme + "://" + strings.Join(a.hosts, ",") + path
}

// errURL begins each error about a URL. The URL itself is in none: it may
// hold a password.
var errURL = errors.New("store URL")

// ParseURL checks a store URL without connecting, and returns it in a form
// without passwords. Files that it names must be there.
func ParseURL(text string) (string, error) {
	a, err := parseURL(text)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// Hosts returns the servers of a store URL, each HOST:PORT: those of Sentinel, if
// the URL names Sentinel.
func Hosts(text string) ([]string, error) {
	a, err := parseURL(text)
	if err != nil {
		return nil, err
	}
	return a.hosts, nil
}

func parseURL(text string) (*address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with redis://, rediss://, redis+sentinel:// or rediss+sentinel://", errURL)
	}
	a := &address{}
	sentinel := false
	switch scheme {
	case "redis":
	case "rediss":
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	case "redis+sentinel":
		sentinel = true
	case "rediss+sentinel":
		sentinel = true
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return nil, fmt.Errorf("%w: scheme %q is not redis, rediss, redis+sentinel or rediss+sentinel", errURL, scheme)
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if err := a.parseAuthority(authority, sentinel); err != nil {
		return nil, err
	}
	if err := a.parsePath(path, sentinel); err != nil {
		return nil, err
	}
	if err := a.parseQuery(query); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *address) parseAuthority(text string, sentinel bool) error {
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		user, password, _ := strings.Cut(text[:i], ":")
		var err, err2 error
		a.user, err = url.PathUnescape(user)
		a.password, err2 = url.PathUnescape(password)
		if err != nil || err2 != nil {
			return fmt.Errorf("%w: user name or password is not percent-encoded as it should be", errURL)
		}
		text = text[i+1:]
	}
	port := "6379"
	if sentinel {
		port = "26379"
	}
	for _, host := range strings.Split(text, ",") {
		if strings.Trim(host, "[]") == "" || strings.HasPrefix(host, ":") {
			return fmt.Errorf("%w: a host is missing", errURL)
		}
		h, p, err := net.SplitHostPort(host)
		if err != nil {
			// Without a port.
			h, p, err = net.SplitHostPort(host + ":" + port)
		}
		if n, bad := strconv.ParseUint(p, 10, 16); err != nil || bad != nil || n == 0 {
			return fmt.Errorf("%w: %q is not HOST or HOST:PORT", errURL, host)
		}
		a.hosts = append(a.hosts, net.JoinHostPort(h, p))
	}
	if len(a.hosts) > 1 && !sentinel {
		return fmt.Errorf("%w: several hosts are for redis+sentinel:// only", errURL)
	}
	return nil
}

func (a *address) parsePath(path string, sentinel bool) error {
	if sentinel {
		a.replicas = 1
		a.master, path, _ = strings.Cut(path, "/")
		if a.master == "" {
			return fmt.Errorf("%w: the master's name is missing: redis+sentinel://HOST,…/MASTER", errURL)
		}
	}
	if path == "" {
		return nil
	}
	db, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return fmt.Errorf("%w: database %q is not a number", errURL, path)
	}
	a.db = int(db)
	return nil
}

func (a *address) parseQuery(text string) error {
	query, err := url.ParseQuery(text)
	if err != nil {
		return fmt.Errorf("%w: its parameters cannot be read", errURL)
	}
	var cert, key string
	for name, values := range query {
		value := values[0]
		if len(values) > 1 {
			return fmt.Errorf("%w: %s is there more than once", errURL, name)
		}
		switch name {
		case "password_file":
			a.password, err = secret(value)
		case "sentinel_password_file":
			a.sentinelPassword, err = secret(value)
		case "sentinel_username":
			a.sentinelUser = value
		case "replicas":
			var n uint64
			if n, err = strconv.ParseUint(value, 10, 8); err != nil || n > 16 {
				err = fmt.Errorf("%q is not a number from 0 to 16", value)
			}
			a.replicas = int(n)
		case "appendfsync":
			if value != "always" {
				err = fmt.Errorf("%q is not \"always\"", value)
			}
			a.fsyncAlways = true
		case "ca", "cert", "key", "servername":
			if a.tls == nil {
				err = errors.New("it is for rediss:// and rediss+sentinel:// only")
				break
			}
			switch name {
			case "ca":
				a.tls.RootCAs, err = authorities(value)
			case "cert":
				cert = value
			case "key":
				key = value
			case "servername":
				a.tls.ServerName = value
			}
		default:
			err = errors.New("there is no such parameter")
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errURL, name, err)
		}
	}
	switch {
	case (cert == "") != (key == ""):
		return fmt.Errorf("%w: cert and key go together", errURL)
	case cert != "":
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("%w: cert: %w", errURL, err)
		}
		a.tls.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// maxSecret bounds a password file.
const maxSecret = 4096

func secret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, maxSecret+1)
	n := 0
	for n < len(b) {
		k, err := f.Read(b[n:])
		n += k
		if err != nil {
			break
		}
	}
	if n > maxSecret {
		return "", fmt.Errorf("%s is longer than %d bytes", path, maxSecret)
	}
	return strings.TrimRight(string(b[:n]), "\r\n"), nil
}

func authorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}
