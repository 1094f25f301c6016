package redis_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/durable/redis"
)

// An authority issues certificates into a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.issue("ca", nil)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.crt and name.key; the first one is the authority itself.
func (a *authority) issue(name string, addr net.IP) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
		parent, signer = c, key
	}
	if addr != nil {
		c.IPAddresses = []net.IP{addr}
	} else if a.cert != nil {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
		a.key = key
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".crt", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", raw)
}

func (a *authority) write(name, kind string, der []byte) {
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", net.IPv4(127, 0, 0, 1))
	a.issue("named", nil)
	a.issue("client", nil)
	port := freePort(t)
	server := startRedis(t, append(durableArgs, "--tls-port", port, "--tls-ca-cert-file", a.path("ca.crt"),
		"--tls-cert-file", a.path("server.crt"), "--tls-key-file", a.path("server.key"))...)
	at := "rediss://127.0.0.1:" + port
	mine := "&cert=" + a.path("client.crt") + "&key=" + a.path("client.key")
	o := redis.Options{Domain: newDomain(), Patience: 2 * time.Second}

	s := open(t, at+"?ca="+a.path("ca.crt")+mine, o)
	if err := commit(s, put("g", "1")); err != nil {
		t.Error(err)
	}
	refused(t, at+"?ca="+a.path("ca.crt"), o, "") // Redis may hang up before it says why
	refused(t, at+"?cert="+a.path("client.crt")+"&key="+a.path("client.key"), o, "TLS with", "unknown authority")
	refused(t, at+"?ca="+a.path("client.key")+mine, o, "no certificate")
	refused(t, "redis://127.0.0.1:"+port, o, "")
	refused(t, at+"?servername=named&ca="+a.path("ca.crt")+mine, o, "named")

	c := server.client()
	if err := c.ConfigSet(context.Background(), "tls-auth-clients", "no").Err(); err != nil {
		t.Fatal(err)
	}
	open(t, at+"?ca="+a.path("ca.crt"), o)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	o.TLS = &tls.Config{RootCAs: pool}
	open(t, at, o)
}
